package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
)

// reload applies what change makes of the lab's inputs.
func (l *lab) reload(change func([]config.Input) []config.Input) (Changes, error) {
	l.t.Helper()
	next := l.config
	next.Inputs = change(slices.Clone(l.config.Inputs))
	done, err := l.s.Reload(l.t.Context(), next)
	if err == nil {
		l.config = next
	}
	return done, err
}

// field is a field of the last line of id.
func (l *lab) field(id, key string) string {
	l.t.Helper()
	all := l.of(id)
	if len(all) == 0 {
		l.t.Fatalf("no line of %s", id)
	}
	for pair := range strings.SplitSeq(string(all[len(all)-1].Fields), ",") {
		if k, v, _ := strings.Cut(pair, "="); k == key {
			return strings.Trim(v, `"`)
		}
	}
	return ""
}

func TestReloadTouchesOnlyWhatHasChanged(t *testing.T) {
	l := newLab(t)
	l.add("kept", "steady", slowly)
	l.add("changed", "steady", nil)
	l.add("gone", "steady", nil)
	l.start()
	l.more("kept", 1)
	l.more("gone", 1)
	pid, gathers := l.status("kept").PID, l.status("kept").Gathers
	begun := l.s.all()[0]
	done, err := l.reload(func(in []config.Input) []config.Input {
		in[1].Tags = map[string]string{"id": "changed", "new": "yes"}
		fresh := in[1]
		fresh.ID, fresh.Tags = "fresh", map[string]string{"id": "fresh"}
		return []config.Input{fresh, in[0], in[1]}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Changes{Kept: 1, Started: []string{"fresh"}, Changed: []string{"changed"}, Stopped: []string{"gone"}}
	if !slices.Equal(done.Started, want.Started) || !slices.Equal(done.Changed, want.Changed) || !slices.Equal(done.Stopped, want.Stopped) || done.Kept != 1 {
		t.Errorf("%+v, want %+v", done, want)
	}
	left := len(l.of("gone"))
	l.more("fresh", 2)
	l.more("changed", 2)
	l.more("kept", 1)
	if n := len(l.of("gone")); n != left {
		t.Errorf("%d lines of an input that is gone", n-left)
	}
	if s := l.status("kept"); s.PID != pid || s.Gathers <= gathers || l.s.all()[1] != begun {
		t.Errorf("the input that was kept is another: %+v", s)
	}
	if n := l.gaps("kept"); n > 0 {
		t.Errorf("%d ticks of the input that was kept are missing", n)
	}
	changed := l.of("changed")
	if tag, _ := changed[len(changed)-1].Tag("new"); tag != "yes" {
		t.Errorf("the new tag is %q", tag)
	}
}

func TestReloadOfTagsAlone(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", nil)
	l.start()
	l.more("a", 1)
	begun := l.s.all()[0]
	l.config.Tags = map[string]string{"host": "n1", "rack": "b"}
	if done, err := l.reload(func(in []config.Input) []config.Input { return in }); err != nil || done.Kept != 1 {
		t.Fatal(done, err)
	}
	l.more("a", 2)
	all := l.of("a")
	if rack, _ := all[len(all)-1].Tag("rack"); rack != "b" || l.s.all()[0] != begun {
		t.Error(rack)
	}
}

func TestReloadThatADropInRefusesChangesNothing(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", ""))
	l.add("b", "steady", nil)
	l.start()
	l.more("a", 1)
	before := l.s.all()
	_, err := l.reload(func(in []config.Input) []config.Input {
		in[0].JSON = []byte(`{"Wrong":"x"}`)
		return in[:1]
	})
	if err == nil || !strings.Contains(err.Error(), "is wrong") {
		t.Fatal(err)
	}
	if !slices.Equal(l.s.all(), before) {
		t.Error("other instances")
	}
	l.more("a", 2)
	l.more("b", 2)
}

func TestProgramsEndWithTheirLastInput(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", ""))
	l.add("b", "steady", nil)
	l.start()
	pid := l.status("a").PID
	if _, err := l.reload(func(in []config.Input) []config.Input { return in[1:] }); err != nil {
		t.Fatal(err)
	}
	l.until("the process is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	if _, err := l.reload(func(in []config.Input) []config.Input { return nil }); err != nil {
		t.Fatal(err)
	}
	if n := len(l.s.groups); n > 0 {
		t.Errorf("%d programs without an input", n)
	}
}

// put makes a drop-in's file anew, under another name first.
func (l *lab) put(name, script string, mode os.FileMode) {
	l.t.Helper()
	path := filepath.Join(l.dir, "vitals-plugin-"+name)
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chmod(path+".new", mode); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		l.t.Fatal(err)
	}
	l.s.Refresh(l.t.Context())
}

func version(v string) string { return "FAKE_VERSION=" + v + " exec '" + os.Args[0] + "' plugin" }

func TestANewFileTakesOverOnceItIsProven(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", both(l.dropIn("a", version("1")), slowly))
	l.add("b", "steady", slowly)
	l.start()
	l.more("a", 1)
	first := l.status("a").PID
	goesOn := func(what, notice string) {
		t.Helper()
		l.more("a", 1)
		if s := l.status("a"); s.PID != first || !strings.Contains(s.Notice, notice) || l.field("a", "version") != "1" {
			t.Errorf("%s: version %s, %+v", what, l.field("a", "version"), s)
		}
	}
	l.put("a", "exit 3", 0o755)
	goesOn("a program that ends at once", "without the go-plugin handshake")
	l.put("a", version("2"), 0o757)
	goesOn("a program that everybody may write", "chmod go-w")
	l.put("a", version("2"), 0o644)
	goesOn("a program that is not executable", "chmod +x")
	l.put("a", version("2"), 0o755)
	l.until("the new file runs", func() bool { return l.field("a", "version") == "2" })
	l.more("a", 1)
	if s := l.status("a"); s.Notice != "" || s.PID == first || s.Restarts != 1 {
		t.Errorf("%+v", s)
	}
	l.until("the old process is gone", func() bool { return syscall.Kill(first, 0) == syscall.ESRCH })
	for _, id := range []string{"a", "b"} {
		if n := l.gaps(id); n > 0 {
			t.Errorf("%d ticks of %s are missing", n, id)
		}
	}
	if s := l.status("a"); s.Errors > 0 {
		t.Errorf("%d errors, the last: %s", s.Errors, s.LastError)
	}
}

func TestANewFileThatFailsItsTrialIsNotUsed(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", both(l.hasty, l.dropIn("a", version("1"))))
	l.start()
	l.more("a", 1)
	l.tell("a", "freeze-version-2")
	l.put("a", version("2"), 0o755)
	if s := l.status("a"); !strings.Contains(s.Notice, "trial gather") {
		t.Errorf("%+v", s)
	}
	l.more("a", 3)
	if v := l.field("a", "version"); v != "1" {
		t.Error(v)
	}
}

func TestAFileThatGoesAndComesBack(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", version("1")))
	l.start()
	l.more("a", 1)
	pid := l.status("a").PID
	if err := os.Remove(filepath.Join(l.dir, "vitals-plugin-a")); err != nil {
		t.Fatal(err)
	}
	l.s.Refresh(t.Context())
	l.until("the process is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	l.until("that is a state", func() bool { return l.status("a").State == StateFailed })
	if s := l.status("a"); !strings.Contains(s.LastError, "its file is gone") {
		t.Errorf("%+v", s)
	}
	l.put("a", version("2"), 0o755)
	l.more("a", 1)
	if v := l.field("a", "version"); v != "2" {
		t.Error(v)
	}
}

func TestAProgramThatKeepsFailingIsLeftAlone(t *testing.T) {
	l := newLab(t)
	l.config.restartDelay = time.Millisecond
	l.add("a", "steady", l.dropIn("a", "echo started >> '"+l.dir+"/starts'; exit 3"))
	l.add("b", "steady", nil)
	l.start()
	starts := func() int {
		text, _ := os.ReadFile(l.dir + "/starts")
		return strings.Count(string(text), "started")
	}
	l.until("it is left alone", func() bool { return l.status("a").State == StateFailed })
	if n := starts(); n != maxFailures {
		t.Errorf("%d starts", n)
	}
	l.more("b", 3)
	if n := starts(); n != maxFailures {
		t.Errorf("%d starts of a program that was left alone", n)
	}
	if n := l.s.Retry(t.Context(), "vitals-plugin-a"); n != 1 {
		t.Error(n)
	}
	l.until("it is tried again", func() bool { return starts() > maxFailures })
	l.put("a", version("1"), 0o755)
	l.more("a", 1)
	if n := l.s.Retry(t.Context(), "nobody"); n != 0 {
		t.Error(n)
	}
}

func TestAChangedTableEndsTheRest(t *testing.T) {
	l := newLab(t)
	l.config.restartDelay = time.Millisecond
	l.add("a", "steady", l.dropIn("a", "[ -e '"+l.dir+"/ready' ] || exit 3\n"+version("1")))
	l.start()
	l.until("it is left alone", func() bool { return l.status("a").State == StateFailed })
	if err := os.WriteFile(l.dir+"/ready", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reload(func(in []config.Input) []config.Input {
		in[0].Interval = 300 * time.Millisecond
		return in
	}); err != nil {
		t.Fatal(err)
	}
	l.more("a", 1)
}

func TestAProgramThatMayNotBeRunIsAState(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", version("1")))
	l.add("b", "steady", nil)
	path := filepath.Join(l.dir, "vitals-plugin-a")
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.more("b", 1)
	if s := l.status("a"); s.State != StateFailed || !strings.Contains(s.LastError, "chmod go-w "+path) {
		t.Errorf("%+v", s)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	l.s.Refresh(t.Context())
	l.more("a", 1)
}

func TestARefusalIsMendedFurtherUp(t *testing.T) {
	l := newLab(t)
	up := filepath.Join(l.dir, "up")
	l.dir = filepath.Join(up, "plugins")
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.config.DropIns.Directories = []string{l.dir}
	l.add("a", "steady", l.dropIn("a", version("1")))
	if err := os.Chmod(up, 0o777); err != nil {
		t.Fatal(err)
	}
	l.start()
	if s := l.status("a"); s.State != StateFailed || !strings.Contains(s.LastError, up) {
		t.Fatalf("%+v", s)
	}
	if err := os.Chmod(up, 0o755); err != nil {
		t.Fatal(err)
	}
	l.s.Refresh(t.Context())
	l.more("a", 1)
}

// An option gets another name: neither the new program nor the new table can
// be used without the other.
func TestAProgramAndItsTableChangeTogether(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", version("1")))
	l.add("b", "steady", slowly)
	l.start()
	l.more("a", 1)
	l.put("a", version("renamed"), 0o755)
	if s := l.status("a"); !strings.Contains(s.Notice, "folder") {
		t.Fatalf("%+v", s)
	}
	rename := func(in []config.Input) []config.Input {
		in[0].JSON = []byte(strings.Replace(string(in[0].JSON), `"dir"`, `"folder"`, 1))
		return in
	}
	done, err := l.reload(rename)
	if err != nil || len(done.Changed) != 1 || done.Kept != 1 {
		t.Fatal(done, err)
	}
	l.until("the new program is used", func() bool { return l.field("a", "version") == "renamed" })
	if s := l.status("a"); s.Notice != "" || s.Errors > 0 {
		t.Errorf("%+v", s)
	}
	if n := l.gaps("b"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

func TestOtherRulesHoldForWhatRuns(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", l.dropIn("a", version("1")))
	l.start()
	l.more("a", 1)
	pid := l.status("a").PID
	same := func(in []config.Input) []config.Input { return in }
	l.config.Limits.Memory = 700 << 20
	if _, err := l.reload(same); err != nil {
		t.Fatal(err)
	}
	l.until("it runs under the new limit", func() bool {
		s := l.status("a")
		limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.PID))
		return s.PID != pid && strings.Contains(string(limits), fmt.Sprint(700<<20))
	})
	l.more("a", 2)
	l.config.DropIns.Pinned, l.config.DropIns.LockFile = true, filepath.Join(l.dir, "lock")
	if _, err := l.reload(same); err != nil {
		t.Fatal(err)
	}
	l.until("it is ended", func() bool { return l.status("a").State == StateFailed })
	if s := l.status("a"); s.PID != 0 || !strings.Contains(s.LastError, "not pinned") {
		t.Errorf("%+v", s)
	}
}

func TestRetryConfiguresAnew(t *testing.T) {
	l := newLab(t)
	l.add("events", "events", func(in *config.Input) { in.Interval = time.Hour })
	l.start()
	l.more("events", 3)
	before := l.of("events")
	if n := l.s.Retry(t.Context(), "events"); n != 1 {
		t.Fatal(n)
	}
	l.until("the stream begins again", func() bool { return len(l.of("events")) > len(before) })
	if n := l.s.Retry(t.Context(), ""); n != 0 {
		t.Error(n)
	}
}

func TestNoSoundLineIsAFailure(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", nil)
	l.tell("a", "rubbish")
	l.start()
	l.until("it fails", func() bool {
		s := l.status("a")
		return s.State == StateFailing && strings.Contains(s.LastError, "all 2 lines of it were dropped: ")
	})
}

func TestTheOwnersTimeoutHolds(t *testing.T) {
	l := newLab(t)
	l.add("a", "steady", func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","Patience":3600000000000}`)
		in.GatherTimeout, in.GatherTimeoutSet = 150*time.Millisecond, true
	})
	l.tell("a", "hang")
	l.start()
	l.until("it is given up", func() bool { return strings.Contains(l.status("a").LastError, "no answer within 150ms") })
}
