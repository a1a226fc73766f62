package spool

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// zipped returns text as one gzip member, stored: compressing costs a test more
// than all the rest.
func zipped(text string) []byte {
	le, n := binary.LittleEndian, uint16(len(text))
	b := []byte{0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0xff, 1}
	b = le.AppendUint16(le.AppendUint16(b, n), ^n)
	b = append(b, text...)
	return le.AppendUint32(le.AppendUint32(b, crc32.ChecksumIEEE([]byte(text))), uint32(n))
}

// unzipped returns what zcat would print.
func unzipped(b []byte) (string, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), err
}

// frame returns the nth frame of a test: its body says which it is.
func frame(n int) *Frame {
	text := fmt.Sprintf("m,n=%d v=1i %d\n", n, n)
	return &Frame{Key: fmt.Sprintf("db/rp/%d", n%3), Lines: 1, RawBytes: int64(len(text)), Body: zipped(text)}
}

// number returns n of what frame(n) made.
func number(f *Frame) (n int, err error) {
	text, err := unzipped(f.Body)
	if err != nil {
		return 0, err
	}
	var stamp int
	if _, err := fmt.Sscanf(text, "m,n=%d v=1i %d\n", &n, &stamp); err != nil || n != stamp {
		return 0, fmt.Errorf("frame %d holds %q: %w", f.Seq, text, err)
	}
	return n, nil
}

func numberOf(t testing.TB, f *Frame) int {
	t.Helper()
	n, err := number(f)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testConfig(dir string) Config {
	return Config{Directory: dir, SegmentBytes: 64 << 10, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func mustOpen(t testing.TB, cfg Config) *Spool {
	t.Helper()
	return mustOpenOn(t, cfg, kernel{})
}

func mustOpenOn(t testing.TB, cfg Config, sys system) *Spool {
	t.Helper()
	s, err := open(cfg, sys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustDestination(t testing.TB, s *Spool, name string) *Destination {
	t.Helper()
	d, err := s.Destination(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustAppend appends frames from to to-1, each in a commit of its own.
func mustAppend(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := s.Append(context.Background(), frame(n)); err != nil {
			t.Fatalf("frame %d: %v", n, err)
		}
	}
}

// mustAppendAtOnce appends frames from to to-1 in one commit.
func mustAppendAtOnce(t testing.TB, s *Spool, from, to int) {
	t.Helper()
	var frames []*Frame
	for n := from; n < to; n++ {
		frames = append(frames, frame(n))
	}
	if err := s.Append(context.Background(), frames...); err != nil {
		t.Fatal(err)
	}
}

// rest reads everything there is and returns the frames' numbers; it fails
// where sequence numbers do not rise.
func rest(t testing.TB, d *Destination) (numbers []int, last uint64) {
	t.Helper()
	var f Frame
	for {
		ok, err := d.TryNext(&f)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return numbers, last
		}
		if f.Seq <= last {
			t.Fatalf("seq %d after %d", f.Seq, last)
		}
		last = f.Seq
		numbers = append(numbers, numberOf(t, &f))
	}
}

// sequence returns the numbers from to to-1.
func sequence(from, to int) (list []int) {
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

func wantNumbers(t testing.TB, what string, got, want []int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%s: got %d frames %v\nwant %d frames %v", what, len(got), got, len(want), want)
	}
}

// passAll advances d over everything.
func passAll(t testing.TB, d *Destination) {
	t.Helper()
	_, last := rest(t, d)
	if last > 0 {
		if err := d.Advance(last); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually polls for what another goroutine will make true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestReadsBackWhatWasAppended(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "influx")
	want := Frame{Key: "db\x00rp", Lines: 2, RawBytes: 12, Received: time.Unix(7, 9), Body: zipped("a b=1\nc d=2\n")}
	given := want
	if err := s.Append(context.Background(), &given); err != nil {
		t.Fatal(err)
	}
	if given.Seq != 1 {
		t.Errorf("Append gave seq %d", given.Seq)
	}
	var got Frame
	if ok, err := d.TryNext(&got); !ok || err != nil {
		t.Fatal(ok, err)
	}
	want.Seq = 1
	if got.Key != want.Key || got.Lines != 2 || got.RawBytes != 12 || got.Seq != 1 ||
		!got.Received.Equal(want.Received) || !bytes.Equal(got.Body, want.Body) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if ok, err := d.TryNext(&got); ok || err != nil {
		t.Error("there is a second frame", ok, err)
	}
}

func TestGivesReceivedWhenThereIsNone(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	mustDestination(t, s, "a")
	f := frame(0)
	before := time.Now()
	if err := s.Append(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	if f.Received.Before(before) || f.Received.After(time.Now()) {
		t.Error(f.Received)
	}
}

func TestSurvivesReopening(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := mustOpen(t, cfg)
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 50)
	var f Frame
	for range 20 {
		if err := d.Next(context.Background(), &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Advance(f.Seq); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = mustOpen(t, cfg)
	d = mustDestination(t, s, "a")
	if b := d.Backlog(); b.Frames != 30 || b.Lines != 30 || !b.Exact || b.Oldest.IsZero() {
		t.Errorf("backlog %+v", b)
	}
	mustAppend(t, s, 50, 60)
	numbers, _ := rest(t, d)
	wantNumbers(t, "after reopening", numbers, sequence(20, 60))
}

func TestRefusesWhatCannotBeAFrame(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	mustDestination(t, s, "a")
	refused := func(name string, f *Frame) {
		t.Helper()
		if err := s.Append(context.Background(), f); err == nil {
			t.Errorf("%s was appended", name)
		}
	}
	planted := append(zipped("x"), appendHeader(nil, frame(1), 1, 0)...)
	refused("a long key", &Frame{Key: string(make([]byte, maxKey+1)), Body: zipped("")})
	refused("no gzip", &Frame{Body: []byte("m v=1\n")})
	refused("no body", &Frame{})
	refused("negative lines", &Frame{Lines: -1, Body: zipped("")})
	refused("a frame within a frame", &Frame{Body: planted})
	if err := s.Append(context.Background(), frame(0), &Frame{}); err == nil {
		t.Error("half a request was appended")
	}
	if st := s.Stats(); st.Frames != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAppendOfNothing(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	if err := s.Append(context.Background()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Append(ctx, frame(0)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRefusesToKeepNowhere(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	if err := s.Append(context.Background(), frame(0)); !errors.Is(err, ErrNoDestination) {
		t.Errorf("got %v", err)
	}
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 1, 2)
	numbers, _ := rest(t, d)
	wantNumbers(t, "with a destination", numbers, []int{1})
}

func TestLocksItsDirectory(t *testing.T) {
	cfg := testConfig(t.TempDir())
	s := mustOpen(t, cfg)
	_, err := Open(cfg)
	if !errors.Is(err, ErrLocked) || !bytes.Contains([]byte(err.Error()), fmt.Appendf(nil, "pid %d ", os.Getpid())) {
		t.Errorf("got %v", err)
	}
	mustClose(t, s)
	mustOpen(t, cfg)
}

func TestClosedIsClosed(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	d := mustDestination(t, s, "a")
	mustAppend(t, s, 0, 1)
	passAll(t, d)
	waiting := make(chan error)
	go func() { waiting <- d.Next(context.Background(), new(Frame)) }()
	mustClose(t, s)
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	if err := s.Append(context.Background(), frame(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Append: %v", err)
	}
	if _, err := s.Destination("b"); !errors.Is(err, ErrClosed) {
		t.Errorf("Destination: %v", err)
	}
	if err := d.Advance(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Advance: %v", err)
	}
	if err := s.Forget("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("Forget: %v", err)
	}
	mustClose(t, s)
}

func TestNextWaitsAndGivesUp(t *testing.T) {
	s := mustOpen(t, testConfig(t.TempDir()))
	d := mustDestination(t, s, "a")
	got := make(chan int)
	go func() {
		var f Frame
		if err := d.Next(context.Background(), &f); err != nil {
			t.Error(err)
		}
		got <- numberOf(t, &f)
	}()
	mustAppend(t, s, 5, 6)
	if n := <-got; n != 5 {
		t.Errorf("got %d", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Next(ctx, new(Frame)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no directory":     {},
		"negative bound":   {Directory: t.TempDir(), MaxBytes: -1},
		"negative age":     {Directory: t.TempDir(), SegmentAge: -1},
		"directory a file": {Directory: os.Args[0]},
	} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
