package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/web"
)

// ask is how long a subcommand waits for the running relay.
const ask = 10 * time.Second

// askAlive is for health checks: another relay in this one's place would mend no
// destination.
func askAlive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*ask)
	defer cancel()
	return control.Get(ctx, "relay", "/status", nil)
}

// showStatus prints how the relay is doing; the error is errQuiet if nobody can
// write or a required destination fails.
func showStatus(ctx context.Context, stdout io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var s web.Status
	if err := control.Get(ctx, "relay", "/status", &s); err != nil {
		return err
	}
	if asJSON {
		if err := indent(stdout, s); err != nil {
			return err
		}
	} else {
		printStatus(stdout, &s)
	}
	failing := func(d deliver.Status) bool { return d.Required && d.State != deliver.Delivering }
	if s.Refusing != "" || slices.ContainsFunc(s.Destinations, failing) {
		return errQuiet
	}
	return nil
}

func indent(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printStatus(w io.Writer, s *web.Status) {
	up := time.Duration(s.UptimeSeconds * float64(time.Second)).Round(time.Second)
	fmt.Fprintf(w, "vitals-relay %s, listening on %s, up %s\n", s.Version, s.Listen, up)
	scheme := "http"
	if s.Pin != "" {
		scheme = "https"
		fmt.Fprintf(w, "key        %s\n", s.Pin)
	}
	fmt.Fprintf(w, "page       %s://%s/\n", scheme, clickable(s.Listen))
	if s.Refusing != "" {
		fmt.Fprintf(w, "writes     are refused: %s\n", printable(s.Refusing))
	}
	fmt.Fprintf(w, "nodes      %d up, %d late, %d down\n", s.Nodes.Up, s.Nodes.Late, s.Nodes.Down)
	fmt.Fprintf(w, "writers    %s\n", writers(&s.Auth))
	fmt.Fprintf(w, "accepted   %s in %s; %s, %s told to retry\n", plural(s.Ingest.Lines, "line"), plural(s.Ingest.Requests, "write"), plural(s.Ingest.BadLines, "bad line"), plural(s.Ingest.Refused, "write"))
	fmt.Fprintf(w, "queue      %s on disk, %s of it kept for later destinations; %s free (%s)\n", size(s.Queue.Bytes), size(s.Queue.KeptBytes), size(s.Queue.FreeBytes), s.DataDirectory)
	if len(s.Destinations) == 0 {
		fmt.Fprintln(w, "no destination is configured: lines are kept here")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, d := range s.Destinations {
		if i == 0 {
			fmt.Fprintln(t, "\nDESTINATION\tSTATE\tWAITING\tOLDEST\tDELIVERED\tREJECTED\tURL")
		}
		oldest := "-"
		if !d.Backlog.Oldest.IsZero() {
			oldest = time.Since(d.Backlog.Oldest).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%d lines\t%s\t%d\t%d\t%s\n", d.Name, d.State, d.Backlog.Lines, oldest, d.Lines, d.RejectedLines, d.URL)
	}
	t.Flush()
	for _, d := range s.Destinations {
		if d.Error != "" {
			fmt.Fprintf(w, "%s has failed for %s: %s\n", d.Name, time.Since(d.Since).Round(time.Second), printable(d.Error))
		}
	}
	for _, a := range s.Alarms {
		fmt.Fprintln(w, "ALARM:", printable(a))
	}
	for _, n := range s.Notes {
		fmt.Fprintln(w, "NOTE:", printable(n))
	}
}

// writers says who may write, and how many were refused.
func writers(s *auth.Status) string {
	refused := s.Missing + s.Wrong + s.Forbidden + s.Slowed + s.Limited + s.Unavailable
	switch s.Mode {
	case auth.Required:
		return fmt.Sprintf("need a token (%s); %s refused: %d without, %d with a wrong one, %d of another role, %d too soon, %d over their limits, %d while no token was known",
			plural(int64(s.Tokens), "token"), plural(refused, "request"), s.Missing, s.Wrong, s.Forbidden, s.Slowed, s.Limited, s.Unavailable)
	case auth.Observe:
		return fmt.Sprintf("are observed (%s); %d would be refused, see vitals-relay token observed", plural(int64(s.Tokens), "token"), s.Observed)
	}
	return "are not checked"
}

// plural counts things.
func plural(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// size is bytes as people read them.
func size(n int64) string {
	switch {
	case n < 0:
		return "unknown"
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KB", n>>10)
	case n < 10<<30:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%d GB", n>>30)
}

// printable keeps what nodes call themselves from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}

// forget asks the running relay to forget one of what ("nodes",
// "destinations").
func forget(ctx context.Context, stdout io.Writer, what, name string) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	if err := control.Post(ctx, "relay", "/"+what+"/forget", forgetRequest{name}, nil); err != nil {
		return withoutName(err)
	}
	_, err := fmt.Fprintf(stdout, "%s is forgotten\n", printable(name))
	return err
}
