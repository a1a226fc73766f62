package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/alert"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/queue"
)

// alerting is what alerts go by: when they fire, and who is told.
type alerting struct {
	rules   []alert.Rule
	targets []config.AlertTarget
}

// alertingOf is what a node file says of it.
func (r *relay) alertingOf(c *config.Config) alerting {
	a := alerting{rules: c.Alerts}
	lines := config.AlertTarget{Name: config.LineTarget, Kind: config.LineTarget, Enabled: r.linesHaveADatabase(c.Destinations)}
	for _, t := range c.AlertTargets {
		if t.Kind == config.LineTarget {
			lines = t
		} else if t.Enabled {
			a.targets = append(a.targets, t)
		}
	}
	if lines.Enabled {
		a.targets = append(a.targets, lines)
	}
	return a
}

// newAlerts makes the alerts of the node file, and whom they are told to.
func (r *relay) newAlerts() (*alert.Engine, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	r.alerting = r.alertingOf(r.config)
	targets, err := r.newTargets(r.alerting.targets)
	if err != nil {
		return nil, err
	}
	return alert.New(alert.Config{
		Rules: r.alerting.rules, Targets: targets, Nodes: r.fleet.Nodes, Destinations: r.destinationStatus, ForgetAfter: r.config.Fleet.ForgetAfter.Std(),
		Directory: r.config.DataDirectory, Relay: host, Now: time.Now, Logger: r.log,
	})
}

func (r *relay) newTargets(of []config.AlertTarget) (targets []alert.Target, err error) {
	for i := range of {
		made, err := r.newTarget(&of[i])
		if err != nil {
			return nil, fmt.Errorf("alert target %q: %w", of[i].Name, err)
		}
		targets = append(targets, made)
	}
	return targets, nil
}

func (r *relay) newTarget(t *config.AlertTarget) (alert.Target, error) {
	made := alert.Target{Name: t.Name, Kind: t.Kind, Quiet: t.Hours}
	for _, text := range t.Alerts {
		g, err := glob.Compile(text)
		if err != nil {
			return made, err
		}
		made.Alerts = append(made.Alerts, g)
	}
	switch t.Kind {
	case config.LineTarget:
		made.Sender, made.Always = alert.Lines{Write: r.alertLines(t.Database)}, true
		return made, nil
	case config.CommandTarget:
		made.Sender = alert.Command{Argv: t.Command, Timeout: t.Timeout.Std()}
		return made, nil
	}
	webhook, err := alert.NewWebhook(t.Webhook("vitals-relay/" + version))
	made.Sender = webhook
	return made, err
}

// linesHaveADatabase reports whether the relay's own database is sure to be
// where lines would go: one that is missing would hold up a destination, and
// with it everybody's lines.
func (r *relay) linesHaveADatabase(destinations []config.Destination) bool {
	own := r.ownDatabase().Database
	for _, d := range destinations {
		wants := d.Wants()
		if wants != nil && !wants(own) || d.Database+d.Bucket != "" {
			continue
		}
		if own == "" || d.Version != 1 {
			return false
		}
	}
	return own != ""
}

// changeAlerts puts other rules and targets in the place of those there are. A
// target whose table is what it was is not touched. r.reloading is held.
func (r *relay) changeAlerts(is alerting, targets []alert.Target, done *changes) error {
	was := r.alerting
	rules := differing(was.rules, is.rules, func(a alert.Rule) string { return a.Name })
	told := differing(was.targets, is.targets, func(t config.AlertTarget) string { return t.Name })
	if len(rules)+len(told) == 0 {
		return nil
	}
	var kept []string
	for _, t := range is.targets {
		if !slices.Contains(told, t.Name) {
			kept = append(kept, t.Name)
		}
	}
	if err := r.alerts.Change(is.rules, targets, kept); err != nil {
		return err
	}
	r.alerting, done.Alerts = is, append(rules, told...)
	return nil
}

// differing names what is in one of two lists only, or is not the same in both.
func differing[T any](was, is []T, name func(T) string) (names []string) {
	find := func(list []T, n string) any {
		for _, x := range list {
			if name(x) == n {
				return x
			}
		}
		return nil
	}
	for _, x := range slices.Concat(was, is) {
		if n := name(x); !slices.Contains(names, n) && !reflect.DeepEqual(find(was, n), find(is, n)) {
			names = append(names, n)
		}
	}
	return names
}

// alertLines writes lines into the queue, like a write.
func (r *relay) alertLines(database string) func(context.Context, []byte, int) error {
	if database == "" {
		p := r.config.Provision
		database = p.Prefix + p.Database
	}
	return func(ctx context.Context, lines []byte, n int) error {
		return r.queue.Append(ctx, &queue.Batch{
			Target: influx.Target{Database: database, Precision: "ns"}, Lines: n, RawBytes: int64(len(lines)), Body: influx.Gzip(nil, lines),
		})
	}
}

// destinationStatus is how each destination is doing.
func (r *relay) destinationStatus() []deliver.Status {
	list := []deliver.Status{}
	for _, d := range r.all() {
		list = append(list, d.Status())
	}
	return list
}

// forgetNode removes a node and what is alerted of it.
func (r *relay) forgetNode(name string) error {
	if err := r.fleet.Forget(name); err != nil {
		return err
	}
	r.alerts.Forget(name)
	return nil
}

// silenceRequest names what nobody is to be told of, or is again.
type silenceRequest struct {
	Name string        `json:"name"`
	Span time.Duration `json:"span_nanoseconds"`
}

// controlAlerts adds to the control socket what the alerts commands ask for.
func (r *relay) controlAlerts(mux *http.ServeMux) {
	mux.HandleFunc("GET /alerts", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, r.alerts.Status()) })
	mux.HandleFunc("POST /alerts/silence", answers(func(_ context.Context, in silenceRequest) ([]string, error) {
		return r.alerts.Silence(in.Name, in.Span)
	}))
	mux.HandleFunc("POST /alerts/unsilence", answers(func(_ context.Context, in silenceRequest) ([]string, error) {
		return r.alerts.Unsilence(in.Name)
	}))
	mux.HandleFunc("POST /alerts/test", answers(func(ctx context.Context, in forgetRequest) ([]alert.Tested, error) {
		return r.alerts.Test(ctx, in.Name)
	}))
}

// answers serves a request that is answered with what do returns.
func answers[In, Out any](do func(context.Context, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		var in In
		var out Out
		err := json.NewDecoder(io.LimitReader(req.Body, 4096)).Decode(&in)
		if err == nil {
			out, err = do(req.Context(), in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		writeJSON(w, out)
	}
}
