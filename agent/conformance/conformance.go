// Package conformance drives the program of a collector through the contract
// of plugins/proto and says what it keeps and what it does not.
//
//	by hand ► start ► describe ► options ► gather, stream ► instances ► end
//
// It speaks gRPC with the program itself rather than through go-plugin, so that
// it sees what a host overlooks: what else is printed, which error is answered,
// what is left behind. One item then starts it the way the agent does.
package conformance

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/plugins/proto"
)

// Config says what to check.
type Config struct {
	// Argv is how the agent starts the program, and ByHand how a person does;
	// paths in them are absolute.
	Argv, ByHand []string
	// AsAgent starts the program with the agent's own code.
	AsAgent func(context.Context) (end func(), err error)
	// Env is all that the program sees of the environment, beside what makes it
	// a plugin.
	Env []string
	// Sockets is a directory for sockets, with a short path.
	Sockets string
	// Only, if not empty, is the one collector of the program to check.
	Only string
	// Tables are the [[inputs.*]] tables to configure collectors from; those that
	// have none are configured from their samples.
	Tables []*nodefile.Section
	// BuiltIn reports whether the agent has a collector of this name already.
	BuiltIn func(name string) bool

	// of tests; 0: as the contract says
	startTimeout, gatherTimeout, primeTime, streamTime time.Duration
}

// Status is what came of an item.
type Status string

// The three that there are. A warning is what a host puts up with, but which
// the author will hardly have meant.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "FAIL"
)

// Result is one item of the contract, checked.
type Result struct {
	Item     string   `json:"item"`
	Status   Status   `json:"status"`
	Note     string   `json:"note,omitempty"`
	Fails    []string `json:"fails,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Contract is what it asks for; empty for what could not be checked.
	Contract string `json:"contract,omitempty"`
}

// item is one thing that the contract asks for.
type item struct {
	name, contract string
	// check says what it finds to the verdict, which is ok if nothing is said.
	check func(ctx context.Context, c *check, v *verdict)
	// alone is set where the item needs no process that has been started and
	// asked what it collects.
	alone bool
	// vital is set where nothing more can be checked once it fails.
	vital bool
}

// items are all, in the order in which they are checked.
func items() []item {
	var all []item
	for _, part := range [][]item{startItems(), describeItems(), optionItems(), gatherItems(), instanceItems(), endItems()} {
		all = append(all, part...)
	}
	return all
}

// verdict collects what is found about one item.
type verdict struct {
	note         string
	fails, warns []string
}

func (v *verdict) fail(format string, args ...any) {
	v.fails = append(v.fails, fmt.Sprintf(format, args...))
}

func (v *verdict) warn(format string, args ...any) {
	v.warns = append(v.warns, fmt.Sprintf(format, args...))
}

// check is one run through all items.
type check struct {
	Config
	process  *process // the one that most items share; nil if it has to be started
	reply    *proto.DescribeReply
	subjects []*subject
	ended    []*process // ended, and searched for what they have left
	ids      int
}

// Run checks item by item and reports each as soon as it is decided. It returns
// false if one has failed.
func Run(ctx context.Context, config Config, report func(Result)) bool {
	c := &check{Config: config}
	c.startTimeout = cmp.Or(c.startTimeout, handshakeTime)
	c.gatherTimeout = cmp.Or(c.gatherTimeout, gatherTime)
	c.primeTime = cmp.Or(c.primeTime, primeTime)
	c.streamTime = cmp.Or(c.streamTime, streamTime)
	defer c.close()
	good := true
	for _, i := range items() {
		r := c.decide(ctx, i)
		if ctx.Err() != nil {
			return false
		}
		report(r)
		good = good && r.Status != Fail
		if i.vital && r.Status == Fail {
			report(Result{Item: "the rest", Status: Fail, Fails: []string{"it cannot be checked without this"}})
			break
		}
	}
	return good
}

// decide checks one item. Whatever it is about, the process must live on.
func (c *check) decide(ctx context.Context, i item) Result {
	var v verdict
	if !i.alone {
		if err := c.ready(ctx); err != nil {
			v.fail("it does not start again: %v", err)
		}
	}
	if len(v.fails) == 0 {
		i.check(ctx, c, &v)
	}
	if !i.alone && c.process != nil {
		if err := c.process.alive(ctx); err != nil {
			v.fails = []string{err.Error()}
			c.discard()
		}
	}
	r := Result{Item: i.name, Status: OK, Note: v.note, Fails: v.fails, Warnings: v.warns, Contract: i.contract}
	switch {
	case len(v.fails) > 0:
		r.Status = Fail
	case len(v.warns) > 0:
		r.Status = Warn
	}
	return r
}

// ready starts the program again where an item has cost its process.
func (c *check) ready(ctx context.Context) error {
	if c.process != nil {
		return nil
	}
	p, err := c.start(ctx)
	if err == nil {
		c.process = p
	}
	return err
}

// discard ends the shared process, so that the next item gets a new one.
func (c *check) discard() {
	if c.process != nil {
		c.process.kill()
		c.process = nil
	}
}

func (c *check) close() {
	c.discard()
	for _, p := range c.ended {
		p.kill()
	}
}

// id is one that no instance has had before.
func (c *check) id() string {
	c.ids++
	return fmt.Sprintf("check-%d", c.ids)
}
