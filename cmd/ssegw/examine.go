package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"ssegw/proxy/state"

	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/proxy/check"
)

// examine calls f with what checks need, set up from the environment. It logs
// nothing. Settings that prevent a start fail here too.
func examine(ctx context.Context, f func(cfg *config.Config, c check.Config) error) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	checks, end, err := newExaminer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer end()
	return f(cfg, checks)
}

// newExaminer wires the parts of a gateway that look at the store and at KES.
// It does not use the network.
func newExaminer(ctx context.Context, cfg *config.Config) (c check.Config, end func(), err error) {
	log := zap.NewNop()
	if _, err := openCredentials(cfg.CredentialsFile, cfg.AccessKey, log); err != nil {
		return check.Config{}, nil, err
	}
	if cfg.TLSCertFile != "" {
		if _, err := serverTLS(cfg.TLSCertFile, cfg.TLSKeyFile, false, log); err != nil {
			return check.Config{}, nil, err
		}
	}
	store, err := newUpstream(ctx, cfg)
	if err != nil {
		return check.Config{}, nil, err
	}
	client, err := newKMS(cfg, log)
	if err != nil {
		return check.Config{}, nil, err
	}
	return check.Config{
		Upstream: store, KMS: client, KMSTimeout: cfg.KMSPatience,
		State:            state.New(state.Config{Bucket: cfg.State, Upstream: store, KMS: client, Log: log}),
		WarnHeaderDigest: cfg.HeaderDigest == config.HeaderDigestWarn,
		Log:              log,
	}, client.Close, nil
}

// printJSON prints document as indented JSON.
func printJSON(out io.Writer, document any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}

// words holds the printed form of each status.
var words = map[check.Status]string{
	check.StatusOK: "ok", check.StatusWarning: "warn", check.StatusFailed: "FAIL", check.StatusNotTried: "-",
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
func printFinding(out io.Writer, f check.Finding) error {
	why := ""
	if f.Status == check.StatusNotTried {
		why = "not tried: "
	}
	_, err := fmt.Fprintf(out, "%-4s  %s: %s%s\n", words[f.Status], printable(f.Name), why, printable(f.Detail))
	if err == nil && f.Remedy != "" {
		_, err = fmt.Fprintf(out, "      %s\n", printable(f.Remedy))
	}
	return err
}
