// Package provision makes the databases and retention policies that the lines
// of a cluster need on an InfluxDB 1.x, whenever that one comes up.
package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/influxql"
)

// Server runs a statement of InfluxQL.
type Server interface {
	Query(ctx context.Context, statement string) ([]influx.Series, error)
}

// Config says what one destination shall have.
type Config struct {
	Destination string
	Server      Server
	// Enabled: make Database with Policy. Any other database is somebody
	// else's: it is made as clients ask for it, and never touched again.
	Enabled  bool
	Database string
	Policy   influxql.Policy
	// Wants tells whether the destination gets what is for a database; nil: it
	// gets all.
	Wants func(database string) bool
	// Redirected: all lines go to Database whatever they are addressed to, so
	// nothing that clients ask for is needed.
	Redirected bool
	Databases  *Databases
	Logger     *slog.Logger
}

// Provisioner makes what one destination needs.
type Provisioner struct {
	config Config

	mu    sync.Mutex
	trial string // what cannot be done at present; empty if all is well
}

// New makes a provisioner. Run lets it work.
func New(config Config) *Provisioner { return &Provisioner{config: config} }

// Trouble is what cannot be done at present, or "".
func (p *Provisioner) Trouble() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trial
}

// Run makes the database, then whatever clients ask for, until ctx ends. What
// fails is tried again: the server may not be up yet.
func (p *Provisioner) Run(ctx context.Context) {
	var backoff influx.Backoff
	ensured := !p.config.Enabled
	for ctx.Err() == nil {
		todo, changed := p.config.Databases.pending(p.config.Destination)
		var err error
		if !ensured {
			err = p.Ensure(ctx, p.config.Database)
			ensured = err == nil
		}
		if err == nil {
			err = p.carryOut(ctx, todo)
		}
		p.report(ctx, err)
		if err == nil {
			backoff.Reset()
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Next(err)):
		}
	}
}

// report logs when provisioning begins to fail, fails differently, or works
// again.
func (p *Provisioner) report(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	p.mu.Lock()
	before := p.trial
	p.trial = text
	p.mu.Unlock()
	switch {
	case text == before || ctx.Err() != nil:
	case err != nil:
		p.config.Logger.Warn("provisioning waits", "destination", p.config.Destination, "error", err)
	default:
		p.config.Logger.Info("provisioning works again", "destination", p.config.Destination)
	}
}

// carryOut carries out what clients have asked for, in their order. One that
// fails keeps none of the others from being tried.
func (p *Provisioner) carryOut(ctx context.Context, todo []influxql.Statement) error {
	var first error
	for _, s := range todo {
		err := p.one(ctx, s)
		if err != nil {
			err = fmt.Errorf("%s: %w", s, err)
		} else if err = p.config.Databases.done(p.config.Destination, s); err != nil {
			err = fmt.Errorf("remember that %s is done: %w", s, err)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (p *Provisioner) one(ctx context.Context, s influxql.Statement) error {
	if p.config.Redirected || p.config.Wants != nil && !p.config.Wants(s.Database) {
		return nil
	}
	if s.Kind == influxql.CreateDatabase && s.Policy == (influxql.Policy{}) {
		return p.Create(ctx, s.Database)
	}
	_, err := p.config.Server.Query(ctx, s.String())
	if err != nil && conflicts(err) {
		p.config.Logger.Warn("the destination will not do what a client asked for; what it has stays as it is",
			"destination", p.config.Destination, "statement", s.String(), "error", err)
		return nil
	}
	return err
}

// conflicts reports whether the server will never carry the statement out.
func conflicts(err error) bool {
	return strings.Contains(err.Error(), "already exists") || strings.HasSuffix(err.Error(), "invalid name") || strings.Contains(err.Error(), "conflicts with an existing policy")
}

// Create makes a database that a client asked for or wrote to: the relay's own
// with its policy, any other as InfluxDB makes it by itself. Another one that
// exists stays as it is: a new default policy would hide what it holds. It may
// be called at any time, from anywhere.
func (p *Provisioner) Create(ctx context.Context, database string) error {
	if p.config.Enabled && database == p.config.Database {
		return p.Ensure(ctx, database)
	}
	return p.run(ctx, influxql.Statement{Kind: influxql.CreateDatabase, Database: database}.String())
}

// Complete makes what a write to database lacks: the database itself, and the
// retention policies that clients have asked for in it and that wait for their
// turn.
func (p *Provisioner) Complete(ctx context.Context, database string) error {
	if err := p.Create(ctx, database); err != nil {
		return err
	}
	todo, _ := p.config.Databases.pending(p.config.Destination)
	return p.carryOut(ctx, slices.DeleteFunc(todo, func(s influxql.Statement) bool {
		return s.Kind != influxql.CreatePolicy || s.Database != database
	}))
}

// Ensure makes the relay's own database with the policy. What exists is left
// alone, except that a policy of that name gets the duration, replication and default that
// are asked for. It may be called at any time, from anywhere.
func (p *Provisioner) Ensure(ctx context.Context, database string) error {
	exists, err := p.Exists(ctx, database)
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	if !exists {
		create := influxql.Statement{Kind: influxql.CreateDatabase, Database: database}
		if p.config.Policy.Default {
			create.Policy = p.config.Policy // with the database, so that it gets no other
		}
		if err := p.run(ctx, create.String()); err != nil {
			return err
		}
	}
	return p.ensurePolicy(ctx, database)
}

// Exists reports whether the server has a database.
func (p *Provisioner) Exists(ctx context.Context, database string) (bool, error) {
	list, err := p.config.Server.Query(ctx, influxql.Statement{Kind: influxql.ShowDatabases}.String())
	if err != nil {
		return false, err
	}
	for _, s := range list {
		for _, row := range s.Values {
			if len(row) > 0 && row[0] == database {
				return true, nil
			}
		}
	}
	return false, nil
}

func (p *Provisioner) ensurePolicy(ctx context.Context, database string) error {
	list, err := p.config.Server.Query(ctx, influxql.Statement{Kind: influxql.ShowPolicies, Database: database}.String())
	if err != nil {
		return fmt.Errorf("list retention policies of %q: %w", database, err)
	}
	want := p.config.Policy
	have, ok := find(list, want.Name)
	switch {
	case !ok:
		return p.run(ctx, influxql.Statement{Kind: influxql.CreatePolicy, Database: database, Policy: want}.String())
	case have.Duration != want.Duration || have.Replication != want.Replication || want.Default && !have.Default:
		return p.run(ctx, influxql.Alter(database, want))
	}
	return nil
}

// run carries out a statement that changes something, and says so.
func (p *Provisioner) run(ctx context.Context, statement string) error {
	if _, err := p.config.Server.Query(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	p.config.Logger.Info("provisioned", "destination", p.config.Destination, "statement", statement)
	return nil
}

// find reads a policy out of what SHOW RETENTION POLICIES answers.
func find(list []influx.Series, name string) (p influxql.Policy, ok bool) {
	for _, s := range list {
		for _, row := range s.Values {
			fields := map[string]any{}
			for i, column := range s.Columns {
				if i < len(row) {
					fields[column] = row[i]
				}
			}
			if fields["name"] != name {
				continue
			}
			p.Name = name
			if text, isText := fields["duration"].(string); isText {
				p.Duration, _ = time.ParseDuration(text)
			}
			p.Replication = integer(fields["replicaN"])
			p.Default, _ = fields["default"].(bool)
			return p, true
		}
	}
	return p, false
}

func integer(v any) int {
	switch v := v.(type) {
	case float64:
		return int(v)
	case json.Number:
		n, _ := v.Int64()
		return int(n)
	}
	return 0
}
