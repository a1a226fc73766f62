package ingest

import (
	"net/url"
	"strings"
	"sync"

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

// writeParams is what the query string of a write says.
type writeParams struct {
	database, policy string // v1
	bucket           string // v2
	precisionText    string
	precision        line.Precision
	precisionKnown   bool
	consistencyKnown bool
	pretty           bool
	databaseCanBe    bool
	nameFits         bool
	target           influx.Target // of lines kept in the precision they came in
}

// params remembers parsed query strings: a client repeats its own for ever.
type params struct {
	mu     sync.RWMutex
	v1, v2 map[string]*writeParams
}

func (p *params) of(version int, query string) *writeParams {
	p.mu.RLock()
	known := p.v1
	if version == 2 {
		known = p.v2
	}
	w, ok := known[query]
	p.mu.RUnlock()
	if ok {
		return w
	}
	if version == 2 {
		w = parseV2(query)
	} else {
		w = parseV1(query)
	}
	p.remember(version, query, w)
	return w
}

func (p *params) remember(version int, query string, w *writeParams) {
	if len(query) > maxQuery {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := &p.v1
	if version == 2 {
		known = &p.v2
	}
	if *known == nil || len(*known) >= maxParams {
		*known = map[string]*writeParams{}
	}
	(*known)[strings.Clone(query)] = w
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

func (w *writeParams) settle() {
	w.databaseCanBe = influxql.ValidName(w.database)
	w.nameFits = len(w.database)+len(w.policy) <= maxNames && (w.policy == "" || influxql.ValidName(w.policy))
	w.target = influx.Target{Database: w.database, RetentionPolicy: w.policy, Precision: w.precision.String()}
}
