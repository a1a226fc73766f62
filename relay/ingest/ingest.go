// Package ingest is the relay's front door: it takes writes as InfluxDB 1.x, 2.x
// and 3 take them, checks every line once, and answers 204 only after the queue
// has made the lines durable.
package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/influxql"
	"github.com/rpicluster/vitals/relay/queue"
)

// Queue is what the door needs of a queue: Append returns nil when the batch is
// durable. Any error means "not now" to whoever wrote it.
type Queue interface {
	Append(ctx context.Context, b *queue.Batch) error
}

// Fleet is shown the lines that were accepted. Offer must not wait and not
// keep the body.
type Fleet interface{ Offer(w fleet.Write) }

// Databases remembers what clients ask to be created, for every destination.
type Databases interface {
	Create(s influxql.Statement) error
	Names() []string
	Policies(database string) ([]influxql.Policy, bool)
}

// Queries answers what is only asked, elsewhere. With an error nothing is answered
// yet.
type Queries interface {
	Pass(w http.ResponseWriter, r *http.Request) error
}

// Config is what the door needs. Queue and Databases are required.
type Config struct {
	Queue     Queue
	Databases Databases
	Fleet     Fleet   // nil: nobody looks
	Guard     Guard   // nil: everybody may write
	Queries   Queries // nil: the door knows a few statements, and no other
	// AllowWrites passes on statements that do more than read.
	AllowWrites bool
	Next        http.Handler // answers every path that is not InfluxDB's; nil: 404

	// ID is this relay's own: a write that carries it in IDHeader has come
	// back. Empty: none does.
	ID string

	// Versions are what the door says it is; empty ones are the defaults.
	Versions Versions
	// Acked, if not nil, is told of every write how long it waited for the queue.
	// It must not wait.
	Acked func(waited time.Duration)

	// Ready says whether writes are taken, and if not, why; if they are, the
	// reasons are what else there is to know. nil: they are.
	Ready func() (ok bool, reasons []string)

	// Crowded reports whether a request came over a connection too many; nil:
	// none does.
	Crowded func(context.Context) bool

	// MaxBody bounds the lines of one write, MaxCompressedBody the bytes that
	// travel, MaxInFlight the memory for all writes being served.
	MaxBody, MaxCompressedBody, MaxInFlight int64
	// MaxRatio bounds inflated to compressed bytes beyond the first MiB; 0: 250.
	MaxRatio int64
	// Lines bound what a line may be.
	Lines line.Limits
	// A body must come at MinRate bytes a second on average (0: 512), may be
	// silent for Patience (0: 30 s), and must be there after BodyTimeout (0:
	// 10 minutes).
	MinRate               int64
	Patience, BodyTimeout time.Duration

	Now    func() time.Time // default time.Now
	Logger *slog.Logger
}

// IDHeader is where a relay's deliveries carry its ID.
const IDHeader = "Vitals-Relay"

// Handler serves the APIs.
type Handler struct {
	config   Config
	requests sync.Pool
	params   params
	started  time.Time
	// processID is what /ping of InfluxDB 3 tells; headerV1 and headerV2 are
	// the versions. net/http only reads them.
	processID          string
	headerV1, headerV2 []string

	trouble  atomic.Pointer[trouble] // of the queue with the last write
	inFlight atomic.Int64
	ids      ids
	refusals sometimes
	counters counters
}

// New makes the door.
func New(config Config) *Handler {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Next == nil {
		config.Next = http.NotFoundHandler()
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.MaxRatio = cmp.Or(config.MaxRatio, 250) // lines compress to a tenth; bombs to a thousandth
	config.MinRate = cmp.Or(config.MinRate, 512)
	config.Patience = cmp.Or(config.Patience, 30*time.Second)
	config.BodyTimeout = cmp.Or(config.BodyTimeout, 10*time.Minute)
	config.Versions.defaults()
	h := &Handler{config: config, started: config.Now(), headerV1: []string{config.Versions.V1}, headerV2: []string{config.Versions.V2}}
	h.processID = h.ids.next(h.started)
	h.requests.New = func() any {
		return &request{handler: h, scanner: line.Scanner{MaxBad: maxBad, Limits: config.Lines}}
	}
	return h
}

// ServeHTTP serves InfluxDB's paths and leaves all others to Next.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w = forMisreader(w, r)
	defer h.recover(w, r)
	if h.config.Crowded != nil && h.config.Crowded(r.Context()) {
		w.Header().Set("Connection", "close")
		h.refuse(w, h.version(r.URL.Path), errCrowded)
		return
	}
	switch path := r.URL.Path; path {
	case "/write":
		h.v1(w, r, h.writeV1, allowWrite)
	case "/api/v2/write":
		if h.config.Versions.v2As18() {
			h.v1(w, r, h.writeV18, allowWrite)
			return
		}
		h.v2(w, r, h.writeV2, allowWrite)
	case "/api/v3/write_lp":
		h.v3(w, r, h.writeV3, http.MethodPost)
	case "/query":
		h.v1(w, r, h.query, allowQuery)
	case "/ping":
		h.ping(w, r)
	case "/status":
		h.v1(w, r, h.noContent, allowRead)
	case "/health":
		h.health(w, r)
	case "/api/v1/health":
		h.healthV3(w, r)
	case "/ready":
		h.v2(w, r, h.ready, allowRead)
	default:
		h.elsewhere(w, r)
	}
}

// elsewhere answers paths that are none of the door's: below those of InfluxDB 2
// and 3 as these do.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/v2/"):
		w.Header()["X-Influxdb-Version"], w.Header()["X-Influxdb-Build"] = h.headerV2, headerBuild
		v2Error(w, http.StatusNotFound, "not found", "path not found")
	case strings.HasPrefix(r.URL.Path, "/api/v3/"):
		h.v3(w, r, nil)
	default:
		h.config.Next.ServeHTTP(w, r)
	}
}

// version is the API that a path belongs to.
func (h *Handler) version(path string) int {
	switch {
	case strings.HasPrefix(path, "/api/v2/") && !h.config.Versions.v2As18():
		return 2
	case strings.HasPrefix(path, "/api/v3/"):
		return 3
	}
	return 1
}

// recover turns a panic into an answer. What the request wrote so far is not
// durable, so 500 is the truth.
func (h *Handler) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	h.counters.panics.Add(1)
	h.config.Logger.Error("a request ended in a panic", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
	switch h.version(r.URL.Path) {
	case 2:
		v2Error(w, http.StatusInternalServerError, "internal error", "An internal error has occurred - check server logs")
	case 3:
		v3Text(w, http.StatusInternalServerError, "internal error")
	default:
		v1Error(w, http.StatusInternalServerError, "internal error", false)
	}
}

// counters count what happens at the door.
type counters struct {
	requests, lines, bytes, rawBytes       atomic.Int64
	badLines, badRequests, refused, panics atomic.Int64
	unauthorized                           atomic.Int64
}

// Stats are the door's figures since the start.
type Stats struct {
	Requests    int64 `json:"requests"`     // writes answered 204, or 400 with lines written
	Lines       int64 `json:"lines"`        // accepted
	Bytes       int64 `json:"bytes"`        // accepted, as they travelled
	RawBytes    int64 `json:"raw_bytes"`    // accepted, inflated
	BadLines    int64 `json:"bad_lines"`    // refused with a reason
	BadRequests int64 `json:"bad_requests"` // writes of which nothing was accepted: 4xx
	Refused     int64 `json:"refused"`      // writes answered 503 or 429: not now
	// Unauthorized counts the requests answered 401 or 403.
	Unauthorized int64 `json:"unauthorized"`
	Panics       int64 `json:"panics"`
	InFlight     int64 `json:"in_flight_bytes"`
}

// Stats returns the door's figures.
func (h *Handler) Stats() Stats {
	c := &h.counters
	return Stats{
		Requests: c.requests.Load(), Lines: c.lines.Load(), Bytes: c.bytes.Load(), RawBytes: c.rawBytes.Load(),
		BadLines: c.badLines.Load(), BadRequests: c.badRequests.Load(), Unauthorized: c.unauthorized.Load(), Refused: c.refused.Load(), Panics: c.panics.Load(),
		InFlight: h.inFlight.Load(),
	}
}

// sometimes lets one of many through every ten seconds.
type sometimes struct{ last atomic.Int64 }

func (s *sometimes) now(t time.Time) bool {
	last := s.last.Load()
	return t.UnixNano()-last > int64(10*time.Second) && s.last.CompareAndSwap(last, t.UnixNano())
}
