package collect

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
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
	// Measured from when the collector began and not from the tick, which a busy
	// machine is late for.
	stamped := func(source string) (at, afterBegin time.Duration) {
		l.more(source, 1)
		one := l.of(source)[0]
		_, field, _ := strings.Cut(string(one.Fields), ",began=")
		var nano, began int64
		if _, err := fmt.Sscan(string(one.Timestamp), &nano); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(field, "%di", &began); err != nil {
			t.Fatal(err)
		}
		return time.Duration(nano), time.Duration(nano - began)
	}
	if _, d := stamped("collection_start"); d > 0 {
		t.Errorf("collection_start: %v after the collector began", d)
	}
	if _, d := stamped("collection_end"); d < 399*time.Millisecond { // rounded down
		t.Errorf("collection_end: %v after the collector began", d)
	}
	if at, _ := stamped("metric"); at%(2*time.Second) != 0 {
		t.Errorf("metric: %v is no tick", at)
	}
}
