package program

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/program/programtest"
)

// The last rung: what cannot be killed is left to the kernel, and nobody waits
// for it.
func TestAProcessThatCannotBeKilledIsLeft(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p, other := h.start("well"), h.start("well")
	letGo := programtest.Held(t, p.PID())
	requireReturns(t, "Kill", p.Kill)
	eventually(t, "its last moment", func() bool { return gone(p.PID()) })
	if _, err := gather(t, p, "x", 2*time.Second); err == nil {
		t.Error("it answers")
	}
	requireReturns(t, "End", func() { p.End(300 * time.Millisecond) })
	if ended(p) || syscall.Kill(p.PID(), 0) != nil {
		t.Error("it has ended")
	}
	mustGather(t, other, "x")
	letGo()
	eventually(t, "the end", func() bool { return ended(p) })
	p.End(0)
	other.End(time.Second)
	h.requireNothingLeft()
}

// Whoever starts it anew is told that there is one already, and when it has gone.
func TestAStartWhoseProcessCannotBeKilledSaysSo(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	failed := make(chan error, 1)
	cmd := h.command("/bin/sleep", "600")
	cmd.Timeout = StartTimeout
	go func() {
		_, err := Start(t.Context(), cmd)
		failed <- err
	}()
	eventually(t, "the process", func() bool { return len(marked(h.sockets)) == 1 })
	letGo := programtest.Held(t, marked(h.sockets)[0])
	var left *LeftError
	select {
	case err := <-failed:
		var ok bool
		if left, ok = err.(*LeftError); !ok || !strings.Contains(err.Error(), "no handshake within 10s; its process cannot be ended yet") {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("Start hangs")
	}
	select {
	case <-left.Exited:
		t.Error("it is said to be gone")
	default:
	}
	letGo()
	select {
	case <-left.Exited:
	case <-time.After(patience):
		t.Error("nobody is told that it is gone")
	}
}
