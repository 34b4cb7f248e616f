// Package config reads, checks and documents the settings of the gateway,
// which come from environment variables, or a file of such, alone.
//
// Config is the one place where a variable is stated: its name, other
// spellings, default, allowed values and meaning are tags of the field that
// holds it. Load, the error texts and the README's table all follow the tags.
//
// Invariants:
//   - Load reads the environment it is given and the files that it names,
//     never the environment of the process; the variables of the environment
//     file go before those of the environment;
//   - a Config that Load returns is complete and consistent, or there is none;
//   - an SSEGW_* variable that nobody reads is an error, never ignored;
//   - every problem is one line that names the variable the operator set, and
//     no line holds the value of a secret;
//   - a Secret prints as "[secret]", whatever prints it.
//
// Tags, beside those of github.com/caarlos0/env/v10 (env with notEmpty for
// "required", envDefault):
//
//	alias   another spelling of the name; both set to different values is an error
//	values  the allowed values, separated by commas
//	path    "file" or "file or folder": what the value must name on this machine
//	file    "true": the value may be in a file named by NAME_FILE, as for every Secret
//	doc     the meaning, for the table
package config

import (
	"net/url"
	"time"
)

// AutoEncryption is the rule of buckets that have none of their own.
type AutoEncryption string

// Values of Config.AutoEncryption.
const (
	AutoEncryptionOff    AutoEncryption = "off"     // store as the client sent it
	AutoEncryptionSSES3  AutoEncryption = "sse-s3"  // SSE-S3
	AutoEncryptionSSEKMS AutoEncryption = "sse-kms" // SSE-KMS with the default KES key
)

// SealedOnly says which buckets refuse to show objects that are not sealed.
type SealedOnly string

// Values of Config.SealedOnly.
const (
	SealedOnlyAuto   SealedOnly = "auto"   // buckets that were empty when they got their rule
	SealedOnlyAlways SealedOnly = "always" // every bucket with a rule
	SealedOnlyNever  SealedOnly = "never"  // none
)

// HeaderDigest says what happens to a sealed object whose content headers or
// user metadata were changed by the store.
type HeaderDigest string

// Values of Config.HeaderDigest.
const (
	HeaderDigestRefuse HeaderDigest = "refuse" // refuse to show it
	HeaderDigestWarn   HeaderDigest = "warn"   // show it and log
	HeaderDigestStrict HeaderDigest = "strict" // refuse it also where that cannot be told, since the root is unknown
)

// SigV2 says where Signature Version 2 is accepted.
type SigV2 string

// Values of Config.SigV2.
const (
	SigV2Presigned SigV2 = "presigned" // in presigned URLs alone
	SigV2Off       SigV2 = "off"       // nowhere
)

// ForwardClient says whether the store is told who the client is.
type ForwardClient string

// Values of Config.ForwardClient.
const (
	ForwardClientOff ForwardClient = "off"
	ForwardClientOn  ForwardClient = "on"
)

// UpstreamBody is the framing of sealed bodies on their way to the store.
type UpstreamBody string

// Values of Config.UpstreamBody.
const (
	UpstreamBodyAuto    UpstreamBody = "auto"    // probed at start
	UpstreamBodyTrailer UpstreamBody = "trailer" // unsigned chunks with a CRC32C trailer
	UpstreamBodySigned  UpstreamBody = "signed"  // signed chunks
	UpstreamBodyPlain   UpstreamBody = "plain"   // a plain signed PUT with Content-Length
)

// Config holds the settings of one gateway. The fields are flat, so that a
// field's name says which variable it is; the doc tags say what they mean.
type Config struct {
	Address      string `env:"SSEGW_ADDRESS" envDefault:":9000" doc:"Address that S3 clients, mc and health checks use."`
	AdminAddress string `env:"SSEGW_ADMIN_ADDRESS" envDefault:"127.0.0.1:9001" doc:"Address of the metrics and pprof. Keep it private."`

	EnvFile string `env:"SSEGW_CONFIG_ENV_FILE" alias:"MINIO_CONFIG_ENV_FILE" path:"file" doc:"File with lines NAME=value that go before the environment. A restart reads it again."`

	AccessKey string `env:"SSEGW_ACCESS_KEY" file:"true" doc:"Access key of the root credential; at least 3 characters. Without it and the secret key, clients use those of the store."`
	SecretKey Secret `env:"SSEGW_SECRET_KEY" doc:"Secret key of the root credential; at least 8 characters. Well-known defaults are refused."`

	CredentialsFile string `env:"SSEGW_CREDENTIALS_FILE" path:"file" doc:"JSON file with more credentials and their limits; see docs/OPERATIONS.md. Read again when it changes."`

	UpstreamEndpoint  *url.URL     `env:"SSEGW_UPSTREAM_ENDPOINT,notEmpty" doc:"The object store: an http or https URL without a path."`
	UpstreamRegion    string       `env:"SSEGW_UPSTREAM_REGION" envDefault:"us-east-1" doc:"Region that requests to the store are signed for."`
	UpstreamAccessKey string       `env:"SSEGW_UPSTREAM_ACCESS_KEY" file:"true" doc:"Access key for the store. Without it the default AWS credential chain is used."`
	UpstreamSecretKey Secret       `env:"SSEGW_UPSTREAM_SECRET_KEY" doc:"Secret key for the store; set together with the access key."`
	UpstreamCAPath    string       `env:"SSEGW_UPSTREAM_CAPATH" path:"file or folder" doc:"PEM certificates, a file or a folder, that are trusted for the store beside the system's."`
	UpstreamBody      UpstreamBody `env:"SSEGW_UPSTREAM_BODY" envDefault:"auto" values:"auto,trailer,signed,plain" doc:"How sealed bodies go to the store: with a checksum trailer, in signed chunks, or as one signed body. auto finds out at start."`

	State string `env:"SSEGW_STATE" envDefault:"ssegw-state" doc:"Bucket of the store that is the gateway's own. Made if absent, hidden from clients."`

	AutoEncryption AutoEncryption `env:"SSEGW_AUTO_ENCRYPTION" envDefault:"off" values:"off,sse-s3,sse-kms" doc:"Rule of the buckets that have none. MINIO_KMS_AUTO_ENCRYPTION=on means sse-kms."`
	SealedOnly     SealedOnly     `env:"SSEGW_SEALED_ONLY" envDefault:"auto" values:"auto,always,never" doc:"Whether buckets with a rule refuse to show objects that are not sealed. auto: where the bucket was empty when it got its rule."`
	Require        []string       `env:"SSEGW_REQUIRE" doc:"Buckets that refuse writes sealed in another way, separated by commas: BUCKET=sse, sse-s3, sse-c, sse-kms or sse-kms:KEY. BUCKET may end in *; of several for one bucket, any will do."`
	HeaderDigest   HeaderDigest   `env:"SSEGW_HEADER_DIGEST" envDefault:"refuse" values:"refuse,strict,warn" doc:"What to do with a sealed object whose content headers or user metadata the store has changed. Where the root that they were sealed under is lost, refuse and warn show it with a warning, and strict refuses it."`

	Region string   `env:"SSEGW_REGION" envDefault:"us-east-1" doc:"Region that clients must sign for. With * they sign for any, as on MinIO without a region."`
	Domain []string `env:"SSEGW_DOMAIN" doc:"Host names, separated by commas, for virtual-host requests: BUCKET.DOMAIN."`

	SigV2 SigV2 `env:"SSEGW_SIGV2" envDefault:"presigned" values:"presigned,off" doc:"Where Signature Version 2 is accepted: in presigned URLs, which boto3 and aws-cli 1 make by default, or nowhere."`

	ForwardClient  ForwardClient `env:"SSEGW_FORWARD_CLIENT" envDefault:"off" values:"off,on" doc:"Whether the store is told each client's address, program and referring page, for its policies: in X-Forwarded-For, User-Agent and Referer."`
	TrustedProxies []string      `env:"SSEGW_TRUSTED_PROXIES" doc:"Addresses and ranges, separated by commas, of the proxies in front whose X-Forwarded-For is believed."`

	TLSCertFile   string `env:"SSEGW_TLS_CERT_FILE" path:"file" doc:"PEM certificate chain for https on the S3 address. Read again when it changes."`
	TLSKeyFile    string `env:"SSEGW_TLS_KEY_FILE" path:"file" doc:"PEM private key of that certificate."`
	TLSTerminated bool   `env:"SSEGW_TLS_TERMINATED" envDefault:"false" doc:"true: every client reaches the gateway through a TLS terminator, so that SSE-C keys are taken over plain http."`

	LogLevel     string        `env:"SSEGW_LOG_LEVEL" envDefault:"info" values:"debug,info,warn,error" doc:"Lowest level that is logged."`
	DrainTimeout time.Duration `env:"SSEGW_DRAIN_TIMEOUT" envDefault:"30s" doc:"How long requests in flight may go on after a stop signal, such as 30s or 2m."`
	MaxRequests  int           `env:"SSEGW_MAX_REQUESTS" envDefault:"1024" doc:"S3 requests served at one time; the ones above are answered 503 SlowDown."`

	KESEndpoint    string `env:"MINIO_KMS_KES_ENDPOINT,notEmpty" alias:"SSEGW_KMS_KES_ENDPOINT" doc:"KES endpoints, separated by commas; https://kes-{1...3}:7373 is three."`
	KESAPIKey      Secret `env:"MINIO_KMS_KES_API_KEY" alias:"SSEGW_KMS_KES_API_KEY" doc:"KES API key. Either this or a client certificate is required."`
	KESCertFile    string `env:"MINIO_KMS_KES_CERT_FILE" alias:"SSEGW_KMS_KES_CERT_FILE" path:"file" doc:"PEM client certificate for KES, instead of an API key."`
	KESKeyFile     string `env:"MINIO_KMS_KES_KEY_FILE" alias:"SSEGW_KMS_KES_KEY_FILE" path:"file" doc:"PEM private key of that certificate."`
	KESKeyPassword Secret `env:"MINIO_KMS_KES_KEY_PASSWORD" alias:"SSEGW_KMS_KES_KEY_PASSWORD" doc:"Password of the private key, when it is encrypted."`
	KESCAPath      string `env:"MINIO_KMS_KES_CAPATH" alias:"SSEGW_KMS_KES_CAPATH" path:"file or folder" doc:"PEM certificates, a file or a folder, that are trusted for KES beside the system's."`
	KESKeyName     string `env:"MINIO_KMS_KES_KEY_NAME,notEmpty" alias:"SSEGW_KMS_KES_KEY_NAME" doc:"Default KES key; made when KES does not have it."`

	KMSTimeout  time.Duration `env:"SSEGW_KMS_TIMEOUT" envDefault:"900ms" doc:"How long a request waits for KES, whatever the number of its endpoints, before it is answered 503. More for a KES whose key store is slow."`
	KMSCacheTTL time.Duration `env:"SSEGW_KMS_CACHE_TTL" envDefault:"1m" doc:"How long a data key that KES has opened opens its object again without KES, through an outage too. A KES key that is deleted or denied stays in use as long. 0 asks KES each time."`
	AuditFile   string        `env:"SSEGW_AUDIT_FILE" doc:"File that gets a JSON line for each use of a KES key, - for standard output. Made with mode 0600; may be renamed while it is in use."`
}

// Load reads the settings from environ, whose entries have the form
// "NAME=value" as those of [os.Environ]. The error joins one *[Problem] for
// each setting that is wrong, each one line: unknown variables first, because
// they often explain a missing one, then the others in the table's order.
func Load(environ []string) (*Config, error) {
	in := newInput(environ)
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
