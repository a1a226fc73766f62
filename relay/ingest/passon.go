package ingest

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/influxql"
	"github.com/rpicluster/vitals/relay/query"
)

// passOn lets a server answer what is only asked, and what does more if that is
// allowed.
func (h *Handler) passOn(w http.ResponseWriter, r *http.Request, grant *auth.Grant, text string, pretty bool) {
	role := auth.Read
	reads, what := influxql.Reads(text)
	switch {
	case !reads && !h.config.AllowWrites:
		v1Error(w, http.StatusForbidden, fmt.Sprintf("vitals-relay passes on what only reads, and %s does more: ask InfluxDB itself, or set allow_writes below [relay.query]; "+
			"CREATE DATABASE and CREATE RETENTION POLICY it takes by themselves", what), pretty)
		return
	case !reads:
		role = auth.Admin
	}
	if !grant.May(role) {
		h.counters.unauthorized.Add(1)
		v1Error(w, http.StatusForbidden, fmt.Sprintf("error authorizing query: %s not authorized to execute this query, requires the role %s", grant.ID(), role), pretty)
		return
	}
	switch err := h.config.Queries.Pass(w, r); {
	case err == nil:
	case errors.Is(err, query.ErrBusy):
		w.Header().Set("Retry-After", retryAfter())
		v1Error(w, http.StatusServiceUnavailable, err.Error(), pretty)
	default:
		h.config.Logger.Debug("a query has no answer", "error", err)
		v1Error(w, http.StatusBadGateway, publicReason(err), pretty)
	}
}

// publicReason leaves out what only the log should say, such as addresses.
func publicReason(err error) string {
	for _, known := range []error{query.ErrRefused, query.ErrRedirect} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return query.ErrUnreachable.Error()
}
