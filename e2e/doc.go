// Package e2e tests the gateway from outside: the real binary between real
// clients (SDKs, mc, aws-cli, rclone, s3cmd, restic, s3fs) and a real store and
// KMS.
//
// It is a separate module and imports no package of the gateway, so that it
// only sees what a user sees. Package stack provides the programs.
//
// A test that cannot run on this machine skips and gives a reason. With
// SSEGW_NO_SKIP=1 in the environment, as in CI, such a skip is a failure.
//
// The table in suite_test.go names the tests that run on several stores and
// what they need of a store. testdata/skips.txt lists the tests that a store
// does not run because it lacks something.
package e2e
