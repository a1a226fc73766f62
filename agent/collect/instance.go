package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	configureTimeout = 5 * time.Second
	// maxOverruns in a row are taken for a hang and not for a busy moment.
	maxOverruns = 3
	// probeTimeout is how long a process may take to say that it lives.
	probeTimeout = time.Second
)

// instance is one configured input: who gathers it, when, and what becomes of
// its lines.
type instance struct {
	input   config.Input
	lines   *refiner
	log     *slog.Logger
	request *proto.ConfigureRequest
	aligned bool
	// isolate moves the instance to a process of its own.
	isolate func(*instance)

	mu          sync.Mutex
	group       *group
	configured  *program.Process // the process that knows this instance
	description *proto.CollectorDescription
	mistakes    []*proto.OptionError
	prompted    bool          // gathered while it streams
	patience    time.Duration // that a gather needs by the collector's options
	overruns    int
	counts      counts
}

// host returns the group that runs the collector, and the process that knows
// this instance.
func (in *instance) host() (*group, *program.Process) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.group, in.configured
}

func (in *instance) join(g *group) {
	g.add(in)
	in.mu.Lock()
	in.group, in.configured = g, nil
	in.mu.Unlock()
}

// configure makes the instance known to p.
func (in *instance) configure(ctx context.Context, p *program.Process) error {
	d, err := p.Collector(in.input.Name)
	if err != nil {
		in.note(err)
		return err
	}
	request := &proto.ConfigureRequest{
		InstanceId: in.request.InstanceId, Collector: d.Name, Hostname: in.request.Hostname,
		ConfigToml: in.request.ConfigToml, ConfigJson: in.request.ConfigJson, LogLevel: in.request.LogLevel,
	}
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	reply, err := p.Configure(ctx, request)
	if err != nil {
		err = fmt.Errorf("configure: %w", plain(err))
	} else if len(reply.Errors) > 0 {
		e := reply.Errors[0]
		err = fmt.Errorf("configure: %s %s", e.Option, e.Message)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.mistakes = reply.GetErrors()
		in.counts.fail(err)
		return err
	}
	in.configured, in.description, in.mistakes = p, d, nil
	in.prompted, in.patience = reply.Prompted, time.Duration(reply.GatherTimeoutNs)
	in.lines.omitHost(reply.OmitHost)
	return nil
}

func (in *instance) note(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.counts.fail(err)
}

// interval is the input's own, else the collector's default, else the agent's;
// eager says that the collector wants to be gathered at start as well.
func (in *instance) interval() (every time.Duration, eager, streams bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	every = in.input.Interval
	if d := in.description; d != nil {
		streams = d.Kind == proto.Kind_KIND_STREAM
		if d.DefaultIntervalNs > 0 {
			eager = true
			if !in.input.IntervalSet {
				every = time.Duration(d.DefaultIntervalNs)
			}
		}
	}
	return every, eager, streams
}

// run gathers on schedule until ctx ends. calls is the context of what is then
// under way.
func (in *instance) run(ctx, calls context.Context) {
	for first := true; ctx.Err() == nil; first = false {
		every, eager, streams := in.interval()
		if streams {
			in.streamAndPrompt(ctx, calls)
			continue
		}
		if first && eager {
			in.gather(calls, time.Now())
		}
		in.follow(ctx, calls, in.schedule(every), false)
	}
}

// schedule begins the input's schedule.
func (in *instance) schedule(every time.Duration) *schedule {
	s := &schedule{interval: every, offset: in.input.Offset, jitter: in.input.Jitter, aligned: in.aligned}
	s.begin(time.Now())
	return s
}

// follow gathers by s until ctx ends or s no longer holds: the wall clock was
// set, or the collector has turned out to want another interval, or to stream.
// While it streams, a tick is a prompt for those that have asked for it.
func (in *instance) follow(ctx, calls context.Context, s *schedule, streaming bool) {
	for {
		tick, fire, skipped := s.next(time.Now())
		in.skip(skipped)
		if !in.await(ctx, s, fire) {
			return
		}
		if !streaming || in.wantsPrompts() {
			in.gather(calls, tick)
		}
		if every, _, streams := in.interval(); every != s.interval || streams != streaming {
			return
		}
	}
}

// await sleeps until fire. It looks at the wall clock every minute, so that an
// hourly input does not wait for an hour that has long begun.
func (in *instance) await(ctx context.Context, s *schedule, fire time.Time) bool {
	for {
		left := time.Until(fire)
		if !sleep(ctx, min(left, time.Minute)) {
			return false
		}
		if now := time.Now(); s.jumped(now, now) {
			in.log.Info("the clock was set; the schedule begins anew")
			return false
		}
		if left <= time.Minute {
			return true
		}
	}
}

func (in *instance) skip(n int64) {
	if n == 0 {
		return
	}
	in.mu.Lock()
	in.counts.skipped += n
	in.mu.Unlock()
	in.log.Debug("ticks were skipped: the one before took too long", "ticks", n)
}

// gather takes one reading for a tick and passes its lines on.
func (in *instance) gather(ctx context.Context, tick time.Time) error {
	every, _, _ := in.interval()
	limit := in.limit(every)
	nano := stamp(tick, in.input.Precision, every)
	begun := time.Now()
	reply, err := in.ask(ctx, limit, nano)
	took := time.Since(begun)
	var n, bad int
	if reply != nil {
		n, bad = in.lines.pass(context.WithoutCancel(ctx), reply.Lines, nano)
		if reply.Error != "" {
			err = errors.New(reply.Error)
		}
	}
	in.account(begun, took, n, bad, err)
	return err
}

// limit is how long a gather may take: as configured, and less than to the next
// tick, unless the collector's own options speak of more.
func (in *instance) limit(every time.Duration) time.Duration {
	in.mu.Lock()
	defer in.mu.Unlock()
	return max(min(cmp.Or(in.input.GatherTimeout, config.DefaultGatherTimeout), every*9/10), in.patience)
}

// ask gathers within limit. A process that dies under the call has cost this
// tick nothing if its successor answers in what is left of the time.
func (in *instance) ask(ctx context.Context, limit time.Duration, nano int64) (*proto.GatherReply, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var failed *program.Process
	for {
		g, known := in.host()
		p, err := g.process(ctx, failed)
		if err != nil {
			return nil, err
		}
		if p != known {
			if err := in.configure(ctx, p); err != nil {
				return nil, err
			}
		}
		reply, err := p.Gather(ctx, &proto.GatherRequest{InstanceId: in.request.InstanceId, TickUnixNano: nano})
		if err == nil {
			g.useful.Store(p)
			in.inTime()
			return reply, nil
		}
		if code := status.Code(err); failed == nil && (code == codes.Unavailable || code == codes.NotFound) {
			if code == codes.Unavailable {
				failed = p
			}
			in.forget()
			continue
		}
		return nil, in.failed(p, err, limit)
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

// failed words the failure of a call, and acts on the last of several
// overruns in a row.
func (in *instance) failed(p *program.Process, err error, limit time.Duration) error {
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
	in.mu.Lock()
	in.overruns++
	hang := in.overruns >= maxOverruns
	if hang {
		in.overruns = 0
	}
	in.mu.Unlock()
	if hang {
		in.unhang(p)
	}
	return err
}

// unhang gets an instance going again. In a shared process it moves out if
// only it hangs; a process that hangs as a whole, or serves nothing else, is
// killed, and its group starts another.
func (in *instance) unhang(p *program.Process) {
	g, _ := in.host()
	if g.shared && lives(p) {
		in.log.Warn("the collector does not answer; it gets a process of its own", "overruns", maxOverruns)
		in.isolate(in)
		return
	}
	in.log.Warn("the plugin does not answer; its process is killed", "overruns", maxOverruns, "pid", p.PID())
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
