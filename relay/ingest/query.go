package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/influxql"
)

// maxForm bounds the body of a query.
const maxForm = 1 << 20

// The JSON of query results, fields in InfluxDB's order.
type (
	results struct {
		Results []result `json:"results"`
	}
	result struct {
		ID       int       `json:"statement_id"`
		Series   []series  `json:"series,omitempty"`
		Messages []message `json:"messages,omitempty"`
		Error    string    `json:"error,omitempty"`
	}
	series struct {
		Name    string   `json:"name,omitempty"`
		Columns []string `json:"columns"`
		Values  [][]any  `json:"values,omitempty"`
	}
	message struct {
		Level string `json:"level"`
		Text  string `json:"text"`
	}
)

// query is /query, as far as writing needs it.
func (h *Handler) query(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if h.own(r) {
		v1Error(w, http.StatusLoopDetected, loop, false)
		return
	}
	grant, ok := h.admit(w, r, 1, auth.Any, r.URL.Query().Get("pretty") == "true")
	if !ok {
		return
	}
	text := r.FormValue("q")
	pretty := r.URL.Query().Get("pretty") == "true" // in the address, as InfluxDB
	if text == "" {
		v1Error(w, http.StatusBadRequest, `missing required parameter "q"`, pretty)
		return
	}
	statements, err := influxql.Parse(text)
	unknown := errors.Is(err, influxql.ErrUnknown)
	switch {
	case h.config.Queries != nil && (unknown || err == nil && !slices.ContainsFunc(statements, creates)):
		h.passOn(w, r, grant, text, pretty)
		return
	case unknown:
		v1Error(w, http.StatusBadRequest, "vitals-relay does not answer queries, ask InfluxDB itself, or set query_url below [relay]; "+
			"it knows CREATE DATABASE, CREATE RETENTION POLICY, SHOW DATABASES and SHOW RETENTION POLICIES ("+err.Error()+")", pretty)
		return
	}
	if err != nil {
		v1Error(w, http.StatusBadRequest, err.Error(), pretty)
		return
	}
	if i := slices.IndexFunc(statements, creates); i >= 0 && !grant.May(auth.Write) {
		h.counters.unauthorized.Add(1)
		v1Error(w, http.StatusForbidden, fmt.Sprintf("error authorizing query: %s not authorized to execute statement '%s', requires admin privilege", grant.ID(), statements[i].String()), pretty)
		return
	}
	answer := results{Results: []result{}}
	for i, s := range statements {
		res := h.execute(s)
		res.ID = i
		if r.Method == http.MethodGet && creates(s) && res.Error == "" {
			res.Messages = []message{{"warning", "deprecated use of '" + s.String() + "' in a read only context, please use a POST request instead"}}
		}
		answer.Results = append(answer.Results, res)
		if res.Error != "" { // like InfluxDB: the rest is not executed
			break
		}
	}
	body := encode(answer, pretty)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// creates reports whether a statement changes something.
func creates(s influxql.Statement) bool { return s.Kind <= influxql.CreatePolicy }

func (h *Handler) execute(s influxql.Statement) result {
	switch s.Kind {
	case influxql.ShowDatabases:
		list := series{Name: "databases", Columns: []string{"name"}}
		for _, name := range h.config.Databases.Names() {
			list.Values = append(list.Values, []any{name})
		}
		return result{Series: []series{list}}
	case influxql.ShowPolicies:
		return h.policies(s.Database)
	}
	if !influxql.ValidName(s.Database) || s.Policy.Name != "" && !influxql.ValidName(s.Policy.Name) {
		return result{Error: "invalid name"}
	}
	if err := h.config.Databases.Create(s); err != nil {
		return result{Error: err.Error()}
	}
	return result{}
}

func (h *Handler) policies(database string) result {
	if database == "" {
		return result{Error: "database name required"}
	}
	policies, ok := h.config.Databases.Policies(database)
	if !ok {
		return result{Error: "database not found: " + database}
	}
	list := series{Columns: []string{"name", "duration", "shardGroupDuration", "replicaN", "default"}}
	for _, p := range policies {
		list.Values = append(list.Values, []any{p.Name, p.Duration.String(), shardDuration(p).String(), max(p.Replication, 1), p.Default})
	}
	return result{Series: []series{list}}
}

// shardDuration is what InfluxDB chooses for a policy that names none.
func shardDuration(p influxql.Policy) time.Duration {
	const day = 24 * time.Hour
	switch {
	case p.ShardDuration > 0:
		return p.ShardDuration
	case p.Duration == 0 || p.Duration > 180*day:
		return 7 * day
	case p.Duration >= 2*day:
		return day
	}
	return time.Hour
}
