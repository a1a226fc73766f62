package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The targets of DESIGN.md.
const (
	relayLoaded  = 100e6
	slowestAck   = 50 * time.Millisecond // of a hundred
	slowestEver  = 500 * time.Millisecond
	scannerSpeed = 1.2e9
)

// reportRelay prints three tables. Of several rounds it gives the median, and
// the lowest and the highest.
func reportRelay(w io.Writer, rounds int, loads []*load, found []*relayed, s speeds) error {
	fmt.Fprintf(w, "\n%s\nprocessor time, user and system, for a million lines, counted when all have arrived;\nmedian of %d rounds (lowest to highest); × is times the floor's of the same round\n\n", machine(), rounds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LOAD\tPROGRAM\tCPU s/M LINES\tLOWEST TO HIGHEST\t×\tLOWEST TO HIGHEST\tTARGET")
	for i, l := range loads {
		base := ofKind(found, floor).costs[i].perLine
		for _, f := range found {
			c := f.costs[i]
			if c.err != nil {
				fmt.Fprintf(t, "%s\t%s\t\t\t\t\tnot measured: %v\n", l.name, f.name, c.err)
				continue
			}
			cost, times := seconds(c.perLine), ratios(c.perLine, base)
			var target string
			if f.kind == relay && l.limit > 0 {
				target = verdict(fmt.Sprintf("≤ %.2f ×", l.limit), len(times) > 0 && median(times) <= l.limit)
			}
			fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\t%.2f\t%s\t%s\n", l.name, f.name, median(cost), spread(cost), median(times), spread(times), target)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := reportAnswers(w, found); err != nil {
		return err
	}
	ours, reference := median(s.ours), median(s.reference)
	_, err := fmt.Fprintf(w, "\nscanner: %.2f GB/s a core (%s), %.2f with a check of whose each line is, line-protocol/v2 %.2f (%s), %.1f ×; %s\n",
		ours/1e9, spread(giga(s.ours)), median(s.owned)/1e9, reference/1e9, spread(giga(s.reference)), ours/reference,
		verdict(fmt.Sprintf("≥ %.1f GB/s", scannerSpeed/1e9), ours >= scannerSpeed))
	return err
}

// reportAnswers prints memory and how soon answers came.
func reportAnswers(w io.Writer, found []*relayed) error {
	fmt.Fprintf(w, "\nresident memory, and the time to an answer at %d writes a second of 10 lines from %d clients\n\n", rate, rateConns)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROGRAM\tIDLE MB\tPEAK MB\tp50 ms\tp99 ms\tSLOWEST ms\tTARGET")
	for _, f := range found {
		if f.err != nil || len(f.latencies) == 0 {
			fmt.Fprintf(t, "%s\t%s\t%s\t\t\t\tnot measured: %v\n", f.name, mega(f.idle), mega(f.peak), f.err)
			continue
		}
		slices.Sort(f.latencies)
		at := func(q float64) time.Duration { return f.latencies[int(q*float64(len(f.latencies)-1))] }
		var targets []string
		if f.kind == relay {
			targets = []string{
				verdict(fmt.Sprintf("≤ %s idle", mega(relayRSS)), f.idle <= relayRSS),
				verdict(fmt.Sprintf("≤ %s under load", mega(relayLoaded)), f.peak <= relayLoaded),
				verdict(fmt.Sprintf("p99 < %d ms", slowestAck.Milliseconds()), at(0.99) < slowestAck),
				verdict(fmt.Sprintf("< %d ms always", slowestEver.Milliseconds()), at(1) < slowestEver),
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.name, mega(f.idle), mega(f.peak),
			milliseconds(at(0.5)), milliseconds(at(0.99)), milliseconds(at(1)), strings.Join(targets, "; "))
	}
	return t.Flush()
}

func ofKind(found []*relayed, k kind) *relayed {
	return found[slices.IndexFunc(found, func(f *relayed) bool { return f.kind == k })]
}

// ratios are of each round's own; of none where the base was too little to count.
func ratios(costs, base []time.Duration) (times []float64) {
	for i := range min(len(costs), len(base)) {
		if base[i] > 0 {
			times = append(times, float64(costs[i])/float64(base[i]))
		}
	}
	return times
}

func seconds(costs []time.Duration) (s []float64) {
	for _, c := range costs {
		s = append(s, c.Seconds())
	}
	return s
}

func giga(speeds []float64) (g []float64) {
	for _, s := range speeds {
		g = append(g, s/1e9)
	}
	return g
}

// median is 0 of nothing.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func spread(of []float64) string {
	if len(of) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f to %.2f", slices.Min(of), slices.Max(of))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }
