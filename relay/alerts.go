package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/alert"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/queue"
)

// newAlerts makes the alerts of the node file, and whom they are told to.
func (r *relay) newAlerts() (*alert.Engine, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	c := alert.Config{
		Rules: r.config.Alerts, Nodes: r.fleet.Nodes, Destinations: r.destinationStatus, ForgetAfter: r.config.Fleet.ForgetAfter.Std(),
		Directory: r.config.DataDirectory, Relay: host, Now: time.Now, Logger: r.log,
	}
	lines := config.AlertTarget{Name: config.LineTarget, Kind: config.LineTarget, Enabled: r.linesHaveADatabase()}
	for _, t := range r.config.AlertTargets {
		if t.Kind == config.LineTarget {
			lines = t
			continue
		}
		if !t.Enabled {
			continue
		}
		made, err := newTarget(&t)
		if err != nil {
			return nil, err
		}
		c.Targets = append(c.Targets, made)
	}
	if lines.Enabled {
		c.Targets = append(c.Targets, alert.Target{Name: lines.Name, Kind: lines.Kind, Sender: alert.Lines{Write: r.alertLines(lines.Database)}, Always: true})
	}
	return alert.New(c)
}

func newTarget(t *config.AlertTarget) (alert.Target, error) {
	made := alert.Target{Name: t.Name, Kind: t.Kind, Quiet: t.Hours}
	for _, text := range t.Alerts {
		g, err := glob.Compile(text)
		if err != nil {
			return made, err
		}
		made.Alerts = append(made.Alerts, g)
	}
	if t.Kind == config.CommandTarget {
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
func (r *relay) linesHaveADatabase() bool {
	own := r.ownDatabase().Database
	for _, d := range r.config.Destinations {
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
