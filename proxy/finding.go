package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
)

// Status is how a check, or a look at one side of an object, came out.
type Status string

// The statuses. A failed one needs an operator, a warning says what does not work.
const (
	StatusOK       Status = "ok"
	StatusWarning  Status = "warning"
	StatusFailed   Status = "failed"
	StatusNotTried Status = "not tried" // the detail says why
)

// Finding is the outcome of one check. All its texts are one line and hold no secret.
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`           // what was seen
	Remedy string `json:"remedy,omitempty"` // what to do; only of warnings and failures
}

func okay(format string, args ...any) Finding {
	return Finding{Status: StatusOK, Detail: fmt.Sprintf(format, args...)}
}

func warning(remedy, format string, args ...any) Finding {
	return Finding{Status: StatusWarning, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func failed(remedy, format string, args ...any) Finding {
	return Finding{Status: StatusFailed, Detail: fmt.Sprintf(format, args...), Remedy: remedy}
}

func notTried(format string, args ...any) Finding {
	return Finding{Status: StatusNotTried, Detail: fmt.Sprintf(format, args...)}
}

// noKES is why something is not tried without KES.
const noKES = "KES does not answer"

// named is the finding under a name.
func (f Finding) named(name string) Finding {
	f.Name = name
	return f
}

// withoutPackages takes the names of packages out of an error's text.
var withoutPackages = strings.NewReplacer("proxy: ", "", "kms: ", "", "sealer: ", "", "\n", " ")

// reason is the text of an error for an operator: one line.
func reason(err error) string { return withoutPackages.Replace(err.Error()) }

// own is the gateway's own reader of an object, in no client's name.
func (s *Server) own(ctx context.Context, bucket, key, versionID string) *reader {
	r := &s3.Request{Bucket: bucket, Key: key, Header: http.Header{}, Query: url.Values{}}
	if versionID != "" {
		r.Query.Set("versionId", versionID)
	}
	return &reader{
		Server: s, in: (&http.Request{Method: http.MethodGet}).WithContext(ctx), req: r,
		auth: &sigv4.Auth{}, credential: s.root, log: s.Log,
	}
}
