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

// Stores for StartStore.
const (
	StoreMinIO     = "minio"
	StoreVersitygw = "versitygw"
	StoreCeph      = "ceph"      // RADOS gateway, from Debian packages
	StoreSwift     = "swift"     // OpenStack Swift with s3api, from Debian packages
	StoreSeaweedFS = "seaweedfs" // built here
)

// A Store is an S3 server in front of which a gateway can run.
type Store struct {
	*Service
	Endpoint  string // http or https://127.0.0.1:PORT
	AccessKey string
	SecretKey string
	CAFile    string // certificates to trust if Endpoint is https, otherwise ""
	Dir       string // folder of the server's data

	keyFile string // private key of the certificate in CAFile
}

// StoreOptions configures the start of a store. The zero value is valid.
type StoreOptions struct {
	TLS bool // listen with a fresh certificate
	KES *KES // source of keys for a store that encrypts by itself, as MinIO does; Ceph and versitygw ignore it

	// MetadataValue is Swift's limit for a value of user metadata, in bytes. 0
	// means Swift's default of 256. Other stores ignore it.
	MetadataValue int
}

// StartStore starts the store of the given name. The error is a [MissingError]
// if the store's programs have to be installed first.
func (s *Stack) StartStore(ctx context.Context, name string, o StoreOptions) (*Store, error) {
	switch name {
	case StoreMinIO:
		return s.startMinIO(ctx, o)
	case StoreVersitygw:
		return s.startVersitygw(ctx, o)
	case StoreCeph:
		return s.startCeph(ctx, o)
	case StoreSwift:
		return s.startSwift(ctx, o)
	case StoreSeaweedFS:
		return s.startSeaweedFS(ctx, o)
	default:
		return nil, fmt.Errorf("stack: unknown store %q", name)
	}
}

// StartMinIO starts a MinIO server with one drive.
func (s *Stack) StartMinIO(ctx context.Context) (*Store, error) {
	return s.startMinIO(ctx, StoreOptions{})
}

// StartVersitygw starts a versitygw server that keeps objects as files, with
// versioning and its own users. The file system of the stack must support
// extended attributes.
func (s *Stack) StartVersitygw(ctx context.Context) (*Store, error) {
	return s.startVersitygw(ctx, StoreOptions{})
}

func (s *Stack) startMinIO(ctx context.Context, o StoreOptions) (*Store, error) {
	st, id, dir, err := s.newStore(ctx, ToolMinIO, o)
	if err != nil {
		return nil, err
	}
	console, err := freeAddr()
	if err != nil {
		return nil, err
	}
	client, err := HTTPClient(st.CAFile)
	if err != nil {
		return nil, err
	}
	env := map[string]string{
		"MINIO_ROOT_USER": st.AccessKey, "MINIO_ROOT_PASSWORD": st.SecretKey,
		"MINIO_BROWSER": "off", "MINIO_UPDATE": "off",
	}
	if o.KES != nil {
		env["MINIO_KMS_KES_ENDPOINT"], env["MINIO_KMS_KES_API_KEY"] = o.KES.Endpoint, o.KES.APIKey
		env["MINIO_KMS_KES_CAPATH"], env["MINIO_KMS_KES_KEY_NAME"] = o.KES.CAFile, id
	}
	// MinIO's health endpoints report success before it serves requests (it
	// answers 503 until then). So the probe waits until it refuses an anonymous
	// ListBuckets.
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolMinIO), dir: dir, env: env,
		args: []string{
			"server", "--quiet", "--certs-dir", filepath.Join(dir, certDir),
			"--address", hostPort(st.Endpoint), "--console-address", console, st.Dir,
		},
	}, httpStatus(client, st.Endpoint+"/", http.StatusForbidden))
	return st, err
}

func (s *Stack) startVersitygw(ctx context.Context, o StoreOptions) (*Store, error) {
	st, id, dir, err := s.newStore(ctx, ToolVersitygw, o)
	if err != nil {
		return nil, err
	}
	versions, users := filepath.Join(dir, "versions"), filepath.Join(dir, "users")
	for _, d := range [...]string{versions, users} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, fmt.Errorf("stack: %w", err)
		}
	}
	client, err := HTTPClient(st.CAFile)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--quiet", "--keep-alive", "--health", "/health", "--region", Region,
		"--port", hostPort(st.Endpoint), "--iam-dir", users,
	}
	if o.TLS {
		args = append(args, "--cert", st.CAFile, "--key", st.keyFile)
	}
	st.Service, err = s.start(ctx, command{
		name: id, path: s.tools.Path(ToolVersitygw), dir: dir,
		args: append(args, "posix", "--versioning-dir", versions, st.Dir),
		env:  map[string]string{"ROOT_ACCESS_KEY": st.AccessKey, "ROOT_SECRET_KEY": st.SecretKey},
	}, httpOK(client, st.Endpoint+"/health"))
	return st, err
}

// certDir is the folder of a store's certificate. The files have MinIO's names.
const certDir = "certs"

// newStore makes what all stores need: program, directory, address, credentials
// and, if requested, a certificate.
func (s *Stack) newStore(ctx context.Context, tool Tool, o StoreOptions) (st *Store, id, dir string, err error) {
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
	if o.TLS {
		err = st.certify(filepath.Join(dir, certDir))
	}
	return st, id, dir, err
}

// certify gives the store a certificate with files in dir.
func (st *Store) certify(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	cert, err := NewCertificate(dir, "public")
	if err != nil {
		return err
	}
	st.CAFile, st.keyFile = cert.CertFile, filepath.Join(dir, "private.key")
	if err := os.Rename(cert.KeyFile, st.keyFile); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	st.Endpoint = "https://" + hostPort(st.Endpoint)
	return nil
}

// hostPort returns the address of an endpoint made by this package.
func hostPort(endpoint string) string {
	for i := range endpoint {
		if endpoint[i] == '/' && i > 0 && endpoint[i-1] == '/' {
			return endpoint[i+1:]
		}
	}
	return endpoint
}
