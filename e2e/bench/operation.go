package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// An operation is what the requests of a workload do.
type operation struct {
	name string
	read bool  // it needs an object or the objects of a page
	part int64 // bytes of the part of the object that it reads; 0: all or none
	do   func(ctx context.Context, j job) error
}

// A job is one request of a workload, or the requests that belong together.
type job struct {
	*target
	workload
	worker int     // which of those in flight, from 0
	body   content // that goes up or comes down
	round  int
}

const (
	partSize   = 8 << 20 // bytes of each part of an upload
	rangeSize  = 1 << 20
	manyKeys   = 100 // of one DeleteObjects
	listedKeys = 1000
)

// The operations.
var (
	opPut  = operation{name: "PUT", do: func(ctx context.Context, j job) error { return j.client.put(ctx, j.written(), j.body) }}
	opGet  = operation{name: "GET", read: true, do: func(ctx context.Context, j job) error { return j.client.get(ctx, j.kept(), j.body) }}
	opHead = operation{name: "HEAD", read: true, do: func(ctx context.Context, j job) error {
		return j.client.call(ctx, j.kept().as(http.MethodHead))
	}}
	opRange = operation{name: "GET, 1 MiB range", read: true, part: rangeSize, do: func(ctx context.Context, j job) error {
		return j.client.get(ctx, j.kept().with("Range", middle(j.size, rangeSize)), j.body)
	}}
	opParts = operation{name: "upload in parts of 8 MiB,", do: uploadParts}
	opCopy  = operation{name: "CopyObject", read: true, do: func(ctx context.Context, j job) error {
		from := j.kept()
		return j.client.call(ctx, j.written().as(http.MethodPut).with("X-Amz-Copy-Source", "/"+from.bucket+"/"+from.key))
	}}
	opDelete = operation{name: fmt.Sprintf("DeleteObjects, %d keys", manyKeys), do: deleteMany}
	opCold   = operation{name: fmt.Sprintf("LIST of %d, cold", listedKeys), do: listPage}
	opWarm   = operation{name: fmt.Sprintf("LIST of %d, warm", listedKeys), do: listPage}
)

// as returns the request with a method.
func (r request) as(method string) request {
	r.method = method
	return r
}

// with returns the request with one more header.
func (r request) with(name, value string) request {
	r.header = r.header.Clone()
	if r.header == nil {
		r.header = make(http.Header)
	}
	r.header.Set(name, value)
	return r
}

// written names an object that the store need not keep. Each request in flight
// has its own.
func (j job) written() request {
	return request{
		bucket: j.scheme.bucket(), header: j.scheme.header(), payload: j.payload,
		key: fmt.Sprintf("%s%s/%d-%d", discarded, j.slug(), j.size, j.worker),
	}
}

// kept names the object that the target's reads read.
func (j job) kept() request {
	return request{bucket: j.scheme.bucket(), header: j.scheme.header(), key: fmt.Sprintf("get/%s/%d", j.slug(), j.size)}
}

// slug is the target's name as a part of a key.
func (t *target) slug() string {
	return strings.NewReplacer(" ", "-", ",", "", "/", "", "+", "").Replace(t.name)
}

// prepare stores what the workload reads.
func (t *target) prepare(ctx context.Context, w workload) error {
	if !w.op.read {
		return nil
	}
	j := job{target: t, workload: w}
	return t.client.put(ctx, j.kept(), newContent(w.size))
}

// middle returns the Range header for length bytes in the middle of an object,
// from a multiple of the content's block on.
func middle(size, length int64) string {
	first := size / 2 / int64(len(block)) * int64(len(block))
	return fmt.Sprintf("bytes=%d-%d", first, first+length-1)
}

// uploadParts uploads an object in parts, one after the other.
func uploadParts(ctx context.Context, j job) error {
	object := j.written()
	object.query = "uploads"
	var started struct{ UploadId string }
	if err := j.client.document(ctx, object.as(http.MethodPost), &started); err != nil {
		return err
	}
	complete := new(strings.Builder)
	complete.WriteString("<CompleteMultipartUpload>")
	for number := int64(1); number <= j.size/partSize; number++ {
		part := object.as(http.MethodPut)
		part.query, part.body = fmt.Sprintf("partNumber=%d&uploadId=%s", number, url.QueryEscape(started.UploadId)), content{size: partSize}
		resp, err := j.client.send(ctx, part)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = cmp.Or(err, resp.Body.Close()); err != nil {
			return err
		}
		fmt.Fprintf(complete, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, resp.Header.Get("ETag"))
	}
	complete.WriteString("</CompleteMultipartUpload>")
	object.query, object.payload, object.document = "uploadId="+url.QueryEscape(started.UploadId), unsigned, complete.String()
	var completed struct{ ETag string }
	if err := j.client.document(ctx, object.as(http.MethodPost), &completed); err != nil {
		return err
	}
	if completed.ETag == "" { // an error after status 200
		return fmt.Errorf("%w: the upload has no ETag", errContent)
	}
	return nil
}

// deleteMany deletes keys that do not exist, which costs a gateway as much.
func deleteMany(ctx context.Context, j job) error {
	document := new(strings.Builder)
	document.WriteString("<Delete><Quiet>true</Quiet>")
	for i := range manyKeys {
		fmt.Fprintf(document, "<Object><Key>gone/%d-%d</Key></Object>", j.worker, i)
	}
	document.WriteString("</Delete>")
	r := request{method: http.MethodPost, bucket: j.scheme.bucket(), query: "delete", document: document.String()}
	var deleted struct{ Error []struct{ Code string } }
	if err := j.client.document(ctx, r.withMD5(), &deleted); err != nil {
		return err
	}
	if len(deleted.Error) > 0 {
		return fmt.Errorf("deleting: %s", deleted.Error[0].Code)
	}
	return nil
}

func listPage(ctx context.Context, j job) error {
	return j.client.list(ctx, listBucket(j.round), listedKeys)
}
