package proxy

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ssegw/proxy/s3"
)

// Access is what a credential may do with objects and buckets.
type Access uint8

const (
	AccessReadWrite Access = iota
	AccessRead             // GET, HEAD and OPTIONS
	AccessWrite            // write and delete objects, without setting ACLs
)

// Credential is a key pair that clients sign with in addition to the root
// credential, and its limits. The store's own policies apply too.
type Credential struct {
	AccessKey string
	SecretKey string
	Upstream  aws.CredentialsProvider // signs its requests to the store; nil: the gateway's own
	Access    Access
	Buckets   []string // names, or prefixes ending in *; nil: all
	KMSKeys   []string // KES keys: names, or prefixes ending in *; nil: all

	root bool
}

// Format prints no secrets, for every verb.
func (c Credential) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "proxy.Credential(%q)", c.AccessKey)
}

// allowsBucket reports whether requests may name a bucket. "" stands for the
// list of all buckets.
func (c *Credential) allowsBucket(name string) bool {
	return c.Buckets == nil || name != "" && s3.MatchesAny(c.Buckets, name)
}

// credentialOf returns the credential with an access key.
func (s *Server) credentialOf(accessKey string) (*Credential, bool) {
	if accessKey == s.AccessKey {
		return s.root, true
	}
	if s.Credentials == nil {
		return nil, false
	}
	return s.Credentials(accessKey)
}
