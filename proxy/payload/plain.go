package payload

import (
	"ssegw/proxy/s3"
	"ssegw/proxy/sigv4"
	"ssegw/proxy/upstream"
)

// FramePlain makes a plaintext body the body of o. The store keeps the
// checksums that the client sent and no others. A body without any travels in
// signed chunks, if possible, so that the store can still verify it.
func FramePlain(o *upstream.Request, framing upstream.Framing, body Plaintext) {
	verifiable := o.Header.Get("Content-Md5") != ""
	for _, sum := range body.Declared() {
		o.Header.Set(sigv4.HeaderName(sum.Algorithm), s3.ChecksumText(sum.Value))
		o.Header.Set(s3.HeaderSDKChecksumAlgorithm, sum.Algorithm)
		verifiable = true
	}
	algorithm := body.TrailerAlgorithm()
	switch {
	case body.Size() == 0 && algorithm == "":
		o.Body, o.Size = nil, 0
		framing = upstream.FramingPlain
	case algorithm != "" && framing == upstream.FramingTrailer:
		passed := &upstream.PassedChecksum{Name: sigv4.HeaderName(algorithm), Value: func() []byte { return body.Checksums()[0].Value }}
		if h, ok := sigv4.NewHash(algorithm); ok {
			passed.Length = h.Size()
		}
		o.Header.Set(s3.HeaderSDKChecksumAlgorithm, algorithm)
		o.Frame(body, body.Size(), upstream.FramingTrailer, passed)
		return
	case verifiable:
		framing = upstream.FramingPlain
	case framing == upstream.FramingTrailer:
		framing = upstream.FramingSigned
	}
	o.Frame(body, body.Size(), framing, nil)
}
