// Package s3 is the wire vocabulary of the S3 protocol as the gateway needs it: which operation a request is
// ([Parse], [Routes]), what a byte range means ([ParseRange]), how errors look ([Error], [WriteError]) and how the
// few XML documents that encryption touches are read and changed ([ParseEncryption], [ParseListing], [ParseBuckets]).
//
// Invariants:
//
//   - A request has one bucket and one key, decoded exactly once from the path. Everything else (rules, binding,
//     authorization, the upstream's URL) is made from this pair, never from the path again; [EscapePath] is its inverse.
//   - Routes are data. A request that is not exactly one route, with only parameters which that route knows, is an
//     error: an unknown sub-resource never falls through to the plain operation of the same method.
//   - Listings are spliced: every byte that is not edited is the upstream's own byte.
//   - Documents with a DTD, of the wrong root, or with unknown content are refused; parsing needs memory
//     proportional to the document, which the caller bounds, and never recurses.
//   - The package depends on the standard library only and keeps no state.
package s3
