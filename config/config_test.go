package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal is a short environment that Load accepts.
var minimal = []string{
	"SSEGW_ACCESS_KEY=gateway",
	"SSEGW_SECRET_KEY=correct-horse",
	"SSEGW_UPSTREAM_ENDPOINT=http://store:9000",
	"SSEGW_STATE=ssegw-state",
	"MINIO_KMS_KES_ENDPOINT=https://kes:7373",
	"MINIO_KMS_KES_API_KEY=kes:v1:AAAA",
	"MINIO_KMS_KES_KEY_NAME=default-key",
}

// with returns minimal changed by the entries: "NAME=value" sets, "-NAME"
// removes.
func with(entries ...string) []string {
	environ := append([]string(nil), minimal...)
	for _, entry := range entries {
		name, isUnset := strings.CutPrefix(entry, "-")
		if !isUnset {
			environ = append(environ, entry)
			continue
		}
		kept := environ[:0]
		for _, e := range environ {
			if !strings.HasPrefix(e, name+"=") {
				kept = append(kept, e)
			}
		}
		environ = kept
	}
	return environ
}

// referencePage is the environment file of MinIO's page on server-side
// encryption with KES, with the settings of the store added.
const referencePage = `# Add these environment variables to the existing environment file

MINIO_KMS_KES_ENDPOINT=https://kes:7373
export MINIO_KMS_KES_API_KEY="kes:v1:AAAA"  # the key of "kes identity new"
MINIO_KMS_KES_CAPATH=
MINIO_KMS_KES_KEY_NAME='default-key' # the default key

MINIO_VOLUMES="/mnt/data"
MINIO_ROOT_USER=somebody
SSEGW_UPSTREAM_ENDPOINT=http://store:9000
SSEGW_UPSTREAM_ACCESS_KEY=store-access
SSEGW_UPSTREAM_SECRET_KEY=store#secret=1
`

// files makes the folder that the environments of the tests call DIR.
func files(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"cert.pem":    "certificate",
		"key.pem":     "key",
		"secret":      "secret-from-file\n",
		"crlf":        "secret-from-file\r\n",
		"two-lines":   "secret-from-file\n\n",
		"short":       "short",
		"same":        "correct-horse\n",
		"user":        "user-from-file\n",
		"large":       strings.Repeat("x", maxFile+1),
		"nothing":     "",
		"ca/root.pem": "certificate",
		"other.env":   "SSEGW_REGION=garage\n",
		"minio.env":   referencePage,
		"bad.env":     "SSEGW_REGION=garage\nminio server hunter2\n",
		"quote.env":   "SSEGW_SECRET_KEY='hunter2\n",
		"unknown.env": "SSEGW_STAET=x\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// inDir replaces DIR in every entry.
func inDir(dir string, environ []string) []string {
	out := make([]string, len(environ))
	for i, e := range environ {
		out[i] = strings.ReplaceAll(e, "DIR", dir)
	}
	return out
}

// base returns the Config that minimal stands for.
func base() *Config {
	return &Config{
		Address:          ":9000",
		AdminAddress:     "127.0.0.1:9001",
		Console:          ConsoleOff,
		AccessKey:        "gateway",
		SecretKey:        NewSecret("correct-horse"),
		UpstreamEndpoint: &url.URL{Scheme: "http", Host: "store:9000"},
		UpstreamRegion:   "us-east-1",
		UpstreamBody:     UpstreamBodyAuto,
		State:            "ssegw-state",
		AutoEncryption:   AutoEncryptionOff,
		SealedOnly:       SealedOnlyAuto,
		HeaderDigest:     HeaderDigestRefuse,
		Region:           "us-east-1",
		SigV2:            SigV2Presigned,
		ForwardClient:    ForwardClientOff,
		HTTP2:            HTTP2Off,
		LogLevel:         "info",
		DrainTimeout:     30 * time.Second,
		MaxRequests:      1024,
		KESEndpoint:      "https://kes:7373",
		KESAPIKey:        NewSecret("kes:v1:AAAA"),
		KESKeyName:       "default-key",
		KMSTimeout:       900 * time.Millisecond,
		KMSPatience:      10 * time.Second,
		KMSCacheTTL:      time.Minute,
	}
}

func TestLoad(t *testing.T) {
	dir := files(t)
	for _, tt := range []struct {
		name    string
		environ []string
		change  func(*Config)
	}{
		{"minimal", minimal, func(*Config) {}},
		{"empty means default", with("SSEGW_STATE=", "SSEGW_CONFIG_ENV_FILE=", "SSEGW_ADDRESS=", "SSEGW_AUTO_ENCRYPTION=", "SSEGW_DOMAIN=", "SSEGW_TLS_TERMINATED=", "SSEGW_UPSTREAM_CAPATH="), func(*Config) {}},
		{"foreign variables", with("PATH=/bin", "MINIO_ROOT_USER=x", "MINIO_KMS_SECRET_KEY=x", "SSEGWX=1"), func(*Config) {}},
		{"kubernetes service", with("SSEGW_SERVICE_HOST=10.0.0.1", "SSEGW_SERVICE_PORT=9000", "SSEGW_SERVICE_PORT_S3=9000", "SSEGW_PORT=tcp://10.0.0.1:9000",
			"SSEGW_PORT_9000_TCP=tcp://10.0.0.1:9000", "SSEGW_PORT_9000_TCP_PROTO=tcp", "SSEGW_CONSOLE_PORT_9001_TCP_ADDR=10.0.0.2", "SSEGW_CONSOLE_PORT=tcp://10.0.0.2:9001"), func(*Config) {}},
		{"the reference page's file alone", []string{"MINIO_CONFIG_ENV_FILE=DIR/minio.env"}, func(c *Config) {
			c.EnvFile = dir + "/minio.env"
			c.AccessKey, c.SecretKey = "store-access", NewSecret("store#secret=1")
			c.UpstreamAccessKey, c.UpstreamSecretKey = c.AccessKey, c.SecretKey
		}},
		{"the environment file overrides the environment", with("SSEGW_CONFIG_ENV_FILE=DIR/other.env", "SSEGW_REGION=elsewhere"), func(c *Config) {
			c.EnvFile, c.Region = dir+"/other.env", "garage"
		}},
		{"environment file by two names", with("SSEGW_CONFIG_ENV_FILE=DIR/other.env", "MINIO_CONFIG_ENV_FILE=DIR/other.env"), func(c *Config) {
			c.EnvFile, c.Region = dir+"/other.env", "garage"
		}},
		{"the store's credential", with("-SSEGW_ACCESS_KEY", "-SSEGW_SECRET_KEY", "SSEGW_UPSTREAM_ACCESS_KEY=upstream", "SSEGW_UPSTREAM_SECRET_KEY=correct-store"), func(c *Config) {
			c.AccessKey, c.SecretKey = "upstream", NewSecret("correct-store")
			c.UpstreamAccessKey, c.UpstreamSecretKey = c.AccessKey, c.SecretKey
		}},
		{"addresses", with("SSEGW_ADDRESS=0.0.0.0:443", "SSEGW_ADMIN_ADDRESS=[::1]:0"), func(c *Config) {
			c.Address, c.AdminAddress = "0.0.0.0:443", "[::1]:0"
		}},
		{"any free port twice", with("SSEGW_ADDRESS=:0", "SSEGW_ADMIN_ADDRESS=:0"), func(c *Config) {
			c.Address, c.AdminAddress = ":0", ":0"
		}},
		{"upstream", with("SSEGW_UPSTREAM_ENDPOINT=HTTPS://s3.example.com/", "SSEGW_UPSTREAM_REGION=eu-west-1", "SSEGW_UPSTREAM_ACCESS_KEY=up", "SSEGW_UPSTREAM_SECRET_KEY=minioadmin",
			"SSEGW_UPSTREAM_CAPATH=DIR/ca", "SSEGW_UPSTREAM_BODY=signed"), func(c *Config) {
			c.UpstreamEndpoint = &url.URL{Scheme: "https", Host: "s3.example.com"}
			c.UpstreamRegion, c.UpstreamAccessKey, c.UpstreamSecretKey = "eu-west-1", "up", NewSecret("minioadmin")
			c.UpstreamCAPath, c.UpstreamBody = dir+"/ca", UpstreamBodySigned
		}},
		{"policy", with("SSEGW_AUTO_ENCRYPTION=sse-s3", "SSEGW_SEALED_ONLY=always", "SSEGW_HEADER_DIGEST=warn"), func(c *Config) {
			c.AutoEncryption, c.SealedOnly, c.HeaderDigest = AutoEncryptionSSES3, SealedOnlyAlways, HeaderDigestWarn
		}},
		{"clients", with("SSEGW_REGION=garage", "SSEGW_DOMAIN= S3.example.com,,localhost, s3.example.com"), func(c *Config) {
			c.Region, c.Domain = "garage", []string{"s3.example.com", "localhost"}
		}},
		{"console", with("SSEGW_CONSOLE=on"), func(c *Config) { c.Console = ConsoleOn }},
		{"any region", with("SSEGW_REGION=*"), func(c *Config) { c.Region = "*" }},
		{"protection", with("SSEGW_REQUIRE=reports=sse-kms:my-key,logs-*=sse,a=sse-s3,b=sse-c", "SSEGW_SIGV2=off"), func(c *Config) {
			c.Require, c.SigV2 = []string{"reports=sse-kms:my-key", "logs-*=sse", "a=sse-s3", "b=sse-c"}, SigV2Off
		}},
		{"proxies", with("SSEGW_FORWARD_CLIENT=on", "SSEGW_TRUSTED_PROXIES=10.0.0.0/8,::1,192.0.2.7"), func(c *Config) {
			c.ForwardClient, c.TrustedProxies = ForwardClientOn, []string{"10.0.0.0/8", "::1", "192.0.2.7"}
		}},
		{"tls", with("SSEGW_HTTP2=on", "SSEGW_TLS_CERT_FILE=DIR/cert.pem", "SSEGW_TLS_KEY_FILE=DIR/key.pem", "SSEGW_TLS_TERMINATED=1"), func(c *Config) {
			c.HTTP2 = HTTP2On
			c.TLSCertFile, c.TLSKeyFile, c.TLSTerminated = dir+"/cert.pem", dir+"/key.pem", true
		}},
		{"running", with("SSEGW_LOG_LEVEL=debug", "SSEGW_DRAIN_TIMEOUT=2m", "SSEGW_MAX_REQUESTS=1"), func(c *Config) {
			c.LogLevel, c.DrainTimeout, c.MaxRequests = "debug", 2*time.Minute, 1
		}},
		{"keys", with("SSEGW_KMS_TIMEOUT=5s", "SSEGW_KMS_CACHE_TTL=0", "SSEGW_AUDIT_FILE=DIR/audit/not/there.log"), func(c *Config) {
			c.KMSTimeout, c.KMSCacheTTL, c.AuditFile = 5*time.Second, 0, dir+"/audit/not/there.log"
		}},
		{"no less patience than time for KES", with("SSEGW_KMS_TIMEOUT=30s", "SSEGW_KMS_PATIENCE=1s"), func(c *Config) {
			c.KMSTimeout, c.KMSPatience = 30*time.Second, 30*time.Second
		}},
		{"secret from file", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/secret"), func(c *Config) { c.SecretKey = NewSecret("secret-from-file") }},
		{"secret from file with CRLF", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/crlf"), func(c *Config) { c.SecretKey = NewSecret("secret-from-file") }},
		{"access key from file", with("-SSEGW_ACCESS_KEY", "SSEGW_ACCESS_KEY_FILE=DIR/user"), func(c *Config) { c.AccessKey = "user-from-file" }},
		{"our spelling of KES", []string{"SSEGW_ACCESS_KEY=gateway", "SSEGW_SECRET_KEY=correct-horse", "SSEGW_UPSTREAM_ENDPOINT=http://store:9000", "SSEGW_STATE=ssegw-state",
			"SSEGW_KMS_KES_ENDPOINT=https://kes:7373", "SSEGW_KMS_KES_API_KEY=kes:v1:AAAA", "SSEGW_KMS_KES_KEY_NAME=default-key"}, func(*Config) {}},
		{"both spellings agree", with("SSEGW_KMS_KES_KEY_NAME=default-key"), func(*Config) {}},
		{"spelling and file of the other agree", with("-MINIO_KMS_KES_API_KEY", "SSEGW_KMS_KES_API_KEY=correct-horse", "MINIO_KMS_KES_API_KEY_FILE=DIR/same"), func(c *Config) { c.KESAPIKey = NewSecret("correct-horse") }},
		{"KES certificate", with("-MINIO_KMS_KES_API_KEY", "MINIO_KMS_KES_CERT_FILE=DIR/cert.pem", "SSEGW_KMS_KES_KEY_FILE=DIR/key.pem", "MINIO_KMS_KES_KEY_PASSWORD=hush", "MINIO_KMS_KES_CAPATH=DIR/ca/root.pem"), func(c *Config) {
			c.KESAPIKey, c.KESCertFile, c.KESKeyFile = Secret{}, dir+"/cert.pem", dir+"/key.pem"
			c.KESKeyPassword, c.KESCAPath = NewSecret("hush"), dir+"/ca/root.pem"
		}},
		{"MinIO's switch on", with("MINIO_KMS_AUTO_ENCRYPTION=on"), func(c *Config) { c.AutoEncryption = AutoEncryptionSSEKMS }},
		{"MinIO's switch agrees", with("MINIO_KMS_AUTO_ENCRYPTION=on", "SSEGW_AUTO_ENCRYPTION=sse-kms"), func(c *Config) { c.AutoEncryption = AutoEncryptionSSEKMS }},
		{"MinIO's switch off and empty", with("MINIO_KMS_AUTO_ENCRYPTION="), func(*Config) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := base()
			tt.change(want)
			got, err := Load(inDir(dir, tt.environ))
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

// Load must not fall back on the environment of the process.
func TestLoadIgnoresProcess(t *testing.T) {
	for _, entry := range minimal {
		name, text, _ := strings.Cut(entry, "=")
		t.Setenv(name, text)
	}
	if _, err := Load(nil); err == nil {
		t.Error("Load(nil) took the environment of the process")
	}
}

func TestProblem(t *testing.T) {
	_, err := Load(with("-SSEGW_SECRET_KEY"))
	var p *Problem
	if !errors.As(err, &p) || p.Variable != "SSEGW_SECRET_KEY" {
		t.Errorf("errors.As gave %+v from %v", p, err)
	}
}

func TestSecretNeverPrints(t *testing.T) {
	c, err := Load(with("SSEGW_UPSTREAM_ACCESS_KEY=up", "SSEGW_UPSTREAM_SECRET_KEY=upstream-secret", "MINIO_KMS_KES_KEY_PASSWORD=hush-hush"))
	if err != nil {
		t.Fatal(err)
	}
	outer := struct{ hidden Config }{*c}
	texts := []string{mustJSON(t, c), mustJSON(t, *c), mustJSON(t, map[Secret]int{c.SecretKey: 1})}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		for _, v := range []any{c, *c, outer, &outer, c.SecretKey, &c.SecretKey, []Secret{c.SecretKey}, map[string]Secret{"": c.SecretKey}} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
	}
	for _, text := range texts {
		for _, secret := range []string{"correct-horse", "upstream-secret", "hush-hush", "kes:v1:AAAA"} {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret))} {
				if strings.Contains(text, form) {
					t.Errorf("%q shows in %s", secret, text)
				}
			}
		}
	}
	if got := fmt.Sprintf("%s|%v|%#v|%x|%d", c.SecretKey, c.SecretKey, c.SecretKey, c.SecretKey, c.SecretKey); got != strings.Repeat("[secret]|", 4)+"[secret]" {
		t.Errorf("a secret prints as %s", got)
	}
	if got := c.SecretKey.String() + c.SecretKey.GoString(); got != "[secret][secret]" {
		t.Errorf("String and GoString give %s", got)
	}
}

func TestSecretEqual(t *testing.T) {
	var zero Secret
	a, b := NewSecret("a"), NewSecret("b")
	for _, tt := range []struct {
		x, y Secret
		want bool
	}{{a, NewSecret("a"), true}, {a, b, false}, {a, zero, false}, {zero, NewSecret(""), true}, {zero, zero, true}} {
		if got := tt.x.Equal(tt.y); got != tt.want {
			t.Errorf("%q.Equal(%q) = %v", tt.x.Reveal(), tt.y.Reveal(), got)
		}
	}
	if !zero.IsZero() || !NewSecret("").IsZero() || a.IsZero() {
		t.Error("IsZero is wrong")
	}
}

// TestLoadGroups checks that only the settings of the groups can be wrong, and
// those of the environment file.
func TestLoadGroups(t *testing.T) {
	kes := []string{"MINIO_KMS_KES_ENDPOINT=https://kes:7373", "MINIO_KMS_KES_API_KEY=kes:v1:AAAA", "MINIO_KMS_KES_KEY_NAME=default-key"}
	store := []string{"SSEGW_UPSTREAM_ENDPOINT=http://store:9000"}
	for _, tt := range []struct {
		name    string
		environ []string
		groups  []string
		want    string // of the error
	}{
		{"KES alone", kes, []string{GroupKES}, ""},
		{"the store alone", store, []string{GroupStore}, ""},
		{"settings of others are wrong", append(kes, "SSEGW_STATE=B", "SSEGW_TLS_CERT_FILE=/nonexistent", "SSEGW_MAX_REQUESTS=many"), []string{GroupKES}, ""},
		{"no endpoint of KES", kes[1:], []string{GroupKES}, "config: incomplete configuration for KES: missing 'MINIO_KMS_KES_ENDPOINT'"},
		{"no KES", store, []string{GroupKES}, "config: KES is not configured: set 'MINIO_KMS_KES_ENDPOINT', 'MINIO_KMS_KES_KEY_NAME' and 'MINIO_KMS_KES_API_KEY'"},
		{"no store", kes, []string{GroupStore, GroupKES}, "config: SSEGW_UPSTREAM_ENDPOINT is required and not set"},
		{"typing mistake", append(kes, "SSEGW_KMS_TIMOUT=1s"), []string{GroupKES}, "config: unknown variable SSEGW_KMS_TIMOUT: did you mean SSEGW_KMS_TIMEOUT?"},
		{"environment file", append(kes, "SSEGW_CONFIG_ENV_FILE=/nonexistent"), []string{GroupKES}, "config: SSEGW_CONFIG_ENV_FILE: open /nonexistent: no such file or directory"},
	} {
		c, err := LoadGroups(tt.environ, tt.groups...)
		if got := fmt.Sprint(err); err != nil && got != tt.want || err == nil && tt.want != "" {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err == nil && c.KMSTimeout != 900*time.Millisecond {
			t.Errorf("%s: the defaults are missing", tt.name)
		}
	}
	for _, group := range []string{GroupStore, GroupKES} {
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.group == group }) {
			t.Errorf("no group %q", group)
		}
	}
}
