package console

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets/*.css assets/*.js assets/LICENSES.md
var assetFiles embed.FS

// views are the parsed pages and the assets.
type views struct {
	pages   map[string]*template.Template // by the name of the file without its ending
	assets  map[string][]byte             // by the name of the file
	version string                        // of the assets; part of their URLs
}

func newViews() *views {
	v := &views{pages: map[string]*template.Template{}, assets: map[string][]byte{}}
	names, err := fs.Glob(assetFiles, "assets/*")
	must(err)
	sum := sha256.New()
	for _, name := range names {
		b, err := assetFiles.ReadFile(name)
		must(err)
		sum.Write(b)
		v.assets[path.Base(name)] = b
	}
	v.version = hex.EncodeToString(sum.Sum(nil)[:8])
	layout := template.Must(template.New("").Funcs(functions).ParseFS(pageFiles, "pages/layout.html", "pages/parts.html"))
	names, err = fs.Glob(pageFiles, "pages/*.html")
	must(err)
	for _, name := range names {
		if base := path.Base(name); base != "layout.html" && base != "parts.html" {
			v.pages[strings.TrimSuffix(base, ".html")] = template.Must(template.Must(layout.Clone()).ParseFS(pageFiles, name))
		}
	}
	return v
}

func must(err error) {
	if err != nil {
		panic(err) // the embedded files are there
	}
}

// page is what the layout shows around the content of a page.
type page struct {
	Title  string
	Data   any
	Notice string // good news after a change

	// These are set by Server.show.
	Name      string // of the file without its ending
	Base      string // path of the console
	Assets    string // path of the assets
	User      string // access key; "": nobody is signed in
	MayChange bool
	Version   string
	Nonce     string // of the scripts and styles of the page
}

// Section returns the part of the console that a page belongs to.
func (p *page) Section() string {
	section, _, _ := strings.Cut(p.Name, "-")
	return section
}

// show sends a page.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, p *page) {
	p.Name, p.Base, p.Version = name, baseOf(r), s.Version
	p.Nonce = rand.Text()
	w.Header().Set("Content-Security-Policy", policyOf(p.Nonce))
	p.Assets = p.Base + "assets/" + s.views.version + "/"
	if v := userOf(r); v != nil {
		p.User, p.MayChange = v.AccessKey, v.changes
	}
	var b bytes.Buffer
	if err := s.views.pages[name].ExecuteTemplate(&b, "layout", p); err != nil {
		s.Log.Error("console: page not made", zap.String("page", name), zap.Error(err))
		http.Error(w, "The console could not make this page. The log has the reason.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error means that the browser has gone
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".md": "text/plain; charset=utf-8",
}

// asset serves a file that pages load. Its URL changes with its content, so
// browsers keep it.
func (s *Server) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, ok := s.views.assets[name]
	if !ok || r.PathValue("version") != s.views.version {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", assetTypes[path.Ext(name)])
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// functions are those of the pages.
var functions = template.FuncMap{
	"bytes":   func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
	"rate":    rateText,
	"brate":   func(n float64) string { return humanize.IBytes(uint64(max(n, 0))) + "/s" },
	"count":   func(n int64) string { return humanize.Comma(n) },
	"whole":   func(n float64) string { return humanize.Comma(int64(n)) },
	"when":    func(t time.Time) stamp { return stamp(t.UTC()) },
	"since":   func(t time.Time) string { return roundly(time.Since(t)) },
	"objects": objects,
	"title":   title,
	"size":    func(n float64) string { return humanize.IBytes(uint64(max(n, 0))) },
	"took":    roundly,
	"percent": func(part float64) float64 { return part * 100 },
	"httptime": func(s string) *time.Time {
		t, err := http.ParseTime(s)
		if err != nil {
			return nil
		}
		return &t
	},
	"dict": dict,
}

// rateText returns a rate with about three digits.
func rateText(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 0.01:
		return "< 0.01"
	case n < 10:
		return strconv.FormatFloat(n, 'f', 2, 64)
	}
	return humanize.Comma(int64(math.Round(n)))
}

// objects returns a number of objects.
func objects(n int64) string {
	if n == 1 {
		return "1 object"
	}
	return humanize.Comma(n) + " objects"
}

// dict makes a map of its arguments, for parts with several.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// stamp is a time as pages show it: in UTC, until the script shows it in the
// viewer's zone.
type stamp time.Time

func (s stamp) IsZero() bool    { return time.Time(s).IsZero() }
func (s stamp) Machine() string { return time.Time(s).Format(time.RFC3339) }
func (s stamp) UTC() string     { return time.Time(s).Format("2006-01-02 15:04:05") + " UTC" }

// roundly returns a duration in its two largest units.
func roundly(d time.Duration) string {
	days, hours := int(d/(24*time.Hour)), int(d/time.Hour)%24
	minutes, seconds := int(d/time.Minute)%60, int(d/time.Second)%60
	switch {
	case days > 0:
		return fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	}
	return fmt.Sprintf("%d s", seconds)
}

// problem answers with a page about what is wrong and what to do.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	s.show(w, r, status, "problem", &page{Title: title, Data: text})
}

// fail answers with a page about an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := explain(err)
	s.problem(w, r, status, "That did not work", text)
}
