package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/setup"
)

// setupFlags are those of init.
type setupFlags struct {
	listen, certFile, keyFile string
	influx                    setup.Influx
}

// define adds the flags to those of the program.
func (f *setupFlags) define(set *flag.FlagSet) {
	set.StringVar(&f.listen, "listen", ":8186", "")
	set.StringVar(&f.certFile, "cert-file", "", "")
	set.StringVar(&f.keyFile, "key-file", "", "")
	set.StringVar(&f.influx.URL, "influx", "", "")
	set.StringVar(&f.influx.Username, "influx-username", "", "")
	set.StringVar(&f.influx.PasswordFile, "influx-password-file", "", "")
	set.StringVar(&f.influx.Organization, "influx-org", "", "")
	set.StringVar(&f.influx.Bucket, "influx-bucket", "", "")
	set.StringVar(&f.influx.TokenFile, "influx-token-file", "", "")
}

func initCommands() []subcommand {
	return []subcommand{{
		words: "init", usage: "[--influx URL]",
		help: `make this machine the primary: node file, key,
relay and agent; once more changes nothing
[--listen ADDRESS] [--config FILE]
[--cert-file FILE --key-file FILE]
[--influx-username NAME --influx-password-file FILE]
[--influx-org NAME --influx-bucket NAME]
[--influx-token-file FILE]; --influx none: without`,
		more: `  --influx URL      the InfluxDB that gets the lines; http://127.0.0.1:8086 without it, if
                    one answers there; "none": none
  --influx-username NAME
                    of InfluxDB 1.x: who may create the database, or write to it if it is
                    there already
  --influx-password-file FILE
                    has that user's password in one line; it is copied to where the relay
                    alone reads it
  --influx-org NAME
                    of InfluxDB 2.x: the organization
  --influx-bucket NAME
                    of InfluxDB 2.x: the bucket, which has to be there
  --influx-token-file FILE
                    of InfluxDB 2.x and 3: has a token in one line, which may write there
  --listen ADDRESS  where the relay is to listen; ":8186" without it. "127.0.0.1:8186" is for
                    this machine alone, and speaks plain HTTP
  --cert-file FILE  a certificate of yours, in the place of a key that the relay makes
  --key-file FILE   its key
  --config FILE     write the node file there, instead of /etc/vitals/node.toml
`,
		run: initialize,
	}}
}

// initialize makes this machine the primary, and says what it has done.
func initialize(ctx context.Context, c *call) error {
	node, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("what this machine is called: %w", err)
	}
	path := cmp.Or(config.Find(c.config), config.DefaultPath)
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	var services setup.Services = setup.ByHand{}
	if path == config.DefaultPath { // which the units name
		services = setup.Systemd{}
	}
	done, err := setup.Run(ctx, setup.Config{
		NodeFile: path, Listen: c.setup.listen, CertFile: c.setup.certFile, KeyFile: c.setup.keyFile, Influx: c.setup.influx,
		Secrets: filepath.Join(filepath.Dir(path), "secrets"), Node: node, Services: services, Relay: running{},
		Progress: func(step string) { fmt.Fprintln(c.stderr, "vitals-relay:", step) },
	})
	printSetup(c.stdout, &done)
	var mistake setup.OptionError
	if errors.As(err, &mistake) {
		return usageError(mistake)
	}
	if err != nil {
		return err
	}
	if len(done.Todo) > 0 {
		fmt.Fprintln(c.stdout, "\nNo unit of systemd runs them by this node file. Have them started, now and at every boot:")
		fmt.Fprintln(c.stdout)
		for _, command := range done.Todo {
			fmt.Fprintln(c.stdout, " ", command)
		}
	}
	if !done.Running {
		_, err = fmt.Fprintln(c.stdout, "\nWhen the relay runs, and before the agent does, run vitals-relay init again: it makes\nthe agent's token, and a code to sign in to the page.")
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var login loginAnswer
	if err := control.Post(ctx, "relay", "/login", nil, &login); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	printLogin(c.stdout, &login)
	_, err = fmt.Fprintln(c.stdout, "\nOn this machine, sudo vitals-relay invite says how to add a node, sudo vitals-relay login\nmakes another code.")
	return err
}

// printSetup says what was done and how to undo it.
func printSetup(w io.Writer, done *setup.Done) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, n := range done.Notes {
		fmt.Fprintf(t, "%s\t%s\n", n.What, printable(n.Text))
		if n.Undo != "" {
			fmt.Fprintf(t, "\tundo: %s\n", printable(n.Undo))
		}
	}
	t.Flush()
}

// running is the relay of this machine, as init asks it.
type running struct{}

var _ setup.Relay = running{}

// Running reports whether it can be asked.
func (running) Running() bool { return control.Running("relay") }

// Tokens are the IDs of all tokens.
func (running) Tokens(ctx context.Context) (ids []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var tokens []auth.Token
	err = control.Get(ctx, "relay", "/tokens", &tokens)
	for _, t := range tokens {
		ids = append(ids, t.ID)
	}
	return ids, err
}

// Token makes the token of the relay's own agent.
func (running) Token(ctx context.Context, node string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var t tokenAnswer
	err := control.Post(ctx, "relay", "/tokens/own", tokenRequest{Node: node}, &t)
	return t.Text, err
}

// createOwn serves the token of the relay's own agent. There is one for each
// name, however often it is asked for.
func (r *relay) createOwn(w http.ResponseWriter, req *http.Request) {
	var in tokenRequest
	var out tokenAnswer
	err := json.NewDecoder(io.LimitReader(req.Body, 4096)).Decode(&in)
	if err == nil {
		sum := sha256.Sum256([]byte("vitals-relay init"))
		out.Token, out.Text, err = r.guard.Join(in.Node, hex.EncodeToString(sum[:]), "this machine")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	writeJSON(w, out)
}
