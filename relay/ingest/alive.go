package ingest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Versions are what the door says it is. Clients parse them as numbers.
type Versions struct {
	V1, V2, V3 string
	// Shared is whose answers the paths have that all versions share, /ping and
	// /health: 1, 2 or 3.
	Shared int
}

// defaults fills in what is not said.
func (v *Versions) defaults() {
	set := func(s *string, version string) {
		if *s == "" {
			*s = version
		}
	}
	set(&v.V1, "1.8.10")
	set(&v.V2, "v2.7.11")
	set(&v.V3, "3.10.1")
	if v.Shared == 0 {
		v.Shared = 1
	}
}

// v2As18 reports whether /api/v2/write is the one of InfluxDB 1.8, which has it
// for clients of 2.x but answers as ever.
func (v *Versions) v2As18() bool { return strings.HasPrefix(strings.TrimPrefix(v.V2, "v"), "1.") }

// ping is /ping of the version whose answers the shared paths have.
func (h *Handler) ping(w http.ResponseWriter, r *http.Request) {
	switch h.config.Versions.Shared {
	case 2:
		h.v2(w, r, h.noContent, allowRead)
	case 3:
		h.v3(w, r, h.pingV3, http.MethodGet, http.MethodPost)
	default:
		h.v1(w, r, h.pingV1, allowRead)
	}
}

func (h *Handler) noContent(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) pingV1(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Query().Get("verbose") {
	case "", "0", "false":
		w.WriteHeader(http.StatusNoContent)
	default:
		fmt.Fprintf(w, `{"version":%q}`, h.config.Versions.V1)
	}
}

// pingV3 is the only route of InfluxDB 3 that tells its version.
func (h *Handler) pingV3(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	id := h.requestID(r)
	header["Request-Id"], header["X-Request-Id"] = id, id
	header["X-Influxdb-Version"], header["X-Influxdb-Build"] = []string{h.config.Versions.V3}, []string{"Core"}
	header["Content-Type"] = headerJSON
	fmt.Fprintf(w, `{"product_name":"InfluxDB 3 Core","version":%q,"revision":"vitals-relay","process_id":%q}`, h.config.Versions.V3, h.processID)
}

// health says that there is somebody. Whether writes are taken, /ready says.
func (h *Handler) health(w http.ResponseWriter, r *http.Request) {
	switch h.config.Versions.Shared {
	case 2:
		h.v2(w, r, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = headerJSONv2
			fmt.Fprintf(w, `{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], "version": %q, "commit": "vitals-relay"}`, h.config.Versions.V2)
		}, allowRead)
	case 3:
		h.healthV3(w, r)
	default:
		h.v1(w, r, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"checks":[],"message":"ready for queries and writes","name":"influxdb","status":"pass","version":%q}`, h.config.Versions.V1)
		}, allowRead)
	}
}

func (h *Handler) healthV3(w http.ResponseWriter, r *http.Request) {
	h.v3(w, r, func(w http.ResponseWriter, _ *http.Request) { v3Text(w, http.StatusOK, "OK") }, http.MethodGet, http.MethodPost)
}

// ready says whether a write would be taken now, in the form of InfluxDB 2.x,
// and if not, why.
func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) {
	answer := struct {
		Status  string   `json:"status"`
		Started string   `json:"started"`
		Up      string   `json:"up"`
		Reasons []string `json:"reasons,omitempty"`
		Notes   []string `json:"notes,omitempty"`
	}{"ready", h.started.UTC().Format(time.RFC3339Nano), h.config.Now().Sub(h.started).String(), nil, nil}
	status := http.StatusOK
	if h.config.Ready != nil {
		ok, reasons := h.config.Ready()
		answer.Notes = reasons
		if !ok {
			status, answer.Status = http.StatusServiceUnavailable, "not ready"
			answer.Reasons, answer.Notes = reasons, nil
		}
	}
	w.Header()["Content-Type"] = headerJSONv2
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "    ")
	e.Encode(answer)
}
