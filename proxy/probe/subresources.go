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
// something. client sends requests in the client's name.
func (s *Subresources) Check(ctx context.Context, route s3.Route, client upstream.Client, o upstream.Request) error {
	deletes := route.Method == http.MethodDelete
	if !route.Write || len(route.Query) == 0 || route.Class != s3.Forward || route.Action == s3.DeleteObjects || route.Level == s3.Bucket && !deletes {
		return nil
	}
	operation := strings.Join([]string{route.Method, route.Level.String(), route.Query[0]}, " ")
	known, ok := s.known.Load(operation)
	if !ok {
		var found, certain bool
		var err error
		if !client.IsAnonymous() { // strangers cause no work with the gateway's rights
			found, certain, err = s.try(ctx, route, o)
		}
		switch {
		case err != nil:
			return err
		case certain:
			s.known.Store(operation, found)
		default:
			found = isSafe(ctx, client, route, o)
		}
		known = found
	}
	if known == false {
		return s3.ErrNotImplemented.Msg("The object store behind the gateway does not know the sub-resource %s.", route.Query[0])
	}
	return nil
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

// tryBucket makes a bucket and deletes a sub-resource of it.
func (s *Subresources) tryBucket(ctx context.Context, query url.Values) (known, certain bool, err error) {
	bucket := "ssegw-" + Prefix + upstream.RandomTag()
	if err := s.CreateBucket(ctx, bucket); err != nil {
		return false, false, unlessRefused(err)
	}
	defer func() {
		ctx, cancel := CleaningUp(ctx)
		defer cancel()
		_, _ = s.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: bucket}) // it may be gone
	}()
	if _, err := s.Exec(ctx, upstream.Request{Method: http.MethodDelete, Bucket: bucket, Query: query}); isBusy(err) {
		return false, false, err
	}
	_, err = s.Exec(ctx, upstream.Request{Method: http.MethodHead, Bucket: bucket})
	isGone := upstream.StatusOf(err) == http.StatusNotFound
	return err == nil, err == nil || isGone, unlessRefused(err)
}

// tryObject makes an object and sends it an operation on a sub-resource, with a
// document that no store accepts.
func (s *Subresources) tryObject(ctx context.Context, method string, query url.Values) (known, certain bool, err error) {
	body := []byte("probe")
	err = s.With(ctx, "", func(name string) error {
		if _, err := s.Put(ctx, s.Bucket, name, body, http.Header{}); err != nil {
			return err
		}
		o := upstream.Request{Method: method, Bucket: s.Bucket, Key: name, Query: query, Header: http.Header{}}
		if method != http.MethodDelete {
			o.SetDocument([]byte("<Probe/>"))
		}
		if _, err := s.Exec(ctx, o); isBusy(err) {
			return err
		}
		stored, _, err := s.Get(ctx, s.Bucket, name, 1<<10)
		known = err == nil && bytes.Equal(stored, body)
		certain = err == nil || upstream.StatusOf(err) == http.StatusNotFound
		return unlessRefused(err)
	})
	return known, certain, err
}

// isBusy reports whether the store has not even looked at a request. Any other
// answer will do, such as a 500 for a document that makes no sense.
func isBusy(err error) bool {
	status := upstream.StatusOf(err)
	return err != nil && (status == 0 || status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests)
}

// isSafe reports whether the operation of route destroys nothing even if the
// store drops the query: the bucket holds an object, or the store knows how to
// read the sub-resource, which it would answer with a listing otherwise.
func isSafe(ctx context.Context, client upstream.Client, route s3.Route, o upstream.Request) bool {
	if route.Level != s3.Bucket {
		return false
	}
	for _, query := range [...]url.Values{{"max-keys": {"1"}}, o.Query} {
		resp, err := client.Send(ctx, upstream.Request{Method: http.MethodGet, Bucket: o.Bucket, Query: query})
		if err != nil {
			if query.Has(route.Query[0]) && upstream.StatusOf(err) == http.StatusNotFound && !upstream.IsCode(err, s3.ErrNoSuchBucket) {
				return true // NoSuchLifecycleConfiguration, for example
			}
			continue
		}
		doc, err := upstream.ReadDocument(resp.Body)
		_ = resp.Body.Close()
		isListing := s3.HasRoot(doc, "ListBucketResult")
		switch {
		case err != nil:
		case query.Has(route.Query[0]):
			return !isListing
		case isListing && bytes.Contains(doc, []byte("<Contents>")):
			return true
		}
	}
	return false
}
