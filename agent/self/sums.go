package self

import (
	"maps"
	"slices"
	"time"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/output"
	"github.com/rpicluster/vitals/plugins"
)

// counted is what is counted of one input or output.
type counted struct {
	tags   tags
	counts counts
}

// tags tell one line from another.
type tags struct{ name, alias, id string }

// counts are the fields of a line.
type counts map[string]int64

// addSums adds a line for each name and alias, or for each table of the node
// file if that is asked for. As in Telegraf, tables that share a line are added
// up, their times too.
func (c *Collector) addSums(b *plugins.Batch, measurement, kind string, all []counted) {
	points := map[tags]counts{}
	var order []tags
	for _, one := range all {
		if !c.PerInstance {
			one.tags.id = ""
		}
		sum, known := points[one.tags]
		if !known {
			sum = counts{}
			points[one.tags] = sum
			order = append(order, one.tags)
		}
		for key, n := range one.counts {
			sum[key] += n
		}
	}
	for _, t := range order {
		p := b.Point(measurement).Tag(kind, t.name).Tag("alias", t.alias).Tag("_id", t.id).Tag("version", c.version)
		for _, key := range slices.Sorted(maps.Keys(points[t])) {
			p.Int(key, points[t][key])
		}
	}
}

func (c *Collector) inputs(all []collect.Status) []counted {
	var lines []counted
	for _, in := range all {
		lines = append(lines, counted{tags{in.Name, in.Alias, in.ID}, counts{
			"errors":           in.Errors + in.StartupErrors - in.Refusals,
			"gather_errors":    in.Errors - in.Refusals,
			"gather_time_ns":   c.mean("input "+in.ID, in.Gathers, in.Spent),
			"gather_timeouts":  in.Timeouts + in.Skipped,
			"metrics_gathered": in.Gathered,
			"startup_errors":   in.StartupErrors,
		}})
	}
	return lines
}

func (c *Collector) outputs(all []output.Status) []counted {
	var lines []counted
	for _, o := range all {
		line := counted{tags{o.Name, o.Alias, o.ID}, counts{
			"buffer_limit":     o.BufferLimit,
			"buffer_size":      o.MemoryLines + o.SpoolLines,
			"errors":           o.Failures,
			"metrics_added":    o.Added,
			"metrics_dropped":  o.Dropped,
			"metrics_filtered": o.Filtered,
			"metrics_rejected": o.Rejected,
			"metrics_written":  o.Written,
			"startup_errors":   0, // with one the agent would not have started
			"write_errors":     o.Failures,
			"write_time_ns":    c.mean("output "+o.ID, o.Attempts, o.Spent),
		}}
		if o.Name == "influxdb" { // as in Telegraf, only this one
			line.counts["bytes_written"] = o.Sent
		}
		lines = append(lines, line)
	}
	return lines
}

// mean is what an average is made from: all there was until it was last read.
type mean struct {
	n    int64
	sum  time.Duration
	last int64
}

// mean returns the average of what has come since it was last asked for, in
// nanoseconds, or what it returned then if nothing has.
func (c *Collector) mean(of string, n int64, sum time.Duration) int64 {
	m := c.means[of]
	if m == nil || n < m.n { // a new one, or one that counts anew after a reload
		m = &mean{}
		c.means[of] = m
	}
	if n > m.n {
		m.last = int64(sum-m.sum) / (n - m.n)
	}
	m.n, m.sum = n, sum
	return m.last
}
