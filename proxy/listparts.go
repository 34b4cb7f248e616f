package proxy

import (
	"cmp"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"ssegw/proxy/assembly"
	"ssegw/proxy/s3"
	"ssegw/proxy/state"
)

// listParts is ListParts.
func listParts(c *call) error {
	u, err := uploadOf(c)
	if err != nil {
		return err
	}
	if _, err := c.encryption().Upload(u.Header); err != nil {
		return err
	}
	if u.Plain {
		return forward(c)
	}
	answer := listPartsAnswer{
		Bucket: u.Bucket, Key: u.Key, UploadID: u.ID, StorageClass: "STANDARD", MaxParts: maxPartsPage,
		Algorithm: cmp.Or(u.Algorithm, assembly.NoChecksum), Type: cmp.Or(u.Type, assembly.NoChecksum),
	}
	if err := partsPage(c, &answer.Marker, &answer.MaxParts); err != nil {
		return err
	}
	parts, err := presentParts(c, u)
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
	return c.w.sendXML(http.StatusOK, answer)
}

// maxPartsPage is the maximum number of parts on a page of ListParts.
const maxPartsPage = 1000

// partsPage reads part-number-marker and max-parts.
func partsPage(c *call, marker, limit *int) error {
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

// presentParts returns the current attempt of each part: that at the store, or
// a staged one recorded later.
func presentParts(c *call, u *state.Upload) ([]partXML, error) {
	recorded, err := c.gw.State.Parts(c.ctx(), u)
	if err != nil {
		return nil, err
	}
	stored, err := c.store().ListParts(c.ctx(), u.AtStore(), uploadHeader(c))
	if err != nil {
		return nil, err
	}
	present, modified := map[int]partXML{}, map[int]string{}
	for number, attempts := range stored {
		for _, e := range attempts {
			etag := strings.Trim(e.ETag, `"`)
			if p := assembly.Only(recorded[number], func(p *state.Part) bool { return !p.Staged && p.ETag == etag }); p != nil {
				present[number], modified[number] = shownPart(u, p, e.LastModified), e.LastModified
			}
		}
	}
	for number, attempts := range recorded {
		staged := latestStaged(attempts)
		if staged == nil {
			continue
		}
		if _, ok := present[number]; !ok || state.ParseModified(modified[number]).Before(staged.Saved) {
			present[number] = shownPart(u, staged, s3.FormatTime(staged.Saved))
		}
	}
	return slices.SortedFunc(maps.Values(present), func(a, b partXML) int { return cmp.Compare(a.Number, b.Number) }), nil
}

func latestStaged(attempts []*state.Part) (latest *state.Part) {
	for _, p := range attempts {
		if p.Staged && (latest == nil || p.Saved.After(latest.Saved)) {
			latest = p
		}
	}
	return latest
}

// shownPart returns a part as clients see it.
func shownPart(u *state.Upload, p *state.Part, modified string) partXML {
	x := partXML{Number: p.Number, LastModified: modified, ETag: p.Shown(), Size: p.Size}
	if sum := p.ClientSum(u); sum != nil {
		x.Sums = []s3.ChecksumElement{s3.NewChecksumElement(sum.Algorithm.String(), s3.ChecksumText(sum.Digest))}
	}
	return x
}

// listPartsAnswer is the document that answers ListParts. The store's document
// cannot be spliced, because it lacks the staged parts.
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
	Number       int                  `xml:"PartNumber"`
	LastModified string               `xml:"LastModified"`
	ETag         string               `xml:"ETag"`
	Size         int64                `xml:"Size"`
	Sums         []s3.ChecksumElement `xml:",any"`
}
