package ingest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/auth"
)

// Guard says who may use the door. It is asked before a body is read.
type Guard interface {
	Admit(r *http.Request, role auth.Role) (*auth.Grant, error)
}

// admit asks the guard, and answers a request that it refuses in the words of
// the API: version 1, 2 or 3. Without a guard everybody may.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, version int, role auth.Role, pretty bool) (*auth.Grant, bool) {
	if h.config.Guard == nil {
		return nil, true
	}
	grant, err := h.config.Guard.Admit(r, role)
	if err == nil {
		return grant, true
	}
	var slow *auth.SlowDown
	switch {
	case errors.As(err, &slow):
		h.slowDown(w, version, slow)
	case errors.Is(err, auth.ErrUnavailable):
		h.refuse(w, version, err)
	default:
		h.counters.unauthorized.Add(1)
		switch version {
		case 1:
			unauthorizedV1(w, r, err, pretty)
		case 2:
			unauthorizedV2(w, err)
		default:
			unauthorizedV3(w, err)
		}
	}
	return nil, false
}

func unauthorizedV1(w http.ResponseWriter, r *http.Request, err error, pretty bool) {
	var forbidden *auth.Forbidden
	if errors.As(err, &forbidden) {
		v1Error(w, http.StatusForbidden, fmt.Sprintf("%q user is not authorized to write to database %q", forbidden.ID, r.URL.Query().Get("db")), pretty)
		return
	}
	text := "authorization failed"
	switch {
	case errors.Is(err, auth.ErrMissing), errors.Is(err, auth.ErrMalformed):
		text = "unable to parse authentication credentials"
	case errors.Is(err, auth.ErrNoUser):
		text = "username required"
	}
	header := w.Header()
	header.Set("WWW-Authenticate", `Basic realm="InfluxDB"`)
	body := encode(map[string]string{"error": text}, pretty)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusUnauthorized)
	w.Write(body)
}

func unauthorizedV2(w http.ResponseWriter, err error) {
	if errors.Is(err, auth.ErrForbidden) {
		v2Error(w, http.StatusForbidden, "forbidden", "insufficient permissions for write")
		return
	}
	v2Error(w, http.StatusUnauthorized, "unauthorized", "unauthorized access")
}

func unauthorizedV3(w http.ResponseWriter, err error) {
	status, text := http.StatusUnauthorized, "the request was not authenticated"
	switch {
	case errors.Is(err, auth.ErrForbidden):
		status, text = http.StatusForbidden, "requestor is forbidden from requested resource"
	case errors.Is(err, auth.ErrMalformed):
		status, text = http.StatusBadRequest, "Authorization header was malformed, the request was not in the form of "+
			"'Authorization: <auth-scheme> <token>', supported auth-schemes are Bearer, Token and Basic"
	}
	v3Text(w, status, `{"error": "`+text+`"}`)
}

// slowDown tells a client that may come again: InfluxDB 1.x's clients drop
// their lines on any 4xx.
func (h *Handler) slowDown(w http.ResponseWriter, version int, slow *auth.SlowDown) {
	if version == 1 {
		h.refuse(w, version, slow)
		return
	}
	h.counters.refused.Add(1)
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(slow.After.Seconds())))))
	if version == 2 {
		v2Error(w, http.StatusTooManyRequests, "too many requests", slow.Reason)
		return
	}
	v3Text(w, http.StatusTooManyRequests, slow.Reason)
}

// request takes the memory for one write of whoever has the grant.
func (h *Handler) request(grant *auth.Grant) *request {
	q := h.requests.Get().(*request)
	q.grant = grant
	return q
}

// scan checks the body that was read: its lines, and whose they are. Where the
// grant says so, lines of other nodes become the writer's own.
func (q *request) scan(p *writeParams) (line.Report, error) {
	nodes, owner := q.grant.Nodes(), q.grant.Owner()
	rep := q.scanner.ScanNodes(q.raw, p.precision, nodes)
	if rep.Foreign == 0 || owner == "" || rep.GivenUp {
		return rep, nil
	}
	// A tag can make a body of short lines many times as large.
	size := int64(len(q.raw)) + int64(rep.Foreign)*int64(len(",host=")+2*len(owner))
	if size > 3*q.handler.config.MaxBody {
		return rep, errTooLarge
	}
	if !q.charge(int(size)) {
		return rep, errBusy
	}
	q.emitted = line.AppendOwned(q.emitted[:0], q.raw, p.precision, nodes, owner)
	q.body = append(q.body[:0], q.emitted...)
	q.raw, q.rewritten = q.body, true
	strict := *nodes
	strict.Tolerate = false
	return q.scanner.ScanNodes(q.raw, p.precision, &strict), nil
}
