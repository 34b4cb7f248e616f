package runner

import (
	"fmt"
	"html"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/model/s3op"
)

func (s sender) create(op s3op.Create) *s3op.Answer {
	pairs := slices.Concat(metaPairs(op.Meta), tagPairs(op.Tags), askPairs(op.Ask))
	if op.Sum != "" {
		kind := "FULL_OBJECT"
		if op.Composite {
			kind = "COMPOSITE"
		}
		pairs = append(pairs, "X-Amz-Checksum-Algorithm", op.Sum, "X-Amz-Checksum-Type", kind)
	}
	var doc struct{ UploadId string }
	a := s.read(s.document(http.MethodPost, op.Name, "uploads", "", pairs...), &doc)
	a.UploadID = doc.UploadId
	return a
}

// part makes a request about an upload, and about one of its parts if number is
// not 0. It has the customer's key if there is one.
func (s sender) part(id, method string, number int, body []byte, pairs ...string) Request {
	u := s.World.Uploads[id]
	if u.Scheme == s3op.Customer {
		pairs = append(pairs, customerPairs(u.KeyName, false)...)
	}
	r := s.request(method, u.Name, pairs...).with("uploadId", id)
	if number > 0 {
		r.with("partNumber", strconv.Itoa(number))
	}
	r.Body = body
	return r
}

func (s sender) copyPart(op s3op.UploadPartCopy) *s3op.Answer {
	pairs := sourcePairs(op.From, op.Key, op.FromIf)
	if op.Range != nil {
		pairs = append(pairs, "X-Amz-Copy-Source-Range", op.Range.String())
	}
	return s.result(s.part(op.ID, http.MethodPut, op.Number, nil, pairs...))
}

func (s sender) complete(op s3op.Complete) *s3op.Answer {
	u := s.World.Uploads[op.ID]
	var b strings.Builder
	for _, l := range op.Listed {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>", l.Number, html.EscapeString(l.ETag))
		if p := u.Parts[l.Number]; p != nil && u.Sum != "" {
			fmt.Fprintf(&b, "<Checksum%s>%s</Checksum%[1]s>", u.Sum, s3op.SumOf(u.Sum, p.Body))
		}
		b.WriteString("</Part>")
	}
	doc := []byte(`<CompleteMultipartUpload xmlns="` + namespace + `">` + b.String() + "</CompleteMultipartUpload>")
	r := s.part(op.ID, http.MethodPost, 0, doc, conditionPairs(op.If)...)
	a := s.result(r)
	if a.Status == 200 && a.Sealing.Scheme == s3op.Plain {
		a.Sealing = u.Sealing // a repeated answer, or SSE-C
	}
	return a
}

func (s sender) listParts(op s3op.ListParts) *s3op.Answer {
	var doc struct {
		Part []struct {
			PartNumber int
			ETag       string
			Size       int64
		}
	}
	a := s.read(s.part(op.ID, http.MethodGet, 0, nil), &doc)
	for _, p := range doc.Part {
		a.Entries = append(a.Entries, s3op.Entry{Number: p.PartNumber, ETag: p.ETag, Size: p.Size})
	}
	return a
}

func (s sender) listUploads(op s3op.ListUploads) *s3op.Answer {
	var doc struct {
		Upload []struct{ Key, UploadId string }
	}
	a := s.read(s.document(http.MethodGet, s3op.Name{Bucket: op.Bucket}, "uploads", ""), &doc)
	for _, u := range doc.Upload {
		a.Entries = append(a.Entries, s3op.Entry{Key: u.Key, ID: u.UploadId})
	}
	return a
}
