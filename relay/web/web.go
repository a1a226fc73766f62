// Package web is what people and programs see of the relay: a page with every
// node, and the same as JSON. Everything is embedded; the page asks no other
// host for anything.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/ingest"
	"github.com/rpicluster/vitals/relay/queue"
)

//go:embed assets
var embedded embed.FS

// policy lets the page load what this server serves and nothing else; there is
// no inline script or style that a node's name could become.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Status is how the relay is doing: what /api/status answers.
type Status struct {
	Version       string           `json:"version"`
	Started       time.Time        `json:"started"`
	UptimeSeconds float64          `json:"uptime_seconds"`
	Listen        string           `json:"listen"`
	DataDirectory string           `json:"data_directory"`
	Alarms        []string         `json:"alarms"`
	Notes         []string         `json:"notes"` // what somebody should know, and may be meant so
	Destinations  []deliver.Status `json:"destinations"`
	Nodes         fleet.Counts     `json:"nodes"`
	Fleet         fleet.Stats      `json:"fleet"`
	Ingest        ingest.Stats     `json:"ingest"`
	Queue         queue.Stats      `json:"queue"`
}

// Config is what the pages show.
type Config struct {
	Fleet  Fleet
	Status func() Status
	// Stopping is closed when the relay stops: streams end then.
	Stopping <-chan struct{}
	Now      func() time.Time // default time.Now
	// Hostname is what other nodes may call this machine; default os.Hostname.
	Hostname func() (string, error)
	Logger   *slog.Logger
}

// Handler serves the page and the API.
type Handler struct {
	config  Config
	mux     *http.ServeMux
	pages   *template.Template
	static  map[string]asset
	openAPI []byte // the API's description

	mu       sync.Mutex
	fragment []byte // shared by all who watch
	packed   []byte // the same, compressed
	rendered time.Time
}

type asset struct {
	body        []byte
	contentType string
	version     string
}

// contentTypes are named here: what a system knows of them differs.
var contentTypes = map[string]string{
	"style.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
}

// New makes the handler.
func New(config Config) (*Handler, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Hostname == nil {
		config.Hostname = os.Hostname
	}
	h := &Handler{config: config, mux: http.NewServeMux(), static: map[string]asset{}}
	for name, contentType := range contentTypes {
		body, err := fs.ReadFile(embedded, "assets/"+name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		h.static[name] = asset{body, contentType, hex.EncodeToString(sum[:6])}
	}
	openAPI, err := fs.ReadFile(embedded, "assets/openapi.yaml")
	if err != nil {
		return nil, err
	}
	h.openAPI = openAPI
	pages, err := template.New("").Funcs(template.FuncMap{"asset": h.assetURL}).ParseFS(embedded, "assets/*.html")
	if err != nil {
		return nil, err
	}
	h.pages = pages
	h.mux.HandleFunc("GET /{$}", h.servePage)
	h.mux.HandleFunc("GET /fragment", h.serveFragment)
	h.mux.HandleFunc("GET /assets/{name}", h.serveAsset)
	h.routeAPI()
	return h, nil
}

// ServeHTTP serves the page, its parts and the API.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	h.mux.ServeHTTP(w, r)
}

func (h *Handler) assetURL(name string) string {
	return "/assets/" + name + "?v=" + h.static[name].version
}

func (h *Handler) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := h.static[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(a.body)
}

func (h *Handler) servePage(w http.ResponseWriter, r *http.Request) {
	p := h.page()
	p.Setup = setup(r.Host, p.Status.Listen, h.config.Hostname)
	h.render(w, "page.html", p)
}

// serveFragment is the part of the page that changes. However many watch, it
// is made once a second.
func (h *Handler) serveFragment(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.config.Now(); now.Sub(h.rendered) >= time.Second || now.Before(h.rendered) {
		var b bytes.Buffer
		if err := h.pages.ExecuteTemplate(&b, "live.html", h.page()); err != nil {
			h.fail(w, err)
			return
		}
		h.fragment, h.packed, h.rendered = b.Bytes(), compress(b.Bytes()), now
	}
	w.Header().Set("Vary", "Accept-Encoding")
	body := h.fragment
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		body = h.packed
	}
	answer(w, "text/html; charset=utf-8", body)
}

func compress(text []byte) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Write(text) // into memory: cannot fail
	zw.Close()
	return b.Bytes()
}

func (h *Handler) render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, name, data); err != nil {
		h.fail(w, err)
		return
	}
	answer(w, "text/html; charset=utf-8", b.Bytes())
}

func (h *Handler) fail(w http.ResponseWriter, err error) {
	if h.config.Logger != nil {
		h.config.Logger.Error("the page cannot be made", "error", err)
	}
	http.Error(w, "the page cannot be made; the log says why", http.StatusInternalServerError)
}

// answer sends what must not be kept: it is old in a second.
func answer(w http.ResponseWriter, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}
