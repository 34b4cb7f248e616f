package stack

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// Region is the region of the stores and of the gateway.
const Region = "us-east-1"

// A Store is an S3 server that a gateway can stand in front of.
type Store struct {
	*Service
	Endpoint  string // http://127.0.0.1:PORT
	AccessKey string
	SecretKey string
	Dir       string // where the server keeps its data
}

// StartMinIO starts a MinIO server with one drive.
func (s *Stack) StartMinIO(ctx context.Context) (*Store, error) {
	st, id, dir, err := s.newStore(ctx, ToolMinIO)
	if err != nil {
		return nil, err
	}
	console, err := freeAddr()
	if err != nil {
		return nil, err
	}
	// MinIO's health endpoints say yes before it serves requests (503 until
	// then), so the sign is that it refuses an anonymous ListBuckets.
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolMinIO), dir: dir,
		args: []string{
			"server", "--quiet", "--certs-dir", filepath.Join(dir, "certs"),
			"--address", hostPort(st.Endpoint), "--console-address", console, st.Dir,
		},
		env: map[string]string{
			"MINIO_ROOT_USER": st.AccessKey, "MINIO_ROOT_PASSWORD": st.SecretKey,
			"MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
		},
	}, httpStatus(http.DefaultClient, st.Endpoint+"/", http.StatusForbidden))
	return st, err
}

// StartVersitygw starts a versitygw server that keeps objects as files, with
// versioning and users of its own. The file system of the stack needs extended attributes.
func (s *Stack) StartVersitygw(ctx context.Context) (*Store, error) {
	st, id, dir, err := s.newStore(ctx, ToolVersitygw)
	if err != nil {
		return nil, err
	}
	versions, users := filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	for _, d := range [...]string{versions, users} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolVersitygw), dir: dir,
		args: []string{
			"--quiet", "--keep-alive", "--health", "/health", "--region", Region,
			"--port", hostPort(st.Endpoint), "--iam-dir", users, "posix", "--versioning-dir", versions, st.Dir,
		},
		env: map[string]string{"ROOT_ACCESS_KEY": st.AccessKey, "ROOT_SECRET_KEY": st.SecretKey},
	}, httpOK(http.DefaultClient, st.Endpoint+"/health"))
	return st, err
}

// newStore makes what all stores need: program, directory, address, credentials.
func (s *Stack) newStore(ctx context.Context, tool Tool) (st *Store, id, dir string, err error) {
	if err := s.tools.Build(ctx, tool); err != nil {
		return nil, "", "", err
	}
	id, dir, err = s.subdir(string(tool))
	if err != nil {
		return nil, "", "", err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, "", "", err
	}
	st = &Store{Endpoint: "http://" + addr, Dir: filepath.Join(dir, "data"), AccessKey: id, SecretKey: rand.Text()}
	if err := os.Mkdir(st.Dir, 0o700); err != nil {
		return nil, "", "", fmt.Errorf("stack: %w", err)
	}
	return st, id, dir, nil
}

// hostPort returns the address part of an endpoint that this package made.
func hostPort(endpoint string) string {
	for i := range endpoint {
		if endpoint[i] == '/' && i > 0 && endpoint[i-1] == '/' {
			return endpoint[i+1:]
		}
	}
	return endpoint
}
