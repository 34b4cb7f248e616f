// Package s3 is the vocabulary of the S3 protocol, as far as the gateway needs
// it. It determines the operation of a request ([Parse], [Routes]), parses byte
// ranges ([ParseRange]), represents errors ([Error], [WriteError]), and reads
// and changes the few XML documents that encryption affects ([ParseEncryption],
// [ParseListing], [ParseBuckets]).
//
// Invariants:
//
//   - A request has one bucket and one key, decoded exactly once from the path.
//     Rules, bindings, authorization and the upstream's URL are made from this
//     pair, never from the path again. [EscapePath] is the inverse.
//   - Routes are data. A request must match exactly one route and may only have
//     parameters that this route knows. An unknown sub-resource never falls
//     through to the plain operation of the same method.
//   - Listings are spliced: every byte that is not edited is the upstream's.
//   - Documents with a DTD, the wrong root or unknown content are refused.
//     Parsing never recurses. It needs memory proportional to the document,
//     which the caller bounds.
//   - The package depends only on the standard library and keeps no state.
//
// docs/ARCHITECTURE.md is the map.
package s3
