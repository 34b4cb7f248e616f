package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// `mc admin prometheus generate` writes such a token into Prometheus's
// configuration. The root credential's secret key signs its access key.
const (
	tokenIssuer    = "prometheus"
	tokenAlgorithm = "HS512"
)

// scrape serves the metrics to clients with a valid token.
func (s *Server) scrape() http.Handler {
	metrics := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(apiDeadline))
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !s.tokenValid(token) {
			writeError(w, r, errDenied)
			return
		}
		metrics.ServeHTTP(w, r)
	})
}

func (s *Server) tokenValid(token string) bool {
	_, err := jwt.ParseWithClaims(token, &jwt.RegisteredClaims{}, func(*jwt.Token) (any, error) { return []byte(s.SecretKey), nil },
		jwt.WithValidMethods([]string{tokenAlgorithm}), jwt.WithIssuer(tokenIssuer), jwt.WithSubject(s.AccessKey), jwt.WithExpirationRequired())
	return err == nil
}
