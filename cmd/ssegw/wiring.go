package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"

	"ssegw/config/files"
	"ssegw/proxy/audit"
	"ssegw/proxy/sse"
	"ssegw/proxy/upstream"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ssegw/config"
	"ssegw/kms"
	"ssegw/proxy"
	"ssegw/sealer"
)

// These maps translate the values of settings into those of the packages.
var (
	autoEncryption = map[config.AutoEncryption]sealer.Scheme{
		config.AutoEncryptionSSES3:  sealer.SSES3,
		config.AutoEncryptionSSEKMS: sealer.SSEKMS,
	}
	sealedOnly = map[config.SealedOnly]proxy.SealedOnly{
		config.SealedOnlyAlways: proxy.SealedOnlyAlways,
		config.SealedOnlyNever:  proxy.SealedOnlyNever,
	}
	framings = map[config.UpstreamBody]upstream.Framing{
		config.UpstreamBodyTrailer: upstream.FramingTrailer,
		config.UpstreamBodySigned:  upstream.FramingSigned,
		config.UpstreamBodyPlain:   upstream.FramingPlain,
	}
)

var requiredSchemes = map[string]sealer.Scheme{
	config.RequireAny: 0, config.RequireSSES3: sealer.SSES3, config.RequireSSEKMS: sealer.SSEKMS, config.RequireSSEC: sealer.SSEC,
}

func requirements(texts []string) (list []sse.Requirement, err error) {
	for _, text := range texts {
		r, err := config.ParseRequirement(text)
		if err != nil {
			return nil, fmt.Errorf("SSEGW_REQUIRE: %w", err)
		}
		list = append(list, sse.Requirement{Bucket: r.Bucket, Scheme: requiredSchemes[r.Scheme], KESKey: r.KESKey})
	}
	return list, nil
}

func trustedProxies(texts []string) (list []netip.Prefix, err error) {
	for _, text := range texts {
		p, err := config.ParseProxy(text)
		if err != nil {
			return nil, fmt.Errorf("SSEGW_TRUSTED_PROXIES: %w", err)
		}
		list = append(list, p)
	}
	return list, nil
}

// newLogger returns a logger of JSON lines on standard error.
func newLogger(level string) (*zap.Logger, error) {
	l, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(l)
	c.Sampling = nil // an access log must not drop lines
	c.DisableStacktrace = true
	c.DisableCaller = true
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.EncoderConfig.EncodeDuration = zapcore.SecondsDurationEncoder
	return c.Build()
}

func newKMS(cfg *config.Config, log *zap.Logger) (*kms.Client, error) {
	endpoints, err := kms.ParseEndpoints(cfg.KESEndpoint)
	if err != nil {
		return nil, err
	}
	return kms.New(kms.Config{
		Endpoints: endpoints, DefaultKey: cfg.KESKeyName,
		APIKey: cfg.KESAPIKey.Reveal(), CertFile: cfg.KESCertFile, KeyFile: cfg.KESKeyFile, KeyPassword: cfg.KESKeyPassword.Reveal(),
		CAPath: cfg.KESCAPath, Timeout: cfg.KMSTimeout, Patience: cfg.KMSPatience, CacheTTL: cfg.KMSCacheTTL, Log: log,
	})
}

// newAudit opens the audit file.
func newAudit(cfg *config.Config, log *zap.Logger, r prometheus.Registerer) (*audit.File, error) {
	a, err := audit.Open(cfg.AuditFile, log, r)
	if err != nil {
		return nil, fmt.Errorf("SSEGW_AUDIT_FILE: %w", err)
	}
	return a, nil
}

// internalConns is the number of connections to the store, in addition to those
// of requests, that look up entries of listings and read and write the state.
const internalConns = 256

func newUpstream(ctx context.Context, cfg *config.Config) (*upstream.Store, error) {
	roots, err := files.Roots("CA certificates for the store", cfg.UpstreamCAPath)
	if err != nil {
		return nil, fmt.Errorf("SSEGW_UPSTREAM_CAPATH: %w", err)
	}
	credentials, err := upstreamCredentials(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return upstream.New(upstream.Config{
		Endpoint: cfg.UpstreamEndpoint, Region: cfg.UpstreamRegion, Credentials: credentials,
		TLS:      &tls.Config{RootCAs: roots.Get(), MinVersion: tls.VersionTLS12},
		Framing:  framings[cfg.UpstreamBody],
		MaxConns: 2*cfg.MaxRequests + internalConns,
	}), nil
}

// upstreamCredentials returns the configured keys, or the default AWS chain.
func upstreamCredentials(ctx context.Context, cfg *config.Config) (aws.CredentialsProvider, error) {
	if cfg.UpstreamAccessKey != "" {
		keys := aws.Credentials{AccessKeyID: cfg.UpstreamAccessKey, SecretAccessKey: cfg.UpstreamSecretKey.Reveal()}
		return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil }), nil
	}
	chain, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(cfg.UpstreamRegion))
	if err != nil {
		return nil, fmt.Errorf("upstream credentials: %w", err)
	}
	return aws.NewCredentialsCache(chain.Credentials), nil
}
