package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rpicluster/vitals/internal/durable/durabletest"
)

func TestFull(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes = 8 << 10
	s := mustOpen(t, cfg)
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Append(context.Background(), frame(n))
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.UndeliveredBytes > cfg.MaxBytes || st.UndeliveredBytes < cfg.MaxBytes-frame(n).bytes() {
		t.Errorf("full at %d of %d bytes: each segment counts once", st.UndeliveredBytes, cfg.MaxBytes)
	}
	passAll(t, a)
	if err := s.Append(context.Background(), frame(n)); !errors.Is(err, ErrFull) {
		t.Errorf("a passed everything, b nothing: %v", err)
	}
	var f Frame
	for range 3 * n / 4 {
		if err := b.Next(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, n, n+3)
	numbers, _ := rest(t, b)
	if first := numbers[0]; first != 3*n/4 || numbers[len(numbers)-1] != n+2 {
		t.Error(numbers)
	}
}

// A growing segment that everybody has passed is nobody's backlog.
func TestNotFullOfWhatIsPassed(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes = 4 << 10
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	for n := range 200 {
		mustAppend(t, s, n, n+1)
		passAll(t, d)
	}
}

func TestTooLargeForTheBound(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes, cfg.DropOldest = 4<<10, true
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 3)
	large := &Frame{Body: randomBody(8 << 10)}
	if err := s.Append(context.Background(), large); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	numbers, _ := rest(t, d)
	wantNumbers(t, "nothing was dropped for it", numbers, sequence(0, 3))
}

// With DropOldest the newest survive, and every line that a destination did
// not get is counted: what it got and what it lost is what was appended.
func TestDropOldest(t *testing.T) {
	const count = 400
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes, cfg.DropOldest = 16<<10, true
	s := mustOpen(t, cfg)
	slow, fast, late := mustDestination(t, s, "slow"), mustDestination(t, s, "fast"), mustDestination(t, s, "late")
	got := map[*Destination]int{}
	var f Frame
	for n := range count {
		mustAppend(t, s, n, n+1)
		for d, every := range map[*Destination]int{slow: 3, fast: 1} {
			if n%every > 0 {
				continue
			}
			if err := d.Next(context.Background(), &f); err != nil {
				t.Fatal(err)
			}
			got[d]++
			if err := d.Advance(f.Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	var dropped int64
	for _, d := range []*Destination{slow, fast, late} {
		numbers, _ := rest(t, d)
		if len(numbers) > 0 && numbers[len(numbers)-1] != count-1 {
			t.Errorf("%s: the newest is %d", d.name, numbers[len(numbers)-1])
		}
		b := d.Backlog()
		if n := got[d] + len(numbers) + int(b.DroppedLines); n != count || int(b.Lines) != len(numbers) {
			t.Errorf("%s: got %d, %d left (%+v): %d of %d lines in the books", d.name, got[d], len(numbers), b, n, count)
		}
		dropped += b.DroppedLines
	}
	if st := s.Stats(); st.DroppedLines != dropped || dropped == 0 || st.UndeliveredBytes > cfg.MaxBytes {
		t.Errorf("%d dropped, %+v", dropped, st)
	}
	if n := fast.Backlog().DroppedLines; n != 0 {
		t.Errorf("the fast one lost %d", n)
	}
}

// A batch that is in flight when its segment is dropped is passed as ever.
func TestDropWhileInFlight(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MaxBytes, cfg.DropOldest = 8<<10, true
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 5)
	var f Frame
	for range 3 {
		if err := d.Next(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, 5, 150)
	if err := d.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	d.Rewind()
	numbers, last := rest(t, d)
	if len(numbers) == 0 || numbers[0] < 5 || numbers[len(numbers)-1] != 149 {
		t.Error(numbers)
	}
	if err := d.Advance(last); err != nil {
		t.Fatal(err)
	}
	if b := d.Backlog(); b.Frames != 0 || b.Lines != 0 || b.Bytes != 0 || !b.Oldest.IsZero() {
		t.Errorf("%+v", b)
	}
}

// kept/ holds the newest within its bound, whether or not anybody was owed
// them, and is never why an Append is refused.
func TestKeptIsBounded(t *testing.T) {
	const count = 300
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 16 << 10
	s := mustOpen(t, cfg)
	mustAppend(t, s, 0, count)
	eventually(t, "trimmed", func() bool { return s.Stats().KeptBytes <= cfg.KeptBytes })
	if st := s.Stats(); st.KeptBytes < cfg.KeptBytes/2 || st.UndeliveredBytes != 0 {
		t.Errorf("%+v", st)
	}
	var kept []int
	if err := s.Kept(context.Background(), func(f *Frame) error {
		kept = append(kept, numberOf(t, f))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, "kept", kept, sequence(count-len(kept), count))
	numbers, _ := rest(t, mustDestination(t, s, "late"))
	wantNumbers(t, "a new destination", numbers, kept)
	stop := errors.New("enough")
	if err := s.Kept(context.Background(), func(*Frame) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	mustClose(t, s)
	cfg.KeptBytes = 0 // from now on nothing is kept, but what is owed stays
	s = mustOpen(t, cfg)
	numbers, _ = rest(t, mustDestination(t, s, "late"))
	wantNumbers(t, "owed", numbers, kept)
	if files := segmentFiles(t, filepath.Join(cfg.Directory, keptName)); len(files) > 0 {
		t.Error(files)
	}
}

// On a real disk that is full, writers are refused, nothing acknowledged is
// lost, delivering makes room, and writing goes on by itself.
func TestRealDiskFull(t *testing.T) {
	dir := durabletest.Mount(t, "tmpfs", "size=256k")
	for _, mark := range []int64{0, 64 << 10} {
		t.Run(fmt.Sprint("mark ", mark), func(t *testing.T) { fillDisk(t, filepath.Join(dir, fmt.Sprint(mark)), mark) })
	}
}

func fillDisk(t *testing.T, dir string, mark int64) {
	cfg := testConfig(dir)
	cfg.SegmentBytes, cfg.MinFreeBytes = 16<<10, mark
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	defer os.RemoveAll(dir)
	next, delivered := 0, 0
	for round := range 5 {
		refused := 0
		for refused < 3 {
			err := s.Append(context.Background(), frame(next))
			switch {
			case err == nil:
				next++
			case errors.Is(err, ErrNoSpace):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if round == 2 { // the disk is full when the program starts
			mustClose(t, s)
			s = mustOpen(t, cfg)
			d = mustDestination(t, s, "a")
		}
		if st := s.Stats(); st.FreeBytes < mark {
			t.Errorf("%d bytes free", st.FreeBytes)
		}
		numbers, last := rest(t, d)
		// Progress cannot be written on a full disk: after the restart a few
		// may come again, none may be missing.
		if numbers[0] > delivered || round != 2 && numbers[0] < delivered {
			t.Fatalf("round %d begins at %d, %d were delivered", round, numbers[0], delivered)
		}
		wantNumbers(t, "round", numbers, sequence(numbers[0], next))
		delivered = next
		if err := d.Advance(last); err != nil {
			t.Fatal(err)
		}
		s.disk.Lock()
		s.seal()
		s.disk.Unlock()
		d.sweep()
	}
	mustClose(t, s)
}

func TestDestinationNames(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	for _, name := range []string{"", ".", "..", ".hidden", "a/b", "../a", "a b", "ä", "a\n", "a\x00", strings.Repeat("x", 129)} {
		if _, err := s.Destination(name); err == nil {
			t.Errorf("%q was opened", name)
		}
	}
	for _, name := range []string{"a", "influx-1.eu_west", "0", "-", strings.Repeat("x", 128)} {
		mustDestination(t, s, name)
	}
}

func TestDestinationIsOpenedOnce(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	if mustDestination(t, s, "a") != mustDestination(t, s, "a") {
		t.Error("two of them")
	}
}

func TestAdvanceOnlyOverWhatWasRead(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 10)
	var f Frame
	for range 5 {
		if err := d.Next(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Advance(6); err == nil {
		t.Error("passed what was not read")
	}
	d.Rewind() // while frames 0 to 4 are in flight
	if err := d.Advance(3); err != nil {
		t.Error(err)
	}
	if err := d.Advance(1); err != nil {
		t.Error(err)
	}
	numbers, _ := rest(t, d)
	wantNumbers(t, "after 3", numbers, sequence(3, 10))
	if b := d.Backlog(); b.Frames != 7 {
		t.Errorf("%+v", b)
	}
}

func TestRewind(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 450
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 20)
	numbers, _ := rest(t, d)
	wantNumbers(t, "first", numbers, sequence(0, 20))
	d.Rewind()
	if err := d.Advance(5); err != nil {
		t.Fatal(err)
	}
	d.Rewind()
	numbers, _ = rest(t, d)
	wantNumbers(t, "again", numbers, sequence(5, 20))
	d.Rewind()
	d.Rewind()
	passAll(t, d)
	d.Rewind()
	if numbers, _ = rest(t, d); len(numbers) != 0 {
		t.Error(numbers)
	}
}

// Without kept/ a new destination begins with what is appended after it.
func TestNewDestinationWithoutKept(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	mustDestination(t, s, "a")
	mustAppend(t, s, 0, 5)
	b := mustDestination(t, s, "b")
	mustAppend(t, s, 5, 8)
	numbers, _ := rest(t, b)
	wantNumbers(t, "b", numbers, sequence(5, 8))
	numbers, _ = rest(t, mustDestination(t, s, "a"))
	wantNumbers(t, "a", numbers, sequence(0, 8))
}

// A destination that is no longer configured keeps what it has, gets nothing
// new, and finds what it missed in kept/ when it comes back.
func TestDestinationThatIsNotOpened(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	s := mustOpen(t, cfg)
	gone := mustDestination(t, s, "gone")
	mustDestination(t, s, "stays")
	mustAppend(t, s, 0, 6)
	var f Frame
	for range 2 {
		if err := gone.Next(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := gone.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)

	s = mustOpen(t, cfg)
	passAll(t, mustDestination(t, s, "stays"))
	mustAppend(t, s, 6, 9)
	names, err := s.Destinations()
	if fmt.Sprint(names) != "[gone stays]" || err != nil {
		t.Error(names, err)
	}
	if n := len(segmentFiles(t, filepath.Join(cfg.Directory, "destinations/gone"))); n != 1 {
		t.Errorf("%d segments", n)
	}
	if st := s.Stats(); st.UndeliveredBytes != st.Bytes || st.Segments != 2 {
		t.Errorf("%+v", st)
	}
	numbers, _ := rest(t, mustDestination(t, s, "gone"))
	wantNumbers(t, "it is back", numbers, sequence(2, 9))
	if b := mustDestination(t, s, "gone").Backlog(); b.Frames != 7 {
		t.Errorf("%+v", b)
	}
}

func TestForget(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := mustOpen(t, cfg)
	if err := s.Forget("nobody"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 5)
	waiting := make(chan error)
	rest(t, d)
	go func() { waiting <- d.Next(context.Background(), new(Frame)) }()
	if err := s.Forget("a"); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 || st.UndeliveredBytes != 0 {
		t.Errorf("%+v", st)
	}
	if entries, err := os.ReadDir(filepath.Join(cfg.Directory, destinationsName)); err != nil || len(entries) > 0 {
		t.Error(entries, err)
	}
	if err := s.Append(context.Background(), frame(0)); !errors.Is(err, ErrNoDestination) {
		t.Error(err)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg) // nothing is left that shows a number, but for the sequence file
	d = mustDestination(t, s, "a")
	f := frame(7)
	if err := s.Append(context.Background(), f); err != nil || f.Seq != 6 {
		t.Error(f.Seq, err)
	}
	numbers, _ := rest(t, d)
	wantNumbers(t, "a new one of that name", numbers, []int{7})
}

// Numbers go on whatever is gone: all of it delivered, closed at any stage.
func TestNumbersNeverRepeat(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 450
	var last uint64
	for round := range 12 {
		s := mustOpen(t, cfg)
		d := mustDestination(t, s, "a")
		passAll(t, d)
		for n := range 5 {
			f := frame(n)
			if err := s.Append(context.Background(), f); err != nil {
				t.Fatal(err)
			}
			if f.Seq <= last {
				t.Fatalf("round %d: seq %d after %d", round, f.Seq, last)
			}
			last = f.Seq
		}
		if round%2 == 0 {
			passAll(t, d)
		}
		mustClose(t, s)
		switch round % 4 {
		case 1: // damaged, all of it
			for _, file := range segmentFiles(t, filepath.Join(cfg.Directory, "destinations/a")) {
				if err := os.WriteFile(file, make([]byte, fileSize(t, file)), 0); err != nil {
					t.Fatal(err)
				}
			}
		case 2: // progress gone, segments too
			s := mustOpen(t, cfg)
			if err := s.Forget("a"); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)
		}
	}
}

// A bound can be changed, and what waits is seen without the lock.
func TestBoundAndPeek(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Directory: dir, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, err := s.Destination("out")
	if err != nil {
		t.Fatal(err)
	}
	frame := func(n int) *Frame { return &Frame{Lines: n, RawBytes: 3, Body: []byte("\x1f\x8b\x08body")} }
	if err := s.Append(t.Context(), frame(1), frame(2), frame(3)); err != nil {
		t.Fatal(err)
	}
	peek := func(bodies bool) (lines []int, size int64) {
		err := Peek(dir, "out", bodies, func(f *Frame, n int64) bool {
			lines, size = append(lines, f.Lines), size+n
			if bodies != (len(f.Body) > 0) {
				t.Errorf("a body of %d bytes", len(f.Body))
			}
			return len(lines) < 3
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines, size
	}
	if lines, size := peek(true); len(lines) != 3 || size != d.Backlog().Bytes {
		t.Errorf("%v in %d bytes; %+v", lines, size, d.Backlog())
	}
	var f Frame
	if ok, err := d.TryNext(&f); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := d.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	if err := s.saveAll(); err != nil {
		t.Fatal(err)
	}
	if lines, _ := peek(false); len(lines) != 2 || lines[0] != 2 {
		t.Error(lines)
	}
	s.Bound(1)
	if err := s.Append(t.Context(), frame(4)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	s.Bound(0)
	if err := s.Append(t.Context(), frame(4)); err != nil {
		t.Error(err)
	}
	if err := Peek(dir, "nobody", false, nil); err == nil {
		t.Error("a destination that is not there was looked into")
	}
}

// A spool that stays full drops without end, and says so once a minute.
func TestDroppingIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t.TempDir())
		cfg.MaxBytes, cfg.DropOldest = 16<<10, true
		var log bytes.Buffer
		cfg.Logger = textLogger(&log)
		s := mustOpen(t, cfg)
		d := mustDestination(t, s, "slow")
		n := 0
		fill := func(told int) {
			t.Helper()
			before := d.Backlog().DroppedLines
			for until := n + 400; n < until; n++ {
				mustAppend(t, s, n, n+1)
			}
			if d.Backlog().DroppedLines == before {
				t.Fatal("nothing was dropped")
			}
			if got := strings.Count(log.String(), "the oldest segments"); got != told {
				t.Errorf("told %d times, want %d:\n%s", got, told, log.String())
			}
		}
		fill(1)
		fill(1)
		time.Sleep(tellEvery)
		fill(2)
		var lines int64
		for text := range strings.Lines(log.String()) {
			if _, after, ok := strings.Cut(text, " lines="); ok {
				one, err := strconv.ParseInt(strings.TrimSpace(after), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				lines += one
			}
		}
		if got := d.Backlog().DroppedLines; lines+d.untold.lines != got {
			t.Errorf("told of %d, %d still to tell, %d dropped", lines, d.untold.lines, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
