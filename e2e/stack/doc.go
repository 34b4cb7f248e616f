// Package stack builds the real programs that the end-to-end tests and the
// demo are made of (KES, MinIO, versitygw, mc and the gateway itself) and runs
// them on free loopback ports.
//
// Invariants:
//
//   - Nothing is downloaded but Go modules, and npm packages for the one tool
//     written in JavaScript: each tool is pinned by its own nested module under
//     e2e/tools and built into .bin of the repository. Clients that the machine
//     has ([Program]) are run as they are.
//   - Every started process dies with the process that started it (on Linux
//     also when that one is killed), and only processes of a [Stack] are ever
//     signalled.
//   - A service counts as started when its own health endpoint says so; an
//     early exit ends the wait at once, and the error carries the end of its log.
//   - The environment of a service holds only what is given here, so that
//     settings of the caller's shell change nothing.
//   - All files are below the directory given to [New]; the package never
//     deletes that directory.
//
// The package knows nothing of package testing, so that the demo can use it.
package stack
