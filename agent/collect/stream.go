package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rpicluster/vitals/plugins/proto"
)

// streamAndPrompt streams until ctx ends, or until the collector no longer
// does, and meanwhile prompts it on schedule where it has asked for that.
func (in *instance) streamAndPrompt(ctx, calls context.Context) {
	streaming, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		in.tryPrompt(streaming, calls)
		for streaming.Err() == nil {
			every, _, _ := in.interval()
			in.follow(streaming, calls, in.schedule(every), true)
		}
	})
	in.stream(streaming)
	cancel()
	wg.Wait()
}

// tryPrompt prompts a collector that is only tried, as by --test-wait, when it is
// ready: its first tick may be an hour away.
func (in *instance) tryPrompt(ctx, calls context.Context) {
	if g, _ := in.host(); !g.once {
		return
	}
	for !in.wantsPrompts() {
		if !sleep(ctx, readyEvery) {
			return
		}
	}
	in.gather(calls, time.Now())
}

// readyEvery is how often it is looked whether a collector is ready.
const readyEvery = 20 * time.Millisecond

// wantsPrompts reports whether the instance is gathered while it streams. It
// is not before it is known to a process: that is the stream's to see to.
func (in *instance) wantsPrompts() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.prompted && in.configured != nil
}

// stream passes on what the collector reports until ctx ends, and begins again
// where it breaks off.
func (in *instance) stream(ctx context.Context) {
	var backoff backoff
	for ctx.Err() == nil {
		begun := time.Now()
		once, cancel := context.WithCancel(ctx)
		in.setRestart(cancel)
		received, err := in.receive(once)
		again := once.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return
		}
		if again {
			continue // by retry
		}
		in.account(begun, 0, 0, 0, err)
		if _, _, streams := in.interval(); !streams {
			return // another program has taken its place
		}
		sleep(ctx, backoff.next(time.Since(begun), received))
	}
}

// setRestart says how to break off what is under way for retry.
func (in *instance) setRestart(restart context.CancelFunc) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.restart = restart
}

// retry has the collector configured anew: a poller at its next tick, one that
// streams at once.
func (in *instance) retry() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.configured = nil
	if in.restart != nil {
		in.restart()
	}
}

// receive reads one stream to its end.
func (in *instance) receive(ctx context.Context) (received bool, err error) {
	g, p, known, err := in.process(ctx, nil, true)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	if p != known {
		if err := in.configure(ctx, p); err != nil {
			if errors.Is(err, errNoAnswer) {
				in.overran(p, begun)
			}
			return false, err
		}
	}
	stream, err := p.Stream(ctx, &proto.StreamRequest{
		InstanceId: in.request.InstanceId, PrecisionNs: int64(in.input.Precision),
	})
	if err != nil {
		return false, fmt.Errorf("open stream: %w", plain(err))
	}
	for {
		reply, err := stream.Recv()
		if err == io.EOF {
			return received, errors.New("the stream has ended")
		}
		if err != nil && g.running() != p {
			return received, nil // another process has taken over
		}
		if err != nil {
			in.forget()
			return received, fmt.Errorf("stream: %w", plain(err))
		}
		received = true
		g.useful.Store(p)
		now := time.Now()
		n, bad := in.lines.pass(context.WithoutCancel(ctx), reply.Lines, stamp(now, in.input.Precision, time.Nanosecond))
		switch {
		case reply.Error != "":
			err = errors.New(reply.Error)
		case n == 0 && bad > 0:
			err = in.lines.dropped(bad)
		}
		in.account(now, 0, n, bad, err)
	}
}
