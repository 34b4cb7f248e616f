package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"

	"ssegw/proxy/audit"
	"ssegw/proxy/upstream"
)

// The paths of the console. No bucket has a name like that on the S3 address.
const (
	PathOnAdmin = "/console/"
	PathOnS3    = "/_ssegw/"
)

// Limits of a request.
const (
	maxForm     = 64 << 10 // bytes
	pageTimeout = 30 * time.Second
)

// policyOf lets a page load the scripts and styles that have its nonce, and
// nothing else. On the S3 address, objects have the same origin, so that would
// not be enough. data: is for the images in the style sheet of Pico.
func policyOf(nonce string) string {
	return "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce + "'; img-src data:; connect-src 'self'; " +
		"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
}

// guestPolicy makes pages of stored objects strangers to the console on the
// same address: without it, a script in an object could use the session of the
// person who opens it.
const guestPolicy = "sandbox allow-scripts allow-forms allow-popups allow-downloads allow-modals"

type (
	baseKey    struct{}
	sessionKey struct{}
)

// baseOf returns the path that the request reached the console under.
func baseOf(r *http.Request) string { return r.Context().Value(baseKey{}).(string) }

// userOf returns the session of a request; nil before the sign-in.
func userOf(r *http.Request) *session {
	v, _ := r.Context().Value(sessionKey{}).(*session)
	return v
}

// Handler serves the console below base.
func (s *Server) Handler(base string) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusForbidden, "This request came from another site", "The console accepts changes from its own pages only.")
	}))
	bare := strings.TrimSuffix(base, "/")
	inner := http.StripPrefix(bare, protection.Handler(s.routes()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), baseKey{}, base), pageTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(pageTimeout))
		_ = control.SetWriteDeadline(time.Now().Add(2 * pageTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		secure(w.Header())
		switch p := r.URL.Path; {
		case p == bare:
			redirect(w, r, "")
		case path.Clean(p) != strings.TrimSuffix(p, "/"): // a mux would redirect it, without base
			s.problem(w, r, http.StatusNotFound, "There is no such page", "The console’s first page leads to all others.")
		default:
			s.logged(w, r, inner)
		}
	})
}

// secure sets the headers of all answers.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policyOf(rand.Text())) // pages set their own
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// logged serves a request and logs it, without its query.
func (s *Server) logged(w http.ResponseWriter, r *http.Request, next http.Handler) {
	start, seen := time.Now(), &statusWriter{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("panic", zap.String("serving", "console"), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			if seen.status == 0 {
				http.Error(seen, "The console failed. The log has the reason.", http.StatusInternalServerError)
			}
		}
		s.Log.Debug("console request", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Int("status", seen.status),
			zap.Duration("took", time.Since(start)), zap.String("remote", s.Address(r)))
	}()
	next.ServeHTTP(seen, r)
}

// statusWriter records the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Beside serves the console on the S3 address, beside api. isBucket reports
// whether the host of a request names a bucket.
func (s *Server) Beside(api http.Handler, isBucket func(host string) bool) http.Handler {
	own := s.Handler(PathOnS3)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path+"/", PathOnS3) && !isBucket(r.Host) {
			own.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", guestPolicy)
		api.ServeHTTP(w, r)
	})
}

// routes returns the pages. Those of reader need a session; those of writer a
// session that may change things.
func (s *Server) routes() http.Handler {
	in, first, buckets, keys, jobs, looks := signInPages{s}, overviewPages{s}, bucketPages{s}, keyPages{s}, jobPages{s}, lookPages{s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sign-in", in.signInPage)
	mux.HandleFunc("POST /sign-in", in.signIn)
	mux.HandleFunc("GET /link", in.linkPage)
	mux.HandleFunc("POST /link", in.useLink)
	mux.HandleFunc("POST /sign-out", s.reader(in.signOut))

	mux.HandleFunc("GET /{$}", s.reader(first.overview))
	mux.HandleFunc("GET /history.json", s.reader(first.historyDocument))

	mux.HandleFunc("GET /buckets", s.reader(buckets.bucketList))
	mux.HandleFunc("GET /buckets/{bucket}", s.reader(buckets.named(buckets.bucketPage)))
	mux.HandleFunc("POST /buckets/{bucket}/preview", s.reader(buckets.named(buckets.previewRule)))
	mux.HandleFunc("POST /buckets/{bucket}", s.writer(buckets.named(buckets.setRule)))
	mux.HandleFunc("GET /buckets/{bucket}/clear", s.reader(buckets.named(buckets.clearPage)))
	mux.HandleFunc("POST /buckets/{bucket}/clear", s.writer(buckets.named(buckets.clearRule)))

	mux.HandleFunc("GET /keys", s.reader(keys.keyList))
	mux.HandleFunc("POST /keys", s.writer(keys.createKey))
	mux.HandleFunc("POST /keys/{key}/try", s.writer(keys.tryKey))

	mux.HandleFunc("GET /jobs", s.reader(jobs.jobList))
	mux.HandleFunc("GET /jobs/new", s.reader(jobs.newJobPage))
	mux.HandleFunc("POST /jobs", s.writer(jobs.startJob))
	mux.HandleFunc("GET /jobs/{job}", s.reader(jobs.jobPage))
	mux.HandleFunc("GET /jobs/{job}/report.json", s.reader(jobs.jobReport))
	mux.HandleFunc("GET /jobs/{job}/report.csv", s.reader(jobs.jobTable))
	mux.HandleFunc("GET /jobs/{job}/cancel", s.reader(jobs.cancelPage))
	mux.HandleFunc("POST /jobs/{job}/{action}", s.writer(jobs.changeJob))

	mux.HandleFunc("GET /audit", s.reader(looks.auditPage))
	mux.HandleFunc("GET /check", s.reader(looks.checkPage))
	mux.HandleFunc("POST /check", s.writer(looks.runCheck))
	mux.HandleFunc("GET /object", s.reader(looks.objectPage))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.problem(w, r, http.StatusNotFound, "There is no such page", "The console’s first page leads to all others.")
	})
	outer := http.NewServeMux()
	outer.Handle("/", s.withSession(mux))
	outer.HandleFunc("GET /assets/{version}/{name}", s.asset) // has no use for sessions
	return outer
}

// withSession adds the session to the context of a request, and renews it.
func (s *Server) withSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := s.sessionOf(r.Context(), r); v != nil {
			s.renew(w, r, v)
			r = r.WithContext(context.WithValue(r.Context(), sessionKey{}, v))
		}
		next.ServeHTTP(w, r)
	})
}

// reader serves people who are signed in, and sends others to the sign-in.
func (s *Server) reader(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if userOf(r) != nil {
			next(w, r)
			return
		}
		to := baseOf(r) + "sign-in"
		if r.Header.Get("Hx-Request") != "" { // a live part: the whole page must go there
			w.Header().Set("Hx-Redirect", to)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// writer serves people who may change things.
func (s *Server) writer(next http.HandlerFunc) http.HandlerFunc {
	return s.reader(func(w http.ResponseWriter, r *http.Request) {
		if !userOf(r).changes {
			s.problem(w, r, http.StatusForbidden, "You may only look", "This credential is for reading. Sign in with the root credential of the gateway to change things.")
			return
		}
		next(w, r)
	})
}

// redirect sends the browser to a page after a change.
func redirect(w http.ResponseWriter, r *http.Request, page string) {
	http.Redirect(w, r, baseOf(r)+page, http.StatusSeeOther)
}

// change is a change that somebody made in the console.
type change struct {
	action, bucket, key, kesKey string
	use                         string // "": change
}

// audit records a change, also one that failed.
func (s *Server) audit(r *http.Request, c change, err error) {
	user := ""
	if v := userOf(r); v != nil {
		user = v.AccessKey
	}
	s.auditAs(user, c, err)
}

func (s *Server) auditAs(user string, c change, err error) {
	s.Audit.Record(&audit.Record{
		Time: time.Now().UTC(), RequestID: upstream.RandomTag(), AccessKey: user, Action: "Console" + c.action,
		Bucket: c.bucket, Key: c.key, KESKey: c.kesKey, Use: cmp.Or(c.use, "change"), Result: codeOf(err),
	})
}
