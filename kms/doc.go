// Package kms gets data keys from a cluster of KES servers.
//
// KES generates a data key under a named key, which never leaves KES. It
// returns the data key in two forms: 32 bytes of plaintext to seal with, and a
// sealed form to store with the data. KES binds the sealed form to a
// [Context] and opens it only with an equal one.
//
// Invariants:
//   - Every request for a data key has a context. Without one, KES would bind
//     the data key to nothing.
//   - The only data keys accepted from KES are 32 bytes, not all zero, with a
//     sealed form of 1 to [MaxSealedLen] bytes.
//   - Every call is bounded: it is sent once to each endpoint, and up to twice
//     more if its requests get lost, for at most Config.Patience each. It ends
//     as soon as the cluster has answered nobody for Config.Timeout, and early
//     if the caller's context ends, which never counts against an endpoint.
//   - An endpoint that answers others is slow and not dead: calls wait for it.
//     Hedges, which ask a second endpoint meanwhile, or one again that may not
//     have got the request, are at most 5 % of the calls in the long run, so
//     they cannot make an overload worse.
//   - At most 64 calls are in progress. Others wait in the order in which they
//     came.
//   - A 4xx answer of KES is final. After a failed connection, a timeout or a
//     5xx answer, the same bytes are sent to the next endpoint. A slow answer
//     has the same effect, except for Create.
//   - Until then, a call fails only after every endpoint has failed it, or has
//     failed a probe while the call waited. An endpoint that is down gets a few
//     probes per second, however many callers there are.
//   - Cached and shared data keys are kept no longer than Config says and are
//     then wiped. Callers get copies.
//   - Data keys, API keys and passwords never appear in errors, logs or printed
//     values.
//
// Every error wraps one of the package's sentinel errors and, where there is
// one, the KES error or other cause.
//
// The package implements the wire protocol instead of using kes.Client. That
// client sleeps up to a second between retries, even past the caller's
// deadline, and on a retry sends the rest of the request body to the second
// endpoint instead of all of it. API keys, client certificates, identities and
// error values still come from its module.
//
// docs/ARCHITECTURE.md is the map.
package kms
