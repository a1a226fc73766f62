package conformance

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// gatherTime is how long a gather may take that asks for no more.
	gatherTime = config.DefaultGatherTimeout
	// primeTime is what collectors of differences need between their first
	// reading and the next.
	primeTime = 300 * time.Millisecond
)

func gatherItems() []item {
	return []item{
		{name: "gather", check: gather,
			contract: "Gather answers within gather_timeout, which is 5 s unless the node file or the collector's own options speak of more; what went wrong is told in the reply's error"},
		{name: "stream", check: stream,
			contract: "a collector of KIND_STREAM serves Stream until the host ends the call, more than once, and then goes on; its replies are like those of Gather"},
		{name: "lines", check: lines,
			contract: "a reply holds lines of line protocol, their timestamps in nanoseconds or absent; what is no line is dropped"},
		{name: "measurements", check: measurements,
			contract: "Describe names every measurement that Gather may emit; \"*\" stands for any"},
		{name: "one value for a point", check: duplicates,
			contract: "a field of a series has one value at one time: of two, the database keeps the later"},
	}
}

// asked are the collectors that are asked for readings, with options to do so.
func (c *check) asked() []*subject {
	return slices.DeleteFunc(slices.Clone(c.subjects), func(s *subject) bool { return len(s.tables) == 0 || s.streams() })
}

// gather takes two readings of each collector, as it may need one to compare
// the other with.
func gather(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.asked() {
		id := c.id()
		wishes, err := c.configure(ctx, id, s, s.tables[0])
		if err != nil {
			v.fail("%s: %v", s.name(), err)
			continue
		}
		for range 2 {
			sleep(ctx, c.primeTime)
			r, err := c.gatherFor(ctx, id, wishes)
			if err != nil {
				v.fail("%s: %v", s.name(), err)
				break
			}
			s.replies = append(s.replies, r)
		}
		c.release(ctx, id)
		if n := len(s.replies); n > 0 && s.replies[n-1].Error != "" {
			v.warn("%s: it says: %s", s.name(), shortened(s.replies[n-1].Error))
		}
	}
}

// gatherFor takes one reading, as long as the instance may take.
func (c *check) gatherFor(ctx context.Context, id string, wishes *proto.ConfigureReply) (*proto.GatherReply, error) {
	limit := max(c.gatherTimeout, time.Duration(wishes.GetGatherTimeoutNs()))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := c.process.Gather(ctx, &proto.GatherRequest{InstanceId: id, TickUnixNano: time.Now().UnixNano()})
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("Gather: no answer within %v", limit)
	} else if err != nil {
		return nil, fmt.Errorf("Gather: %w", plain(err))
	}
	return r, nil
}

// earliest is the smallest timestamp that is taken for nanoseconds. In any
// other unit the present is far below it.
const earliest = int64(100_000 * time.Hour)

func lines(_ context.Context, c *check, v *verdict) {
	n := 0
	for _, s := range c.subjects {
		here := 0
		for _, r := range s.replies {
			here += s.sound(r.Lines, v)
		}
		if here == 0 && len(s.replies) > 0 && !s.streams() {
			v.warn("%s: not one line came, so there was none to check", s.name())
		}
		n += here
	}
	v.note = fmt.Sprintf("%d lines", n)
}

// sound counts the lines of a reply and tells of those that are none.
func (s *subject) sound(body []byte, v *verdict) int {
	var scanner line.Scanner
	report := scanner.Scan(body, line.Nanosecond)
	for i, bad := range report.Bad {
		if i == 3 {
			v.fail("%s: and %d more", s.name(), len(report.Bad)-i)
			break
		}
		v.fail("%s: %q: %s", s.name(), shortened(string(body[bad.Start:bad.End])), bad.Reason)
	}
	for l := range each(body) {
		if at, err := strconv.ParseInt(string(l.Timestamp), 10, 64); err == nil && at > -earliest && at < earliest {
			v.fail("%s: the timestamp %d of %s is %s, if it is in nanoseconds", s.name(), at, l.Measurement,
				time.Unix(0, at).UTC().Format(time.DateTime))
			break
		}
	}
	return report.Lines
}

// each are the lines of a reply.
func each(body []byte) iter.Seq[line.Line] {
	return func(yield func(line.Line) bool) {
		for len(body) > 0 {
			l, rest, err := line.Cut(body)
			if err == io.EOF || err == nil && !yield(l) {
				return
			}
			body = rest
		}
	}
}

func measurements(_ context.Context, c *check, v *verdict) {
	for _, s := range c.subjects {
		declared := s.described.Measurements
		if len(declared) == 0 || slices.Contains(declared, "*") {
			continue
		}
		var others []string
		for _, r := range s.replies {
			for l := range each(r.Lines) {
				if name := l.Name(); !slices.Contains(declared, name) && !slices.Contains(others, name) {
					others = append(others, name)
				}
			}
		}
		if len(others) > 0 {
			v.fail("%s: it emits %s, and names only %s", s.name(), strings.Join(others, ", "), strings.Join(declared, ", "))
		}
	}
}

func duplicates(_ context.Context, c *check, v *verdict) {
	for _, s := range c.subjects {
		for _, r := range s.replies {
			if twice := repeated(r.Lines); twice != "" {
				v.warn("%s: %s comes twice in one reply", s.name(), twice)
				break
			}
		}
	}
}

// repeated is a field that a reply has twice for the same series and time.
func repeated(body []byte) string {
	seen := map[string]bool{}
	for l := range each(body) {
		for key := range l.EachField() {
			what := series(l) + " " + key
			point := what + " " + string(l.Timestamp)
			if seen[point] {
				return what
			}
			seen[point] = true
		}
	}
	return ""
}

// series is what InfluxDB tells lines apart by: name and tags, in any order.
func series(l line.Line) string {
	var tags []string
	for k, v := range l.EachTag() {
		tags = append(tags, k+"="+v)
	}
	slices.Sort(tags)
	return strings.Join(append([]string{l.Name()}, tags...), ",")
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
