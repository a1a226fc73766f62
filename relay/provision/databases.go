package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/relay/influxql"
)

// maxRemembered bounds the statements of clients: names are cheap to invent.
const maxRemembered = 1000

// Databases remembers which databases and retention policies clients asked
// for, until every destination has them.
type Databases struct {
	path string
	own  influxql.Statement // what the relay itself provisions, to be listed

	mu         sync.Mutex
	remembered []remembered
	changed    chan struct{} // closed at the next change
}

// remembered is a statement and the destinations that have carried it out.
type remembered struct {
	Text string   `json:"statement"`
	Done []string `json:"done,omitempty"`

	statement influxql.Statement
}

// OpenDatabases reads what is remembered at path. own is the database that the
// relay provisions by itself; it is listed with the others. A damaged file is
// set aside: clients ask again.
func OpenDatabases(path string, own influxql.Statement, logger *slog.Logger) (*Databases, error) {
	d := &Databases{path: path, own: own, changed: make(chan struct{})}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read remembered databases: %w", err)
	}
	var file struct{ Statements []remembered }
	if err := json.Unmarshal(data, &file); err != nil {
		logger.Warn("the list of databases that clients asked for is damaged and was set aside", "file", path+".damaged", "error", err)
		return d, os.Rename(path, path+".damaged")
	}
	for _, r := range file.Statements {
		if s, err := influxql.Parse(r.Text); err == nil && len(s) == 1 {
			r.statement = s[0]
			d.remembered = append(d.remembered, r)
		}
	}
	return d, nil
}

// Create remembers a CREATE statement, durably, for every destination. One
// that was carried out before is carried out again: the database may have been
// dropped since.
func (d *Databases) Create(s influxql.Statement) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := s.String()
	i := slices.IndexFunc(d.remembered, func(r remembered) bool { return r.Text == text })
	switch {
	case i >= 0 && len(d.remembered[i].Done) == 0:
		return nil
	case i >= 0:
		d.remembered[i].Done = nil
	case len(d.remembered) >= maxRemembered:
		return fmt.Errorf("relay: %d databases and retention policies were asked for already, which is as many as it remembers", maxRemembered)
	default:
		d.remembered = append(d.remembered, remembered{Text: text, statement: s})
	}
	if err := d.save(); err != nil {
		if i < 0 {
			d.remembered = d.remembered[:len(d.remembered)-1]
		}
		return fmt.Errorf("relay: remember the statement: %w", err)
	}
	close(d.changed)
	d.changed = make(chan struct{})
	return nil
}

// pending is what a destination has still to carry out, and a channel that
// closes when there is more.
func (d *Databases) pending(destination string) ([]influxql.Statement, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var todo []influxql.Statement
	for _, r := range d.remembered {
		if !slices.Contains(r.Done, destination) {
			todo = append(todo, r.statement)
		}
	}
	return todo, d.changed
}

// done notes that a destination has carried out s.
func (d *Databases) done(destination string, s influxql.Statement) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, r := range d.remembered {
		if r.statement == s && !slices.Contains(r.Done, destination) {
			d.remembered[i].Done = append(slices.Clone(r.Done), destination)
		}
	}
	return d.save()
}

// Names lists the databases that are known to the relay, sorted.
func (d *Databases) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, s := range d.statements() {
		if s.Kind == influxql.CreateDatabase {
			names = append(names, s.Database)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Policies lists the retention policies of a database that the relay knows.
func (d *Databases) Policies(database string) (policies []influxql.Policy, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.statements() {
		if s.Database != database {
			continue
		}
		p := s.Policy
		if s.Kind == influxql.CreateDatabase {
			ok, p.Default = true, true
			if p == (influxql.Policy{Default: true}) {
				p.Name, p.Replication = "autogen", 1
			}
		}
		if !slices.ContainsFunc(policies, func(q influxql.Policy) bool { return q.Name == p.Name }) {
			policies = append(policies, p)
		}
	}
	return policies, ok
}

func (d *Databases) statements() []influxql.Statement {
	var all []influxql.Statement
	if d.own.Database != "" {
		all = append(all, d.own)
	}
	for _, r := range d.remembered {
		all = append(all, r.statement)
	}
	return all
}

func (d *Databases) save() error {
	return durable.WriteJSON(d.path, map[string]any{"statements": d.remembered})
}
