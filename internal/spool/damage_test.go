package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"time"
)

// builder makes a directory as a spool leaves it, for tests to damage.
type builder struct {
	t    *testing.T
	cfg  Config
	ends []int64 // where each frame of the newest segment ends
}

// build appends count frames to a spool with destinations a and b, of which a
// has passed the first, and closes it.
func build(t *testing.T, count int) *builder {
	t.Helper()
	b := &builder{t: t, cfg: testConfig(t.TempDir())}
	s := mustOpen(t, b.cfg)
	a := mustDestination(t, s, "a")
	mustDestination(t, s, "b")
	mustAppendAtOnce(t, s, 0, count)
	var f Frame
	if err := a.Next(context.Background(), &f); err != nil {
		t.Fatal(err)
	}
	if err := a.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	var end int64
	for n := range count {
		end += frame(n).bytes()
		b.ends = append(b.ends, end)
	}
	return b
}

// clone copies the directory, links included, so that one build serves many
// damages.
func (b *builder) clone(name string) *builder {
	b.t.Helper()
	c := *b
	c.cfg.Directory = filepath.Join(b.cfg.Directory, "..", name)
	b.t.Cleanup(func() { _ = os.RemoveAll(c.cfg.Directory) })
	if err := newRecorder(b.cfg.Directory).afterKill(c.cfg.Directory); err != nil {
		b.t.Fatal(err)
	}
	return &c
}

func (b *builder) file() string {
	files := segmentFiles(b.t, filepath.Join(b.cfg.Directory, "destinations/b"))
	return files[len(files)-1]
}

// patch changes the bytes of the newest segment, in place: it is linked.
func (b *builder) patch(change func(content []byte) []byte) {
	b.t.Helper()
	content, err := os.ReadFile(b.file())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(b.file(), change(content), 0); err != nil { // truncates, keeps the inode
		b.t.Fatal(err)
	}
}

// open opens the spool without syncs, which only cost time here.
func (b *builder) open() *Spool {
	b.t.Helper()
	return mustOpenOn(b.t, b.cfg, quick{})
}

func damagedFiles(t *testing.T, cfg Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Directory, damagedName, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Wherever the last frame is torn, all before it are read, it is not, the spool
// goes on, and no number is given again.
func TestTornAtEveryByte(t *testing.T) {
	const count = 4
	base := build(t, count)
	last := base.ends[count-2]
	for size := last; size < base.ends[count-1]; size++ {
		b := base.clone(fmt.Sprintf("torn%d", size))
		b.patch(func(content []byte) []byte { return content[:size] })
		checkTorn(t, b, count)
		if files := damagedFiles(t, b.cfg); len(files) != 0 {
			t.Errorf("cut at %d: %v", size, files)
		}
	}
}

// A size that was on disk before the bytes were leaves zeros.
func TestTornIntoZeros(t *testing.T) {
	const count = 4
	base := build(t, count)
	for from := base.ends[count-2]; from < base.ends[count-1]-8; from += 7 { // gzip ends in zeros itself
		b := base.clone(fmt.Sprintf("zeros%d", from))
		b.patch(func(content []byte) []byte { clear(content[from:]); return content })
		checkTorn(t, b, count)
	}
}

func checkTorn(t *testing.T, b *builder, count int) {
	t.Helper()
	s := b.open()
	f := frame(100)
	for name, want := range map[string][]int{"a": sequence(1, count-1), "b": sequence(0, count-1)} {
		numbers, _ := rest(t, mustDestination(t, s, name))
		wantNumbers(t, b.cfg.Directory+" "+name, numbers, want)
	}
	if err := s.Append(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if f.Seq < uint64(count) {
		t.Errorf("%s: seq %d is given again", b.cfg.Directory, f.Seq)
	}
	if numbers, _ := rest(t, mustDestination(t, s, "b")); fmt.Sprint(numbers) != "[100]" {
		t.Errorf("%s: then %v", b.cfg.Directory, numbers)
	}
	mustClose(t, s)
	s = b.open()
	numbers, _ := rest(t, mustDestination(t, s, "b"))
	wantNumbers(t, b.cfg.Directory+" again", numbers, append(sequence(0, count-1), 100))
	mustClose(t, s)
}

// Bits that flip anywhere cost the frames they are in and no other, in the
// newest segment and in those before it.
func TestBitFlips(t *testing.T) {
	const count = 40
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	base := build(t, count)
	for round := range 150 {
		b := base.clone(fmt.Sprintf("flips%d", round))
		lost := map[int]bool{}
		b.patch(func(content []byte) []byte {
			sound := bytes.Clone(content)
			for range 1 + r.IntN(4) {
				content[r.IntN(len(content))] ^= 1 << r.IntN(8)
			}
			for at := range content { // the same bit may have flipped twice
				if content[at] != sound[at] {
					n, _ := slices.BinarySearch(b.ends, int64(at)+1)
					lost[n] = true
				}
			}
			return content
		})
		if round%2 == 0 { // then it is not the newest
			s := b.open()
			mustDestination(t, s, "a")
			mustDestination(t, s, "b")
			mustAppend(t, s, count, count+1)
			mustClose(t, s)
			_ = os.RemoveAll(filepath.Join(b.cfg.Directory, damagedName))
		}
		if len(lost) == 0 {
			continue
		}
		checkFlips(t, b, count+1-round%2, lost)
		if t.Failed() {
			t.Fatalf("round %d, frames %v", round, lost)
		}
	}
}

func checkFlips(t *testing.T, b *builder, count int, lost map[int]bool) {
	t.Helper()
	s := b.open()
	for name, from := range map[string]int{"a": 1, "b": 0} {
		got, _ := rest(t, mustDestination(t, s, name))
		for n := from; n < count; n++ {
			if !slices.Contains(got, n) && !lost[n] {
				t.Errorf("%s lost frame %d", name, n)
			}
		}
	}
	mustClose(t, s) // then everything is put aside
	damaged := s.Stats().DamagedFrames
	cut := lost[len(b.ends)-1] // what a cut of the newest segment took was counted before
	if damaged == 0 && !cut || damaged > int64(len(lost)) {
		t.Errorf("%d stretches damaged", damaged)
	}
	if files := damagedFiles(t, b.cfg); int64(len(files)) != damaged {
		t.Errorf("%d stretches damaged, put aside %v", damaged, files)
	}
}

// What is put aside are the damaged bytes, and they are put aside and counted
// once.
func TestDamagedBytesArePutAside(t *testing.T) {
	b := build(t, 10)
	var want []byte
	b.patch(func(content []byte) []byte {
		content[b.ends[3]+20] ^= 1
		want = bytes.Clone(content[b.ends[3]:b.ends[4]])
		return content
	})
	s := b.open()
	for _, name := range []string{"a", "b"} {
		d := mustDestination(t, s, name)
		rest(t, d)
		d.Rewind()
		rest(t, d)
	}
	if n := s.Stats().DamagedFrames; n != 1 {
		t.Errorf("%d counted", n)
	}
	files := damagedFiles(t, b.cfg)
	if len(files) != 1 || filepath.Base(files[0]) != fmt.Sprintf("%020d-%d", 1, b.ends[3]) {
		t.Fatal(files)
	}
	if got, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, want %d: %v", len(got), len(want), err)
	}
}

// damaged/ is bounded, and used again when somebody has emptied it.
func TestDamagedIsBoundedUntilItIsEmptied(t *testing.T) {
	b := build(t, 10)
	full := filepath.Join(b.cfg.Directory, damagedName, "full")
	if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(full, maxDamagedBytes); err != nil {
		t.Fatal(err)
	}
	s := b.open()
	c, err := openCursor(kernel{}, b.file(), 0, anySeq)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	aside := filepath.Join(filepath.Dir(full), "1-0")
	if err := s.copyDamage(aside, c, &damage{to: 10}); err == nil {
		t.Error("put aside where there is no room")
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	if err := s.copyDamage(aside, c, &damage{to: 10}); err != nil || fileSize(t, aside) != 10 {
		t.Errorf("when there is room again: %v", err)
	}
}

// A frame that is complete but wrong at the very end is damage, not a torn
// tail; its number is not given again.
func TestDamagedLastFrame(t *testing.T) {
	const count = 5
	for name, at := range map[string]int64{"header": 20, "body": -3} {
		t.Run(name, func(t *testing.T) {
			b := build(t, count)
			b.patch(func(content []byte) []byte {
				if at < 0 {
					content[b.ends[count-1]+at] ^= 1
				} else {
					content[b.ends[count-2]+at] ^= 1
				}
				return content
			})
			s := b.open()
			d := mustDestination(t, s, "b")
			f := frame(100)
			if err := s.Append(context.Background(), f); err != nil || f.Seq <= count {
				t.Error(f.Seq, err)
			}
			numbers, _ := rest(t, d)
			wantNumbers(t, "b", numbers, append(sequence(0, count-1), 100))
			if len(damagedFiles(t, b.cfg)) != 1 || s.Stats().DamagedFrames != 1 {
				t.Error(damagedFiles(t, b.cfg), s.Stats().DamagedFrames)
			}
		})
	}
}

// A segment that is damaged all over is passed, unlinked, and in nobody's way.
func TestSegmentWithoutAnyFrame(t *testing.T) {
	b := build(t, 5)
	b.patch(func(content []byte) []byte { return bytes.Repeat([]byte("garbage!"), len(content)/8) })
	s := b.open() // the newest: removed at once
	mustDestination(t, s, "a")
	mustDestination(t, s, "b")
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 || st.DamagedFrames != 1 {
		t.Errorf("%+v", st)
	}
	f := frame(7)
	if err := s.Append(context.Background(), f); err != nil || f.Seq <= 5 {
		t.Error(f.Seq, err)
	}
	mustClose(t, s)
	b.patch(func(content []byte) []byte { return bytes.Repeat([]byte("garbage!"), len(content)/8) })
	s = b.open()
	mustDestination(t, s, "a")
	d := mustDestination(t, s, "b")
	mustAppend(t, s, 8, 9)
	numbers, _ := rest(t, d)
	wantNumbers(t, "b", numbers, []int{8})
}

func TestDamageInAnOlderSegmentIsPassed(t *testing.T) {
	b := build(t, 5)
	b.patch(func(content []byte) []byte { clear(content); return content })
	spare := b.file()
	content := make([]byte, fileSize(t, spare))
	s := b.open()
	mustDestination(t, s, "a")
	d := mustDestination(t, s, "b")
	mustAppend(t, s, 8, 9)
	mustClose(t, s)
	older := filepath.Join(b.cfg.Directory, d.directory(), segmentName(3))
	if err := os.WriteFile(older, content, 0o640); err != nil {
		t.Fatal(err)
	}
	s = b.open()
	d = mustDestination(t, s, "b")
	numbers, last := rest(t, d)
	wantNumbers(t, "b", numbers, []int{8})
	if _, err := os.Stat(older); !os.IsNotExist(err) {
		t.Error("it is still there", err)
	}
	if err := d.Advance(last); err != nil {
		t.Error(err)
	}
}

// Segments that disappear or shrink while they are owed cost their frames only.
func TestSegmentsThatDisappear(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes = 450
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 30)
	files := segmentFiles(t, filepath.Join(cfg.Directory, d.directory()))
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[2], 10); err != nil {
		t.Fatal(err)
	}
	numbers, last := rest(t, d)
	if len(numbers) < 20 || numbers[0] != 0 || len(numbers) > 26 || numbers[len(numbers)-1] != 29 {
		t.Error(numbers)
	}
	if err := d.Advance(last); err != nil {
		t.Error(err)
	}
	if n := s.Stats().DamagedFrames; n != 2 {
		t.Errorf("%d damaged", n)
	}
}

func TestStrayFilesAreLeftAlone(t *testing.T) {
	b := build(t, 3)
	stray := []string{"kept/notes.txt", "kept/1.gz", "kept/00000000000000000000.gz", "kept/99999999999999999999.gz",
		"destinations/README", "destinations/b/.hidden", "destinations/b/core", "destinations/..data", "elsewhere"}
	for _, name := range stray {
		if err := os.WriteFile(filepath.Join(b.cfg.Directory, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(b.cfg.Directory, "destinations/b", segmentName(2)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(b.cfg.Directory, "destinations/b", segmentName(3))); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	b.cfg.Logger = textLogger(&log)
	s := b.open()
	numbers, _ := rest(t, mustDestination(t, s, "b"))
	wantNumbers(t, "b", numbers, sequence(0, 3))
	names, err := s.Destinations()
	if fmt.Sprint(names) != "[a b]" || err != nil {
		t.Error(names, err)
	}
	mustClose(t, s)
	for _, name := range stray {
		if got, err := os.ReadFile(filepath.Join(b.cfg.Directory, name)); string(got) != "mine" {
			t.Error(name, err)
		}
		if name != "elsewhere" && !strings.Contains(log.String(), name) {
			t.Errorf("%s is not in the log", name)
		}
	}
}

// Lost progress means sent again, from the first frame there is; never skipped,
// not even if links went the same way.
func TestProgressLost(t *testing.T) {
	for name, content := range map[string]string{
		"missing": "", "empty": "\n", "garbage": "what?", "checksum": "2 crc32c=00000000\n",
		"negative": "-1 crc32c=00000000\n", "huge": string(formatNumber(anySeq)),
	} {
		t.Run(name, func(t *testing.T) {
			b := build(t, 5)
			progress := filepath.Join(b.cfg.Directory, "destinations/a", progressName)
			if err := os.Remove(progress); err != nil {
				t.Fatal(err)
			}
			if name != "missing" {
				if err := os.WriteFile(progress, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			b.cfg.Logger = textLogger(&log)
			s := b.open()
			numbers, _ := rest(t, mustDestination(t, s, "a"))
			wantNumbers(t, "a", numbers, sequence(0, 5))
			mustClose(t, s)
			if !strings.Contains(log.String(), "progress is lost") {
				t.Error(log.String())
			}
			if n, err := readNumber(progress); n != 0 || err != nil {
				t.Error("it is not written down again", n, err)
			}
		})
	}
}

func TestProgressAndLinkLost(t *testing.T) {
	b := build(t, 5)
	s := b.open()
	mustDestination(t, s, "a")
	mustDestination(t, s, "b")
	mustAppendAtOnce(t, s, 5, 9)
	mustClose(t, s)
	for _, name := range []string{progressName, segmentName(1)} {
		if err := os.Remove(filepath.Join(b.cfg.Directory, "destinations/a", name)); err != nil {
			t.Fatal(err)
		}
	}
	s = b.open()
	numbers, _ := rest(t, mustDestination(t, s, "a"))
	wantNumbers(t, "a", numbers, sequence(0, 9))
}

// A crash between the links of a new segment leaves some destinations without
// it; it is made whole.
func TestHalfLinkedSegment(t *testing.T) {
	for _, missing := range []string{"a", "b"} {
		b := build(t, 5)
		if err := os.Remove(filepath.Join(b.cfg.Directory, "destinations", missing, segmentName(1))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.cfg.Directory, segmentName(9)+temporary), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := b.open()
		for name, want := range map[string][]int{"a": sequence(1, 5), "b": sequence(0, 5)} {
			numbers, _ := rest(t, mustDestination(t, s, name))
			wantNumbers(t, name, numbers, want)
		}
		if _, err := os.Stat(filepath.Join(b.cfg.Directory, segmentName(9)+temporary)); !os.IsNotExist(err) {
			t.Error("the temporary name is still there", err)
		}
	}
}

// A disk that is too full to make a segment whole is opened all the same; the
// segment is read out of kept/, and stays there until then.
func TestHalfLinkedSegmentOnAFullDisk(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.SegmentBytes, cfg.KeptBytes = smallestSegment, 1<<20
	s := mustOpen(t, cfg)
	mustDestination(t, s, "a")
	mustAppend(t, s, 0, 100)
	mustClose(t, s)
	names := segmentFiles(t, filepath.Join(cfg.Directory, "destinations/a"))
	if len(names) < 3 {
		t.Fatal(names)
	}
	if err := os.Remove(filepath.Join(cfg.Directory, "destinations/a", filepath.Base(names[1]))); err != nil {
		t.Fatal(err)
	}
	full := func(_, to string) error { return failIn(to, "/a/", unix.ENOSPC) }
	s = mustOpenOn(t, cfg, &faulty{link: full})
	d := mustDestination(t, s, "a")
	s.disk.Lock()
	s.cfg.KeptBytes = 1 // trimmed as far as it can be
	s.disk.Unlock()
	s.trim()
	numbers, last := rest(t, d)
	wantNumbers(t, "a", numbers, sequence(0, 100))
	if err := d.Advance(last); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is left", func() bool { return s.Stats().Segments == 0 })
	if st := s.Stats(); st.DamagedFrames != 0 {
		t.Errorf("%+v", st)
	}
	mustClose(t, s)
}

// A directory that was copied without its links works like one with them.
func TestCopiedWithoutLinks(t *testing.T) {
	b := build(t, 5)
	file := filepath.Join(b.cfg.Directory, "destinations/a", segmentName(1))
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(content, 0x1f, 0x8b), 0o600); err != nil { // and it is torn
		t.Fatal(err)
	}
	s := b.open()
	for name, want := range map[string][]int{"a": sequence(1, 5), "b": sequence(0, 5)} {
		d := mustDestination(t, s, name)
		numbers, last := rest(t, d)
		wantNumbers(t, name, numbers, want)
		if err := d.Advance(last); err != nil {
			t.Error(err)
		}
	}
	if st := s.Stats(); st.Segments != 0 || st.Bytes != 0 || st.UndeliveredBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// FuzzOpen opens a directory whose segment anybody may have written: it must
// open, read what it can, take new frames and give them back.
func FuzzOpen(f *testing.F) {
	whole := func(seq uint64) []byte {
		fr := frame(1)
		return append(appendHeader(nil, fr, seq, 0), fr.Body...)
	}
	huge := appendHeader(nil, &Frame{Body: make([]byte, 1<<20)}, 2, 0)
	f.Add([]byte{}, uint64(1))
	f.Add(whole(1), uint64(1))
	f.Add(append(whole(1), whole(2)...), uint64(1))
	f.Add(append(huge, whole(3)...), uint64(1))
	f.Add(whole(maxSeq), uint64(5))
	f.Add(append([]byte("garbage"), whole(6)...), uint64(5))
	f.Fuzz(func(t *testing.T, content []byte, first uint64) {
		first = max(1, first%(1<<40))
		content = sealHeaders(content)
		dir := t.TempDir()
		place := filepath.Join(dir, destinationsName, "a")
		if err := os.MkdirAll(place, 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(place, segmentName(first)), content, 0o640); err != nil {
			t.Fatal(err)
		}
		s := mustOpenOn(t, testConfig(dir), quick{})
		d := mustDestination(t, s, "a")
		var fr Frame
		var last uint64
		for {
			ok, err := d.TryNext(&fr)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if fr.Seq <= last || fr.Seq < first {
				t.Fatalf("seq %d after %d in %d", fr.Seq, last, first)
			}
			last = fr.Seq
		}
		if last > maxSeq-1<<32 {
			return // numbers are used up
		}
		mine := frame(42)
		if err := s.Append(context.Background(), mine); err != nil || mine.Seq <= last || mine.Seq < first {
			t.Fatal(mine.Seq, last, err)
		}
		if ok, err := d.TryNext(&fr); !ok || err != nil || numberOf(t, &fr) != 42 {
			t.Fatal(ok, err)
		}
		mustClose(t, s)
	})
}

// sealHeaders gives everything that looks like a header its right checksums,
// which a fuzzer does not find.
func sealHeaders(content []byte) []byte {
	content = bytes.Clone(content)
	for at := 0; ; at++ {
		i := findMark(content[at:])
		if i < 0 {
			return content
		}
		at += i
		b := content[at:]
		if len(b) < fieldsAt {
			return content
		}
		data := int(binary.LittleEndian.Uint16(b[14:]))
		key := data - (keyAt - fieldsAt) - 4
		if key < 0 || len(b) < frameBytes+key {
			continue
		}
		if body := int(binary.LittleEndian.Uint32(b[45:])); body <= len(b)-frameBytes-key {
			binary.LittleEndian.PutUint32(b[49:], checksum(b[frameBytes+key:frameBytes+key+body]))
		}
		binary.LittleEndian.PutUint32(b[keyAt+key:], checksum(b[:keyAt+key]))
	}
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// Somebody removes a destination's links under the running spool: the segments
// are still in kept/.
func TestRemovedLinksAreReadByAnotherName(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 5)
	s.disk.Lock()
	s.seal()
	s.disk.Unlock()
	mustAppend(t, s, 5, 9)
	links, err := filepath.Glob(filepath.Join(cfg.Directory, "destinations", "a", "*"+segmentSuffix))
	if err != nil || len(links) != 2 {
		t.Fatal(links, err)
	}
	for _, l := range links {
		if err := os.Remove(l); err != nil {
			t.Fatal(err)
		}
	}
	numbers, _ := rest(t, d)
	wantNumbers(t, "read", numbers, sequence(0, 9))
	if st := s.Stats(); st.DamagedFrames != 0 {
		t.Errorf("%+v", st)
	}
}

// Somebody empties kept/ under the running spool: a destination that is new then
// gets what is left, and all that comes.
func TestANewDestinationAfterKeptWasEmptied(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.KeptBytes = 1 << 20
	s := mustOpen(t, cfg)
	old := mustDestination(t, s, "old")
	mustAppend(t, s, 0, 5)
	s.disk.Lock()
	s.seal()
	s.disk.Unlock()
	mustAppend(t, s, 5, 9)
	passAll(t, old)
	for _, name := range segmentFiles(t, filepath.Join(cfg.Directory, keptName)) {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	d := mustDestination(t, s, "new")
	mustAppend(t, s, 9, 12)
	numbers, _ := rest(t, d)
	if len(numbers) < 3 {
		t.Fatalf("got %d", numbers)
	}
	wantNumbers(t, "what came since", numbers[len(numbers)-3:], sequence(9, 12))
	mustClose(t, s)
	s = mustOpen(t, cfg)
	numbers, _ = rest(t, mustDestination(t, s, "new"))
	wantNumbers(t, "after a restart", numbers[len(numbers)-3:], sequence(9, 12))
}

// A directory may be called whatever it likes.
func TestADirectoryWithBrackets(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "[a"))
	s := mustOpen(t, cfg)
	mustDestination(t, s, "a")
	mustAppend(t, s, 0, 2)
	mustClose(t, s)
	left := filepath.Join(cfg.Directory, segmentName(9)+temporary)
	if err := os.WriteFile(left, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	numbers, _ := rest(t, mustDestination(t, mustOpen(t, cfg), "a"))
	wantNumbers(t, "read", numbers, sequence(0, 2))
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("the temporary name is still there: %v", err)
	}
}
