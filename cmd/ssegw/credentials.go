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

// credentialsPoll is how often the credentials file is looked at, and so about
// how long one that was taken away still works.
const credentialsPoll = 2 * time.Second

// accesses are the words of the credentials file.
var accesses = map[config.Access]proxy.Access{
	config.AccessReadWrite: proxy.AccessReadWrite,
	config.AccessRead:      proxy.AccessRead,
	config.AccessWrite:     proxy.AccessWrite,
}

// credentials are those of the credentials file, as it was read last.
type credentials struct {
	path, root string
	log        *zap.Logger
	current    atomic.Pointer[map[string]*proxy.Credential]
	stamp      fileStamp // of what was read last, whether that was good or not
}

// fileStamp tells whether a file is another than before.
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

// openCredentials reads the file at path; "" is one without credentials.
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

// watch reads the file again when it changes, until ctx ends. A file that is gone
// or wrong leaves the credentials as they were.
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
			c.log.Error("the credentials stay as they were", zap.Error(err))
			continue
		}
		c.log.Info("credentials read again", zap.Int("count", len(*c.current.Load())))
	}
}
