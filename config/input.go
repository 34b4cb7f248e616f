package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v10"
)

const (
	// fileSuffix turns the name of a variable into that of the variable which
	// names a file with its value.
	fileSuffix = "_FILE"
	// maxFile is the largest size of such a file, in bytes.
	maxFile = 64 << 10
	// minioAutoEncryption is MinIO's switch for SSE-KMS in every bucket.
	minioAutoEncryption = "MINIO_KMS_AUTO_ENCRYPTION"
)

// Problem describes one wrong setting.
type Problem struct {
	Variable string // canonical name of the variable
	Text     string // what is wrong, on one line, without any secret
}

// Error returns the text as one line.
func (p *Problem) Error() string { return "config: " + p.Text }

// value is the text of a setting and the variable that it came from.
type value struct{ text, from string }

// input holds the state of one Load: the values that were set and the problems
// found. It keeps only the first problem of a variable, so that a file that
// cannot be read is not also reported as a missing value.
type input struct {
	environ  map[string]string
	values   map[string]value // by canonical name; absent when not set
	problems []*Problem
	wrong    map[string]bool // variables that have a problem
	groups   []string        // whose problems matter; nil: all
}

func newInput(environ []string) *input {
	return &input{
		environ: env.ToMap(environ),
		values:  map[string]value{},
		wrong:   map[string]bool{},
	}
}

// report records a problem of variable. It formats the text with [fmt.Sprintf].
func (in *input) report(variable, format string, args ...any) {
	if in.wrong[variable] {
		return
	}
	in.wrong[variable] = true
	in.problems = append(in.problems, &Problem{variable, oneLine(fmt.Sprintf(format, args...))})
}

// oneLine escapes line breaks in s, which may contain a value or a file name.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

// err joins the problems: unknown variables first, then the others in the order
// of the settings. It returns nil if there are no problems.
func (in *input) err() error {
	in.problems = slices.DeleteFunc(in.problems, func(p *Problem) bool {
		group := groupOf(p.Variable)
		return in.groups != nil && group != "" && !slices.Contains(in.groups, group)
	})
	rank := func(p *Problem) int {
		return slices.IndexFunc(settings, func(s setting) bool { return s.name == p.Variable })
	}
	slices.SortStableFunc(in.problems, func(a, b *Problem) int { return cmp.Compare(rank(a), rank(b)) })
	errs := make([]error, len(in.problems))
	for i, p := range in.problems {
		errs[i] = p
	}
	return errors.Join(errs...)
}

// isSet reports whether variable was set, even to the empty string.
func (in *input) isSet(variable string) bool {
	_, ok := in.values[variable]
	return ok || in.wrong[variable]
}

// shown returns the spelling that the operator used for variable.
func (in *input) shown(variable string) string {
	if v, ok := in.values[variable]; ok {
		return v.from
	}
	return variable
}

// resolve determines the value of each setting from its spellings and files.
func (in *input) resolve() {
	for _, s := range settings {
		var sources []value
		for _, name := range s.spellings() {
			sources = in.appendSource(sources, s, name)
		}
		if s.name == "SSEGW_AUTO_ENCRYPTION" {
			sources = in.appendMinIOAuto(sources)
		}
		in.choose(s, sources)
	}
}

// Variables of the credentials that clients and the gateway use.
const (
	rootAccess     = "SSEGW_ACCESS_KEY"
	rootSecret     = "SSEGW_SECRET_KEY"
	upstreamAccess = "SSEGW_UPSTREAM_ACCESS_KEY"
	upstreamSecret = "SSEGW_UPSTREAM_SECRET_KEY"
)

// shareCredential makes the store's credential the root credential if no root
// credential is set. Clients that move over from the store then change only the
// endpoint.
func (in *input) shareCredential() {
	if in.isSet(rootAccess) || in.isSet(rootSecret) || !in.isSet(upstreamAccess) || !in.isSet(upstreamSecret) {
		return
	}
	in.values[rootAccess] = in.values[upstreamAccess]
	in.values[rootSecret] = in.values[upstreamSecret]
}

// appendSource appends the value that name, or a file named by name_FILE, gives
// to s.
func (in *input) appendSource(sources []value, s setting, name string) []value {
	text, direct := in.environ[name]
	path, filed := in.environ[name+fileSuffix]
	filed = filed && s.file
	switch {
	case direct && filed:
		in.report(s.name, "%s and %s are both set: set one", name, name+fileSuffix)
	case direct:
		return append(sources, value{text, name})
	case filed:
		text, err := readFile(path)
		if err != nil {
			in.report(s.name, "%s: %v", name+fileSuffix, err)
			break
		}
		return append(sources, value{text, name + fileSuffix})
	}
	return sources
}

// appendMinIOAuto appends the rule that MinIO's own switch selects. The gateway
// ignores all other MINIO_* variables that are not in the tags.
func (in *input) appendMinIOAuto(sources []value) []value {
	switch text := in.environ[minioAutoEncryption]; text {
	case "":
		return sources
	case "on":
		return append(sources, value{string(AutoEncryptionSSEKMS), minioAutoEncryption})
	case "off":
		return append(sources, value{string(AutoEncryptionOff), minioAutoEncryption})
	default:
		in.report("SSEGW_AUTO_ENCRYPTION", "%s must be on or off, not %q", minioAutoEncryption, text)
		return sources
	}
}

// choose sets s to the value that all sources agree on, or reports a problem.
func (in *input) choose(s setting, sources []value) {
	if len(sources) == 0 || in.wrong[s.name] {
		return
	}
	first := sources[0]
	for _, other := range sources[1:] {
		if other.text != first.text {
			in.report(s.name, "%s and %s are set to different values: set one", first.from, other.from)
			return
		}
	}
	in.values[s.name] = first
}

// readFile returns the content of a secret's file without a line break at the
// end. The error names the file.
func readFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("names no file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxFile {
		return "", fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	text := strings.TrimSuffix(string(content), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

// parse fills c from the values and the defaults.
func (in *input) parse(c *Config) {
	plain := make(map[string]string, len(in.values)) // env takes nil to mean the environment of the process
	for name, v := range in.values {
		plain[name] = v.text
	}
	err := env.ParseWithOptions(c, env.Options{
		Environment: plain,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[url.URL](): func(text string) (any, error) { return parseEndpoint(text) },
		},
	})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return
	}
	for _, err := range all.Errors {
		in.reportParse(err)
	}
}

// reportParse translates an error of package env for the operator.
func (in *input) reportParse(err error) {
	var empty env.EmptyEnvVarError
	if errors.As(err, &empty) {
		state := "not set"
		if in.isSet(empty.Key) {
			state = "empty"
		}
		in.report(empty.Key, "%s is required and %s", in.shown(empty.Key), state)
		return
	}
	var bad env.ParseError
	if !errors.As(err, &bad) {
		in.report("", "%v", err)
		return
	}
	i := slices.IndexFunc(settings, func(s setting) bool { return s.field == bad.Name })
	name := settings[i].name
	text := in.values[name].text
	switch bad.Type {
	case reflect.TypeFor[bool]():
		in.report(name, "%s must be true or false, not %q", in.shown(name), text)
	case reflect.TypeFor[int]():
		in.report(name, "%s must be a whole number, not %q", in.shown(name), text)
	case reflect.TypeFor[time.Duration]():
		in.report(name, "%s must be a duration such as 30s or 2m, not %q", in.shown(name), text)
	default:
		in.report(name, "%s %v", in.shown(name), bad.Err)
	}
}
