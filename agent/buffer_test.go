package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/output"
)

// fillBuffer makes a buffer with the lines m n=from … m n=to-1.
func fillBuffer(t *testing.T, directory, name string, from, to int) {
	t.Helper()
	o, err := output.Open(output.Config{
		Output:    config.Output{ID: name, Name: "influxdb", URLs: []string{"http://127.0.0.1:1"}, Database: "d", BatchSize: 3, BufferLimit: 100, BufferMaxBytes: 1 << 20},
		Directory: directory, Disk: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i < to; i++ {
		o.Append(t.Context(), fmt.Appendf(nil, "m n=%di %d\n", i, i+1), 1)
	}
	if err := o.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// fillRejected adds to a buffer what was refused for good.
func fillRejected(t *testing.T, directory, name, text string) {
	t.Helper()
	dir := filepath.Join(directory, name, "rejected")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rejected.lp"), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

// bench is a node file without an agent.
type bench struct {
	t            *testing.T
	file, buffer string
}

func newBench(t *testing.T) bench {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "run"))
	b := bench{t, filepath.Join(dir, "node.toml"), filepath.Join(dir, "buffer")}
	text := fmt.Sprintf("[agent]\nbuffer_directory = %q\n[[inputs.cpu]]\n[[outputs.influxdb]]\nalias = \"a\"\n[[outputs.influxdb]]\nalias = \"b\"\n", b.buffer)
	if err := os.WriteFile(b.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

// says runs a command and returns what it prints, or its error.
func (b bench) says(words ...string) string {
	b.t.Helper()
	var out strings.Builder
	if err := run(context.Background(), append(words, "--config", b.file), &out, io.Discard); err != nil {
		return "error: " + err.Error()
	}
	return out.String()
}

func (b bench) want(what, got string, words ...string) {
	b.t.Helper()
	for _, w := range words {
		if !strings.Contains(got, w) {
			b.t.Errorf("%s: it does not say %q:\n%s", what, w, got)
		}
	}
}

func TestBuffersWithoutAnAgent(t *testing.T) {
	b := newBench(t)
	b.want("nothing there", b.says("buffer", "list"), b.buffer, "BUFFER")
	fillBuffer(t, b.buffer, "a", 0, 4)
	fillBuffer(t, b.buffer, "old", 10, 15)
	fillRejected(t, b.buffer, "a", "# 2026-11-22T08:00:00Z field type conflict\nm n=1.5 1\n# 2026-11-22T08:00:01Z no idea\nrubbish\n")
	fillRejected(t, b.buffer, "old", "# 2026-11-22T08:00:00Z x\nm n=9i 9\n")

	list := b.says("buffer", "list")
	b.want("list", list, "Nobody sends what is in an orphan")
	for _, row := range [][]string{{"a", "a", "4", "2"}, {"old", "none", "(orphan)", "5", "1"}} {
		found := false
		for l := range strings.Lines(list) {
			f := strings.Fields(l)
			found = found || len(f) > len(row) && strings.Join(f[:len(row)-1], " ") == strings.Join(row[:len(row)-1], " ") && f[len(f)-1] == row[len(row)-1]
		}
		if !found {
			t.Errorf("no row %v in\n%s", row, list)
		}
	}
	b.want("as JSON", b.says("buffer", "list", "--json"), `"name": "old"`, `"orphan": true`, `"rejected_lines": 1`)

	if got, want := b.says("buffer", "show", "a"), "m n=0i 1\nm n=1i 2\nm n=2i 3\nm n=3i 4\n"; got != want {
		t.Errorf("show: %q", got)
	}
	if got, want := b.says("buffer", "show", "a", "--limit", "2"), "m n=0i 1\nm n=1i 2\n"; got != want {
		t.Errorf("show two: %q", got)
	}
	b.want("show rejected", b.says("buffer", "show", "a", "--rejected"), "field type conflict\nm n=1.5 1\n", "no idea\nrubbish\n")
	b.want("show none", b.says("buffer", "show", "zzz"), `error: there is no buffer "zzz" in `)
	b.want("wrong limit", b.says("buffer", "show", "a", "--limit", "x"), "error: --limit is a number")

	b.want("orphan without a target", b.says("buffer", "replay", "old"), `error: no output is called "old", so say with --to`, "a, b")
	b.want("wrong target", b.says("buffer", "replay", "old", "--to", "c"), `error: there is no output "c"`)
	b.want("replay an orphan", b.says("buffer", "replay", "old", "--to", "b"), "old: 6 lines queued to be sent by b")
	if got, want := b.says("buffer", "show", "b"), "m n=10i 11\nm n=11i 12\nm n=12i 13\nm n=13i 14\nm n=14i 15\nm n=9i 9\n"; got != want {
		t.Errorf("after the replay: %q", got)
	}
	if _, err := os.Stat(filepath.Join(b.buffer, "old")); err == nil {
		t.Error("the orphan is still there")
	}
	b.want("replay what was refused", b.says("buffer", "replay", "a"), "a: 1 line queued to be sent by a", "not being line protocol: 1 line")
	b.want("it is queued", b.says("buffer", "show", "a"), "m n=3i 4\nm n=1.5 1\n")
	if got := b.says("buffer", "show", "a", "--rejected"); strings.Contains(got, "n=1.5") || !strings.Contains(got, "rubbish") {
		t.Errorf("what is left: %q", got)
	}

	b.want("purge what was refused", b.says("buffer", "purge", "a", "--rejected"), "a: gone are 0 lines that waited and 1 that were refused")
	b.want("purge", b.says("buffer", "purge", "a"), "a: gone are 5 lines that waited and 0 that were refused")
	b.want("purge without a name", b.says("buffer", "purge"), "error: buffer purge: BUFFER is missing")
	b.want("purge what is not there", b.says("buffer", "purge", "zzz"), "error: there is no buffer")
	if got := b.says("buffer", "show", "a"); got != "" {
		t.Errorf("after the purge: %q", got)
	}
	fillBuffer(t, b.buffer, "older", 0, 2)
	b.want("purge an orphan", b.says("buffer", "purge", "older"), "gone are 2 lines")
	if _, err := os.Stat(filepath.Join(b.buffer, "older")); err == nil {
		t.Error("the orphan is still there")
	}
}

func TestABufferThatDoesNotFitIsLeftAlone(t *testing.T) {
	b := newBench(t)
	text, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.file, []byte(strings.Replace(string(text), "[agent]", "[agent]\nbuffer_max_bytes = \"1MiB\"", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	fillRejected(t, b.buffer, "a", strings.Repeat("m n=1i,s=\""+strings.Repeat("x", 1000)+"\" 1\n", 2000))
	fillBuffer(t, b.buffer, "a", 0, 1)
	b.want("replay", b.says("buffer", "replay", "a"), "error:", "raise buffer_max_bytes")
	b.want("list", b.says("buffer", "list"), "2000")
}

func TestABufferThatSomebodyHolds(t *testing.T) {
	b := newBench(t)
	fillBuffer(t, b.buffer, "a", 0, 4)
	s, err := output.OpenStore(b.buffer, "a", 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, words := range [][]string{{"buffer", "purge", "a"}, {"buffer", "replay", "a"}} {
		b.want(strings.Join(words, " "), b.says(words...), "error:", "set RUNTIME_DIRECTORY", "pid")
	}
	b.want("show needs no lock", b.says("buffer", "show", "a"), "n=3i")
}

func TestStatusSaysWhyLinesWereDropped(t *testing.T) {
	s := status{Outputs: []output.Status{{ID: "a", Dropped: 12, DroppedBy: map[string]int64{
		output.DroppedMemory: 11, output.DroppedAge: 1,
	}}}}
	var out strings.Builder
	if err := s.print(&out, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a: 1 line dropped: buffer_max_age", "a: 11 lines dropped: metric_buffer_limit"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

// What root throws away, or queues, in the agent's buffers leads nowhere else and
// stays the agent's.
func TestRootLeavesBuffersToTheAgent(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else can be of more use
	}
	const stranger = 65533
	b := newBench(t)
	fillBuffer(t, b.buffer, "a", 0, 5)
	fillRejected(t, b.buffer, "a", "m n=9i 9\n")
	above := filepath.Dir(b.file)
	if err := errors.Join(os.Chmod(filepath.Dir(above), 0o755), filepath.WalkDir(b.buffer, func(path string, _ fs.DirEntry, _ error) error {
		return os.Lchown(path, stranger, stranger)
	})); err != nil {
		t.Fatal(err)
	}
	b.want("replay", b.says("buffer", "replay", "a", "--to", "b"), "1 line queued")
	b.want("purge", b.says("buffer", "purge", "b"), "gone are 1 lines")
	if err := filepath.WalkDir(b.buffer, func(path string, d fs.DirEntry, _ error) error {
		info, err := d.Info()
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != stranger {
			t.Errorf("%s is root's", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	roots := filepath.Join(above, "roots")
	if err := errors.Join(os.Rename(filepath.Join(b.buffer, "a"), roots), os.Chown(roots, 0, 0), os.Chmod(roots, 0o700), os.Symlink(roots, filepath.Join(b.buffer, "a"))); err != nil {
		t.Fatal(err)
	}
	b.want("purge behind a link", b.says("buffer", "purge", "a"), "error: ")
}
