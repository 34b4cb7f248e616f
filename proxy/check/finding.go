package check

import (
	"fmt"
	"regexp"
	"strings"
)

// Status is the outcome of a check.
type Status string

// The statuses. After a failure an operator must act. A warning names something
// that does not work, or not well.
const (
	StatusOK       Status = "ok"
	StatusWarning  Status = "warning"
	StatusFailed   Status = "failed"
	StatusNotTried Status = "not tried" // the detail says why
)

// Finding is the result of one check. Each of its texts is one line without
// secrets. Name and Detail are read together, as in "rules: were deleted".
type Finding struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`           // what was found
	Remedy string `json:"remedy,omitempty"` // what to do; only for warnings and failures
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

// noKES is the reason for not trying what needs KES.
const noKES = "KES does not answer"

// named returns the finding with a name.
func (f Finding) named(name string) Finding {
	f.Name = name
	return f
}

// packagePrefix matches the names of packages that begin errors. It does not
// match the same words inside a text, such as a host with the name kms.
var packagePrefix = regexp.MustCompile(`(?m)(^|: )(?:(?:assembly|audit|check|files|kms|object|payload|proxy|s3|sealer|sigv4|sse|state|task|upstream): )+`)

// reason returns the text of an error for an operator: one line, without the
// names of packages.
func reason(err error) string {
	return strings.ReplaceAll(packagePrefix.ReplaceAllString(err.Error(), "$1"), "\n", " ")
}
