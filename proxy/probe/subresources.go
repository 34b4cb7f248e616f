package probe

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
)

// Subresources remembers which operations on sub-resources a store knows. A
// store that does not know one may drop the query, and take the deletion of a
// bucket's metrics for that of the bucket, or the retention of an object for
// its new body. So each such operation is tried on a probe before it is first
// sent for a client.
type Subresources struct {
	Prober
	known sync.Map // bool by operation, such as "DELETE bucket metrics"
}

// Check returns NotImplemented if the store does not know the operation of
// route, or if that cannot be found out and the request could destroy
// something. client sends requests in the client's name. If done is true,
// there is nothing to do: what o deletes does not exist.
func (s *Subresources) Check(ctx context.Context, route s3.Route, client upstream.Client, o upstream.Request) (done bool, err error) {
	deletes := route.Method == http.MethodDelete
	if !route.Write || len(route.Query) == 0 || route.Class != s3.Forward || route.Action == s3.DeleteObjects || route.Level == s3.Bucket && !deletes {
		return false, nil
	}
	operation := strings.Join([]string{route.Method, route.Level.String(), route.Query[0]}, " ")
	known, ok := s.known.Load(operation)
	if !ok {
		var found, certain bool
		if !client.IsAnonymous() { // strangers cause no work with the gateway's rights
			found, certain, err = s.try(ctx, route, o)
		}
		if err != nil {
			return false, hidden("whether it knows the sub-resource", err)
		}
		if !certain {
			return uncertain(ctx, client, route, o)
		}
		s.known.Store(operation, found)
		known = found
	}
	if known == false {
		return false, s3.ErrNotImplemented.Msg("The object store behind the gateway does not know the sub-resource %s.", route.Query[0])
	}
	return false, nil
}

// CheckDeletes returns NotImplemented if the store deletes objects with a
// DeleteObjects although a condition in its document does not hold, or if that
// cannot be found out. names has the names of the conditions, such as ETag.
func (s *Subresources) CheckDeletes(ctx context.Context, client upstream.Client, names map[string]bool) error {
	if names["Size"] { // sizes travel with an ETag
		names = map[string]bool{"ETag": true, "LastModifiedTime": names["LastModifiedTime"]}
	}
	for name, wanted := range names {
		if !wanted {
			continue
		}
		operation := "condition " + name
		known, ok := s.known.Load(operation)
		if !ok && !client.IsAnonymous() {
			held, certain, err := s.tryDelete(ctx, name)
			if err != nil {
				return hidden("whether it knows a condition", err)
			}
			if certain {
				s.known.Store(operation, held)
			}
			known = held && certain
		}
		if known != true {
			return s3.ErrNotImplemented.Msg("The object store behind the gateway ignores the condition %s of DeleteObjects.", name)
		}
	}
	return nil
}

// TakeTags takes the tags out of the header of a CreateMultipartUpload, if the
// store would lose them there: see [upstream.Store.TakeTags]. Tags that not
// every store takes are tried on a probe, unless the client is anonymous. The
// error is InvalidTag if the store refuses them, or changes them.
func (s *Subresources) TakeTags(ctx context.Context, client upstream.Client, header http.Header) (tags string, err error) {
	tags, err = s.Store().TakeTags(header)
	if err != nil || client.IsAnonymous() {
		return tags, err
	}
	if wanted, err := s3.ParseTags(tags); err != nil || s3.AreCommon(wanted) {
		return tags, err
	}
	taken := false
	err = s.With(ctx, "", func(name string) error {
		taken, err = s.takesTags(ctx, name, tags)
		return err
	})
	if err != nil {
		return "", hidden("which tags it takes", err)
	}
	if !taken {
		return "", s3.ErrInvalidTag.Msg("The object store behind the gateway does not take these tags, or would change them.")
	}
	return tags, nil
}

// takesTags reports whether the store takes tags for the object name. A refusal
// for another reason, such as a missing right to tag probes, proves nothing.
func (s *Subresources) takesTags(ctx context.Context, name, tags string) (bool, error) {
	if _, err := s.Put(ctx, s.Bucket, name, []byte("probe"), http.Header{}); err != nil {
		return false, err
	}
	if err := s.SetTags(ctx, s.Bucket, name, "", tags); err != nil {
		return upstream.StatusOf(err) != http.StatusBadRequest, unlessRefused(err)
	}
	wanted, _ := s3.ParseTags(tags) // they were parsed before
	stored, err := s.Tags(ctx, s.Bucket, name, url.Values{})
	if err != nil {
		return true, unlessRefused(err)
	}
	return stored.Encode() == wanted.Encode(), nil
}

// hidden returns the error of a probe as clients may see it: it is not about
// their objects.
func hidden(doing string, err error) error { return upstream.OwnFailed("probing "+doing, err) }

// tryDelete deletes an object under a condition that does not hold. held means
// that the object is still there. certain is false if the store does not delete
// it without the condition either.
func (s *Subresources) tryDelete(ctx context.Context, condition string) (held, certain bool, err error) {
	value := map[string]string{"ETag": AnotherTag, "LastModifiedTime": "Thu, 01 Jan 1970 00:00:00 GMT"}[condition]
	err = s.With(ctx, "", func(name string) (err error) {
		if _, err = s.Put(ctx, s.Bucket, name, []byte("probe"), http.Header{}); err != nil {
			return err
		}
		if held, err = s.outlives(ctx, name, "<"+condition+">"+value+"</"+condition+">"); err != nil || !held {
			certain = err == nil
			return err
		}
		present, err := s.outlives(ctx, name, "")
		certain = !present
		return err
	})
	return held, certain, err
}

// outlives reports whether the object name is still there after a DeleteObjects
// with conditions.
func (s *Subresources) outlives(ctx context.Context, name, conditions string) (bool, error) {
	o := upstream.Request{Method: http.MethodPost, Bucket: s.Bucket, Query: url.Values{"delete": {""}}, Header: http.Header{}}
	o.SetDocument([]byte("<Delete><Object><Key>" + name + "</Key>" + conditions + "</Object></Delete>"))
	if _, err := s.Exec(ctx, o); unlessRefused(err) != nil {
		return false, err
	}
	_, err := s.Head(ctx, s.Bucket, name)
	if upstream.StatusOf(err) == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// try does the operation of route to a probe. certain is false if there can be
// no probe.
func (s *Subresources) try(ctx context.Context, route s3.Route, o upstream.Request) (known, certain bool, err error) {
	query := url.Values{}
	for _, name := range route.Query {
		query[name] = o.Query[name]
	}
	if route.Level == s3.Bucket {
		return s.tryBucket(ctx, query)
	}
	return s.tryObject(ctx, route.Method, query)
}

// tryBucket makes a bucket and deletes a sub-resource of it. That the bucket is
// still there proves something only if it can be deleted.
func (s *Subresources) tryBucket(ctx context.Context, query url.Values) (known, certain bool, err error) {
	bucket := "ssegw-" + Prefix + upstream.RandomTag()
	if err := s.CreateBucket(ctx, bucket); err != nil {
		return false, false, unlessRefused(err)
	}
	deleted := func(ctx context.Context) bool {
		ctx, cancel := CleaningUp(ctx)
		defer cancel()
		_, err := s.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: bucket})
		return err == nil
	}
	there := func() error {
		_, err := s.Exec(ctx, upstream.Request{Method: http.MethodHead, Bucket: bucket})
		return err
	}
	err = settled(there, func() error {
		_, err := s.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: bucket, Query: query})
		return err
	})
	if err != nil {
		deleted(ctx)
		return false, false, unlessRefused(err)
	}
	err = there()
	isGone := upstream.StatusOf(err) == http.StatusNotFound
	known = deleted(ctx) && err == nil
	return known, known || isGone, unlessRefused(err)
}

// tryObject makes an object and sends it an operation on a sub-resource, with a
// document that no store accepts. The object is proof of the right to replace
// it, and [Prober.With] fails if it cannot delete the object.
func (s *Subresources) tryObject(ctx context.Context, method string, query url.Values) (known, certain bool, err error) {
	body := []byte("probe")
	err = s.With(ctx, "", func(name string) error {
		err := settled(func() error {
			_, err := s.Put(ctx, s.Bucket, name, body, http.Header{})
			return err
		}, func() error {
			o := upstream.Request{Method: method, Bucket: s.Bucket, Key: name, Query: query, Header: http.Header{}}
			if method != http.MethodDelete {
				o.SetDocument([]byte("<Probe/>"))
			}
			_, err := s.Exec(ctx, o)
			return err
		})
		if err != nil {
			return err
		}
		stored, _, err := s.Get(ctx, s.Bucket, name, 1<<10)
		known = err == nil && bytes.Equal(stored, body)
		certain = err == nil || upstream.StatusOf(err) == http.StatusNotFound
		return unlessRefused(err)
	})
	return known, certain, err
}

// settled sends a request after prepare has succeeded. It returns nil if the
// store has looked at the request. Any answer to a request that makes no sense
// may do, such as a 500 that repeats while the store serves others.
func settled(prepare, send func() error) (err error) {
	for range 2 {
		if err = prepare(); err != nil {
			return err
		}
		if err = send(); !mayRefuse(err) {
			return unlessRefused(err)
		}
	}
	return nil
}

// mayRefuse reports whether err is an answer with which some stores refuse what
// they do not know, and others fail.
func mayRefuse(err error) bool {
	status := upstream.StatusOf(err)
	return status == http.StatusInternalServerError || status == http.StatusBadGateway
}

// uncertain decides about an operation that could not be tried. It may be sent
// if it destroys nothing even if the store drops the query, because the bucket
// is not empty. If the store answers that the sub-resource does not exist, it
// need not be sent. That the store can read a sub-resource does not prove that
// it can delete it, so any other operation is refused.
func uncertain(ctx context.Context, client upstream.Client, route s3.Route, o upstream.Request) (done bool, err error) {
	if route.Level == s3.Bucket {
		if hasObjects(ctx, client, o.Bucket) {
			return false, nil
		}
		_, err := client.Exec(ctx, upstream.Request{Method: http.MethodGet, Bucket: o.Bucket, Query: o.Query})
		if upstream.StatusOf(err) == http.StatusNotFound && upstream.HasDocument(err) && !upstream.IsCode(err, s3.ErrNoSuchBucket) {
			return true, nil // NoSuchLifecycleConfiguration, for example
		}
	}
	return false, s3.ErrNotImplemented.Msg("The gateway cannot find out whether the object store behind it knows the sub-resource %s. A store that does not could take the request for one to delete or to replace the whole.", route.Query[0])
}

// hasObjects reports whether the client can list an object in the bucket.
func hasObjects(ctx context.Context, client upstream.Client, bucket string) bool {
	resp, err := client.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: bucket, Query: url.Values{"list-type": {"2"}, "max-keys": {"1"}}})
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := upstream.ParseListing(resp.Body)
	return err == nil && len(page.Entries) > 0
}
