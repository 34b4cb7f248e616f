// Package runner runs random histories of operations against a gateway and the
// reference model (docs/adr/0022-model.md). It knows neither how the gateway
// and its store were started nor how requests are signed: the caller
// brings both. See docs/ARCHITECTURE.md for the map of the module.
package runner

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"ssegw/proxy/model/s3op"

	"pgregory.net/rapid"

	"ssegw/proxy/model"
)

// Gateway is a gateway with a client.
type Gateway interface {
	// Do frames, signs and sends a request, and reads the answer to its end.
	Do(r Request) Response
	// Restart puts another process in place of the gateway.
	Restart()
	// Job runs a job on a bucket, and returns how many objects it changed or
	// verified. Key is that of Rekey.
	Job(kind Kind, bucket, key string) int
}

// Kind is a job.
type Kind string

// The jobs.
const (
	Encrypt Kind = "encrypt"
	Rekey   Kind = "rekey"
	Verify  Kind = "verify"
)

// Store is the store behind the gateway, to which a history speaks directly.
type Store interface {
	// Plant writes an object in plaintext, and returns its version or "".
	Plant(bucket, key string, body []byte) string
	// Look returns what a bucket holds.
	Look(bucket string) []Stored
}

// Stored is a version of an object, or a delete marker, at the store.
type Stored struct {
	Key, Version string // Version is "" for null
	Marker       bool
	Sealed       bool
	Body         func() []byte
	ETag         string
}

// Request is a request of a client, before it is framed and signed.
type Request struct {
	Method, Bucket, Key string
	Query               url.Values
	Header              http.Header
	Body                []byte
	Mode                Mode
	Algorithm           string // of a checksum in the trailer
	Damaged             bool   // a byte of the body changes after it was signed
	Who                 string // credential; "": the root one
}

// Mode is how a request is signed and its body is framed.
type Mode string

// The modes. All but Hash and Presigned are values of x-amz-content-sha256.
const (
	Hash          Mode = ""
	Unsigned      Mode = "UNSIGNED-PAYLOAD"
	Trailer       Mode = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	Signed        Mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	SignedTrailer Mode = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	Presigned     Mode = "presigned"
)

var modes = []Mode{Hash, Unsigned, Trailer, Signed, SignedTrailer, Presigned}

// hasTrailer reports whether a checksum follows the body.
func (m Mode) hasTrailer() bool { return m == Trailer || m == SignedTrailer }

// Response is an answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // of a connection that broke, before or in the answer
}

// Config is how histories are drawn.
type Config struct {
	s3op.Config
	Buckets         []string
	Objects         []string // keys of objects; few of them make operations meet
	OtherKey        string   // of the KMS
	NoKey           string   // that the KMS does not have
	Sizes           []int    // of bodies
	Parts           []int    // of bodies of parts
	Looks           int      // the store is looked at after one operation of so many
	Slow            int      // one job or restart of so many drawn ones is carried out
	NoAbsent        bool     // the store refuses the If-None-Match of a write, unless it is "*"
	NoUploadTags    bool     // the store loses the tags of an upload in plaintext
	NoMarks         bool     // the store makes no delete marker of an object that is not there
	NoMarksAgain    bool     // DeleteObjects makes no delete marker of an object that has one
	NoVersionWrites bool     // the store has its own way with conditional writes, and copies of objects onto themselves, where it keeps versions
	NoCopyTags      bool     // the store loses the tags of copies in plaintext
	NoSelfSums      bool     // the store refuses to copy plaintext onto itself for another checksum
	Unordered       bool     // the store lists versions and delete markers apart
	NoVersions      bool     // the store keeps versions in another way than Amazon S3, so no bucket has them
	NoLateVersions  bool     // an upload completes as versions were kept when it began
	NoBareParts     bool     // the store refuses a part without the checksum that its upload announced
	NoNull          bool     // the store does not find the version null by its ID
}

// Machine runs one history.
type Machine struct {
	rapid.TB
	Config
	Gateway Gateway
	Store   Store
	World   *model.World
	Steps   int            // operations so far
	Kinds   map[string]int // by the kind of operation
	IDs     []string       // of uploads, in order
	// Instead carries an operation out in another way, and reports whether it
	// did. nil: it never does.
	Instead func(op s3op.Op) bool

	seq  int      // of bodies
	tags []string // ETags seen, of objects
	old  []s3op.Name
	safe map[string]bool
	lied *witness // nil: the store is honest
}

// New returns a machine in front of an empty gateway.
func New(t rapid.TB, c Config, g Gateway, s Store) *Machine {
	return &Machine{TB: t, Config: c, Gateway: g, Store: s, World: model.New(c.Config, c.Buckets...), Kinds: map[string]int{}, safe: map[string]bool{}}
}

// Run draws and runs a history, without Conclude.
func (m *Machine) Run(t *rapid.T) { m.RunWith(t, nil) }

// RunWith is Run with other actions beside. An action that is nil is left out.
func (m *Machine) RunWith(t *rapid.T, more map[string]func(*rapid.T)) {
	all := m.actions()
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, action func(*rapid.T)) bool { return action == nil })
	t.Repeat(all)
}

// Step has an operation carried out, and compares its answer with the model.
func (m *Machine) Step(op s3op.Op) *s3op.Answer {
	if m.Instead != nil && m.Instead(op) {
		return &s3op.Answer{}
	}
	m.Steps++
	a := m.Send(op)
	m.Kinds[kindOf(op)]++
	m.Logf("%s: %d %s", show(op), a.Status, a.Code)
	if m.lied != nil {
		if err := m.believe(bare(op), a); err != nil {
			m.Fatalf("%s: %v", show(op), err)
		}
		_ = m.World.Step(bare(op), a) // as far as it is right: what is drawn next depends on it
		return a
	}
	if err := m.World.Step(bare(op), a); err != nil {
		m.Fatalf("%s: %v; %.500s", show(op), err, text(a))
	}
	if a.ETag != "" && !slices.Contains(m.tags, a.ETag) {
		m.tags = append(m.tags, a.ETag)
	}
	return a
}

// text is the document of an error.
func text(a *s3op.Answer) []byte {
	if a.Status < 400 {
		return nil
	}
	return a.Body
}

// Relearn looks at the objects whose ETag or version the model does not know.
func (m *Machine) Relearn() {
	for _, n := range m.Names() {
		if o := m.World.Object(n); o.ETag == "" || o.Version == "" {
			m.Step(s3op.Get{Name: n, Head: true, Key: m.CustomerKey(n), Sums: true})
		}
	}
}

// Names returns the names of all objects.
func (m *Machine) Names() (all []s3op.Name) {
	for _, bucket := range m.Buckets {
		for _, key := range m.Objects {
			if n := (s3op.Name{Bucket: bucket, Key: key}); m.World.Object(n) != nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// Versions returns the names of all versions whose ID is known, and of delete
// markers.
func (m *Machine) Versions() (all []s3op.Name) {
	for _, bucket := range m.Buckets {
		if m.World.Buckets[bucket].Versioning == "" {
			continue
		}
		for _, key := range m.Objects {
			for _, o := range m.World.Buckets[bucket].Objects[key] {
				if o.Version != "" && (o.Version != "null" || !m.NoNull) {
					all = append(all, s3op.Name{Bucket: bucket, Key: key, Version: o.Version})
				}
			}
		}
	}
	return all
}

// CustomerKey returns the customer's key that opens an object, or "".
func (m *Machine) CustomerKey(n s3op.Name) string {
	if o := m.World.Object(n); o != nil && o.Scheme == s3op.Customer {
		return o.KeyName
	}
	return ""
}

// Inspect compares what the store has with the model. The gateway is not asked.
func (m *Machine) Inspect() {
	for _, bucket := range m.Buckets {
		m.inspect(bucket, m.Store.Look(bucket))
	}
}

func (m *Machine) inspect(bucket string, found []Stored) {
	byName := map[s3op.Name]Stored{}
	for _, s := range found {
		byName[s3op.Name{Bucket: bucket, Key: s.Key, Version: cmp.Or(s.Version, "null")}] = s
	}
	n := 0
	for _, key := range m.Objects {
		for _, o := range m.World.Buckets[bucket].Objects[key] {
			n++
			name := s3op.Name{Bucket: bucket, Key: key, Version: o.Version}
			switch s, ok := byName[name]; {
			case !ok:
				m.Fatalf("the store does not have %v", name)
			case s.Marker != o.Marker:
				m.Fatalf("%v is a marker at the store: %t", name, s.Marker)
			case s.Marker:
			case s.Sealed != (o.Scheme != s3op.Plain):
				m.Fatalf("%v is sealed: %t; its scheme is %q", name, s.Sealed, o.Scheme)
			case s.Sealed:
				m.searchPlaintext(s, o.Body)
			}
		}
	}
	if n != len(found) {
		m.Fatalf("the store has %d versions in %s, not %d", len(found), bucket, n)
	}
}

// searchPlaintext fails if a stored object has a piece of its plaintext.
func (m *Machine) searchPlaintext(s Stored, body []byte) {
	if len(body) < 40 || m.safe[s.ETag] {
		return
	}
	if bytes.Contains(s.Body(), body[:40]) {
		m.Fatalf("the store has plaintext of an object of %d bytes", len(body))
	}
	m.safe[s.ETag] = true
}

// Conclude reads everything once more, and ends the uploads. It returns how
// many uploads were completed.
func (m *Machine) Conclude() (completed int) {
	for _, n := range slices.Concat(m.Names(), m.Versions()) {
		if m.World.Object(n) == nil {
			continue // a marker
		}
		key := m.CustomerKey(n)
		m.Step(s3op.Get{Name: n, Key: key, Sums: true})
		m.Step(s3op.Get{Name: n, Key: key, Head: true})
		m.Step(s3op.GetTags{Name: n})
	}
	for _, bucket := range m.Buckets {
		m.Step(s3op.List{Bucket: bucket, Max: 1000})
		m.Step(s3op.List{Bucket: bucket, Max: 1000, Versions: true})
		m.Step(s3op.ListUploads{Bucket: bucket})
	}
	for _, id := range m.IDs {
		u := m.World.Uploads[id]
		if u.Done != nil {
			completed++
		}
		if !u.Ended {
			m.Step(s3op.ListParts{ID: id})
			m.Step(s3op.Abort{ID: id})
		}
	}
	m.Inspect()
	return completed
}
