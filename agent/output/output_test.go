package output

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/durable/durabletest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("VITALS_TEST_APPEND"); dir != "" {
		appendForEver(dir)
		return
	}
	os.Exit(m.Run())
}

func settings(urls ...string) Config {
	return Config{
		Output: config.Output{
			ID: "main", Name: "influxdb", URLs: urls, Database: "d", RetentionPolicy: "r", SkipDatabaseCreation: true,
			Timeout: time.Minute, FlushInterval: 20 * time.Millisecond, BatchSize: 10, BufferLimit: 100, BufferMaxBytes: 64 << 20,
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// running is an output whose writer runs until stop.
type running struct {
	*Output
	t    *testing.T
	stop func() error
}

func run(t *testing.T, c Config) *running {
	t.Helper()
	o, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stopped := false
	r := &running{Output: o, t: t}
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Error("Run does not return")
			return nil
		}
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// give appends the lines from to to-1, one by one.
func (r *running) give(from, to int) {
	for i := from; i < to; i++ {
		r.Append(r.t.Context(), []byte(numbered(i)+"\n"), 1)
	}
}

func numbered(i int) string {
	return fmt.Sprintf("m,host=n1 n=%di %d", i, 1_700_000_000_000_000_000+int64(i))
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, numbered(i))
	}
	return all
}

// patience is for what may be slow, on a machine that is.
const patience = 2 * time.Minute

func (r *running) until(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("in vain waited until %s; status %+v", what, r.Status())
		}
	}
}

// done reports whether nothing is held and all that was written is counted.
func (r *running) done() bool {
	if r.Held() > 0 {
		return false
	}
	s := r.Status() // of later, for a batch is counted once it is not held any more
	return s.Attempts <= s.Batches+s.Failures
}

// holds waits until so many lines are held. While they are being brought to the
// disk they are counted twice.
func (r *running) holds(n int64) {
	r.t.Helper()
	r.until(fmt.Sprintf("%d lines are held", n), func() bool { return r.Held() == n })
}

// delivers waits until the server holds exactly want, in this order.
func (r *running) delivers(db *influxd, want []string) {
	r.t.Helper()
	r.until("all is delivered", func() bool { return len(db.stored()) >= len(want) && r.done() })
	if diff := cmp.Diff(want, db.stored()); diff != "" {
		r.t.Error(diff)
	}
}

// deliversAtLeastOnce is delivers where a server's failures may lie with the
// lines: they are then written in parts, and some more than once.
func (r *running) deliversAtLeastOnce(db *influxd, want []string) {
	r.t.Helper()
	r.until("all is delivered", r.done)
	got := db.stored()
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		r.t.Error(diff)
	}
}

func TestLinesAreWritten(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	c.UserAgent, c.Username, c.Password, c.Headers = "vitals-agent/x", "u", "p", map[string]string{"X-A": "b"}
	o := run(t, c)
	o.give(0, 25)
	o.delivers(db, numbers(0, 25))
	w := db.writes[0]
	user, password, _ := w.BasicAuth()
	if got := w.URL.String(); got != "/write?db=d&rp=r" || user != "u" || password != "p" || w.UserAgent() != "vitals-agent/x" || w.Header.Get("X-A") != "b" {
		t.Errorf("%s %v", got, w.Header)
	}
	if s := o.Status(); s.Written != 25 || s.State != StateOK || s.URL != db.URL || s.LastSuccess.IsZero() || s.Failures != 0 {
		t.Errorf("%+v", s)
	}
	if s := o.Status(); s.Added != 25 || s.Attempts < 3 || s.Attempts != s.Batches || s.Spent <= 0 || s.BufferLimit != 100 {
		t.Errorf("%+v", s)
	}
}

func TestVersion2(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	c.Name, c.Token, c.Organization, c.Bucket = "influxdb_v2", "t", "o", "b"
	o := run(t, c)
	o.give(0, 3)
	o.delivers(db, numbers(0, 3))
	w := db.writes[0]
	if got := w.URL.String(); got != "/api/v2/write?bucket=b&org=o&precision=ns" || w.Header.Get("Authorization") != "Token t" {
		t.Errorf("%s %v", got, w.Header)
	}
}

func TestAFullBatchIsNotKeptWaiting(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	c.FlushInterval = time.Hour
	o := run(t, c)
	o.give(0, 15)
	o.until("one batch is written", func() bool { return len(db.stored()) >= 10 })
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(numbers(0, 15), db.stored()); diff != "" {
		t.Error(diff)
	}
}

// While the server fails, whichever way, nothing is lost, and what memory held
// is on disk.
func TestNothingIsLostWhileTheServerIsAway(t *testing.T) {
	f := func(name string, answer func(http.ResponseWriter, []string) bool) {
		t.Helper()
		for _, disk := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, disk %v", name, disk), func(t *testing.T) {
				t.Parallel()
				db := newInfluxd(t)
				c := settings(db.URL)
				c.Directory, c.Disk, c.BufferLimit = t.TempDir(), disk, 20
				if name == "silence" {
					c.Timeout = 300 * time.Millisecond
				}
				o := run(t, c)
				o.give(0, 12)
				o.delivers(db, numbers(0, 12))
				db.misbehave(answer)
				o.give(12, 30)
				o.until("it is failing and all is on disk", func() bool {
					s := o.Status()
					return s.State == StateFailing && s.MemoryLines == 0 && s.SpoolLines == 18
				})
				o.give(30, 90) // far more than memory may hold
				o.until("it is on disk", func() bool { return o.Status().SpoolLines == 78 })
				if s := o.Status(); s.Dropped != 0 || s.LastError == "" || s.Oldest.IsZero() {
					t.Errorf("%+v", s)
				}
				db.misbehave(nil)
				o.deliversAtLeastOnce(db, numbers(0, 90))
				if s := o.Status(); s.State != StateOK || s.Written != 90 || s.Added != 90 || s.Attempts != s.Batches+s.Failures {
					t.Errorf("%+v", s)
				}
			})
		}
	}
	f("unavailable", status(http.StatusServiceUnavailable, "busy"))
	f("broken", status(http.StatusInternalServerError, "engine: it broke"))
	f("not allowed", status(http.StatusUnauthorized, "authorization failed"))
	f("no database", status(http.StatusNotFound, `database not found: "d"`))
	f("dropped connection", drop)
	f("a proxy's page", func(w http.ResponseWriter, _ []string) bool {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<html>hello")
		return false
	})
	f("silence", func(http.ResponseWriter, []string) bool { time.Sleep(400 * time.Millisecond); return false })
}

func TestARestartSendsWhatWaits(t *testing.T) {
	for _, disk := range []bool{false, true} {
		t.Run(fmt.Sprint("disk ", disk), func(t *testing.T) {
			db := newInfluxd(t)
			db.misbehave(status(http.StatusServiceUnavailable, "busy"))
			c := settings(db.URL)
			c.Directory, c.Disk = t.TempDir(), disk
			o := run(t, c)
			o.give(0, 33)
			if err := o.stop(); err != nil {
				t.Fatal(err)
			}
			db.misbehave(nil)
			c.FlushInterval = time.Hour // it is sent at once, not at the first flush
			o = run(t, c)
			o.delivers(db, numbers(0, 33))
			if err := o.stop(); err != nil {
				t.Fatal(err)
			}
			o = run(t, c)
			if held := o.Held(); held != 0 {
				t.Errorf("%d lines wait again", held)
			}
		})
	}
}

func TestStoppingBeforeAServerThatIsSilent(t *testing.T) {
	silent, db := newInfluxd(t), newInfluxd(t)
	silent.misbehave(func(http.ResponseWriter, []string) bool { time.Sleep(time.Second); return false })
	c := settings(silent.URL)
	c.Directory, c.FlushInterval, c.Timeout = t.TempDir(), time.Hour, 300*time.Millisecond
	o := run(t, c)
	o.give(0, 5)
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	c.URLs, c.Timeout = []string{db.URL}, time.Minute
	o = run(t, c)
	o.delivers(db, numbers(0, 5))
}

// appendForEver is the process that is killed: it says of every line that it
// is safe.
func appendForEver(dir string) {
	c := settings("http://127.0.0.1:1")
	c.Directory, c.Disk = dir, true
	o, err := Open(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() { _ = o.Run(context.Background()) }()
	for i := 0; ; i++ {
		o.Append(context.Background(), []byte(numbered(i)+"\n"), 1)
		fmt.Println(i)
	}
}

func TestKilledWithTheDiskStrategyNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "VITALS_TEST_APPEND="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for s := bufio.NewScanner(out); s.Scan(); {
		if _, err := fmt.Sscan(s.Text(), &last); err != nil {
			t.Fatal(s.Text())
		}
		if last == 40 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	db := newInfluxd(t)
	c := settings(db.URL)
	c.Directory, c.Disk = dir, true
	o := run(t, c)
	o.until("all is sent", func() bool { return len(db.stored()) > last && o.done() })
	if diff := cmp.Diff(numbers(0, last+1), db.stored()[:last+1]); diff != "" {
		t.Error(diff)
	}
}

// What is gathered while the agent is told to stop is put on disk like all else.
func TestTheDiskStrategyWhileStopping(t *testing.T) {
	c := settings("http://127.0.0.1:1")
	c.Directory, c.Disk = t.TempDir(), true
	o, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Append(ctx, []byte(numbered(0)+"\n"), 1)
	if s := o.Status(); s.SpoolLines != 1 || s.MemoryLines != 0 || s.Buffer != "" {
		t.Errorf("%+v", s)
	}
	if err := o.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestMemoryAloneDropsTheOldest(t *testing.T) {
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, directory := range []string{"", notADirectory} {
		db := newInfluxd(t)
		db.misbehave(status(http.StatusServiceUnavailable, "busy"))
		c := settings(db.URL)
		c.Directory = directory
		o := run(t, c)
		o.give(0, 250)
		o.until("it is failing", func() bool { return o.Status().State == StateFailing })
		s := o.Status()
		if s.Dropped < 150 || s.Dropped > 170 || s.MemoryLines+s.Dropped != 250 || (directory != "") != (s.Buffer != "") {
			t.Errorf("%+v", s)
		}
		db.misbehave(nil)
		o.until("the rest is sent", o.done)
		// The batch under way when the limit was reached stays; the newest do.
		got := db.stored()
		if diff := cmp.Diff(numbers(170, 250), got[len(got)-80:]); diff != "" {
			t.Error(diff)
		}
		if s := o.Status(); s.Written+s.Dropped != 250 {
			t.Errorf("%+v", s)
		}
	}
}

func TestAFullDiskLeavesMemory(t *testing.T) {
	for _, disk := range []bool{false, true} {
		db := newInfluxd(t)
		db.misbehave(status(http.StatusServiceUnavailable, "busy"))
		c := settings(db.URL)
		c.Directory, c.Disk, c.minFree = t.TempDir(), disk, 1<<60
		o := run(t, c)
		o.give(0, 50)
		o.until("it is told", func() bool { return strings.Contains(o.Status().Buffer, "not enough free disk space") })
		if s := o.Status(); s.MemoryLines != 50 || s.Dropped != 0 {
			t.Errorf("disk %v: %+v", disk, s)
		}
		o.give(50, 200)
		o.until("the limit is kept", func() bool { return o.Status().MemoryLines <= 100 })
		if s := o.Status(); s.MemoryLines+s.Dropped != 200 || s.MemoryLines < 80 {
			t.Errorf("disk %v: %+v", disk, s)
		}
		db.misbehave(nil)
		o.until("the rest is sent", o.done)
		got := db.stored()
		if diff := cmp.Diff(numbers(120, 200), got[len(got)-80:]); diff != "" {
			t.Errorf("disk %v: %s", disk, diff)
		}
	}
}

func TestWhatCannotBeKeptIsToldWhenStopping(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusServiceUnavailable, "busy"))
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for directory, why := range map[string]string{"": "there is none on disk", notADirectory: "not a directory"} {
		var log strings.Builder
		c := settings(db.URL)
		c.Directory, c.Logger = directory, slog.New(slog.NewTextHandler(&log, nil))
		o := run(t, c)
		o.give(0, 7)
		err := o.stop()
		if err == nil || !strings.Contains(err.Error(), "output main: 7 lines were not sent and are lost; the buffer: ") || !strings.Contains(err.Error(), why) {
			t.Error(err)
		}
		for _, lie := range []string{"nothing is lost", "waits for the next start"} {
			if strings.Contains(log.String(), lie) {
				t.Errorf("%q is said:\n%s", lie, log.String())
			}
		}
		if !strings.Contains(log.String(), "writing failed, it is tried again; lines wait in memory only") || !strings.Contains(log.String(), "at_most=100") {
			t.Error(log.String())
		}
	}
}

func TestWhatIsKeptIsToldWhenStopping(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusServiceUnavailable, "busy"))
	var log strings.Builder
	c := settings(db.URL)
	c.Directory, c.Logger = t.TempDir(), slog.New(slog.NewTextHandler(&log, nil))
	o := run(t, c)
	o.give(0, 7)
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"nothing is lost", "waits for the next start"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not said:\n%s", want, log.String())
		}
	}
}

func TestRefusedLinesThatCannotBeSetAside(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusBadRequest, "unable to parse: it is three"))
	var log strings.Builder
	c := settings(db.URL)
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	o := run(t, c)
	o.give(3, 4)
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "lines were refused for good and are lost") || !strings.Contains(log.String(), "n=3i") {
		t.Error(log.String())
	}
}

func TestRefusedLinesAreSetAside(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(func(w http.ResponseWriter, lines []string) bool {
		for _, l := range lines {
			if strings.Contains(l, "n=3i") {
				return status(http.StatusBadRequest, fmt.Sprintf("unable to parse '%s': it is three", l))(w, lines)
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	c := settings(db.URL)
	c.Directory = t.TempDir()
	o := run(t, c)
	o.give(0, 10)
	want := append(numbers(0, 3), numbers(4, 10)...)
	o.delivers(db, want)
	s := o.Status()
	if s.Rejected != 1 || s.Written != 9 || s.State != StateOK {
		t.Errorf("%+v", s)
	}
	kept, err := os.ReadFile(filepath.Join(c.Directory, "main", "rejected", "rejected.lp"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(kept), "it is three\n"+numbered(3)+"\n") || !strings.HasPrefix(string(kept), "# ") {
		t.Errorf("%s", kept)
	}
}

// Lines of which a full disk has taken a part do not take in those that follow
// when there is room again.
func TestAFullDiskLeavesNoHalfLine(t *testing.T) {
	dir := durabletest.Mount(t, "tmpfs", "size=64k")
	r := newRejects(filepath.Join(dir, "rejected"))
	if err := r.add([]byte(numbered(1)+"\n"), "first", time.Now()); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.add(bytes.Repeat([]byte("m v=\"text\" 1\n"), 4000), "second", time.Now()); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := r.add([]byte(numbered(3)+"\n"), "third", time.Now()); err != nil {
		t.Fatal(err)
	}
	text, err := r.read()
	sound, n, left, _ := sift(text)
	if want := numbered(1) + "\n" + numbered(3) + "\n"; err != nil || string(sound) != want || n != 2 || len(left) > 0 {
		t.Errorf("%v, %d lines: %.300s; left: %.300s", err, n, sound, left)
	}
}

func TestRejectsAreBounded(t *testing.T) {
	r := newRejects(t.TempDir())
	text := []byte(strings.Repeat("x", maxRejectsBytes/3))
	for range 10 {
		if err := r.add(text, "a\nreason", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(r.directory)
	if err != nil || len(entries) != 2 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() > maxRejectsBytes {
			t.Error(e.Name(), info.Size(), err)
		}
	}
}

func TestAnotherServerIsTriedInTheSameWrite(t *testing.T) {
	db := newInfluxd(t)
	o := run(t, settings("http://127.0.0.1:1", db.URL))
	o.give(0, 5)
	o.delivers(db, numbers(0, 5))
	if s := o.Status(); s.Failures != 0 || s.URL != db.URL {
		t.Errorf("%+v", s)
	}
}

func TestTheDatabaseIsCreatedOnce(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	c.SkipDatabaseCreation, c.Database = false, `a"b`
	o := run(t, c)
	o.give(0, 5)
	o.delivers(db, numbers(0, 5))
	o.give(5, 8)
	o.delivers(db, numbers(0, 8))
	if diff := cmp.Diff([]string{`CREATE DATABASE "a\"b"`}, db.queries); diff != "" {
		t.Error(diff)
	}
}

func TestADatabaseThatCannotBeCreatedIsNoObstacle(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(func(w http.ResponseWriter, lines []string) bool {
		if lines == nil {
			return status(http.StatusForbidden, "not authorized")(w, nil)
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	c := settings(db.URL)
	c.SkipDatabaseCreation = false
	o := run(t, c)
	o.give(0, 5)
	o.delivers(db, numbers(0, 5))
	o.give(5, 8)
	o.delivers(db, numbers(0, 8))
	if len(db.queries) != 1 {
		t.Error(db.queries)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	late := filepath.Join(dir, "not", "yet", "there.lp")
	c := settings()
	c.Name, c.Files = "file", []string{filepath.Join(dir, "a.lp"), late}
	o := run(t, c)
	o.give(0, 3)
	o.until("it is failing", func() bool { return o.Status().State == StateFailing })
	if err := os.MkdirAll(filepath.Dir(late), 0o755); err != nil {
		t.Fatal(err)
	}
	o.until("all is written", func() bool { return o.Held() == 0 })
	got, err := os.ReadFile(late)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Join(numbers(0, 3), "\n")+"\n", string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefusesABufferInUse(t *testing.T) {
	c := settings("http://127.0.0.1:1")
	c.Directory = t.TempDir()
	o := run(t, c)
	if _, err := Open(c); err == nil || !strings.HasPrefix(err.Error(), "output main: another vitals-agent seems to run with this buffer; ") ||
		!strings.Contains(err.Error(), fmt.Sprintf("pid %d ", os.Getpid())) {
		t.Error(err)
	}
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	run(t, c)
}

func TestOpenRefusesAnAddressThatIsNone(t *testing.T) {
	if _, err := Open(settings("mailto:x")); err == nil {
		t.Error("accepted")
	}
}

// How long it took is from the first failure on: there may have been no success
// before it.
func TestWritingAgainSaysAfterWhat(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusServiceUnavailable, "not now"))
	c := settings(db.URL)
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r := run(t, c)
	r.give(0, 1)
	r.until("it fails", func() bool { return r.Status().State == StateFailing })
	db.misbehave(nil)
	r.delivers(db, numbers(0, 1))
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	_, after, found := strings.Cut(log.String(), "after=")
	word, _, _ := strings.Cut(after, "\n")
	if took, err := time.ParseDuration(word); !found || err != nil || took > time.Minute {
		t.Errorf("%v\n%s", err, log.String())
	}
}
