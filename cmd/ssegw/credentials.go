package main

import (
	"context"
	"os"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/proxy"
)

// credentialsPoll is the interval at which the credentials file is checked for
// changes. A removed credential still works for about that long.
const credentialsPoll = 2 * time.Second

// accesses maps the words of the credentials file.
var accesses = map[config.Access]proxy.Access{
	config.AccessReadWrite: proxy.AccessReadWrite,
	config.AccessRead:      proxy.AccessRead,
	config.AccessWrite:     proxy.AccessWrite,
}

// credentials holds the credentials file as last read.
type credentials struct {
	path, root string
	log        *zap.Logger
	current    atomic.Pointer[map[string]*proxy.Credential]
	stamp      fileStamp // of the last attempt to read, successful or not
}

// fileStamp identifies the content of a file. It changes when the file does.
type fileStamp struct {
	modified time.Time
	size     int64
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info.ModTime(), info.Size()}
}

// openCredentials reads the file at path. An empty path means no credentials.
func openCredentials(path, rootAccessKey string, log *zap.Logger) (*credentials, error) {
	c := &credentials{path: path, root: rootAccessKey, log: log}
	c.current.Store(&map[string]*proxy.Credential{})
	if path == "" {
		return c, nil
	}
	return c, c.load()
}

// find returns the credential of an access key.
func (c *credentials) find(accessKey string) (*proxy.Credential, bool) {
	credential, ok := (*c.current.Load())[accessKey]
	return credential, ok
}

// secret returns the secret key of an access key.
func (c *credentials) secret(accessKey string) (string, bool) {
	credential, ok := c.find(accessKey)
	if !ok {
		return "", false
	}
	return credential.SecretKey, true
}

func (c *credentials) load() error {
	c.stamp = stampOf(c.path)
	list, err := config.ReadCredentials(c.path, c.root)
	if err != nil {
		return err
	}
	byKey := make(map[string]*proxy.Credential, len(list))
	for _, e := range list {
		credential := &proxy.Credential{
			AccessKey: e.AccessKey, SecretKey: e.SecretKey.Reveal(),
			Access: accesses[e.Access], Buckets: e.Buckets, KMSKeys: e.KMSKeys,
		}
		if e.UpstreamAccessKey != "" {
			keys := aws.Credentials{AccessKeyID: e.UpstreamAccessKey, SecretAccessKey: e.UpstreamSecretKey.Reveal()}
			credential.Upstream = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil })
		}
		byKey[e.AccessKey] = credential
	}
	c.current.Store(&byKey)
	return nil
}

// watch reloads the file when it changes, until ctx ends. If the file is
// missing or wrong, the last credentials stay in force.
func (c *credentials) watch(ctx context.Context) {
	if c.path == "" {
		return
	}
	tick := time.NewTicker(credentialsPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if stampOf(c.path) == c.stamp {
			continue
		}
		if err := c.load(); err != nil {
			c.log.Error("cannot reload the credentials; the last ones stay in force", zap.Error(err))
			continue
		}
		c.log.Info("credentials reloaded", zap.Int("count", len(*c.current.Load())))
	}
}
