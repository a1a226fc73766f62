package provision

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/influxql"
)

const year = 365 * 24 * time.Hour

var wanted = influxql.Policy{Name: "node_vitals_year_rp", Duration: year, Replication: 3, Default: true}

// lasting is what InfluxDB gives a database by itself.
var lasting = influxql.Policy{Name: "autogen", Replication: 1, Default: true}

// server understands what provisioning says, as InfluxDB does.
type server struct {
	mu        sync.Mutex
	fails     int // so many times, before it works
	databases map[string][]influxql.Policy
	changes   []string
	refuses   string // statements that hold this fail
}

func (s *server) Query(_ context.Context, text string) ([]influx.Series, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return nil, errors.New("connection refused")
	}
	alter := strings.HasPrefix(text, "ALTER")
	statements, err := influxql.Parse(strings.Replace(text, "ALTER", "CREATE", 1))
	if err != nil || len(statements) != 1 {
		return nil, err
	}
	st := statements[0]
	switch st.Kind {
	case influxql.ShowDatabases:
		list := influx.Series{Name: "databases", Columns: []string{"name"}}
		for name := range s.databases {
			list.Values = append(list.Values, []any{name})
		}
		return []influx.Series{list}, nil
	case influxql.ShowPolicies:
		list := influx.Series{Columns: []string{"name", "duration", "shardGroupDuration", "replicaN", "default"}}
		for _, p := range s.databases[st.Database] {
			list.Values = append(list.Values, []any{p.Name, p.Duration.String(), "168h0m0s", float64(p.Replication), p.Default})
		}
		return []influx.Series{list}, nil
	}
	s.changes = append(s.changes, text)
	if s.refuses != "" && strings.Contains(text, s.refuses) {
		return nil, errors.New("engine trouble")
	}
	if st.Kind == influxql.CreateDatabase {
		if _, exists := s.databases[st.Database]; exists && st.Policy.Name == "" {
			return nil, nil
		}
		if st.Policy.Name == "" {
			st.Policy = influxql.Policy{Name: "autogen", Replication: 1}
		}
		st.Policy.Default = true
		s.databases[st.Database] = []influxql.Policy{st.Policy}
		return nil, nil
	}
	policies := s.databases[st.Database]
	i := slices.IndexFunc(policies, func(p influxql.Policy) bool { return p.Name == st.Policy.Name })
	switch {
	case alter:
		policies[i] = st.Policy
	case i >= 0:
		return nil, errors.New("retention policy already exists")
	default:
		s.databases[st.Database] = append(policies, st.Policy)
	}
	return nil, nil
}

func (s *server) state() map[string][]influxql.Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.databases)
}

func newServer(databases map[string][]influxql.Policy) *server {
	if databases == nil {
		databases = map[string][]influxql.Policy{}
	}
	return &server{databases: databases}
}

func open(t *testing.T, dir string) *Databases {
	t.Helper()
	d, err := OpenDatabases(filepath.Join(dir, "databases.json"), influxql.Statement{Kind: influxql.CreateDatabase, Database: "node_vitals", Policy: wanted}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func provisioner(t *testing.T, s *server, d *Databases) *Provisioner {
	t.Helper()
	return New(Config{
		Destination: "near", Server: s, Enabled: true, Database: "node_vitals", Policy: wanted,
		Databases: d, Logger: slog.New(slog.DiscardHandler),
	})
}

func TestEnsure(t *testing.T) {
	other := wanted
	other.Duration = 24 * time.Hour
	quiet := wanted
	quiet.Default = false
	tests := []struct {
		name    string
		there   map[string][]influxql.Policy
		policy  influxql.Policy
		changes []string
	}{
		{"nothing there", nil, wanted, []string{
			`CREATE DATABASE "node_vitals" WITH DURATION 365d REPLICATION 3 NAME "node_vitals_year_rp"`}},
		{"all there", map[string][]influxql.Policy{"node_vitals": {wanted}}, wanted, nil},
		{"the database without the policy", map[string][]influxql.Policy{"node_vitals": {lasting}}, wanted, []string{
			`CREATE RETENTION POLICY "node_vitals_year_rp" ON "node_vitals" DURATION 365d REPLICATION 3 DEFAULT`}},
		{"another duration", map[string][]influxql.Policy{"node_vitals": {other}}, wanted, []string{
			`ALTER RETENTION POLICY "node_vitals_year_rp" ON "node_vitals" DURATION 365d REPLICATION 3 DEFAULT`}},
		{"not the default", map[string][]influxql.Policy{"node_vitals": {lasting, quiet}}, wanted, []string{
			`ALTER RETENTION POLICY "node_vitals_year_rp" ON "node_vitals" DURATION 365d REPLICATION 3 DEFAULT`}},
		{"it shall not be the default", nil, quiet, []string{
			`CREATE DATABASE "node_vitals"`, `CREATE RETENTION POLICY "node_vitals_year_rp" ON "node_vitals" DURATION 365d REPLICATION 3`}},
		{"default already, and need not be", map[string][]influxql.Policy{"node_vitals": {wanted}}, quiet, nil},
		{"for ever", nil, influxql.Policy{Name: "p", Replication: 1, Default: true}, []string{
			`CREATE DATABASE "node_vitals" WITH REPLICATION 1 NAME "p"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(tt.there)
			p := provisioner(t, s, open(t, t.TempDir()))
			p.config.Policy = tt.policy
			for range 2 { // the second time there is nothing to do
				if err := p.Ensure(t.Context(), "node_vitals"); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(tt.changes, s.changes); d != "" {
				t.Error(d)
			}
		})
	}
}

// run lets a provisioner work until done is true.
func run(t *testing.T, p *Provisioner, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to an end: %s", p.Trouble())
		}
	}
}

func TestRunWaitsForTheServer(t *testing.T) {
	s := newServer(nil)
	s.fails = 4
	p := provisioner(t, s, open(t, t.TempDir()))
	run(t, p, func() bool { return len(s.state()) == 1 && p.Trouble() == "" })
	if d := cmp.Diff([]influxql.Policy{wanted}, s.databases["node_vitals"]); d != "" {
		t.Error(d)
	}
}

func TestWhatClientsAskForIsMadeOnEveryDestination(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	statements, err := influxql.Parse(`CREATE DATABASE "telegraf"; CREATE DATABASE x WITH DURATION 1d REPLICATION 1 NAME "day"; CREATE RETENTION POLICY "week" ON "x" DURATION 1w REPLICATION 1`)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if err := d.Create(s); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string][]influxql.Policy{
		"node_vitals": {wanted}, "telegraf": {lasting},
		"x": {{Name: "day", Duration: 24 * time.Hour, Replication: 1, Default: true}, {Name: "week", Duration: 7 * 24 * time.Hour, Replication: 1}},
	}
	for _, destination := range []string{"near", "far"} {
		s := newServer(nil)
		p := provisioner(t, s, d)
		p.config.Destination = destination
		run(t, p, func() bool { todo, _ := d.pending(destination); return len(todo) == 0 })
		if diff := cmp.Diff(want, s.databases); diff != "" {
			t.Errorf("%s: %s", destination, diff)
		}
		d = open(t, dir) // it is remembered what is done
		if todo, _ := d.pending(destination); len(todo) != 0 {
			t.Errorf("%s: after a restart %v is to be done again", destination, todo)
		}
	}
	if todo, _ := d.pending("new"); len(todo) != 3 {
		t.Errorf("for a new destination: %v", todo)
	}
}

func TestDatabasesOfOthersAreLeftAlone(t *testing.T) {
	month := influxql.Policy{Name: "month", Duration: 30 * 24 * time.Hour, Replication: 1, Default: true}
	tests := []struct {
		name, database string
		there          []influxql.Policy
		want           []influxql.Policy
		changes        []string
	}{
		{"one that exists", "tele5", []influxql.Policy{month}, []influxql.Policy{month}, []string{`CREATE DATABASE "tele5"`}},
		{"one that is absent", "tele5", nil, []influxql.Policy{lasting}, []string{`CREATE DATABASE "tele5"`}},
		{"the relay's own", "node_vitals", nil, []influxql.Policy{wanted}, []string{
			`CREATE DATABASE "node_vitals" WITH DURATION 365d REPLICATION 3 NAME "node_vitals_year_rp"`}},
	}
	for _, tt := range tests {
		for _, asked := range []bool{true, false} { // else a write found it missing
			s := newServer(nil)
			if tt.there != nil {
				s.databases[tt.database] = tt.there
			}
			p := provisioner(t, s, open(t, t.TempDir()))
			create := p.Create
			if asked {
				create = func(ctx context.Context, name string) error {
					return p.one(ctx, influxql.Statement{Kind: influxql.CreateDatabase, Database: name})
				}
			}
			err := create(t.Context(), tt.database)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, s.databases[tt.database]); d != "" {
				t.Errorf("%s: %s", tt.name, d)
			}
			if d := cmp.Diff(tt.changes, s.changes[:1]); d != "" {
				t.Errorf("%s: %s", tt.name, d)
			}
		}
	}
}

func TestALateRequestWakesTheProvisioner(t *testing.T) {
	d, s := open(t, t.TempDir()), newServer(nil)
	p := provisioner(t, s, d)
	asked := false
	run(t, p, func() bool {
		state := len(s.state())
		if state == 1 && !asked {
			asked = true
			if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: "late"}); err != nil {
				t.Error(err)
			}
		}
		return state == 2
	})
}

func TestConflictsAreNotTriedForEver(t *testing.T) {
	d, s := open(t, t.TempDir()), newServer(map[string][]influxql.Policy{"node_vitals": {wanted}})
	mine := wanted
	mine.Duration = time.Hour
	if err := d.Create(influxql.Statement{Kind: influxql.CreatePolicy, Database: "node_vitals", Policy: mine}); err != nil {
		t.Fatal(err)
	}
	run(t, provisioner(t, s, d), func() bool { todo, _ := d.pending("near"); return len(todo) == 0 })
	if got := s.databases["node_vitals"][0].Duration; got != year {
		t.Errorf("the policy was changed to %s", got)
	}
}

func TestOneStatementThatFailsKeepsNoOtherFromBeingTried(t *testing.T) {
	d, s := open(t, t.TempDir()), newServer(nil)
	s.refuses = "first"
	for _, name := range []string{"first", "second"} {
		if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: name}); err != nil {
			t.Fatal(err)
		}
	}
	run(t, provisioner(t, s, d), func() bool { todo, _ := d.pending("near"); return len(todo) == 1 && todo[0].Database == "first" })
}

// A write that needs a policy must not have to wait for the turn of the
// statement that makes it.
func TestCompleteMakesThePoliciesThatWait(t *testing.T) {
	d, s := open(t, t.TempDir()), newServer(nil)
	raw := influxql.Policy{Name: "raw", Duration: 24 * time.Hour, Replication: 1}
	for _, database := range []string{"mine", "other"} {
		if err := d.Create(influxql.Statement{Kind: influxql.CreatePolicy, Database: database, Policy: raw}); err != nil {
			t.Fatal(err)
		}
	}
	if err := provisioner(t, s, d).Complete(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]influxql.Policy{"mine": {lasting, raw}}, s.databases); diff != "" {
		t.Error(diff)
	}
	if todo, _ := d.pending("near"); len(todo) != 1 || todo[0].Database != "other" {
		t.Errorf("left to do: %v", todo)
	}
}

func TestRedirectedAndDisabled(t *testing.T) {
	d, s := open(t, t.TempDir()), newServer(nil)
	if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: "telegraf"}); err != nil {
		t.Fatal(err)
	}
	p := provisioner(t, s, d)
	p.config.Redirected = true
	run(t, p, func() bool { todo, _ := d.pending("near"); return len(todo) == 0 })
	if len(s.databases) != 1 {
		t.Errorf("a destination whose lines all go to one database has %v", s.databases)
	}
	s = newServer(nil)
	p = provisioner(t, s, d)
	p.config.Destination, p.config.Enabled = "off", false
	run(t, p, func() bool { todo, _ := d.pending("off"); return len(todo) == 0 })
	if d := cmp.Diff([]string{`CREATE DATABASE "telegraf"`}, s.changes); d != "" {
		t.Error(d)
	}
}

func TestLists(t *testing.T) {
	d := open(t, t.TempDir())
	for _, name := range []string{"b", "a", "b"} {
		if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: name}); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "node_vitals"}, d.Names()); diff != "" {
		t.Error(diff)
	}
	got, ok := d.Policies("node_vitals")
	if diff := cmp.Diff([]influxql.Policy{wanted}, got); diff != "" || !ok {
		t.Error(diff)
	}
	got, ok = d.Policies("a")
	if diff := cmp.Diff([]influxql.Policy{{Name: "autogen", Replication: 1, Default: true}}, got); diff != "" || !ok {
		t.Error(diff)
	}
	if _, ok := d.Policies("c"); ok {
		t.Error("an unknown database has policies")
	}
}

func TestTooMany(t *testing.T) {
	d := open(t, t.TempDir())
	d.remembered = make([]remembered, maxRemembered)
	if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: "more"}); err == nil {
		t.Error("there is no bound")
	}
}

func TestAStatementThatCannotBeSavedIsRefused(t *testing.T) {
	d := open(t, t.TempDir())
	d.path = filepath.Join(t.TempDir(), "absent", "x")
	if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: "x"}); err == nil || len(d.Names()) != 1 {
		t.Errorf("%v, %q", err, d.Names())
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "databases.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	if err := d.Create(influxql.Statement{Kind: influxql.CreateDatabase, Database: "x"}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadFile(path + ".damaged"); string(left) != "{" {
		t.Errorf("%q, %v", left, err)
	}
}
