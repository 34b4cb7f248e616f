package config

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestLoadProblems loads bad environments and compares the exact error lines,
// without "config: ".
func TestLoadProblems(t *testing.T) {
	dir := files(t)
	for _, tt := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"nothing set", nil, []string{
			"SSEGW_ACCESS_KEY is required and not set",
			"SSEGW_SECRET_KEY is required and not set",
			"SSEGW_UPSTREAM_ENDPOINT is required and not set",
			"KES is not configured: set 'MINIO_KMS_KES_ENDPOINT', 'MINIO_KMS_KES_KEY_NAME' and 'MINIO_KMS_KES_API_KEY'",
		}},
		{"typing mistake comes first", with("-SSEGW_UPSTREAM_ENDPOINT", "SSEGW_UPSTREAM_ENDPIONT=b"), []string{
			"unknown variable SSEGW_UPSTREAM_ENDPIONT: did you mean SSEGW_UPSTREAM_ENDPOINT?",
			"SSEGW_UPSTREAM_ENDPOINT is required and not set",
		}},
		{"lower case", with("ssegw_region=x"), []string{"unknown variable ssegw_region: did you mean SSEGW_REGION?"}},
		{"mistake in a file's variable", with("SSEGW_SECRET_KEYFILE=x"), []string{"unknown variable SSEGW_SECRET_KEYFILE: did you mean SSEGW_SECRET_KEY_FILE?"}},
		{"KMS left out", with("SSEGW_KES_ENDPOINT=x"), []string{"unknown variable SSEGW_KES_ENDPOINT: did you mean SSEGW_KMS_KES_ENDPOINT?"}},
		{"nothing near", with("SSEGW_SOMETHING_ELSE_ALTOGETHER=x"), []string{"unknown variable SSEGW_SOMETHING_ELSE_ALTOGETHER"}},
		{"no file for a setting that is not secret", with("SSEGW_STATE_FILE=x"), []string{"unknown variable SSEGW_STATE_FILE"}},
		{"a port that Kubernetes did not set", with("SSEGW_PORT=9000"), []string{"unknown variable SSEGW_PORT"}},
		{"several", with("SSEGW_B_NO_SUCH_VARIABLE=", "SSEGW_A_NO_SUCH_VARIABLE=", "SSEGW_STATE=B", "SSEGW_MAX_REQUESTS=0"), []string{
			"unknown variable SSEGW_A_NO_SUCH_VARIABLE",
			"unknown variable SSEGW_B_NO_SUCH_VARIABLE",
			`SSEGW_STATE must be a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens: "B"`,
			"SSEGW_MAX_REQUESTS must be at least 1, not 0",
		}},

		{"address", with("SSEGW_ADDRESS=9000"), []string{`SSEGW_ADDRESS must be HOST:PORT or :PORT with a port from 0 to 65535, not "9000"`}},
		{"port", with("SSEGW_ADMIN_ADDRESS=:65536"), []string{`SSEGW_ADMIN_ADDRESS must be HOST:PORT or :PORT with a port from 0 to 65535, not ":65536"`}},
		{"one address", with("SSEGW_ADDRESS=:1", "SSEGW_ADMIN_ADDRESS=:1"), []string{`SSEGW_ADMIN_ADDRESS and SSEGW_ADDRESS must not be the same: ":1"`}},
		{"one address, and wrong", with("SSEGW_ADDRESS=:x", "SSEGW_ADMIN_ADDRESS=:x"), []string{
			`SSEGW_ADDRESS must be HOST:PORT or :PORT with a port from 0 to 65535, not ":x"`,
			`SSEGW_ADMIN_ADDRESS must be HOST:PORT or :PORT with a port from 0 to 65535, not ":x"`,
		}},

		{"requirement without a bucket", with("SSEGW_REQUIRE=sse"), []string{`SSEGW_REQUIRE must be BUCKET=SCHEME, where BUCKET may end in *: "sse"`}},
		{"requirement of no scheme", with("SSEGW_REQUIRE=b=aws:kms"), []string{`SSEGW_REQUIRE must require sse, sse-s3, sse-kms or sse-c: "b=aws:kms"`}},
		{"requirement of keys", with("SSEGW_REQUIRE=b=sse-kms:k-*,b=sse-s3:k"), []string{`SSEGW_REQUIRE may name a KES key only behind sse-kms: "b=sse-kms:k-*"`}},
		{"proxy", with("SSEGW_TRUSTED_PROXIES=10.0.0.0/33"), []string{`SSEGW_TRUSTED_PROXIES must be addresses or ranges such as 10.0.0.0/8, not "10.0.0.0/33"`}},

		{"empty access key", with("SSEGW_ACCESS_KEY="), []string{"SSEGW_ACCESS_KEY is required and empty"}},
		{"short access key", with("SSEGW_ACCESS_KEY=ab"), []string{"SSEGW_ACCESS_KEY must have at least 3 characters"}},
		{"slash in access key", with("SSEGW_ACCESS_KEY=a/bc"), []string{"SSEGW_ACCESS_KEY must be letters, digits and signs other than / , and ="}},
		{"empty secret key", with("SSEGW_SECRET_KEY="), []string{"SSEGW_SECRET_KEY is required and empty"}},
		{"short secret key", with("SSEGW_SECRET_KEY=1234567"), []string{"SSEGW_SECRET_KEY must have at least 8 characters"}},
		{"minioadmin", with("SSEGW_ACCESS_KEY=minioadmin", "SSEGW_SECRET_KEY=minioadmin"), []string{"SSEGW_SECRET_KEY must not be the same as the access key"}},
		{"admin", with("SSEGW_ACCESS_KEY=admin", "SSEGW_SECRET_KEY=admin"), []string{"SSEGW_SECRET_KEY must not be the same as the access key"}},
		{"well-known secret key", with("SSEGW_SECRET_KEY=minioadmin"), []string{"SSEGW_SECRET_KEY must not be a well-known default"}},

		{"only an access key", with("-SSEGW_SECRET_KEY", "SSEGW_UPSTREAM_ACCESS_KEY=up", "SSEGW_UPSTREAM_SECRET_KEY=correct-store"), []string{"SSEGW_SECRET_KEY is required and not set"}},
		{"the store's credential is well known", with("-SSEGW_ACCESS_KEY", "-SSEGW_SECRET_KEY", "SSEGW_UPSTREAM_ACCESS_KEY=admin", "SSEGW_UPSTREAM_SECRET_KEY=minioadmin"), []string{
			"SSEGW_UPSTREAM_SECRET_KEY must not be a well-known default: set SSEGW_ACCESS_KEY and SSEGW_SECRET_KEY"}},

		{"environment file missing", with("SSEGW_CONFIG_ENV_FILE=DIR/none"), []string{"SSEGW_CONFIG_ENV_FILE: open DIR/none: no such file or directory"}},
		{"environment file, MinIO's name", with("MINIO_CONFIG_ENV_FILE=DIR/none"), []string{"MINIO_CONFIG_ENV_FILE: open DIR/none: no such file or directory"}},
		{"environment file with rubbish", with("SSEGW_CONFIG_ENV_FILE=DIR/bad.env"), []string{"SSEGW_CONFIG_ENV_FILE: DIR/bad.env, line 2: want NAME=value"}},
		{"environment file with a quote", with("SSEGW_CONFIG_ENV_FILE=DIR/quote.env"), []string{"SSEGW_CONFIG_ENV_FILE: DIR/quote.env, line 1: the quotes around the value of SSEGW_SECRET_KEY do not match"}},
		{"environment file with a typing mistake", with("SSEGW_CONFIG_ENV_FILE=DIR/unknown.env"), []string{"unknown variable SSEGW_STAET: did you mean SSEGW_STATE?"}},
		{"two environment files", with("SSEGW_CONFIG_ENV_FILE=DIR/other.env", "MINIO_CONFIG_ENV_FILE=DIR/minio.env"), []string{
			"SSEGW_CONFIG_ENV_FILE and MINIO_CONFIG_ENV_FILE are set to different values: set one"}},

		{"upstream is not a URL", with("SSEGW_UPSTREAM_ENDPOINT=http://user:hunter2@store:port"), []string{"SSEGW_UPSTREAM_ENDPOINT is not a URL: want http://HOST:PORT or https://HOST:PORT"}},
		{"upstream scheme", with("SSEGW_UPSTREAM_ENDPOINT=store:9000"), []string{"SSEGW_UPSTREAM_ENDPOINT must start with http:// or https://"}},
		{"upstream path", with("SSEGW_UPSTREAM_ENDPOINT=http://store/s3"), []string{"SSEGW_UPSTREAM_ENDPOINT must not have a path or a query"}},
		{"upstream query", with("SSEGW_UPSTREAM_ENDPOINT=http://store/?"), []string{"SSEGW_UPSTREAM_ENDPOINT must not have a path or a query"}},
		{"upstream host", with("SSEGW_UPSTREAM_ENDPOINT=http://:9000"), []string{"SSEGW_UPSTREAM_ENDPOINT must name a host"}},
		{"upstream port", with("SSEGW_UPSTREAM_ENDPOINT=http://store:0"), []string{"SSEGW_UPSTREAM_ENDPOINT must have a port from 1 to 65535"}},
		{"upstream credentials", with("SSEGW_UPSTREAM_ENDPOINT=http://user:hunter2@store"), []string{
			"SSEGW_UPSTREAM_ENDPOINT must not hold credentials: use SSEGW_UPSTREAM_ACCESS_KEY and SSEGW_UPSTREAM_SECRET_KEY"}},
		{"upstream secret key alone", with("SSEGW_UPSTREAM_SECRET_KEY=x"), []string{"SSEGW_UPSTREAM_ACCESS_KEY is required when SSEGW_UPSTREAM_SECRET_KEY is set"}},
		{"upstream access key alone", with("SSEGW_UPSTREAM_ACCESS_KEY_FILE=DIR/user"), []string{"SSEGW_UPSTREAM_SECRET_KEY is required when SSEGW_UPSTREAM_ACCESS_KEY_FILE is set"}},
		{"upstream access key", with("SSEGW_UPSTREAM_ACCESS_KEY=a b", "SSEGW_UPSTREAM_SECRET_KEY=x"), []string{"SSEGW_UPSTREAM_ACCESS_KEY must be letters, digits and signs other than / , and ="}},
		{"upstream certificates", with("SSEGW_UPSTREAM_CAPATH=DIR/none"), []string{"SSEGW_UPSTREAM_CAPATH: stat DIR/none: no such file or directory"}},
		{"upstream body", with("SSEGW_UPSTREAM_BODY=chunked"), []string{`SSEGW_UPSTREAM_BODY must be auto, trailer, signed or plain, not "chunked"`}},
		{"upstream region", with("SSEGW_UPSTREAM_REGION=a/b"), []string{`SSEGW_UPSTREAM_REGION must be a region such as us-east-1, not "a/b"`}},
		{"any upstream region", with("SSEGW_UPSTREAM_REGION=*"), []string{`SSEGW_UPSTREAM_REGION must be a region such as us-east-1, not "*"`}},
		{"regions", with("SSEGW_REGION=us-*"), []string{`SSEGW_REGION must be a region such as us-east-1, or * for any, not "us-*"`}},

		{"state with dots", with("SSEGW_STATE=a..b"), []string{`SSEGW_STATE must be a bucket name: 3 to 63 lower-case letters, digits, dots and hyphens: "a..b"`}},
		{"state as address", with("SSEGW_STATE=10.0.0.1"), []string{`SSEGW_STATE must not be an IP address: "10.0.0.1"`}},

		{"enumerations are exact", with("SSEGW_AUTO_ENCRYPTION=SSE-S3", "SSEGW_SEALED_ONLY=yes", "SSEGW_HEADER_DIGEST=no", "SSEGW_LOG_LEVEL=trace"), []string{
			`SSEGW_AUTO_ENCRYPTION must be off, sse-s3 or sse-kms, not "SSE-S3"`,
			`SSEGW_SEALED_ONLY must be auto, always or never, not "yes"`,
			`SSEGW_HEADER_DIGEST must be refuse, strict or warn, not "no"`,
			`SSEGW_LOG_LEVEL must be debug, info, warn or error, not "trace"`,
		}},
		{"MinIO's switch conflicts", with("SSEGW_AUTO_ENCRYPTION=sse-s3", "MINIO_KMS_AUTO_ENCRYPTION=on"), []string{"SSEGW_AUTO_ENCRYPTION and MINIO_KMS_AUTO_ENCRYPTION are set to different values: set one"}},
		{"MinIO's switch", with("MINIO_KMS_AUTO_ENCRYPTION=yes"), []string{`MINIO_KMS_AUTO_ENCRYPTION must be on or off, not "yes"`}},
		{"domain", with("SSEGW_DOMAIN=ok.example,*.example"), []string{`SSEGW_DOMAIN must be host names without a port, not "*.example"`}},
		{"domain as address", with("SSEGW_DOMAIN=10.0.0.1"), []string{`SSEGW_DOMAIN must be host names without a port, not "10.0.0.1"`}},

		{"certificate alone", with("SSEGW_TLS_CERT_FILE=DIR/cert.pem"), []string{"SSEGW_TLS_KEY_FILE is required when SSEGW_TLS_CERT_FILE is set"}},
		{"key alone", with("SSEGW_TLS_KEY_FILE=DIR/key.pem"), []string{"SSEGW_TLS_CERT_FILE is required when SSEGW_TLS_KEY_FILE is set"}},
		{"certificate missing", with("SSEGW_TLS_CERT_FILE=DIR/none", "SSEGW_TLS_KEY_FILE=DIR/key.pem"), []string{"SSEGW_TLS_CERT_FILE: stat DIR/none: no such file or directory"}},
		{"certificate is a folder", with("SSEGW_TLS_CERT_FILE=DIR/ca", "SSEGW_TLS_KEY_FILE=DIR/key.pem"), []string{"SSEGW_TLS_CERT_FILE: DIR/ca is a folder, not a file"}},

		{"bool", with("SSEGW_TLS_TERMINATED=yes"), []string{`SSEGW_TLS_TERMINATED must be true or false, not "yes"`}},
		{"number", with("SSEGW_MAX_REQUESTS=many"), []string{`SSEGW_MAX_REQUESTS must be a whole number, not "many"`}},
		{"duration", with("SSEGW_DRAIN_TIMEOUT=30"), []string{`SSEGW_DRAIN_TIMEOUT must be a duration such as 30s or 2m, not "30"`}},
		{"no time for KES", with("SSEGW_KMS_TIMEOUT=0"), []string{"SSEGW_KMS_TIMEOUT must be positive: 0s"}},
		{"no patience with KES", with("SSEGW_KMS_PATIENCE=0"), []string{"SSEGW_KMS_PATIENCE must be positive: 0s"}},
		{"negative cache time", with("SSEGW_KMS_CACHE_TTL=-1s"), []string{"SSEGW_KMS_CACHE_TTL must not be negative: -1s"}},
		{"negative duration", with("SSEGW_DRAIN_TIMEOUT=-1s"), []string{"SSEGW_DRAIN_TIMEOUT must not be negative: -1s"}},

		{"secret twice", with("SSEGW_SECRET_KEY_FILE=DIR/secret"), []string{"SSEGW_SECRET_KEY and SSEGW_SECRET_KEY_FILE are both set: set one"}},
		{"secret's file missing", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/none"), []string{"SSEGW_SECRET_KEY_FILE: open DIR/none: no such file or directory"}},
		{"secret's file not named", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE="), []string{"SSEGW_SECRET_KEY_FILE: names no file"}},
		{"secret's file large", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/large"), []string{"SSEGW_SECRET_KEY_FILE: DIR/large is larger than 65536 bytes"}},
		{"secret's file a folder", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/ca"), []string{"SSEGW_SECRET_KEY_FILE: read DIR/ca: is a directory"}},
		{"secret's file empty", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/nothing"), []string{"SSEGW_SECRET_KEY_FILE is required and empty"}},
		{"secret's file short", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/short"), []string{"SSEGW_SECRET_KEY_FILE must have at least 8 characters"}},
		{"secret's file has two line breaks", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/two-lines"), []string{"SSEGW_SECRET_KEY_FILE must not have line breaks or other control characters"}},
		{"line break in a name", with("-SSEGW_SECRET_KEY", "SSEGW_SECRET_KEY_FILE=DIR/no\nne"), []string{`SSEGW_SECRET_KEY_FILE: open DIR/no\nne: no such file or directory`}},

		{"spellings differ", with("SSEGW_KMS_KES_KEY_NAME=other"), []string{"MINIO_KMS_KES_KEY_NAME and SSEGW_KMS_KES_KEY_NAME are set to different values: set one"}},
		{"spelling and file differ", with("SSEGW_KMS_KES_API_KEY_FILE=DIR/secret"), []string{"MINIO_KMS_KES_API_KEY and SSEGW_KMS_KES_API_KEY_FILE are set to different values: set one"}},
		{"KES endpoint", with("-MINIO_KMS_KES_ENDPOINT"), []string{"incomplete configuration for KES: missing 'MINIO_KMS_KES_ENDPOINT'"}},
		{"KES endpoint empty", with("MINIO_KMS_KES_ENDPOINT="), []string{"incomplete configuration for KES: 'MINIO_KMS_KES_ENDPOINT' is empty"}},
		{"KES key name", with("-MINIO_KMS_KES_KEY_NAME"), []string{"incomplete configuration for KES: missing 'MINIO_KMS_KES_KEY_NAME'"}},
		{"KES key name empty, our spelling", with("-MINIO_KMS_KES_KEY_NAME", "SSEGW_KMS_KES_KEY_NAME="), []string{"incomplete configuration for KES: 'SSEGW_KMS_KES_KEY_NAME' is empty"}},
		{"KES authentication", with("-MINIO_KMS_KES_API_KEY"), []string{
			"incomplete configuration for KES: missing authentication method: set 'MINIO_KMS_KES_API_KEY', or 'MINIO_KMS_KES_CERT_FILE' and 'MINIO_KMS_KES_KEY_FILE'"}},
		{"KES API key empty", with("MINIO_KMS_KES_API_KEY="), []string{"incomplete configuration for KES: 'MINIO_KMS_KES_API_KEY' is empty"}},
		{"KES authentication twice", with("MINIO_KMS_KES_CERT_FILE=DIR/cert.pem"), []string{"invalid configuration for KES: 'MINIO_KMS_KES_API_KEY' and client certificate is present"}},
		{"KES authentication twice, one empty", with("MINIO_KMS_KES_KEY_FILE="), []string{"invalid configuration for KES: 'MINIO_KMS_KES_API_KEY' and client certificate is present"}},
		{"KES key missing", with("-MINIO_KMS_KES_API_KEY", "MINIO_KMS_KES_CERT_FILE=DIR/cert.pem"), []string{"incomplete configuration for KES: missing 'MINIO_KMS_KES_KEY_FILE'"}},
		{"KES certificates", with("MINIO_KMS_KES_CAPATH=DIR/none"), []string{"MINIO_KMS_KES_CAPATH: stat DIR/none: no such file or directory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(inDir(dir, tt.environ))
			if err == nil {
				t.Fatal("Load took it")
			}
			var got []string
			for line := range strings.SplitSeq(err.Error(), "\n") {
				text, ok := strings.CutPrefix(line, "config: ")
				if !ok {
					t.Errorf("line without prefix: %q", line)
				}
				got = append(got, strings.ReplaceAll(text, dir, "DIR"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a password")
			}
		})
	}
}

// FuzzLoad looks for an environment that makes Load panic, return a Config
// together with an error, or repeat a secret in a problem.
func FuzzLoad(f *testing.F) {
	f.Add("SSEGW_ADDRESS", ":1", "secret-value-1")
	f.Add("SSEGW_DOMAIN", "a,b,,", "\n")
	f.Add("SSEGW_UPSTREAM_ENDPOINT", "http://[::1]:1", "x")
	f.Add("MINIO_KMS_KES_KEY_NAME", "", "=")
	f.Add("SSEGW_SECRET_KEY_FILE", "/dev/null", "")
	f.Fuzz(func(t *testing.T, name, text, secret string) {
		secret = "<" + secret + ">"
		c, err := Load(with(name+"="+text, "SSEGW_SECRET_KEY="+secret))
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		if err == nil {
			return
		}
		if len(secret) > 12 && !strings.Contains(name+text, secret) && strings.Contains(err.Error(), secret) {
			t.Fatalf("the error repeats the secret: %v", err)
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "config: ") {
				t.Fatalf("not one line for each problem: %q", err)
			}
		}
	})
}
