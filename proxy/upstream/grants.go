package upstream

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"ssegw/proxy/s3"
)

// maxACL is the largest ACL that is read, in bytes.
const maxACL = 256 << 10

// grantHeaders has the headers of a write for each permission on an object.
var grantHeaders = map[string]string{
	"FULL_CONTROL": "X-Amz-Grant-Full-Control", "READ": "X-Amz-Grant-Read",
	"READ_ACP": "X-Amz-Grant-Read-Acp", "WRITE_ACP": "X-Amz-Grant-Write-Acp",
}

// KeepSettings adds those settings of a stored object to the headers of a write
// that copies do not keep by themselves.
func KeepSettings(header, stored http.Header) {
	PassHeaders(header, stored, s3.HeaderStorageClass, s3.HeaderWebsiteRedirect,
		"X-Amz-Object-Lock-Mode", "X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Object-Lock-Legal-Hold")
	if until, err := time.Parse(time.RFC3339, header.Get("X-Amz-Object-Lock-Retain-Until-Date")); err == nil && until.Before(time.Now()) {
		header.Del("X-Amz-Object-Lock-Mode") // stores refuse a retention that is over
		header.Del("X-Amz-Object-Lock-Retain-Until-Date")
	}
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
