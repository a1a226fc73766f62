package conformance

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

const (
	// byHandTime is how long a program may take at least to tell a person what it
	// is. It has as long as until its handshake, before which it does the same.
	byHandTime = 5 * time.Second
	// describeTime is how long it may take to say what it collects. On a busy
	// machine any may take longer once: the quickest of describeTimes counts.
	describeTime  = time.Second
	describeTimes = 3
)

func startItems() []item {
	return []item{
		{name: "run by hand", alone: true, check: byHand,
			contract: "without VITALS_PLUGIN=collector in its environment it says what it is and ends with an exit code other than 0"},
		{name: "handshake", alone: true, vital: true, check: handshake,
			contract: "within 10 s, and before anything else, it prints 1|1|unix|PATH|grpc| and a newline on standard output; PATH is a socket in $PLUGIN_UNIX_SOCKET_DIR"},
		{name: "health", check: serving,
			contract: "grpc.health.v1.Health answers SERVING for the service \"plugin\""},
		{name: "describe", vital: true, check: describe,
			contract: "Describe answers within a second, without having been configured"},
		{name: "started by the agent", alone: true, check: startedByAgent,
			contract: "the agent's own code, which is hashicorp/go-plugin, starts it, asks what it collects and ends it"},
	}
}

// byHand starts the program without what makes it a plugin.
func byHand(_ context.Context, c *check, v *verdict) {
	p, err := plugins.StartProgram(c.ByHand, c.Env, false)
	if err != nil {
		v.fail("it cannot be started: %v", err)
		return
	}
	defer p.Close()
	out := newSpeech()
	read := make(chan struct{}, 2)
	for _, pipe := range []interface{ Read([]byte) (int, error) }{p.Stdout, p.Stderr} {
		go func() {
			copyTo(out, pipe)
			read <- struct{}{}
		}()
	}
	within := max(byHandTime, c.startTimeout)
	ended := p.ExitsWithin(within)
	err = p.End(0)
	deadline := time.Now().Add(drainTime)
	_ = errors.Join(p.Stdout.SetReadDeadline(deadline), p.Stderr.SetReadDeadline(deadline))
	<-read
	<-read
	switch said := out.quoted(""); {
	case !ended:
		v.fail("it still runs after %v", within)
	case err == nil:
		v.fail("it ends with exit code 0, as if that had been of use")
	case said == "":
		v.fail("it says nothing (%v)", err)
	case strings.Contains(said, "|grpc|"):
		v.fail("it takes itself for started by an agent")
	default:
		v.note = err.Error()
	}
}

// drainTime is how long what an ended program has written is still read when
// somebody else holds its pipes.
const drainTime = 200 * time.Millisecond

func copyTo(out *speech, from interface{ Read([]byte) (int, error) }) {
	buffer := make([]byte, maxSpeech)
	for {
		n, err := from.Read(buffer)
		_, _ = out.Write(buffer[:n])
		if err != nil {
			return
		}
	}
}

// handshake starts the process that the items after it share.
func handshake(ctx context.Context, c *check, v *verdict) {
	p, err := c.start(ctx)
	if err != nil {
		v.fail("%v", err)
		return
	}
	c.process = p
	v.note = "after " + p.took.Round(time.Millisecond).String()
}

func serving(ctx context.Context, c *check, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, program.DescribeTimeout)
	defer cancel()
	r, err := grpc_health_v1.NewHealthClient(c.process.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: "plugin"})
	switch {
	case err != nil:
		v.fail("Check: %v", plain(err))
	case r.Status != grpc_health_v1.HealthCheckResponse_SERVING:
		v.fail("it answers %s", r.Status)
	}
}

// described asks the process what it collects.
func (c *check) described(ctx context.Context) (r *proto.DescribeReply, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, program.DescribeTimeout)
	defer cancel()
	begun := time.Now()
	r, err = c.process.Describe(ctx, &proto.DescribeRequest{})
	return r, time.Since(begun), err
}

func describe(ctx context.Context, c *check, v *verdict) {
	r, took, err := c.described(ctx)
	for n := 1; n < describeTimes && err == nil && took > describeTime; n++ {
		r, took, err = c.described(ctx)
	}
	if err != nil {
		v.fail("Describe: %v", plain(err))
		return
	}
	c.reply = r
	for _, d := range r.Collectors {
		if c.Only == "" || d.Name == c.Only {
			c.subjects = append(c.subjects, &subject{described: d})
		}
	}
	var names []string
	for _, s := range c.subjects {
		names = append(names, s.described.Name)
	}
	v.note = strings.Join(names, ", ")
	if len(c.subjects) == 0 {
		v.fail("it collects nothing")
	}
	if took > describeTime {
		v.fail("Describe took %v", took.Round(time.Millisecond))
	}
}

// startedByAgent runs the program by the agent's own code, and nothing more.
func startedByAgent(ctx context.Context, c *check, v *verdict) {
	end, err := c.AsAgent(ctx)
	if err != nil {
		v.fail("%v", err)
		return
	}
	end()
}

// plain takes gRPC's wrapping off an error.
func plain(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	if s.Code() == codes.DeadlineExceeded {
		return errors.New("no answer in time")
	}
	return errors.New(s.Message())
}
