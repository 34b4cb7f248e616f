package console

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"ssegw/kms"
	"ssegw/proxy/jobs"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// problems tells people about errors. The first match counts. An empty text
// means that of the error.
var problems = []struct {
	is     error
	status int
	code   string // in the audit file
	text   string
}{
	{kms.ErrKeyExists, http.StatusConflict, "KeyAlreadyExists", "KES has a key of that name already. Choose another name."},
	{kms.ErrKeyNotFound, http.StatusNotFound, "KeyNotFound", "KES has no key of that name. Create it on the page Keys."},
	{kms.ErrNotAllowed, http.StatusForbidden, "NotAuthorized", "KES does not allow it. Its policy for this gateway has to allow the operation on that key."},
	{kms.ErrInvalidKeyName, http.StatusBadRequest, "InvalidArgument", "That is no name of a KES key: 1 to 80 letters, digits, hyphens and underscores, without a hyphen at either end."},
	{kms.ErrUnreachable, http.StatusServiceUnavailable, "KMSNotAvailable", "No KES server answers. Look at the page Overview."},
	{jobs.ErrNoJob, http.StatusNotFound, "NoSuchJob", "There is no such job. Jobs that have ended are kept for 90 days."},
	{jobs.ErrEnded, http.StatusConflict, "JobEnded", "The job has ended."},
	{jobs.ErrBusy, http.StatusConflict, "JobBusy", "Another process runs the job."},
	{jobs.ErrUnconditional, http.StatusConflict, "Unconditional", "This store has no conditional writes. A write or delete by a client, between the job's look at an object and its own write, would be undone. " +
		"Stop all writes to the bucket, and tick \u201cNobody writes to the bucket meanwhile\u201d."},
	{jobs.ErrInvalid, http.StatusBadRequest, "InvalidArgument", ""},
	{state.ErrNotReady, http.StatusServiceUnavailable, "NotReady", "The gateway has not opened its state yet. The page Overview tells why."},
	{upstream.ErrUnavailable, http.StatusServiceUnavailable, "ServiceUnavailable", "The store does not answer. Look at the page Overview."},
}

// explain returns the status of an error and a text about it.
func explain(err error) (status int, text string) {
	var refused *apiError
	if errors.As(err, &refused) {
		return http.StatusBadRequest, refused.Message + " (" + refused.Code + ")"
	}
	for _, p := range problems {
		if !errors.Is(err, p.is) {
			continue
		}
		if p.text != "" {
			return p.status, p.text
		}
		return p.status, plainText(err)
	}
	switch status := upstream.StatusOf(err); {
	case status == http.StatusNotFound:
		return http.StatusNotFound, "The store has no such object."
	case status != 0:
		return http.StatusBadGateway, fmt.Sprintf("The store answers with an error (%d): %s", status, plainText(err))
	}
	return http.StatusInternalServerError, plainText(err)
}

// plainText returns the text of an error, without the package that made it.
func plainText(err error) string {
	text := err.Error()
	for _, name := range [...]string{"jobs: invalid: ", "jobs: ", "console: ", "kms: ", "state: ", "upstream: "} {
		text = strings.TrimPrefix(text, name)
	}
	return text
}

// codeOf returns the result of a change for the audit file.
func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	var refused *apiError
	if errors.As(err, &refused) {
		return refused.Code
	}
	for _, p := range problems {
		if errors.Is(err, p.is) {
			return p.code
		}
	}
	if errors.Is(err, errDenied) {
		return "AccessDenied"
	}
	return "InternalError"
}
