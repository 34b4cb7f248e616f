package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ssegw/config"
	"ssegw/config/files"
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

// entry is an entry of the credentials file.
type entry struct {
	*proxy.Credential
	viewer bool // may look at the console
}

// credentials holds the credentials file as last read.
type credentials struct {
	source *files.Source[map[string]entry] // nil: there is no file
	log    *zap.Logger
}

// openCredentials reads the file at path. An empty path means no credentials.
func openCredentials(path, rootAccessKey string, log *zap.Logger) (*credentials, error) {
	c := &credentials{log: log}
	if path == "" {
		return c, nil
	}
	var err error
	c.source, err = files.Open(&files.Source[map[string]entry]{
		What:  "credentials file",
		Files: func() ([]string, error) { return []string{path}, nil },
		Load:  func() (map[string]entry, error) { return readCredentials(path, rootAccessKey) },
	})
	return c, err
}

// find returns the credential of an access key.
func (c *credentials) find(accessKey string) (*proxy.Credential, bool) {
	if c.source == nil {
		return nil, false
	}
	e, ok := c.source.Get()[accessKey]
	return e.Credential, ok
}

// viewer returns the secret key of an access key that may look at the console.
func (c *credentials) viewer(accessKey string) (string, bool) {
	if c.source == nil {
		return "", false
	}
	e, ok := c.source.Get()[accessKey]
	if !ok || !e.viewer {
		return "", false
	}
	return e.SecretKey, true
}

// secret returns the secret key of an access key.
func (c *credentials) secret(accessKey string) (string, bool) {
	credential, ok := c.find(accessKey)
	if !ok {
		return "", false
	}
	return credential.SecretKey, true
}

func readCredentials(path, rootAccessKey string) (map[string]entry, error) {
	list, err := config.ReadCredentials(path, rootAccessKey)
	if err != nil {
		return nil, err
	}
	byKey := make(map[string]entry, len(list))
	for _, e := range list {
		credential := &proxy.Credential{
			AccessKey: e.AccessKey, SecretKey: e.SecretKey.Reveal(),
			Access: accesses[e.Access], Buckets: e.Buckets, KMSKeys: e.KMSKeys,
		}
		if e.UpstreamAccessKey != "" {
			keys := aws.Credentials{AccessKeyID: e.UpstreamAccessKey, SecretAccessKey: e.UpstreamSecretKey.Reveal()}
			credential.Upstream = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return keys, nil })
		}
		byKey[e.AccessKey] = entry{credential, e.Console == config.ConsoleRead}
	}
	return byKey, nil
}

// watch reloads the file when it changes, until ctx ends. If the file is
// missing or wrong, the last credentials stay in force.
func (c *credentials) watch(ctx context.Context) {
	if c.source == nil {
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
		c.source.Refresh(c.log)
	}
}
