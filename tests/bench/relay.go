package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// rate is how many writes a second answers are timed at, rateConns from how
	// many clients.
	rate, rateConns = 1000, 64
	// arrival is how long the last line may take to the sink.
	arrival = 60 * time.Second
	// quiet is what every program gets to come to rest: before the first load,
	// and after each one before its processor time is read.
	quiet, rest = 2 * time.Second, 200 * time.Millisecond
)

// cost is what a load has cost a subject, in processor time.
type cost struct {
	perLine []time.Duration // of each round, for a million lines
	err     error
}

// relayed is what was found out about one subject.
type relayed struct {
	name       string
	kind       kind
	costs      []cost // by load
	idle, peak int64  // resident bytes, before all loads and at most
	latencies  []time.Duration
	err        error // why latencies were not measured
}

// loads are what the relay has targets for, and what they are compared with.
func loads(lines int) ([]*load, error) {
	all := []*load{
		{name: "gzip, 5,000 lines, 8 clients", per: 5000, gzip: true, conns: 8, limit: 1.15},
		{name: "gzip, 10 lines, 8 clients", per: 10, gzip: true, conns: 8, limit: 1.25},
		{name: "gzip, 10 lines, 64 clients", per: 10, gzip: true, conns: 64, limit: 1.25},
		{name: "plain, 10 lines, 8 clients", per: 10, conns: 8},
	}
	for _, l := range all {
		n := lines
		if l.per < 1000 {
			n = lines / 8 // a line costs so much more
		}
		if err := l.make(n); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// relayPart measures the relay beside its peers and what is the least. The
// programs run side by side, and each load goes to one after the other, round
// after round: what disturbs the machine disturbs all of them.
func (s settings) relayPart(ctx context.Context, dir string) error {
	fmt.Fprintln(os.Stderr, "bench: making the loads")
	loads, err := loads(s.lines)
	if err != nil {
		return err
	}
	subjects, err := s.relaySubjects()
	if err != nil {
		return err
	}
	r := &relayRounds{loads: loads}
	defer r.end()
	for i, subject := range subjects {
		if err := r.start(filepath.Join(dir, fmt.Sprint("relay", i)), subject); err != nil {
			return fmt.Errorf("%s: %w", subject.name, err)
		}
	}
	if err := r.idle(ctx); err != nil {
		return err
	}
	for round := range s.rounds {
		for i, l := range loads {
			for j := range subjects {
				fmt.Fprintf(os.Stderr, "\rround %d of %d: %-30s %-40s", round+1, s.rounds, l.name, subjects[j].name)
				r.measure(ctx, i, j)
			}
		}
	}
	for j := range subjects {
		fmt.Fprintf(os.Stderr, "\r%d writes a second: %-60s", rate, subjects[j].name)
		r.time(ctx, j, time.Duration(s.seconds)*time.Second/10)
	}
	fmt.Fprintf(os.Stderr, "\r%90s\r", "")
	speeds, err := scanners(s.rounds, time.Second/4)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return reportRelay(os.Stdout, s.rounds, loads, r.found, speeds)
}

// relayRounds are subjects that run, each with a sink of its own.
type relayRounds struct {
	loads   []*load
	running []*process
	ledgers []*ledger
	found   []*relayed
}

func (r *relayRounds) start(dir string, s subject) error {
	ledger := new(ledger)
	p, err := start(dir, s, ledger)
	if err != nil {
		return err
	}
	r.running, r.ledgers = append(r.running, p), append(r.ledgers, ledger)
	r.found = append(r.found, &relayed{name: s.name, kind: s.kind, costs: make([]cost, len(r.loads))})
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(limit) {
			return fmt.Errorf("it does not listen: %w%s", err, p.lastWords())
		}
	}
}

func (r *relayRounds) end() {
	for _, p := range r.running {
		p.end()
	}
}

// idle reads what the subjects take with nothing to do.
func (r *relayRounds) idle(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(quiet):
	}
	for i, p := range r.running {
		u, err := measure(p.cmd.Process.Pid)
		if err != nil {
			return fmt.Errorf("%s: %w%s", p.subject.name, err, p.lastWords())
		}
		r.found[i].idle = u.rss
	}
	return nil
}

// measure sends load i to subject j, waits until all of it is at the sink, and
// counts the processor time that it took.
func (r *relayRounds) measure(ctx context.Context, i, j int) {
	l, f := r.loads[i], r.found[j]
	c := &f.costs[i]
	if c.err != nil {
		return
	}
	spent, err := r.through(ctx, j, l.lines, func(address string) error {
		_, err := l.send(ctx, address, 0, 0)
		return err
	})
	if err != nil {
		c.err = err
		return
	}
	c.perLine = append(c.perLine, time.Duration(float64(spent)*1e6/float64(l.lines)))
}

// through sends lines through subject j and returns the processor time it took.
func (r *relayRounds) through(ctx context.Context, j, lines int, send func(address string) error) (time.Duration, error) {
	p, f := r.running[j], r.found[j]
	before, err := measure(p.cmd.Process.Pid)
	if err != nil {
		return 0, fmt.Errorf("%w%s", err, p.lastWords())
	}
	r.ledgers[j].expect(lines)
	if err := send(p.address); err != nil {
		return 0, fmt.Errorf("%w%s", err, p.lastWords())
	}
	if p.subject.busy {
		if err := r.ledgers[j].wait(ctx, arrival); err != nil {
			return 0, fmt.Errorf("%w%s", err, p.lastWords())
		}
	}
	time.Sleep(rest)
	after, err := measure(p.cmd.Process.Pid)
	f.peak = max(f.peak, after.peak)
	return after.cpu - before.cpu, err
}

// time times the answers of subject j.
func (r *relayRounds) time(ctx context.Context, j int, length time.Duration) {
	l := *r.loads[1]
	l.conns = rateConns
	lines := min(l.lines, int(length.Seconds()*rate)*l.per)
	_, r.found[j].err = r.through(ctx, j, lines, func(address string) (err error) {
		r.found[j].latencies, err = l.send(ctx, address, rate, length)
		return err
	})
}
