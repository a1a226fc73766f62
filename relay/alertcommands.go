package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/alert"
)

func alertCommands() []subcommand {
	return []subcommand{
		{words: "alerts list", usage: "[--json]", help: "what fires now, the rules, and who is told;\nexit code 1 if something fires",
			run: func(ctx context.Context, c *call) error { return listAlerts(ctx, c.stdout, c.json) }},
		{words: "alerts test", usage: "[--json]", help: "tell everybody something, to see whether it\narrives [--target NAME]",
			more: `  --target NAME     tell only this one, as alerts list calls it
`,
			run: func(ctx context.Context, c *call) error { return testAlerts(ctx, c) }},
		{words: "alerts silence", takes: 2, usage: "NODE 2h", help: "tell nobody of a node, or a destination, for so\nlong; NODE may be a pattern such as 'site-a-*'",
			run: func(ctx context.Context, c *call) error {
				return silence(ctx, c.stdout, c.arguments[0], c.arguments[1])
			}},
		{words: "alerts unsilence", takes: 1, usage: "NODE", help: "tell of it again",
			run: func(ctx context.Context, c *call) error { return unsilence(ctx, c.stdout, c.arguments[0]) }},
	}
}

// listAlerts prints the alerts; the error is errQuiet if one fires of which
// people are to know.
func listAlerts(ctx context.Context, stdout io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var s alert.Status
	if err := control.Get(ctx, "relay", "/alerts", &s); err != nil {
		return err
	}
	if asJSON {
		if err := indent(stdout, s); err != nil {
			return err
		}
	} else {
		printAlerts(stdout, &s)
	}
	for _, a := range s.Firing {
		if !a.Silenced {
			return errQuiet
		}
	}
	return nil
}

func printAlerts(w io.Writer, s *alert.Status) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(s.Firing) == 0 {
		fmt.Fprintln(t, "nothing fires")
	} else {
		fmt.Fprintln(t, "FIRES\tOF\tSINCE\tBECAUSE")
	}
	for _, a := range s.Firing {
		because := printable(a.Text)
		if a.Silenced {
			because += " (silenced)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.Name, printable(a.Node+a.Destination), since(a.Since), because)
	}
	fmt.Fprintln(t, "\nALERT\tFIRES WHEN")
	for _, r := range s.Rules {
		fmt.Fprintf(t, "%s\t%s\n", r.Name, r.Rule)
	}
	t.Flush()
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, x := range s.Targets {
		if i == 0 {
			fmt.Fprintln(t, "\nTOLD TO\tHOW\tSENT\tWAITING\tTROUBLE")
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", x.Name, x.Kind, x.Sent, x.Waiting, dash(printable(x.Error)))
	}
	for i, x := range s.Silences {
		if i == 0 {
			fmt.Fprintln(t, "\nSILENCED\tUNTIL")
		}
		fmt.Fprintf(t, "%s\t%s\n", printable(x.Node), x.Until.Local().Format(time.DateTime))
	}
	t.Flush()
}

// testAlerts sends a message to the targets, which may take as long as they
// are given.
func testAlerts(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var tested []alert.Tested
	if err := control.Post(ctx, "relay", "/alerts/test", forgetRequest{c.target}, &tested); err != nil {
		return err
	}
	failed := false
	for _, t := range tested {
		text := "the test message is delivered"
		if t.Error != "" {
			text, failed = "the test message could not be delivered: "+printable(t.Error), true
		}
		if !c.json {
			fmt.Fprintf(c.stdout, "%s: %s\n", t.Target, text)
		}
	}
	if c.json {
		if err := indent(c.stdout, tested); err != nil {
			return err
		}
	}
	if failed {
		return errQuiet
	}
	return nil
}

func silence(ctx context.Context, stdout io.Writer, name, text string) error {
	var span nodefile.Duration
	if err := span.UnmarshalText([]byte(text)); err != nil || span <= 0 {
		return usageError(fmt.Sprintf("%q is not a time to be silent for; write it like 2h or 7d", text))
	}
	names, err := postSilence(ctx, "/alerts/silence", silenceRequest{name, span.Std()})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "nobody is told of %s until %s\n", names, time.Now().Add(span.Std()).Format(time.DateTime))
	return err
}

func unsilence(ctx context.Context, stdout io.Writer, name string) error {
	names, err := postSilence(ctx, "/alerts/unsilence", silenceRequest{Name: name})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "alerts of %s are told again\n", names)
	return err
}

func postSilence(ctx context.Context, path string, in silenceRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var names []string
	if err := control.Post(ctx, "relay", path, in, &names); err != nil {
		return "", withoutName(err)
	}
	return printable(strings.Join(names, ", ")), nil
}

// withoutName takes the program's name from a message: it is put before every
// one anyway.
func withoutName(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "vitals-relay: "); ok {
		return errors.New(text)
	}
	return err
}
