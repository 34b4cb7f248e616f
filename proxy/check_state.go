package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ssegw/kms"
	"ssegw/sealer"
)

// reachRemedy is what to do about a server that does not answer, by the error's text.
func reachRemedy(text, server, endpoint, roots string) string {
	switch {
	case strings.Contains(text, "x509: "):
		return fmt.Sprintf("name the certificate of %s or of its CA in %s, and a host that it is for in %s", server, roots, endpoint)
	case strings.Contains(text, "HTTP response to HTTPS client"), strings.Contains(text, "tls: first record does not look like"):
		return fmt.Sprintf("correct %s: what answers there does not speak https", endpoint)
	case strings.Contains(text, "no such host"):
		return fmt.Sprintf("correct the host in %s, or this machine's name service", endpoint)
	}
	return fmt.Sprintf("start %s, correct %s, or open the firewalls between here and there", server, endpoint)
}

// checkStore asks the store for anything, without a signature.
func (k *checker) checkStore(ctx context.Context) Finding {
	start := time.Now()
	resp, err := k.Upstream.do(ctx, outgoing{method: http.MethodHead, bucket: k.State.cfg.Bucket, as: caller{anonymous: true}})
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		text := reason(err)
		return failed(reachRemedy(text, "the store", "SSEGW_UPSTREAM_ENDPOINT", "SSEGW_UPSTREAM_CAPATH"), "%s", text)
	}
	discard(resp)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// Dates are cut to the second, so that half of one is missing on average.
		k.skews = append(k.skews, skew{"the store", time.Until(date.Add(time.Second / 2)).Round(time.Second)})
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return failed("look into the log of the store", "answers %s", resp.Status)
	}
	return okay("answers in %s", time.Since(start).Round(time.Millisecond/10))
}

// checkState looks at what a start needs, in the order of a start.
func (k *checker) checkState(ctx context.Context) {
	bucket := k.State.cfg.Bucket
	var listed error // of the state bucket
	if !k.run(ctx, "store credential", k.no, func(ctx context.Context) (found Finding) {
		found, listed = k.checkCredential(ctx)
		return found
	}) && k.no == "" {
		k.no = "the store refuses the gateway's credential"
	}
	there := false
	k.run(ctx, "state bucket "+bucket, k.no, func(context.Context) Finding {
		if there = listed == nil; there {
			return okay("is there")
		}
		return warning("start the gateway once, or make the bucket", "is not there: the start makes it")
	})
	if k.no == "" && !there {
		k.no = "there is no state bucket"
	}
	k.noRoot = k.no
	var root sealer.Root
	var record *sealer.RootRecord
	k.run(ctx, "root", k.no, func(ctx context.Context) (found Finding) {
		root, record, found = k.checkRoot(ctx)
		return found
	})
	k.run(ctx, "rules", k.noRoot, func(ctx context.Context) Finding { return k.checkRules(ctx, root, record.Initialised) })
}

// checkCredential lists the state bucket with the gateway's credential. The error
// is that of a bucket that is not there.
func (k *checker) checkCredential(ctx context.Context) (Finding, error) {
	const notS3 = "name an S3 store in SSEGW_UPSTREAM_ENDPOINT"
	if _, err := k.Upstream.credentials.Retrieve(ctx); err != nil {
		return failed("set SSEGW_UPSTREAM_ACCESS_KEY and SSEGW_UPSTREAM_SECRET_KEY, or give the machine a credential in one of the ways of the AWS SDKs",
			"there is none: %s", reason(err)), nil
	}
	resp, err := k.Upstream.expect(ctx, outgoing{
		method: http.MethodGet, bucket: k.State.cfg.Bucket, query: url.Values{"list-type": {"2"}, "max-keys": {"1"}},
	})
	if err == nil {
		_, err := parseListing(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return failed(notS3, "the answer to a listing is none"), nil
		}
		return okay("is accepted"), nil
	}
	var answered *upstreamError
	if !errors.As(err, &answered) {
		return failed("look into the log of the store", "%s", reason(err)), nil
	}
	if answered.code == "NoSuchBucket" {
		return okay("is accepted"), err
	}
	return failed(credentialRemedy(answered, k.State.cfg.Bucket, notS3), "%s", reason(answered)), nil
}

func credentialRemedy(e *upstreamError, bucket, otherwise string) string {
	switch {
	case e.code == "InvalidAccessKeyId":
		return "correct SSEGW_UPSTREAM_ACCESS_KEY"
	case e.code == "SignatureDoesNotMatch":
		return "correct SSEGW_UPSTREAM_SECRET_KEY"
	case e.code == "RequestTimeTooSkewed":
		return "set the clocks of this machine and of the store"
	case e.code == "AuthorizationHeaderMalformed", e.status < 400:
		return "correct SSEGW_UPSTREAM_REGION and SSEGW_UPSTREAM_ENDPOINT"
	case e.status == http.StatusForbidden:
		return "let the credential make, list, read, write and delete in the bucket " + bucket + " and in those that clients use"
	case e.status >= http.StatusInternalServerError:
		return "look into the log of the store"
	}
	return otherwise
}

// checkRoot opens the root as a start does.
func (k *checker) checkRoot(ctx context.Context) (root sealer.Root, record *sealer.RootRecord, found Finding) {
	s := k.State
	k.noRoot = "there is no root that opens"
	record, _, err := s.readRoot(ctx)
	if statusOf(err) == http.StatusNotFound {
		return root, nil, k.rootAbsent(ctx)
	}
	if err != nil {
		return root, nil, failed(restoreRoot, "%s", reason(err))
	}
	if k.noKES != "" {
		k.noRoot = k.noKES
		return root, record, notTried("%s, and it is sealed under the KES key %q", k.noKES, record.KeyName)
	}
	root, err = s.openRoot(ctx, record)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound):
		return root, record, failed(fmt.Sprintf("restore the key %q in KES from a backup: without it everything sealed is lost", record.KeyName), "%s", reason(err))
	case errors.Is(err, kms.ErrNotAllowed):
		return root, record, failed(policyRemedy(k.KMS, record.KeyName, "decrypt"), "%s", reason(err))
	case errors.Is(err, errState):
		return root, record, failed(restoreRoot, "%s", reason(err))
	case err != nil:
		return root, record, failed("look into the log of KES", "%s", reason(err))
	}
	k.noRoot = ""
	if next := k.KMS.DefaultKey(); record.KeyName != next {
		return root, record, okay("opens with the KES key %q; the next start seals it under %q", record.KeyName, next)
	}
	return root, record, okay("opens with the KES key %q", record.KeyName)
}

const restoreRoot = `restore the object "root" of the state bucket from a backup`

// rootAbsent tells a bucket before its first start from one whose root was deleted.
func (k *checker) rootAbsent(ctx context.Context) Finding {
	names, err := k.State.names(ctx)
	switch {
	case err != nil:
		return failed("look into the log of the store", "%s", reason(err))
	case len(names) > 0:
		return failed(restoreRoot+", or name another bucket in SSEGW_STATE for a new installation",
			"the bucket holds %q and no root: the root was deleted, or the bucket is not the gateway's own", names[0])
	}
	k.noRoot = "the start makes them with the root"
	return okay("is not there yet: the start makes it")
}

// checkRules reads the rules as a start does.
func (k *checker) checkRules(ctx context.Context, root sealer.Root, initialised bool) Finding {
	const restore = `restore the object "rules" of the state bucket from a backup`
	rules, err := k.State.rules.fetch(ctx, root, "")
	switch {
	case statusOf(err) == http.StatusNotFound && !initialised:
		return okay("are not there yet: the start makes them")
	case statusOf(err) == http.StatusNotFound:
		return failed(restore, "were deleted")
	case errors.Is(err, errRules):
		return failed(restore, "%s", reason(err))
	case err != nil:
		return failed("look into the log of the store", "%s", reason(err))
	}
	return okay("revision %d, for %d buckets", rules.Revision, len(rules.Buckets))
}
