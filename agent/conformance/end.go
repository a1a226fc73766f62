package conformance

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// shutdownTime is how long a program may take to end when it is asked to;
	// then it is killed.
	shutdownTime = 2 * time.Second
	// lifelineTime is how long it may outlive its host.
	lifelineTime = 5 * time.Second
	// settleTime is what the kernel may need to end what has been killed.
	settleTime = 2 * time.Second
)

func endItems() []item {
	return []item{
		{name: "standard output", check: output,
			contract: "nothing but the handshake is ever written to descriptor 1: what a collector prints belongs on standard error"},
		{name: "shutdown", check: shutdown,
			contract: "plugin.GRPCController/Shutdown ends the process within 2 s; without it, or later, it is killed"},
		{name: "lifeline", alone: true, check: lifeline,
			contract: "when the descriptor in VITALS_LIFELINE_FD reaches its end, the process ends within 5 s: its agent is gone"},
		{name: "nothing left", alone: true, check: nothingLeft,
			contract: "when the process has ended by itself, its socket and everything that it has started is gone"},
	}
}

func output(_ context.Context, c *check, v *verdict) {
	if more := strings.TrimSpace(c.process.out.afterFirstLine()); more != "" {
		v.fail("it has printed %q", shortened(more))
	}
}

// busy configures what can be and gathers it, so that there is something to end.
func (c *check) busy(ctx context.Context) {
	for _, s := range c.subjects {
		if len(s.tables) == 0 {
			continue
		}
		id := c.id()
		if wishes, err := c.configure(ctx, id, s, s.tables[0]); err == nil && !s.streams() {
			_, _ = c.gatherFor(ctx, id, wishes)
		}
	}
}

func shutdown(ctx context.Context, c *check, v *verdict) {
	c.busy(ctx)
	p := c.process
	c.process = nil
	if err := p.alive(ctx); err != nil {
		v.fail("%v", err)
		p.kill()
		return
	}
	begun := time.Now()
	call, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	err := p.conn.Invoke(call, "/plugin.GRPCController/Shutdown", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		v.warn("it has no plugin.GRPCController, so it is killed whenever the agent ends it")
		p.kill()
		return
	}
	if !p.exitsWithin(time.Until(begun.Add(shutdownTime))) {
		v.fail("it still runs after %v", shutdownTime)
		p.kill()
		return
	}
	v.note = "after " + time.Since(begun).Round(time.Millisecond).String()
	if !p.cmd.ProcessState.Success() {
		v.warn("%s", p.ending())
	}
	c.ended = append(c.ended, p)
}

// lifeline closes that of a process of its own, whose connection stays open.
func lifeline(ctx context.Context, c *check, v *verdict) {
	p, err := c.start(ctx)
	if err != nil {
		v.fail("it does not start again: %v", err)
		return
	}
	c.process = p
	c.busy(ctx)
	c.process = nil
	if err := p.alive(ctx); err != nil {
		v.fail("%v", err)
		p.kill()
		return
	}
	begun := time.Now()
	p.lifeline.Close()
	if !p.exitsWithin(lifelineTime) {
		v.fail("it still runs after %v", lifelineTime)
		p.kill()
		return
	}
	v.note = "after " + time.Since(begun).Round(time.Millisecond).String()
	c.ended = append(c.ended, p)
}

// nothingLeft looks at what the processes that have ended have left.
func nothingLeft(ctx context.Context, c *check, v *verdict) {
	for _, p := range c.ended {
		left := p.leftProcesses()
		for end := time.Now().Add(settleTime); len(left) > 0 && time.Now().Before(end); left = p.leftProcesses() {
			sleep(ctx, settleTime/40)
		}
		for _, pid := range left {
			v.fail("process %d, %s", pid, commandOf(pid))
		}
		for _, path := range p.leftSockets() {
			v.fail("the file %s", filepath.Base(path))
		}
	}
	if len(c.ended) == 0 {
		v.warn("it has never ended as it should, so this cannot be told")
	} else {
		v.note = fmt.Sprintf("%d processes were searched for", len(c.ended))
	}
}
