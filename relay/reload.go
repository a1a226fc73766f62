package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/rpicluster/vitals/internal/control"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/config"
)

// changes are what a reload has done.
type changes struct {
	Kept    []string `json:"kept"`
	Added   []string `json:"added"`
	Changed []string `json:"changed"`
	Removed []string `json:"removed"`
	// Waiting names those for which the disk has no place yet.
	Waiting []string `json:"waiting"`
	// Alerts names the rules and targets that came, changed or went.
	Alerts []string `json:"alerts"`
	// Restart names what has changed in the file and needs a restart.
	Restart []string `json:"needs_restart"`
}

// reload reads the node file again. A mistake in it changes nothing. What it
// starts ends with ctx.
func (r *relay) reload(ctx context.Context) (*changes, error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	if r.closed || ctx.Err() != nil {
		return nil, errors.New("the relay stops")
	}
	done, err := r.tryReload(ctx)
	r.mu.Lock()
	r.refused = ""
	if err != nil {
		r.refused = err.Error()
	}
	r.mu.Unlock()
	if err != nil {
		r.log.Error("the node file is not read again; everything goes on as it was", "error", err)
		return nil, err
	}
	r.log.Info("the node file was read again", "kept", done.Kept, "added", done.Added, "changed", done.Changed, "removed", done.Removed, "waiting", done.Waiting, "alerts", done.Alerts)
	if len(done.Restart) > 0 {
		r.log.Warn("what has changed in the node file needs a restart", "options", done.Restart)
	}
	return done, nil
}

// tryReload checks everything before it touches anything.
func (r *relay) tryReload(ctx context.Context) (*changes, error) {
	c, err := config.Load(config.Find(r.path))
	if err != nil {
		return nil, err
	}
	clients := map[string]*influx.Client{}
	for _, d := range c.Destinations {
		if clients[d.Name], err = r.newClient(d); err != nil {
			return nil, fmt.Errorf("destination %q: %w", d.Name, err)
		}
	}
	alerts := r.alertingOf(c)
	targets, err := r.newTargets(alerts.targets)
	if err != nil {
		return nil, err
	}
	if err := r.reloadSecrets(); err != nil {
		return nil, err
	}
	done := &changes{Restart: r.needsRestart(c)}
	err = r.replace(ctx, c.Destinations, clients, done)
	return done, errors.Join(err, r.changeAlerts(alerts, targets, done))
}

// reloadSecrets reads what else is in files: tokens, and certificates of the
// listener. Limits of clients that can change at run time belong here, too.
func (r *relay) reloadSecrets() error {
	if err := r.guard.Reload(); err != nil && auth.Mode(r.config.Auth.Mode) != auth.Off {
		return fmt.Errorf("read the tokens again: %w", err)
	}
	if r.certificates == nil {
		return nil
	}
	if err := r.certificates.Load(); err != nil {
		return fmt.Errorf("read the certificates again: %w", err)
	}
	return nil
}

// needsRestart names the options that differ from those that the relay began
// with and that cannot change while it runs.
func (r *relay) needsRestart(c *config.Config) (names []string) {
	was, is := reflect.ValueOf(*r.config), reflect.ValueOf(*c)
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		if slices.Contains([]string{"Path", "Warnings", "Destinations", "Alerts", "AlertTargets"}, name) {
			continue
		}
		if !reflect.DeepEqual(was.Field(i).Interface(), is.Field(i).Interface()) {
			names = append(names, optionOf(name))
		}
	}
	return names
}

// optionOf is the option, or the table, that fills a field of config.Config.
func optionOf(field string) string {
	if field == "DataDirectory" {
		return "relay.data_directory"
	}
	return "relay." + strings.ToLower(field)
}

// replace puts the destinations of the node file in the place of those there
// are. One that is what it was goes on; a changed one is stopped and begins
// again with what it has not passed.
func (r *relay) replace(ctx context.Context, wanted []config.Destination, clients map[string]*influx.Client, done *changes) error {
	old := r.all()
	var stopping sync.WaitGroup
	for _, d := range old {
		i := slices.IndexFunc(wanted, func(c config.Destination) bool { return c.Name == d.name })
		switch {
		case i < 0:
			done.Removed = append(done.Removed, d.name)
		case reflect.DeepEqual(wanted[i], d.config):
			done.Kept = append(done.Kept, d.name)
			continue
		default:
			done.Changed = append(done.Changed, d.name)
		}
		stopping.Go(d.stop)
	}
	stopping.Wait()
	var list []*destination
	var errs []error
	r.mu.Lock()
	r.pending = nil // they are among those that are wanted, or no longer so
	r.mu.Unlock()
	for _, name := range done.Removed {
		errs = append(errs, r.leave(named(old, name)))
	}
	for _, c := range wanted {
		before := named(old, c.Name)
		if slices.Contains(done.Kept, c.Name) {
			list = append(list, before)
			continue
		}
		d, err := r.newDestination(c, clients[c.Name], before)
		if err != nil { // the disk's; an alarm says so
			r.wait(c, err)
			done.Waiting = append(done.Waiting, c.Name)
			continue
		}
		if before == nil {
			done.Added = append(done.Added, c.Name)
		}
		d.start(ctx)
		list = append(list, d)
	}
	r.mu.Lock()
	r.destinations = list
	r.mu.Unlock()
	return errors.Join(errs...)
}

// leave lets go of a destination that is no longer configured: what it has not
// got stays, and if that is nothing it is forgotten.
func (r *relay) leave(d *destination) error {
	if err := d.reader.Close(); err != nil {
		return fmt.Errorf("close the destination %q: %w", d.name, err)
	}
	b := d.Status().Backlog
	if b.Bytes == 0 {
		return r.queue.Forget(d.name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left[d.name] = left{b.Lines, b.Bytes}
	return nil
}

// hangups reloads at every SIGHUP until ctx ends.
func (r *relay) hangups(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
			_, _ = r.reload(ctx) // which says itself how it went
		case <-ctx.Done():
			return
		}
	}
}

// serveReload serves the subcommand.
func (r *relay) serveReload(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		done, err := r.reload(ctx)
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		writeJSON(w, done)
	}
}

// askReload has the running relay read its node file again.
func askReload(ctx context.Context, stdout io.Writer, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	var done changes
	if err := control.Post(ctx, "relay", "/reload", nil, &done); err != nil {
		return fmt.Errorf("%w\neverything goes on as it was", err)
	}
	if asJSON {
		return indent(stdout, done)
	}
	parts := []string{fmt.Sprintf("%d kept", len(done.Kept))}
	for _, p := range []struct {
		what  string
		names []string
	}{{"added", done.Added}, {"changed", done.Changed}, {"removed", done.Removed}, {"waiting for the disk", done.Waiting}} {
		if len(p.names) > 0 {
			parts = append(parts, p.what+" "+strings.Join(p.names, ", "))
		}
	}
	fmt.Fprintln(stdout, "destinations:", strings.Join(parts, ", "))
	if len(done.Alerts) > 0 {
		fmt.Fprintln(stdout, "alerts: changed", strings.Join(done.Alerts, ", "))
	}
	if len(done.Restart) > 0 {
		fmt.Fprintln(stdout, "changed, but in effect only after a restart:", strings.Join(done.Restart, ", "))
	}
	return nil
}
