package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rpicluster/vitals/plugins/proto"
)

func instanceItems() []item {
	return []item{
		{name: "two instances", check: twoInstances,
			contract: "instances have nothing in common: they are gathered at the same time, each with its own options, and one goes on when another is released"},
		{name: "configured again", check: reconfigure,
			contract: "Configure replaces the instance of that id; options that are refused change nothing, and the old instance goes on"},
		{name: "cancelled gather", check: cancelled,
			contract: "a Gather whose caller has given up costs that reading and no other"},
		{name: "unknown instance", check: unknownInstance,
			contract: "Gather of an instance that there is none of, or not any more, is the gRPC error NOT_FOUND: the agent then configures it again"},
		{name: "release", check: release, contract: "Release ends an instance; an unknown id is not an error"},
	}
}

// rounds is how often what may depend on luck is done.
const rounds = 3

// pair is two instances of one collector beside each other. Each is told another
// name of its machine, and given other options if two tables are known.
type pair struct {
	*subject
	ids, hosts [2]string
	wishes     [2]*proto.ConfigureReply
}

func twoInstances(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.asked() {
		p := &pair{subject: s, ids: [2]string{c.id(), c.id()}, hosts: [2]string{hostname + "-a", hostname + "-b"}}
		if err := c.tryPair(ctx, p); err != nil {
			v.fail("%s: %v", s.name(), err)
		}
		c.release(ctx, p.ids[0])
		c.release(ctx, p.ids[1])
	}
}

func (c *check) tryPair(ctx context.Context, p *pair) error {
	for i, id := range p.ids {
		var err error
		if p.wishes[i], err = c.configureFor(ctx, p.hosts[i], id, p.subject, p.tables[i%len(p.tables)]); err != nil {
			return err
		}
	}
	for range rounds {
		sleep(ctx, c.primeTime)
		replies, err := c.gatherPair(ctx, p)
		if err != nil {
			return err
		}
		for i, r := range replies {
			if err := p.mixed(r.Lines, i); err != nil {
				return err
			}
		}
	}
	c.release(ctx, p.ids[0])
	if _, err := c.gatherFor(ctx, p.ids[1], p.wishes[1]); err != nil {
		return fmt.Errorf("once the other is released: %w", err)
	}
	return nil
}

// gatherPair gathers both at the same time.
func (c *check) gatherPair(ctx context.Context, p *pair) (replies [2]*proto.GatherReply, err error) {
	type answer struct {
		i     int
		reply *proto.GatherReply
		err   error
	}
	answers := make(chan answer, len(p.ids))
	for i, id := range p.ids {
		go func() {
			r, err := c.gatherFor(ctx, id, p.wishes[i])
			answers <- answer{i, r, err}
		}()
	}
	for range p.ids {
		a := <-answers
		replies[a.i] = a.reply
		if a.err != nil {
			err = fmt.Errorf("both at the same time: %w", a.err)
		}
	}
	return replies, err
}

// mixed finds in the reply of one of them what is the other's, or is missing.
func (p *pair) mixed(body []byte, i int) error {
	own, other := p.hosts[i], p.hosts[1-i]
	switch alone := p.lastAlone(); {
	case bytes.Contains(body, []byte(other)):
		return fmt.Errorf("the one that was told the host name %s answers with that of the other, %s", own, other)
	case len(body) == 0 && len(alone) > 0:
		return errors.New("gathered at the same time, one of them has no lines")
	case repeated(body) != "" && repeated(alone) == "":
		return fmt.Errorf("gathered at the same time, one of them has %s twice", repeated(body))
	}
	return nil
}

// lastAlone is what an instance has answered on its own.
func (s *subject) lastAlone() []byte {
	if len(s.replies) == 0 {
		return nil
	}
	return s.replies[len(s.replies)-1].Lines
}

func reconfigure(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.asked() {
		id := c.id()
		if err := c.tryAgain(ctx, s, id); err != nil {
			v.fail("%s: %v", s.name(), err)
		}
		c.release(ctx, id)
	}
}

// tryAgain configures an id, then wrongly, then rightly for another host name.
func (c *check) tryAgain(ctx context.Context, s *subject, id string) error {
	before, after := hostname+"-before", hostname+"-after"
	wishes, err := c.configureFor(ctx, before, id, s, s.tables[0])
	if err != nil {
		return err
	}
	sleep(ctx, c.primeTime)
	first, err := c.gatherFor(ctx, id, wishes)
	if err != nil {
		return err
	}
	if _, err := c.configureFor(ctx, after, id, s, with(s, notThere, true)); err != nil {
		second, err := c.gatherFor(ctx, id, wishes)
		if err != nil {
			return fmt.Errorf("after it has refused other options: %w", err)
		}
		if bytes.Contains(second.Lines, []byte(after)) {
			return errors.New("it has refused options and goes by them all the same")
		}
	}
	if wishes, err = c.configureFor(ctx, after, id, s, s.tables[0]); err != nil {
		return fmt.Errorf("a second time: %w", err)
	}
	sleep(ctx, c.primeTime)
	third, err := c.gatherFor(ctx, id, wishes)
	if err != nil {
		return fmt.Errorf("configured a second time: %w", err)
	}
	if bytes.Contains(first.Lines, []byte(before)) && bytes.Contains(third.Lines, []byte(before)) {
		return errors.New("configured a second time, it still goes by the first")
	}
	return nil
}

// patience is how soon callers give up, one after the other: how long a reading
// takes is not known.
func patience() []time.Duration {
	return []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond}
}

func cancelled(ctx context.Context, c *check, v *verdict) {
	for _, s := range c.asked() {
		id := c.id()
		wishes, err := c.configure(ctx, id, s, s.tables[0])
		if err != nil {
			v.fail("%s: %v", s.name(), err)
			continue
		}
		for _, p := range patience() {
			short, cancel := context.WithTimeout(ctx, p)
			_, _ = c.process.Gather(short, &proto.GatherRequest{InstanceId: id})
			cancel()
		}
		if _, err := c.gatherFor(ctx, id, wishes); err != nil {
			v.fail("%s: after some that were given up: %v", s.name(), err)
		}
		c.release(ctx, id)
	}
}

func unknownInstance(ctx context.Context, c *check, v *verdict) {
	c.mustNotKnow(ctx, c.id(), "one that has never been configured", v)
	for _, s := range c.asked() {
		id := c.id()
		if _, err := c.configure(ctx, id, s, s.tables[0]); err == nil {
			c.release(ctx, id)
			c.mustNotKnow(ctx, id, s.name()+", released", v)
		}
	}
}

func (c *check) mustNotKnow(ctx context.Context, id, what string, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, c.gatherTimeout)
	defer cancel()
	_, err := c.process.Gather(ctx, &proto.GatherRequest{InstanceId: id, TickUnixNano: time.Now().UnixNano()})
	switch code := status.Code(err); {
	case err == nil:
		v.fail("Gather of %s is answered", what)
	case ctx.Err() != nil:
		v.fail("Gather of %s: no answer within %v", what, c.gatherTimeout)
	case code != codes.NotFound:
		v.fail("Gather of %s is answered with the code %s: %v", what, code, plain(err))
	}
}

func release(ctx context.Context, c *check, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, configureTime)
	defer cancel()
	free := func(id, what string) {
		if _, err := c.process.Release(ctx, &proto.ReleaseRequest{InstanceId: id}); err != nil {
			v.fail("Release of %s: %v", what, plain(err))
		}
	}
	free(c.id(), "an id that there is none of")
	for _, s := range c.subjects {
		if len(s.tables) == 0 {
			continue
		}
		id := c.id()
		if _, err := c.configure(ctx, id, s, s.tables[0]); err != nil {
			v.fail("%s: %v", s.name(), err)
			continue
		}
		free(id, s.name())
		free(id, s.name()+" a second time")
	}
}
