package trust

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// trustCommand takes the vitals-agent command that a refusal names.
func (p *place) trustCommand(path, reason string) {
	p.t.Helper()
	_, err := p.rules.Verify(path)
	want := reason + "; run: vitals-agent plugins trust " + path
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		p.t.Errorf("got:  %v\nwant: …%s", err, want)
	}
}

func TestPins(t *testing.T) {
	p := newPlace(t)
	p.rules.Pinned = true
	path := p.file("vitals-plugin-a", script, 0o755)
	p.trustCommand(path, "is not pinned: there is no lock file "+p.rules.LockFile)

	sum, err := Pin(p.rules.LockFile, path)
	p.must(err)
	if f := p.accepted(path); f.SHA256 != sum {
		t.Errorf("pinned as %s, is %s", sum, f.SHA256)
	}
	pins, err := Pins(p.rules.LockFile)
	p.must(err)
	if len(pins) != 1 || pins[0].Path != path || pins[0].SHA256 != sum || time.Since(pins[0].Since).Abs() > time.Minute {
		t.Errorf("%+v", pins)
	}

	second := p.file("vitals-plugin-b", script, 0o755)
	p.trustCommand(second, "is not pinned")

	p.file("vitals-plugin-a", script+"true\n", 0o755)
	_, err = p.rules.Verify(path)
	when := "has changed since it was pinned on " + pins[0].Since.Format("2006-01-02 15:04 UTC")
	if err == nil || !strings.Contains(err.Error(), when) {
		t.Errorf("%v does not say: %s", err, when)
	}
	_, err = Pin(p.rules.LockFile, path)
	p.must(err)
	p.accepted(path)

	p.must(Unpin(p.rules.LockFile, path))
	p.trustCommand(path, "is not pinned")
	if err := Unpin(p.rules.LockFile, path); err == nil || !strings.Contains(err.Error(), "is not in") {
		t.Error(err)
	}
}

// A pin is of permissions as well: it does not make up for any of them.
func TestAPinDoesNotMakeUpForTheMode(t *testing.T) {
	p := newPlace(t)
	p.rules.Pinned = true
	path := p.file("vitals-plugin-a", script, 0o777)
	_, err := Pin(p.rules.LockFile, path)
	p.must(err)
	p.refused(path, "is writable by everybody", true)
}

// A lock file that others may write to, or may replace, says nothing.
func TestTheLockFileIsHeldToTheSameRules(t *testing.T) {
	f := func(name, reason string, prepare func(p *place)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			p := newPlace(t)
			p.directory("etc", 0o755)
			p.rules.Pinned, p.rules.LockFile = true, p.path("etc/plugins.lock")
			path := p.file("vitals-plugin-a", script, 0o755)
			_, err := Pin(p.rules.LockFile, path)
			p.must(err)
			p.accepted(path)
			prepare(p)
			p.refused(path, reason, true)
		})
	}
	f("writable", "DIR/vitals-plugin-a is not pinned: the lock file: DIR/etc/plugins.lock is writable by everybody (mode 0666)", func(p *place) { p.chmod("etc/plugins.lock", 0o666) })
	f("another user's", "the lock file: DIR/etc/plugins.lock belongs to uid 12345", func(p *place) { p.chown("etc/plugins.lock", stranger) })
	f("directory", "the directory of the lock file: DIR/etc is writable by everybody", func(p *place) { p.chmod("etc", 0o777) })
	f("link", "the lock file: DIR/etc/plugins.lock is a symbolic link to DIR/other", func(p *place) {
		p.must(os.Rename(p.path("etc/plugins.lock"), p.path("other")))
		p.link(p.path("other"), "etc/plugins.lock")
	})
}

func TestLockFileIsSha256sums(t *testing.T) {
	p := newPlace(t)
	a, b := p.file("vitals-plugin-a", script, 0o755), p.file("vitals-plugin-b", script+"true\n", 0o755)
	const comment = "# of the machines in the attic\n\n"
	p.file("plugins.lock", comment, 0o644)
	for _, path := range []string{a, b, a} {
		_, err := Pin(p.rules.LockFile, path)
		p.must(err)
	}
	check := func() (string, error) {
		out, err := exec.Command("sha256sum", "--strict", "-c", p.rules.LockFile).CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil || out != a+": OK\n"+b+": OK\n" {
		t.Errorf("%v\n%s", err, out)
	}
	p.file("vitals-plugin-b", script, 0o755)
	if out, err := check(); err == nil || !strings.Contains(out, b+": FAILED") {
		t.Errorf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(p.rules.LockFile)
	p.must(err)
	if !strings.HasPrefix(string(text), comment) || strings.Count(string(text), since) != 2 {
		t.Errorf("%s", text)
	}

	// What sha256sum has written is read, in both of its forms and without dates.
	out, err := exec.Command("sha256sum", "-b", a).Output()
	p.must(err)
	more, err := exec.Command("sha256sum", b).Output()
	p.must(err)
	p.file("plugins.lock", string(out)+string(more), 0o644)
	p.rules.Pinned = true
	p.accepted(a)
	p.accepted(b)
	p.file("vitals-plugin-a", script+"false\n", 0o755)
	p.trustCommand(a, "…)")
	if _, err := p.rules.Verify(a); !strings.Contains(err.Error(), "has changed since it was pinned (SHA-256 ") {
		t.Error(err)
	}
}

func TestEditsOfTheLockFile(t *testing.T) {
	sum := func(c string) string { return strings.Repeat(c, 64) }
	const old, now = "# pinned 2026-01-01T00:00:00Z\n", "# pinned 2026-02-02T00:00:00Z\n"
	f := func(name, text, entry, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			if diff := cmp.Diff(want, replace(text, "/p/b", entry)); diff != "" {
				t.Error(diff)
			}
		})
	}
	entry := now + sum("1") + "  /p/b\n"
	other := sum("a") + "  /p/a\n"
	f("first", "", entry, entry)
	f("added", old+other, entry, old+other+entry)
	f("without a line end", strings.TrimSuffix(other, "\n"), entry, other+entry)
	f("replaced", "# x\n"+old+sum("0")+"  /p/b\n# y\n"+other, entry, "# x\n"+entry+"# y\n"+other)
	f("replaced without a date", sum("0")+" */p/b\n"+other, entry, entry+other)
	f("replaced twice", old+sum("0")+"  /p/b\n"+old+sum("2")+"  /p/b\n"+other, entry, entry+other)
	f("removed", old+sum("0")+"  /p/b\n"+old+other, "", old+other)
	f("a comment keeps its date", old+"# x\n"+sum("0")+"  /p/b\n", "", old+"# x\n")
	f("another path that ends so", other+sum("0")+"  /p/p/b\n", "", other+sum("0")+"  /p/p/b\n")
}

func TestLockFileWithAMistake(t *testing.T) {
	p := newPlace(t)
	p.file("plugins.lock", "# x\n\nsha256:abc vitals-plugin-a\n", 0o644)
	_, err := Pins(p.rules.LockFile)
	if want := p.rules.LockFile + `:3: "sha256:abc vitals-plugin-a" is no line of sha256sum's`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
	p.rules.Pinned = true
	p.refused(p.file("vitals-plugin-a", script, 0o755), "vitals-plugin-a is not pinned: DIR/plugins.lock:3: ", false)
}

func TestPinsOfWhatCannotBePinned(t *testing.T) {
	p := newPlace(t)
	f := func(path, want string) {
		t.Helper()
		if _, err := Pin(p.rules.LockFile, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", path, err)
		}
		if _, err := os.Stat(p.rules.LockFile); err == nil {
			t.Errorf("%q: a lock file was written", path)
		}
	}
	f(p.path("none"), "no such file")
	f(p.directory("d", 0o755), "is not a regular file")
	f(p.link("d", "l"), "is a symbolic link")
	f(p.file("a\nb", script, 0o755), "cannot be pinned")
}

// A file is the same however it is named.
func TestPinByAnotherName(t *testing.T) {
	p := newPlace(t)
	p.rules.Pinned = true
	p.directory("plugins", 0o755)
	path := p.file("plugins/vitals-plugin-a", script, 0o755)
	p.link("plugins", "other")
	_, err := Pin(p.rules.LockFile, p.path("other/../other/vitals-plugin-a"))
	p.must(err)
	p.accepted(path)
	p.accepted(p.path("other/vitals-plugin-a"))
	p.must(os.RemoveAll(p.path("plugins")))
	p.must(Unpin(p.rules.LockFile, path))
}

// Nobody's pin is lost when several are written at once, and nobody reads half
// a file.
func TestPinsWrittenAtOnce(t *testing.T) {
	p := newPlace(t)
	lock := p.path("new/plugins.lock")
	var writers sync.WaitGroup
	for i := range 20 {
		path := p.file(fmt.Sprint("vitals-plugin-", i), script, 0o755)
		writers.Go(func() {
			if _, err := Pin(lock, path); err != nil {
				t.Error(err)
			}
			if pins, err := Pins(lock); err != nil || len(pins) == 0 {
				t.Error(pins, err)
			}
		})
	}
	writers.Wait()
	pins, err := Pins(lock)
	if err != nil || len(pins) != 20 {
		t.Errorf("%d pins, %v", len(pins), err)
	}
	left, err := filepath.Glob(p.path("new/.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%q, %v", left, err)
	}
}

// A lock file that is none is neither waited for nor replaced.
func TestALockFileThatIsNone(t *testing.T) {
	p := newPlace(t)
	path := p.file("vitals-plugin-a", script, 0o755)
	p.must(syscall.Mkfifo(p.path("pipe"), 0o644))
	p.link(p.file("elsewhere", "", 0o644), "link")
	p.link("nowhere", "dangling")
	for name, want := range map[string]string{"pipe": "is not a regular file", "link": "is a symbolic link", "dangling": "is a symbolic link"} {
		before, err := os.Lstat(p.path(name))
		p.must(err)
		done := make(chan error, 3)
		go func() {
			_, err := Pin(p.path(name), path)
			done <- err
			done <- Unpin(p.path(name), path)
			_, err = Pins(p.path(name))
			done <- err
		}()
		for range 3 {
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(2 * time.Minute):
				t.Fatalf("%s is waited for", name)
			}
		}
		if after, err := os.Lstat(p.path(name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was replaced: %v", name, err)
		}
	}
}
