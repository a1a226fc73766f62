package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/join"
)

// nodeInterval is how often nodes that join are to write.
const nodeInterval = 10 * time.Second

// inviteRequest asks for an invite.
type inviteRequest struct {
	Lifetime time.Duration     `json:"lifetime_nanoseconds"`
	Uses     int               `json:"uses"`
	Tags     map[string]string `json:"tags"`
	URL      string            `json:"url"` // empty: as the relay knows itself
}

// inviteAnswer is a new invite with its code, which is shown once.
type inviteAnswer struct {
	join.Invite
	Code   string   `json:"code"`
	URL    string   `json:"url"`
	Pin    string   `json:"pin,omitempty"`
	Line   string   `json:"line"`             // to paste on the new machine
	Others []string `json:"others,omitempty"` // further addresses of the relay
	// Version is that of the agent that the machine gets; empty: the relay has none
	// in Packages.
	Version  string `json:"version,omitempty"`
	Packages string `json:"packages"`
}

func inviteCommands() []subcommand {
	return []subcommand{
		{words: "invite", usage: "[--json]", help: "what to paste on a new machine to make it a\nnode [--for 1h] [--uses N] [--tag k=v] [--url URL]",
			more: `  --for TIME        how long machines may join with it, from 1m to 30d; 1h without it
  --uses N          how many machines may; 1 without it
  --tag KEY=VALUE   a tag that all lines of these machines get; may be given several times
  --url URL         the address of the relay, or of a proxy before it, that the machines are to
                    use, such as https://10.7.0.1:8186; without it the likeliest of its own
`,
			run: func(ctx context.Context, c *call) error { return invite(ctx, c) }},
		{words: "invite list", usage: "[--json]", help: "the invites, and who has joined with them",
			run: func(ctx context.Context, c *call) error { return listInvites(ctx, c) }},
		{words: "invite revoke", takes: 1, usage: "ID", help: "let nobody join with it any more",
			run: func(ctx context.Context, c *call) error {
				if err := forgetIn(ctx, "/invites/revoke", c.arguments[0]); err != nil {
					return err
				}
				_, err := fmt.Fprintf(c.stdout, "%s is revoked; who has joined with it stays\n", printable(c.arguments[0]))
				return err
			}},
		{words: "login", usage: "[--json]", help: "a code to sign in to the page, once, as admin",
			run: func(ctx context.Context, c *call) error { return showLogin(ctx, c) }},
	}
}

// forgetIn asks the running relay to do something about what has a name.
func forgetIn(ctx context.Context, path, name string) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	return control.Post(ctx, "relay", path, forgetRequest{name}, nil)
}

// controlInvites adds to the control socket what the commands ask for.
func (r *relay) controlInvites(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		writeJSON(w, v)
	}
	mux.HandleFunc("GET /invites", func(w http.ResponseWriter, _ *http.Request) {
		list, err := r.invites.List()
		answer(w, list, err)
	})
	mux.HandleFunc("POST /invites/revoke", forgets(r.invites.Revoke))
	mux.HandleFunc("POST /invites/create", func(w http.ResponseWriter, req *http.Request) {
		var in inviteRequest
		var out *inviteAnswer
		err := json.NewDecoder(io.LimitReader(req.Body, 16<<10)).Decode(&in)
		if err == nil {
			out, err = r.newInvite(req.Context(), &in)
		}
		answer(w, out, err)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.newLogin()) })
}

// newInvite makes an invite and the line that goes with it.
func (r *relay) newInvite(ctx context.Context, in *inviteRequest) (*inviteAnswer, error) {
	if r.guard.Mode() == auth.Off {
		return nil, errors.New(`this relay checks no writer, so there is nothing to join: write mode = "required" below [relay.auth] and restart it, or copy a node file to the new machine by hand`)
	}
	out := &inviteAnswer{URL: in.URL}
	if in.URL == "" {
		if !r.reachable() {
			return nil, fmt.Errorf("this relay listens on %s, where no other machine reaches it: write listen = \":8186\" below [relay] and restart it, or say with --url under which address a proxy serves it", r.listening)
		}
		all := r.addresses()
		out.URL, out.Others = all[0], slices.DeleteFunc(all[1:], func(u string) bool { return join.Name(u) == "localhost" })
	}
	u, err := relayURL(out.URL)
	if err != nil {
		return nil, err
	}
	out.URL = u.Scheme + "://" + u.Host
	if out.Pin, err = r.pinAt(ctx, u); err != nil {
		return nil, err
	}
	if out.Invite, out.Code, err = r.invites.Create(in.Lifetime, in.Uses, in.Tags); err != nil {
		return nil, err
	}
	out.Line, out.Packages = join.Line(out.URL, out.Pin), r.config.Packages
	if out.Version, err = r.joins.Version(); err != nil {
		r.log.Error("the packages for nodes cannot be read", "error", err)
	}
	r.log.Info("an invite is made", "id", out.ID, "uses", out.Uses, "until", out.Expires.Format(time.RFC3339))
	return out, nil
}

// relayURL reads the address of a relay that is to stand in a script.
func relayURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || !join.CheckHost(u.Host) || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("--url %q: write it like https://10.7.0.1:8186", text)
	}
	return u, nil
}

// retire takes a node out of service that leaves; one that has never written is
// not known, and need not be.
func (r *relay) retire(node string) error {
	if err := r.fleet.Retire(node); err != nil && !errors.Is(err, fleet.ErrNoNode) {
		return err
	}
	return nil
}

// invite prints what to do on a new machine.
func invite(ctx context.Context, c *call) error {
	in := inviteRequest{Uses: c.uses, URL: c.url, Tags: map[string]string{}}
	var lifetime nodefile.Duration
	if err := lifetime.UnmarshalText([]byte(cmp.Or(c.lifetime, "1h"))); err != nil || lifetime <= 0 {
		return usage("--for %q: write it like 1h or 2d", c.lifetime)
	}
	in.Lifetime = lifetime.Std()
	for _, tag := range c.tags {
		key, value, ok := strings.Cut(tag, "=")
		if !ok {
			return usage("--tag %q: write it like site=attic", tag)
		}
		in.Tags[key] = value
	}
	err := join.Check(in.Lifetime, in.Uses, in.Tags)
	if err == nil && c.url != "" {
		_, err = relayURL(c.url)
	}
	if err != nil {
		return usageError(err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var out inviteAnswer
	if err := control.Post(ctx, "relay", "/invites/create", in, &out); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, out)
	}
	machines := map[bool]string{true: "1 machine", false: fmt.Sprintf("%d machines", out.Uses)}[out.Uses == 1]
	pin := ""
	if out.Pin != "" {
		pin = " --pin '" + out.Pin + "'"
	}
	fmt.Fprintf(c.stdout, `On the new machine, paste this line:

  %s

and when it asks, type this code (%s, until %s):

  %s

Where curl cannot reach the relay, bring a package of vitals-agent there by scp,
install it, and then:

  sudo vitals-agent join %s%s
`, out.Line, machines, clock(out.Expires), out.Code, join.Word(out.URL), pin)
	if strings.HasPrefix(out.URL, "http://") {
		fmt.Fprint(c.stdout, "\nThis is plain HTTP: whoever is on the way could read the code, and put another script in\nthe place of the relay's, which root would run. [relay.tls] own_key = true prevents that.\n")
	}
	if out.Version == "" {
		fmt.Fprintf(c.stdout, "\nThis relay has no package to hand out in %s, so that the line works only where\nvitals-agent is installed already: install vitals-packages here.\n", out.Packages)
	}
	if len(out.Others) > 0 {
		fmt.Fprintf(c.stdout, "\nOther addresses of this relay, for --url: %s\n", strings.Join(out.Others, " "))
	}
	return nil
}

// clock is a time as people say it: of today, without the day.
func clock(t time.Time) string {
	t, now := t.Local(), time.Now()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// listInvites prints every invite but its code, which nobody knows.
func listInvites(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var list []join.Invite
	if err := control.Get(ctx, "relay", "/invites", &list); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(c.stdout, "there is no invite; vitals-relay invite makes one")
		return err
	}
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tUNTIL\tUSED\tTAGS\tJOINED")
	for _, i := range list {
		state := "open"
		switch {
		case !time.Now().Before(i.Expires):
			state = "expired"
		case len(i.Used) >= i.Uses:
			state = "used up"
		}
		var nodes, tags []string
		for _, u := range i.Used {
			nodes = append(nodes, printable(u.Node))
		}
		for k, v := range i.Tags {
			tags = append(tags, k+"="+printable(v))
		}
		slices.Sort(tags)
		fmt.Fprintf(t, "%s\t%s\t%s\t%d of %d\t%s\t%s\n", i.ID, state, clock(i.Expires), len(i.Used), i.Uses, dash(strings.Join(tags, " ")), dash(strings.Join(nodes, " ")))
	}
	return t.Flush()
}

// loginAnswer says how to sign in.
type loginAnswer struct {
	URL     string    `json:"url"`
	Code    string    `json:"code,omitempty"` // empty: nobody has to sign in
	Expires time.Time `json:"expires,omitzero"`
	// Fingerprint is what browsers show of a certificate that they warn of; empty:
	// they do not.
	Fingerprint string `json:"fingerprint,omitempty"`
}

func (r *relay) newLogin() loginAnswer {
	out := loginAnswer{URL: r.address() + "/"}
	if r.guard.Mode() == auth.Required {
		out.Code, out.Expires = r.guard.NewLogin()
	}
	if r.certificates != nil && !r.certificates.Trusted(join.Name(out.URL)) {
		out.Fingerprint = r.certificates.Fingerprint()
	}
	return out
}

// showLogin prints how to sign in.
func showLogin(ctx context.Context, c *call) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var out loginAnswer
	if err := control.Post(ctx, "relay", "/login", nil, &out); err != nil {
		return err
	}
	if c.json {
		return indent(c.stdout, out)
	}
	printLogin(c.stdout, &out)
	return nil
}

func printLogin(w io.Writer, l *loginAnswer) {
	fmt.Fprintf(w, "The page is at %s\n", l.URL)
	if l.Code != "" {
		fmt.Fprintf(w, "Sign in with this code (once, until %s):\n\n  %s\n", clock(l.Expires), l.Code)
	}
	if l.Fingerprint != "" {
		fmt.Fprintf(w, "\nThe browser will warn that it does not know who has made the relay's certificate: the\nrelay itself. It is the right one if its SHA-256 fingerprint is\n\n  %s\n", l.Fingerprint)
	}
}
