package output

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/rpicluster/vitals/internal/influx"
)

// rejecter takes lines that will never be stored.
type rejecter func(lines []byte, n int, reason string)

func newDestination(c Config, reject rejecter) (destination, error) {
	switch c.Name {
	case "influxdb", "influxdb_v2":
		return newInflux(c, reject)
	case "file":
		return newFiles(c), nil
	case "discard":
		return discard{}, nil
	}
	return nil, fmt.Errorf("there is no output %q", c.Name)
}

// server is an InfluxDB or something that answers like one.
type server struct {
	client  *influx.Client
	reject  rejecter
	route   route
	log     *slog.Logger
	create  bool        // the database, before the first write
	tried   atomic.Bool // to create it
	senders map[lane]*influx.Sender
	split   *split // the batch that is being sent, if it goes several ways
}

var _ destination = (*server)(nil)

func newInflux(c Config, reject rejecter) (*server, error) {
	settings := influx.Config{
		URLs: c.URLs, Version: 1, Timeout: c.Timeout, UserAgent: c.UserAgent, Headers: c.Headers,
		Username: c.Username, Password: c.Password, Consistency: c.Consistency, Identity: c.Identity,
		Unknown: "name the authority's file as tls_ca, or the server's key as tls_pin",
		Proxy:   http.ProxyFromEnvironment, Local: c.Local, PingAfter: c.PingAfter, PingTimeout: c.PingTimeout,
	}
	if c.Output.UserAgent != "" {
		settings.UserAgent = c.Output.UserAgent
	}
	if c.Proxy != nil {
		settings.Proxy = http.ProxyURL(c.Proxy)
	}
	var err error
	if settings.TLS, err = c.TLS.Config(); err != nil {
		return nil, err
	}
	s := &server{reject: reject, route: newRoute(c.Output), log: c.Logger, senders: map[lane]*influx.Sender{}}
	if c.Name == "influxdb_v2" {
		settings.Version, settings.Token, settings.Organization = 2, c.Token, c.Organization
	} else {
		s.create = !c.SkipDatabaseCreation
	}
	if s.client, err = influx.NewClient(settings); err != nil {
		return nil, err
	}
	return s, nil
}

// sender returns the one that keeps to a lane, and so knows what it has found
// out about the lines of an unfinished batch.
func (s *server) sender(l lane) *influx.Sender {
	if known := s.senders[l]; known != nil {
		return known
	}
	sender := &influx.Sender{
		Client: s.client, Logger: s.log,
		FixedDatabase: s.route.database.Tag == "", FixedPolicy: s.route.policy.Tag == "",
		Rejected: func(_ influx.Target, lines []byte, reason string) error {
			s.reject(lines, bytes.Count(lines, []byte("\n")), reason)
			return nil
		},
	}
	if s.create {
		sender.CreateDatabase = s.createDatabase
	}
	s.senders[l] = sender
	return sender
}

// deliver makes one attempt. The database is created before the first, as
// Telegraf does; that this fails is worth no more than a warning, for the user
// may lack the right to it and the database be there.
func (s *server) deliver(ctx context.Context, b batch, state *influx.Backoff) error {
	if s.create && !s.tried.Load() {
		switch err := s.createDatabase(ctx, s.route.fallback.Database); {
		case err == nil:
			s.tried.Store(true)
		case ctx.Err() == nil && s.client.Ping(ctx) == nil:
			s.tried.Store(true) // it answers, so asking again is of no use
			s.log.Warn("the database was not created", "database", s.route.fallback.Database, "error", err)
		}
	}
	if s.route.straight() {
		l := lane{Target: s.route.fallback}
		return s.sender(l).Deliver(ctx, l.Target, influx.Batch{Body: b.body, Lines: b.lines, Suspect: state.Suspect(), TooSlow: state.TooSlow()})
	}
	return s.deliverSplit(ctx, b, state)
}

func (s *server) createDatabase(ctx context.Context, name string) error {
	_, err := s.client.Query(ctx, "CREATE DATABASE "+quote(name))
	return err
}

// quote makes an InfluxQL identifier.
func quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

func (s *server) url() string { return s.client.URL() }

func (s *server) sent() int64 { return s.client.Sent() }

func (s *server) close() { s.client.Close() }

// discard takes everything and keeps nothing.
type discard struct{}

var _ destination = discard{}

func (discard) deliver(context.Context, batch, *influx.Backoff) error { return nil }

func (discard) url() string { return "nowhere" }

func (discard) sent() int64 { return 0 }

func (discard) close() {}
