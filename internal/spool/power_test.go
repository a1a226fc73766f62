package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// recorder is a disk that can be looked at between any two calls, in two ways:
// as a process that is killed leaves it, and as a power cut does. For the
// second it knows what was synced: how much of each file, and which names of
// each directory.
type recorder struct {
	kernel
	root string

	mu      sync.Mutex
	files   map[uint64]*os.File          // by inode: to read even what has no name any more
	synced  map[uint64]int64             // bytes of a file
	names   map[uint64]map[string]uint64 // of a directory, by its inode
	lies    lies
	observe func(op string) // called with mu held
}

// lies are what a recorder may leave out, to see that it would be noticed.
type lies struct{ data, names bool }

func newRecorder(root string) *recorder {
	r := &recorder{root: root, files: map[uint64]*os.File{}, synced: map[uint64]int64{},
		names: map[uint64]map[string]uint64{}, observe: func(string) {}}
	return r
}

func inode(path string) uint64 {
	var st syscall.Stat_t
	if syscall.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// step makes one call between two looks at the disk.
func (r *recorder) step(op string, call func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observe("before " + op)
	err := call()
	r.observe("after " + op)
	return err
}

func (r *recorder) Create(path string) (f *os.File, err error) {
	err = r.step("create "+path, func() error {
		if f, err = r.kernel.Create(path); err != nil {
			return err
		}
		again, err := os.Open(path) // and it stays open, so that nobody else gets its inode
		r.files[inode(path)], r.synced[inode(path)] = again, 0
		return err
	})
	return f, err
}

func (r *recorder) Write(f *os.File, bufs [][]byte, off int64) error {
	whole := slices.Concat(bufs...)
	half := len(whole) / 2
	if err := r.step("write half of "+f.Name(), func() error {
		return r.kernel.Write(f, [][]byte{whole[:half]}, off)
	}); err != nil {
		return err
	}
	return r.step("write "+f.Name(), func() error {
		return r.kernel.Write(f, [][]byte{whole[half:]}, off+int64(half))
	})
}

func (r *recorder) Datasync(f *os.File) error {
	return r.step("datasync "+f.Name(), func() error {
		info, err := f.Stat()
		if err == nil && !r.lies.data {
			r.synced[info.Sys().(*syscall.Stat_t).Ino] = info.Size() // its temporary name may be gone
		}
		return err
	})
}

func (r *recorder) SyncDirectory(path string) error {
	return r.step("sync directory "+path, func() error {
		if !r.lies.names {
			r.syncNames(path)
		}
		return nil
	})
}

func (r *recorder) syncNames(path string) {
	now := map[string]uint64{}
	entries, _ := os.ReadDir(path)
	for _, e := range entries {
		now[e.Name()] = inode(filepath.Join(path, e.Name()))
	}
	r.names[inode(path)] = now
}

func (r *recorder) Link(from, to string) error {
	return r.step("link "+to, func() error { return r.kernel.Link(from, to) })
}

func (r *recorder) Rename(from, to string) error {
	return r.step("rename "+to, func() error { return r.kernel.Rename(from, to) })
}

func (r *recorder) Remove(path string) error {
	return r.step("remove "+path, func() error { return r.kernel.Remove(path) })
}

func (r *recorder) Mkdir(path string) error {
	return r.step("mkdir "+path, func() error {
		err := r.kernel.Mkdir(path)
		if err == nil {
			r.names[inode(path)] = map[string]uint64{}
		}
		return err
	})
}

// afterKill copies the directory as it is, links included.
func (r *recorder) afterKill(to string) error {
	copied := map[uint64]string{}
	return filepath.WalkDir(r.root, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // before the first of all calls
		}
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(r.root, path)
		target := filepath.Join(to, rel)
		if e.IsDir() {
			return os.MkdirAll(target, 0o750)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return placeFile(target, inode(path), content, copied)
	})
}

// afterPowerCut builds the directory out of what was synced.
func (r *recorder) afterPowerCut(to string) error {
	if err := os.MkdirAll(to, 0o750); err != nil {
		return err
	}
	return r.build(to, r.names[inode(r.root)], map[uint64]string{})
}

func (r *recorder) build(to string, names map[string]uint64, built map[uint64]string) error {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ino, target := names[name], filepath.Join(to, name)
		if f := r.files[ino]; f != nil {
			content, err := io.ReadAll(io.NewSectionReader(f, 0, r.synced[ino]))
			if err == nil {
				err = placeFile(target, ino, content, built)
			}
			if err != nil {
				return err
			}
		} else if name != lockName {
			if err := os.MkdirAll(target, 0o750); err != nil {
				return err
			}
			if err := r.build(target, r.names[ino], built); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeFile writes one file, or links it where it was written before.
func placeFile(target string, ino uint64, content []byte, before map[uint64]string) error {
	if first, ok := before[ino]; ok {
		return os.Link(first, target)
	}
	before[ino] = target
	return os.WriteFile(target, content, 0o640)
}

// quick is a system that syncs nothing, for what lives only as long as a test.
type quick struct{ kernel }

func (quick) Datasync(*os.File) error    { return nil }
func (quick) SyncDirectory(string) error { return nil }

// promise is what the spool has promised at one moment.
type promise struct {
	acked   []int
	highest uint64
	passed  map[string]int // destinations that were opened: how many frames of acked they have passed
}

// kept checks that a spool found on disk keeps p: each destination is given
// every frame that was acknowledged to it and that it has not passed.
func (p *promise) kept(dir string) error {
	s, err := open(powerConfig(dir), quick{})
	if err != nil {
		return err
	}
	defer s.Close()
	for name, passed := range p.passed {
		if err := p.keptFor(s, name, passed); err != nil {
			return fmt.Errorf("destination %s: %w", name, err)
		}
	}
	if st := s.Stats(); st.DamagedFrames > 0 {
		return fmt.Errorf("%d damaged", st.DamagedFrames)
	}
	f := frame(0)
	if err := s.Append(context.Background(), f); err != nil && !errors.Is(err, ErrNoDestination) {
		return err
	} else if err == nil && f.Seq <= p.highest {
		return fmt.Errorf("seq %d is given again: %d was", f.Seq, p.highest)
	}
	return nil
}

func (p *promise) keptFor(s *Spool, name string, passed int) error {
	d, err := s.Destination(name)
	if err != nil {
		return err
	}
	var got []int
	var f Frame
	var last uint64
	for {
		ok, err := d.TryNext(&f)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if f.Seq <= last {
			return fmt.Errorf("seq %d after %d", f.Seq, last)
		}
		last = f.Seq
		n, err := number(&f)
		if err != nil {
			return err
		}
		got = append(got, n)
	}
	// What was passed may come again; what was not acknowledged may come too.
	want := p.acked[passed:]
	for i, n := range want {
		at := slices.Index(got, n)
		if at < 0 || slices.Index(got[at+1:], n) >= 0 {
			return fmt.Errorf("frame %d of %v: want once in %v", n, want, got)
		}
		if i > 0 && at < slices.Index(got, want[i-1]) {
			return fmt.Errorf("%v are out of order in %v", want, got)
		}
	}
	return nil
}

func powerConfig(dir string) Config {
	cfg := testConfig(dir)
	cfg.SegmentBytes = 450 // three frames
	cfg.KeptBytes = 2 << 10
	return cfg
}

// story lives a spool's life: growing, delivering, gaining and losing
// destinations, coming back. p is always up to date.
type story struct {
	t *testing.T
	r *recorder
	p promise
	s *Spool
}

// tell changes what is promised, at a moment when nobody looks.
func (st *story) tell(change func()) {
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	change()
}

func (st *story) destination(name string, passed int) *Destination {
	d := mustDestination(st.t, st.s, name)
	st.tell(func() { st.p.passed[name] = passed })
	return d
}

func (st *story) append(from, to int) {
	for n := from; n < to; n++ {
		f := frame(n)
		if err := st.s.Append(context.Background(), f); err != nil {
			st.t.Fatal(err)
		}
		st.tell(func() { st.p.acked, st.p.highest = append(st.p.acked, n), f.Seq })
	}
}

func (st *story) pass(d *Destination, count int) {
	var f Frame
	for range count {
		if err := d.Next(context.Background(), &f); err != nil {
			st.t.Fatal(err)
		}
		st.tell(func() { st.p.passed[d.name]++ })
		if err := d.Advance(f.Seq); err != nil {
			st.t.Fatal(err)
		}
	}
}

func (st *story) live() {
	st.s = mustOpenOn(st.t, powerConfig(st.r.root), st.r)
	a, _ := st.destination("a", 0), st.destination("b", 0)
	st.append(0, 8)
	st.pass(a, 7)
	st.append(8, 12)
	st.tell(func() { delete(st.p.passed, "b") })
	if err := st.s.Forget("b"); err != nil {
		st.t.Fatal(err)
	}
	st.destination("c", 0) // out of kept/
	st.append(12, 16)
	st.pass(a, 9)
	mustClose(st.t, st.s)
	st.s = mustOpenOn(st.t, powerConfig(st.r.root), st.r)
	c := st.destination("c", 0)
	st.append(16, 18) // a is not there, and its gap is filled later
	st.destination("a", 16)
	st.append(18, 20)
	st.pass(c, 20)
	mustClose(st.t, st.s)
}

// cut lives the story and checks what is left after a kill and after a power
// cut before and after each of its calls; it returns how many looks it took
// and what it found.
func cut(t *testing.T, told lies) (looks int, broken []error) {
	root := filepath.Join(t.TempDir(), "spool")
	copies := t.TempDir()
	r := newRecorder(root)
	r.lies = told
	st := &story{t: t, r: r, p: promise{passed: map[string]int{}}}
	look := func(op, kind string, copy func(string) error) {
		if told != (lies{}) && len(broken) > 0 {
			return // one is enough
		}
		dir := filepath.Join(copies, fmt.Sprint(looks))
		looks++
		err := copy(dir)
		if err == nil {
			err = st.p.kept(dir)
		}
		if err != nil {
			broken = append(broken, fmt.Errorf("%s %s: %w", kind, op, err))
		}
		_ = os.RemoveAll(dir)
	}
	r.observe = func(op string) {
		look(op, "killed", r.afterKill)
		look(op, "power cut", r.afterPowerCut)
	}
	st.live()
	return looks, broken
}

func TestCutAtEveryCall(t *testing.T) {
	start := time.Now()
	looks, broken := cut(t, lies{})
	t.Logf("%d states checked in %v", looks, time.Since(start))
	for _, err := range broken {
		t.Error(err)
	}
}

// The test above must notice when a sync is left out, or it proves nothing.
func TestCutNoticesMissingSyncs(t *testing.T) {
	for name, told := range map[string]lies{"data": {data: true}, "names": {names: true}} {
		if looks, broken := cut(t, told); len(broken) == 0 {
			t.Errorf("%s are not synced, and none of %d states shows it", name, looks)
		} else {
			t.Logf("%s: state %d shows it: %v", name, looks, broken[0])
		}
	}
}
