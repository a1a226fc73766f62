package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/fleet"
)

// maxReasons bounds the text of an answer that names bad lines, maxQuoted what it
// quotes of one that is only too large.
const (
	maxReasons = 64 << 10
	maxQuoted  = 128
)

// tooManyBad ends the answer to a body that is made of bad lines.
var tooManyBad = fmt.Sprintf("\nmore than %d lines cannot be parsed, so none of this body is kept", maxBad)

// writeV1 is POST /write.
func (h *Handler) writeV1(w http.ResponseWriter, r *http.Request) {
	h.writeAs1(w, r, h.params.of(formV1, r.URL.RawQuery), "n, u, ms, s, m or h")
}

// writeV18 is POST /api/v2/write as InfluxDB 1.8 has it.
func (h *Handler) writeV18(w http.ResponseWriter, r *http.Request) {
	h.writeAs1(w, r, h.params.of(formV18, r.URL.RawQuery), "ns, us, ms or s")
}

// writeAs1 takes a write as InfluxDB 1.x does, in the order of its checks.
func (h *Handler) writeAs1(w http.ResponseWriter, r *http.Request, p *writeParams, precisions string) {
	fail := func(status int, text string) {
		h.counters.badRequests.Add(1)
		v1Error(w, status, text, p.pretty)
	}
	switch {
	case h.own(r):
		fail(http.StatusLoopDetected, loop)
		return
	}
	grant, ok := h.admit(w, r, 1, auth.Write, p.pretty)
	switch {
	case !ok:
		return
	case !p.precisionKnown:
		fail(http.StatusBadRequest, `invalid precision "`+p.precisionText+`" (use `+precisions+")")
		return
	case p.mistake != "":
		fail(http.StatusNotFound, p.mistake)
		return
	case p.database == "":
		fail(http.StatusBadRequest, "database is required")
		return
	case !p.databaseCanBe:
		fail(http.StatusNotFound, fmt.Sprintf("database not found: %q", p.database))
		return
	case !p.nameFits:
		fail(http.StatusBadRequest, "invalid name of a retention policy, or too long a name")
		return
	}
	q := h.request(grant)
	defer q.release()
	compressed := r.Header.Get("Content-Encoding") == "gzip"
	if _, err := q.read(w, r, compressed); err != nil {
		h.unread(w, 1, err, fail, err.Error(), err.Error())
		return
	}
	h.scanV1(w, r, q, p, compressed)
}

// unread answers for a body that could not be read: it is too large, or broken, or
// there is no time or room for it just now.
func (h *Handler) unread(w http.ResponseWriter, version int, err error, fail func(status int, text string), tooLarge, broken string) {
	switch {
	case errors.Is(err, errTooLarge):
		fail(http.StatusRequestEntityTooLarge, tooLarge)
	case passing(err):
		h.refuse(w, version, err)
	default:
		fail(http.StatusBadRequest, broken)
	}
}

// scanV1 keeps the sound lines of a body that was read, and answers.
func (h *Handler) scanV1(w http.ResponseWriter, r *http.Request, q *request, p *writeParams, compressed bool) {
	fail := func(status int, text string) {
		h.counters.badRequests.Add(1)
		v1Error(w, status, text, p.pretty)
	}
	rep, err := q.scan(p)
	h.counters.badLines.Add(int64(len(rep.Bad)))
	switch {
	case errors.Is(err, errTooLarge):
		fail(http.StatusRequestEntityTooLarge, err.Error())
		return
	case err != nil:
		h.refuse(w, 1, err)
		return
	case rep.GivenUp:
		fail(http.StatusBadRequest, reasons(q.raw, rep.Bad)+tooManyBad)
		return
	case rep.Lines == 0 && len(rep.Bad) > 0:
		fail(http.StatusBadRequest, reasons(q.raw, rep.Bad))
		return
	case !p.consistencyKnown && len(q.raw) > 0:
		fail(http.StatusBadRequest, "invalid consistency level")
		return
	}
	switch err := h.keep(r, q, p, rep, compressed); {
	case errors.Is(err, errTooLarge):
		fail(http.StatusRequestEntityTooLarge, err.Error())
		return
	case err != nil:
		h.refuse(w, 1, err)
		return
	}
	if len(rep.Bad) > 0 {
		v1Error(w, http.StatusBadRequest, "partial write: "+reasons(q.raw, rep.Bad)+" dropped=0", p.pretty)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// own reports whether this relay has sent the request itself: taking it would
// send it again, for ever.
func (h *Handler) own(r *http.Request) bool {
	return h.config.ID != "" && r.Header.Get(IDHeader) == h.config.ID
}

// writeV2 is POST /api/v2/write of InfluxDB 2.x. A body with a bad line is
// refused whole.
func (h *Handler) writeV2(w http.ResponseWriter, r *http.Request) {
	p := h.params.of(formV2, r.URL.RawQuery)
	fail := func(status int, code, text string) {
		h.counters.badRequests.Add(1)
		v2Error(w, status, code, text)
	}
	switch {
	case h.own(r):
		fail(http.StatusLoopDetected, "conflict", loop)
		return
	}
	grant, ok := h.admit(w, r, 2, auth.Write, false)
	switch {
	case !ok:
		return
	case !p.precisionKnown:
		fail(http.StatusBadRequest, "invalid", "invalid precision; valid precision units are ns, us, ms, and s")
		return
	case p.bucket == "":
		fail(http.StatusNotFound, "not found", "bucket not found")
		return
	case !p.databaseCanBe, !p.nameFits:
		fail(http.StatusNotFound, "not found", `bucket "`+p.bucket+`" not found`)
		return
	}
	q := h.request(grant)
	defer q.release()
	encoding := r.Header.Get("Content-Encoding")
	compressed := encoding == "gzip" || encoding == "x-gzip"
	switch headerBad, err := q.read(w, r, compressed); {
	case err == nil:
	case errors.Is(err, errTooLarge):
		fail(http.StatusRequestEntityTooLarge, "request too large", "unable to read data: points batch is too large")
		return
	case passing(err):
		h.refuse(w, 2, err)
		return
	case headerBad && len(q.body) > 0:
		fail(http.StatusInternalServerError, "internal error", "An internal error has occurred - check server logs")
		return
	default:
		fail(http.StatusBadRequest, "invalid", "unable to read data: "+err.Error())
		return
	}
	h.scanV2(w, r, q, p, compressed)
}

// scanV2 keeps a body that was read if every line is sound, and answers.
func (h *Handler) scanV2(w http.ResponseWriter, r *http.Request, q *request, p *writeParams, compressed bool) {
	fail := func(status int, code, text string) {
		h.counters.badRequests.Add(1)
		v2Error(w, status, code, text)
	}
	rep, err := q.scan(p)
	if err == nil && len(rep.Bad) > 0 {
		h.counters.badLines.Add(int64(len(rep.Bad)))
		fail(http.StatusBadRequest, "invalid", reasons(q.raw, rep.Bad))
		return
	}
	if err == nil {
		err = h.keep(r, q, p, rep, compressed)
	}
	switch {
	case errors.Is(err, errTooLarge):
		fail(http.StatusRequestEntityTooLarge, "request too large", "unable to read data: points batch is too large")
		return
	case err != nil:
		h.refuse(w, 2, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// keep makes the sound lines of a body durable and shows them to the fleet.
func (h *Handler) keep(r *http.Request, q *request, p *writeParams, rep line.Report, compressed bool) error {
	if rep.Lines == 0 {
		return nil
	}
	now := h.config.Now()
	travelled, inflated := len(q.body), len(q.raw)
	// A client that hangs up does not take its lines back: the memory of the
	// batch is lent to the queue until Append returns.
	batch, err := q.batch(p, rep, compressed && !q.rewritten, now)
	if err == nil {
		err = h.config.Queue.Append(context.Background(), batch)
		h.remember(err, now)
	}
	if err != nil {
		return err
	}
	if h.config.Acked != nil {
		h.config.Acked(h.config.Now().Sub(now))
	}
	h.counters.requests.Add(1)
	h.counters.lines.Add(int64(rep.Lines))
	h.counters.bytes.Add(int64(travelled))
	h.counters.rawBytes.Add(int64(inflated))
	q.grant.Accepted(r, rep, p.precision, q.raw)
	if h.config.Fleet != nil {
		h.config.Fleet.Offer(fleet.Write{
			Body: q.raw, Lines: rep.Lines, Received: now, Unit: p.precision.Duration(),
			Address: host(r.RemoteAddr), Client: r.UserAgent(), Token: q.grant.ID(),
		})
	}
	return nil
}

// host is the address without its port.
func host(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i >= 0 {
		remote = remote[:i]
	}
	return strings.Trim(remote, "[]")
}

// refuse tells the client to come again.
func (h *Handler) refuse(w http.ResponseWriter, version int, err error) {
	h.counters.refused.Add(1)
	if h.refusals.now(h.config.Now()) {
		h.config.Logger.Warn("writes are refused for now; clients are told to retry", "error", err)
	}
	w.Header().Set("Retry-After", retryAfter())
	switch version {
	case 2:
		v2Error(w, http.StatusServiceUnavailable, "unavailable", notNow)
	case 3:
		v3Text(w, http.StatusServiceUnavailable, notNow)
	default:
		v1Error(w, http.StatusServiceUnavailable, notNow, false)
	}
}

// reasons says what is wrong with each bad line, as InfluxDB says it. The text
// is bounded, unlike InfluxDB's.
func reasons(body []byte, bad []line.Bad) string {
	var b strings.Builder
	for i, l := range bad {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString("unable to parse '")
		text := body[l.Start:l.End]
		if line.Limited(l.Reason) && len(text) > maxQuoted {
			text = append(text[:maxQuoted:maxQuoted], "…"...)
		}
		b.Write(text[:min(len(text), maxReasons)])
		b.WriteString("': ")
		b.WriteString(l.Reason)
		if b.Len() > maxReasons {
			return strings.ToValidUTF8(b.String()[:maxReasons], "\ufffd") + "…"
		}
	}
	return b.String()
}
