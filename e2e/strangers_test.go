package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"ssegw/e2e/stack"
)

// maxStrangersRSS limits the memory, in bytes, of a gateway to which anonymous
// clients send 600 MiB of documents that they do not finish.
const maxStrangersRSS = 200 * mib

// TestStrangers checks that slow anonymous clients of a public bucket take
// neither the places nor the memory of clients with a credential.
func TestStrangers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		skip(t, "the memory of a process is read from /proc")
	}
	const places, clients = 64, 150
	r := newRig(t)
	g := must(r.stack.StartGateway(t.Context(), stack.GatewayOptions{
		KES: []*stack.KES{r.kes}, Upstream: r.store, Env: map[string]string{"SSEGW_MAX_REQUESTS": fmt.Sprint(places)},
	}))(t)
	client := sdkOf(t, g)
	makeBucket(t, client, "public")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:*"],"Resource":["arn:aws:s3:::public","arn:aws:s3:::public/*"]}]}`
	if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: ptr("public"), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	setRule(t, client, "public", "")
	addr := strings.TrimPrefix(g.Endpoint, "http://")
	// start sends the head of a request and a part of its body, and then stops.
	start := func(head string, body []byte) {
		conn := must(net.Dial("tcp", addr))(t)
		t.Cleanup(func() { _ = conn.Close() })
		// A gateway that has no place for the request does not read the body.
		go func() {
			_, _ = io.Copy(conn, io.MultiReader(strings.NewReader(head+" HTTP/1.1\r\nHost: "+addr+"\r\n"), bytes.NewReader(body)))
		}()
	}
	document := bytes.Repeat([]byte(" "), int(4*mib-2))
	for i := range clients {
		start(fmt.Sprintf("PUT /public/drip-%d", i), []byte("Content-Length: 1000000\r\n\r\nx"))
		start("POST /public?delete", append(fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", 4*mib-1), document...))
		start("POST /public", []byte("Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n"))
	}
	anonymous := func() int {
		resp := must(http.Get(g.Endpoint + "/public/missing"))(t)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for anonymous() != http.StatusServiceUnavailable {
		if t.Context().Err() != nil {
			t.Fatal("the strangers did not take their places")
		}
	}
	body := content{seed: 1, size: 100 * kib}
	for i := range 20 {
		key := fmt.Sprintf("signed-%d", i)
		if err := (sdkClient{client, g.KeyName}).put(t.Context(), "public", key, sseKMS, body); err != nil {
			t.Fatalf("a signed PUT: %v", err)
		}
	}
	resp := must(http.Get(g.Endpoint + "/minio/health/ready"))(t)
	if resp.Body.Close(); resp.StatusCode != http.StatusOK {
		t.Errorf("readiness: %s", resp.Status)
	}
	if u := must(g.Usage())(t); u.PeakRSS > maxStrangersRSS {
		t.Errorf("%d MiB resident, want at most %d", u.PeakRSS/mib, maxStrangersRSS/mib)
	} else {
		t.Logf("%d MiB resident", u.PeakRSS/mib)
	}
}

func ptr[T any](v T) *T { return &v }
