package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

// seaweedConfig gives one identity all rights. Without it everybody has them.
const seaweedConfig = `{"identities": [{
  "name": "e2e",
  "credentials": [{"accessKey": %q, "secretKey": %q}],
  "actions": ["Admin", "Read", "List", "Tagging", "Write"]
}]}
`

// startSeaweedFS starts a SeaweedFS server: master, volume server, filer and S3
// in one process.
func (s *Stack) startSeaweedFS(ctx context.Context, o StoreOptions) (*Store, error) {
	if o.TLS || o.KES != nil {
		return nil, errors.New("stack: seaweedfs has neither TLS nor KES here")
	}
	st, id, dir, err := s.newStore(ctx, ToolSeaweedFS, o)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "s3.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, seaweedConfig, st.AccessKey, st.SecretKey), 0o600); err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	// Relative paths keep the names of sockets short.
	args := []string{
		"-logtostderr=true", "server", "-dir", st.Dir, "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1",
		"-master.volumeSizeLimitMB", "64", "-master.telemetry=false", "-volume.max", "0", "-volume.preStopSeconds", "0",
		"-filer", "-filer.localSocket", "filer.sock",
		"-s3", "-s3.config", config, "-s3.localSocket", "s3.sock", "-s3.port.iceberg", "0", "-s3.port.lance", "0",
	}
	if args, err = s.seaweedPorts(args); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(hostPort(st.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	client, err := HTTPClient("")
	if err != nil {
		return nil, err
	}
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolSeaweedFS), dir: dir, args: append(args, "-s3.port", port),
	}, httpStatus(client, st.Endpoint+"/", http.StatusForbidden))
	return st, err
}

// seaweedPorts adds the internal ports of the server to its arguments. Close
// removes the sockets that SeaweedFS makes in /tmp for them.
func (s *Stack) seaweedPorts(args []string) ([]string, error) {
	for _, part := range []string{"master", "volume", "filer", "s3"} {
		for _, kind := range []string{".port", ".port.grpc"} {
			if part == "s3" && kind == ".port" {
				continue // the port for clients
			}
			addr, err := freeAddr()
			if err != nil {
				return nil, err
			}
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, fmt.Errorf("stack: %w", err)
			}
			args = append(args, "-"+part+kind, port)
			if kind == ".port.grpc" {
				s.own(func() error {
					_ = os.Remove("/tmp/seaweedfs-" + part + "-grpc-" + port + ".sock") // may not exist
					return nil
				})
			}
		}
	}
	return args, nil
}
