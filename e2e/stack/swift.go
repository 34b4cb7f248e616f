package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

// swiftPackages are the Debian packages of Swift's programs.
const swiftPackages = "swift-proxy swift-account swift-container swift-object memcached"

// swiftPython is the interpreter of Debian's packages. A newer one that comes
// first in PATH does not have Swift's modules.
const swiftPython = "/usr/bin/python3"

// swiftLauncher runs a Swift server with its own swift.conf. Swift reads its
// limits from /etc/swift/swift.conf before it knows its folder. It ends at once
// on SIGTERM, as nothing has to be saved.
const swiftLauncher = `import os, runpy, signal, sys
from swift.common import utils
utils.SWIFT_CONF_FILE = sys.argv[1]
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
`

// swiftRings makes the ring of each server from arguments like object=20000. A
// ring places all data on the one device.
const swiftRings = `import sys
from swift.common.ring import RingBuilder
for arg in sys.argv[1:]:
    name, port = arg.split('=')
    ring = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    ring.add_dev(dict(region=1, zone=1, ip='127.0.0.1', port=int(port), device='device', weight=1))
    ring.rebalance()
    ring.get_ring().save(name + '.ring.gz')
`

// swiftConfig is the beginning of swift.conf. Limits may follow.
const swiftConfig = `[swift-hash]
swift_hash_path_suffix = e2e
swift_hash_path_prefix = e2e
[swift-constraints]
`

// swiftDefaults are the settings that all servers share. With 0 workers a
// server is one process, without children that could outlive it.
const swiftDefaults = `[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {dir}
devices = {dir}
mount_check = false
disable_fallocate = true
[filter:healthcheck]
use = egg:swift#healthcheck
`

const swiftBackend = `[pipeline:main]
pipeline = healthcheck {server}-server
[app:{server}-server]
use = egg:swift#{server}
`

// swiftProxy is the front server. Its pipeline is the one that Swift's manual
// gives for s3api with tempauth.
const swiftProxy = `[pipeline:main]
pipeline = catch_errors healthcheck proxy-logging cache listing_formats bulk s3api tempauth copy dlo versioned_writes slo symlink proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:proxy-logging]
use = egg:swift#proxy_logging
[filter:cache]
use = egg:swift#memcache
memcache_servers = {memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = {region}
check_bucket_owner = false
[filter:tempauth]
use = egg:swift#tempauth
allow_overrides = true
user_e2e_{key} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:dlo]
use = egg:swift#dlo
[filter:slo]
use = egg:swift#slo
allow_async_delete = false
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
`

// swiftServers are the servers of a cluster. The last one serves clients.
var swiftServers = []string{"account", "container", "object", "proxy"}

// swiftCluster is a Swift cluster while it starts.
type swiftCluster struct {
	*Stack
	programs map[string]string // paths by name
	addr     map[string]string // addresses by name: the servers and memcached
	id, dir  string
	user     string // the account that runs the servers
	store    *Store
}

// startSwift starts the four servers of Swift with one device, and memcached. A
// restart of the store restarts only the server for clients.
func (s *Stack) startSwift(ctx context.Context, o StoreOptions) (*Store, error) {
	if o.TLS || o.KES != nil {
		return nil, errors.New("stack: swift has neither TLS nor KES here")
	}
	c, err := s.newSwift()
	if err != nil {
		return nil, err
	}
	if err := c.prepare(ctx, o); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(c.addr["memcached"])
	if _, err := c.start(ctx, command{
		name: c.id + "-memcached", path: c.programs["memcached"], dir: c.dir,
		args: []string{"-u", c.user, "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64"},
	}, listens(c.addr["memcached"])); err != nil {
		return nil, err
	}
	var all errgroup.Group
	services := make([]*Service, len(swiftServers))
	for i, name := range swiftServers {
		all.Go(func() (err error) {
			services[i], err = c.startServer(ctx, name)
			return err
		})
	}
	err = all.Wait()
	c.store.Service = services[len(services)-1]
	return c.store, err
}

// newSwift chooses a folder, addresses and credentials.
func (s *Stack) newSwift() (*swiftCluster, error) {
	programs, err := installed(swiftPackages, "swift-proxy-server", "swift-account-server", "swift-container-server",
		"swift-object-server", "memcached", swiftPython)
	if err != nil {
		return nil, err
	}
	self, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("stack: %w", err)
	}
	c := &swiftCluster{Stack: s, programs: programs, user: self.Username, addr: make(map[string]string)}
	if c.id, c.dir, err = s.subdir(StoreSwift); err != nil {
		return nil, err
	}
	for _, name := range append([]string{"memcached"}, swiftServers...) {
		if c.addr[name], err = freeAddr(); err != nil {
			return nil, err
		}
	}
	c.store = &Store{
		Endpoint: "http://" + c.addr["proxy"], Dir: filepath.Join(c.dir, "device"),
		AccessKey: "e2e:" + c.id, SecretKey: rand.Text(), // tempauth's form is ACCOUNT:USER
	}
	return c, nil
}

// prepare makes the device, the rings and the configuration.
func (c *swiftCluster) prepare(ctx context.Context, o StoreOptions) error {
	if err := os.Mkdir(c.store.Dir, 0o700); err != nil {
		return fmt.Errorf("stack: %w", err)
	}
	config := swiftConfig
	if o.MetadataValue != 0 {
		config += fmt.Sprintf("max_meta_value_length = %d\n", o.MetadataValue)
	}
	files := map[string]string{"swift.conf": config, "launch.py": swiftLauncher, "rings.py": swiftRings}
	var rings []string
	for _, name := range swiftServers {
		_, port, _ := net.SplitHostPort(c.addr[name])
		if name != "proxy" {
			rings = append(rings, name+"="+port)
		}
		server := strings.ReplaceAll(swiftBackend, "{server}", name)
		if name == "proxy" {
			server = swiftProxy
		}
		files[name+"-server.conf"] = strings.NewReplacer("{port}", port, "{user}", c.user, "{dir}", c.dir,
			"{memcached}", c.addr["memcached"], "{region}", Region, "{key}", c.id, "{secret}", c.store.SecretKey,
		).Replace(swiftDefaults + server)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("stack: %w", err)
		}
	}
	p := &Program{path: swiftPython, home: c.dir}
	_, err := p.Run(ctx, append([]string{"rings.py"}, rings...)...)
	return err
}

// startServer starts one of the servers.
func (c *swiftCluster) startServer(ctx context.Context, name string) (*Service, error) {
	client, err := HTTPClient("")
	if err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(c.dir, name) }
	return c.start(ctx, command{
		name: c.id + "-" + name, path: swiftPython, dir: c.dir,
		args: []string{in("launch.py"), in("swift.conf"), c.programs["swift-"+name+"-server"], in(name + "-server.conf"), "-v"},
	}, httpOK(client, "http://"+c.addr[name]+"/healthcheck"))
}
