package program

import (
	"context"
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
