package rescue

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"

	"go.uber.org/zap"

	"ssegw/proxy/object"
	"ssegw/proxy/s3"
	"ssegw/proxy/upstream"
	"ssegw/sealer"
)

// Source is the stored bytes of one object.
type Source interface {
	// Size returns the number of bytes.
	Size() int64
	// Range returns the bytes from begin up to end-1. begin is less than end.
	Range(ctx context.Context, begin, end int64) (io.ReadCloser, error)
}

// FromFile returns the bytes of a regular file, which must stay open.
func FromFile(f *os.File) (Source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("rescue: %s is not a regular file", f.Name())
	}
	return &fileSource{f, info.Size()}, nil
}

type fileSource struct {
	file *os.File
	size int64
}

func (s *fileSource) Size() int64 { return s.size }

func (s *fileSource) Range(ctx context.Context, begin, end int64) (io.ReadCloser, error) {
	return io.NopCloser(&contextReader{ctx, io.NewSectionReader(s.file, begin, end-begin)}), nil
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// FromStore looks an object up in the store. An empty VersionID means the
// current version. The error is sealer.ErrNotSealed for an object that is not
// sealed, and otherwise the store's, or sealer.ErrMalformed.
func FromStore(ctx context.Context, store upstream.Client, o s3.CopySource) (Object, error) {
	access := &object.Access{Store: store, Integrity: func(string) {}, Log: zap.NewNop()}
	r := access.At(o, http.Header{})
	head, err := r.Head(ctx, object.Request{})
	if err != nil {
		return Object{}, r.Explain(ctx, err)
	}
	parsed, err := sealer.ParseHeader(head.Header)
	if err != nil {
		return Object{}, err
	}
	if head.Size < 0 {
		return Object{}, fmt.Errorf("%w: the store does not tell the size", upstream.ErrUnavailable)
	}
	return Object{r.Name, parsed, &storeSource{r, head}}, nil
}

type storeSource struct {
	reader *object.Reader
	head   *object.Stored
}

func (s *storeSource) Size() int64 { return s.head.Size }

func (s *storeSource) Range(ctx context.Context, begin, end int64) (io.ReadCloser, error) {
	resp, err := s.reader.Fetch(ctx, object.Request{
		Range: fmt.Sprintf("bytes=%d-%d", begin, end-1), Guard: s.head.Header.Get("ETag"),
	})
	if err != nil {
		return nil, err
	}
	total, first := object.TotalSize(resp)
	if total >= 0 && total != s.head.Size || first < 0 || first > begin || resp.Header.Get("ETag") != s.head.Header.Get("ETag") {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("rescue: %w", object.ErrChanged)
	}
	// A store without ranges answers with the whole object.
	if _, err := io.CopyN(io.Discard, resp.Body, begin-first); err != nil {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("rescue: reading the stored object: %w", err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, end-begin), resp.Body}, nil
}
