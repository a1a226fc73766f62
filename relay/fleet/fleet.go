// Package fleet knows the nodes whose lines pass through the relay: who is up,
// and what their vitals were when they last wrote. It is a projection, rebuilt
// from the lines themselves, and never in their way: what it has no time for
// it does not look at.
package fleet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

const (
	// waiting is how many samples may wait to be looked at, each of at most
	// maxSample bytes.
	waiting   = 32
	maxSample = 128 << 10
	// headSample is how much of a body is looked at when there is little time.
	headSample = 2 << 10
	maxName    = 255
)

// Config says how nodes are judged and how many there may be.
type Config struct {
	// LateAfter and DownAfter are ages of a node's last lines; zero means to
	// go by the node's own rhythm.
	LateAfter, DownAfter time.Duration
	// ForgetAfter is how long a node may be silent before it is forgotten;
	// default a week.
	ForgetAfter time.Duration
	MaxNodes    int // default 10,000
	// Forgotten is the file that remembers nodes forgotten by hand; empty:
	// they are remembered until the program ends.
	Forgotten string
	Now       func() time.Time // default time.Now
	Logger    *slog.Logger
}

// View is the fleet as it was last seen.
//
//	ingest ─Offer─► offered (bounded) ─Run─► records ─Nodes─► page, API
//	          ▲                         │
//	          └──── free samples ◄──────┘
type View struct {
	config  Config
	limits  limits
	started time.Time
	offered chan *Write
	free    chan *Write
	budget  budget
	dropped atomic.Int64 // writes not looked at
	refused atomic.Int64 // lines of nodes beyond MaxNodes

	mu      sync.Mutex
	records map[string]*record
	evicted time.Time // when room for new nodes was last looked for

	forgotten forgotten
}

// Write is a write that was accepted, as the door saw it.
type Write struct {
	Body     []byte // sound lines
	Lines    int    // how many the write had, if Body is only its head
	Received time.Time
	Address  string // of the client, without port; empty if it is not known
	Client   string // as it calls itself (User-Agent)
	Token    string // the ID of the token it used; empty: none
}

// New makes an empty view. Run keeps it current.
func New(config Config) *View {
	if config.MaxNodes == 0 {
		config.MaxNodes = 10_000
	}
	if config.ForgetAfter == 0 {
		config.ForgetAfter = 7 * 24 * time.Hour
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	v := &View{
		config: config, limits: limits{config.LateAfter, config.DownAfter}, started: config.Now(),
		offered: make(chan *Write, waiting), free: make(chan *Write, waiting),
		records: map[string]*record{}, forgotten: forgotten{path: config.Forgotten},
	}
	if err := v.forgotten.load(); err != nil && config.Logger != nil {
		config.Logger.Warn("nodes that were forgotten may come back", "error", err)
	}
	for range waiting {
		v.free <- new(Write)
	}
	return v
}

// Offer shows a write to the view. It copies what it needs and never waits;
// under load it takes only the first lines, or none.
func (v *View) Offer(w Write) {
	take := v.budget.take(len(w.Body), w.Received)
	if take == 0 {
		v.dropped.Add(1)
		return
	}
	select {
	case s := <-v.free:
		body := append(s.Body[:0], head(w.Body, take)...)
		*s = w
		s.Body = body
		v.offered <- s
	default:
		v.dropped.Add(1)
	}
}

// head is body up to the last line end within n bytes.
func head(body []byte, n int) []byte {
	if len(body) <= n {
		return body
	}
	i := n
	for i > 0 && body[i-1] != '\n' {
		i--
	}
	return body[:i]
}

// Run applies what is offered until ctx ends. First it looks through what is
// kept: kept calls its function with each write, oldest first.
func (v *View) Run(ctx context.Context, kept func(ctx context.Context, fn func(gzipBody []byte, lines int, received time.Time) error) error) {
	if kept != nil {
		v.rebuild(ctx, kept)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-v.offered:
			v.take(s)
		}
	}
}

// take applies a sample and frees it.
func (v *View) take(s *Write) {
	v.apply(*s)
	if cap(s.Body) > maxSample/2 {
		s.Body = nil // a rare big one need not stay
	}
	v.free <- s
}

// apply notes the lines of one write.
func (v *View) apply(w Write) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var name string
	var rec *record
	var old bool
	pending, seen := 0, 0
	for body := w.Body; ; {
		l, rest, err := line.Cut(body)
		if err == io.EOF {
			break
		}
		body = rest
		if err != nil {
			continue
		}
		seen++
		if n, ok := nodeOf(l); !ok {
			continue
		} else if rec == nil || string(n) != name {
			if rec != nil {
				rec.arrive(w, pending, v.limits)
			}
			name, pending, rec = string(n), 0, nil
			if v.forgotten.has(name, w.Received) {
				continue
			}
			if rec = v.record(name, w.Received); rec == nil {
				v.refused.Add(1)
				continue
			}
			old = w.Received.Before(rec.seen)
		}
		pending++
		rec.apply(l, w.Received, old)
	}
	if rec != nil {
		rec.arrive(w, pending+max(0, w.Lines-seen), v.limits)
	}
}

// nodeOf is the raw name of the node that a line speaks of.
func nodeOf(l line.Line) ([]byte, bool) {
	name, ok := l.RawTag("host")
	if !ok {
		name, ok = l.RawTag("node")
	}
	return name, ok && len(name) > 0 && len(name) <= maxName
}

// record finds or makes the record under a raw name; nil if there is no room.
func (v *View) record(name string, now time.Time) *record {
	rec := v.records[name]
	if rec == nil && (len(v.records) < v.config.MaxNodes || v.evict(now)) {
		rec = new(record)
		v.records[strings.Clone(name)] = rec
	}
	return rec
}

// evict makes room by forgetting nodes that were silent for too long. It looks
// at most once a minute: names can be invented faster than they can be looked
// through.
func (v *View) evict(now time.Time) bool {
	if now.Sub(v.evicted) < time.Minute {
		return false
	}
	v.evicted = now
	before := len(v.records)
	v.forgetSilent(now)
	return len(v.records) < before
}

func (v *View) forgetSilent(now time.Time) {
	for name, r := range v.records {
		if now.Sub(r.seen) > v.config.ForgetAfter {
			delete(v.records, name)
		}
	}
}

// Nodes returns every node, by name.
func (v *View) Nodes() []Node {
	now := v.config.Now()
	v.mu.Lock()
	v.forgetSilent(now)
	nodes := make([]Node, 0, len(v.records))
	for name, r := range v.records {
		nodes = append(nodes, r.node(unescape(name), now, v.started, v.limits))
	}
	v.mu.Unlock()
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// unescape reads a raw tag value.
func unescape(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 {
		return raw
	}
	return strings.NewReplacer(`\,`, `,`, `\=`, `=`, `\ `, ` `).Replace(raw)
}

// Stats are the view's own figures.
type Stats struct {
	// DroppedWrites were not looked at for want of time; RefusedLines are of
	// nodes beyond the bound.
	DroppedWrites int64 `json:"dropped_writes"`
	RefusedLines  int64 `json:"refused_lines"`
}

// Stats returns the view's own figures.
func (v *View) Stats() Stats {
	return Stats{DroppedWrites: v.dropped.Load(), RefusedLines: v.refused.Load()}
}

// rebuild looks through what is kept, newest nodes' lines first in line all
// the while: they are applied between two kept writes.
func (v *View) rebuild(ctx context.Context, kept func(context.Context, func([]byte, int, time.Time) error) error) {
	var r reader
	err := kept(ctx, func(body []byte, lines int, received time.Time) error {
		for waiting := true; waiting; {
			select {
			case s := <-v.offered:
				v.take(s)
			default:
				waiting = false
			}
		}
		limit := maxSample
		if v.started.Sub(received) > time.Hour {
			limit = headSample // long ago: who it was is enough
		}
		raw, err := r.inflate(body, limit)
		if err == nil {
			v.apply(Write{Body: raw, Lines: lines, Received: received})
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, context.Canceled) && v.config.Logger != nil {
		v.config.Logger.Warn("the nodes could not all be read back from what is kept; they return with their next lines", "error", err)
	}
}
