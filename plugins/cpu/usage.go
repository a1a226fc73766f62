package cpu

import (
	"github.com/shirou/gopsutil/v3/cpu"

	"github.com/rpicluster/vitals/plugins"
)

// span is the time between two readings of one CPU.
type span struct {
	now, last cpu.TimesStat
	total     float64
}

// total leaves out guest times: user and nice hold them already.
func total(t cpu.TimesStat) float64 {
	return t.User + t.System + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal + t.Idle
}

func active(t cpu.TimesStat) float64 { return total(t) - t.Idle }

// since returns the span up to now: nil if this CPU was not there before or no
// time has passed, an error if its counters ran backwards.
func (c *Collector) since(now cpu.TimesStat) (*span, error) {
	last, ok := c.last[now.CPU]
	if !ok {
		return nil, nil
	}
	s := &span{now: now, last: last, total: total(now) - total(last)}
	switch {
	case s.total < 0:
		return nil, errBackwards
	case s.total == 0:
		return nil, nil
	}
	return s, nil
}

func (s *span) percent(x float64) float64 { return 100 * x / s.total }

func (c *Collector) addUsage(b *plugins.Batch, s *span) {
	n, l := &s.now, &s.last
	p := c.point(b, n.CPU).
		Float("usage_user", s.percent(n.User-l.User-(n.Guest-l.Guest))).
		Float("usage_system", s.percent(n.System-l.System)).
		Float("usage_idle", s.percent(n.Idle-l.Idle)).
		Float("usage_nice", s.percent(n.Nice-l.Nice-(n.GuestNice-l.GuestNice))).
		Float("usage_iowait", s.percent(n.Iowait-l.Iowait)).
		Float("usage_irq", s.percent(n.Irq-l.Irq)).
		Float("usage_softirq", s.percent(n.Softirq-l.Softirq)).
		Float("usage_steal", s.percent(n.Steal-l.Steal)).
		Float("usage_guest", s.percent(n.Guest-l.Guest)).
		Float("usage_guest_nice", s.percent(n.GuestNice-l.GuestNice))
	if c.ReportActive {
		p.Float("usage_active", s.percent(active(*n)-active(*l)))
	}
}

func (c *Collector) addTimes(b *plugins.Batch, t cpu.TimesStat) {
	p := c.point(b, t.CPU).
		Float("time_user", t.User).
		Float("time_system", t.System).
		Float("time_idle", t.Idle).
		Float("time_nice", t.Nice).
		Float("time_iowait", t.Iowait).
		Float("time_irq", t.Irq).
		Float("time_softirq", t.Softirq).
		Float("time_steal", t.Steal).
		Float("time_guest", t.Guest).
		Float("time_guest_nice", t.GuestNice)
	if c.ReportActive {
		p.Float("time_active", active(t))
	}
}

// gatherCluster adds the one line of the cluster's schema. Its percentage is
// what people call load: neither idle nor waiting for a disk.
func (c *Collector) gatherCluster(b *plugins.Batch, times []cpu.TimesStat) error {
	p := b.Point("cpu").Tag("node", b.Host())
	if f, ok := allFrequencies(times).sum(); ok {
		p.Float("frequency", f.now)
	}
	if len(times) == 0 {
		return nil
	}
	s, err := c.since(times[len(times)-1]) // the sum of all CPUs is the last
	if s != nil {
		idle := s.now.Idle - s.last.Idle + s.now.Iowait - s.last.Iowait
		p.Float("percentage", s.percent(s.total-idle))
	}
	return err
}
