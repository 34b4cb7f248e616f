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
	// fileSuffix makes of a variable the one that names a file with its value.
	fileSuffix = "_FILE"
	// maxFile bounds the size in bytes of such a file.
	maxFile = 64 << 10
	// minioAutoEncryption is MinIO's switch for SSE-KMS in every bucket.
	minioAutoEncryption = "MINIO_KMS_AUTO_ENCRYPTION"
)

// Problem is one setting that is wrong.
type Problem struct {
	Variable string // canonical name of the variable
	Text     string // what is wrong: one line, without the value of any secret
}

// Error returns the text as one line.
func (p *Problem) Error() string { return "config: " + p.Text }

// value is the text of a setting and the variable that gave it.
type value struct{ text, from string }

// input is one reading of the environment: what was set, and what is wrong
// with it. Only the first problem of a variable is kept, so that a file that
// can't be read is not reported as a missing value too.
type input struct {
	environ  map[string]string
	values   map[string]value // by canonical name; absent when not set
	problems []*Problem
	wrong    map[string]bool // variables that have a problem
}

func newInput(environ []string) *input {
	return &input{
		environ: env.ToMap(environ),
		values:  map[string]value{},
		wrong:   map[string]bool{},
	}
}

// report notes that variable is wrong; the text is as [fmt.Sprintf] makes it.
func (in *input) report(variable, format string, args ...any) {
	if in.wrong[variable] {
		return
	}
	in.wrong[variable] = true
	in.problems = append(in.problems, &Problem{variable, oneLine(fmt.Sprintf(format, args...))})
}

// oneLine keeps a line break in a value or a file's name from making two
// lines of a problem.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

// err joins the problems, unknown variables first and the others in the order
// of the settings; nil when there are none.
func (in *input) err() error {
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

// isSet reports whether variable was set, be it to nothing.
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

// resolve finds the one value of every setting among its spellings and files.
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

// The credentials that clients and the gateway use.
const (
	rootAccess     = "SSEGW_ACCESS_KEY"
	rootSecret     = "SSEGW_SECRET_KEY"
	upstreamAccess = "SSEGW_UPSTREAM_ACCESS_KEY"
	upstreamSecret = "SSEGW_UPSTREAM_SECRET_KEY"
)

// shareCredential makes the store's credential the root credential where none is
// set: clients that come from the store change nothing but the endpoint.
func (in *input) shareCredential() {
	if in.isSet(rootAccess) || in.isSet(rootSecret) || !in.isSet(upstreamAccess) || !in.isSet(upstreamSecret) {
		return
	}
	in.values[rootAccess] = in.values[upstreamAccess]
	in.values[rootSecret] = in.values[upstreamSecret]
}

// appendSource appends what name, or the file that name_FILE names, sets s to.
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

// appendMinIOAuto appends the rule that MinIO's own switch stands for. Other
// MINIO_* variables that the tags do not name mean nothing to the gateway.
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

// choose takes the value that all sources agree on.
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

// readFile returns the content of a secret's file less one line break at its
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
	plain := make(map[string]string, len(in.values)) // not nil: that would mean the process's environment
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

// reportParse words an error of package env for the operator.
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
