package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program/programtest"
	"github.com/rpicluster/vitals/agent/trust"
)

func TestAFrozenPluginHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.add("frozen", "steady", both(l.hasty, l.dropIn("frozen", "")))
	l.add("other", "steady", slowly)
	l.start()
	l.more("frozen", 2)
	l.more("other", 1)
	pid := l.status("frozen").PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.until("it is ended", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	l.more("frozen", 2)
	l.more("other", 2)
	if n := l.gaps("other"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

// On a busy machine a plugin may get no processor for several ticks.
func TestABusyMomentIsNoHang(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.config.hangTime = time.Hour
	l.add("busy", "steady", both(l.hasty, l.dropIn("busy", "")))
	l.start()
	l.more("busy", 1)
	before := l.status("busy")
	if err := syscall.Kill(before.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.until("it overruns", func() bool { return l.status("busy").Timeouts >= before.Timeouts+maxOverruns+2 })
	if err := syscall.Kill(before.PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.more("busy", 2)
	if now := l.status("busy"); now.PID != before.PID || now.Restarts > 0 {
		t.Errorf("it was ended: %+v", now)
	}
}

// What even SIGKILL does not end holds up its own inputs alone: there is no
// second process of its program until it is gone.
func TestAProcessThatCannotBeEndedHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	starts := filepath.Join(l.dir, "starts")
	l.add("stuck", "steady", both(l.hasty, l.dropIn("stuck", "echo x >>'"+starts+"'; exec '"+os.Args[0]+"' plugin")))
	l.add("other", "steady", slowly)
	l.start()
	l.more("stuck", 1)
	l.more("other", 1)
	pid := l.status("stuck").PID
	letGo := programtest.Held(t, pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.until("it fails", func() bool { return l.status("stuck").State == StateFailing })
	l.more("other", 2)
	if text, err := os.ReadFile(starts); err != nil || string(text) != "x\n" {
		t.Errorf("%v: started %q", err, text)
	}
	letGo()
	l.more("stuck", 2)
	l.until("it is well again", func() bool { s := l.status("stuck"); return s.PID != pid && s.State == StateOK })
	if n := l.gaps("other"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

// So it is with one whose start is given up.
func TestAStartThatCannotBeEndedHoldsUpNobody(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.config.startTimeout = 10 * time.Second
	l.add("stuck", "steady", both(l.hasty, l.dropIn("stuck", "cd '"+l.dir+`'; echo x >>starts
[ ! -e sick ] || { echo $$ >number.new; mv number.new number; exec sleep 600; }
exec '`+os.Args[0]+"' plugin")))
	l.add("other", "steady", slowly)
	l.start()
	l.more("stuck", 1)
	if err := os.WriteFile(l.dir+"/sick", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(l.status("stuck").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var pid int
	l.until("it is started again", func() bool {
		text, err := os.ReadFile(l.dir + "/number")
		_, scanErr := fmt.Sscan(string(text), &pid)
		return err == nil && scanErr == nil
	})
	letGo := programtest.Held(t, pid)
	l.until("its start is given up", func() bool {
		return strings.Contains(l.status("stuck").LastError, "no handshake within 10s; its process cannot be ended yet")
	})
	if err := os.Remove(l.dir + "/sick"); err != nil {
		t.Fatal(err)
	}
	l.more("other", 2)
	if text, err := os.ReadFile(l.dir + "/starts"); err != nil || string(text) != "x\nx\n" {
		t.Errorf("%v: started %q", err, text)
	}
	letGo()
	l.more("stuck", 2)
	if n := l.gaps("other"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

// The answer to one tick is never taken for that to another.
func TestAnAnswerThatIsTooLateIsNone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.add("a", "steady", both(l.hasty, l.dropIn("late", "")))
	l.start()
	l.more("a", 1)
	l.tell("a", "late")
	l.until("an answer is late", func() bool { return strings.Contains(l.status("a").LastError, "no answer within") })
	before := len(l.of("a"))
	l.until("more are", func() bool { return l.status("a").Errors > 4 })
	if n := len(l.of("a")) - before; n > 0 {
		t.Errorf("%d late answers were taken", n)
	}
	l.untell("a", "late")
	l.more("a", 2)
}

func TestAPluginThatHangsWhenConfiguredHoldsUpNobodyAndIsEnded(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.add("a", "steady", both(l.dropIn("hanging", ""), func(in *config.Input) {
		in.JSON = []byte(`{"dir":"` + filepath.Join(l.dir, "a") + `","Hang":true}`)
	}))
	l.add("other", "steady", slowly)
	l.start()
	l.more("other", 2)
	l.until("its process is ended", func() bool { return l.status("a").Restarts > 0 })
	if n := l.gaps("other"); n > 0 {
		t.Errorf("%d ticks of another are missing", n)
	}
}

// A collector that fails with other words each time would fill the log.
func TestErrorsThatChangeAllTheTimeAreNotAllLogged(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.add("a", "steady", nil)
	l.tell("a", "complain")
	l.start()
	l.until("it complains", func() bool { return l.status("a").Errors > 6 })
	if n := strings.Count(l.log.String(), "gathering failed"); n != 1 {
		t.Errorf("said %d times", n)
	}
	l.untell("a", "complain")
	l.more("a", 1)
	l.tell("a", "complain")
	l.until("it is said once more", func() bool { return strings.Count(l.log.String(), "gathering failed") == 2 })
}

// A start may wait for its turn while somebody looks at the file once more and
// opens it anew: what the start was given must stay open, or its number names
// another file by then, and that is what is run.
func TestAFileIsOpenForAsLongAsItsStartTakes(t *testing.T) {
	l := newLab(t)
	l.dropIn("a", "exit 1")
	d := &dropIn{name: "a", rules: func() trust.Rules { return l.config.DropIns }}
	picked, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	for _, f := range []*trust.File{picked, again} {
		if _, err := f.Stat(); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	if files, _ := os.ReadDir("/proc/self/fd"); len(files) > 64 {
		t.Errorf("%d files are open", len(files))
	}
}
