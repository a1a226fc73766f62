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
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/rpicluster/vitals/relay/alert"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/connections"
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
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Status is how the relay is doing: what /api/status answers.
type Status struct {
	Version       string           `json:"version"`
	Started       time.Time        `json:"started"`
	UptimeSeconds float64          `json:"uptime_seconds"`
	Listen        string           `json:"listen"`
	Pin           string           `json:"pin,omitempty"` // of the relay's key; empty: it speaks plain HTTP
	DataDirectory string           `json:"data_directory"`
	Refusing      string           `json:"refusing,omitempty"` // why nobody can write just now
	Alarms        []string         `json:"alarms"`
	Notes         []string         `json:"notes"` // what somebody should know, and may be meant so
	Destinations  []deliver.Status `json:"destinations"`
	Nodes         fleet.Counts     `json:"nodes"`
	Fleet         fleet.Stats      `json:"fleet"`
	Auth          auth.Status      `json:"auth"`
	Ingest        ingest.Stats     `json:"ingest"`
	Queue         queue.Stats      `json:"queue"`

	Connections connections.Stats `json:"connections"`
}

// Config is what the pages show.
type Config struct {
	Fleet    Fleet
	Status   func() Status
	Rejected Rejected // nil: nobody asks
	// Alerts are what fires, and by which rules; nil: there are none.
	Alerts func() alert.Status
	// Pin is the pin of the relay's key, for nodes that know it by a name; nil, or
	// empty: they need none.
	Pin func(name string) string
	// Session signs people in; nil: nobody needs to.
	Session Session
	// Stopping is closed when the relay stops: streams end then.
	Stopping <-chan struct{}
	Metrics  http.Handler     // answers /metrics; nil: nobody does
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
	version string // of all assets together
	openAPI []byte // the API's description

	origins *http.CrossOriginProtection
	board   board
	streams atomic.Int64 // who listens
}

type asset struct {
	body, packed []byte
	contentType  string
}

// contentTypes are named here: what a system knows of them differs.
var contentTypes = map[string]string{
	"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	"live.js": script, "chart.js": script, "overview.js": script, "node.js": script, "relay.js": script,
	"uplot/uplot.js": script, "uplot/uplot.css": "text/css; charset=utf-8",
}

const script = "text/javascript; charset=utf-8"

// New makes the handler.
func New(config Config) (*Handler, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Hostname == nil {
		config.Hostname = os.Hostname
	}
	if config.Alerts == nil {
		config.Alerts = func() alert.Status { return alert.Status{} }
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{config: config, mux: http.NewServeMux(), static: map[string]asset{}, origins: http.NewCrossOriginProtection()}
	if err := h.load(); err != nil {
		return nil, err
	}
	h.board = board{
		template: h.pages, nodes: config.Fleet.Nodes, now: config.Now, epoch: config.Now().UnixNano(),
		summary: func(nodes []fleet.Node) any { return h.summary(nodes) },
	}
	h.mux.HandleFunc("GET /{$}", h.serveOverview)
	h.mux.HandleFunc("GET /nodes/{name}", h.serveNodePage)
	h.mux.HandleFunc("GET /relay", h.serveRelayPage)
	h.mux.HandleFunc("GET /live", h.serveLive)
	h.mux.HandleFunc("GET /live/nodes/{name}", h.serveNodeLive)
	h.mux.HandleFunc("GET /live/relay", h.serveRelayLive)
	h.mux.HandleFunc("GET /assets/{version}/{name...}", h.serveAsset)
	if config.Metrics != nil {
		h.mux.Handle("GET /metrics", config.Metrics)
	}
	h.routeAPI()
	if config.Rejected != nil {
		h.mux.HandleFunc("POST "+rejectedPath, h.serveRetry)
	}
	if config.Session != nil {
		h.mux.HandleFunc("GET "+SignInPath, h.serveSignIn)
		h.mux.HandleFunc("POST "+SignInPath, h.signIn)
		h.mux.HandleFunc("POST "+signOutPath, h.signOut)
	}
	return h, nil
}

// load reads what is embedded.
func (h *Handler) load() error {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(contentTypes)) {
		body, err := fs.ReadFile(embedded, "assets/"+name)
		if err != nil {
			return err
		}
		sum.Write(body)
		h.static[name] = asset{body, compress(body), contentTypes[name]}
	}
	h.version = hex.EncodeToString(sum.Sum(nil)[:6])
	var err error
	if h.openAPI, err = fs.ReadFile(embedded, "assets/openapi.yaml"); err != nil {
		return err
	}
	h.pages, err = template.New("").Funcs(template.FuncMap{
		"asset": h.assetURL, "sessions": func() bool { return h.config.Session != nil },
	}).ParseFS(embedded, "assets/*.html")
	return err
}

// ServeHTTP serves the page, its parts and the API.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	// What changes something is done for this page only, not for another site
	// that the browser has open.
	if err := h.origins.Check(r); err != nil {
		http.Error(w, "this was asked for by another site", http.StatusForbidden)
		return
	}
	h.mux.ServeHTTP(w, r)
}

func (h *Handler) assetURL(name string) string { return "/assets/" + h.version + "/" + name }

// serveAsset serves a file whose address changes with its content. One of
// another version is served as well: a page may be older than the relay.
func (h *Handler) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := h.static[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if r.PathValue("version") == h.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	respond(w, r, http.StatusOK, a.contentType, a.body, a.packed)
}

func (h *Handler) serveOverview(w http.ResponseWriter, r *http.Request) {
	o, err := h.overview(r.URL.Query().Has("all"))
	if err != nil {
		h.fail(w, err)
		return
	}
	status := h.config.Status()
	o.Setup = setup(r.Host, status.Listen, h.config.Hostname)
	o.Checked = status.Auth.Mode == auth.Required || status.Auth.Mode == auth.Observe
	if r.TLS != nil {
		o.Setup.URL = "https" + strings.TrimPrefix(o.Setup.URL, "http")
		if name, _ := splitHost(strings.TrimPrefix(o.Setup.URL, "https://")); h.config.Pin != nil {
			o.Pin = h.config.Pin(name)
		}
	}
	h.render(w, r, http.StatusOK, "overview.html", o)
}

func compress(text []byte) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	zw.Write(text) // into memory: cannot fail
	zw.Close()
	return b.Bytes()
}

// render answers with a page, which must not be kept: it is old in a second.
func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	if err := h.pages.ExecuteTemplate(&b, name, data); err != nil {
		h.fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	respond(w, r, status, "text/html; charset=utf-8", b.Bytes(), compress(b.Bytes()))
}

func (h *Handler) fail(w http.ResponseWriter, err error) {
	h.config.Logger.Error("the page cannot be made", "error", err)
	http.Error(w, "the page cannot be made; the log says why", http.StatusInternalServerError)
}

// respond sends a body, compressed to who can undo it.
func respond(w http.ResponseWriter, r *http.Request, status int, contentType string, body, packed []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		body = packed
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// answer sends what is not a page and must not be kept.
func answer(w http.ResponseWriter, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}
