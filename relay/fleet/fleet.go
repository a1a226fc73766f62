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
	"path/filepath"
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
	// History is how long the chief vitals are remembered, default 6 h, and
	// HistoryBytes how much memory that may take for all nodes, default 64 MB.
	History      time.Duration
	HistoryBytes int64
	// Directory is where the view keeps what must outlive the program: the
	// snapshot, and which nodes were forgotten and retired by hand. Empty:
	// nothing does.
	Directory string
	// Version is the relay's own: a vitals-agent of an older one is outdated.
	Version string
	Now     func() time.Time // default time.Now
	Logger  *slog.Logger
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
	shelf   shelf
	events  events

	forgotten, retired marks
	restored           time.Time // of the last snapshot; what came before is known
	heard              listening
	judged             time.Time // when the nodes were last looked at
}

// Write is a write that was accepted, as the door saw it.
type Write struct {
	Body     []byte // sound lines
	Lines    int    // how many the write had, if Body is only its head
	Received time.Time
	Unit     time.Duration // of the timestamps; 0: nanoseconds
	Address  string        // of the client, without port; empty if it is not known
	Client   string        // as it calls itself (User-Agent)
	Token    string        // the ID of the token it used; empty: none
}

// New makes a view of what an earlier one has saved. Run keeps it current.
func New(config Config) *View {
	if config.MaxNodes == 0 {
		config.MaxNodes = 10_000
	}
	if config.ForgetAfter == 0 {
		config.ForgetAfter = 7 * 24 * time.Hour
	}
	if config.History == 0 {
		config.History = 6 * time.Hour
	}
	if config.HistoryBytes == 0 {
		config.HistoryBytes = 64e6
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	v := &View{
		config: config, limits: limits{config.LateAfter, config.DownAfter}, started: config.Now(),
		offered: make(chan *Write, waiting), free: make(chan *Write, waiting),
		records: map[string]*record{}, shelf: shelf{keep: config.History, max: int(config.HistoryBytes / blockBytes)},
		events: events{more: make(chan struct{})},
	}
	for range waiting {
		v.free <- new(Write)
	}
	v.restore()
	return v
}

// restore reads what an earlier view has saved. What cannot be read is left
// out: nodes come back with their next lines.
func (v *View) restore() {
	if dir := v.config.Directory; dir != "" {
		v.forgotten.path, v.retired.path = filepath.Join(dir, "forgotten.json"), filepath.Join(dir, "retired.json")
	}
	if err := errors.Join(v.forgotten.load(), v.retired.load()); err != nil {
		v.config.Logger.Warn("nodes that were forgotten or retired may come back", "error", err)
	}
	for _, m := range []*marks{&v.forgotten, &v.retired} {
		for name, at := range m.names {
			m.names[name] = v.before(at)
		}
	}
	if err := v.load(); err != nil {
		v.config.Logger.Warn("the history of the nodes begins anew", "error", err)
	}
	v.heard = listening{since: v.started, before: v.restored}
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
// kept, whose bodies are gzip, as far as that is not in the snapshot.
func (v *View) Run(ctx context.Context, kept Kept) {
	if kept != nil {
		v.rebuild(ctx, kept)
	}
	v.judge(true)
	second, save := time.NewTicker(time.Second), time.NewTicker(saveEvery)
	defer second.Stop()
	defer save.Stop()
	defer v.save()
	for looked := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case s := <-v.offered:
			v.take(s)
		case <-second.C:
			if time.Since(looked) > standstill {
				v.resume()
			}
			v.judge(false)
			looked = time.Now()
		case <-save.C:
			v.save()
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
	var at visit
	seen := 0
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
		name, ok := nodeOf(l)
		if !ok || byRelay(l.Measurement) {
			continue
		}
		if string(name) != at.name {
			v.leave(&at, &w)
			at = v.enter(string(name), &w)
		}
		if at.rec == nil {
			continue
		}
		at.lines++
		at.touched.note(l.Measurement)
		at.rec.clock.read(l, w.Unit)
		at.rec.apply(l, w.Received, at.old)
	}
	at.lines += max(0, w.Lines-seen)
	v.leave(&at, &w)
}

// visit is what a write says of one node: most speak of one only.
type visit struct {
	name    string
	rec     *record // nil: nothing is noted of it
	old     bool    // newer lines have been applied
	lines   int
	touched touched
}

func (v *View) enter(name string, w *Write) visit {
	at := visit{name: name}
	if v.forgotten.covers(name, w.Received) {
		return at
	}
	if at.rec = v.record(name, w.Received); at.rec == nil {
		v.refused.Add(1)
		return at
	}
	at.old = w.Received.Before(at.rec.seen)
	return at
}

func (v *View) leave(at *visit, w *Write) {
	if at.rec == nil {
		return
	}
	at.rec.arrive(w, at.lines, v.limits)
	at.rec.clock.arrive(w.Received)
	if v.retired.covers(at.name, w.Received) {
		at.rec.retired = true
	}
	at.rec.remember(w.Received, at.touched, &v.shelf)
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
			v.remove(name)
		}
	}
}

func (v *View) remove(raw string) {
	v.records[raw].forget(&v.shelf)
	delete(v.records, raw)
}

// Nodes returns every node, by name.
func (v *View) Nodes() []Node {
	v.mu.Lock()
	through := v.lens()
	v.forgetSilent(through.now)
	nodes := make([]Node, 0, len(v.records))
	for name, r := range v.records {
		nodes = append(nodes, r.node(unescape(name), through))
	}
	v.mu.Unlock()
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes
}

// Node returns one node.
func (v *View) Node(name string) (Node, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.named(name)
	if r == nil {
		return Node{}, ErrNoNode
	}
	return r.node(name, v.lens()), nil
}

// named finds the record of a node: by its name as it stands in lines, which
// mostly is the name itself.
func (v *View) named(name string) *record {
	if r := v.records[name]; r != nil && unescape(name) == name {
		return r
	}
	for _, raw := range v.rawNames(name) {
		return v.records[raw]
	}
	return nil
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
