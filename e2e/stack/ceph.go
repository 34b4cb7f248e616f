package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// cephPackages are the Debian packages of Ceph's programs.
const cephPackages = "radosgw ceph-mon ceph-osd ceph-common ceph-base"

// cephConfig is the configuration of a cluster with one monitor, one OSD that
// keeps everything in memory, and one RADOS gateway, which serves S3. The
// gateway has Ceph's default limits.
const cephConfig = `[global]
fsid = {fsid}
mon host = v2:{mon}
mon initial members = a
public addr = 127.0.0.1
ms bind msgr1 = false
keyring = {dir}/keyring
run dir = {dir}
pid file =
admin socket =
crash dir = {dir}
log file =
log to stderr = true
err to stderr = true
heartbeat file =
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 1000
mon allow pool size one = true
mon cluster log file =
mon data avail crit = 1

[mon.a]
mon data = {dir}/mon

[osd]
osd data = {dir}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
memstore page set = false

[client.rgw]
rgw data = {dir}
rgw frontends = beast {frontend}
`

// cephKeys are the users of a cluster and their rights.
var cephKeys = [][]string{
	{"mon.", "mon", "allow *"},
	{"client.admin", "mon", "allow *", "osd", "allow *", "mgr", "allow *"},
	{"osd.0", "mon", "allow profile osd", "osd", "allow *"},
	{"client.rgw", "mon", "allow rw", "osd", "allow rwx"},
}

// cephCluster is a Ceph cluster while it starts.
type cephCluster struct {
	*Stack
	programs map[string]string // paths by name
	id, dir  string
	mon      string // address
	frontend string // where the RADOS gateway listens, in the words of its configuration
	fsid     string
	osdID    string // UUID
}

// startCeph starts a Ceph cluster with a RADOS gateway. A restart of the store
// restarts only the RADOS gateway.
func (s *Stack) startCeph(ctx context.Context, o StoreOptions) (*Store, error) {
	programs, err := installed(cephPackages, "ceph-mon", "ceph-osd", "radosgw", "ceph", "ceph-authtool", "monmaptool", "radosgw-admin")
	if err != nil {
		return nil, err
	}
	c := &cephCluster{Stack: s, programs: programs, fsid: newUUID(), osdID: newUUID()}
	if c.id, c.dir, err = s.subdir(StoreCeph); err != nil {
		return nil, err
	}
	if c.mon, err = freeAddr(); err != nil {
		return nil, err
	}
	st, err := c.newRGW(o)
	if err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{c.prepare, c.startMonitor, c.startOSD, func(ctx context.Context) error {
		return c.run(ctx, "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid", "e2e", "--display-name", "e2e",
			"--access-key", st.AccessKey, "--secret-key", st.SecretKey)
	}} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	client, err := HTTPClient(st.CAFile)
	if err != nil {
		return nil, err
	}
	st.Service, err = c.start(ctx, c.daemon("radosgw", "-n", "client.rgw"), httpOK(client, st.Endpoint+"/"))
	return st, err
}

// newRGW gives the RADOS gateway an address, a user and, if requested, a
// certificate.
func (c *cephCluster) newRGW(o StoreOptions) (*Store, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	c.frontend = "endpoint=" + addr
	st := &Store{Endpoint: "http://" + addr, Dir: filepath.Join(c.dir, "osd"), AccessKey: c.id, SecretKey: rand.Text()}
	if !o.TLS {
		return st, nil
	}
	err = st.certify(filepath.Join(c.dir, certDir))
	c.frontend = fmt.Sprintf("ssl_endpoint=%s ssl_certificate=%s ssl_private_key=%s", addr, st.CAFile, st.keyFile)
	return st, err
}

// prepare writes the configuration, the keys and the map of monitors.
func (c *cephCluster) prepare(ctx context.Context) error {
	config := strings.NewReplacer("{fsid}", c.fsid, "{dir}", c.dir, "{mon}", c.mon, "{frontend}", c.frontend).Replace(cephConfig)
	if err := os.WriteFile(filepath.Join(c.dir, "ceph.conf"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	for _, name := range []string{"mon", "osd"} {
		if err := os.Mkdir(filepath.Join(c.dir, name), 0o700); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
	}
	keyring := filepath.Join(c.dir, "keyring")
	args := []string{"--create-keyring"}
	for _, user := range cephKeys {
		args = append(args, keyring, "--gen-key", "-n", user[0])
		for i := 1; i < len(user); i += 2 {
			args = append(args, "--cap", user[i], user[i+1])
		}
		if err := c.run(ctx, "ceph-authtool", args...); err != nil {
			return err
		}
		args = nil
	}
	monmap := filepath.Join(c.dir, "monmap")
	if err := c.run(ctx, "monmaptool", "--create", "--addv", "a", "[v2:"+c.mon+"]", "--fsid", c.fsid, monmap); err != nil {
		return err
	}
	return c.run(ctx, "ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
}

func (c *cephCluster) startMonitor(ctx context.Context) error {
	_, err := c.start(ctx, c.daemon("ceph-mon", "-i", "a"), listens(c.mon))
	return err
}

func (c *cephCluster) startOSD(ctx context.Context) error {
	if err := c.run(ctx, "ceph", "osd", "new", c.osdID); err != nil {
		return err
	}
	if err := c.run(ctx, "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", c.osdID); err != nil {
		return err
	}
	_, err := c.start(ctx, c.daemon("ceph-osd", "-i", "0"), func(ctx context.Context) error {
		out, err := c.output(ctx, "ceph", "osd", "stat")
		if err == nil && !strings.Contains(out, "1 up") {
			err = fmt.Errorf("ceph osd stat: %s", strings.TrimSpace(out))
		}
		return err
	})
	return err
}

// daemon returns the command of one of the cluster's processes.
func (c *cephCluster) daemon(name string, args ...string) command {
	return command{
		name: c.id + "-" + name, path: c.programs[name], dir: c.dir,
		args: append([]string{"-f", "-c", filepath.Join(c.dir, "ceph.conf")}, args...),
	}
}

func (c *cephCluster) run(ctx context.Context, name string, args ...string) error {
	_, err := c.output(ctx, name, args...)
	return err
}

// output runs one of Ceph's programs to its end.
func (c *cephCluster) output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	p := &Program{path: c.programs[name], home: c.dir}
	return p.Run(ctx, append([]string{"-c", filepath.Join(c.dir, "ceph.conf")}, args...)...)
}

// newUUID returns a random UUID.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
