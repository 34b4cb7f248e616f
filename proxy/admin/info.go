package admin

import (
	"net/http"
	"runtime"
	"time"

	"ssegw/proxy/sigv4"
)

// info serves `mc admin info`: the gateway as a server, and each KES endpoint.
func (s *Server) info(r *http.Request) (any, error) {
	health := s.check(r.Context())
	network := map[string]string{r.Host: health.Upstream}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return infoMessage{
		Mode: health.State, Region: s.shownRegion(),
		Services: services{KMSStatus: s.kmsServices(r)},
		Servers: []serverInfo{{
			State: health.State, Endpoint: r.Host, Scheme: scheme, Version: s.Version, Network: network,
			Uptime:     max(int64(time.Since(s.started).Seconds()), 1),
			Memory:     memoryInfo{memory.Alloc, memory.TotalAlloc, memory.Mallocs, memory.Frees, memory.HeapAlloc},
			GoMaxProcs: runtime.GOMAXPROCS(0), NumCPU: runtime.NumCPU(), Runtime: runtime.Version(),
		}},
	}, nil
}

// shownRegion returns the region as MinIO shows it: empty if clients may sign
// for any region.
func (s *Server) shownRegion() string {
	if s.Region == sigv4.AnyRegion {
		return ""
	}
	return s.Region
}

func (s *Server) kmsServices(r *http.Request) []kmsInfo {
	var list []kmsInfo
	for _, e := range s.KMS.Status(r.Context()) {
		list = append(list, kmsInfo{state(e), e.Endpoint, e.Version})
	}
	return list
}

// infoMessage has the fields of madmin's InfoMessage that apply to the gateway.
type infoMessage struct {
	Mode     string       `json:"mode"`
	Region   string       `json:"region"`
	Services services     `json:"services"`
	Servers  []serverInfo `json:"servers"`
}

type services struct {
	KMSStatus []kmsInfo `json:"kmsStatus"`
}

type kmsInfo struct {
	Status   string `json:"status"`
	Endpoint string `json:"endpoint"`
	Version  string `json:"version,omitempty"`
}

type serverInfo struct {
	State      string            `json:"state"`
	Endpoint   string            `json:"endpoint"`
	Scheme     string            `json:"scheme"`
	Uptime     int64             `json:"uptime"` // seconds
	Version    string            `json:"version"`
	Network    map[string]string `json:"network"`
	Memory     memoryInfo        `json:"mem_stats"`
	GoMaxProcs int               `json:"go_max_procs"`
	NumCPU     int               `json:"num_cpu"`
	Runtime    string            `json:"runtime_version"`
}

// memoryInfo holds bytes and counts from runtime.MemStats.
type memoryInfo struct{ Alloc, TotalAlloc, Mallocs, Frees, HeapAlloc uint64 }
