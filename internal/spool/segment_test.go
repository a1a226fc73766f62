package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

func TestSegmentIsGzip(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	s := mustOpen(t, cfg)
	two := &Frame{Key: strings.Repeat("k", maxKey), Body: append(zipped("one\n"), zipped("two\n")...)}
	if err := s.Append(context.Background(), two, &Frame{Body: zipped("three\n")}); err != nil {
		t.Fatal(err)
	}
	file := segmentFiles(t, filepath.Join(cfg.Directory, keptName))[0]
	if base := filepath.Base(file); base != "00000000000000000001.gz" {
		t.Error(base)
	}
	for _, tool := range [][]string{{"gzip", "-t"}, {"zcat"}} {
		path, err := exec.LookPath(tool[0])
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(path, append(tool[1:], file)...).CombinedOutput()
		if err != nil || tool[0] == "zcat" && string(out) != "one\ntwo\nthree\n" {
			t.Errorf("%s: %q %v", tool[0], out, err)
		}
	}
}

// Callers that come while a commit syncs share the next one.
func TestCallersShareASync(t *testing.T) {
	const callers = 50
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	syncing, proceed := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s := mustOpenOn(t, cfg, &faulty{datasync: func(f *os.File) error {
		if isSegment(f) {
			first.Do(func() { close(syncing); <-proceed })
		}
		return nil
	}})
	opening := s.Stats().Syncs
	var wg sync.WaitGroup
	add := func(n int) {
		wg.Go(func() {
			if err := s.Append(context.Background(), frame(n)); err != nil {
				t.Error(err)
			}
		})
	}
	add(0)
	<-syncing
	for n := 1; n <= callers; n++ {
		add(n)
	}
	eventually(t, "all wait", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == callers })
	close(proceed)
	wg.Wait()
	if st := s.Stats(); st.Frames != callers+1 || st.Commits != 2 || st.Syncs-opening != 3 { // two of data, one of kept/
		t.Errorf("%+v", st)
	}
}

// Callers that come again as soon as they are answered share every sync, and
// one that is alone waits for nobody.
func TestCommitsGatherThoseWhoComeAgain(t *testing.T) {
	const each = 50
	for _, callers := range []int{1, 8} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig(dir)
				cfg.KeptBytes = 1 << 20
				proceed := make(chan struct{})
				s := mustOpenOn(t, cfg, &faulty{datasync: func(*os.File) error { <-proceed; return nil }})
				var wg sync.WaitGroup
				for n := range callers {
					wg.Go(func() {
						for range each {
							if err := s.Append(context.Background(), frame(n)); err != nil {
								t.Error(err)
							}
						}
					})
				}
				first := 0 // callers in the first commit
				for waiting := 0; first == 0 || first+waiting < callers; {
					runtime.Gosched()
					s.mu.Lock()
					first, waiting = int(s.next)-1, len(s.pending)
					s.mu.Unlock()
				}
				// Those of the first commit are done first, and missed in the last.
				commits, waited := int64(each), time.Duration(0)
				if first < callers {
					commits, waited = each+1, patient
				}
				start := time.Now()
				close(proceed)
				wg.Wait()
				if st := s.Stats(); st.Commits != commits || time.Since(start) != waited {
					t.Errorf("%d of %d in the first commit: %d commits in %v", first, callers, st.Commits, time.Since(start))
				}
				mustClose(t, s)
			})
		})
	}
}

// What is written is the caller's again, and nothing of it stays in memory.
func TestNothingHoldsOnToWhatIsWritten(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	mustDestination(t, s, "a")
	appended := func() weak.Pointer[Frame] {
		f := frame(0)
		if err := s.Append(context.Background(), f); err != nil {
			t.Fatal(err)
		}
		return weak.Make(f)
	}()
	eventually(t, "nobody has it", func() bool { runtime.GC(); return appended.Value() == nil })
}

func TestCommitDelayGathersCallers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(dir)
		cfg.KeptBytes = 1 << 20
		cfg.CommitDelay = 100 * time.Millisecond
		s := mustOpen(t, cfg)
		start := time.Now()
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				time.Sleep(time.Duration(n) * 9 * time.Millisecond)
				if err := s.Append(context.Background(), frame(n)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if st := s.Stats(); st.Commits != 1 || time.Since(start) != cfg.CommitDelay {
			t.Errorf("%d commits in %v", st.Commits, time.Since(start))
		}
		mustClose(t, s)
	})
}

// A caller that gives up takes back what still waits for its turn.
func TestGivingUpTakesBack(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(dir)
		cfg.CommitDelay = time.Minute
		s := mustOpen(t, cfg)
		d := mustDestination(t, s, "a")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Append(ctx, frame(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		mustAppend(t, s, 1, 2)
		numbers, _ := rest(t, d)
		wantNumbers(t, "without it", numbers, []int{1})
		mustClose(t, s)
	})
}

// Whoever has been answered finds its commit among those that were told of.
func TestCommitsAreToldBeforeTheyAreAnswered(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	var answered atomic.Bool
	cfg.Committed = func(time.Duration) {
		time.Sleep(50 * time.Millisecond) // in which who is answered already says so
		if answered.Load() {
			t.Error("it was answered before")
		}
	}
	s := mustOpen(t, cfg)
	err := s.Append(context.Background(), frame(0))
	answered.Store(true)
	if err != nil {
		t.Error(err)
	}
	mustClose(t, s)
}

// Close commits what waits rather than leave its callers alone.
func TestCloseCommitsWhatWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(dir)
		cfg.KeptBytes = 1 << 20
		cfg.CommitDelay = time.Hour
		s := mustOpen(t, cfg)
		done := make(chan error)
		go func() { done <- s.Append(context.Background(), frame(0)) }()
		synctest.Wait()
		mustClose(t, s)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// An idle segment is sealed at its age, and then gone where nobody needs it;
// so is what was kept for long enough. Numbers go on from where they were.
func TestAgeWhileIdle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(dir)
		cfg.KeptBytes, cfg.KeptAge = 1<<20, time.Hour
		s := mustOpen(t, cfg)
		passAll(t, mustDestination(t, s, "a"))
		d := mustDestination(t, s, "a")
		mustAppend(t, s, 0, 3)
		passAll(t, d)
		segments := func(name string) int { return len(segmentFiles(t, filepath.Join(dir, name))) }
		if segments("destinations/a") != 1 {
			t.Error("the segment went before its age")
		}
		time.Sleep(defaultSegmentAge + 10*time.Second)
		if segments("destinations/a") != 0 || segments(keptName) != 1 {
			t.Error("the segment stayed, or left kept/ too soon")
		}
		time.Sleep(2 * time.Hour)
		if st := s.Stats(); segments(keptName) != 0 || st.Segments != 0 || st.Bytes != 0 || st.KeptBytes != 0 {
			t.Errorf("%+v", st)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg)
		if err := s.Forget("a"); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s = mustOpen(t, cfg)
		f := frame(9)
		if err := s.Append(context.Background(), f); err != nil || f.Seq != 4 {
			t.Errorf("seq %d, %v", f.Seq, err)
		}
		mustClose(t, s)
	})
}

// Progress is on disk a few seconds after Advance, without Close.
func TestProgressIsSavedWhileIdle(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := mustOpen(t, testConfig(dir))
		d := mustDestination(t, s, "a")
		mustAppend(t, s, 0, 3)
		passAll(t, d)
		progress := filepath.Join(dir, "destinations/a", progressName)
		if n, err := readNumber(progress); n != 0 || err != nil {
			t.Error("saved at once", n, err)
		}
		syncs := s.Stats().Syncs
		time.Sleep(saveEvery + time.Second)
		if n, err := readNumber(progress); n != 3 || err != nil {
			t.Error("not saved", n, err)
		}
		time.Sleep(10 * saveEvery)
		if got := s.Stats().Syncs - syncs; got != 2 {
			t.Errorf("%d syncs for one saving", got)
		}
		mustClose(t, s)
	})
}

func links(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return uint64(st.Nlink)
}

// One file has one name for every destination and one in kept/, and no other.
func TestLinksOfASegment(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	s := mustOpen(t, cfg)
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	mustAppend(t, s, 0, 3)
	file := segmentFiles(t, filepath.Join(cfg.Directory, keptName))[0]
	want := func(what string, n uint64) {
		t.Helper()
		if got := links(t, file); got != n {
			t.Errorf("%s: %d links, want %d", what, got, n)
		}
	}
	want("two destinations", 3)
	c := mustDestination(t, s, "c")
	want("and a new one", 4)
	mustAppend(t, s, 3, 4)
	want("it goes on growing", 4)
	s.disk.Lock()
	s.seal()
	s.disk.Unlock()
	passAll(t, a)
	want("one has passed it", 3)
	if err := s.Forget("b"); err != nil {
		t.Fatal(err)
	}
	want("one was forgotten", 2)
	if err := b.Advance(1); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	passAll(t, c)
	want("only kept", 1)
	if st := s.Stats(); st.UndeliveredBytes != 0 || st.KeptBytes != fileSize(t, file) || st.Bytes != st.KeptBytes {
		t.Errorf("%+v", st)
	}
}

func TestSegmentsAreSealedAtTheirSize(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 2 << 10
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 200)
	files := segmentFiles(t, filepath.Join(cfg.Directory, "destinations/a"))
	if len(files) < 10 {
		t.Errorf("%d segments", len(files))
	}
	for _, file := range files {
		if size := fileSize(t, file); size > cfg.SegmentBytes+500 {
			t.Errorf("%s has %d bytes", file, size)
		}
	}
	passAll(t, d)
	eventually(t, "passed segments are gone", func() bool {
		return len(segmentFiles(t, filepath.Join(cfg.Directory, "destinations/a"))) <= 1
	})
}

// Readers and writers at once: every destination gets every frame once, in
// order, those that join late from kept/ as well.
func TestConcurrentReadersAndWriters(t *testing.T) {
	const writers, each = 8, 60
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 4 << 10
	cfg.KeptBytes = 64 << 20
	s := mustOpen(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var appends, reads sync.WaitGroup
	for w := range writers {
		appends.Go(func() {
			for n := range each {
				if err := s.Append(ctx, frame(w*each+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 6 {
		reads.Go(func() {
			eventually(t, "it is time to join", func() bool { return s.Stats().Frames >= int64(i*writers*each/7) })
			d, err := s.Destination(fmt.Sprintf("d%d", i))
			if err != nil {
				t.Error(err)
				return
			}
			readAll(ctx, t, d, writers*each, i%2 == 0)
		})
	}
	reads.Go(func() { // somebody watches
		for s.Stats().Frames < writers*each {
			_ = s.Kept(ctx, func(*Frame) error { return nil })
			names, _ := s.Destinations()
			for _, name := range names {
				if d, err := s.Destination(name); err == nil {
					_ = d.Backlog()
				}
			}
		}
	})
	appends.Wait()
	reads.Wait()
}

// readAll reads count frames, each of a different number, with a step back now
// and then.
func readAll(ctx context.Context, t *testing.T, d *Destination, count int, rewinding bool) {
	var f Frame
	var last, passed uint64
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[int]uint64{}
	for len(seen) < count || passed < last {
		if len(seen) < count {
			if err := d.Next(ctx, &f); err != nil {
				t.Error(err)
				return
			}
			n := numberOf(t, &f)
			if was, ok := seen[n]; ok && was != f.Seq || f.Seq <= last {
				t.Errorf("frame %d: seq %d after %d", n, f.Seq, last)
			}
			seen[n], last = f.Seq, f.Seq
		}
		if rewinding && r.IntN(20) == 0 {
			d.Rewind()
			last = passed
			for n, seq := range seen {
				if seq > passed {
					delete(seen, n)
				}
			}
			continue
		}
		if r.IntN(3) == 0 || len(seen) == count {
			if err := d.Advance(last); err != nil {
				t.Error(err)
			}
			passed = last
		}
	}
}

// A destination that is made while frames arrive gets each of them once and in
// order, whether from kept/ or live.
func TestBackfillMeetsLiveAppends(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 1 << 10
	cfg.KeptBytes = 64 << 20
	s := mustOpen(t, cfg)
	const count = 300
	var wg sync.WaitGroup
	wg.Go(func() { mustAppend(t, s, 0, count) })
	for i := range 20 {
		eventually(t, "the next joins", func() bool { return s.Stats().Frames >= int64(i*count/20) })
		d := mustDestination(t, s, fmt.Sprintf("d%d", i))
		wg.Go(func() {
			var f Frame
			for n := range count {
				if err := d.Next(context.Background(), &f); err != nil {
					t.Error(err)
					return
				}
				if got := numberOf(t, &f); got != n {
					t.Errorf("%s: got %d, want %d", d.name, got, n)
					return
				}
			}
		})
	}
	wg.Wait()
}
