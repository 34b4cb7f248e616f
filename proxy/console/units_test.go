package console

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ssegw/kms/kmstest"

	"ssegw/kms"
)

func TestHarmless(t *testing.T) {
	t.Parallel()
	for cell, want := range map[string]string{
		"": "", "a": "a", "1": "1", "=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM": "'@SUM", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1", "a=1": "a=1",
	} {
		if got := harmless(cell); got != want {
			t.Errorf("%q: %q, want %q", cell, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for want, s := range map[int64]share{
		100: {Sealed: 3}, 99: {Sealed: 999, Plain: 1}, 50: {Sealed: 1, Unreadable: 1}, 0: {Plain: 2},
	} {
		if got := s.Percent(); got != want {
			t.Errorf("%+v: %d %%, want %d", s, got, want)
		}
	}
}

func TestRoundly(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", time.Hour: "1 h 0 min", 25*time.Hour + 30*time.Minute: "1 d 1 h", 240 * time.Hour: "10 d 0 h",
	} {
		if got := roundly(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestHistory checks rates, and that an hour is kept and no more.
func TestHistory(t *testing.T) {
	t.Parallel()
	server := kmstest.NewServer(t)
	client, err := kms.New(server.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	registry := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ssegw_http_requests_total"}, []string{"op", "code"})
	registry.MustRegister(requests)
	h := newHistory(registry, client)
	start := h.samples[0].at
	for i := 1; i <= 500; i++ {
		requests.WithLabelValues("GetObject", "200").Add(10)
		requests.WithLabelValues("GetObject", "404").Add(5)
		requests.WithLabelValues("GetObject", "0").Inc()
		if i > 490 { // busier
			requests.WithLabelValues("PutObject", "503").Add(100)
		}
		h.take(start.Add(time.Duration(i) * historyEvery))
	}
	r := h.rates()
	for _, test := range []struct {
		name      string
		got, want float64
	}{
		{"good now", r[seriesGood].Now, 1}, {"good in an hour", r[seriesGood].Hour, 1}, {"refused", r[seriesRefused].Recent, 0.5},
		{"failed now", r[seriesFailed].Now, 10.1}, {"failed in an hour", r[seriesFailed].Total, 1360},
	} {
		if test.got < test.want*0.999 || test.got > test.want*1.001 {
			t.Errorf("%s: %v, want %v", test.name, test.got, test.want)
		}
	}
	p := h.plots()
	if len(p.Times) != historySamples-1 || len(p.Series["good"]) != len(p.Times) || p.Times[len(p.Times)-1] != start.Add(500*historyEvery).Unix() {
		t.Errorf("%d times, %d rates", len(p.Times), len(p.Series["good"]))
	}
}

// TestAssetsAreSmall checks that a first visit is fast on a slow line.
func TestAssetsAreSmall(t *testing.T) {
	t.Parallel()
	total := 0
	for _, b := range newViews().assets {
		total += len(b)
	}
	if total > 300_000 {
		t.Errorf("%d bytes, want at most 300,000", total)
	}
}
