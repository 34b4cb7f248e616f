// Package e2e tests the gateway from outside: the real binary between real
// clients (SDKs, mc, aws-cli, rclone, s3cmd, restic, s3fs) and a real store and KMS.
//
// It is a module of its own and imports nothing of the gateway, so that it can
// only see what a user sees. The programs come from package stack.
//
// A test that cannot run on this machine skips with a reason; with
// SSEGW_NO_SKIP=1 in the environment, as in CI, such a skip is a failure.
package e2e
