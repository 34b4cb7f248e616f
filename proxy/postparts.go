package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/sealer"
)

// formUpload is a multipart upload upstream that one request begins and ends, so
// that nothing about it has to be recorded.
type formUpload struct {
	*call
	upload *upload
	header *sealer.Header // of the object; nil if it is not to be sealed
	key    *sealer.ObjectKey
	table  sealer.PartTable
	parts  []*part // as the upstream has them
	size   int64   // plaintext bytes so far
}

// postParts stores a file of any length in parts. buf is full of its beginning. A
// file that fails to verify, at its end too, is never completed.
func (c *call) postParts(s *sealing, header http.Header, buf []byte, file *formFile) (*posted, error) {
	up := &formUpload{call: c}
	if s != nil {
		if err := up.seal(s, header); err != nil {
			return nil, err
		}
		defer up.key.Wipe()
	}
	if err := up.create(header); err != nil {
		return nil, err
	}
	p, err := up.store(buf, file)
	if err != nil {
		c.abandon(up.upload)
		return nil, err
	}
	p.etag = s3.ETagShown(p.etag, s != nil)
	return p, nil
}

// seal makes the object's header and puts it into that of the upload.
func (f *formUpload) seal(s *sealing, header http.Header) (err error) {
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", defaultContentType)
	}
	f.header, f.key, err = f.newObject(s, sealer.SealParams{Multipart: true, Facts: sealer.Facts{Headers: headersDigest(header, f.req.Key, -1)}})
	if err != nil {
		return err
	}
	header.Set(sealer.MetadataKey, f.header.Encode())
	return nil
}

// create begins the upload. Conditions are those of its end.
func (f *formUpload) create(header http.Header) error {
	header = header.Clone()
	header.Del("If-Match")
	header.Del("If-None-Match")
	resp, err := f.Upstream.expect(f.ctx(), outgoing{
		method: http.MethodPost, bucket: f.req.Bucket, key: f.req.Key, query: url.Values{"uploads": {""}}, header: header,
		anonymous: f.auth.Anonymous(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var created struct {
		ID string `xml:"UploadId"`
	}
	err = xml.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(&created)
	if err != nil || created.ID == "" {
		return fmt.Errorf("%w: answer to CreateMultipartUpload without an upload ID: %w", errUpstream, err)
	}
	f.upload = &upload{Bucket: f.req.Bucket, Key: f.req.Key, ID: created.ID}
	return nil
}

// store sends the file part by part, and completes the upload after its end.
func (f *formUpload) store(buf []byte, file *formFile) (*posted, error) {
	n, last := len(buf), false
	for number := 1; !last; number++ {
		if number > 1 {
			var err error
			n, err = io.ReadFull(file, buf)
			last = fileEnded(err)
			if err != nil && !last {
				return nil, err
			}
		}
		if f.size += int64(n); f.size > maxPut {
			return nil, s3.ErrEntityTooLarge
		}
		if err := f.send(number, buf[:n], last, file.Checksums()); err != nil {
			return nil, err
		}
	}
	end := f.parts[len(f.parts)-1]
	etag, header, err := f.completeUpstream(f.upload, f.parts[:len(f.parts)-1], end.number, end.ETag)
	if err != nil {
		return nil, err
	}
	return &posted{header, etag, file.Checksums()}, nil
}

// send stores bytes of the file as a part. The last part can be empty.
func (f *formUpload) send(number int, b []byte, last bool, sums []sigv4.Checksum) error {
	if f.header == nil && len(b) == 0 {
		return nil
	}
	lent := &lentBytes{left: b}
	defer lent.takeBack()
	o := outgoing{
		method: http.MethodPut, bucket: f.upload.Bucket, key: f.upload.Key, header: http.Header{}, anonymous: f.auth.Anonymous(),
		query: url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {f.upload.ID}},
	}
	if f.header == nil {
		f.framePlain(&o, &copiedBody{r: lent, size: int64(len(b))})
	} else {
		src, size, err := f.sealPart(number, lent, int64(len(b)), last, sums)
		if err != nil {
			return fmt.Errorf("proxy: sealing a part: %w", err)
		}
		f.Upstream.frame(&o, src, size, f.framing(), nil)
	}
	resp, err := f.Upstream.expect(f.ctx(), o)
	if err != nil {
		return err
	}
	discard(resp)
	f.parts = append(f.parts, &part{number: number, PartRecord: sealer.PartRecord{ETag: strings.Trim(resp.Header.Get("ETag"), `"`)}})
	return nil
}

// sealPart returns what goes upstream for size bytes of the file, and its
// length. Behind the last of them comes the part table.
func (f *formUpload) sealPart(number int, src io.Reader, size int64, last bool, sums []sigv4.Checksum) (io.Reader, int64, error) {
	sealed, length := io.Reader(http.NoBody), int64(0)
	if size > 0 {
		p := sealer.Part{Number: number, Size: size, Nonce: sealer.NewPartNonce()}
		f.table.Parts = append(f.table.Parts, p)
		var err error
		if sealed, err = f.key.SealPart(number, p.Nonce, src, size); err != nil {
			return nil, 0, err
		}
		length = sealer.SealedSize(size)
	}
	if !last {
		return sealed, length, nil
	}
	key := f.key.TrailerKey()
	defer key.Wipe()
	tail, err := f.header.SealPartTable(key, storedChecksums(sums), &f.table)
	if err != nil {
		return nil, 0, err
	}
	return io.MultiReader(sealed, bytes.NewReader(tail)), length + int64(len(tail)), nil
}

// lentBytes reads memory that is used again afterwards. net/http may read a
// request's body after its answer has come.
type lentBytes struct {
	mu    sync.Mutex
	left  []byte
	taken bool
}

func (l *lentBytes) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.taken:
		return 0, io.ErrUnexpectedEOF
	case len(l.left) == 0:
		return 0, io.EOF
	}
	n := copy(p, l.left)
	l.left = l.left[n:]
	return n, nil
}

// takeBack ends the use of the memory.
func (l *lentBytes) takeBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.taken = nil, true
}
