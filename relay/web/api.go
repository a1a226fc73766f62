package web

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/fleet"
)

// Fleet is what the page and the API show of the nodes.
type Fleet interface {
	Nodes() []fleet.Node
	Node(name string) (fleet.Node, error)
	History(name, vital string, span time.Duration) (fleet.History, error)
	Events(after uint64) ([]fleet.Event, <-chan struct{})
	Placement(w fleet.Wish) []fleet.Place
}

// defaultRange is how much history is answered that nobody has bounded.
const defaultRange = time.Hour

func (h *Handler) routeAPI() {
	h.mux.HandleFunc("GET /api/nodes", h.serveNodes)
	h.mux.HandleFunc("GET /api/nodes/{name}", h.serveNode)
	h.mux.HandleFunc("GET /api/nodes/{name}/history", h.serveHistory)
	h.mux.HandleFunc("GET /api/events", h.serveEvents)
	h.mux.HandleFunc("GET /api/placement", h.servePlacement)
	h.mux.HandleFunc("GET /api/destinations", func(w http.ResponseWriter, r *http.Request) {
		h.serveJSON(w, r, h.config.Status().Destinations)
	})
	h.mux.HandleFunc("GET /api/alerts", func(w http.ResponseWriter, r *http.Request) { h.serveJSON(w, r, h.config.Alerts()) })
	h.mux.HandleFunc("GET /api/openapi.yaml", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "application/yaml", h.openAPI)
	})
	h.mux.HandleFunc("GET /api/status", func(w http.ResponseWriter, r *http.Request) { h.serveJSON(w, r, h.config.Status()) })
}

// serveNodes answers with every node, or with those of one state.
func (h *Handler) serveNodes(w http.ResponseWriter, r *http.Request) {
	nodes := h.config.Fleet.Nodes()
	if state := r.URL.Query().Get("state"); state != "" {
		nodes = slices.DeleteFunc(nodes, func(n fleet.Node) bool { return string(n.State) != state })
	}
	h.serveJSON(w, r, nodes)
}

func (h *Handler) serveNode(w http.ResponseWriter, r *http.Request) {
	n, err := h.config.Fleet.Node(r.PathValue("name"))
	if err != nil {
		apiError(w, err)
		return
	}
	h.serveJSON(w, r, n)
}

func (h *Handler) serveHistory(w http.ResponseWriter, r *http.Request) {
	span := defaultRange
	if text := r.URL.Query().Get("range"); text != "" {
		var d nodefile.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d <= 0 {
			apiError(w, badRequest(`range: write it as "30m" or "6h"`))
			return
		}
		span = d.Std()
	}
	vital := r.URL.Query().Get("vital")
	if vital == "" {
		vital = "cpu_percent"
	}
	history, err := h.config.Fleet.History(r.PathValue("name"), vital, span)
	if err != nil {
		apiError(w, err)
		return
	}
	h.serveJSON(w, r, history)
}

func (h *Handler) servePlacement(w http.ResponseWriter, r *http.Request) {
	var wish fleet.Wish
	q := r.URL.Query()
	if text := q.Get("cpus"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0 && n < 1e6) {
			apiError(w, badRequest(`cpus: write how many CPUs the job needs, such as "1.5"`))
			return
		}
		wish.CPUs = n
	}
	if text := q.Get("ram"); text != "" {
		var size nodefile.Size
		if err := size.UnmarshalText([]byte(text)); err != nil || size < 0 {
			apiError(w, badRequest(`ram: write how much memory the job needs, such as "512MB"`))
			return
		}
		wish.RAMBytes = float64(size)
	}
	h.serveJSON(w, r, h.config.Fleet.Placement(wish))
}

// serveEvents answers with what happened after an event, or goes on telling
// whoever asks for a stream.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	after := uint64(0)
	for _, text := range []string{r.URL.Query().Get("after"), r.Header.Get("Last-Event-ID")} {
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			apiError(w, badRequest("after: write the ID of an event"))
			return
		}
		after = n
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		events, _ := h.config.Fleet.Events(after)
		h.serveJSON(w, r, slices.Concat([]fleet.Event{}, events))
		return
	}
	s, ok := h.stream(w, r)
	if !ok {
		return
	}
	defer s.close()
	for {
		events, more := h.config.Fleet.Events(after)
		for _, e := range events {
			after = e.ID
			s.send(strconv.FormatUint(e.ID, 10), "event", e)
		}
		if !s.rest(r, h.config.Stopping, more, keepAlive) {
			return
		}
	}
}

// serveJSON answers with v. A client that has it already is told so.
func (h *Handler) serveJSON(w http.ResponseWriter, r *http.Request, v any) {
	body, err := encode(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	if slices.Contains(strings.Split(strings.ReplaceAll(r.Header.Get("If-None-Match"), " ", ""), ","), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	answer(w, "application/json", body)
}

// encode is v as JSON on one line, in which nothing can be taken for HTML.
func encode(v any) ([]byte, error) { return json.Marshal(v) }

// badRequest is an error that the client has made.
type badRequest string

// Error implements error.
func (e badRequest) Error() string { return string(e) }

// apiError answers {"error": …} with the status that an error calls for.
func apiError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var bad badRequest
	switch {
	case errors.As(err, &bad), errors.Is(err, fleet.ErrNoVital):
		status = http.StatusBadRequest
	case errors.Is(err, fleet.ErrNoNode):
		status = http.StatusNotFound
	}
	body, _ := json.Marshal(map[string]string{"error": err.Error()}) // a text can be written
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
