package upstream

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"ssegw/proxy/s3"
)

// Tags returns the tags of an object, by key. query holds its versionId, or is
// empty; Tags changes it.
func (c Client) Tags(ctx context.Context, bucket, key string, query url.Values) (url.Values, error) {
	query.Set("tagging", "")
	resp, err := c.Send(ctx, Request{Method: http.MethodGet, Bucket: bucket, Key: key, Query: query})
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	doc, err := ReadDocument(io.LimitReader(resp.Body, maxTags))
	if err != nil {
		return nil, err
	}
	var list struct {
		XMLName xml.Name `xml:"Tagging"`
		Tags    []struct {
			Key   string `xml:"Key"`
			Value string `xml:"Value"`
		} `xml:"TagSet>Tag"`
	}
	if err := xml.Unmarshal(doc, &list); err != nil {
		return nil, fmt.Errorf("%w: %w: reading tags: %w", ErrUnavailable, s3.ErrDocument, err)
	}
	tags := url.Values{}
	for _, t := range list.Tags {
		tags.Set(t.Key, t.Value)
	}
	return tags, nil
}

// SetTags sets the tags of an object, if there are any. tags are in the form of
// x-amz-tagging. version is "" for the current version. A missing object is not
// an error: it was deleted or replaced meanwhile.
func (c Client) SetTags(ctx context.Context, bucket, key, version, tags string) error {
	values, err := s3.ParseTags(tags)
	if err != nil || len(values) == 0 {
		return err
	}
	o := Request{Method: http.MethodPut, Bucket: bucket, Key: key, Query: url.Values{"tagging": {""}}, Header: http.Header{}}
	if version != "" {
		o.Query.Set("versionId", version)
	}
	o.SetDocument(s3.TagsDocument(values))
	if _, err = c.Exec(ctx, o); StatusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// TagUpload sets the tags of an object whose upload is complete. again tells
// that this may have been done before: then it keeps the tags that the object
// has, which can be newer. If the store refuses the tags, the error tells
// clients that the object is stored.
func (c Client) TagUpload(ctx context.Context, bucket, key, version, tags string, again bool) error {
	if again && tags != "" {
		query := url.Values{}
		if version != "" {
			query.Set("versionId", version)
		}
		present, err := c.store.Own().Tags(ctx, bucket, key, query) // clients need no right to read them
		if err != nil && StatusOf(err) != http.StatusNotFound {
			return OwnFailed("the tags of an upload", err)
		}
		if len(present) > 0 {
			return nil
		}
	}
	err := c.SetTags(ctx, bucket, key, version, tags)
	refused := AnswerOf(err)
	if refused == nil || refused.Status >= 500 || errors.Is(err, ErrUnavailable) {
		return err
	}
	e := refused.S3(true)
	return e.Msg("The object is stored, but without its tags, because the object store refused them: %s", e.Message).With(err)
}

// TakeTags takes the tags out of the header of a CreateMultipartUpload, if the
// store would lose them there. The caller sets the tags that it returns after
// the Complete. The errors are those of [s3.ParseTags]: a Complete cannot
// refuse tags any more.
func (s *Store) TakeTags(header http.Header) (tags string, err error) {
	if s.Capabilities().UploadTags {
		return "", nil
	}
	tags = header.Get(s3.HeaderTagging)
	header.Del(s3.HeaderTagging)
	_, err = s3.ParseTags(tags)
	return tags, err
}
