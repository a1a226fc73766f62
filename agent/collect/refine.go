package collect

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/line"
)

// Sink takes lines that are ready to be sent: sound, stamped in nanoseconds,
// each ended by a newline. It returns when they are as safe as the outputs
// have promised. It must not keep the slice.
type Sink func(ctx context.Context, lines []byte, n int)

// refiner makes what a plugin has answered fit to be sent: it drops the lines
// that are not sound, for plugins are not trusted, and splices names, tags and
// the tick into the others.
type refiner struct {
	input config.Input
	sink  Sink
	log   *slog.Logger

	mu      sync.Mutex // one reply at a time: the buffers are reused
	global  map[string]string
	omit    bool // of these the host tag
	scanner line.Scanner
	edit    line.Edit
	text    line.Text
	sound   []byte
	edited  []byte
	bounds  *bounds
	warned  map[string]bool // reasons that were told of
	reason  string          // why the last line was dropped that was

	filtered atomic.Int64 // lines that the input's filters have kept back
}

func newRefiner(in config.Input, global map[string]string, sink Sink, log *slog.Logger) *refiner {
	r := &refiner{input: in, global: global, sink: sink, log: log, bounds: newBounds(in), warned: map[string]bool{}}
	r.scanner.MaxBad = maxBad
	r.edit = line.Edit{
		Name: in.NameOverride, Prefix: in.Prefix, Suffix: in.Suffix,
		KeepTag: in.Filter.KeepTag(), KeepField: in.Filter.KeepField(),
	}
	r.omitHost(false)
	return r
}

// omitHost says whether the lines name their machine themselves.
func (r *refiner) omitHost(omit bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.omit = omit
	r.retag()
}

// setGlobal says what the global tags are from now on.
func (r *refiner) setGlobal(tags map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !maps.Equal(r.global, tags) {
		r.global = tags
		r.retag()
	}
}

// retag puts together what is spliced into every line; mu is held. The filters
// are asked about these tags here, once: they see a tag of the line itself only.
func (r *refiner) retag() {
	global := maps.Clone(r.global)
	if r.omit {
		delete(global, "host")
	}
	keep := r.edit.KeepTag
	tags := map[string]string{}
	add := func(from map[string]string, always bool) {
		for k, v := range from {
			if _, there := tags[k]; !there && (always || keep == nil || keep(k)) {
				tags[k] = v
			}
		}
	}
	add(r.input.Tags, r.input.AlwaysLocalTags)
	add(global, r.input.AlwaysGlobalTags)
	var sorted []line.Tag
	for k, v := range tags {
		if k != "" && v != "" {
			sorted = append(sorted, line.Tag{Key: k, Value: v})
		}
	}
	slices.SortFunc(sorted, func(a, b line.Tag) int { return cmp.Compare(a.Key, b.Key) })
	r.edit.Tags = sorted
}

// pass hands the lines of body on and returns how many there were, and how
// many were dropped.
func (r *refiner) pass(ctx context.Context, body []byte, tickUnixNano int64) (n, bad int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var dropped drops
	report := r.scanner.Scan(body, line.Nanosecond)
	for _, b := range report.Bad {
		dropped.add(b.Reason, body[b.Start:b.End])
	}
	if report.GivenUp {
		body = dropped.rest(body, report)
	}
	if len(report.Bad) > 0 {
		r.sound = line.AppendSound(r.sound[:0], body, report, line.Nanosecond, tickUnixNano)
		body = r.sound
	}
	r.edit.TickUnixNano = tickUnixNano
	r.edited = r.edited[:0]
	for number := 1; report.Lines > 0; number++ {
		l, rest, err := line.Cut(body)
		if err == io.EOF {
			break
		}
		if r.input.TimeSource != "" && r.input.TimeSource != "metric" {
			l.Timestamp = nil
		}
		switch {
		case err != nil:
		case !r.input.Filter.Selects(l, &r.text):
			r.filtered.Add(1)
		default:
			if reason := r.bounds.refuse(number, l, tickUnixNano); reason != "" {
				dropped.add(reason, body[:len(body)-len(rest)])
			} else if r.splice(l) {
				n++
			}
		}
		body = rest
	}
	r.warn(dropped)
	if n > 0 {
		r.sink(ctx, r.edited, n)
	}
	if cap(r.edited) > maxKept {
		r.edited, r.sound = nil, nil
	}
	return n, dropped.count()
}

// dropped is the error of a reading of which nothing is left.
func (r *refiner) dropped(lines int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Errorf("all %d lines of it were dropped: %s", lines, r.reason)
}

// splice appends what a line becomes, unless the filters leave no field of it.
func (r *refiner) splice(l line.Line) bool {
	before := len(r.edited)
	r.edited = r.edit.Append(r.edited, l)
	if len(r.edited) == before {
		r.filtered.Add(1)
		return false
	}
	return true
}

// maxKept bounds the buffers that are kept from one reply to the next.
const maxKept = 256 << 10

// maxQuoted bounds how much of a bad line is logged, and maxReasons for how
// many reasons: some hold a number.
const maxQuoted, maxReasons = 200, 20

// warn tells of dropped lines once for each reason: a plugin that writes them
// writes them at every tick.
func (r *refiner) warn(dropped drops) {
	for _, d := range dropped {
		r.reason = d.reason
		if r.warned[d.reason] || len(r.warned) >= maxReasons {
			continue
		}
		r.warned[d.reason] = true
		text := d.first[:min(len(d.first), maxQuoted)]
		r.log.Warn("bad lines were dropped", "lines", d.lines, "reason", d.reason, "first", string(bytes.TrimSpace(text)))
	}
}
