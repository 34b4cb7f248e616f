package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"ssegw/config"
)

type healthCommand struct{}

// Help is the second part of the command's help.
func (healthCommand) Help() string {
	return "A gateway is alive if it answers, even while KES and the store do not. Meant for containers that have no other program."
}

// Run asks the gateway that was started with the same environment.
func (healthCommand) Run(ctx context.Context) error {
	cfg, err := settings()
	if err != nil {
		return err
	}
	return health(ctx, cfg)
}

// health asks the gateway at the configured address whether it is alive. It is
// the health check for containers that have no other program.
func health(ctx context.Context, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host, port, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if cfg.TLSCertFile != "" {
		scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/minio/health/live", nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	client := http.Client{Transport: &http.Transport{
		// The certificate names the host that clients use, not this address.
		// The request contains no secret.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", resp.Status)
	}
	return nil
}
