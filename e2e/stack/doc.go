// Package stack builds the real programs for the end-to-end tests and the demo
// (KES, MinIO, versitygw, SeaweedFS, mc and the gateway itself) and runs them on
// free loopback ports, as well as Ceph RGW and Swift if they are installed.
//
// Invariants:
//
//   - Only Go modules are downloaded, and npm packages for the one tool written
//     in JavaScript. Each tool is pinned by its own nested module under
//     e2e/tools and built into .bin of the repository. Clients that the machine
//     has ([Program]) are run as they are.
//   - Every started process dies with the process that started it (on Linux
//     even if that one is killed). Only processes of a [Stack] are ever
//     signalled.
//   - A service counts as started when its own health endpoint confirms it. If
//     the process exits early, the wait ends at once, and the error contains
//     the end of its log.
//   - The environment of a service contains only what is given here, so
//     settings of the caller's shell have no effect.
//   - All files are below the directory given to [New]. The package never
//     deletes that directory.
//
// The package does not depend on package testing, so that the demo can use it.
package stack
