package proxy

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ssegw/proxy/s3"
	"ssegw/sealer"
)

// maxPartsPage is the most parts on a page of ListParts.
const maxPartsPage = 1000

// noChecksum is what Amazon S3 writes where an upload's Create announced none.
const noChecksum = "null"

// listPartsAnswer is the answer of ListParts. The upstream's cannot be spliced:
// it lacks the parts that wait in the state bucket.
type listPartsAnswer struct {
	XMLName      xml.Name  `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket       string    `xml:"Bucket"`
	Key          string    `xml:"Key"`
	UploadID     string    `xml:"UploadId"`
	StorageClass string    `xml:"StorageClass"`
	Marker       int       `xml:"PartNumberMarker"`
	NextMarker   int       `xml:"NextPartNumberMarker"`
	MaxParts     int       `xml:"MaxParts"`
	IsTruncated  bool      `xml:"IsTruncated"`
	Algorithm    string    `xml:"ChecksumAlgorithm,omitempty"`
	Type         string    `xml:"ChecksumType,omitempty"`
	Parts        []partXML `xml:"Part"`
}

type partXML struct {
	Number       int           `xml:"PartNumber"`
	LastModified string        `xml:"LastModified"`
	ETag         string        `xml:"ETag"`
	Size         int64         `xml:"Size"`
	Sums         []checksumXML `xml:",any"`
}

// listParts is ListParts.
func (c *call) listParts() error {
	u, err := c.uploadOf()
	if err != nil {
		return err
	}
	if _, err := c.uploadSealing(u); err != nil {
		return err
	}
	if u.Plain {
		return c.forward()
	}
	answer := listPartsAnswer{
		Bucket: u.Bucket, Key: u.Key, UploadID: u.ID, StorageClass: "STANDARD", MaxParts: maxPartsPage,
		Algorithm: cmp.Or(u.Algorithm, noChecksum), Type: cmp.Or(u.Type, noChecksum),
	}
	if err := c.partsPage(&answer.Marker, &answer.MaxParts); err != nil {
		return err
	}
	parts, err := c.presentParts(u)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if p.Number <= answer.Marker {
			continue
		}
		if len(answer.Parts) == answer.MaxParts {
			answer.IsTruncated = true
			break
		}
		answer.Parts = append(answer.Parts, p)
		answer.NextMarker = p.Number
	}
	doc, err := xml.Marshal(answer)
	if err != nil {
		return fmt.Errorf("proxy: encoding an answer: %w", err)
	}
	doc = append([]byte(xml.Header), doc...)
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	_, err = c.w.Write(doc)
	return err
}

// partsPage reads the query's part-number-marker and max-parts.
func (c *call) partsPage(marker, limit *int) error {
	for name, n := range map[string]*int{"part-number-marker": marker, "max-parts": limit} {
		text := c.req.Query.Get(name)
		if text == "" {
			continue
		}
		v, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return s3.ErrArgument(name, text, "Provided "+text+" not an integer or within integer range")
		}
		if v < 0 {
			return s3.ErrArgument(name, text, "Argument "+text+" must be an integer between 0 and 2147483647")
		}
		*n = int(v)
	}
	*limit = min(*limit, maxPartsPage)
	return nil
}

// presentParts returns the present attempt of each part: the upstream's, or the
// staged one that came after it.
func (c *call) presentParts(u *upload) ([]partXML, error) {
	recorded, err := c.State.parts(c.ctx(), u)
	if err != nil {
		return nil, err
	}
	upstream, err := c.upstreamParts(u)
	if err != nil {
		return nil, err
	}
	present := map[int]partXML{}
	for number, e := range upstream {
		etag := strings.Trim(e.ETag, `"`)
		if p := theOne(recorded[number], func(p *part) bool { return !p.Staged && p.ETag == etag }); p != nil {
			present[number] = u.shownPart(p, e.LastModified)
		}
	}
	for number, attempts := range recorded {
		staged := latestStaged(attempts)
		if staged == nil {
			continue
		}
		if _, ok := present[number]; !ok || parseModified(upstream[number].LastModified).Before(staged.saved) {
			present[number] = u.shownPart(staged, staged.saved.UTC().Format("2006-01-02T15:04:05.000Z"))
		}
	}
	return slices.SortedFunc(maps.Values(present), func(a, b partXML) int { return cmp.Compare(a.Number, b.Number) }), nil
}

func latestStaged(attempts []*part) (latest *part) {
	for _, p := range attempts {
		if p.Staged && (latest == nil || p.saved.After(latest.saved)) {
			latest = p
		}
	}
	return latest
}

// shownPart is a part as clients see it.
func (u *upload) shownPart(p *part, modified string) partXML {
	x := partXML{Number: p.number, LastModified: modified, ETag: p.shown(), Size: p.Size}
	if sum := p.clientSum(u); sum != nil {
		x.Sums = []checksumXML{{xml.Name{Local: "Checksum" + sum.Algorithm.String()}, checksumText(sum.Digest)}}
	}
	return x
}

// upstreamParts lists all parts that the upstream has.
func (c *call) upstreamParts(u *upload) (map[int]s3.Entry, error) {
	parts := map[int]s3.Entry{}
	query := u.query(0)
	for marker := 0; ; {
		resp, err := c.Upstream.expect(c.ctx(), outgoing{
			method: http.MethodGet, bucket: u.Bucket, key: u.Key, query: query, header: c.uploadHeader(), as: c.caller(),
		})
		if err != nil {
			return nil, err
		}
		listing, err := parseListing(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		last := 0
		for _, e := range listing.Entries {
			parts[e.PartNumber] = e
			last = max(last, e.PartNumber)
		}
		if !listing.IsTruncated || last == 0 || last > sealer.MaxParts {
			return parts, nil
		}
		if last <= marker {
			return nil, fmt.Errorf("%w: a page of parts behind %d ends with %d", errUpstream, marker, last)
		}
		marker = last
		query.Set("part-number-marker", strconv.Itoa(last))
	}
}

// parseModified reads the time of a listing's entry; a store's odd form is the
// zero time, which counts as the oldest.
func parseModified(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(text))
	if err != nil {
		return time.Time{}
	}
	return t
}
