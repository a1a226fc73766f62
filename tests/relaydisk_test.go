package tests

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// fill takes all that a small disk has left, bytes or names.
func (m *machine) fill(dir string, names bool, random *rand.Rand) {
	m.t.Helper()
	ballast := filepath.Join(m.path(dir), "ballast")
	if err := os.MkdirAll(ballast, 0o755); err != nil && !errors.Is(err, unix.ENOSPC) {
		m.t.Fatal(err)
	}
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(ballast, fmt.Sprint(n)))
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		for err == nil && !names {
			_, err = f.Write(make([]byte, 1+random.IntN(16<<10)))
		}
		if f != nil {
			f.Close()
		}
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) free(dir string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.path(dir), "ballast")); err != nil {
		m.t.Fatal(err)
	}
}

// requireTaken waits until the relay takes a write again by itself.
func (r *rig) requireTaken(client *http.Client, from int64) {
	r.t.Helper()
	eventually(r.t, time.Minute, func() string {
		if o := r.post(client, from, from+10); o.status != 204 {
			return fmt.Sprintf("the relay answers %d %s", o.status, o.body)
		}
		return ""
	})
}

func TestRelayFaultDiskFull(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount a small disk")
	random := rand.New(rand.NewPCG(faultSeed(t), 4))
	runs := faultCount(t, 12, 200)
	r := newRig(t, "")
	r.mount("none", "disk", "-t", "tmpfs", "-o", "size=4m,nr_inodes=200")
	r.configure(r.path("disk/relay"), queueOfSmallSegments)
	r.run()
	client := newClient(t)
	refused := 0
	for n := range runs {
		names, away, killed := random.IntN(3) == 0, random.IntN(2) == 0, random.IntN(3) == 0
		base := int64(100_000+n) << perWriter // no writer of a crowd
		crowd := r.load(1+10*n, 10, 20*time.Millisecond)
		if away {
			r.sink.down()
		}
		time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		r.fill("disk", names, random)
		if killed {
			r.end(syscall.SIGKILL)
			r.run()
		}
		for i := range int64(40) {
			if o := r.post(client, base+20*i, base+20*i+20); o.status == 503 {
				refused++
			}
			r.fill("disk", names, random)
		}
		r.free("disk")
		r.requireTaken(client, base+5000)
		if away {
			r.sink.up()
		}
		crowd.end()
		requireKept(t, fmt.Sprintf("R4, run %d: names %v, destination away %v, killed %v", n, names, away, killed), r.settle())
		progress(t, n+1, runs, r.book)
	}
	t.Logf("R4 disk full, then freed: %d runs, %d writes refused meanwhile; %v", runs, refused, r.book)
	if refused < runs {
		t.Errorf("only %d writes were refused in %d runs: the disk was not full", refused, runs)
	}
}

// A destination for which the full disk has no place does not keep the relay from
// starting: an alarm tells of it, the others go on, and it gets what is kept as
// soon as there is room.
func TestRelayFaultANewDestinationOnAFullDisk(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount a small disk")
	random := rand.New(rand.NewPCG(faultSeed(t), 21))
	r := newRig(t, "")
	r.mount("none", "disk", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200")
	queue := "[relay.queue]\n  min_free_bytes = \"0\"\n"
	r.configure(r.path("disk/relay"), queue)
	r.run()
	client := newClient(t)
	r.requireTaken(client, 1)
	requireKept(t, "before", r.settle())
	other := newSink(t, r.book.fork())
	for _, names := range []bool{false, true} {
		r.end(syscall.SIGTERM)
		name := fmt.Sprintf("other-%v", names)
		r.configure(r.path("disk/relay"), queue+fmt.Sprintf("[[relay.destinations]]\n  name = %q\n  url = %q\n", name, other.url()))
		if err := os.Remove(r.path("disk/relay/left.json")); err != nil { // the relay would, and have room again
			t.Fatal(err)
		}
		r.fill("disk", names, random)
		r.run()
		alarms := func() string {
			stdout, stderr, _ := run(t, r.command("vitals-relay", "status"))
			return stdout + stderr
		}
		eventually(t, time.Minute, func() string {
			if text := alarms(); !strings.Contains(text, name+" cannot be added: ") {
				return text
			}
			return ""
		})
		r.free("disk")
		eventually(t, time.Minute, func() string {
			if text := alarms(); strings.Contains(text, "cannot be added") {
				return text
			}
			return ""
		})
		eventually(t, time.Minute, func() string {
			if lost := other.book.lost(); len(lost) > 0 {
				return fmt.Sprintf("the new destination lacks %d lines", len(lost))
			}
			return ""
		})
		r.requireTaken(client, 100_000)
		requireKept(t, "R4, a new destination", r.settle())
		other.use(r.book.fork())
	}
}

// What is to be left free is left free.
func TestRelayFaultStopsBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	requireRoot(t, "mount a small disk")
	r := newRig(t, "")
	r.mount("none", "disk", "-t", "tmpfs", "-o", "size=8m")
	r.configure(r.path("disk/relay"), "[relay.queue]\n  min_free_bytes = \"4MiB\"\n")
	r.book = newLedger(4 << 10)
	r.sink.use(r.book)
	r.run()
	r.sink.down()
	client := newClient(t)
	answered := map[int]int{}
	for n := range int64(300) {
		answered[r.post(client, 10*n, 10*n+10).status]++
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.path("disk"), &st); err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize
	if free < 4<<20-64<<10 || answered[204] == 0 || answered[503] == 0 || answered[204]+answered[503] != 300 {
		t.Errorf("%d bytes are free of 4 MiB, answers %v", free, answered)
	}
	r.sink.up()
	requireKept(t, "R4", r.settle())
	r.requireTaken(client, 1<<perWriter)
	requireKept(t, "R4", r.settle())
	t.Logf("R4 min_free_bytes: answers %v, %d KiB left free; %v", answered, free>>10, r.book)
}

// extent is a stretch of a segment with the lines that it holds.
type extent struct {
	from, to int64
	lines    []int64
}

// extents reads a segment as anybody can: each frame begins with an empty gzip
// member that has an extra field.
func extents(t *testing.T, path string) (all []extent) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mark := []byte{0x1f, 0x8b, 8, 4}
	for off := 0; off < len(text); {
		next := bytes.Index(text[off+1:], mark)
		end := off + 1 + next
		if next < 0 {
			end = len(text)
		}
		e := extent{from: int64(off), to: int64(end)}
		packed, err := gzip.NewReader(bytes.NewReader(text[off:end]))
		if err != nil {
			t.Fatalf("%s at %d: %v", path, off, err)
		}
		lines, err := io.ReadAll(packed)
		if err != nil {
			t.Fatalf("%s at %d: %v", path, off, err)
		}
		for l := range bytes.Lines(lines) {
			n, err := numberOf(l)
			if err != nil {
				t.Fatal(err)
			}
			e.lines = append(e.lines, n)
		}
		all = append(all, e)
		off = end
	}
	return all
}

// patient is a queue with a backlog, and what is done to it.
type patient struct {
	*rig
	template string
	before   *ledger
	random   *rand.Rand
	segments []string            // names, oldest first
	extents  map[string][]extent // by segment

	what   []string
	excuse map[int64]bool // lines that may be missing now
	silent bool           // … and nobody needs to notice: it looks like a crash
}

func newPatient(t *testing.T, random *rand.Rand) *patient {
	t.Helper()
	// Everything stays in kept/, also what was delivered.
	p := &patient{rig: newRig(t, "[relay.queue]\n  kept_bytes = \"1MB\"\n  max_bytes = \"40KiB\"\n  min_free_bytes = \"0\"\n"), random: random, extents: map[string][]extent{}}
	p.run()
	client := newClient(t)
	for n := range int64(10) {
		p.post(client, 10*n, 10*n+10)
	}
	requireKept(t, "before any damage", p.settle())
	p.end(syscall.SIGTERM) // which writes the progress down
	p.sink.down()
	p.run()
	for n := int64(10); n < 50; n++ {
		p.post(client, 10*n, 10*n+10)
	}
	p.end(syscall.SIGKILL)
	p.sink.up()
	p.template, p.before = p.path("template"), p.book
	if err := os.Rename(p.path("relay"), p.template); err != nil {
		t.Fatal(err)
	}
	paths, _ := filepath.Glob(filepath.Join(p.template, "queue/destinations/influxdb/*.gz"))
	for _, path := range paths {
		p.segments = append(p.segments, filepath.Base(path))
		p.extents[filepath.Base(path)] = extents(t, path)
	}
	if len(p.segments) < 4 {
		t.Fatalf("segments: %v", p.segments)
	}
	return p
}

func (p *patient) queue(elements ...string) string {
	return filepath.Join(append([]string{p.path("relay/queue")}, elements...)...)
}

// lose excuses the lines of a segment between two offsets.
func (p *patient) lose(segment string, from, to int64) {
	for _, e := range p.extents[segment] {
		if e.from < to && from < e.to {
			for _, n := range e.lines {
				p.excuse[n] = true
			}
		}
	}
}

func (p *patient) done(format string, args ...any) {
	p.what = append(p.what, fmt.Sprintf(format, args...))
}

// harm damages something at random.
func (p *patient) harm() {
	segment := p.segments[p.random.IntN(len(p.segments))]
	newest := segment == p.segments[len(p.segments)-1]
	link := p.queue("destinations/influxdb", segment)
	all := p.extents[segment]
	size := all[len(all)-1].to
	var err error
	switch p.random.IntN(10) {
	case 0, 1, 2: // bits
		at, n := p.random.Int64N(size), 1+p.random.Int64N(16)
		n = min(n, size-at)
		err = p.patch(link, at, func(b byte) byte { return b ^ 1<<p.random.IntN(8) }, n)
		p.lose(segment, at, at+n)
		p.done("%d bytes of %s flipped at %d", n, segment, at)
	case 3: // a page of zeros
		at := p.random.Int64N(size)
		n := min(512, size-at)
		err = p.patch(link, at, func(byte) byte { return 0 }, n)
		p.lose(segment, at, at+n)
		p.silent = p.silent || newest
		p.done("%d bytes of %s zeroed at %d", n, segment, at)
	case 4: // in the middle of a frame: between two nothing shows
		e := all[p.random.IntN(len(all))]
		at := e.from + 1 + p.random.Int64N(e.to-e.from-1)
		err = os.Truncate(link, at)
		p.lose(segment, at, size)
		p.silent = p.silent || newest
		p.done("%s cut at %d", segment, at)
	case 5:
		path := p.queue("destinations/influxdb/progress")
		text := []byte([]string{"", "0 crc32c=00000000\n", "99999999 crc32c=12345678\n", "\x00\x00\x00\x00"}[p.random.IntN(4)])
		err = os.WriteFile(path, text, 0o640)
		p.done("progress is now %q", text)
	case 6:
		err = cmp.Or(os.WriteFile(p.queue("sequence"), []byte("9 garbage"), 0o640), os.WriteFile(p.queue("lock"), make([]byte, 100), 0o640))
		p.done("garbage in sequence and lock")
	case 7, 8: // where there is another link
		kept := p.queue("kept", segment)
		if _, err := os.Stat(link); err != nil {
			break
		}
		if _, err := os.Stat(kept); err != nil {
			break
		}
		gone := []string{link, kept}[p.random.IntN(2)]
		err = os.Remove(gone)
		p.done("%s removed", gone)
	case 9:
		err = cmp.Or(os.WriteFile(p.queue("kept/notes.txt"), []byte("hello"), 0o600),
			os.MkdirAll(p.queue("destinations/influxdb/00000000000000099999.gz"), 0o700))
		p.done("strange files")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // of what was removed before
		p.t.Fatal(err)
	}
}

// patch changes bytes of a file where they are, so that it keeps its links.
func (p *patient) patch(path string, at int64, change func(byte) byte, n int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, n)
	n2, err := f.ReadAt(b, at)
	if err != nil && err != io.EOF {
		return err
	}
	for i := range b[:n2] {
		b[i] = change(b[i])
	}
	_, err = f.WriteAt(b[:n2], at)
	return err
}

// survive has a relay open a damaged queue: it starts, delivers what is not
// damaged, says so if anything is missing, and goes on.
func (p *patient) survive() error {
	if err := os.RemoveAll(p.path("relay")); err != nil {
		p.t.Fatal(err)
	}
	copyTree(p.t, p.template, p.path("relay"))
	p.book, p.what, p.excuse, p.silent = p.before.fork(), nil, map[int64]bool{}, false
	p.sink.use(p.book)
	for range 1 + p.random.IntN(3) {
		p.harm()
	}
	p.run()
	defer p.end(syscall.SIGKILL)
	client := newClient(p.t)
	for n := int64(70); n < 74; n++ {
		if o := p.post(client, 10*n, 10*n+10); o.status != 204 {
			return fmt.Errorf("the relay answers %d: %s", o.status, o.body)
		}
	}
	if err := p.idle(3 * time.Minute); err != nil {
		return err
	}
	lost := p.book.lost()
	if i := slices.IndexFunc(lost, func(n int64) bool { return !p.excuse[n] }); i >= 0 {
		return fmt.Errorf("line %d was not damaged and is lost", lost[i])
	}
	s, err := p.status()
	if err == nil && len(lost) > 0 && !p.silent && (s.Queue.DamagedFrames == 0 || len(s.Alarms) == 0) {
		return fmt.Errorf("%d lines are lost in silence: %+v", len(lost), s)
	}
	if len(p.book.wrong) > 0 {
		return errors.New(p.book.wrong[0])
	}
	return err
}

func TestRelayFaultDamage(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 7))
	runs := faultCount(t, 40, 1000)
	p := newPatient(t, random)
	lost := 0
	for n := range runs {
		if err := p.survive(); err != nil {
			t.Errorf("run %d, %v: %v", n, p.what, err)
		}
		lost += len(p.book.lost())
		progress(t, n+1, runs, p.book)
	}
	t.Logf("R7 damaged files: %d runs with 1 to 3 damages; %d lines lost of %d, no other than what was damaged; the last: %v: %v", runs, lost, 540*runs, p.what, p.book)
	if lost == 0 {
		t.Error("nothing was lost: there was no damage")
	}
}

// A backlog that has grown for a long time costs neither time nor memory when
// a relay starts, and is delivered however old it is.
func TestRelayFaultLargeOldBacklog(t *testing.T) {
	t.Parallel()
	size, runs := int64(256<<20), faultCount(t, 1, 5)
	if os.Getenv("VITALS_FAULTS") == "full" {
		size = 10_000_000_000
	}
	for range runs {
		r := newRig(t, "[relay.queue]\n  max_bytes = \"20GB\"\n  min_free_bytes = \"0\"\n  kept_bytes = \"64MB\"\n")
		r.book = newLedger(32 << 10)
		r.sink.use(r.book)
		r.sink.down()
		r.run()
		grown := r.grow(size)
		r.end(syscall.SIGKILL)
		r.age(30 * 24 * time.Hour)
		began := time.Now()
		r.run()
		ready := time.Since(began)
		r.requireTaken(newClient(t), 1<<perWriter)
		r.sink.up()
		began = time.Now()
		requireKept(t, "R8", r.settleWithin(time.Hour))
		took := time.Since(began)
		peak := usageOf(t, r.pid()).peak
		t.Logf("R8 a backlog of %d MB, 30 days old: ready in %.2f s, delivered at %.0f MB/s, peak %d MiB; %v",
			grown/1e6, ready.Seconds(), float64(grown)/1e6/took.Seconds(), peak>>20, r.book)
		if peak > 256<<20 {
			t.Errorf("the relay has used %d MiB", peak>>20)
		}
		r.end(syscall.SIGKILL)
		if err := os.RemoveAll(r.path("relay")); err != nil {
			t.Fatal(err)
		}
	}
}

// grow writes until the queue is so large, and returns its size.
func (r *rig) grow(size int64) int64 {
	r.t.Helper()
	client := newClient(r.t)
	for n := int64(0); ; n += 128 {
		if o := r.post(client, n, n+128); o.status != 204 {
			r.t.Fatalf("the relay answers %d: %s", o.status, o.body)
		}
		if s, err := r.status(); err != nil {
			r.t.Fatal(err)
		} else if s.Queue.Bytes >= size {
			return s.Queue.Bytes
		} else if n%(128*256) == 0 && n > 0 {
			r.t.Logf("the backlog has grown to %d of %d MB", s.Queue.Bytes/1e6, size/1e6)
		}
	}
}

// age makes all segments older.
func (r *rig) age(by time.Duration) {
	r.t.Helper()
	then := time.Now().Add(-by)
	paths, _ := filepath.Glob(r.path("relay/queue/*/*/*.gz"))
	for _, path := range paths {
		if err := os.Chtimes(path, then, then); err != nil {
			r.t.Fatal(err)
		}
	}
}
