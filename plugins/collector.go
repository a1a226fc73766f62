// Package plugins is what a collector is: something that, when asked, answers
// with lines of line protocol.
//
//	main.go of a plugin          this package                      the host
//	───────────────────          ────────────                      ────────
//	Serve(Description) ────────► handshake, gRPC server ◄───────── starts the process
//	                             New(), decode options  ◄───────── Configure
//	Collector.Gather(ctx, b) ◄── Batch ──► lines ────────────────► Gather
//
// An author writes a struct whose exported fields are its options and one
// method, Gather; everything else in this file is optional, and with batch.go it
// is all that there is to know. Of the others, schema.go and pattern.go help
// collectors that are Telegraf's, program.go and what follows it help those that
// run programs, host.go and flaws.go are for hosts.
//
// The folders below are the collectors that vitals-agent has built in, the
// contract they speak (proto), a helper for tests (plugintest) and examples.
package plugins

import (
	"context"
	"time"
)

// Collector takes readings. Its exported fields are its options: the key of a
// field is its toml tag, or else its name in lower case; the value that New
// left there is the default.
type Collector interface {
	// Gather adds one reading to b. Points without a time of their own are
	// stamped by the host with the tick they were asked for. Points may
	// accompany an error: what could be read is kept. Gather is never called
	// twice at once on one instance.
	Gather(ctx context.Context, b *Batch) error
}

// Streamer is a Collector that reports events as they happen instead of being
// asked on a clock.
type Streamer interface {
	Collector
	// Stream runs until ctx ends, adding points to b and calling flush when
	// they shall be sent.
	Stream(ctx context.Context, b *Batch, flush func() error) error
}

// Validator is a Collector that checks its options after they were decoded.
// An error of type OptionError (also several, joined) names the option.
type Validator interface {
	Validate() error
}

// Primer is a Collector that reports differences. Prime takes the reading that
// the first Gather is compared with. A failure is logged and the first Gather
// starts from nothing: readings fail and recover, they do not make the
// configuration wrong.
type Primer interface {
	Prime(ctx context.Context) error
}

// HostOmitter is a Collector whose lines may name their machine themselves.
// When OmitHost answers true the host does not add its "host" tag to them.
type HostOmitter interface {
	OmitHost() bool
}

// Prompter is a Streamer whose source speaks only when prompted. If Prompted
// answers true, Gather is called on the schedule of the input while Stream
// runs, at the same time as it, as the moment to prompt.
type Prompter interface {
	Streamer
	Prompted() bool
}

// Patient is a Collector whose readings are bounded by an option of its own.
// The host waits for one at least as long as Patience answers.
type Patient interface {
	Patience() time.Duration
}

// A Collector that is also an io.Closer is closed after its last reading, when
// it is released or replaced.

// Description says what a collector is called and how to make one.
type Description struct {
	// Name is the one in [[inputs.NAME]]: lower-case letters, digits and
	// underscores, beginning with a letter, 32 at most.
	Name string
	// Aliases are further names for the same collector.
	Aliases []string
	// Description is one sentence.
	Description string
	Version     string
	// Sample is a complete [[inputs.NAME]] table with every option and its
	// default; if empty it is made from New().
	Sample string
	// Measurements are the names that Gather may emit; "*" stands for any.
	Measurements []string
	// Interval is how often to gather unless configured otherwise; 0: as often
	// as the agent does. A collector with an Interval is gathered once at start
	// as well.
	Interval time.Duration
	// New makes an instance with every option at its default.
	New func() Collector
}

// OptionError says which option is wrong and how to set it right.
type OptionError struct {
	// Option is the key, or empty if no single one is at fault.
	Option  string
	Message string
}

// Error joins option and message.
func (e OptionError) Error() string {
	if e.Option == "" {
		return e.Message
	}
	return e.Option + ": " + e.Message
}
