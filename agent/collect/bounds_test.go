package collect

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins/proto"
)

// pass lets a refiner of in have replies, one for each tick, and returns the
// lines that came through, those that were dropped and the log.
func pass(t *testing.T, in config.Input, every time.Duration, replies ...string) (lines string, bad int, log string) {
	t.Helper()
	var sent, logged bytes.Buffer
	sink := func(_ context.Context, lines []byte, n int) {
		if n == 0 || bytes.Count(lines, []byte("\n")) != n {
			t.Errorf("%d lines: %q", n, lines)
		}
		sent.Write(lines)
	}
	r := newRefiner(in, nil, sink, slog.New(slog.NewTextHandler(&logged, nil)))
	tick := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	passed := 0
	for _, reply := range replies {
		n, dropped := r.pass(t.Context(), []byte(reply), tick.UnixNano())
		passed += n
		bad += dropped
		tick = tick.Add(every)
	}
	if got := strings.Count(sent.String(), "\n"); got != passed {
		t.Errorf("%d lines were sent, %d counted", got, passed)
	}
	return sent.String(), bad, logged.String()
}

// unstamped takes the times off lines.
func unstamped(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(line[:strings.LastIndexByte(line, ' ')] + "\n")
	}
	return b.String()
}

func TestLinesOfOneAnswerAreBounded(t *testing.T) {
	in := config.Input{MaxLines: 3}
	reply := "m v=1\nnot a line\nm v=2\nm v=3\nm v=4\nm v=5"
	lines, bad, log := pass(t, in, time.Second, reply, "m v=6\nm v=7\nm v=8\n", reply)
	want := "m v=1\nm v=2\nm v=3\nm v=6\nm v=7\nm v=8\nm v=1\nm v=2\nm v=3\n"
	if got := unstamped(lines); got != want || bad != 6 {
		t.Errorf("%d dropped, came through:\n%s", bad, got)
	}
	if n := strings.Count(log, "bad lines were dropped"); n != 2 || !strings.Contains(log, `lines=2 reason="more than 3 lines in one answer; max_lines in the input's table is the bound" first="m v=4`) {
		t.Errorf("warned %d times:\n%s", n, log)
	}
}

func TestSeriesOfAnHourAreBounded(t *testing.T) {
	in := config.Input{MaxSeries: 2}
	half := 30 * time.Minute
	lines, bad, log := pass(t, in, half,
		"m,a=1 v=1\nm,a=2 v=1\nm,a=3 v=1\nn v=1\nm,a=1 v=2\n", // 12:00
		"m,a=2 v=3\nm,a=4 v=3\n",                              // 12:30
		"m,a=4 v=4\nm,a=4 v=5\n",                              // 13:00, counted anew
		"m v=6\nm,a=1 v=6\n",                                  // 13:30
	)
	want := "m,a=1 v=1\nm,a=2 v=1\nm,a=1 v=2\n" + "m,a=2 v=3\n" + "m,a=4 v=4\nm,a=4 v=5\n" + "m v=6\n"
	if got := unstamped(lines); got != want || bad != 4 {
		t.Errorf("%d dropped, came through:\n%s", bad, got)
	}
	if n := strings.Count(log, "bad lines were dropped"); n != 1 || !strings.Contains(log, `lines=2 reason="more than 2 series in an hour; max_series in the input's table is the bound" first="m,a=3 v=1"`) {
		t.Errorf("warned %d times:\n%s", n, log)
	}
}

// What a series is called is more than its text: the comma between measurement
// and tags tells m,a=1 from others.
func TestSeriesAreToldApart(t *testing.T) {
	lines, bad, _ := pass(t, config.Input{MaxSeries: 2}, time.Second, "m,a=1 v=1\nm\\,a\\=1 v=1\n", "ma=1 v=1\nm,a=1 v=2\n")
	if want := "m,a=1 v=1\nm\\,a\\=1 v=1\nm,a=1 v=2\n"; unstamped(lines) != want || bad != 1 {
		t.Errorf("%d dropped, came through:\n%s", bad, lines)
	}
}

func TestWithoutBoundsEverythingPasses(t *testing.T) {
	var b strings.Builder
	for i := range 30000 {
		fmt.Fprintf(&b, "m,i=%d v=1\n", i)
	}
	if lines, bad, log := pass(t, config.Input{}, time.Second, b.String()); strings.Count(lines, "\n") != 30000 || bad != 0 || log != "" {
		t.Errorf("%d lines, %d dropped, %s", strings.Count(lines, "\n"), bad, log)
	}
}

// A program that invents a series with every line does not make the agent
// remember them all.
func TestMemoryOfSeriesIsBounded(t *testing.T) {
	r := newRefiner(config.Input{MaxSeries: 100}, nil, func(context.Context, []byte, int) {}, slog.New(slog.DiscardHandler))
	for i := range 200 {
		var b strings.Builder
		for j := range 100 {
			fmt.Fprintf(&b, "m,i=%d v=1\n", i*100+j)
		}
		r.pass(t.Context(), []byte(b.String()), 1)
	}
	if n := len(r.bounds.known); n != 100 {
		t.Errorf("%d series are remembered", n)
	}
}

// A program that prints anything but lines does not make the agent keep account
// of each of them.
func TestMemoryOfBadLinesIsBounded(t *testing.T) {
	const lines = program.MaxReply / 2
	r := newRefiner(config.Input{}, nil, func(context.Context, []byte, int) {}, slog.New(slog.DiscardHandler))
	reply := bytes.Repeat([]byte("x\n"), lines)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, bad := r.pass(t.Context(), reply, 1)
	unsound := soundness(&proto.GatherReply{Lines: reply}, nil) // of a new file that is tried
	runtime.ReadMemStats(&after)
	if n != 0 || bad != lines || unsound == nil {
		t.Errorf("%d lines passed, %d were dropped of %d", n, bad, lines)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 2*program.MaxReply {
		t.Errorf("%d bytes were taken for an answer of %d", took, len(reply))
	}
}

func TestWhatComesAfterTooManyBadLinesIsDropped(t *testing.T) {
	broken := strings.Repeat("x\n", maxBad)
	for _, end := range []string{"", "\n"} {
		lines, bad, log := pass(t, config.Input{}, time.Second, "m v=1\n"+broken[:len(broken)/2]+"m v=2\n"+broken+"m v=3\nx"+end, "m v=4\n"+broken+"m v=5\n")
		if want := "m v=1\nm v=2\nm v=4\nm v=5\n"; unstamped(lines) != want || bad != maxBad*5/2+2 {
			t.Errorf("%d dropped, came through:\n%s", bad, lines)
		}
		if !strings.Contains(log, `reason="they come after 5000 bad lines in one answer"`) {
			t.Error(log)
		}
	}
}

func TestEachReasonIsToldOnceAndNotForEver(t *testing.T) {
	log := func(replies ...string) string {
		_, _, log := pass(t, config.Input{MaxSeries: 1}, time.Second, replies...)
		return log
	}
	both := "a v=1\nb v=1\nbroken\n"
	if got := log(both, both, both); strings.Count(got, "\n") != 2 {
		t.Errorf("not two warnings:\n%s", got)
	}
	var replies []string
	for i := range 2 * maxReasons {
		replies = append(replies, "m,a="+strings.Repeat("x", 65536+i)+" v=1\n")
	}
	if got := log(replies...); strings.Count(got, "\n") != maxReasons || len(got) > maxReasons*1000 {
		t.Errorf("%d warnings, %d bytes", strings.Count(got, "\n"), len(got))
	}
}
