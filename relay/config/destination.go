package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/glob"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// Destination is one InfluxDB that gets what the relay receives.
type Destination struct {
	Name            string `toml:"name"`
	URL             string `toml:"url"`
	Version         int    `toml:"version"`
	Database        string `toml:"database"`
	RetentionPolicy string `toml:"retention_policy"`
	Organization    string `toml:"org"`
	Bucket          string `toml:"bucket"`
	TokenFile       string `toml:"token_file"`
	Username        string `toml:"username"`
	PasswordFile    string `toml:"password_file"`
	Required        bool   `toml:"required"`
	// MaxBacklog and MaxBacklogAge bound how far one that is not required may
	// be behind before its oldest lines are dropped; 0: as far as there is room.
	MaxBacklog    nodefile.Size     `toml:"max_backlog"`
	MaxBacklogAge nodefile.Duration `toml:"max_backlog_age"`
	// Databases are patterns of those that it gets; none: all.
	Databases []string          `toml:"databases"`
	Timeout   nodefile.Duration `toml:"timeout"`
	// MaxBody bounds one write, inflated. Concatenate lets a write be of
	// several gzip members. InFlight writes may be under way.
	MaxBody     nodefile.Size `toml:"max_body"`
	Concatenate bool          `toml:"concatenate"`
	InFlight    int           `toml:"in_flight"`

	CAFile     string `toml:"ca_file"`
	CertFile   string `toml:"cert_file"`
	KeyFile    string `toml:"key_file"`
	ServerName string `toml:"server_name"`
	SkipVerify bool   `toml:"insecure_skip_verify"`
	// Pin is the server's key: with it nothing else of the server is looked at.
	Pin string `toml:"pin"`

	// What the files held.
	Token    string `toml:"-"`
	Password string `toml:"-"`
	CA       []byte `toml:"-"`
	Cert     []byte `toml:"-"`
	Key      []byte `toml:"-"`
}

// maxBody is what the servers of each version take at most. InfluxDB 3 means
// 10 MiB.
var maxBody = map[int]nodefile.Size{1: 25_000_000, 2: 50_000_000, 3: 10_000_000}

// destinationName is what can be a directory's name everywhere.
var destinationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *Config) decodeDestinations(s *nodefile.Section) []error {
	return eachNamed(s, "destinations", "%q is the name of two destinations", func(table *nodefile.Section) (string, []error) {
		d := Destination{Version: 1, Required: true, Timeout: nodefile.Duration(30 * time.Second), Concatenate: true, InFlight: 1}
		errs := renamed(table, map[string]string{
			"password":    "password_file, which names a file that holds the password",
			"token":       "token_file, which names a file that holds the token",
			"skip_verify": "insecure_skip_verify",
		})
		if err := table.Decode(&d); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, d.validate(table)...)
		c.Destinations = append(c.Destinations, d)
		return d.Name, errs
	})
}

// eachNamed has every table of an array read, each of which has a name of its own.
func eachNamed(s *nodefile.Section, key, twice string, read func(*nodefile.Section) (name string, errs []error)) []error {
	tables, err := s.Sub(key)
	if err != nil {
		return []error{err}
	}
	var errs []error
	seen := map[string]bool{}
	for _, table := range tables {
		name, mistakes := read(table)
		errs = append(errs, mistakes...)
		if name != "" && seen[name] {
			errs = append(errs, table.Errorf("name", twice, name))
		}
		seen[name] = true
	}
	return errs
}

func (d *Destination) validate(s *nodefile.Section) []error {
	var errs []error
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	switch {
	case d.Name == "":
		add("name", `is missing; choose one that stays, such as "influxdb": the destination's progress is kept under it`)
	case !destinationName.MatchString(d.Name):
		add("name", "%q cannot be a directory's name; use letters, digits, dots, dashes and underscores", d.Name)
	}
	if text := urlMistake(d.URL); text != "" {
		add("url", "%s", text)
	}
	errs = append(errs, d.validateVersion(s)...)
	if d.Timeout < nodefile.Duration(100*time.Millisecond) {
		add("timeout", "must be at least 100ms")
	}
	for _, key := range []string{"max_backlog", "max_backlog_age"} {
		if d.Required && s.Has(key) {
			add(key, "belongs to required = false: a required destination gets everything, and writers are refused when the queue is full of what it has not got")
		}
	}
	if d.MaxBacklog < 0 || d.MaxBacklog > 0 && d.MaxBacklog < 1<<20 {
		add("max_backlog", "must be at least 1 MiB, or 0 for no bound of its own")
	}
	if d.MaxBacklogAge < 0 || d.MaxBacklogAge > 0 && d.MaxBacklogAge.Std() < time.Minute {
		add("max_backlog_age", "must be at least 1m, or 0 for no bound")
	}
	if d.InFlight < 1 || d.InFlight > 64 {
		add("in_flight", "must be between 1, which keeps the order, and 64")
	}
	for _, pattern := range d.Databases {
		if _, err := glob.Compile(pattern); err != nil {
			add("databases", "%q is no pattern: %v", pattern, err)
		}
	}
	if s.Has("databases") && len(d.Databases) == 0 {
		add("databases", "names none, so nothing would be delivered; leave it out for all of them")
	}
	errs = append(errs, d.readSecrets(s)...)
	return append(errs, d.readTLS(s)...)
}

// belongsTo names the options that not every version has.
var belongsTo = map[string][]int{
	"database": {1, 3}, "retention_policy": {1}, "username": {1}, "password_file": {1},
	"org": {2}, "bucket": {2}, "token_file": {2, 3},
}

// ofVersion are the options of each version.
var ofVersion = map[int]string{
	1: "InfluxDB 1.x has database, retention_policy, username and password_file",
	2: "InfluxDB 2.x has org, bucket and token_file",
	3: "InfluxDB 3 has database and token_file",
}

func (d *Destination) validateVersion(s *nodefile.Section) (errs []error) {
	if ofVersion[d.Version] == "" {
		return []error{s.Errorf("version", "must be 1 (InfluxDB 1.x, VictoriaMetrics), 2 (InfluxDB 2.x) or 3 (InfluxDB 3), not %d", d.Version)}
	}
	for key, versions := range belongsTo {
		if s.Has(key) && !slices.Contains(versions, d.Version) {
			names := strings.ReplaceAll(strings.Trim(fmt.Sprint(versions), "[]"), " ", " or ")
			errs = append(errs, s.Errorf(key, "belongs to version = %s; %s", names, ofVersion[d.Version]))
		}
	}
	if d.MaxBody == 0 {
		d.MaxBody = maxBody[d.Version]
	}
	if d.MaxBody < 1024 {
		errs = append(errs, s.Errorf("max_body", "must be at least 1 KiB; the default is %d", maxBody[d.Version]))
	}
	return errs
}

// Wants tells which databases the destination gets; nil: all.
func (d *Destination) Wants() func(database string) bool {
	if len(d.Databases) == 0 {
		return nil
	}
	var patterns []*glob.Glob
	for _, text := range d.Databases {
		if g, err := glob.Compile(text); err == nil { // Load has refused others
			patterns = append(patterns, g)
		}
	}
	return func(database string) bool {
		return slices.ContainsFunc(patterns, func(g *glob.Glob) bool { return g.Match(database) })
	}
}

func urlMistake(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return `is missing; write url = "http://127.0.0.1:8086"`
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return `must be like "http://127.0.0.1:8086"`
	case u.User != nil:
		return "must not hold credentials; use username and password_file, or token_file"
	case u.RawQuery != "" || u.Fragment != "":
		return "must end before the question mark; the relay adds the parameters itself"
	}
	return ""
}
