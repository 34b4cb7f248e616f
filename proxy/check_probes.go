package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"ssegw/sealer"
)

// checkProbes tries what the gateway relies on in a store, with probe objects in
// the state bucket.
func (k *checker) checkProbes(ctx context.Context) {
	for _, p := range [...]struct {
		name  string
		check func(ctx context.Context, object string) Finding
	}{
		{"conditional writes", k.checkConditions},
		{"broken uploads", k.checkBrokenUploads},
		{"content headers", k.checkContentHeaders},
		{"user metadata", k.checkMetadataSize},
		{"ranges", k.checkRanges},
		{"server-side copy", k.checkCopying},
		{"multipart", k.checkMultipart},
		{"copy by parts", k.checkPartCopying},
	} {
		if p.name == "broken uploads" {
			k.run(ctx, "body framing", k.no, k.checkFraming) // which they use
		}
		k.run(ctx, p.name, k.no, func(ctx context.Context) (found Finding) {
			err := k.Upstream.probing(ctx, k.State.cfg.Bucket, "", func(object string) error {
				found = p.check(ctx, object)
				return nil
			})
			if err != nil && found.Status == StatusOK {
				return warning("let the credential delete in the bucket "+k.State.cfg.Bucket, "%s", reason(err))
			}
			return found
		})
	}
}

// unexpected is the finding of a probe that failed in a way that says nothing
// about what it was to find out.
func unexpected(err error) Finding {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("not done in time")
	}
	return failed("look into the log of the store", "%s", reason(err))
}

// lacks is the finding of a probe that the store refused, if it is the store's
// refusal of what remedy is about.
func lacks(err error, found func(remedy, format string, args ...any) Finding, remedy string) Finding {
	var answered *upstreamError
	if !errors.As(err, &answered) || answered.status >= http.StatusInternalServerError && answered.status != http.StatusNotImplemented {
		return unexpected(err)
	}
	return found(remedy, "the store refuses it: %s", reason(answered))
}

// put stores a probe with headers.
func (k *checker) put(ctx context.Context, object string, b []byte, h http.Header) error {
	resp, err := k.Upstream.expect(ctx, outgoing{
		method: http.MethodPut, bucket: k.State.cfg.Bucket, key: object, header: h,
		body: bytes.NewReader(b), size: int64(len(b)), hash: hexSHA256(b),
	})
	if err == nil {
		discard(resp)
	}
	return err
}

// head returns the headers of a probe.
func (k *checker) head(ctx context.Context, object string) (http.Header, error) {
	h, err := k.own(ctx, k.State.cfg.Bucket, object, "").head(lookup{})
	if err != nil {
		return nil, err
	}
	return h.header, nil
}

func (k *checker) checkConditions(ctx context.Context, object string) Finding {
	ignored, err := k.Upstream.ignoredCondition(ctx, k.State.cfg.Bucket, object)
	switch {
	case err != nil:
		return unexpected(err)
	case ignored != "":
		return warning("start the first replica alone, and change rules through one replica at a time", "the store ignores or refuses %s", ignored)
	}
	return okay("If-None-Match and If-Match are honoured")
}

// checkFraming finds out how bodies go up.
func (k *checker) checkFraming(ctx context.Context) Finding {
	const otherwise = "the store takes no framing that it checks: see broken uploads"
	u, bucket := k.Upstream, k.State.cfg.Bucket
	configured := u.framing.configured
	switch configured {
	case FramingAuto:
		if err := u.probe(ctx, bucket); err != nil {
			return unexpected(err)
		}
		if u.framing.get() == FramingPlain {
			return warning("prefer a store that takes trailers or signed chunks", otherwise)
		}
		return okay("%s", u.framing.get())
	case FramingPlain:
		for _, f := range [...]Framing{FramingTrailer, FramingSigned} {
			taken, err := u.takes(ctx, bucket, f)
			if err != nil {
				return unexpected(err)
			}
			if taken {
				return warning("set SSEGW_UPSTREAM_BODY=auto", "plain, as configured, where the store takes %s", f)
			}
		}
		return warning("prefer a store that takes trailers or signed chunks", otherwise)
	}
	taken, err := u.takes(ctx, bucket, configured)
	switch {
	case err != nil:
		return unexpected(err)
	case !taken:
		return failed("set SSEGW_UPSTREAM_BODY=auto", "the store does not take %s, which is configured, or does not check it", configured)
	}
	return okay("%s, as configured", configured)
}

// checkBrokenUploads breaks an upload in the middle, in the framing that is used
// and, to say what happens then, in plain.
func (k *checker) checkBrokenUploads(ctx context.Context, object string) Finding {
	used := k.Upstream.framing.get()
	remedy := "turn on versioning where objects are replaced, or take another store"
	if k.Upstream.framing.configured == FramingPlain {
		remedy = "set SSEGW_UPSTREAM_BODY=auto, or " + remedy
	}
	left, err := k.breakUpload(ctx, object, used)
	switch {
	case err != nil:
		return unexpected(err)
	case left:
		return failed(remedy, "the store keeps what came of an upload in %s framing whose connection broke, in the place of the older object", used)
	case used == FramingPlain:
		return okay("nothing is left of them, in plain framing")
	}
	switch left, err = k.breakUpload(ctx, object, FramingPlain); {
	case err != nil:
		return unexpected(err)
	case left:
		return okay("nothing is left of them in %s framing; in plain the store keeps what came, so let nobody upload anonymously", used)
	}
	return okay("nothing is left of them, in %s or plain framing", used)
}

var errBreak = errors.New("the connection is to break here")

// breaking is a reader that fails.
type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errBreak }

// breakUpload sends half of a body and breaks the connection. It reports whether
// the store has an object then.
func (k *checker) breakUpload(ctx context.Context, object string, f Framing) (left bool, err error) {
	const size, step = 512 << 10, 50 * time.Millisecond
	o := outgoing{method: http.MethodPut, bucket: k.State.cfg.Bucket, key: object, header: http.Header{}}
	k.Upstream.frame(&o, io.MultiReader(bytes.NewReader(make([]byte, size/2)), breaking{}), size, f, nil)
	resp, err := k.Upstream.expect(ctx, o)
	if err == nil {
		discard(resp)
		return true, nil
	}
	if !errors.Is(err, errBreak) {
		return false, err
	}
	// A store that keeps what came does so when it notices, after us.
	for range k.limits.settle / step {
		_, err := k.head(ctx, object)
		if err == nil {
			return true, nil
		}
		if statusOf(err) != http.StatusNotFound {
			return false, err
		}
		if !pause(ctx, step) {
			return false, ctx.Err()
		}
	}
	return false, nil
}

// checkContentHeaders sees whether what clients store beside a body comes back as
// it was.
func (k *checker) checkContentHeaders(ctx context.Context, object string) Finding {
	sent := http.Header{
		"Cache-Control": {"max-age=60, no-transform"}, "Content-Disposition": {`attachment; filename="a b.txt"`},
		"Content-Encoding": {"br"}, "Content-Language": {"de, en"}, "Content-Type": {"text/plain; charset=utf-8"},
		"Expires":               {"Wed, 21 Oct 2065 07:28:00 GMT"},
		"X-Amz-Meta-Probe-Text": {"A value, with 'marks' = 100 %"}, "X-Amz-Meta-Probe-Utf8": {"Grüße"},
	}
	if err := k.Upstream.probeHeaders(ctx, k.State.cfg.Bucket); err != nil {
		return unexpected(err)
	}
	written := sent.Clone()
	written.Set("X-Amz-Meta-Probe-Utf8", encodeWords(sent.Get("X-Amz-Meta-Probe-Utf8")))
	if err := k.put(ctx, object, []byte("probe"), written.Clone()); err != nil {
		return unexpected(err)
	}
	stored, err := k.head(ctx, object)
	if err != nil {
		return unexpected(err)
	}
	if _, same := authenticContent(stored, object, 1, headersDigest(written, object, 1)); same {
		altered := k.Upstream.altered.Load()
		switch list := strings.Join(altered.list(), " and "); {
		case list == "":
		case altered.names == "" && !altered.content: // what few clients send
			return okay("they and user metadata come back as they were stored; sealed objects with %s are refused, for the store changes that", list)
		default:
			return warning("tell clients: sealed objects with such headers are refused", "the store changes %s", list)
		}
		return okay("they and user metadata come back as they were stored")
	}
	var changed []string
	for name := range stored {
		if isStored(name) && sent.Get(name) == "" {
			changed = append(changed, strings.ToLower(name))
		}
	}
	for name := range sent {
		if lower := strings.ToLower(name); rewrittenValue(lower, stored.Get(name)) != rewrittenValue(lower, sent.Get(name)) {
			changed = append(changed, strings.ToLower(name))
		}
	}
	slices.Sort(changed)
	detail := "the store changes " + strings.Join(changed, ", ")
	if k.WarnHeaderDigest {
		return warning("none as long as SSEGW_HEADER_DIGEST=warn: without it, objects with such headers cannot be read", "%s", detail)
	}
	return failed("set SSEGW_HEADER_DIGEST=warn: objects with such headers cannot be read otherwise", "%s", detail)
}

// fewMetadata is how many bytes of user metadata clients should have at least.
const fewMetadata = 1024

// checkMetadataSize finds how much user metadata the store takes beside the sealed
// header of an SSE-KMS object with a checksum and without a context.
func (k *checker) checkMetadataSize(ctx context.Context, object string) Finding {
	sealed := sealedHeaderSize(&sealing{scheme: sealer.SSEKMS, keyName: k.KMS.DefaultKey()})
	all := maxUserMetadata - (len(sealer.MetadataKey) - len(metaPrefix)) - sealed // what the gateway leaves for clients
	takes := func(n int) (bool, error) {
		h := http.Header{}
		h.Set(sealer.MetadataKey, strings.Repeat("A", sealed))
		if n > 0 {
			h.Set(metaPrefix+"c", strings.Repeat("c", n-1)) // the name counts too
		}
		err := k.put(ctx, object, []byte("probe"), h)
		var answered *upstreamError
		if errors.As(err, &answered) && answered.status < http.StatusInternalServerError {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		stored, err := k.head(ctx, object)
		return err == nil && userMetadataSize(stored) == userMetadataSize(h), err
	}
	taken, err := largest(all, takes)
	switch {
	case err != nil:
		return unexpected(err)
	case taken < 0:
		return failed("take another store: without its header no object is sealed", "the store does not take the %d bytes of a sealed header", sealed)
	case taken < fewMetadata:
		return warning("tell clients: more than that is refused by the store", "beside a sealed header of %d bytes, the store takes %d bytes of the %d that clients of Amazon S3 would have", sealed, taken, all)
	}
	return okay("%d bytes for clients, beside up to %d of the sealed header", taken, sealed)
}

// largest returns the largest n up to limit, to within 16, that ok says yes to, or -1.
func largest(limit int, ok func(int) (bool, error)) (int, error) {
	if yes, err := ok(limit); yes || err != nil {
		return limit, err
	}
	if yes, err := ok(0); !yes || err != nil {
		return -1, err
	}
	low, high := 0, limit // low is fine, high is not
	for high-low > 16 {
		middle := (low + high) / 2
		yes, err := ok(middle)
		if err != nil {
			return -1, err
		}
		if yes {
			low = middle
		} else {
			high = middle
		}
	}
	return low, nil
}
