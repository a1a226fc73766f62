package output

import (
	"context"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/line"
)

// route says which way a line goes.
type route struct {
	fallback                 influx.Target
	database, policy, bucket config.Route
	parts                    int // of what has one target, sent side by side
}

func newRoute(c config.Output) route {
	r := route{fallback: influx.Target{Database: c.Database, RetentionPolicy: c.RetentionPolicy}, parts: 1}
	r.database, r.policy, r.bucket = c.DatabaseTag, c.PolicyTag, c.BucketTag
	if c.Name == "influxdb_v2" {
		r.fallback = influx.Target{Database: c.Bucket}
		r.parts = max(1, c.ConcurrentWrites)
	}
	return r
}

// straight reports whether all lines go the same way.
func (r *route) straight() bool {
	return r.database.Tag == "" && r.policy.Tag == "" && r.bucket.Tag == "" && r.parts == 1
}

// of returns the target of a line, and the line without the tags that are not
// to be written.
func (r *route) of(l line.Line) (influx.Target, line.Line) {
	t := r.fallback
	by := func(way config.Route, to *string) {
		if value, ok := l.Tag(way.Tag); way.Tag != "" && ok {
			*to = value
		}
	}
	by(r.database, &t.Database)
	by(r.policy, &t.RetentionPolicy)
	by(r.bucket, &t.Database)
	for _, way := range []config.Route{r.database, r.policy, r.bucket} {
		if way.Exclude && way.Tag != "" {
			l = l.Without(way.Tag)
		}
	}
	return t, l
}

// lane is a way that lines go in their order.
type lane struct {
	influx.Target
	part int
}

// split is a batch that goes several ways:
//
//	           ┌─ lane ─► database a
//	batch ─────┼─ lane ─► database b   those that arrived are not sent again
//	           └─ lane ─► database b, part 2
type split struct {
	id    uint32 // of the batch's body
	lanes []*share
}

// share is what goes one way.
type share struct {
	lane
	text []byte
	batch
	done bool
}

// maxLanes bounds what is remembered of lanes that no batch uses any more.
const maxLanes = 256

// deliverSplit makes one attempt at what goes several ways. All of one series
// goes the same way, so that its points keep their order.
func (s *server) deliverSplit(ctx context.Context, b batch, state *influx.Backoff) error {
	id := crc32.ChecksumIEEE(b.body)
	if s.split == nil || s.split.id != id {
		if len(s.senders) > maxLanes {
			s.senders = map[lane]*influx.Sender{}
		}
		text, err := influx.Gunzip(b.body)
		if err != nil { // the sender knows what to do with it
			return s.sender(lane{Target: s.route.fallback}).Deliver(ctx, s.route.fallback, influx.Batch{Body: b.body, Lines: b.lines})
		}
		s.split = &split{id: id, lanes: s.route.split(text)}
	}
	var first error
	todo := slices.DeleteFunc(slices.Clone(s.split.lanes), func(sh *share) bool { return sh.done })
	for at := 0; at < len(todo) && !hopeless(first); {
		together := 1
		for together < s.route.parts && at+together < len(todo) {
			together++
		}
		if err := s.deliverShares(ctx, todo[at:at+together], state); first == nil {
			first = err
		}
		at += together
	}
	if first == nil {
		s.split = nil
	}
	return first
}

// hopeless reports whether there is no use in trying another lane: the server is
// away, or wants time. Where it may be the lines that it fails at, there is.
func hopeless(err error) bool {
	var e *influx.WriteError
	return errors.As(err, &e) && (e.Class == influx.Retry || e.Class == influx.Wait) && !errors.Is(err, influx.ErrUnproven)
}

// prove shows the server a batch that is delivered later, to compare with what it
// fails at now. Of what goes several ways that is what goes the same way.
func (s *server) prove(ctx context.Context, body []byte) {
	if s.route.straight() {
		l := lane{Target: s.route.fallback}
		s.sender(l).Prove(ctx, l.Target, body)
		return
	}
	text, err := influx.Gunzip(body)
	if err != nil || s.split == nil {
		return
	}
	for _, sh := range s.route.split(text) {
		if slices.ContainsFunc(s.split.lanes, func(o *share) bool { return o.lane == sh.lane && !o.done }) {
			s.sender(sh.lane).Prove(ctx, sh.Target, sh.body)
		}
	}
}

// deliverShares sends several at the same time and returns the first error.
func (s *server) deliverShares(ctx context.Context, shares []*share, state *influx.Backoff) error {
	errs := make([]error, len(shares))
	var wg sync.WaitGroup
	for i, sh := range shares {
		sender := s.sender(sh.lane)
		wg.Go(func() {
			errs[i] = sender.Deliver(ctx, sh.Target, influx.Batch{Body: sh.body, Lines: sh.lines, Suspect: state.Suspect(), TooSlow: state.TooSlow()})
			sh.done = errs[i] == nil
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// split parts the lines of a batch.
func (r *route) split(text []byte) []*share {
	var all []*share
	known := map[lane]*share{}
	for len(text) > 0 {
		l, rest, err := line.Cut(text)
		to := lane{Target: r.fallback}
		raw := text[:len(text)-len(rest)]
		if err == nil {
			to.Target, l = r.of(l)
			to.part = r.part(l)
			raw = (&line.Edit{}).Append(nil, l)
		}
		text = rest
		sh := known[to]
		if sh == nil {
			sh = &share{lane: to}
			known[to], all = sh, append(all, sh)
		}
		sh.text = append(sh.text, raw...)
		sh.lines++
	}
	for _, sh := range all {
		sh.body, sh.text = influx.Gzip(nil, sh.text), nil
	}
	slices.SortStableFunc(all, func(a, b *share) int { return strings.Compare(a.Database, b.Database) })
	return all
}

// part is which of the parts a line's series belongs to.
func (r *route) part(l line.Line) int {
	if r.parts == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write(l.Measurement)
	h.Write([]byte{','})
	h.Write(l.Tags)
	return int(h.Sum32() % uint32(r.parts))
}
