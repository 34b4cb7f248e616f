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

// readEnvFile lays the variables of the environment file over those of the
// environment. The file wins, as MinIO's does: it can change while the process
// runs, and a restart is to see that.
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

// parseEnvFile reads lines of the form NAME=value, as MinIO and systemd take
// them: empty lines and those that begin with # say nothing, "export " may stand
// before the name, a value may be in single or double quotes, and a # after
// white space begins a comment. No character of a value means anything else. The
// error names the line and does not quote it: it may hold a secret.
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

// parseEnvValue takes quotes and a comment off a value.
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
