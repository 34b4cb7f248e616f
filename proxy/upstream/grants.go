package upstream

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxACL is the largest ACL that is read, in bytes.
const maxACL = 256 << 10

// grantHeaders has the headers of a write for each permission on an object.
var grantHeaders = map[string]string{
	"FULL_CONTROL": "X-Amz-Grant-Full-Control", "READ": "X-Amz-Grant-Read",
	"READ_ACP": "X-Amz-Grant-Read-Acp", "WRITE_ACP": "X-Amz-Grant-Write-Acp",
}

// KeepGrants adds the grants of an object's ACL to the headers of a write that
// replaces the object. It adds nothing if only the owner has rights, and at
// stores without ACLs. A grant that a header cannot express is an error.
func KeepGrants(ctx context.Context, c Client, bucket, key string, header http.Header) error {
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: url.Values{"acl": {""}}})
	if LacksSubresource(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(http.MaxBytesReader(nil, resp.Body, maxACL))
	if err != nil {
		return err
	}
	var acl accessControlPolicy
	if err := xml.Unmarshal(doc, &acl); err != nil {
		return fmt.Errorf("%w: reading an ACL: %w", ErrUnavailable, err)
	}
	if acl.isPrivate() {
		return nil
	}
	for _, g := range acl.Grants {
		name, ok := grantHeaders[g.Permission]
		who := g.Grantee.header()
		if !ok || who == "" {
			return fmt.Errorf("upstream: the ACL has a grant that cannot be kept: %q for %+v", g.Permission, g.Grantee)
		}
		header.Set(name, strings.TrimPrefix(header.Get(name)+", "+who, ", "))
	}
	return nil
}

// accessControlPolicy is the document of GetObjectAcl.
type accessControlPolicy struct {
	XMLName xml.Name `xml:"AccessControlPolicy"`
	Owner   string   `xml:"Owner>ID"`
	Grants  []grant  `xml:"AccessControlList>Grant"`
}

type grant struct {
	Grantee    grantee `xml:"Grantee"`
	Permission string  `xml:"Permission"`
}

type grantee struct {
	ID    string `xml:"ID"`
	URI   string `xml:"URI"`
	Email string `xml:"EmailAddress"`
}

// isPrivate reports whether only the owner has rights.
func (a *accessControlPolicy) isPrivate() bool {
	return !slices.ContainsFunc(a.Grants, func(g grant) bool {
		someone := g.Grantee.URI + g.Grantee.Email + g.Grantee.ID
		return someone != "" && someone != a.Owner || g.Permission != "FULL_CONTROL"
	})
}

// header returns the grantee in the form of the x-amz-grant headers; "" if it
// has none.
func (g *grantee) header() string {
	for _, v := range [...][2]string{{"uri", g.URI}, {"id", g.ID}, {"emailAddress", g.Email}} {
		if v[1] != "" && !strings.ContainsAny(v[1], "\"\r\n") {
			return v[0] + `="` + v[1] + `"`
		}
	}
	return ""
}
