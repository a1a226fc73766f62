package collect

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
)

func TestTimeSourceOfLines(t *testing.T) {
	const body = "m v=1 5\nm v=2\nm v=3 7\n"
	f := func(source, want string) {
		t.Helper()
		var got string
		sink := func(_ context.Context, lines []byte, _ int) { got = string(lines) }
		r := newRefiner(config.Input{TimeSource: source}, nil, sink, slog.New(slog.DiscardHandler))
		if n, bad := r.pass(t.Context(), []byte(body), 9); n != 3 || bad != 0 || got != want {
			t.Errorf("%s: %d, %d bad:\n%s", source, n, bad, got)
		}
	}
	f("", "m v=1 5\nm v=2 9\nm v=3 7\n")
	f("metric", "m v=1 5\nm v=2 9\nm v=3 7\n")
	f("collection_start", "m v=1 9\nm v=2 9\nm v=3 9\n")
	f("collection_end", "m v=1 9\nm v=2 9\nm v=3 9\n")
}

func TestTheEndOfACollectionIsLaterThanItsStart(t *testing.T) {
	l := newLab(t)
	for _, source := range []string{"collection_start", "collection_end", "metric"} {
		l.add(source, "steady", func(in *config.Input) {
			in.TimeSource, in.Interval, in.GatherTimeout, in.Isolate = source, 2*time.Second, 2*time.Second, true
		})
		l.tell(source, "slow") // by 400 ms
	}
	l.start()
	stamped := func(source string) (at time.Time, afterTick time.Duration) {
		l.more(source, 1)
		var nano int64
		if _, err := fmt.Sscan(string(l.of(source)[0].Timestamp), &nano); err != nil {
			t.Fatal(err)
		}
		return time.Unix(0, nano), time.Duration(nano % int64(2*time.Second))
	}
	// Measured to its arrival and not from its tick, which a busy machine is
	// late for.
	if start, _ := stamped("collection_start"); time.Since(start) < 400*time.Millisecond {
		t.Errorf("collection_start: %v before it arrived", time.Since(start))
	}
	if _, d := stamped("collection_end"); d < 400*time.Millisecond {
		t.Errorf("collection_end: %v after the tick", d)
	}
	if _, d := stamped("metric"); d != 0 {
		t.Errorf("metric: %v after the tick", d)
	}
}
