package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/internal/control"
)

// retryTime is how long sending refused lines again may take.
const retryTime = 10 * time.Minute

// rejectedRequest says of which lines.
type rejectedRequest struct {
	Destination string `json:"destination"`
	ID          string `json:"id"` // empty: all of the destination
}

// controlRejected serves the subcommands about refused lines.
func (r *relay) controlRejected(mux *http.ServeMux) {
	mux.HandleFunc("GET /rejected", func(w http.ResponseWriter, req *http.Request) {
		list, err := r.listRejected(req.FormValue("destination"))
		answer(w, list, err)
	})
	mux.HandleFunc("GET /rejected/show", func(w http.ResponseWriter, req *http.Request) {
		parts, err := r.showRejected(req.FormValue("destination"), req.FormValue("id"))
		answer(w, parts, err)
	})
	change := func(do func(ctx context.Context, in rejectedRequest) (rejectedDone, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			var in rejectedRequest
			err := json.NewDecoder(io.LimitReader(req.Body, 4096)).Decode(&in)
			limits := http.NewResponseController(w) // it takes as long as the server does
			err = errors.Join(err, limits.SetReadDeadline(time.Time{}), limits.SetWriteDeadline(time.Time{}))
			var done rejectedDone
			if err == nil {
				done, err = do(req.Context(), in)
			}
			answer(w, done, err)
		}
	}
	mux.HandleFunc("POST /rejected/retry", change(func(ctx context.Context, in rejectedRequest) (rejectedDone, error) {
		return r.retryRejected(ctx, in.Destination, in.ID)
	}))
	mux.HandleFunc("POST /rejected/drop", change(func(_ context.Context, in rejectedRequest) (rejectedDone, error) {
		return r.dropRejected(in.Destination, in.ID)
	}))
}

// answer writes v, or why there is none.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	writeJSON(w, v)
}

func rejectedCommands() []subcommand {
	return []subcommand{
		{words: "rejected list", most: 1, usage: "[NAME] [--json]", help: "lines that destinations have refused for good",
			run: func(ctx context.Context, c *call) error { return printRejectedList(ctx, c) }},
		{words: "rejected show", takes: 1, most: 2, usage: "NAME [ID] [--json]", help: "those lines, with the reasons",
			run: func(ctx context.Context, c *call) error { return printRejected(ctx, c) }},
		{words: "rejected retry", takes: 1, most: 2, usage: "NAME [ID] [--json]", help: "send them again; what is refused once more is\nkept with the new reason; exit code 1 if not all\nare stored",
			run: func(ctx context.Context, c *call) error { return changeRejected(ctx, c, "retry") }},
		{words: "rejected drop", takes: 1, most: 2, usage: "NAME [ID] [--json]", help: "give them up",
			run: func(ctx context.Context, c *call) error { return changeRejected(ctx, c, "drop") }},
	}
}

// argument is the nth argument, or "".
func (c *call) argument(n int) string {
	if n < len(c.arguments) {
		return c.arguments[n]
	}
	return ""
}

func printRejectedList(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var list []rejectedFile
	if err := control.Get(ctx, "relay", "/rejected?"+url.Values{"destination": {c.argument(0)}}.Encode(), &list); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.stdout, "no destination has refused anything")
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DESTINATION\tID\tLINES\tBYTES\tLAST REASON")
	for _, f := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", f.Destination, f.ID, f.Lines, f.Bytes, printable(brief(f.Reason)))
	}
	return t.Flush()
}

// brief cuts a text to what a table can hold.
func brief(text string) string {
	const longest = 80
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

func printRejected(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var parts []rejectedPart
	query := url.Values{"destination": {c.argument(0)}, "id": {c.argument(1)}}
	if err := control.Get(ctx, "relay", "/rejected/show?"+query.Encode(), &parts); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, parts)
	}
	if len(parts) == 0 {
		_, err := fmt.Fprintf(c.stdout, "%s has refused nothing that is still kept\n", c.argument(0))
		return err
	}
	for _, p := range parts {
		fmt.Fprintf(c.stdout, "# %s db=%q rp=%q precision=%s: %s\n%s", p.At, p.Database, p.RetentionPolicy, p.Precision, printable(p.Reason), p.Lines)
	}
	return nil
}

func changeRejected(ctx context.Context, c *call, what string) error {
	ctx, cancel := context.WithTimeout(ctx, retryTime)
	defer cancel()
	var done rejectedDone
	if err := control.Post(ctx, "relay", "/rejected/"+what, rejectedRequest{c.argument(0), c.argument(1)}, &done); err != nil {
		return err
	}
	switch {
	case c.json:
		if err := indent(c.stdout, done); err != nil {
			return err
		}
	case what == "drop":
		fmt.Fprintf(c.stdout, "%s of %s given up\n", plural(int64(done.Dropped), "line"), plural(int64(done.Files), "file"))
	default:
		fmt.Fprintf(c.stdout, "%s stored, %d refused again, %d not tried and still here\n", plural(int64(done.Stored), "line"), done.Refused, done.Left)
		if done.Error != "" {
			fmt.Fprintln(c.stdout, "why not:", printable(done.Error))
		}
	}
	if done.Refused+done.Left > 0 {
		return errQuiet
	}
	return nil
}
