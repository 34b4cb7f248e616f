package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/task"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// checkProbes tests what the gateway relies on in a store, with probe objects
// in the state bucket.
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
			k.run(ctx, "body framing", k.skipStore, k.checkFraming) // they use the framing that it finds
		}
		k.run(ctx, p.name, k.skipStore, func(ctx context.Context) (found Finding) {
			err := k.prober().With(ctx, "", func(object string) error {
				found = p.check(ctx, object)
				return nil
			})
			if err != nil && found.Status == StatusOK {
				return warning("allow the credential to delete objects in the bucket "+k.State.Bucket(), "%s", reason(err))
			}
			return found
		})
	}
}

// unexpected returns the finding for a probe that failed for another reason
// than the one it tests for.
func unexpected(err error) Finding {
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("not finished in time")
	}
	return failed("check the log of the store", "%s", reason(err))
}

// lacks returns the finding for a store that lacks the feature that a probe
// needs. If the store did not refuse the probe, the finding is that of
// unexpected.
func lacks(err error, found func(remedy, format string, args ...any) Finding, remedy string) Finding {
	answered := upstream.AnswerOf(err)
	if answered == nil || answered.Status >= http.StatusInternalServerError && answered.Status != http.StatusNotImplemented {
		return unexpected(err)
	}
	return found(remedy, "the store refuses it: %s", reason(answered))
}

// put stores a probe with the headers h.
func (k *checker) put(ctx context.Context, object string, b []byte, h http.Header) error {
	_, err := k.store.Exec(ctx, upstream.Request{
		Method: http.MethodPut, Bucket: k.State.Bucket(), Key: object, Header: h,
		Body: bytes.NewReader(b), Size: int64(len(b)), Hash: upstream.HexSHA256(b),
	})
	return err
}

// head returns the headers of a probe.
func (k *checker) head(ctx context.Context, object string) (http.Header, error) {
	return k.store.Head(ctx, k.State.Bucket(), object)
}

// checkConditions tries conditional writes.
func (k *checker) checkConditions(ctx context.Context, _ string) Finding {
	if err := k.prober().Conditions(ctx); err != nil {
		return unexpected(err)
	}
	can := k.Upstream.Capabilities()
	if ignored := can.Put.List(); len(ignored) > 0 {
		return warning("start the first replica alone, and change rules through one replica at a time", "the store ignores or refuses %s", strings.Join(ignored, " and "))
	}
	detail := "If-None-Match and If-Match are honoured"
	if can.Put.Match == upstream.TagBare {
		detail += ", If-Match only without quotes, which the gateway removes"
	}
	if ignored := can.Complete.List(); len(ignored) > 0 {
		return warning("tell clients that conditions on multipart uploads do not exclude a write at the same moment",
			"%s; in CompleteMultipartUpload the store ignores or refuses %s: the gateway checks before it completes an upload", detail, strings.Join(ignored, " and "))
	}
	return okay("%s", detail)
}

// checkFraming tests how bodies travel to the store.
func (k *checker) checkFraming(ctx context.Context) Finding {
	const onlyPlain = "the store verifies no framing: see broken uploads"
	const preferred = "prefer a store that accepts trailers or signed chunks"
	store := k.prober()
	configured := k.Upstream.ConfiguredFraming()
	switch configured {
	case upstream.FramingAuto:
		if err := store.Framing(ctx); err != nil {
			return unexpected(err)
		}
		if k.Upstream.Framing() == upstream.FramingPlain {
			return warning(preferred, onlyPlain)
		}
		return okay("%s", k.Upstream.Framing())
	case upstream.FramingPlain:
		for _, f := range [...]upstream.Framing{upstream.FramingTrailer, upstream.FramingSigned} {
			taken, err := store.Takes(ctx, f)
			if err != nil {
				return unexpected(err)
			}
			if taken {
				return warning("set SSEGW_UPSTREAM_BODY=auto", "plain, as configured, but the store accepts %s", f)
			}
		}
		return warning(preferred, onlyPlain)
	}
	taken, err := store.Takes(ctx, configured)
	switch {
	case err != nil:
		return unexpected(err)
	case !taken:
		return failed("set SSEGW_UPSTREAM_BODY=auto", "the store does not accept or does not verify %s, as configured", configured)
	}
	return okay("%s, as configured", configured)
}

// checkBrokenUploads breaks an upload in the middle, in the framing in use. It
// does the same in plain framing, to report what happens then.
func (k *checker) checkBrokenUploads(ctx context.Context, object string) Finding {
	used := k.Upstream.Framing()
	remedy := "turn on versioning where objects are replaced, or use another store"
	if k.Upstream.ConfiguredFraming() == upstream.FramingPlain {
		remedy = "set SSEGW_UPSTREAM_BODY=auto, or " + remedy
	}
	left, err := k.breakUpload(ctx, object, used)
	switch {
	case err != nil:
		return unexpected(err)
	case left:
		return failed(remedy, "if the connection breaks during an upload in %s framing, the store replaces the older object with the part that arrived", used)
	case used == upstream.FramingPlain:
		return okay("leave nothing behind, in plain framing")
	}
	switch left, err = k.breakUpload(ctx, object, upstream.FramingPlain); {
	case err != nil:
		return unexpected(err)
	case left:
		return okay("leave nothing behind in %s framing; in plain framing the store keeps the part that arrived, so do not allow anonymous uploads", used)
	}
	return okay("leave nothing behind, in %s or plain framing", used)
}

// errBreak makes the transport break the connection.
var errBreak = errors.New("the connection must break here")

// breaking is a reader that fails with errBreak.
type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, errBreak }

// breakUpload sends half a body and breaks the connection. It reports whether
// the store then has an object.
func (k *checker) breakUpload(ctx context.Context, object string, f upstream.Framing) (left bool, err error) {
	const size, step = 512 << 10, 50 * time.Millisecond
	o := upstream.Request{Method: http.MethodPut, Bucket: k.State.Bucket(), Key: object, Header: http.Header{}}
	o.Frame(io.MultiReader(bytes.NewReader(make([]byte, size/2)), breaking{}), size, f, nil)
	_, err = k.store.Exec(ctx, o)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, errBreak) {
		return false, err
	}
	// A store that keeps the part that arrived stores it only when it notices
	// the broken connection.
	for range k.limits.Settle / step {
		_, err := k.head(ctx, object)
		if err == nil {
			return true, nil
		}
		if upstream.StatusOf(err) != http.StatusNotFound {
			return false, err
		}
		if !task.Pause(ctx, step) {
			return false, ctx.Err()
		}
	}
	return false, nil
}

// checkContentHeaders tests whether content headers and user metadata come back
// unchanged.
func (k *checker) checkContentHeaders(ctx context.Context, object string) Finding {
	sent := http.Header{
		"Cache-Control": {"max-age=60, no-transform"}, "Content-Disposition": {`attachment; filename="a b.txt"`},
		"Content-Encoding": {"br"}, "Content-Language": {"de, en"}, "Content-Type": {"text/plain; charset=utf-8"},
		"Expires":               {"Wed, 21 Oct 2065 07:28:00 GMT"},
		"X-Amz-Meta-Probe-Text": {"A value, with 'marks' = 100 %"}, "X-Amz-Meta-Probe-Utf8": {"Grüße"},
	}
	if err := cmp.Or(k.prober().Headers(ctx), k.prober().UploadHeaders(ctx)); err != nil {
		return unexpected(err)
	}
	written := sent.Clone()
	written.Set("X-Amz-Meta-Probe-Utf8", s3.EncodeWords(sent.Get("X-Amz-Meta-Probe-Utf8")))
	if err := k.put(ctx, object, []byte("probe"), written.Clone()); err != nil {
		return unexpected(err)
	}
	stored, err := k.head(ctx, object)
	if err != nil {
		return unexpected(err)
	}
	if _, err := sealer.OpenContent(stored, object, 1, sealer.NewContent(written, object, 1).Digest()); err == nil {
		altered := k.Upstream.Capabilities().Altered
		switch list := strings.Join(altered.List(), " and "); {
		case list == "" && altered.Hyphens != "":
			return okay("these and user metadata come back unchanged, except that the store puts hyphens for %s in names", altered.Hyphens)
		case list == "":
		case altered.Names == "" && !altered.Content: // few clients send the others
			return okay("these and user metadata come back unchanged; the store would change %s, so sealed objects with that are refused", list)
		default:
			return warning("tell clients that sealed objects with such headers are refused", "the store changes %s", list)
		}
		return okay("these and user metadata come back unchanged")
	}
	var changed []string
	for name := range stored {
		if s3.IsStored(name) && sent.Get(name) == "" {
			changed = append(changed, strings.ToLower(name))
		}
	}
	for name := range sent {
		if lower := strings.ToLower(name); sealer.RewrittenValue(lower, stored.Get(name)) != sealer.RewrittenValue(lower, sent.Get(name)) {
			changed = append(changed, strings.ToLower(name))
		}
	}
	slices.Sort(changed)
	detail := "the store changes " + strings.Join(changed, ", ")
	if k.WarnHeaderDigest {
		return warning("keep SSEGW_HEADER_DIGEST=warn: otherwise objects with such headers cannot be read", "%s", detail)
	}
	return failed("set SSEGW_HEADER_DIGEST=warn: otherwise objects with such headers cannot be read", "%s", detail)
}
