package proxy

import "time"

// bounds are size limits that come from stores, in bytes. Tests lower them.
type bounds struct {
	minPart   int64 // of every part except the last
	maxPut    int64 // of the body of one PUT
	putPart   int64 // plaintext in each part of a longer body, at least minPart
	maxCopy   int64 // of an object copied by one request
	copyRange int64 // of one part of a longer copy
	formPart  int64 // of a form's file held in memory
}

var storeBounds = bounds{minPart: minPart, maxPut: maxPut, putPart: 1 << 30, maxCopy: maxPut, copyRange: 4 << 30, formPart: formPart}

// minPart is Amazon S3's minimum for a part that is not the last, in bytes. A
// smaller part waits in the state bucket. The part table goes up after the last
// part and would turn a smaller one into a middle part.
const minPart = 5 << 20

const (
	// smallBody is the size in bytes up to which a body is read and verified
	// before anything is sent to the store. All its facts then fit into the
	// header.
	smallBody = 1 << 20

	// maxPut is Amazon S3's limit for a single PUT, in bytes. It limits the
	// plaintext of clients and also what the gateway sends.
	maxPut = 5 << 30
)

const (
	// formPart is how many bytes of a form's file are held in memory. A shorter
	// file is stored by a single PUT. The length of a longer one is unknown
	// until its end, so it goes up in parts of this size.
	formPart = 8 << 20
)

// Limits of bytes in memory: first for requests with a credential, then for all
// others.
const (
	smallBodies, strangersBodies = 256 << 20, 32 << 20 // of small bodies
	documents, strangersDocs     = 64 << 20, 16 << 20  // of documents, such as that of a DeleteObjects
	formFiles, strangersFiles    = 256 << 20, 64 << 20 // of the files of forms
)

// Limits of concurrent requests to the store for single entries of listings and
// deletes: maxLookups for all clients with a credential together,
// strangersLookups for all others, pageLookups for one request.
const (
	maxLookups, strangersLookups = 128, 32
	pageLookups                  = 16
)

// reserveTimeout is how long a request waits for memory.
const reserveTimeout = 5 * time.Second

// placeTimeout is how long a request waits to be served.
const placeTimeout = time.Second

// maxDocument is the limit in bytes for the body of an operation that takes no
// document.
const maxDocument = 64 << 10

// patience is how long a Complete waits for an equal one that has completed the
// upload at the store but has not yet recorded its answer.
type patience struct {
	tries int
	pause time.Duration
}

var completePatience = patience{tries: 20, pause: 100 * time.Millisecond}

// times are timeouts that have no setting.
type times struct {
	kms     time.Duration // for a KMS call of a request; it fails earlier if KES is silent
	abandon time.Duration // for aborting an upload, also after the client has disconnected
	forget  time.Duration // for removing an upload's records, also after the client has disconnected
	linger  time.Duration // for a client to read why its upload is refused
}

// serverTimes are the times in production.
var serverTimes = times{kms: 10 * time.Second, abandon: 10 * time.Second, forget: 20 * time.Second, linger: 2 * time.Second}
