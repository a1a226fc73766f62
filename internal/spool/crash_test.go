package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

const (
	crashEnv  = "SPOOL_TEST_CRASH_DIRECTORY"
	crashFrom = "SPOOL_TEST_CRASH_FROM"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func crashConfig(dir string) Config {
	return Config{Directory: dir, SegmentBytes: 6 << 10, KeptBytes: 128 << 10}
}

// crashChild appends and delivers until it is killed, and says on stdout what
// it was told: "A n seq" for an acknowledged frame, "R n seq" for one that
// destination a was given, before it is passed.
func crashChild(dir string) error {
	var from int
	if _, err := fmt.Sscan(os.Getenv(crashFrom), &from); err != nil {
		return err
	}
	s, err := Open(crashConfig(dir))
	if err != nil {
		return err
	}
	a, err := s.Destination("a")
	if err != nil {
		return err
	}
	if _, err := s.Destination("b"); err != nil {
		return err
	}
	errs := make(chan error)
	for i := range 4 {
		go func() { errs <- crashAppend(s, from+i*1_000_000) }()
	}
	go func() { errs <- crashDeliver(a) }()
	return <-errs
}

func crashAppend(s *Spool, n int) error {
	for ; ; n++ {
		f := frame(n)
		if err := s.Append(context.Background(), f); err != nil {
			return err
		}
		fmt.Printf("A %d %d\n", n, f.Seq) // one write to a pipe, not buffered
	}
}

func crashDeliver(d *Destination) error {
	var f Frame
	for {
		if err := d.Next(context.Background(), &f); err != nil {
			return err
		}
		n, err := number(&f)
		if err != nil {
			return err
		}
		fmt.Printf("R %d %d\n", n, f.Seq)
		if err := d.Advance(f.Seq); err != nil {
			return err
		}
	}
}

// books are what the children said and what must be true of the spool.
type books struct {
	mu    sync.Mutex
	acked map[int]uint64    // n to seq
	given map[int]uint64    // to destination a
	seqs  map[uint64]string // every seq anybody saw, and whose it is
}

func (b *books) enter(t *testing.T, line string) {
	t.Helper()
	var kind string
	var n int
	var seq uint64
	if _, err := fmt.Sscanf(line, "%s %d %d", &kind, &n, &seq); err != nil {
		return // the line that the kill cut short
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owner(t, n, seq)
	if kind == "A" {
		b.acked[n] = seq
	} else {
		b.given[n] = seq
	}
}

// owner fails when seq was seen with another frame.
func (b *books) owner(t *testing.T, n int, seq uint64) {
	t.Helper()
	who := fmt.Sprint(n)
	if was, ok := b.seqs[seq]; ok && was != who {
		t.Fatalf("seq %d was given to %s and to %s", seq, was, who)
	}
	b.seqs[seq] = who
}

// Killed at any moment, the spool loses no frame that was acknowledged, gives
// each destination what it has not passed exactly once and in order, and never
// gives a sequence number twice.
func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b := &books{acked: map[int]uint64{}, given: map[int]uint64{}, seqs: map[uint64]string{}}
	runs := 60
	if testing.Short() {
		runs = 10
	}
	for run := range runs {
		runAndKill(t, dir, b, run*10_000_000, 1+r.IntN(150))
	}
	t.Logf("%d kills, %d frames acknowledged, %d given to a", runs, len(b.acked), len(b.given))

	s := mustOpen(t, crashConfig(dir))
	if st := s.Stats(); st.DamagedFrames != 0 {
		t.Errorf("%d frames damaged", st.DamagedFrames)
	}
	checkDestination(t, s, "b", b, map[int]uint64{})
	checkDestination(t, s, "a", b, b.given)
	f := frame(0)
	if err := s.Append(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	b.owner(t, -1, f.Seq)
}

// runAndKill runs a child until it has said so many lines, and kills it.
func runAndKill(t *testing.T, dir string, b *books, from, lines int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir, fmt.Sprintf("%s=%d", crashFrom, from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := said.ReadString('\n')
		b.enter(t, line)
		if n == lines {
			_ = cmd.Process.Kill()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || n < lines {
				t.Errorf("the child ended by itself: %v", err)
			}
			break
		}
	}
	_ = cmd.Wait() // "signal: killed"
}

// checkDestination reads everything that name is still owed, and checks that
// together with what it was given nothing acknowledged is missing.
func checkDestination(t *testing.T, s *Spool, name string, b *books, given map[int]uint64) {
	t.Helper()
	d := mustDestination(t, s, name)
	var f Frame
	var last uint64
	left := map[int]uint64{}
	for {
		ok, err := d.TryNext(&f)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		n := numberOf(t, &f)
		if _, twice := left[n]; twice || f.Seq <= last {
			t.Fatalf("%s: frame %d (seq %d after %d) read twice or out of order", name, n, f.Seq, last)
		}
		b.owner(t, n, f.Seq)
		left[n], last = f.Seq, f.Seq
	}
	for n, seq := range b.acked {
		if left[n] != seq && given[n] != seq {
			t.Errorf("%s: frame %d (seq %d) was acknowledged and is lost", name, n, seq)
		}
	}
	t.Logf("%s: %d frames left", name, len(left))
}
