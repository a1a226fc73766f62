package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/line"
	"github.com/rpicluster/vitals/internal/spool"
	"github.com/rpicluster/vitals/relay/alert"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/connections"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/influxql"
	"github.com/rpicluster/vitals/relay/ingest"
	"github.com/rpicluster/vitals/relay/join"
	"github.com/rpicluster/vitals/relay/metrics"
	"github.com/rpicluster/vitals/relay/provision"
	"github.com/rpicluster/vitals/relay/query"
	"github.com/rpicluster/vitals/relay/queue"
	"github.com/rpicluster/vitals/relay/web"
)

// relay is the program's parts.
//
//	HTTP ─► ingest (asks auth) ─► queue ─► deliver (one each) ─► InfluxDB
//	  │        └─────► fleet          └─ provision ─►
//	  └──► web ◄────────┴──► alert ─► webhooks, commands, queue
type relay struct {
	config    *config.Config // with which it began
	path      string         // of the node file, as given
	log       *slog.Logger
	id        string // of this run; deliveries carry it
	started   time.Time
	queue     queue.Queue
	commits   metrics.Histogram // how long they took
	acks      metrics.Histogram // how long writes waited for them
	databases *provision.Databases
	fleet     *fleet.View
	guard     *auth.Guard
	alerts    *alert.Engine
	pages     http.Handler // the page and the API
	// certificates are the listener's; nil: it speaks plain HTTP.
	certificates *auth.Certificates
	door         *ingest.Handler
	invites      *join.Invites
	joins        *join.Handler
	listening    net.Addr // where the door is
	connections  *connections.Limiter
	queries      *query.Proxy // nil: none is passed on

	work     sync.WaitGroup // what runs besides serving requests and delivering
	stopping chan struct{}  // closed when no more requests are taken

	// reloading is held during a reload; it comes before mu.
	reloading sync.Mutex
	closed    bool     // no reload any more
	alerting  alerting // what the alerts go by

	mu           sync.Mutex
	destinations []*destination  // in the order of the node file
	pending      []pending       // configured, and not made yet
	left         map[string]left // of unconfigured destinations, where it is known
	refused      string          // why the node file was not read again; empty: it was
}

// open opens the queue and builds every part; nothing works yet.
func open(c *config.Config, log *slog.Logger) (*relay, error) {
	r := &relay{config: c, log: log, id: rand.Text(), started: time.Now(), stopping: make(chan struct{})}
	if err := os.MkdirAll(c.DataDirectory, 0o750); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; set data_directory below [relay] to one that can be written", err)
	}
	var err error
	if r.databases, err = provision.OpenDatabases(filepath.Join(c.DataDirectory, "databases.json"), r.ownDatabase(), log); err != nil {
		return nil, err
	}
	if r.queue, err = queue.OpenFiles(r.spool()); err != nil {
		return nil, fmt.Errorf("open the queue in %s: %w", c.DataDirectory, err)
	}
	r.fleet = fleet.New(fleet.Config{
		LateAfter: c.Fleet.LateAfter.Std(), DownAfter: c.Fleet.DownAfter.Std(), ForgetAfter: c.Fleet.ForgetAfter.Std(),
		MaxNodes: c.Fleet.MaxNodes, History: c.Fleet.History.Std(), HistoryBytes: int64(c.Fleet.HistoryBytes),
		Directory: c.DataDirectory, Version: version, Logger: log,
	})
	r.guard = auth.New(auth.Config{
		Mode: auth.Mode(c.Auth.Mode), NodeCheck: auth.NodeCheck(c.Auth.NodeCheck), Directory: c.DataDirectory,
		Limits: auth.Limits{Bytes: int64(c.Auth.MaxBytes), Lines: c.Auth.MaxLines, Series: c.Auth.MaxSeries},
		Now:    time.Now, Logger: log,
	})
	r.invites = join.OpenInvites(c.DataDirectory, time.Now)
	if err := r.readLeft(); err != nil {
		return nil, errors.Join(fmt.Errorf("look for destinations that are not configured: %w", err), r.queue.Close())
	}
	if err := r.build(); err != nil {
		r.queue.Close()
		return nil, err
	}
	return r, nil
}

// build makes the destinations and the door.
func (r *relay) build() error {
	for _, c := range r.config.Destinations {
		client, err := r.newClient(c)
		if err != nil {
			return fmt.Errorf("destination %q: %w", c.Name, err)
		}
		d, err := r.newDestination(c, client, nil)
		if err != nil {
			client.Close()
			r.wait(c, err)
			continue
		}
		r.destinations = append(r.destinations, d)
	}
	var err error
	if r.alerts, err = r.newAlerts(); err != nil {
		return err
	}
	pages, err := web.New(r.web())
	if err != nil {
		return err
	}
	r.joins = r.newJoins()
	r.pages, r.door = pages, r.newDoor(r.joins.Before(r.protected(pages)))
	return nil
}

func (r *relay) newDoor(pages http.Handler) *ingest.Handler {
	l, d := &r.config.Limits, &r.config.Door
	c := ingest.Config{
		Queue: r.queue, Databases: r.databases, Fleet: r.fleet, Guard: r.guard, Next: pages, ID: r.id, Logger: r.log, Ready: r.ready,
		Acked: r.acks.Observe, Crowded: connections.Crowded,
		Versions: ingest.Versions{V1: d.Version1, V2: d.Version2, V3: d.Version3, Shared: d.AnswerAs},
		MaxBody:  int64(l.MaxBody), MaxCompressedBody: int64(l.MaxCompressedBody), MaxInFlight: int64(l.MaxInFlight), MaxRatio: int64(l.MaxRatio),
		Lines:   line.Limits{Line: int(l.MaxLine), Tags: l.MaxTags, Fields: l.MaxFields, Key: int(l.MaxKey), TagValue: int(l.MaxTagValue)},
		MinRate: int64(l.MinRate), Patience: l.BodySilence.Std(), BodyTimeout: l.BodyTimeout.Std(),
	}
	if q := &r.config.Query; q.URL != "" {
		r.queries = query.New(query.Config{
			URL: q.URL, Username: q.Username, Password: q.Password, Token: q.Token, ForwardCredentials: q.ForwardCredentials,
			Timeout: q.Timeout.Std(), MaxConcurrent: q.MaxConcurrent, MaxAnswer: int64(q.MaxAnswer), TLS: q.TLS(),
			Headers: map[string]string{ingest.IDHeader: r.id},
		})
		c.Queries, c.AllowWrites = r.queries, q.AllowWrites
	}
	return ingest.New(c)
}

func (r *relay) spool() spool.Config {
	q := r.config.Queue
	return spool.Config{
		Directory: filepath.Join(r.config.DataDirectory, "queue"),
		MaxBytes:  int64(q.MaxBytes), DropOldest: q.WhenFull == "drop_oldest", MinFreeBytes: int64(q.MinFreeBytes),
		CommitDelay: q.CommitDelay.Std(), KeptBytes: int64(q.KeptBytes), KeptAge: q.KeptAge.Std(), Committed: r.commits.Observe, Logger: r.log,
	}
}

// policy is the retention policy that the relay provisions.
func (r *relay) policy() influxql.Policy {
	p := r.config.Provision
	return influxql.Policy{Name: p.RetentionPolicy, Duration: p.Duration.Std(), Replication: p.Replication, Default: p.Default}
}

// ownDatabase is what the relay provisions by itself.
func (r *relay) ownDatabase() influxql.Statement {
	p := r.config.Provision
	if !p.Enabled {
		return influxql.Statement{}
	}
	return influxql.Statement{Kind: influxql.CreateDatabase, Database: p.Prefix + p.Database, Policy: r.policy()}
}

// start lets everything work but the door. What it starts ends with ctx.
func (r *relay) start(ctx context.Context) {
	r.work.Go(func() {
		r.fleet.Run(ctx, func(ctx context.Context, fn func(fleet.Write) error) error {
			return r.queue.Kept(ctx, func(b *queue.Batch) error {
				return fn(fleet.Write{Body: b.Body, Lines: b.Lines, Received: b.Received, Unit: units[b.Target.Precision]})
			})
		})
	})
	r.work.Go(func() { r.guard.Run(ctx) })
	r.work.Go(func() { r.joins.Run(ctx) })
	r.work.Go(func() { r.writeSelf(ctx) })
	r.work.Go(func() { r.alerts.Run(ctx) })
	r.work.Go(func() { r.keepAdding(ctx) })
	for _, d := range r.all() {
		d.start(ctx)
	}
}

// units are the units of timestamps in the queue.
var units = map[string]time.Duration{"ns": time.Nanosecond, "us": time.Microsecond, "ms": time.Millisecond, "s": time.Second}

// close closes the queue after everything that reads it has ended.
func (r *relay) close() error {
	r.reloading.Lock()
	r.closed = true
	r.reloading.Unlock()
	r.work.Wait()
	for _, d := range r.all() {
		d.stop()
	}
	if r.queries != nil {
		r.queries.Close()
	}
	if err := r.writeLeft(); err != nil {
		r.log.Warn("what the destinations have not got cannot be noted", "error", err)
	}
	return r.queue.Close()
}

// status is how the relay is doing.
func (r *relay) status() web.Status {
	return web.Status{
		Version: version, Started: r.started, UptimeSeconds: time.Since(r.started).Seconds(),
		Listen: r.config.Listen, Pin: r.pin(), DataDirectory: r.config.DataDirectory, Refusing: r.nobody(), Alarms: r.alarms(), Notes: r.notes(),
		Destinations: r.destinationStatus(), Nodes: fleet.Count(r.fleet.Nodes()), Fleet: r.fleet.Stats(),
		Auth: r.guard.Status(), Ingest: r.door.Stats(), Queue: r.queue.Stats(), Connections: r.connections.Stats(),
	}
}

func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usage("--log-level %q: must be error, warn, info or debug", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
