// Package proxy is the S3 endpoint of the gateway. It authenticates S3
// requests, seals and opens the bodies of objects, and sends everything else to
// the store.
//
// A request keeps its method, path, query and headers, except for what
// encryption changes. The encryption of a write is decided once, before its
// body is read. Every error after that refuses the request, so that no failure
// stores plaintext.
//
// docs/ARCHITECTURE.md is the map of the code.
package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ssegw/kms"
	"ssegw/proxy/audit"
	"ssegw/proxy/object"
	"ssegw/proxy/probe"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/sse"
	"ssegw/proxy/state"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// SealedOnly selects the buckets whose unsealed objects are not served.
type SealedOnly uint8

const (
	SealedOnlyAuto   SealedOnly = iota // in buckets that were empty when their rule was set
	SealedOnlyAlways                   // in every bucket with default encryption
	SealedOnlyNever                    // in no bucket
)

// Config holds what a Server needs. All fields are required except those with a
// stated zero value.
type Config struct {
	Upstream  *upstream.Store
	KMS       *kms.Client
	State     *state.State
	AccessKey string // of the root credential
	SecretKey string // of the root credential
	Region    string // in clients' signatures, or sigv4.AnyRegion

	// Credentials looks up credentials other than the root credential. It must
	// be safe for concurrent use. nil: there are no others.
	Credentials func(accessKey string) (*Credential, bool)

	Domains          []string      // of virtual-host style; nil: path style only
	AutoEncryption   sealer.Scheme // of buckets without a rule; 0: plaintext
	SealedOnly       SealedOnly
	Require          []sse.Requirement // what writes to single buckets must use; nil: anything
	TLSTerminated    bool              // a proxy in front terminates the clients' TLS
	WarnHeaderDigest bool              // log changed content headers instead of refusing the object

	// StrictHeaderDigest refuses objects whose content headers cannot be
	// verified because the root they were sealed under is unknown.
	StrictHeaderDigest bool

	MaxRequests    int            // served at one time; further ones wait shortly, then get SlowDown
	IdleTimeout    time.Duration  // a body may pause this long; 0: 30 s
	KMSTimeout     time.Duration  // for one KMS call of a request; 0: 10 s
	PresignedV2    bool           // accept presigned requests of Signature Version 2
	ForwardClient  bool           // tell the store the client's address, user agent and referer
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed; nil: none
	Operator       http.Handler   // serves the paths below /minio/; nil: 404
	Audit          *audit.File    // logs each use of a KES key; nil: no log
	Log            *zap.Logger
	Metrics        prometheus.Registerer // nil: metrics are not exported
}

// Format prints no secrets, for every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "proxy.Config{AccessKey: %q, Region: %q}", c.AccessKey, c.Region)
}

// Server is the gateway's S3 endpoint. It is safe for concurrent use.
type Server struct {
	Config
	root      *Credential
	verifier  *sigv4.Verifier
	places    *task.Places
	bodies    task.Share // bytes of small bodies in memory
	documents task.Share // bytes of documents in memory
	forms     task.Share // bytes of form files in memory

	reserveTimeout time.Duration // for memory from these shares
	lookups        task.Share    // requests for single entries of listings and deletes
	metrics        *metrics
	caches         *object.Caches
	pages          *object.MetadataPages
	uploads        *state.ListedCache
	subresources   *probe.Subresources
	acls           *probe.ACLs
	bounds         bounds
	patience       patience
	times          times
}

// New returns the server that cfg describes. It registers the server's metrics
// with cfg.Metrics.
func New(cfg Config) *Server {
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 30 * time.Second
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(kms.Collector(cfg.KMS), upstream.Collector(cfg.Upstream))
	}
	s := &Server{
		Config:    cfg,
		root:      &Credential{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey, root: true},
		places:    task.NewPlaces(cfg.MaxRequests, placeTimeout),
		bodies:    task.NewShare(smallBodies, strangersBodies),
		documents: task.NewShare(documents, strangersDocs),
		forms:     task.NewShare(formFiles, strangersFiles),

		reserveTimeout: reserveTimeout,
		lookups:        task.NewShare(maxLookups, strangersLookups),
		metrics:        newMetrics(cfg.Metrics),
		caches:         object.NewCaches(),
		pages:          object.NewMetadataPages(),
		uploads:        state.NewListedCache(),
		subresources:   &probe.Subresources{Prober: probe.Prober{Client: cfg.Upstream.Own(), Bucket: cfg.State.Bucket()}},
		acls:           &probe.ACLs{Prober: probe.Prober{Client: cfg.Upstream.Own(), Bucket: cfg.State.Bucket()}},
		bounds:         storeBounds,
		patience:       completePatience,
		times:          serverTimes,
	}
	cfg.State.Keep(s.caches)
	s.times.kms = cmp.Or(cfg.KMSTimeout, serverTimes.kms)
	s.verifier = sigv4.New(sigv4.Config{
		Region: cfg.Region, PresignedV2: cfg.PresignedV2,
		Secret: func(accessKey string) (string, bool) {
			credential, ok := s.credentialOf(accessKey)
			if !ok {
				return "", false
			}
			return credential.SecretKey, true
		},
	})
	return s
}
