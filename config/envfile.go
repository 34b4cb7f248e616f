package config

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"strings"
)

// The variable that names the environment file, and MinIO's name for it.
const (
	envFile      = "SSEGW_CONFIG_ENV_FILE"
	minioEnvFile = "MINIO_CONFIG_ENV_FILE"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// readEnvFile overrides the environment with the variables of the environment
// file. The file wins, as in MinIO, because it can change while the process
// runs and a restart must see the change.
func (in *input) readEnvFile() {
	name := envFile
	path := cmp.Or(in.environ[envFile], in.environ[minioEnvFile])
	if in.environ[envFile] == "" {
		name = minioEnvFile
	}
	if path == "" {
		return
	}
	text, err := readFile(path)
	if err != nil {
		in.report(envFile, "%s: %v", name, err)
		return
	}
	variables, err := parseEnvFile(text)
	if err != nil {
		in.report(envFile, "%s: %s, %v", name, path, err)
		return
	}
	delete(variables, envFile)
	delete(variables, minioEnvFile)
	maps.Copy(in.environ, variables)
}

// parseEnvFile reads lines of the form NAME=value, as MinIO and systemd accept
// them. It ignores empty lines and lines that begin with #. "export " may
// precede the name, a value may be in single or double quotes, and a # after
// white space begins a comment. No other character is special. The error names
// the line but does not quote it, because the line may hold a secret.
func parseEnvFile(text string) (map[string]string, error) {
	variables := map[string]string{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, found := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		if name = strings.TrimSpace(name); !found || !variableName.MatchString(name) {
			return nil, fmt.Errorf("line %d: want NAME=value", number)
		}
		value, ok := parseEnvValue(strings.TrimSpace(rest))
		if !ok {
			return nil, fmt.Errorf("line %d: the quotes around the value of %s do not match", number, name)
		}
		variables[name] = value
	}
	return variables, nil
}

// parseEnvValue removes quotes and a trailing comment from a value. It reports
// false if the quotes do not match.
func parseEnvValue(text string) (value string, ok bool) {
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		value, rest, found := strings.Cut(text[1:], text[:1])
		rest = strings.TrimSpace(rest)
		return value, found && (rest == "" || rest[0] == '#')
	}
	for i := range len(text) {
		if text[i] == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t') {
			text = text[:i]
			break
		}
	}
	return strings.TrimSpace(text), true
}
