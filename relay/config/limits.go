package config

import (
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
)

func (q *Queue) validate(s *nodefile.Section) []error {
	var errs []error
	if q.Kind != "files" {
		errs = append(errs, s.Errorf("kind", `must be "files"; this relay has no other queue`))
	}
	if q.WhenFull != "refuse" && q.WhenFull != "drop_oldest" {
		errs = append(errs, s.Errorf("when_full", `must be "refuse" (writers get 503 and keep their lines) or "drop_oldest"`))
	}
	if q.CommitDelay < 0 || q.CommitDelay > nodefile.Duration(time.Second) {
		errs = append(errs, s.Errorf("commit_delay", "must be between 0 and 1s: every write waits for it"))
	}
	if q.KeptAge < 0 {
		errs = append(errs, s.Errorf("kept_age", "must not be negative"))
	}
	return errs
}

func (p *Provision) validate(s *nodefile.Section) []error {
	var errs []error
	for key, name := range map[string]string{"database": p.Database, "retention_policy": p.RetentionPolicy} {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			errs = append(errs, s.Errorf(key, "must be a name"))
		}
	}
	if d := p.Duration.Std(); d != 0 && d < time.Hour {
		errs = append(errs, s.Errorf("duration", "must be at least 1h, or 0 to keep the lines for ever"))
	}
	if p.Replication < 1 {
		errs = append(errs, s.Errorf("replication", "must be at least 1"))
	}
	return errs
}

func (f *Fleet) validate(s *nodefile.Section) []error {
	var errs []error
	if f.LateAfter < 0 || f.DownAfter < 0 {
		errs = append(errs, s.Errorf("late_after", "late_after and down_after must not be negative"))
	}
	if f.DownAfter != 0 && f.DownAfter < f.LateAfter {
		errs = append(errs, s.Errorf("down_after", "must not be shorter than late_after"))
	}
	if f.ForgetAfter.Std() < time.Minute || f.ForgetAfter < f.DownAfter {
		errs = append(errs, s.Errorf("forget_after", "must be at least 1m, and not shorter than down_after; the default is 7d"))
	}
	if f.MaxNodes < 1 || f.MaxNodes > 1_000_000 {
		errs = append(errs, s.Errorf("max_nodes", "must be between 1 and 1000000"))
	}
	if f.History.Std() < 10*time.Minute || f.History.Std() > 7*24*time.Hour {
		errs = append(errs, s.Errorf("history", "must be between 10m and 7d; the default is 6h, and InfluxDB remembers the rest"))
	}
	if f.HistoryBytes < 1e6 {
		errs = append(errs, s.Errorf("history_bytes", "must be at least 1MB; the default is 64MB"))
	}
	return errs
}

func (o *Self) validate(s *nodefile.Section) []error {
	if o.Interval != 0 && o.Interval < nodefile.Duration(time.Second) {
		return []error{s.Errorf("interval", "must be at least 1s, or 0 to write none")}
	}
	return nil
}
