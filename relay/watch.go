package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/terminal"
)

// refresh is how often what is watched is asked for.
const refresh = 2 * time.Second

// watch shows what ask returns again and again, until q, Ctrl-C or ctx ends,
// and leaves the last of it on the terminal. A relay that does not answer is
// waited for.
func watch(ctx context.Context, c *call, ask func(context.Context) ([]terminal.Line, error)) error {
	lines, err := ask(ctx)
	if err != nil {
		return err
	}
	screen, err := terminal.Open(os.Stdin, c.stdout.(*os.File))
	if err != nil {
		return err
	}
	for err == nil {
		if err = screen.Draw(lines); err != nil || !screen.Rest(ctx, refresh) {
			break
		}
		next, failed := ask(ctx)
		switch {
		case ctx.Err() != nil:
		case failed != nil:
			lines = []terminal.Line{{Text: printable(failed.Error()), Color: 31}}
		default:
			lines = next
		}
	}
	screen.Close()
	for _, l := range lines {
		fmt.Fprintln(c.stdout, l.Text)
	}
	return err
}

// top shows the nodes, those that need somebody first.
func top(ctx context.Context, c *call) error {
	if !terminal.Is(c.stdout) {
		return usage("top needs a terminal; vitals-relay nodes prints the nodes once")
	}
	return watch(ctx, c, func(ctx context.Context) ([]terminal.Line, error) {
		nodes, err := getNodes(ctx, "")
		if err != nil {
			return nil, err
		}
		slices.SortFunc(nodes, byTrouble)
		n := fleet.Count(nodes)
		head := fmt.Sprintf("%d up, %d late, %d down, %d retired    %s    q ends", n.Up, n.Late, n.Down, n.Retired, time.Now().Format(time.TimeOnly))
		return append([]terminal.Line{{Text: head}, {}}, nodeTable(nodes)...), nil
	})
}
