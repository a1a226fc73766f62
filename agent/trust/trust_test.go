package trust

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestFind(t *testing.T) {
	p := newPlace(t)
	first, second := p.directory("a", 0o755), p.directory("b", 0o755)
	p.rules.Directories = []string{p.path("none"), first, second}
	p.file("a/vitals-plugin-x", script, 0o755)
	p.file("b/vitals-plugin-x", script, 0o755)
	p.file("b/vitals-plugin-y", script, 0o644)
	p.link("nowhere", "b/vitals-plugin-z")
	for name, want := range map[string]string{"x": "a/vitals-plugin-x", "y": "b/vitals-plugin-y", "z": "b/vitals-plugin-z"} {
		if got, err := p.rules.Find(name); err != nil || got != p.path(want) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if got, err := p.rules.Find("q"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(got, err)
	}
}

func TestList(t *testing.T) {
	p := newPlace(t)
	p.rules.Directories = []string{p.directory("a", 0o755), p.path("none"), p.directory("b", 0o755)}
	p.file("a/vitals-plugin-good", script, 0o755)
	p.file("a/vitals-plugin-loose", script, 0o777)
	p.file("b/vitals-plugin-good", script+"true\n", 0o755)
	p.file("b/vitals-plugin-Bad-Name", script, 0o755)
	p.directory("b/vitals-plugin-dir", 0o755)
	for _, ignored := range []string{"a/.vitals-plugin-x.Ab12", "a/vitals-plugin-good~", "a/vitals-plugin-good.tmp", "a/vitals_plugin.py", "a/README"} {
		p.file(ignored, script, 0o755)
	}
	type row struct{ Name, Path, Err, Shadowed string }
	var got []row
	for _, f := range p.rules.List() {
		r := row{Name: f.Name, Path: f.Path, Shadowed: f.Shadowed}
		if (f.Err == nil) != (len(f.SHA256) == 64) {
			t.Errorf("%s: SHA-256 %q and %v", f.Path, f.SHA256, f.Err)
		}
		if f.Err != nil {
			r.Err = f.Err.(*Refusal).Reason
		}
		got = append(got, r)
	}
	want := []row{
		{"good", p.path("a/vitals-plugin-good"), "", ""},
		{"loose", p.path("a/vitals-plugin-loose"), "is writable by everybody (mode 0777)", ""},
		{"Bad-Name", p.path("b/vitals-plugin-Bad-Name"), "is not named as a drop-in is: after vitals-plugin- come small letters, digits and _, a letter first, 32 at most", ""},
		{"dir", p.path("b/vitals-plugin-dir"), "is not a regular file but a directory", ""},
		{"good", p.path("b/vitals-plugin-good"), "", p.path("a/vitals-plugin-good")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"good", "loose", "dir", "good"}, p.rules.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestStampMovesWithTheFile(t *testing.T) {
	p := newPlace(t)
	path := p.file("vitals-plugin-a", script, 0o755)
	last, err := StampOf(path)
	p.must(err)
	differs := func(what string, change func() error) {
		t.Helper()
		for clock := int64(0); clock <= last.ChangeUnixNano; { // which stamps by the tick
			var now unix.Timespec
			p.must(unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now))
			clock = now.Nano()
		}
		p.must(change())
		now, err := StampOf(path)
		p.must(err)
		if now == last {
			t.Errorf("the same after %s", what)
		}
		last = now
	}
	differs("a change of the mode", func() error { return os.Chmod(path, 0o700) })
	differs("a change of the owner", func() error { return os.Chown(path, stranger, 0) })
	differs("a longer content", func() error { return os.WriteFile(path, []byte(script+"#\n"), 0) })
	differs("another file of the same name", func() error {
		if err := os.WriteFile(path+".tmp", []byte(script+"#\n"), 0o700); err != nil {
			return err
		}
		return os.Rename(path+".tmp", path)
	})
	if now, err := StampOf(path); err != nil || now != last {
		t.Errorf("%+v, %+v, %v", last, now, err)
	}
}
