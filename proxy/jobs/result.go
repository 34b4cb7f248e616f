package jobs

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// Result is what became of an object. It is a phrase for people, and stays the
// same.
type Result string

const (
	ResultSealed   Result = "sealed"
	ResultRekeyed  Result = "rekeyed"
	ResultVerified Result = "verified"
	ResultCounted  Result = "counted"
	ResultWould    Result = "would be changed" // of a dry run

	ResultAlready  Result = "already done"      // the object is as the job would leave it
	ResultFiltered Result = "not selected"      // by the filter or the sample
	ResultGone     Result = "deleted meanwhile" // by a client
	ResultUnsealed Result = "not sealed"        // Rekey leaves objects in plaintext to Encrypt

	// These are left out: the operator has to do something about them.
	ResultOldVersion Result = "older version"     // it cannot be replaced in S3
	ResultCustomer   Result = "customer key"      // SSE-C, which only the client's key opens
	ResultChanging   Result = "keeps changing"    // a client wrote it each time the job did
	ResultPlaintext  Result = "plaintext"         // nothing authenticates it
	ResultLeft       Result = "left in plaintext" // Encrypt found it in its last look
	ResultFailed     Result = "failed"
)

// results are all results in the order of reports. Those from incomplete on are
// failures, or left for the operator.
var results = []Result{
	ResultSealed, ResultRekeyed, ResultVerified, ResultCounted, ResultWould,
	ResultAlready, ResultFiltered, ResultGone, ResultUnsealed,
	ResultOldVersion, ResultCustomer, ResultChanging, ResultPlaintext, ResultLeft, ResultFailed,
}

const incomplete = 9

// IsIncomplete reports whether objects of the result are failures, or left for
// the operator.
func (r Result) IsIncomplete() bool { return slices.Index(results, r) >= incomplete }

// Results returns the results that the job has counted, in the order of
// reports.
func (j *Job) Results() (list []Result) {
	for _, r := range results {
		if j.Count(r).Objects > 0 {
			list = append(list, r)
		}
	}
	return list
}

// outcome is the result of one object.
type outcome struct {
	result Result
	bytes  int64 // plaintext bytes, where they are known
	err    error // why it failed
}

// because ends the work on an object with a result that is no failure.
type because struct{ result Result }

func (b *because) Error() string { return "jobs: " + string(b.result) }

// outcomeOf returns the outcome of an object on which work ended with err; done
// is the result without one. size is in plaintext bytes.
func outcomeOf(done Result, size int64, err error) outcome {
	var known *because
	switch {
	case err == nil:
		return outcome{result: done, bytes: size}
	case errors.As(err, &known):
		return outcome{result: known.result, bytes: size}
	case errors.Is(err, object.ErrChanged):
		return outcome{result: ResultChanging}
	case isGone(err):
		return outcome{result: ResultGone}
	}
	return outcome{result: ResultFailed, err: err}
}

// isGone reports whether the store no longer has an object, or has a delete
// marker in its place.
func isGone(err error) bool {
	if errors.Is(err, s3.ErrNoSuchKey) {
		return true
	}
	status := upstream.StatusOf(err)
	isOther := upstream.IsCode(err, s3.ErrNoSuchBucket) || upstream.IsNoUpload(err)
	return status == http.StatusNotFound && !isOther || status == http.StatusMethodNotAllowed
}

// errUnreadable is returned for an object that the store lists and does not
// have.
var errUnreadable = errors.New("jobs: the store lists the object, and does not have it")

// isTransient reports whether an error may be gone soon: the store or KES does
// not answer.
func isTransient(err error) bool {
	return errors.Is(err, upstream.ErrUnavailable) || upstream.StatusOf(err) >= 500 || errors.Is(err, context.DeadlineExceeded) || isKMSDown(err)
}

// reason returns one line about an error, for reports.
func reason(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > maxWhy {
		text = text[:maxWhy] + "..."
	}
	return text
}
