package proxy

import (
	"bytes"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"ssegw/proxy/s3"
	"ssegw/proxy/state"
	"ssegw/proxy/upstream"
)

// What BenchmarkHeld holds.
const (
	heldRequests = 200
	heldObject   = 8 << 20 // bytes
	heldSent     = 2 << 20 // bytes of an upload before it pauses
	heldSettle   = 500 * time.Millisecond
)

// BenchmarkHeld reports how much memory a request takes that waits for its
// client: an upload that pauses, and a download that is not read. It counts
// what lives, heap and stacks, without client and store.
func BenchmarkHeld(b *testing.B) {
	store := &cannedStore{answers: map[string][]byte{}}
	address := store.listen(b)
	g := newGateway(b, withRule(testBucket, state.Rule{Algorithm: s3.AES256}),
		withConfig(func(c *Config) { c.Log, c.MaxRequests = discardLog(), 2*heldRequests }),
		withUpstreamConfig(func(c *upstream.Config) {
			store.behind = c.Endpoint.Host
			c.Endpoint = &url.URL{Scheme: "http", Host: address}
		}))
	host := strings.TrimPrefix(g.url, "http://")
	body := pattern(heldObject, 1)
	put := signedRequest(b, http.MethodPut, "http://"+host+"/bucket/o", body)
	get := signedRequest(b, http.MethodGet, "http://"+host+"/bucket/o", nil)
	dial(b, host).exchange(b, http.MethodPut, put)
	store.keep(http.MethodPut)
	dial(b, host).exchange(b, http.MethodGet, get)
	store.keep(http.MethodGet)
	head := bytes.Index(put, []byte("\r\n\r\n")) + 4
	for name, request := range map[string][]byte{"upload": put[:head+heldSent], "download": get} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ends := holdRequests(b, address, request)
				through := holdRequests(b, host, request)
				b.ReportMetric((through-ends)/heldRequests/1024, "KiB/request")
			}
		})
	}
}

// holdRequests begins requests and leaves them alone. It returns by how many
// bytes that makes memory grow.
func holdRequests(b *testing.B, to string, request []byte) float64 {
	b.Helper()
	before := living()
	conns := make([]*rawConn, heldRequests)
	for i := range conns {
		conns[i] = dial(b, to)
		if _, err := conns[i].Write(request); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(heldSettle) // until the bytes have gone as far as they can
	after := living()
	for _, c := range conns {
		_ = c.Close()
	}
	time.Sleep(heldSettle)
	return after - before
}

// living returns the bytes of memory in use.
func living() float64 {
	runtime.GC()
	runtime.GC() // pools keep what they hold for one more collection
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
