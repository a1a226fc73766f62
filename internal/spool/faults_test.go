package spool

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// faulty is a system whose calls fail as a test wants; what it does not set
// works.
type faulty struct {
	kernel
	write    func(f *os.File, bufs [][]byte, off int64) error
	datasync func(f *os.File) error
	link     func(from, to string) error
	remove   func(path string) error
	readAt   func(f *os.File, b []byte, off int64) (int, error)
	free     func() int64
}

func (k *faulty) Write(f *os.File, bufs [][]byte, off int64) error {
	if k.write != nil {
		if err := k.write(f, bufs, off); err != nil {
			return err
		}
	}
	return k.kernel.Write(f, bufs, off)
}

func (k *faulty) Datasync(f *os.File) error {
	if k.datasync != nil {
		if err := k.datasync(f); err != nil {
			return err
		}
	}
	return k.kernel.Datasync(f)
}

func (k *faulty) Link(from, to string) error {
	if k.link != nil {
		if err := k.link(from, to); err != nil {
			return err
		}
	}
	return k.kernel.Link(from, to)
}

func (k *faulty) Remove(path string) error {
	if k.remove != nil {
		if err := k.remove(path); err != nil {
			return err
		}
	}
	return k.kernel.Remove(path)
}

func (k *faulty) ReadAt(f *os.File, b []byte, off int64) (int, error) {
	if k.readAt != nil {
		if n, err := k.readAt(f, b, off); err != nil {
			return n, err
		}
	}
	return k.kernel.ReadAt(f, b, off)
}

func (k *faulty) Free(dir string) (int64, error) {
	if k.free != nil {
		return k.free(), nil
	}
	return k.kernel.Free(dir)
}

// isSegment reports whether f is written by a commit, under either name.
func isSegment(f *os.File) bool {
	base := filepath.Base(f.Name())
	return strings.HasSuffix(base, segmentSuffix) || strings.HasSuffix(base, segmentSuffix+temporary)
}

// A commit that fails must fail its callers, be unreadable for ever, and leave
// the spool working, wherever in the life of a segment it happens.
func TestFailedCommits(t *testing.T) {
	short := func(f *os.File, bufs [][]byte, off int64) error {
		_, _ = f.WriteAt(bufs[0][:len(bufs[0])/2], off)
		return io.ErrShortWrite
	}
	late := func(f *os.File, bufs [][]byte, off int64) error {
		_ = kernel{}.Write(f, bufs, off) // all there, yet failed
		return unix.EIO
	}
	full := func(*os.File, [][]byte, int64) error { return unix.ENOSPC }
	for name, fail := range map[string]func(k *faulty){
		"short write":   func(k *faulty) { k.write = short },
		"late error":    func(k *faulty) { k.write = late },
		"disk full":     func(k *faulty) { k.write = full },
		"failed sync":   func(k *faulty) { k.datasync = func(*os.File) error { return unix.EIO } },
		"failed link":   func(k *faulty) { k.link = func(_, to string) error { return failIn(to, "/b/", unix.EMLINK) } },
		"quota reached": func(k *faulty) { k.datasync = func(*os.File) error { return unix.EDQUOT } },
	} {
		for _, before := range []int{0, 3} { // the first commit of a segment, and a later one
			t.Run(name, func(t *testing.T) { testFailedCommit(t, before, fail) })
		}
	}
}

func failIn(path, part string, err error) error {
	if strings.Contains(path, part) {
		return err
	}
	return nil
}

func testFailedCommit(t *testing.T, before int, fail func(k *faulty)) {
	cfg := testConfig(t.TempDir())
	k := &faulty{}
	s := mustOpenOn(t, cfg, k)
	a, b := mustDestination(t, s, "a"), mustDestination(t, s, "b")
	mustAppend(t, s, 0, before)

	s.disk.Lock() // the committer reads k under it
	fail(k)
	s.disk.Unlock()
	want := sequence(0, before)
	refused := 0
	for n := 100; n < 103; n++ {
		err := s.Append(context.Background(), frame(n))
		if err == nil { // links fail only when a segment is begun
			want = append(want, n)
			continue
		}
		refused++
		if full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT); full != errors.Is(err, ErrNoSpace) {
			t.Errorf("got %v", err)
		}
	}
	if refused == 0 && k.link == nil {
		t.Error("nothing failed")
	}
	s.disk.Lock()
	*k = faulty{}
	s.disk.Unlock()
	mustAppend(t, s, 200, 203)
	want = append(want, sequence(200, 203)...)

	for _, d := range []*Destination{a, b} {
		numbers, _ := rest(t, d)
		wantNumbers(t, "live", numbers, want)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	for _, name := range []string{"a", "b"} {
		numbers, _ := rest(t, mustDestination(t, s, name))
		wantNumbers(t, "reopened", numbers, want)
	}
	if st := s.Stats(); st.DamagedFrames != 0 {
		t.Errorf("%d damaged", st.DamagedFrames)
	}
}

func TestFreeSpaceMark(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.MinFreeBytes = 1 << 20
	var free atomic.Int64
	free.Store(math.MaxInt64)
	s := mustOpenOn(t, cfg, &faulty{free: free.Load})
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 2)
	free.Store(1<<20 + 10)
	if err := s.Append(context.Background(), frame(9)); !errors.Is(err, ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	free.Store(2 << 20)
	mustAppend(t, s, 2, 4)
	numbers, _ := rest(t, d)
	wantNumbers(t, "after recovery", numbers, sequence(0, 4))
}

// What every destination has passed makes way, too, though it stands in a
// segment that still grows, and so does what they pass later.
func TestPassedMakesWayOnAFullDisk(t *testing.T) {
	for _, late := range []bool{false, true} {
		cfg := testConfig(t.TempDir())
		cfg.KeptBytes = 1 << 20
		cfg.MinFreeBytes = 1000
		var short atomic.Bool
		s := mustOpenOn(t, cfg, &faulty{free: func() int64 {
			if short.Load() && len(segmentFiles(t, filepath.Join(cfg.Directory, keptName)))+removedButOpen(cfg.Directory) > 0 {
				return 0
			}
			return math.MaxInt64
		}})
		d := mustDestination(t, s, "a")
		mustAppend(t, s, 0, 10)
		short.Store(true)
		if late {
			if err := s.Append(context.Background(), frame(99)); !errors.Is(err, ErrNoSpace) {
				t.Errorf("nothing is passed, and yet: %v", err)
			}
		}
		_, last := rest(t, d)
		if err := d.Advance(last); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, 10, 11)
		mustClose(t, s)
	}
}

// removedButOpen counts the files below dir that this process has open though
// they have no name any more: they still fill the disk.
func removedButOpen(dir string) (n int) {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, _ := os.Readlink(link); strings.HasPrefix(to, dir) && strings.HasSuffix(to, " (deleted)") {
			n++
		}
	}
	return n
}

// What is kept only as a cache makes way before anybody is refused.
func TestKeptMakesWayOnAFullDisk(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	cfg.SegmentBytes = 1 << 10
	cfg.MinFreeBytes = 1000
	var short atomic.Bool
	s := mustOpenOn(t, cfg, &faulty{free: func() int64 {
		if short.Load() && len(segmentFiles(t, filepath.Join(cfg.Directory, keptName))) > 2 {
			return 0
		}
		return math.MaxInt64
	}})
	mustAppend(t, s, 0, 60)
	short.Store(true)
	mustAppend(t, s, 60, 61)
	if n := len(segmentFiles(t, filepath.Join(cfg.Directory, keptName))); n > 3 {
		t.Errorf("%d segments are still kept", n)
	}
}

// A place that the disk cannot read is an error first and damage in the end,
// so that neither a hiccup loses a frame nor one bad sector all that follow.
func TestUnreadableSector(t *testing.T) {
	for name, hiccups := range map[string]int{"passes": 2, "stays": math.MaxInt} {
		t.Run(name, func(t *testing.T) { testUnreadableSector(t, hiccups) })
	}
}

func testUnreadableSector(t *testing.T, hiccups int) {
	const bad = 40 << 10
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 1 << 20
	k := &faulty{}
	s := mustOpenOn(t, cfg, k)
	d := mustDestination(t, s, "a")
	mustAppendAtOnce(t, s, 0, 600)
	d.reading.Lock()
	left := hiccups
	k.readAt = func(f *os.File, b []byte, off int64) (int, error) {
		if left > 0 && off < bad+4096 && off+int64(len(b)) > bad {
			left--
			if off >= bad {
				return 0, unix.EIO
			}
			n, _ := f.ReadAt(b[:bad-off], off)
			return n, unix.EIO
		}
		return f.ReadAt(b, off)
	}
	d.reading.Unlock()
	var f Frame
	var numbers []int
	failures := 0
	for {
		ok, err := d.TryNext(&f)
		if err != nil {
			if failures++; failures > patience {
				t.Fatal(err)
			}
			continue
		}
		if !ok {
			break
		}
		numbers = append(numbers, numberOf(t, &f))
	}
	if hiccups < patience {
		wantNumbers(t, "after a hiccup", numbers, sequence(0, 600))
		return
	}
	if lost := 600 - len(numbers); lost == 0 || lost > 4096/frameBytes || s.Stats().DamagedFrames != 1 {
		t.Errorf("lost %d frames, %d damaged", lost, s.Stats().DamagedFrames)
	}
	if numbers[len(numbers)-1] != 599 {
		t.Errorf("the last one read is %d", numbers[len(numbers)-1])
	}
}

// What the disk cannot read while a spool is opened is not cut off: it may be
// read later.
func TestUnreadableEndWhileOpening(t *testing.T) {
	for name, part := range map[string]int{"header": 10, "body": frameBytes + 10} {
		t.Run(name, func(t *testing.T) { testUnreadableEnd(t, int64(part)) })
	}
}

// testUnreadableEnd has the disk not give what follows on so many bytes of the
// last frame.
func testUnreadableEnd(t *testing.T, part int64) {
	cfg := testConfig(t.TempDir())
	s := mustOpen(t, cfg)
	mustDestination(t, s, "a")
	mustAppend(t, s, 0, 2)
	end := s.Stats().Bytes
	mustAppend(t, s, 2, 3)
	mustClose(t, s)
	var ill atomic.Bool
	ill.Store(true)
	s = mustOpenOn(t, cfg, &faulty{readAt: func(f *os.File, b []byte, off int64) (int, error) {
		bad := end + part
		if !ill.Load() || off+int64(len(b)) <= bad {
			return 0, nil
		}
		n, _ := f.ReadAt(b[:max(0, bad-off)], off)
		return n, unix.EIO
	}})
	ill.Store(false)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 3, 5)
	got, _ := rest(t, d)
	wantNumbers(t, "after an illness of the disk", got, sequence(0, 5))
}

// Nothing but the newest segment is read before Open returns.
func TestOpenReadsOnlyTheNewestSegment(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 1 << 10
	s := mustOpen(t, cfg)
	mustDestination(t, s, "a")
	mustAppend(t, s, 0, 300)
	mustClose(t, s)
	files := segmentFiles(t, filepath.Join(cfg.Directory, destinationsName, "a"))
	newest := files[len(files)-1]
	opened := make(chan struct{})
	s = mustOpenOn(t, cfg, &faulty{readAt: func(f *os.File, _ []byte, _ int64) (int, error) {
		if f.Name() != newest {
			<-opened
		}
		return 0, nil
	}})
	if got := s.Stats(); got.Segments != len(files) || got.UndeliveredBytes != got.Bytes || got.Bytes < 300*frameBytes {
		t.Errorf("%d files, %+v", len(files), got)
	}
	close(opened)
	d := mustDestination(t, s, "a")
	b := d.Backlog()
	if b.Frames < 250 || b.Frames > 350 {
		t.Errorf("the estimate is off: %+v", b)
	}
	eventually(t, "counted", func() bool { return d.Backlog().Exact })
	if b := d.Backlog(); b.Frames != 300 || b.Lines != 300 {
		t.Errorf("%+v", b)
	}
}

// When a passed segment cannot be unlinked it is tried again.
// A temporary name that cannot be removed is a second name of a segment that
// was acknowledged: it must never be written through again.
func TestATemporaryNameThatStaysIsNotUsedAgain(t *testing.T) {
	cfg := testConfig(t.TempDir())
	k := &faulty{remove: func(path string) error {
		if strings.HasSuffix(path, temporary) {
			return unix.EIO
		}
		return nil
	}}
	s := mustOpenOn(t, cfg, k)
	d := mustDestination(t, s, "a")
	for i := range 4 { // each in a segment of its own
		mustAppend(t, s, i, i+1)
		s.disk.Lock()
		s.seal()
		s.disk.Unlock()
	}
	numbers, _ := rest(t, d)
	wantNumbers(t, "read", numbers, sequence(0, 4))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k.remove = nil
	s = mustOpenOn(t, cfg, k)
	numbers, _ = rest(t, mustDestination(t, s, "a"))
	wantNumbers(t, "read again", numbers, sequence(0, 4))
	left, err := filepath.Glob(filepath.Join(cfg.Directory, "*"+temporary))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary names are left: %v, %v", left, err)
	}
}

func TestUnlinkIsTriedAgain(t *testing.T) {
	cfg := testConfig(t.TempDir())
	k := &faulty{}
	var broken atomic.Bool
	k.remove = func(path string) error {
		if broken.Load() && strings.HasSuffix(path, segmentSuffix) {
			return unix.EIO
		}
		return nil
	}
	s := mustOpenOn(t, cfg, k)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 5)
	broken.Store(true)
	s.disk.Lock()
	s.seal()
	s.disk.Unlock()
	passAll(t, d)
	if st := s.Stats(); st.Segments != 1 {
		t.Errorf("%+v", st)
	}
	broken.Store(false)
	d.sweep()
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 || st.UndeliveredBytes != 0 {
		t.Errorf("%+v", st)
	}
	mustAppend(t, s, 5, 6)
	numbers, _ := rest(t, d)
	wantNumbers(t, "afterwards", numbers, []int{5})
}
