// Package config reads, checks and documents the settings of the gateway.
// Settings come only from environment variables, or from a file of them.
//
// Config is the single place that declares a variable: tags on its field give
// the name, other spellings, the default, allowed values and the meaning. Load,
// the error messages and the tables in the documents follow the tags.
//
// Invariants:
//   - Load reads the environment it is given and the files named there, never
//     the environment of the process. The environment file overrides the
//     environment.
//   - Load returns a complete and consistent Config, or an error.
//   - An SSEGW_* variable that is not a setting is an error, never ignored.
//   - Each problem is one line. It names the variable that the operator set and
//     never contains the value of a secret.
//   - A Secret prints as "[secret]" under every verb and marshaller.
//
// Tags, in addition to those of github.com/caarlos0/env/v10 (env, with notEmpty
// for required settings, and envDefault):
//
//	alias   another spelling of the name; setting both differently is an error
//	values  the allowed values, separated by commas
//	path    "file" or "file or folder": what the value must name on this machine
//	file    "true" if NAME_FILE may name a file with the value; implied for Secret
//	doc     the meaning, shown in the tables
//	group   the heading of the table that begins with this field
//	common  "true" if the README lists the setting
//
// docs/ARCHITECTURE.md is the map.
package config

import (
	"net/url"
	"time"
)

// AutoEncryption is the rule for buckets that have none of their own.
type AutoEncryption string

// Values of Config.AutoEncryption.
const (
	AutoEncryptionOff    AutoEncryption = "off"     // store as the client sent it
	AutoEncryptionSSES3  AutoEncryption = "sse-s3"  // SSE-S3
	AutoEncryptionSSEKMS AutoEncryption = "sse-kms" // SSE-KMS with the default KES key
)

// SealedOnly selects the buckets that refuse to serve unsealed objects.
type SealedOnly string

// Values of Config.SealedOnly.
const (
	SealedOnlyAuto   SealedOnly = "auto"   // buckets that were empty when they got their rule
	SealedOnlyAlways SealedOnly = "always" // every bucket with a rule
	SealedOnlyNever  SealedOnly = "never"  // no bucket
)

// HeaderDigest decides what happens to a sealed object whose content headers or
// user metadata the store has changed.
type HeaderDigest string

// Values of Config.HeaderDigest.
const (
	HeaderDigestRefuse HeaderDigest = "refuse" // refuse to serve it
	HeaderDigestWarn   HeaderDigest = "warn"   // serve it and log
	HeaderDigestStrict HeaderDigest = "strict" // also refuse it if an unknown root makes verification impossible
)

// SigV2 decides where Signature Version 2 is accepted.
type SigV2 string

// Values of Config.SigV2.
const (
	SigV2Presigned SigV2 = "presigned" // in presigned URLs only
	SigV2Off       SigV2 = "off"       // nowhere
)

// HTTP2 decides whether clients may speak HTTP/2.
type HTTP2 string

// Values of Config.HTTP2.
const (
	HTTP2Off HTTP2 = "off"
	HTTP2On  HTTP2 = "on"
)

// ForwardClient decides whether the store learns who the client is.
type ForwardClient string

// Values of Config.ForwardClient.
const (
	ForwardClientOff ForwardClient = "off"
	ForwardClientOn  ForwardClient = "on"
)

// Console decides where the console is served.
type Console string

// Values of Config.Console.
const (
	ConsoleOff Console = "off" // on the admin address alone
	ConsoleOn  Console = "on"  // on the S3 address too
)

// UpstreamBody is the framing of sealed bodies sent to the store.
type UpstreamBody string

// Values of Config.UpstreamBody.
const (
	UpstreamBodyAuto    UpstreamBody = "auto"    // probed at start
	UpstreamBodyTrailer UpstreamBody = "trailer" // unsigned chunks with a CRC32C trailer
	UpstreamBodySigned  UpstreamBody = "signed"  // signed chunks
	UpstreamBodyPlain   UpstreamBody = "plain"   // a plain signed PUT with Content-Length
)

// Config holds the settings of one gateway. Its fields are flat: the name of a
// field shows which variable sets it. The doc tags explain the settings.
type Config struct {
	EnvFile string `group:"Environment file" env:"SSEGW_CONFIG_ENV_FILE" alias:"MINIO_CONFIG_ENV_FILE" path:"file" doc:"File of NAME=value lines that override the environment. A restart reads it again."`

	Address        string   `group:"Addresses and TLS" env:"SSEGW_ADDRESS" envDefault:":9000" doc:"Address for S3 clients, mc and health checks."`
	AdminAddress   string   `env:"SSEGW_ADMIN_ADDRESS" envDefault:"127.0.0.1:9001" doc:"Address for the console, metrics and pprof. Keep it private."`
	Console        Console  `env:"SSEGW_CONSOLE" envDefault:"off" values:"off,on" doc:"on serves the console on the S3 address too, under /_ssegw/. Objects that browsers open there are sandboxed then; see docs/CONSOLE.md."`
	TLSCertFile    string   `env:"SSEGW_TLS_CERT_FILE" path:"file" doc:"PEM certificate chain for https on the S3 address. Reloaded when it changes."`
	TLSKeyFile     string   `env:"SSEGW_TLS_KEY_FILE" path:"file" doc:"PEM private key of that certificate."`
	HTTP2          HTTP2    `env:"SSEGW_HTTP2" envDefault:"off" values:"off,on" doc:"Whether clients may speak HTTP/2 over https. Amazon S3 and MinIO speak HTTP/1.1 alone, which is faster for large objects."`
	TLSTerminated  bool     `env:"SSEGW_TLS_TERMINATED" envDefault:"false" doc:"Set it to true only if every client reaches the gateway through a TLS terminator: SSE-C keys are then accepted over plain http."`
	TrustedProxies []string `env:"SSEGW_TRUSTED_PROXIES" doc:"Comma-separated addresses and ranges of the proxies in front whose X-Forwarded-For is trusted."`
	Domain         []string `env:"SSEGW_DOMAIN" doc:"Comma-separated host names for virtual-host requests: BUCKET.DOMAIN."`

	AccessKey       string `group:"Clients" common:"true" env:"SSEGW_ACCESS_KEY" file:"true" doc:"Access key of the root credential, at least 3 characters. If neither it nor the secret key is set, clients use the store's credential."`
	SecretKey       Secret `common:"true" env:"SSEGW_SECRET_KEY" doc:"Secret key of the root credential, at least 8 characters. Well-known defaults are refused."`
	CredentialsFile string `env:"SSEGW_CREDENTIALS_FILE" path:"file" doc:"JSON file with further credentials and their limits; see docs/OPERATIONS.md. Reloaded when it changes."`
	Region          string `env:"SSEGW_REGION" envDefault:"us-east-1" doc:"Region that clients must sign for. With * they may sign for any, as on MinIO without a region."`
	SigV2           SigV2  `env:"SSEGW_SIGV2" envDefault:"presigned" values:"presigned,off" doc:"Where Signature Version 2 is accepted: in presigned URLs, which boto3 and aws-cli 1 make by default, or nowhere."`

	UpstreamEndpoint  *url.URL      `group:"The store" common:"true" env:"SSEGW_UPSTREAM_ENDPOINT,notEmpty" doc:"URL of the object store: http or https, without a path."`
	UpstreamAccessKey string        `common:"true" env:"SSEGW_UPSTREAM_ACCESS_KEY" file:"true" doc:"Access key for the store. If it is not set, the default AWS credential chain is used."`
	UpstreamSecretKey Secret        `common:"true" env:"SSEGW_UPSTREAM_SECRET_KEY" doc:"Secret key for the store. Set it together with the access key."`
	UpstreamRegion    string        `env:"SSEGW_UPSTREAM_REGION" envDefault:"us-east-1" doc:"Region that requests to the store are signed for."`
	UpstreamCAPath    string        `env:"SSEGW_UPSTREAM_CAPATH" path:"file or folder" doc:"File or folder of PEM certificates to trust for the store, in addition to the system's."`
	UpstreamBody      UpstreamBody  `env:"SSEGW_UPSTREAM_BODY" envDefault:"auto" values:"auto,trailer,signed,plain" doc:"How sealed bodies travel to the store: with a checksum trailer, in signed chunks, or as one plain body. auto probes the store at start."`
	State             string        `env:"SSEGW_STATE" envDefault:"ssegw-state" doc:"Bucket in the store for the gateway's own state. Created if absent, hidden from clients."`
	ForwardClient     ForwardClient `env:"SSEGW_FORWARD_CLIENT" envDefault:"off" values:"off,on" doc:"Whether the store, for its policies, learns each client's address (X-Forwarded-For), program (User-Agent) and referring page (Referer)."`

	KESEndpoint    string        `group:"KES" common:"true" env:"MINIO_KMS_KES_ENDPOINT,notEmpty" alias:"SSEGW_KMS_KES_ENDPOINT" doc:"Comma-separated KES endpoints. https://kes-{1...3}:7373 means three."`
	KESAPIKey      Secret        `common:"true" env:"MINIO_KMS_KES_API_KEY" alias:"SSEGW_KMS_KES_API_KEY" doc:"KES API key. Required unless a client certificate is set."`
	KESCertFile    string        `env:"MINIO_KMS_KES_CERT_FILE" alias:"SSEGW_KMS_KES_CERT_FILE" path:"file" doc:"PEM client certificate for KES, instead of an API key."`
	KESKeyFile     string        `env:"MINIO_KMS_KES_KEY_FILE" alias:"SSEGW_KMS_KES_KEY_FILE" path:"file" doc:"PEM private key of that certificate."`
	KESKeyPassword Secret        `env:"MINIO_KMS_KES_KEY_PASSWORD" alias:"SSEGW_KMS_KES_KEY_PASSWORD" doc:"Password of the private key, if it is encrypted."`
	KESCAPath      string        `common:"true" env:"MINIO_KMS_KES_CAPATH" alias:"SSEGW_KMS_KES_CAPATH" path:"file or folder" doc:"File or folder of PEM certificates to trust for KES, in addition to the system's."`
	KESKeyName     string        `common:"true" env:"MINIO_KMS_KES_KEY_NAME,notEmpty" alias:"SSEGW_KMS_KES_KEY_NAME" doc:"Default KES key. Created if KES does not have it."`
	KMSTimeout     time.Duration `env:"SSEGW_KMS_TIMEOUT" envDefault:"900ms" doc:"How long KES may answer nobody, whatever the number of endpoints, before requests that wait for it get 503. Raise it if the key store behind KES is slow."`
	KMSPatience    time.Duration `env:"SSEGW_KMS_PATIENCE" envDefault:"10s" doc:"How long a request waits for a KES that answers others, but slowly, as in a burst, before it gets 503. At least SSEGW_KMS_TIMEOUT."`
	KMSCacheTTL    time.Duration `env:"SSEGW_KMS_CACHE_TTL" envDefault:"1m" doc:"How long the gateway caches a data key after KES opened it. Until then its object can be read without KES, even if KES is down or the KES key was deleted or denied. 0 asks KES each time."`

	AutoEncryption AutoEncryption `group:"Encryption" common:"true" env:"SSEGW_AUTO_ENCRYPTION" envDefault:"off" values:"off,sse-s3,sse-kms" doc:"Rule for buckets that have none of their own. MINIO_KMS_AUTO_ENCRYPTION=on means sse-kms."`
	SealedOnly     SealedOnly     `env:"SSEGW_SEALED_ONLY" envDefault:"auto" values:"auto,always,never" doc:"Whether buckets with a rule refuse to serve objects that are not sealed. auto: only buckets that were empty when they got their rule."`
	Require        []string       `env:"SSEGW_REQUIRE" doc:"Comma-separated requirements BUCKET=SCHEME. SCHEME is sse (any), sse-s3, sse-c, sse-kms or sse-kms:KEY; BUCKET may end in *. A bucket refuses writes that meet none of its requirements."`
	HeaderDigest   HeaderDigest   `env:"SSEGW_HEADER_DIGEST" envDefault:"refuse" values:"refuse,strict,warn" doc:"What to do with a sealed object whose content headers or user metadata the store has changed: refuse to serve it, or warn. If the root that sealed them is lost, refuse and warn serve it with a warning, and strict refuses it."`

	MaxRequests  int           `group:"Limits" env:"SSEGW_MAX_REQUESTS" envDefault:"1024" doc:"S3 requests served at one time. As many more wait for up to a second, those with a credential first. The others get 503 SlowDown."`
	DrainTimeout time.Duration `env:"SSEGW_DRAIN_TIMEOUT" envDefault:"30s" doc:"How long requests in flight may take to finish after a stop signal, such as 30s or 2m."`

	LogLevel  string `group:"Logs" env:"SSEGW_LOG_LEVEL" envDefault:"info" values:"debug,info,warn,error" doc:"Lowest level to log."`
	AuditFile string `env:"SSEGW_AUDIT_FILE" doc:"File that gets one JSON line for each use of a KES key; - is standard output. Created with mode 0600. It may be renamed while in use."`
}

// The names of groups of settings, for [LoadGroups].
const (
	GroupStore = "The store"
	GroupKES   = "KES"
)

// Load reads the settings from environ, whose entries have the form
// "NAME=value", as in [os.Environ]. The error joins one *[Problem] per wrong
// setting, each on one line. Unknown variables come first, because they often
// explain a missing one. The others follow in the order of Config's fields.
func Load(environ []string) (*Config, error) { return load(newInput(environ)) }

// LoadGroups is like [Load] for a program that uses only the settings of some
// groups and the environment file. Wrong and missing settings of other groups
// are no error, and the caller must not use them.
func LoadGroups(environ []string, groups ...string) (*Config, error) {
	in := newInput(environ)
	in.groups = append(groups, settings[0].group)
	return load(in)
}

func load(in *input) (*Config, error) {
	in.readEnvFile()
	in.refuseUnknown()
	in.resolve()
	in.shareCredential()
	in.checkKES()

	var c Config
	in.parse(&c)
	c.validate(in)
	if err := in.err(); err != nil {
		return nil, err
	}
	return &c, nil
}
