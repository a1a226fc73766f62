package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins/proto"
)

// gather takes one reading for a tick and passes its lines on.
func (in *instance) gather(ctx context.Context, tick time.Time) error {
	every, _, _ := in.interval()
	limit := in.limit(every)
	begun := time.Now()
	reply, err := in.ask(ctx, limit, stamp(tick, in.input.Precision, every))
	ended := time.Now()
	took := ended.Sub(begun)
	// Where the clock was set meanwhile, what is passed on goes by the new time.
	by := wasSet(begun, ended)
	tick, begun = tick.Add(by), begun.Add(by)
	nano := stamp(tick, in.input.Precision, every)
	switch in.input.TimeSource {
	case "collection_start":
		nano = stamp(begun, in.input.Precision, every)
	case "collection_end":
		nano = stamp(begun.Add(took), in.input.Precision, every)
	}
	var n, bad int
	if reply != nil {
		n, bad = in.lines.pass(context.WithoutCancel(ctx), reply.Lines, nano)
		switch {
		case reply.Error != "":
			err = errors.New(reply.Error)
		case n == 0 && bad > 0:
			err = in.lines.dropped(bad)
		}
	}
	in.account(begun, took, n, bad, err)
	return err
}

// limit is how long a gather may take: as configured, and less than to the next
// tick, unless the collector's own options speak of more and its table does not
// say how long it may take.
func (in *instance) limit(every time.Duration) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	configured := cmp.Or(in.input.GatherTimeout, config.DefaultGatherTimeout)
	limit := max(min(configured, every*9/10), in.patience)
	if in.input.GatherTimeoutSet {
		limit = min(limit, configured)
	}
	return limit
}

// ask gathers within limit, and once more where the process has died under the
// call, or does not know the instance: that has cost this tick nothing if the
// answer comes in what is left of the time.
func (in *instance) ask(ctx context.Context, limit time.Duration, nano int64) (*proto.GatherReply, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begun := time.Now()
	var failed *program.Process
	again := false
	for {
		g, p, known, err := in.process(ctx, failed, false)
		if err != nil {
			return nil, err
		}
		if p != known {
			if err := in.configure(ctx, p); err != nil {
				if errors.Is(err, errNoAnswer) {
					in.overran(p, begun)
				}
				return nil, err
			}
		}
		reply, err := p.Gather(ctx, &proto.GatherRequest{InstanceId: in.request.InstanceId, TickUnixNano: nano})
		if err == nil {
			g.useful.Store(p)
			in.inTime()
			return reply, nil
		}
		code := status.Code(err)
		if again || code != codes.Unavailable && code != codes.NotFound {
			return nil, in.failed(p, err, begun, limit)
		}
		again = true
		if code == codes.Unavailable {
			failed = p
		}
		in.forget()
	}
}

func (in *instance) inTime() {
	in.mu.Lock()
	in.overruns = 0
	in.mu.Unlock()
}

func (in *instance) forget() {
	in.mu.Lock()
	in.configured = nil
	in.mu.Unlock()
}

// failed words the failure of a call that was begun at a time.
func (in *instance) failed(p *program.Process, err error, begun time.Time, limit time.Duration) error {
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		err = fmt.Errorf("no answer within %v", limit)
	case codes.ResourceExhausted:
		return fmt.Errorf("it answered more than %d MiB at once, which is refused", program.MaxReply>>20)
	case codes.Unavailable:
		err = fmt.Errorf("the plugin cannot be reached: %w", plain(err))
	default:
		return plain(err)
	}
	in.overran(p, begun)
	return err
}

// overran counts a call, begun at a time, that was not answered in time, and acts
// on the last of several in a row.
func (in *instance) overran(p *program.Process, begun time.Time) {
	in.mu.Lock()
	in.counts.timeouts++
	if in.overruns++; in.overruns == 1 {
		in.unanswered = begun
	}
	n := in.overruns
	hang := n >= maxOverruns && time.Since(in.unanswered) >= in.hangTime
	if hang {
		in.overruns = 0
	}
	in.mu.Unlock()
	if hang {
		in.unhang(p, n)
	}
}

// unhang gets an instance going again. In a shared process it moves out if
// only it hangs; a process that hangs as a whole, or serves nothing else, is
// killed, and its group starts another.
func (in *instance) unhang(p *program.Process, overruns int) {
	g, _ := in.host()
	if g.shared() && lives(p) {
		in.log.Warn("the collector does not answer; it gets a process of its own", "overruns", overruns)
		in.isolate(in)
		return
	}
	in.log.Warn("the plugin does not answer; its process is killed", "overruns", overruns, "pid", p.PID())
	p.Kill()
}

// lives reports whether the process still answers anything.
func lives(p *program.Process) bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	_, err := p.Describe(ctx, &proto.DescribeRequest{})
	return err == nil
}

// release lets p forget the instance.
func (in *instance) release(p *program.Process) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	_, _ = p.Release(ctx, &proto.ReleaseRequest{InstanceId: in.request.InstanceId})
}

// plain takes gRPC's wrapping off an error.
func plain(err error) error {
	if s, ok := status.FromError(err); ok {
		return errors.New(s.Message())
	}
	return err
}
