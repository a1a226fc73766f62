package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/auth"
)

// tokenRequest asks for a token.
type tokenRequest struct {
	Node     string        `json:"node"`
	Role     auth.Role     `json:"role"`
	Lifetime time.Duration `json:"lifetime_nanoseconds"`
}

// tokenAnswer is a new token with its text, which is shown once.
type tokenAnswer struct {
	auth.Token
	Text string `json:"token"`
}

// controlTokens adds to the control socket what the token commands ask for.
func (r *relay) controlTokens(mux *http.ServeMux) {
	mux.HandleFunc("GET /tokens", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.guard.List()) })
	mux.HandleFunc("GET /tokens/observed", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.guard.Observed()) })
	mux.HandleFunc("POST /tokens/own", r.createOwn)
	mux.HandleFunc("POST /tokens/revoke", forgets(r.guard.Revoke))
	mux.HandleFunc("POST /tokens/create", func(w http.ResponseWriter, req *http.Request) {
		var in tokenRequest
		var out tokenAnswer
		err := json.NewDecoder(io.LimitReader(req.Body, 4096)).Decode(&in)
		if err == nil {
			out.Token, out.Text, err = r.guard.Create(in.Node, in.Role, in.Lifetime)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		writeJSON(w, out)
	})
}

// createToken prints a new token, and where to write it down.
func createToken(ctx context.Context, stdout io.Writer, f flags) error {
	in := tokenRequest{Node: f.node, Role: auth.Role(cmp.Or(f.role, "write"))}
	if f.expires != "" {
		var lifetime nodefile.Duration
		if err := lifetime.UnmarshalText([]byte(f.expires)); err != nil || lifetime <= 0 {
			return usage("--expires %q: write it like 90d or 12h", f.expires)
		}
		in.Lifetime = lifetime.Std()
	}
	if err := auth.Check(in.Node, in.Role, in.Lifetime); err != nil {
		return usageError(err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var t tokenAnswer
	if err := control.Post(ctx, "relay", "/tokens/create", in, &t); err != nil {
		return err
	}
	if f.json {
		return indent(stdout, t)
	}
	fmt.Fprintf(stdout, "%s\n\nThis is token %s, role %s%s. It is shown this once.\n", t.Text, t.ID, t.Role, describe(&t.Token))
	if t.Role == auth.Read {
		_, err := fmt.Fprintln(stdout, "In a browser, sign in with it; programs send it in a header: Authorization: Bearer TOKEN")
		return err
	}
	_, err := fmt.Fprintf(stdout, `On the node, below [[outputs.influxdb]]:

  username = "vitals"
  password = "%s"

or below [[outputs.influxdb_v2]]:

  token = "%s"
`, t.Text, t.Text)
	return err
}

func describe(t *auth.Token) string {
	text := ""
	if t.Node != "" {
		text = ", for " + printable(t.Node)
	}
	if !t.Expires.IsZero() {
		text += ", until " + t.Expires.Local().Format(time.DateTime)
	}
	return text
}

// listTokens prints every token but its secret, which nobody knows.
func listTokens(ctx context.Context, stdout io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var tokens []auth.Token
	if err := control.Get(ctx, "relay", "/tokens", &tokens); err != nil {
		return err
	}
	if asJSON {
		return indent(stdout, tokens)
	}
	if len(tokens) == 0 {
		_, err := fmt.Fprintln(stdout, "there is no token; vitals-relay token create --node NAME makes one")
		return err
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNODE\tROLE\tCREATED\tEXPIRES\tLAST USED\tFROM\tJOINED")
	for _, k := range tokens {
		expires := day(k.Expires, "never")
		if !k.Expires.IsZero() && time.Now().After(k.Expires) {
			expires = "expired"
		}
		joined := "-"
		if k.Machine != "" {
			joined = "from " + k.JoinedFrom
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, dash(printable(k.Node)), k.Role, day(k.Created, "-"), expires, since(k.LastUsed), dash(k.From), joined)
	}
	return t.Flush()
}

func day(t time.Time, never string) string {
	if t.IsZero() {
		return never
	}
	return t.Local().Format(time.DateOnly)
}

func since(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return max(0, time.Since(t).Round(time.Second)).String() + " ago"
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// revokeToken ends a token.
func revokeToken(ctx context.Context, stdout io.Writer, id string) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	id = strings.TrimPrefix(id, "vt_")
	if err := control.Post(ctx, "relay", "/tokens/revoke", forgetRequest{id}, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "%s is revoked\n", printable(id))
	return err
}

// listObserved prints who would be refused if credentials were required.
func listObserved(ctx context.Context, stdout io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var list []auth.Observed
	if err := control.Get(ctx, "relay", "/tokens/observed", &list); err != nil {
		return err
	}
	if asJSON {
		return indent(stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(stdout, `nobody who would be refused has written since the relay started (it looks only with mode = "observe" below [relay.auth])`)
		return err
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ADDRESS\tNODE\tREQUESTS\tLAST\tCLIENT\tWOULD BE REFUSED")
	for _, o := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\n", o.Address, dash(printable(o.Node)), o.Count, since(o.Last), dash(printable(o.Client)), o.Reason)
	}
	return t.Flush()
}
