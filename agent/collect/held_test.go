package collect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/trust"
)

// holding is a drop-in that has been started once: a program, since scripts are
// not held.
func holding(t *testing.T, change func(*trust.Rules)) (d *dropIn, path string, rules *trust.Rules) {
	t.Helper()
	l := newLab(t)
	path = filepath.Join(l.dir, "vitals-plugin-a")
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	rules = &l.config.DropIns
	rules.LockFile = filepath.Join(l.dir, "plugins.lock")
	if change != nil {
		change(rules)
	}
	if rules.Pinned {
		if _, err := trust.Pin(rules.LockFile, path); err != nil {
			t.Fatal(err)
		}
	}
	d = &dropIn{name: "a", rules: func() trust.Rules { return *rules }}
	t.Cleanup(d.close)
	f, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	return d, path, rules
}

// refuses requires that the file held is not started again.
func refuses(t *testing.T, d *dropIn, reason string) {
	t.Helper()
	f, err := d.pick()
	if err == nil {
		f.Close()
	}
	if _, refused := errors.AsType[*trust.Refusal](err); !refused || !strings.Contains(err.Error(), reason) {
		t.Errorf("got: %v\nshould say: %s", err, reason)
	}
}

func pinnedOnly(r *trust.Rules) { r.Pinned = true }

// overwrite puts another program into the file itself, and hides that as well
// as its owner can: the size and the time are those of before.
func overwrite(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("another program"), info.Size()/2); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func TestAHeldFileThatWasWrittenToIsCheckedAnew(t *testing.T) {
	d, path, _ := holding(t, pinnedOnly)
	overwrite(t, path)
	refuses(t, d, "has changed since it was pinned")
}

// Where another file lies at the path by now, what is held is no better.
func TestAHeldFileThatWasMovedAndWrittenToIsNotUsed(t *testing.T) {
	d, path, _ := holding(t, pinnedOnly)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	overwrite(t, path+".old")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	refuses(t, d, "has changed since it was pinned")
}

func TestAHeldFileThatIsNotPinnedAnyMoreIsNotUsed(t *testing.T) {
	d, path, rules := holding(t, pinnedOnly)
	if err := trust.Unpin(rules.LockFile, path); err != nil {
		t.Fatal(err)
	}
	refuses(t, d, "is not pinned")
}

func TestAHeldFileIsHeldToTheRulesOfNow(t *testing.T) {
	d, path, rules := holding(t, nil)
	rules.Pinned = true
	refuses(t, d, "is not pinned")
	rules.Pinned = false
	if err := os.Chmod(path, 0o757); err != nil {
		t.Fatal(err)
	}
	refuses(t, d, "is writable by everybody")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if f, err := d.pick(); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

// The file held is for when the newer one at its path may not be run.
func TestAHeldFileIsUsedWhileItIsWhatWasPinned(t *testing.T) {
	d, path, _ := holding(t, pinnedOnly)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Script {
		t.Error("what runs is the file that was never pinned")
	}
}

// env(1) finds a script's interpreter in the PATH that the plugin gets, which
// its table may set.
func TestInterpretersAreLookedForWhereThePluginLooks(t *testing.T) {
	l := newLab(t)
	bin := filepath.Join(l.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", filepath.Join(bin, "sh")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(bin, 0o777); err != nil {
		t.Fatal(err)
	}
	l.add("a", "steady", both(l.dropIn("a", version("1")), func(in *config.Input) {
		in.Env = map[string]string{"PATH": bin + ":/usr/bin:/bin"}
	}))
	path := filepath.Join(l.dir, "vitals-plugin-a")
	if err := os.WriteFile(path, []byte("#!/usr/bin/env sh\n"+version("1")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.start()
	if s := l.status("a"); s.State != StateFailed || !strings.Contains(s.LastError, bin+" is writable by everybody") {
		t.Fatalf("%+v", s)
	}
	if err := os.Chmod(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	l.s.Refresh(t.Context())
	l.more("a", 1)
}
