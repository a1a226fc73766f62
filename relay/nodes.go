package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/terminal"
)

func nodeCommands() []subcommand {
	return []subcommand{
		{words: "nodes", usage: "[--watch] [--json]", help: "every node and its vitals [--state down]",
			more: `  --state up|late|down|retired
                    only those of this state
  --watch           again every 2 s until q or Ctrl-C; where there is no terminal, once
`, run: showNodes},
		{words: "nodes show", takes: 1, usage: "NAME", help: "all that is known of a node [--json]", run: showNode},
		{words: "nodes retire", takes: 1, usage: "NAME", help: "a node is out of service: nobody is told that it\nis down, until it writes again",
			run: func(ctx context.Context, c *call) error { return retire(ctx, c.stdout, c.arguments[0]) }},
		{words: "nodes forget", takes: 1, usage: "NAME", help: "remove a node until it writes again",
			run: func(ctx context.Context, c *call) error { return forget(ctx, c.stdout, "nodes", c.arguments[0]) }},
		{words: "top", help: "the nodes, those in trouble first, then by CPU;\nrefreshed until q or Ctrl-C", run: top},
		{words: "events", usage: "[--follow] [--json]", help: "what has happened to the nodes",
			more: `  --follow          and what happens, until Ctrl-C
`, run: showEvents},
		{words: "placement", usage: "[--json]", help: "which node has room for a job: --cpus 2\n--ram 512MB; exit code 1 if none has",
			more: `  --cpus NUMBER     how many CPUs the job keeps busy, such as 1.5; none without it
  --ram SIZE        how much memory it needs, such as 512MB; none without it
`, run: showPlacement},
	}
}

// askAPI asks the running relay for what it answers over HTTP, too.
func askAPI(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	err := control.Get(ctx, "relay", "/api/"+path, v)
	if err == nil {
		return nil
	}
	var answer struct{ Error string }
	if json.Unmarshal([]byte(err.Error()), &answer) == nil && answer.Error != "" {
		return errors.New(answer.Error)
	}
	return err
}

// getNodes asks for the nodes, of one state if one is given.
func getNodes(ctx context.Context, state string) ([]fleet.Node, error) {
	states := []string{"", string(fleet.Up), string(fleet.Late), string(fleet.Down), string(fleet.Retired)}
	if !slices.Contains(states, state) {
		return nil, usage("--state %q: must be up, late, down or retired", state)
	}
	var nodes []fleet.Node
	err := askAPI(ctx, "nodes?state="+url.QueryEscape(state), &nodes)
	return nodes, err
}

// showNodes prints every node, again and again if that is asked for.
func showNodes(ctx context.Context, c *call) error {
	if c.watch && terminal.Is(c.stdout) {
		return watch(ctx, c, func(ctx context.Context) ([]terminal.Line, error) {
			nodes, err := getNodes(ctx, c.state)
			return nodeTable(nodes), err
		})
	}
	nodes, err := getNodes(ctx, c.state)
	if err != nil {
		return err
	}
	if c.watch {
		fmt.Fprintln(c.stderr, "vitals-relay: --watch needs a terminal; this is printed once")
	}
	if c.json {
		return indent(c.stdout, nodes)
	}
	for _, l := range nodeTable(nodes) {
		if _, err := fmt.Fprintln(c.stdout, l.Text); err != nil {
			return err
		}
	}
	return nil
}

// colours of the ranks, for a terminal.
var colours = map[int]int{fleet.RankDown: 31, fleet.RankLate: 33, fleet.RankTrouble: 33, fleet.RankRetired: 90}

// nodeTable is the nodes as a table.
func nodeTable(nodes []fleet.Node) []terminal.Line {
	if len(nodes) == 0 {
		return []terminal.Line{{Text: "there is no node"}}
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tSTATE\tSEEN\tCPU\tLOAD\tMHZ\tRAM\tSWAP\tDISK\tTEMP\tCLOCK\tADDRESS\tREMARKS")
	for i := range nodes {
		n := &nodes[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", printable(n.Name), n.State,
			time.Duration(n.SecondsSinceSeen*float64(time.Second)).Round(time.Second),
			figure("%.0f%%", n.CPUPercent), figure("%.2f", n.Load1), figure("%.0f", n.CPUMHz), figure("%.0f%%", n.RAMPercent),
			swap(n), figure("%.0f%%", n.DiskPercent), figure("%.1f°C", n.TemperatureCelsius), figure("%+.0fs", n.ClockSkewSeconds),
			dash(n.Address), strings.Join(n.Badges(), ", "))
	}
	t.Flush()
	var lines []terminal.Line
	for i, text := range strings.Split(strings.TrimRight(b.String(), "\n"), "\n") {
		l := terminal.Line{Text: strings.TrimRight(text, " ")}
		if i > 0 {
			l.Color = colours[nodes[i-1].Rank()]
		}
		lines = append(lines, l)
	}
	return append(lines, conflicts(nodes)...)
}

// conflicts say which machines write under one name, and what to do about it.
func conflicts(nodes []fleet.Node) (lines []terminal.Line) {
	for i := range nodes {
		if n := &nodes[i]; len(n.Conflict) > 0 {
			lines = append(lines, terminal.Line{Color: colours[fleet.RankTrouble], Text: fmt.Sprintf(
				"%s: two or more machines write under this name, from %s. Give one of them another host name; if it is a copy of the other's card, it needs a token of its own, too: vitals-relay invite",
				printable(n.Name), strings.Join(n.Conflict, " and "))})
		}
	}
	return lines
}

// swap is how full a node's is; a machine without any has nothing to fill.
func swap(n *fleet.Node) string {
	if n.SwapTotalBytes != nil && *n.SwapTotalBytes == 0 {
		return "none"
	}
	return figure("%.0f%%", n.SwapPercent)
}

func figure(format string, v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf(format, *v)
}

// showNode prints what is known of one node: what its JSON holds.
func showNode(ctx context.Context, c *call) error {
	var n map[string]any
	if err := askAPI(ctx, "nodes/"+url.PathEscape(c.arguments[0]), &n); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, n)
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	first := []string{"name", "state", "last_seen"}
	for _, key := range append(first, slices.Sorted(maps.Keys(n))...) {
		if v, ok := n[key]; ok {
			printValue(t, strings.ReplaceAll(key, "_", " "), v)
			delete(n, key)
		}
	}
	return t.Flush()
}

func printValue(w io.Writer, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			printValue(w, name+" "+printable(key), v[key])
		}
	case []any:
		for _, item := range v {
			printValue(w, name, item)
		}
	case float64:
		fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", v), "0"), "."))
	default:
		fmt.Fprintf(w, "%s\t%s\n", name, printable(fmt.Sprint(v)))
	}
}

func retire(ctx context.Context, stdout io.Writer, name string) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	if err := control.Post(ctx, "relay", "/nodes/retire", forgetRequest{name}, nil); err != nil {
		return withoutName(err)
	}
	_, err := fmt.Fprintf(stdout, "%s is retired until it writes again\n", printable(name))
	return err
}

// byTrouble sorts nodes for who watches them: those in trouble first, then the
// busiest.
func byTrouble(a, b fleet.Node) int {
	busy := func(n *fleet.Node) float64 {
		if n.CPUPercent == nil {
			return -1
		}
		return *n.CPUPercent
	}
	return cmp.Or(cmp.Compare(a.Rank(), b.Rank()), cmp.Compare(busy(&b), busy(&a)), strings.Compare(a.Name, b.Name))
}

// showPlacement ranks the nodes by their room for a job; the error is errQuiet
// if none has enough.
func showPlacement(ctx context.Context, c *call) error {
	if n, err := strconv.ParseFloat(cmp.Or(c.cpus, "0"), 64); err != nil || !(n >= 0) {
		return usage("--cpus %q: write how many CPUs the job needs, such as 1.5", c.cpus)
	}
	var size nodefile.Size
	if err := size.UnmarshalText([]byte(cmp.Or(c.ram, "0"))); err != nil || size < 0 {
		return usage("--ram %q: write how much memory the job needs, such as 512MB", c.ram)
	}
	var places []fleet.Place
	if err := askAPI(ctx, "placement?cpus="+url.QueryEscape(c.cpus)+"&ram="+url.QueryEscape(c.ram), &places); err != nil {
		return err
	}
	fits := slices.ContainsFunc(places, func(p fleet.Place) bool { return p.Fits })
	if c.json {
		if err := indent(c.stdout, places); err != nil {
			return err
		}
	} else {
		t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NODE\tFITS\tROOM LEFT\tBECAUSE")
		for _, p := range places {
			fmt.Fprintf(t, "%s\t%s\t%.0f%%\t%s\n", printable(p.Node), map[bool]string{true: "yes", false: "no"}[p.Fits], 100*p.Score, printable(p.Reason))
		}
		t.Flush()
	}
	if !fits {
		return errQuiet
	}
	return nil
}

// showEvents prints what has happened, and with --follow what happens, until
// ctx ends.
func showEvents(ctx context.Context, c *call) error {
	var columns eventColumns
	for after := uint64(0); ; {
		var events []fleet.Event
		if err := askAPI(ctx, fmt.Sprintf("events?after=%d", after), &events); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		columns.widen(events)
		for _, e := range events {
			after = e.ID
			if err := columns.print(c, e); err != nil {
				return err
			}
		}
		if !c.follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// eventColumns are how wide the columns of events are: as wide as the widest so
// far, for of those that are followed nobody knows what is to come.
type eventColumns struct{ node, kind int }

func (w *eventColumns) widen(events []fleet.Event) {
	for _, e := range events {
		w.node = max(w.node, utf8.RuneCountInString(printable(e.Node)))
		w.kind = max(w.kind, len(e.Kind))
	}
}

// print prints an event on a line of its own, so that both forms can be read line
// by line.
func (w *eventColumns) print(c *call, e fleet.Event) error {
	if c.json {
		return json.NewEncoder(c.stdout).Encode(e)
	}
	_, err := fmt.Fprintf(c.stdout, "%s  %-*s  %-*s  %s\n", e.Time.Local().Format(time.DateTime), w.node, printable(e.Node), w.kind, e.Kind, printable(e.Text))
	return err
}
