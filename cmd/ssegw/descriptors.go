package main

import (
	"fmt"
	"syscall"

	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/kms"
	"ssegw/proxy/check"
)

const (
	// socketsPerRequest are the client's connection and two to the store, for
	// copies.
	socketsPerRequest = 3
	// otherDescriptors are those of listeners, files, operators and clients that
	// wait or are refused.
	otherDescriptors = 256
)

// descriptorsFor returns how many file descriptors a gateway may need at the
// same time.
func descriptorsFor(cfg *config.Config) (n uint64, err error) {
	endpoints, err := kms.ParseEndpoints(cfg.KESEndpoint)
	if err != nil {
		return 0, err
	}
	return uint64(socketsPerRequest*cfg.MaxRequests + internalConns + kms.MaxInFlight*len(endpoints) + otherDescriptors), nil
}

// descriptorLimit returns the limit of this process. Go has raised it as far as
// the system allows.
func descriptorLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("reading the limit: %w", err)
	}
	return limit.Cur, nil
}

// descriptorsFinding compares the limit with what cfg needs.
func descriptorsFinding(cfg *config.Config, limit uint64) check.Finding {
	f := check.Finding{Name: "file descriptors", Status: check.StatusOK}
	need, err := descriptorsFor(cfg)
	if err != nil {
		f.Status, f.Detail, f.Remedy = check.StatusWarning, err.Error(), "fix the setting"
		return f
	}
	f.Detail = fmt.Sprintf("%d here, and SSEGW_MAX_REQUESTS=%d may need %d", limit, cfg.MaxRequests, need)
	if limit >= need {
		return f
	}
	f.Status = check.StatusWarning
	f.Remedy = fmt.Sprintf("raise the limit to %d (LimitNOFILE= in systemd, --ulimit nofile= in Docker, ulimit -n in a shell)", need)
	fixed := int64(need) - int64(socketsPerRequest*cfg.MaxRequests)
	if most := (int64(limit) - fixed) / socketsPerRequest; most > 0 {
		f.Remedy += fmt.Sprintf(", or set SSEGW_MAX_REQUESTS to %d", most)
	}
	return f
}

// checkDescriptors returns the finding for this process.
func checkDescriptors(cfg *config.Config) check.Finding {
	limit, err := descriptorLimit()
	if err != nil {
		return check.Finding{Name: "file descriptors", Status: check.StatusNotTried, Detail: err.Error()}
	}
	return descriptorsFinding(cfg, limit)
}

// warnDescriptors logs a warning if the limit is too low: requests would fail
// for want of a connection before the gateway answers SlowDown.
func warnDescriptors(cfg *config.Config, log *zap.Logger) {
	if f := checkDescriptors(cfg); f.Status == check.StatusWarning {
		log.Warn("the limit of file descriptors is low: "+f.Detail, zap.String("remedy", f.Remedy))
	}
}
