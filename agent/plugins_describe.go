package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

const describeHelp = `FILE is the program of a collector, in a plugin directory or not, or the name of
one: of a built-in collector, or of a drop-in. The program is started as the agent
would, asked, and ended. Nothing is gathered.

  --force    as root, run a file that the agent would not run; its limits stay

  vitals-agent plugins describe ./vitals-plugin-load
  vitals-agent plugins describe cpu
`

// described is what a program says that it collects.
type described struct {
	File       string               `json:"file,omitempty"` // empty: built in
	SDK        string               `json:"sdk"`
	APIMinor   uint32               `json:"api_minor"`
	Collectors []describedCollector `json:"collectors"`
}

type describedCollector struct {
	Name        string   `json:"name"`
	Aliases     []string `json:"aliases"`
	Version     string   `json:"version"`
	Description string   `json:"description"`
	Kind        string   `json:"kind"` // "poll" or "stream"
	// DefaultInterval is empty if the collector is gathered as often as the
	// agent gathers.
	DefaultInterval string   `json:"default_interval"`
	Options         []string `json:"options"`
	Measurements    []string `json:"measurements"` // "*" stands for any
	SampleConfig    string   `json:"sample_config"`
}

// describePlugin prints what a collector says of itself.
func describePlugin(ctx context.Context, f *flags, stdout, stderr io.Writer) error {
	c, err := findCollector(f, f.args[0])
	if err != nil {
		return err
	}
	c.warn(stderr)
	reply, err := c.describe(ctx, stderr)
	if err != nil {
		return err
	}
	return writeJSON(stdout, newDescribed(c.path, reply))
}

// describe asks the program, or this one for what is built in.
func (c collectorFile) describe(ctx context.Context, stderr io.Writer) (*proto.DescribeReply, error) {
	if d, ok := builtinCollector(c.builtin); ok {
		return plugins.NewServer(slog.New(slog.DiscardHandler), d).Describe(ctx, &proto.DescribeRequest{})
	}
	dir, remove, err := socketDirectory()
	if err != nil {
		return nil, err
	}
	defer remove()
	p, err := c.start(ctx, dir, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	defer p.End(program.EndTimeout)
	ctx, cancel := context.WithTimeout(ctx, program.DescribeTimeout)
	defer cancel()
	reply, err := p.Describe(ctx, &proto.DescribeRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask %s what it collects: %w", c.path, err)
	}
	return reply, nil
}

func newDescribed(file string, r *proto.DescribeReply) described {
	d := described{File: file, SDK: r.Sdk, APIMinor: r.ApiMinor}
	for _, c := range r.Collectors {
		one := describedCollector{
			Name: c.Name, Aliases: orNone(c.Aliases), Version: c.Version, Description: c.Description, Kind: "poll",
			Options: orNone(c.Options), Measurements: orNone(c.Measurements), SampleConfig: c.SampleConfig,
		}
		if c.Kind == proto.Kind_KIND_STREAM {
			one.Kind = "stream"
		}
		if c.DefaultIntervalNs > 0 {
			one.DefaultInterval = time.Duration(c.DefaultIntervalNs).String()
		}
		d.Collectors = append(d.Collectors, one)
	}
	return d
}

// orNone makes JSON's empty list of a nil one.
func orNone(list []string) []string { return append([]string{}, list...) }
