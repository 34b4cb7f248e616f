package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
		"-master.volumeSizeLimitMB", "64", "-master.telemetry=false", "-volume.max", "500", "-volume.preStopSeconds", "0",
		"-filer", "-filer.localSocket", "filer.sock",
		"-s3", "-s3.config", config, "-s3.localSocket", "s3.sock", "-s3.port.iceberg", "0", "-s3.port.lance", "0",
	}
	_, port, err := net.SplitHostPort(hostPort(st.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	args = append(args, "-s3.port", port)
	ports, err := s.seaweedPorts()
	if err != nil {
		return nil, err
	}
	for flag, port := range ports {
		args = append(args, flag, port)
	}
	client, err := HTTPClient("")
	if err != nil {
		return nil, err
	}
	// S3 answers before there is a volume server.
	listening := httpStatus(client, st.Endpoint+"/", http.StatusForbidden)
	writable := httpOK(client, "http://127.0.0.1:"+ports["-master.port"]+"/dir/assign")
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolSeaweedFS), dir: dir, args: args,
	}, func(ctx context.Context) error {
		if err := listening(ctx); err != nil {
			return err
		}
		return writable(ctx)
	})
	return st, err
}

// seaweedPorts returns free ports for the parts of a server that clients do not
// use, by their flags. Close removes the sockets that SeaweedFS makes in /tmp
// for some of them.
func (s *Stack) seaweedPorts() (map[string]string, error) {
	ports := make(map[string]string)
	for _, part := range []string{"master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3.grpc"} {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
		name, grpc := strings.CutSuffix(part, ".grpc")
		flag := "-" + name + ".port"
		if grpc {
			flag += ".grpc"
			s.own(func() error {
				_ = os.Remove("/tmp/seaweedfs-" + name + "-grpc-" + port + ".sock") // may not exist
				return nil
			})
		}
		ports[flag] = port
	}
	return ports, nil
}
