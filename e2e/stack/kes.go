package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// KESOptions configures the start of a KES server. The zero value is valid.
type KESOptions struct {
	// SharedWith makes the server use the key store, the certificate and the
	// client identity of another server, as in a cluster.
	SharedWith *KES
	// Keys is a backup of a key store, as [KES.Keys] names it. The server gets a
	// copy, and a fresh certificate and identity.
	Keys string
	// Pausable puts a valve in front of the server; see Pause.
	Pausable bool
}

// KES is a KES server with a key store in files.
type KES struct {
	*Service
	Endpoint string // https://127.0.0.1:PORT
	CAFile   string // the server's self-signed certificate, PEM
	APIKey   string // API key of the only identity that the policy admits

	identity string
	home     string // folder of keys and certificate
}

// kesConfig is the quick-start configuration with least privilege: one
// identity, which can create, list and use keys, and read the server's status.
const kesConfig = `address: %s
admin:
  identity: disabled
tls:
  key: server.key
  cert: server.crt
log:
  audit: "off"
policy:
  gateway:
    allow:
    - /v1/key/create/*
    - /v1/key/generate/*
    - /v1/key/decrypt/*
    - /v1/key/describe/*
    - /v1/key/list/*
    - /v1/status
    identities: ["%s"]
keystore:
  fs:
    path: ./keys
`

// StartKES starts a KES server with a fresh certificate and a fresh API key.
func (s *Stack) StartKES(ctx context.Context, o KESOptions) (*KES, error) {
	if err := s.tools.Build(ctx, ToolKES); err != nil {
		return nil, err
	}
	id, dir, err := s.subdir("kes")
	if err != nil {
		return nil, err
	}
	k := &KES{home: dir}
	if o.SharedWith != nil {
		k.home, k.APIKey, k.identity = o.SharedWith.home, o.SharedWith.APIKey, o.SharedWith.identity
	} else if err := k.newIdentities(ctx, s.tools.Path(ToolKES)); err != nil {
		return nil, err
	}
	if o.Keys != "" {
		if err := os.CopyFS(k.Keys(), os.DirFS(o.Keys)); err != nil {
			return nil, fmt.Errorf("stack: restoring KES keys: %w", err)
		}
	}
	k.CAFile = filepath.Join(k.home, "server.crt")
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	k.Endpoint = "https://" + addr
	var front *valve
	if o.Pausable {
		at, err := freeAddr()
		if err != nil {
			return nil, err
		}
		k.Endpoint, front = "https://"+at, newValve(at, addr)
	}
	config := filepath.Join(k.home, id+".yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, kesConfig, addr, k.identity), 0o600); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	client, err := HTTPClient(k.CAFile)
	if err != nil {
		return nil, err
	}
	k.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolKES), dir: k.home, front: front,
		args: []string{"server", "--config", config},
	}, httpOK(client, k.Endpoint+"/version"))
	return k, err
}

// Keys returns the folder of the key store.
func (k *KES) Keys() string { return filepath.Join(k.home, "keys") }

// CreateKey makes a key with the kes command.
func (k *KES) CreateKey(ctx context.Context, name string) error {
	cmd := exec.CommandContext(ctx, k.cmd.path, "key", "create", "--insecure", name)
	cmd.Env = environ(k.home, map[string]string{"KES_SERVER": k.Endpoint, "KES_API_KEY": k.APIKey})
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: creating the KES key %s: %w\n%s", name, err, out)
	}
	return nil
}

// DeleteKey removes a key from the key store without telling the servers. A
// server that has cached the key may keep using it until Restart.
func (k *KES) DeleteKey(name string) error {
	return os.Remove(filepath.Join(k.Keys(), name))
}

// newIdentities makes the server's certificate and the client's API key.
func (k *KES) newIdentities(ctx context.Context, kes string) error {
	server := exec.CommandContext(ctx, kes, "identity", "new", "--key", "server.key", "--cert", "server.crt",
		"--ip", "127.0.0.1", "--dns", "localhost", "kes-server")
	server.Dir = k.home
	if out, err := server.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: making the KES certificate: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, kes, "identity", "new").Output()
	if err != nil {
		return fmt.Errorf("stack: making the KES API key: %w", err)
	}
	k.APIKey = string(apiKeyPattern.Find(out))
	k.identity = string(identityPattern.Find(out))
	if k.APIKey == "" || k.identity == "" {
		return fmt.Errorf("stack: no API key in the output of kes identity new")
	}
	return nil
}

var (
	apiKeyPattern   = regexp.MustCompile(`kes:v1:[A-Za-z0-9+/=]+`)
	identityPattern = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
)
