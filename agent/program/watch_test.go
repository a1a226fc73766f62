package program

import (
	"context"
	"os/exec"
	"testing"

	"google.golang.org/grpc/connectivity"
)

// lateLink says what it is told to say, one state after the other.
type lateLink struct{ states []connectivity.State }

func (l *lateLink) GetState() connectivity.State { return l.states[0] }

func (l *lateLink) WaitForStateChange(ctx context.Context, from connectivity.State) bool {
	for l.states[0] == from {
		if len(l.states) == 1 {
			<-ctx.Done()
			return false
		}
		l.states = l.states[1:]
	}
	return true
}

func TestAConnectionThatSaysLateThatItIsReadyIsNotBroken(t *testing.T) {
	const connecting, ready, idle = connectivity.Connecting, connectivity.Ready, connectivity.Idle
	for _, c := range []struct {
		states []connectivity.State
		broken bool
	}{
		{[]connectivity.State{ready}, false},
		{[]connectivity.State{connecting}, false},
		{[]connectivity.State{connecting, ready}, false},
		{[]connectivity.State{ready, idle}, true},
		{[]connectivity.State{connecting, ready, idle}, true},
		{[]connectivity.State{idle}, true},
		{[]connectivity.State{connecting, connectivity.TransientFailure}, true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan bool)
		conn := &lateLink{states: c.states}
		go func() { got <- breaks(ctx, conn) }()
		if !c.broken {
			cancel()
		}
		if broken := <-got; broken != c.broken {
			t.Errorf("%v: broken: %v", c.states, broken)
		}
		cancel()
	}
}

// On a busy machine the end of a process is known long after that of its
// connection, for which it is then to be killed.
func TestAProcessThatHasEndedIsNotSaidToLiveOn(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3": "exit status 3", "exit 0": "it ended by itself", "kill -TERM $$": "signal: terminated", "kill -KILL $$": errDeaf.Error(),
	} {
		p := &Process{child: &child{err: exec.Command("sh", "-c", script).Run()}, why: errDeaf}
		if got := p.Err(); got.Error() != want {
			t.Errorf("%s: %v, want %s", script, got, want)
		}
	}
}
