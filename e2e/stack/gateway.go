package stack

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"
)

// Probes that StartGateway can wait for.
const (
	WaitReady = "ready" // KES and the upstream answer (the default)
	WaitLive  = "live"  // the server listens
)

// GatewayOptions configures the start of a gateway.
type GatewayOptions struct {
	KES      []*KES // endpoints, in this order; at least one
	Upstream *Store
	KeyName  string // default KES key; "" means "e2e-key"

	// UpstreamEndpoint replaces Upstream.Endpoint if there is a proxy in
	// between.
	UpstreamEndpoint string
	// Like makes a replica with the credentials, certificate and settings of
	// another gateway, on other ports. Env still overrides settings. Other
	// options are ignored, except Ahead.
	Like *Gateway
	// TLS makes the gateway listen with a fresh certificate.
	TLS bool
	// Env overrides single variables. An empty value removes a variable.
	Env map[string]string
	// Ahead is how much the gateway's clock is ahead of the machine's, in whole
	// seconds. It may be negative.
	Ahead time.Duration
	// WaitFor is the probe that ends the start: WaitReady or WaitLive.
	WaitFor string
}

// Gateway is one ssegw process.
type Gateway struct {
	*Service
	Endpoint      string // http or https://127.0.0.1:PORT
	AdminEndpoint string // http://127.0.0.1:PORT
	AccessKey     string
	SecretKey     string
	CAFile        string // certificates to trust if Endpoint is https, otherwise ""
	KeyName       string // default KES key
	Env           map[string]string
}

// stateBucket is the state bucket of every gateway of a stack.
const stateBucket = "ssegw-state"

// StartGateway builds the gateway from the current sources and starts it.
func (s *Stack) StartGateway(ctx context.Context, o GatewayOptions) (*Gateway, error) {
	tool := ToolGateway
	if o.Ahead != 0 {
		tool = ToolAhead
	}
	if err := s.tools.Build(ctx, tool); err != nil {
		return nil, err
	}
	g, cmd, ready, err := s.prepareGateway(o)
	if err != nil {
		return nil, err
	}
	if cmd.path = s.tools.Path(tool); o.Ahead != 0 {
		cmd.env[aheadVariable] = strconv.Itoa(int(o.Ahead.Seconds()))
	}
	g.Service, err = s.start(ctx, cmd, ready)
	return g, err
}

// ContainerGateway returns a gateway with all settings that the caller starts
// itself, for example as a container on the host's network. The gateway counts
// as ended when the channel is closed. Only its methods WaitReady and Running
// work.
func (s *Stack) ContainerGateway(o GatewayOptions, exited <-chan struct{}) (*Gateway, error) {
	g, cmd, ready, err := s.prepareGateway(o)
	if err != nil {
		return nil, err
	}
	g.Service = &Service{cmd: cmd, ready: ready, done: exited}
	return g, nil
}

// prepareGateway does everything except the start.
func (s *Stack) prepareGateway(o GatewayOptions) (*Gateway, command, probe, error) {
	id, dir, err := s.subdir("ssegw")
	if err != nil {
		return nil, command{}, nil, err
	}
	g, err := newGateway(o, dir)
	if err != nil {
		return nil, command{}, nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, command{}, nil, err
	}
	adminAddr, err := freeAddr()
	if err != nil {
		return nil, command{}, nil, err
	}
	g.Env["SSEGW_ADDRESS"], g.Env["SSEGW_ADMIN_ADDRESS"] = addr, adminAddr
	g.Endpoint, g.AdminEndpoint = "http://"+addr, "http://"+adminAddr
	if g.CAFile != "" {
		g.Endpoint = "https://" + addr
	}
	if o.Like == nil {
		maps.Copy(g.Env, s.GatewayEnv)
	}
	for k, v := range o.Env {
		if g.Env[k] = v; v == "" {
			delete(g.Env, k)
		}
	}
	client, err := HTTPClient(g.CAFile)
	if err != nil {
		return nil, command{}, nil, err
	}
	wait := o.WaitFor
	if wait == "" {
		wait = WaitReady
	}
	cmd := command{name: id, path: s.tools.Path(ToolGateway), dir: dir, env: g.Env}
	return g, cmd, httpOK(client, g.Endpoint+"/minio/health/"+wait), nil
}

// newGateway returns a gateway with all settings except its addresses.
func newGateway(o GatewayOptions, dir string) (*Gateway, error) {
	if o.Like != nil {
		g := *o.Like
		g.Service, g.Env = nil, maps.Clone(o.Like.Env)
		return &g, nil
	}
	if len(o.KES) == 0 || o.Upstream == nil {
		return nil, fmt.Errorf("stack: a gateway needs a KES server and an upstream")
	}
	g := &Gateway{AccessKey: "ssegw-client", SecretKey: rand.Text(), KeyName: o.KeyName}
	if g.KeyName == "" {
		g.KeyName = "e2e-key"
	}
	var endpoints []string
	for _, k := range o.KES {
		endpoints = append(endpoints, k.Endpoint)
	}
	upstream := o.UpstreamEndpoint
	if upstream == "" {
		upstream = o.Upstream.Endpoint
	}
	g.Env = map[string]string{
		"SSEGW_ACCESS_KEY": g.AccessKey, "SSEGW_SECRET_KEY": g.SecretKey,
		"SSEGW_UPSTREAM_ENDPOINT": upstream, "SSEGW_UPSTREAM_REGION": Region,
		"SSEGW_UPSTREAM_ACCESS_KEY": o.Upstream.AccessKey, "SSEGW_UPSTREAM_SECRET_KEY": o.Upstream.SecretKey,
		"SSEGW_STATE":            stateBucket,
		"MINIO_KMS_KES_ENDPOINT": strings.Join(endpoints, ","),
		"MINIO_KMS_KES_API_KEY":  o.KES[0].APIKey,
		"MINIO_KMS_KES_CAPATH":   o.KES[0].CAFile,
		"MINIO_KMS_KES_KEY_NAME": g.KeyName,
	}
	if o.TLS {
		cert, err := NewCertificate(dir, "gateway")
		if err != nil {
			return nil, err
		}
		g.CAFile = cert.CertFile
		g.Env["SSEGW_TLS_CERT_FILE"], g.Env["SSEGW_TLS_KEY_FILE"] = cert.CertFile, cert.KeyFile
	}
	return g, nil
}
