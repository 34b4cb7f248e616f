package sigv4

import (
	"strings"
	"time"
)

const (
	algorithmV4   = "AWS4-HMAC-SHA256"
	algorithmV4A  = "AWS4-ECDSA-P256-SHA256"
	scopeTerminal = "aws4_request"
	serviceS3     = "s3"

	dayFormat  = "20060102"
	timeFormat = "20060102T150405Z"
	maxSkew    = 15 * time.Minute

	// dummySecret replaces the secret of an unknown access key, so that such a
	// request costs the same work.
	dummySecret = "an unknown access key is answered after the same work"
)

// scope is a credential scope without its terminal string.
type scope struct {
	date, region, service string
}

// String returns the scope as it appears in a string to sign.
func (s scope) String() string {
	return s.date + "/" + s.region + "/" + s.service + "/" + scopeTerminal
}

// credential is what a client claims, under any mechanism.
type credential struct {
	accessKey string
	scope     scope
	time      string // timeFormat
	signature string
}

// mechanism determines the errors for one way to send a credential.
type mechanism struct {
	code   string
	prefix string
}

var (
	byHeader = mechanism{CodeAuthorizationMalformed, "The authorization header is malformed; "}
	byQuery  = mechanism{CodeAuthorizationQuery, "Error parsing the X-Amz-Credential parameter; "}
	byPolicy = mechanism{CodeInvalidArgument, ""}
)

func (m mechanism) refuse(detail string) *Error { return newError(m.code, m.prefix+detail) }

// parseCredential splits "access key/date/region/service/aws4_request". The
// access key may contain slashes.
func (m mechanism) parseCredential(value string) (accessKey string, s scope, err error) {
	fields := strings.Split(value, "/")
	n := len(fields)
	terminal := fields[n-1]
	if n < 5 || n > 5 && terminal != scopeTerminal {
		return "", scope{}, m.refuse(
			`the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	if terminal != scopeTerminal {
		return "", scope{}, m.refuse(`incorrect terminal "` + terminal + `". This endpoint uses "aws4_request".`)
	}
	accessKey = strings.Join(fields[:n-4], "/")
	if accessKey == "" {
		return "", scope{}, m.refuse(`the Credential names no access key.`)
	}
	return accessKey, scope{date: fields[n-4], region: fields[n-3], service: fields[n-2]}, nil
}

// check compares the scope with the gateway's service and region and with the
// time of the request.
func (m mechanism) check(c *credential, region string, allowEmptyRegion bool) error {
	if c.scope.service != serviceS3 {
		return m.refuse(`incorrect service "` + c.scope.service + `". This endpoint belongs to "s3".`)
	}
	if region != AnyRegion && c.scope.region != region && (c.scope.region != "" || !allowEmptyRegion) {
		err := m.refuse(`the region "` + c.scope.region + `" is wrong; expecting "` + region + `"`)
		err.Details = []Detail{{"Region", region}}
		return err
	}
	if _, err := time.Parse(dayFormat, c.scope.date); err != nil {
		return m.refuse(`incorrect date format "` + c.scope.date +
			`". This date in the credential must be in the format "yyyyMMdd".`)
	}
	if !strings.HasPrefix(c.time, c.scope.date+"T") {
		return m.otherDay(c)
	}
	return nil
}

// otherDay refuses a credential whose date is not that of the request.
func (m mechanism) otherDay(c *credential) *Error {
	if m.code != CodeAuthorizationQuery {
		// Amazon S3 also repeats the words before the semicolon.
		return m.refuse(byHeader.prefix + "Invalid credential date. Date is not the same as X-Amz-Date.")
	}
	day, _, _ := strings.Cut(c.time, "T")
	return newError(m.code, `Invalid credential date "`+c.scope.date+`". This date is not the same as X-Amz-Date: "`+day+`".`)
}
