package collect

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	configureTimeout = 5 * time.Second
	// maxOverruns in a row are taken for a hang and not for a busy moment, if it
	// has not answered for hangTime, too: as long may a gather take that has no
	// tick close behind it.
	maxOverruns = 3
	hangTime    = config.DefaultGatherTimeout
	// probeTimeout is how long a process may take to say that it lives.
	probeTimeout = 3 * time.Second
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
	isolate  func(*instance)
	hangTime time.Duration

	stop    context.CancelFunc // ends run; nil before begin
	done    chan struct{}      // closed when run has ended
	leaving bool               // the Supervisor's mu guards it

	mu          sync.Mutex
	id          string // for people; a reload may change its number
	group       *group
	configured  *program.Process // the process that knows this instance
	description *proto.CollectorDescription
	mistakes    refusal
	prompted    bool          // gathered while it streams
	patience    time.Duration // that a gather needs by the collector's options
	overruns    int
	unanswered  time.Time          // since when, where there are overruns
	restart     context.CancelFunc // of a stream
	counts      counts
}

// host returns the group that runs the collector, and the process that knows
// this instance.
func (in *instance) host() (*group, *program.Process) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.group, in.configured
}

// process returns the process to call, as its group does, and the one that
// knows this instance. Whoever waits for one goes along when it moves.
func (in *instance) process(ctx context.Context, not *program.Process, patient bool) (g *group, p, known *program.Process, err error) {
	for {
		g, known = in.host()
		p, err = g.process(ctx, not, patient)
		if now, _ := in.host(); now == g || !errors.Is(err, errEnded) {
			return g, p, known, err
		}
	}
}

func (in *instance) join(g *group) {
	g.add(in)
	in.mu.Lock()
	in.group, in.configured = g, nil
	in.mu.Unlock()
}

// name is the input's ID.
func (in *instance) name() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.id
}

func (in *instance) rename(id string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.id = id
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

// begin gathers from now on, until ctx ends or end is called. What is then
// under way has a moment to be done.
func (in *instance) begin(ctx context.Context) {
	ctx, in.stop = context.WithCancel(ctx)
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })
	in.done = make(chan struct{})
	go func() {
		defer close(in.done)
		defer cancel()
		in.run(ctx, calls)
	}()
}

// end stops gathering and returns when nothing is under way.
func (in *instance) end() {
	if in.stop == nil {
		return
	}
	in.stop()
	<-in.done
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
	s := &schedule{interval: every, offset: in.input.Offset, jitter: in.input.Jitter, aligned: in.aligned, phase: in.phase(every)}
	s.begin(time.Now())
	return s
}

// maxPhase is how far the programs of drop-ins are spread out.
const maxPhase = 200 * time.Millisecond

// phase is how long after its tick an input is gathered: always the same, so
// that the programs of twenty drop-ins do not wake in the same instant. Those
// that share a process wake it once.
func (in *instance) phase(every time.Duration) time.Duration {
	if in.input.Executable == "" {
		return 0
	}
	h := fnv.New32a()
	_, _ = io.WriteString(h, in.input.ID)
	return min(every/20, maxPhase) * time.Duration(h.Sum32()%64) / 64
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
