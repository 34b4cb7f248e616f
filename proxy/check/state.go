package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/kms"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// reachRemedy returns the remedy for a server that cannot be reached. text is
// the error's text. endpoint and roots are the names of the settings.
func reachRemedy(text, server, endpoint, roots string) string {
	switch {
	case strings.Contains(text, "x509: "):
		return fmt.Sprintf("name the certificate of %s or its CA in %s, and a host of the certificate in %s", server, roots, endpoint)
	case strings.Contains(text, "HTTP response to HTTPS client"), strings.Contains(text, "tls: first record does not look like"):
		return fmt.Sprintf("correct %s: the server there does not speak https", endpoint)
	case strings.Contains(text, "no such host"):
		return fmt.Sprintf("correct the host in %s, or the name resolution of this machine", endpoint)
	}
	return fmt.Sprintf("start %s, correct %s, or open the firewalls in between", server, endpoint)
}

// checkStore sends the store an unsigned request. Any answer below 500 will do.
func (k *checker) checkStore(ctx context.Context) Finding {
	start := time.Now()
	resp, err := k.Upstream.Anonymous(nil).Do(ctx, upstream.Request{Method: http.MethodHead, Bucket: k.State.Bucket(), Any: true})
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("no answer in time")
		}
		text := reason(err)
		return failed(reachRemedy(text, "the store", "SSEGW_UPSTREAM_ENDPOINT", "SSEGW_UPSTREAM_CAPATH"), "%s", text)
	}
	_ = resp.Body.Close() // of a HEAD: there is no body
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// Dates are truncated to the second, so they are half a second old on
		// average.
		k.skews = append(k.skews, skew{"the store", time.Until(date.Add(time.Second / 2)).Round(time.Second)})
	}
	if resp.StatusCode >= http.StatusInternalServerError {
		return failed("check the log of the store", "answers %s", resp.Status)
	}
	return okay("answers in %s", time.Since(start).Round(time.Millisecond/10))
}

// checkState tests what a start needs, in the order of a start.
func (k *checker) checkState(ctx context.Context) {
	bucket := k.State.Bucket()
	var listed error // why the state bucket could not be listed
	if !k.run(ctx, "store credential", k.skipStore, func(ctx context.Context) (found Finding) {
		found, listed = k.checkCredential(ctx)
		return found
	}) && k.skipStore == "" {
		k.skipStore = "the store refuses the gateway's credential"
		if upstream.StatusOf(listed) >= http.StatusInternalServerError {
			k.skipStore = "the store cannot list the state bucket"
		}
	}
	there := false
	k.run(ctx, "state bucket "+bucket, k.skipStore, func(context.Context) Finding {
		if there = listed == nil; there {
			return okay("exists")
		}
		return warning("start the gateway once, or create the bucket", "does not exist: the start creates it")
	})
	if k.skipStore == "" && !there {
		k.skipStore = "there is no state bucket"
	}
	k.skipRoot = k.skipStore
	var root sealer.Root
	var record *sealer.RootRecord
	k.run(ctx, "root", k.skipStore, func(ctx context.Context) (found Finding) {
		root, record, found = k.checkRoot(ctx)
		return found
	})
	if k.skipRoot == "" {
		k.checkOldRoots(ctx, root)
	}
	k.run(ctx, "rules", k.skipRoot, func(ctx context.Context) Finding { return k.checkRules(ctx, root, record.Initialised) })
}

// checkCredential lists the state bucket with the gateway's credential. The
// error is the store's, nil if the bucket could be listed.
func (k *checker) checkCredential(ctx context.Context) (Finding, error) {
	const notS3 = "name an S3 store in SSEGW_UPSTREAM_ENDPOINT"
	if err := k.Upstream.CheckCredentials(ctx); err != nil {
		return failed("set SSEGW_UPSTREAM_ACCESS_KEY and SSEGW_UPSTREAM_SECRET_KEY, or provide a credential in another way that the AWS SDKs support",
			"not found: %s", reason(err)), nil
	}
	resp, err := k.store.Send(ctx, upstream.Request{
		Method: http.MethodGet, Bucket: k.State.Bucket(), Query: url.Values{"max-keys": {"1"}},
	})
	if err == nil {
		_, err := upstream.ParseListing(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return failed(notS3, "the answer to a list request is not a listing"), nil
		}
		return okay("is accepted"), nil
	}
	answered := upstream.AnswerOf(err)
	if answered == nil {
		return failed("check the log of the store", "%s", reason(err)), err
	}
	if answered.Code == "NoSuchBucket" {
		return okay("is accepted"), err
	}
	return failed(credentialRemedy(answered, k.State.Bucket(), notS3), "%s", reason(answered)), err
}

// credentialRemedy returns the remedy for a credential that the store refused
// with e. If the error says nothing about the credential, it returns otherwise.
func credentialRemedy(e *upstream.Error, bucket, otherwise string) string {
	switch {
	case e.Code == "InvalidAccessKeyId":
		return "correct SSEGW_UPSTREAM_ACCESS_KEY"
	case e.Code == "SignatureDoesNotMatch":
		return "correct SSEGW_UPSTREAM_SECRET_KEY"
	case e.Code == "RequestTimeTooSkewed":
		return "set the clocks of this machine and of the store"
	case e.Code == "AuthorizationHeaderMalformed", e.Status < 400:
		return "correct SSEGW_UPSTREAM_REGION and SSEGW_UPSTREAM_ENDPOINT"
	case e.Status == http.StatusForbidden:
		return "allow the credential to create the bucket " + bucket + ", and to list, read, write and delete objects in it and in the buckets that clients use"
	case e.Status >= http.StatusInternalServerError:
		return "check the log of the store"
	}
	return otherwise
}

// checkRoot opens the root as a start does.
func (k *checker) checkRoot(ctx context.Context) (root sealer.Root, record *sealer.RootRecord, found Finding) {
	s := k.State
	k.skipRoot = "no root could be opened"
	record, _, err := s.ReadRoot(ctx)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return root, nil, k.rootAbsent(ctx)
	}
	if err != nil {
		return root, nil, failed(restoreRoot, "%s", reason(err))
	}
	if k.skipKES != "" {
		k.skipRoot = k.skipKES
		return root, record, notTried("%s, and the root is sealed under the KES key %q", k.skipKES, record.KeyName)
	}
	root, err = s.OpenRoot(ctx, record)
	switch {
	case errors.Is(err, kms.ErrKeyNotFound):
		return root, record, failed(fmt.Sprintf("restore the key %q in KES from a backup: without it all sealed objects are lost", record.KeyName), "%s", reason(err))
	case errors.Is(err, kms.ErrNotAllowed):
		return root, record, failed(policyRemedy(k.KMS, record.KeyName, "decrypt"), "%s", reason(err))
	case errors.Is(err, state.ErrRefused):
		return root, record, failed(restoreRoot, "%s", reason(err))
	case err != nil:
		return root, record, failed("check the log of KES", "%s", reason(err))
	}
	k.skipRoot = ""
	if next := k.KMS.DefaultKey(); record.KeyName != next {
		return root, record, okay("%s opens with the KES key %q; the next start seals it under %q", root.ID, record.KeyName, next)
	}
	return root, record, okay("%s opens with the KES key %q", root.ID, record.KeyName)
}

// checkOldRoots opens the records below roots/, if there are any.
func (k *checker) checkOldRoots(ctx context.Context, present sealer.Root) {
	limited, cancel := context.WithTimeout(ctx, k.limits.Each)
	defer cancel()
	all, err := state.RootRecords(limited, k.State)
	if err == nil && len(all) == 0 {
		return
	}
	k.run(ctx, "old roots", "", func(context.Context) Finding {
		if err != nil {
			return failed("check the log of the store", "%s", reason(err))
		}
		var opened, under []string
		for _, r := range all {
			if r.Err != nil {
				return warning("restore the record and its KES key, or remove the record if \"ssegw inventory\" shows no object of that root", "%s does not open: %s", r.Name, reason(r.Err))
			}
			if r.ID != present.ID {
				opened = append(opened, r.ID.String())
			}
			if r.KeyName != k.KMS.DefaultKey() && !slices.Contains(under, r.KeyName) {
				under = append(under, r.KeyName)
			}
		}
		found := okay("%d open: %s", len(opened), strings.Join(opened, ", "))
		if len(under) > 0 {
			return warning("run \"ssegw rekey --root\" before you retire a KES key", "%s; records below roots/ are under %s", found.Detail, strings.Join(under, ", "))
		}
		return found
	})
}

const restoreRoot = `restore the object "root" of the state bucket from a backup`

// rootAbsent distinguishes a state bucket before the first start from one whose
// root was deleted.
func (k *checker) rootAbsent(ctx context.Context) Finding {
	names, err := k.State.Names(ctx)
	switch {
	case err != nil:
		return failed("check the log of the store", "%s", reason(err))
	case len(names) > 0:
		return failed(restoreRoot+", or name another bucket in SSEGW_STATE for a new installation",
			"the bucket holds %q but no root: the root was deleted, or the bucket is not the gateway's", names[0])
	}
	k.skipRoot = "the start creates them together with the root"
	return okay("does not exist yet: the start creates it")
}

// checkRules reads the rules as a start does.
func (k *checker) checkRules(ctx context.Context, root sealer.Root, initialised bool) Finding {
	const restore = `restore the object "rules" of the state bucket from a backup`
	revision, buckets, err := k.State.ReadRules(ctx, root)
	switch {
	case upstream.StatusOf(err) == http.StatusNotFound && !initialised:
		return okay("do not exist yet: the start creates them")
	case upstream.StatusOf(err) == http.StatusNotFound:
		return failed(restore, "were deleted")
	case errors.Is(err, state.ErrRules):
		return failed(restore, "%s", reason(err))
	case err != nil:
		return failed("check the log of the store", "%s", reason(err))
	}
	return okay("revision %d, for %d buckets", revision, buckets)
}
