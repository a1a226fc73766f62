package fleet

import (
	"cmp"
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// maxCollectors bounds the collectors of a node, maxCollectorText each of
// their names and states.
const (
	maxCollectors    = 64
	maxCollectorText = 64
)

// Collector is one of a node's collectors, as its agent tells of it.
type Collector struct {
	ID string `json:"id"`
	// State is "ok" or what else the agent says: "failing", "failed", ….
	State string `json:"state"`
}

// collector is what was last heard of one.
type collector struct {
	state  string
	errors float64 // as Telegraf counts them
	gather bool    // it is Telegraf's figure, not our agent's
	at     time.Time
}

// applyCollector reads what our agent says of an input.
func (r *record) applyCollector(l line.Line, at time.Time, old bool) {
	id, ok := l.Tag("_id")
	if !ok {
		id, ok = l.Tag("input")
	}
	for key, raw := range l.EachField() {
		if state, isText := line.String(raw); ok && isText && key == "state" {
			r.setCollector(id, collector{state: clip(state, maxCollectorText), at: at}, old)
		}
	}
}

// applyGather reads what any Telegraf says of an input: it fails if its count
// of errors rises.
func (r *record) applyGather(l line.Line, at time.Time, old bool) {
	id, ok := l.Tag("input")
	if alias, has := l.Tag("alias"); has {
		id += "::" + alias
	}
	was, known := r.collectors[id]
	if !ok || known && !was.gather {
		return
	}
	for key, raw := range l.EachField() {
		if v, isNumber := line.Float(raw); isNumber && key == "errors" {
			c := collector{state: "ok", errors: v, gather: true, at: at}
			if known && v > was.errors {
				c.state = "failing"
			}
			r.setCollector(id, c, old)
		}
	}
}

func (r *record) setCollector(id string, c collector, old bool) {
	_, known := r.collectors[id]
	if known && old || !known && len(r.collectors) >= maxCollectors || len(id) > maxCollectorText {
		return
	}
	if r.collectors == nil {
		r.collectors = map[string]collector{}
	}
	r.collectors[id] = c
}

// collectorList is what the agent still tells of, by ID. What our agent says
// of its inputs goes before Telegraf's figures for the same.
func (r *record) collectorList(interval time.Duration) (list []Collector) {
	var newest time.Time
	ours := false
	for _, c := range r.collectors {
		if c.at.After(newest) {
			newest = c.at
		}
		ours = ours || !c.gather
	}
	for id, c := range r.collectors {
		if newest.Sub(c.at) <= 3*interval && r.fresh(c.at) && ours != c.gather {
			list = append(list, Collector{ID: id, State: c.state})
		}
	}
	slices.SortFunc(list, func(a, b Collector) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
