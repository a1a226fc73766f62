package ingest

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/relay/influxql"
)

// maxParams and maxQuery bound the cache of query strings.
const (
	maxParams = 1024
	maxQuery  = 512
	// maxNames bounds database and retention policy together: they are part
	// of the queue's key.
	maxNames = 900
)

// form is a way to write the query string of a write.
type form uint8

// The forms: InfluxDB 1's, 2's, 3's, and 2's as InfluxDB 1.8 reads it.
const (
	formV1 form = iota
	formV2
	formV3
	formV18
	forms
)

// writeParams is what the query string of a write says.
type writeParams struct {
	database, policy string // v1 and v3
	bucket           string // v2
	precisionText    string
	precision        line.Precision
	precisionKnown   bool
	consistencyKnown bool
	pretty           bool
	atomic           bool   // v3: keep nothing of a body with a bad line
	mistake          string // v3, v18: what is wrong with the parameters
	databaseCanBe    bool
	nameFits         bool
	// stampUnit is what the stamps of lines without one are truncated to.
	stampUnit time.Duration
	target    influx.Target // of lines kept in the precision they came in
}

// params remembers parsed query strings: a client repeats its own for ever.
type params struct {
	mu    sync.RWMutex
	known [forms]map[string]*writeParams
}

func (p *params) of(f form, query string) *writeParams {
	p.mu.RLock()
	w, ok := p.known[f][query]
	p.mu.RUnlock()
	if ok {
		return w
	}
	w = [forms]func(string) *writeParams{formV1: parseV1, formV2: parseV2, formV3: parseV3, formV18: parseV18}[f](query)
	if len(query) > maxQuery {
		return w
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known[f] == nil || len(p.known[f]) >= maxParams {
		p.known[f] = map[string]*writeParams{}
	}
	p.known[f][strings.Clone(query)] = w
	return w
}

func parseV1(query string) *writeParams {
	q, _ := url.ParseQuery(query) // like InfluxDB: what can be read counts
	w := &writeParams{
		database: q.Get("db"), policy: q.Get("rp"), precisionText: q.Get("precision"), pretty: q.Get("pretty") == "true",
	}
	w.precisionKnown = true
	switch w.precisionText {
	case "", "n", "ns":
	case "u":
		w.precision = line.Microsecond
	case "ms":
		w.precision = line.Millisecond
	case "s":
		w.precision = line.Second
	case "m":
		w.precision = line.Minute
	case "h":
		w.precision = line.Hour
	default:
		w.precisionKnown = false
	}
	switch strings.ToLower(q.Get("consistency")) {
	case "", "any", "one", "quorum", "all":
		w.consistencyKnown = true
	}
	w.settle()
	return w
}

func parseV2(query string) *writeParams {
	q, _ := url.ParseQuery(query)
	w := &writeParams{bucket: q.Get("bucket"), precisionText: q.Get("precision"), precisionKnown: true}
	switch w.precisionText {
	case "", "ns":
	case "us":
		w.precision = line.Microsecond
	case "ms":
		w.precision = line.Millisecond
	case "s":
		w.precision = line.Second
	default:
		w.precisionKnown = false
	}
	w.database, w.policy, _ = strings.Cut(w.bucket, "/")
	w.settle()
	return w
}

// parseV18 reads what InfluxDB 1.8 takes from clients of 2.x.
func parseV18(query string) *writeParams {
	w := parseV2(query)
	w.consistencyKnown = true
	switch {
	case w.bucket == "":
		w.mistake = `bucket name "" is missing a slash; not in "database/retention-policy" format`
	case w.database == "":
		w.mistake = fmt.Sprintf("bucket name %q is in db/rp form but has an empty database", w.bucket)
	}
	return w
}

// parseV3 reads the parameters of /api/v3/write_lp.
func parseV3(query string) *writeParams {
	q, _ := url.ParseQuery(query)
	w := &writeParams{database: q.Get("db"), precision: line.Auto, atomic: q.Get("accept_partial") == "false"}
	switch text := q.Get("precision"); text {
	case "", "auto":
	case "s", "second":
		w.precision = line.Second
	case "ms", "millisecond":
		w.precision = line.Millisecond
	case "us", "u", "microsecond":
		w.precision = line.Microsecond
	case "ns", "n", "nanosecond":
		w.precision = line.Nanosecond
	default:
		w.mistake = "serde error: unknown variant `" + text + "`, expected one of `auto`, `second`, `millisecond`, `microsecond`, `nanosecond`"
	}
	for _, name := range []string{"accept_partial", "no_sync"} {
		if v := q.Get(name); q.Has(name) && v != "true" && v != "false" {
			w.mistake = "serde error: provided string was not `true` or `false`"
		}
	}
	switch {
	case query == "":
		w.mistake = "missing query parameter 'db'"
	case !q.Has("db"):
		w.mistake = "serde error: missing field `db`"
	}
	w.settle()
	w.stampUnit = time.Nanosecond // unlike the others, InfluxDB 3 does not truncate
	return w
}

func (w *writeParams) settle() {
	w.databaseCanBe = influxql.ValidName(w.database)
	w.nameFits = len(w.database)+len(w.policy) <= maxNames && (w.policy == "" || influxql.ValidName(w.policy))
	w.stampUnit = w.precision.Duration()
	w.target = influx.Target{Database: w.database, RetentionPolicy: w.policy, Precision: w.precision.String()}
}
