// Package join lets machines into a fleet and out of it: whoever is invited gets
// a script, the package for its processor, and in exchange for the invite's code
// a token of its own.
package join

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/relay/auth"
)

// The doors' paths.
const (
	Path         = "/join"
	LeavePath    = "/leave"
	PackagesPath = "/packages/"
)

// Tokens are made for those who join, and taken back from those who leave.
type Tokens interface {
	// HearCode refuses for now whoever has sent too many wrong codes.
	HearCode(r *http.Request) error
	WrongCode(r *http.Request)
	// Free refuses a name that another machine has; Join, too.
	Free(node, machine string) error
	Join(node, machine, from string) (t auth.Token, text string, err error)
	Leave(r *http.Request, retire func(node string) error) error
}

// Config is what the doors need.
type Config struct {
	Tokens  Tokens
	Invites *Invites
	// Enabled says that writers are checked: without it there is nothing to join.
	Enabled bool
	// Packages is the directory of the packages for nodes.
	Packages string
	// Address is where other machines reach the relay, as far as it knows; a request
	// that says it itself is believed.
	Address func() string
	// Pin is the pin of the key that nodes should pin who know the relay by a name;
	// empty: of none.
	Pin func(name string) string
	// Database is where nodes write, Interval how often.
	Database string
	Interval time.Duration
	// Retire marks a node as taken out of service.
	Retire func(node string) error
	// Silence is how long a client may take nothing of what it is sent; 0: 30 s.
	Silence time.Duration
	Logger  *slog.Logger
}

// Handler serves the doors.
type Handler struct {
	config   Config
	mux      *http.ServeMux
	packages packages
	origins  *http.CrossOriginProtection
	warned   atomic.Int64 // when the log last told of a wrong code
}

// New makes the doors.
func New(config Config) *Handler {
	if config.Silence == 0 {
		config.Silence = 30 * time.Second
	}
	h := &Handler{config: config, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection()}
	h.packages.directory = config.Packages
	h.mux.HandleFunc("GET "+Path, h.serveScript)
	h.mux.HandleFunc("POST "+Path, h.join)
	h.mux.HandleFunc("POST "+LeavePath, h.leave)
	h.mux.HandleFunc("GET "+PackagesPath+"{$}", h.serveIndex)
	h.mux.HandleFunc("GET "+PackagesPath+sumsName, h.serveSums)
	h.mux.HandleFunc("GET "+PackagesPath+"{name}", h.servePackage)
	return h
}

// Before lets the doors answer what is theirs and next everything else.
func (h *Handler) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := h.mux.Handler(r); pattern == "" && !h.ours(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ours are the paths on which other methods are refused, rather than unknown.
func (h *Handler) ours(path string) bool { return path == Path || path == LeavePath }

// ServeHTTP serves the doors.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store") // answers differ by the address asked
	// No page of another site has a visitor's browser try codes.
	if err := h.origins.Check(r); err != nil {
		http.Error(w, "this was asked for by another site", http.StatusForbidden)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Run forgets old invites until ctx ends.
func (h *Handler) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := h.config.Invites.Forget(); err != nil {
			h.config.Logger.Warn("old invites cannot be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
