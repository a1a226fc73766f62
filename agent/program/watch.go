package program

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// partingTime is how long a process may live on without its connection,
	// which it has no second one of (see leave), and what it said last may take
	// to be read once it is gone: on a busy machine either is a while.
	partingTime = 5 * time.Second
	// silence is how long a process may say nothing until it is asked whether
	// it still lives. One that is gathered more often is never asked.
	silence = time.Minute
	// maxUnanswered such questions end it.
	maxUnanswered = 2
)

var (
	errDeaf   = errors.New("it closed its connection, and lived on")
	errSilent = errors.New("it no longer answered")
)

// watch ends a process that is of no use any more although it lives: one that
// has closed its connection, and one that says nothing when asked. Nobody else
// notices the latter where it only streams. It returns when the process has
// ended.
func (p *Process) watch(conn *grpc.ClientConn, silence time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		if breaks(ctx, conn) {
			sleep(ctx, partingTime)
		}
	}()
	ask := time.NewTicker(silence)
	defer ask.Stop()
	for unanswered := 0; ; {
		select {
		case <-p.Exited():
			return
		case <-lost:
			if conn.GetState() != connectivity.Shutdown { // closed by End
				p.endFor(errDeaf)
			}
			return
		case <-ask.C:
		}
		if p.silentFor(time.Now()) < silence || p.answers(ctx, min(silence, DescribeTimeout)) {
			unanswered = 0
		} else if unanswered++; unanswered >= maxUnanswered {
			p.endFor(errSilent)
			return
		}
	}
}

// link is what a connection tells of its state.
type link interface {
	GetState() connectivity.State
	WaitForStateChange(ctx context.Context, from connectivity.State) bool
}

// breaks waits until a connection that has carried a call breaks, and reports
// false if ctx ended before. gRPC lets calls pass a moment before it says that
// the connection is ready, which on a busy machine is a long one.
func breaks(ctx context.Context, conn link) bool {
	for conn.GetState() == connectivity.Connecting {
		if !conn.WaitForStateChange(ctx, connectivity.Connecting) {
			return false
		}
	}
	return conn.WaitForStateChange(ctx, connectivity.Ready)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// answers asks what the process collects, which any can say at any time.
func (p *Process) answers(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := p.Describe(ctx, &proto.DescribeRequest{})
	return err == nil
}

// endFor ends the process and keeps the reason.
func (p *Process) endFor(why error) {
	p.mu.Lock()
	if p.why == nil {
		p.why = why
	}
	p.mu.Unlock()
	p.Kill()
}
