package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/plugins/proto"
)

// errNoAnswer is that of a call that was not answered in time.
var errNoAnswer = errors.New("no answer in time")

// introduction is what a program has answered to an instance's options.
type introduction struct {
	process     *program.Process
	description *proto.CollectorDescription
	reply       *proto.ConfigureReply
}

// refusal is what a program finds wrong with an instance's options.
type refusal []*proto.OptionError

func (r refusal) Error() string {
	return strings.TrimSpace(fmt.Sprintf("configure: %s %s", r[0].Option, r[0].Message))
}

// introduce makes the instance known to p without calling it from now on.
func (in *instance) introduce(ctx context.Context, p *program.Process) (known introduction, err error) {
	d, err := p.Collector(in.input.Name)
	if err != nil {
		return known, err
	}
	request := &proto.ConfigureRequest{
		InstanceId: in.request.InstanceId, Collector: d.Name, Hostname: in.request.Hostname,
		ConfigToml: in.request.ConfigToml, ConfigJson: in.request.ConfigJson, LogLevel: in.request.LogLevel,
	}
	ctx, cancel := context.WithTimeout(ctx, configureTimeout)
	defer cancel()
	reply, err := p.Configure(ctx, request)
	if err == nil && len(reply.Errors) > 0 {
		if input := in.input; input.Coerce(optionsOf(reply.Errors)...) {
			request.ConfigToml, request.ConfigJson = input.TOML, input.JSON
			reply, err = p.Configure(ctx, request)
		}
	}
	switch {
	case status.Code(err) == codes.DeadlineExceeded:
		return known, fmt.Errorf("configure: %w", errNoAnswer)
	case err != nil:
		return known, fmt.Errorf("configure: %w", plain(err))
	case len(reply.Errors) > 0:
		return known, refusal(reply.Errors)
	}
	return introduction{process: p, description: d, reply: reply}, nil
}

func optionsOf(mistakes []*proto.OptionError) []string {
	var all []string
	for _, m := range mistakes {
		all = append(all, m.Option)
	}
	return all
}

// settle makes the process of an introduction the one to call.
func (in *instance) settle(known introduction) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.configured, in.description, in.mistakes = known.process, known.description, nil
	in.prompted, in.patience = known.reply.Prompted, time.Duration(known.reply.GatherTimeoutNs)
	in.overruns = 0 // those of another process
	in.lines.omitHost(known.reply.OmitHost)
	if in.counts.gathers == 0 {
		in.counts = counts{} // what another program has refused before does not count
	}
}

// configure makes the instance known to p, which is to be called.
func (in *instance) configure(ctx context.Context, p *program.Process) error {
	known, err := in.introduce(ctx, p)
	if err == nil {
		in.settle(known)
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.mistakes, _ = errors.AsType[refusal](err)
	in.counts.refusals++
	in.counts.fail(err)
	return err
}

// tryOut has a new program answer once, before it takes over. An instance that
// fails as it is has nothing to lose.
func (in *instance) tryOut(ctx context.Context, p *program.Process) (introduction, error) {
	every, _, _ := in.interval()
	in.mu.Lock()
	failing := in.counts.failing && in.counts.gathers > 0
	in.mu.Unlock()
	known, err := in.introduce(ctx, p)
	if err == nil && known.description.Kind == proto.Kind_KIND_POLL {
		var reply *proto.GatherReply
		ctx, cancel := context.WithTimeout(ctx, in.limit(every))
		defer cancel()
		reply, err = p.Gather(ctx, &proto.GatherRequest{InstanceId: in.request.InstanceId, TickUnixNano: time.Now().UnixNano()})
		err = soundness(reply, err)
	}
	if err != nil && !failing {
		return known, err
	}
	if known.process == nil { // not to be called: it will be introduced again
		known.reply = &proto.ConfigureReply{}
	}
	return known, nil
}

// soundness is what is wrong with a reading as a whole.
func soundness(reply *proto.GatherReply, err error) error {
	if err != nil {
		return fmt.Errorf("trial gather: %w", plain(err))
	}
	if reply.Error != "" {
		return fmt.Errorf("trial gather: %s", reply.Error)
	}
	scanner := line.Scanner{MaxBad: maxBad}
	if report := scanner.Scan(reply.Lines, line.Nanosecond); report.Lines == 0 && len(report.Bad) > 0 {
		return fmt.Errorf("trial gather: no line of it is sound: %s", report.Bad[0].Reason)
	}
	return nil
}
