package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/auth"
)

// What bounds the account of bad lines that InfluxDB 3 would give without end.
const (
	maxBadV3    = 1000
	maxQuotedV3 = 20 // bytes of a line, as InfluxDB 3 cuts it
)

// badLineV3 is one bad line, as InfluxDB 3 tells of it.
type badLineV3 struct {
	Reason string `json:"error_message"`
	Number int    `json:"line_number"`
	Text   string `json:"original_line"`
}

// writeV3 is POST /api/v3/write_lp.
func (h *Handler) writeV3(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, text string) {
		h.counters.badRequests.Add(1)
		v3Text(w, status, text)
	}
	if h.own(r) {
		fail(http.StatusLoopDetected, loop)
		return
	}
	grant, ok := h.admit(w, r, 3, auth.Write, false)
	if !ok {
		return
	}
	p := h.params.of(formV3, r.URL.RawQuery)
	if p.mistake != "" {
		fail(http.StatusBadRequest, p.mistake)
		return
	}
	if mistake := nameMistakeV3(p.database); mistake != "" {
		h.counters.badRequests.Add(1)
		v3Error(w, mistake, nil)
		return
	}
	encoding := r.Header.Get("Content-Encoding")
	if encoding != "" && encoding != "identity" && encoding != "gzip" {
		fail(http.StatusBadRequest, "unacceptable content-encoding: "+encoding)
		return
	}
	q := h.request(grant)
	defer q.release()
	if _, err := q.read(w, r, encoding == "gzip"); err != nil {
		h.unread(w, 3, err, fail, h.tooLargeV3(), "error decoding gzip stream: "+err.Error())
		return
	}
	if len(q.raw) == 0 {
		fail(http.StatusBadRequest, "incoming write was empty")
		return
	}
	h.scanV3(w, r, q, p, encoding == "gzip")
}

// scanV3 keeps the sound lines of a body that was read, or, where the client
// asks for that, none of a body with a bad one.
func (h *Handler) scanV3(w http.ResponseWriter, r *http.Request, q *request, p *writeParams, compressed bool) {
	rep, err := q.scan(p)
	h.counters.badLines.Add(int64(len(rep.Bad)))
	if err == nil && len(rep.Bad) > 0 && (p.atomic || rep.GivenUp) {
		h.counters.badRequests.Add(1)
		first := badLinesV3(q.raw, rep.Bad[:1])[0]
		if rep.GivenUp {
			first.Reason += "; " + strings.TrimSpace(tooManyBad)
		}
		v3Error(w, "line protocol parsing error", first)
		return
	}
	if err == nil {
		err = h.keep(r, q, p, rep, compressed)
	}
	switch {
	case errors.Is(err, errTooLarge):
		h.counters.badRequests.Add(1)
		v3Text(w, http.StatusRequestEntityTooLarge, h.tooLargeV3())
	case err != nil:
		h.refuse(w, 3, err)
	case len(rep.Bad) > 0:
		v3Error(w, "partial write of line protocol occurred", badLinesV3(q.raw, rep.Bad))
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *Handler) tooLargeV3() string {
	return fmt.Sprintf("max request size (%d bytes) exceeded", h.config.MaxBody)
}

// badLinesV3 tells of bad lines as InfluxDB 3 does; the number counts every
// line of the body.
func badLinesV3(body []byte, bad []line.Bad) []badLineV3 {
	list := make([]badLineV3, 0, min(len(bad), maxBadV3))
	number, at := 1, 0
	for _, l := range bad[:min(len(bad), maxBadV3)] {
		number += bytes.Count(body[at:l.Start], []byte("\n"))
		at = l.Start
		text := body[l.Start:min(l.End, l.Start+maxQuotedV3)]
		list = append(list, badLineV3{l.Reason, number, strings.ToValidUTF8(string(text), "\ufffd")})
	}
	return list
}

// nameMistakeV3 says why InfluxDB 3 can have no database of that name.
func nameMistakeV3(name string) string {
	alphanumeric := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	switch {
	case name == "":
		return "db name cannot be empty"
	case !alphanumeric(name[0]):
		return "db name did not start with a number or letter"
	case len(name) > maxNames:
		return "db name is too long"
	}
	for i := range len(name) {
		if c := name[i]; !alphanumeric(c) && c != '_' && c != '-' {
			return "invalid character in database name: must be ASCII, containing only letters, numbers, underscores, or hyphens"
		}
	}
	return ""
}
