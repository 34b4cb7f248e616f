package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/proxy"
)

// examine calls f with a gateway that is set up from the environment but serves
// no requests and logs nothing. Settings that prevent a start fail here too.
func examine(ctx context.Context, f func(cfg *config.Config, s *proxy.Server) error) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	server, end, err := newExaminer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer end()
	return f(cfg, server)
}

// newExaminer wires the parts of a gateway that look at the store and at KES.
// It does not use the network.
func newExaminer(ctx context.Context, cfg *config.Config) (s *proxy.Server, end func(), err error) {
	log := zap.NewNop()
	if _, err := openCredentials(cfg.CredentialsFile, cfg.AccessKey, log); err != nil {
		return nil, nil, err
	}
	if cfg.TLSCertFile != "" {
		if _, err := serverTLS(cfg.TLSCertFile, cfg.TLSKeyFile); err != nil {
			return nil, nil, err
		}
	}
	upstream, err := newUpstream(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	client, err := newKMS(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	return proxy.New(proxy.Config{
		Upstream: upstream, KMS: client,
		State:              proxy.NewState(proxy.StateConfig{Bucket: cfg.State, Upstream: upstream, KMS: client, Log: log}),
		WarnHeaderDigest:   cfg.HeaderDigest == config.HeaderDigestWarn,
		StrictHeaderDigest: cfg.HeaderDigest == config.HeaderDigestStrict,
		Log:                log, Metrics: prometheus.NewRegistry(),
	}), client.Close, nil
}

// printJSON prints document as indented JSON.
func printJSON(out io.Writer, document any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// words holds the printed form of each status.
var words = map[proxy.Status]string{
	proxy.StatusOK: "ok", proxy.StatusWarning: "warn", proxy.StatusFailed: "FAIL", proxy.StatusNotTried: "-",
}

// printable replaces control characters, which a terminal would obey: some text
// comes from the store.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// printFinding prints a finding on one line and its remedy on another.
func printFinding(out io.Writer, f proxy.Finding) error {
	why := ""
	if f.Status == proxy.StatusNotTried {
		why = "not tried: "
	}
	_, err := fmt.Fprintf(out, "%-4s  %s: %s%s\n", words[f.Status], printable(f.Name), why, printable(f.Detail))
	if err == nil && f.Remedy != "" {
		_, err = fmt.Fprintf(out, "      %s\n", printable(f.Remedy))
	}
	return err
}
