package output

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
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
		return newFiles(c.Files), nil
	}
	return nil, fmt.Errorf("there is no output %q", c.Name)
}

// server is an InfluxDB or something that answers like one.
type server struct {
	client *influx.Client
	sender influx.Sender
	target influx.Target
	log    *slog.Logger
	create bool        // the database, before the first write
	tried  atomic.Bool // to create it
}

var _ destination = (*server)(nil)

func newInflux(c Config, reject rejecter) (*server, error) {
	settings := influx.Config{
		URLs: c.URLs, Version: 1, Timeout: c.Timeout, UserAgent: c.UserAgent, Headers: c.Headers,
		Username: c.Username, Password: c.Password,
	}
	if c.Output.UserAgent != "" {
		settings.UserAgent = c.Output.UserAgent
	}
	if c.SkipVerify {
		settings.TLS = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // asked for
	}
	s := &server{target: influx.Target{Database: c.Database, RetentionPolicy: c.RetentionPolicy}, log: c.Logger}
	if c.Name == "influxdb_v2" {
		settings.Version = 2
		settings.Token, settings.Organization, settings.Bucket = c.Token, c.Organization, c.Bucket
	} else {
		s.create = !c.SkipDatabaseCreation
	}
	client, err := influx.NewClient(settings)
	if err != nil {
		return nil, err
	}
	s.client = client
	s.sender = influx.Sender{
		Client: client, Logger: c.Logger,
		Rejected: func(_ influx.Target, lines []byte, reason string) error {
			reject(lines, bytes.Count(lines, []byte("\n")), reason)
			return nil
		},
	}
	if s.create {
		s.sender.CreateDatabase = s.createDatabase
	}
	return s, nil
}

// deliver makes one attempt. The database is created before the first, as
// Telegraf does; that this fails is worth no more than a warning, for the user
// may lack the right to it and the database be there.
func (s *server) deliver(ctx context.Context, b batch, state *influx.Backoff) error {
	if s.create && !s.tried.Load() {
		switch err := s.createDatabase(ctx, s.target.Database); {
		case err == nil:
			s.tried.Store(true)
		case ctx.Err() == nil && s.client.Ping(ctx) == nil:
			s.tried.Store(true) // it answers, so asking again is of no use
			s.log.Warn("the database was not created", "database", s.target.Database, "error", err)
		}
	}
	return s.sender.Deliver(ctx, s.target, influx.Batch{Body: b.body, Lines: b.lines, Suspect: state.Suspect(), TooSlow: state.TooSlow()})
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

func (s *server) close() { s.client.Close() }
