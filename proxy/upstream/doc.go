// Package upstream is the client of the S3 store behind the gateway.
//
// Invariants:
//
//   - Every request has a caller ([Client]). The zero caller has the fewest
//     rights: it is an anonymous client.
//   - The path of a request is made from bucket and key, never from a path that
//     a client sent.
//   - Only known headers pass between clients and the store.
//   - A body that fails its verification never reaches the store whole
//     ([Request.Frame]).
//   - A store that stops passing bytes fails its request within a bounded time.
//   - Of a store's error document only the S3 error is kept ([Error]).
//
// Nothing here decides whether an answer is authentic: that is the task of
// package object. docs/ARCHITECTURE.md is the map.
package upstream
