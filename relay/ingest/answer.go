package ingest

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// notNow is what a client is told that should come again with the same lines.
// It holds none of the phrases that make clients throw their lines away.
const notNow = "relay: temporarily unable to accept writes, retry later"

// loop is what a relay is told that writes to itself.
const loop = "this destination's url is the relay itself; set it to where InfluxDB answers"

// methods is a set of HTTP methods.
type methods struct{ allow string }

// The methods of InfluxDB's routes.
var (
	allowWrite = methods{"OPTIONS, POST"}
	allowQuery = methods{"GET, OPTIONS, POST"}
	allowRead  = methods{"GET, HEAD"}
)

func (m methods) has(name string) bool {
	switch name {
	case http.MethodPost:
		return m != allowRead
	case http.MethodGet:
		return m != allowWrite
	case http.MethodHead:
		return m == allowRead
	}
	return false
}

// Header values that every answer shares. net/http only reads them.
var (
	headerBuild  = []string{"OSS"}
	headerJSON   = []string{"application/json"}
	headerJSONv2 = []string{"application/json; charset=utf-8"}
	headerText   = []string{"text/plain; charset=utf-8"}
	headerAny    = []string{"*"}
)

// v1 serves a route of InfluxDB 1.x. The keys of headers are canonical, so
// that setting them costs no more than a map.
func (h *Handler) v1(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc, m methods) {
	header := w.Header()
	header["X-Influxdb-Version"] = h.headerV1
	header["X-Influxdb-Build"] = headerBuild
	options := r.Method == http.MethodOptions && m != allowRead
	if !options && !m.has(r.Method) {
		header.Set("Allow", m.allow)
		http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		return
	}
	id := h.requestID(r)
	header["Request-Id"], header["X-Request-Id"] = id, id
	if origin := r.Header.Get("Origin"); origin != "" {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, POST, PUT")
		header.Set("Access-Control-Allow-Headers", "Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, X-HTTP-Method-Override")
		header.Set("Access-Control-Expose-Headers", "Date, X-InfluxDB-Version, X-InfluxDB-Build")
	}
	if options {
		return
	}
	header["Content-Type"] = headerJSON
	serve(w, r)
}

// v1Error answers as InfluxDB 1.x answers errors.
func v1Error(w http.ResponseWriter, status int, text string, pretty bool) {
	header := w.Header()
	header["Content-Type"] = headerJSON
	header.Set("X-Influxdb-Error", text[:min(len(text), 1024)])
	body := encode(map[string]string{"error": text}, pretty)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// encode is JSON as InfluxDB 1.x writes it, newline included.
func encode(v any, pretty bool) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	if pretty {
		e.SetIndent("", "    ")
	}
	if err := e.Encode(v); err != nil {
		return []byte("{}\n")
	}
	return b.Bytes()
}

// v2Error answers as InfluxDB 2.x answers errors.
func v2Error(w http.ResponseWriter, status int, code, message string) {
	header := w.Header()
	header["Content-Type"] = headerJSONv2
	header.Set("X-Platform-Error-Code", code)
	body, _ := json.Marshal(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{code, message})
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// v2 serves a route of InfluxDB 2.x, which has no request ids.
func (h *Handler) v2(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc, m methods) {
	header := w.Header()
	header["X-Influxdb-Version"] = h.headerV2
	header["X-Influxdb-Build"] = headerBuild
	if origin := r.Header["Origin"]; len(origin) > 0 {
		header["Access-Control-Allow-Origin"] = origin[:1]
	}
	switch {
	case r.Method == http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE")
		header.Set("Access-Control-Allow-Headers", "Accept, Content-Type, Content-Length, Accept-Encoding, Authorization, User-Agent")
		w.WriteHeader(http.StatusNoContent)
	case !m.has(r.Method):
		header.Set("Allow", m.allow)
		v2Error(w, http.StatusMethodNotAllowed, "method not allowed", "allow: "+m.allow)
	default:
		serve(w, r)
	}
}

// v3 serves a route of InfluxDB 3, for which a wrong method is a wrong path.
func (h *Handler) v3(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc, allowed ...string) {
	header := w.Header()
	header["Access-Control-Allow-Origin"] = headerAny
	switch {
	case r.Method == http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
	case !slices.Contains(allowed, r.Method):
		v3Text(w, http.StatusNotFound, "not found")
	default:
		serve(w, r)
	}
}

// v3Text answers as InfluxDB 3 answers most errors.
func v3Text(w http.ResponseWriter, status int, text string) {
	header := w.Header()
	header["Content-Type"] = headerText
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// v3Error answers as InfluxDB 3 answers what is wrong with names and lines.
func v3Error(w http.ResponseWriter, text string, data any) {
	body, _ := json.Marshal(struct {
		Error string `json:"error"`
		Data  any    `json:"data"`
	}{text, data})
	header := w.Header()
	header["Content-Type"] = headerJSON
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusBadRequest)
	w.Write(body)
}

// retryAfter is a few seconds, not the same for all clients.
func retryAfter() string { return strconv.Itoa(2 + rand.IntN(5)) }

// requestID is the client's own, else a new one: both headers carry it.
func (h *Handler) requestID(r *http.Request) []string {
	for _, name := range [...]string{"X-Request-Id", "Request-Id"} {
		if id := r.Header[name]; len(id) > 0 && id[0] != "" {
			return id[:1]
		}
	}
	return []string{h.ids.next(h.config.Now())}
}

// ids makes UUIDs of version 1, which InfluxDB gives to requests.
type ids struct{ last atomic.Uint64 }

// sinceGregorian is the start of the Unix epoch in the units of such UUIDs,
// 100 ns since the calendar reform.
const sinceGregorian = 0x01b21dd213814000

func (s *ids) next(now time.Time) string {
	n := s.last.Add(1)
	t := uint64(now.UnixNano()/100) + sinceGregorian
	const digits = "0123456789abcdef"
	var b [36]byte
	put := func(at, width int, v uint64) {
		for i := at + width - 1; i >= at; i-- {
			b[i] = digits[v&15]
			v >>= 4
		}
	}
	put(0, 8, t&0xffffffff)
	put(9, 4, t>>32&0xffff)
	put(14, 4, t>>48&0x0fff|0x1000)
	put(19, 4, n&0x3fff|0x8000)
	put(24, 12, n>>14)
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
