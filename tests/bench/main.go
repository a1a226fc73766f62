// Bench measures how small and how fast the programs are: memory, processor
// time and size of vitals-agent and vitals-relay, beside what else this machine
// has for the same job, all of it in the same minutes and with the same work.
// The relay's part carries the load, the sink where it is counted, and the floor:
// what any such program must cost at least.
//
//	make bench                        the programs, and the peers that are installed
//	make bench PEERS=install          as root on Debian: install the peers first
//	make bench PART=relay             only the relay's part; or agent
//	make bench BENCH_SECONDS=300      each of the agent's rounds longer than a minute
//	make bench BENCH_ROUNDS=9         more than five rounds of the relay's
//	make bench TELEGRAF=path          with this Telegraf
//
// It prints a table and never fails for what is in it: whether a target is met
// depends on the machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	part     string
	seconds  int
	rounds   int
	lines    int
	programs string // directory of vitals-agent and vitals-relay
	telegraf string
	peers    bool
}

func parse(args []string) (settings, error) {
	var s settings
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&s.part, "part", "all", "what to measure: agent, relay or all")
	set.IntVar(&s.seconds, "seconds", 60, "length of a round of the agent's; the relay's answers are timed for a tenth")
	set.IntVar(&s.rounds, "rounds", 5, "rounds of the relay's")
	set.IntVar(&s.lines, "lines", 500_000, "lines of one of the relay's loads")
	set.StringVar(&s.programs, "programs", "dist/linux-amd64", "directory of vitals-agent and vitals-relay")
	set.StringVar(&s.telegraf, "telegraf", "", "a Telegraf to measure; else bin/telegraf, if it is there")
	set.BoolVar(&s.peers, "peers", true, "measure the peers that are installed, too")
	if err := set.Parse(args); err != nil {
		return s, err
	}
	if s.seconds < 1 || s.rounds < 1 || s.lines < 1 {
		return s, errors.New("-seconds, -rounds and -lines must be at least 1")
	}
	if s.part != "agent" && s.part != "relay" && s.part != "all" {
		return s, fmt.Errorf("-part %q: must be agent, relay or all", s.part)
	}
	return s, nil
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "floor" {
		return serveFloor(args[1:])
	}
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "vitals-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.part != "relay" {
		if err := s.agentPart(ctx, dir); err != nil {
			return err
		}
	}
	if s.part != "agent" {
		return s.relayPart(ctx, dir)
	}
	return nil
}

// agentPart measures the agent, and the relay with nothing to do.
func (s settings) agentPart(ctx context.Context, dir string) error {
	var all []figures
	for _, every := range []time.Duration{10 * time.Second, time.Second} {
		subjects, err := s.subjects(every)
		if err != nil {
			return err
		}
		measured, err := round(ctx, filepath.Join(dir, every.String()), subjects, every, time.Duration(s.seconds)*time.Second)
		if err != nil {
			return err
		}
		all = append(all, measured...)
	}
	return report(os.Stdout, machine(), s.seconds, all)
}

// settle is the time from the start of the programs to the first reading of
// their processor time: starting is not part of the rounds. Memory is sampled
// from the start on.
const settle = 5 * time.Second

// round runs the subjects side by side and measures each of them.
func round(ctx context.Context, dir string, subjects []subject, every, length time.Duration) ([]figures, error) {
	var names string
	for _, s := range subjects {
		names += "\n  " + s.name
	}
	fmt.Fprintf(os.Stderr, "bench: %v with a reading every %v, side by side:%s\n", length, every, names)
	var running []*process
	defer func() {
		for _, p := range running {
			p.end()
		}
	}()
	for i, s := range subjects {
		p, err := start(filepath.Join(dir, fmt.Sprint(i)), s, nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		running = append(running, p)
	}
	begin, finish := time.Now().Add(settle), time.Now().Add(settle+length)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for counting := false; ; {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
		now := time.Now()
		first := !counting && !now.Before(begin)
		for _, p := range running {
			p.sample(now, first)
		}
		counting = counting || first
		if !now.Before(finish) {
			break
		}
		fmt.Fprintf(os.Stderr, "\r%4.0f s left ", finish.Sub(now).Seconds())
	}
	fmt.Fprint(os.Stderr, "\r             \r")
	var all []figures
	for _, p := range running {
		all = append(all, p.figures(every))
	}
	return all, nil
}
