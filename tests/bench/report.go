package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// The targets of DESIGN.md, in its units: a MB is a million bytes.
const (
	agentPSS    = 22e6
	trimmedPSS  = 25e6 // of a trimmed Telegraf, where none is measured
	agentCPU    = 250 * time.Millisecond
	agentBinary = 18e6
	relayRSS    = 30e6
)

// report prints one table. The ratios are to vitals-agent of the same round.
func report(w io.Writer, machine string, seconds int, all []figures) error {
	fmt.Fprintf(w, "%s\n%d s a round; MB are millions of bytes; all processes of a program together; × is times vitals-agent's\n\n", machine, seconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "EVERY\tPROGRAM\tPSS MB\tHIGHEST\t×\tRSS MB\tCPU s/min\t×\tBINARY MB\tPROCESSES\tTARGET")
	for _, f := range all {
		if f.err != nil {
			fmt.Fprintf(t, "%v\t%s\t\t\t\t\t\t\t\t\tnot measured: %v\n", f.every, f.subject.name, f.err)
			continue
		}
		ours := find(all, f.every, agent)
		fmt.Fprintf(t, "%v\t%s\t%s\t%s\t%s\t%s\t%.2f\t%s\t%s\t%d\t%s\n", f.every, f.subject.name,
			mega(f.end.pss), mega(f.high.pss), times(f.high.pss, ours.high.pss), mega(f.high.rss),
			f.perMinute.Seconds(), times(int64(f.perMinute), int64(ours.perMinute)),
			mega(f.size), f.end.processes, strings.Join(targets(f, all), "; "))
	}
	return t.Flush()
}

// targets says of a line which targets it has, and whether they are met.
func targets(f figures, all []figures) []string {
	switch {
	case f.subject.kind == relay:
		return []string{verdict(fmt.Sprintf("RSS ≤ %s idle", mega(relayRSS)), f.high.rss <= relayRSS)}
	case f.subject.kind == agent && f.every == time.Second:
		return []string{verdict(fmt.Sprintf("CPU ≤ %.2f", agentCPU.Seconds()), f.perMinute <= agentCPU)}
	case f.subject.kind == agent:
		limit, whose := int64(trimmedPSS), "the trimmed Telegraf measured before"
		if telegraf := find(all, f.every, trimmed); telegraf.err == nil && telegraf.high.pss > 0 {
			limit, whose = telegraf.high.pss, "the trimmed Telegraf"
		}
		return []string{
			verdict(fmt.Sprintf("PSS ≤ %s", mega(agentPSS)), f.high.pss <= agentPSS),
			verdict(fmt.Sprintf("≤ %s of %s", mega(limit), whose), f.high.pss <= limit),
			verdict(fmt.Sprintf("binary ≤ %s", mega(agentBinary)), f.size <= agentBinary),
		}
	}
	return nil
}

func verdict(text string, met bool) string {
	if met {
		return text + ": met"
	}
	return text + ": NOT MET"
}

// find returns what a kind of program took in a round; nothing if it was not
// there.
func find(all []figures, every time.Duration, k kind) figures {
	for _, f := range all {
		if f.every == every && f.subject.kind == k {
			return f
		}
	}
	return figures{}
}

func mega(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/1e6) }

// times is a ratio, "-" to nothing.
func times(a, b int64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// machine describes what the figures were taken on.
func machine() string {
	model := cmp.Or(value("/proc/cpuinfo", "model name", ":"), value("/proc/cpuinfo", "Model", ":"), runtime.GOARCH)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	memory, _ := os.ReadFile("/proc/meminfo")
	return fmt.Sprintf("%d × %s, %.1f GB of RAM, Linux %s, %s, huge pages: %s", runtime.NumCPU(), model,
		float64(kilobytes(memory, "MemTotal:"))/1e9, strings.TrimSpace(string(kernel)), runtime.Version(), hugePages())
}

// hugePages is the choice that is in brackets: where it is "always", Go
// programs look larger than they are elsewhere.
func hugePages() string {
	text, _ := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	_, chosen, _ := strings.Cut(string(text), "[")
	chosen, _, _ = strings.Cut(chosen, "]")
	return cmp.Or(chosen, "none")
}

// value reads what follows key in a file of "key: value" lines.
func value(path, key, separator string) string {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(line, separator); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
