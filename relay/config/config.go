// Package config reads the relay's part of a node file: the [relay] table and
// the tables below it. Whatever belongs to the agent is left alone.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/relay/alert"
)

// DefaultPath is the node file of a machine on which none was named.
const DefaultPath = "/etc/vitals/node.toml"

// DefaultPackages is where the package vitals-packages has those for nodes.
const DefaultPackages = "/usr/share/vitals/packages"

// Config is what a node file asks of the relay, complete with defaults.
type Config struct {
	// Path is the file it came from; empty if there is none and every value
	// is a default.
	Path string
	// Warnings name what was accepted but is probably not meant.
	Warnings []string

	Listen        string
	DataDirectory string
	// Packages is the directory of the packages that new nodes get.
	Packages string

	Limits       Limits
	Door         Door
	Query        Query
	Destinations []Destination
	Auth         Auth
	TLS          TLS
	Queue        Queue
	Provision    Provision
	Fleet        Fleet
	Self         Self
	// Alerts are the rules that hold, the default ones among them.
	Alerts       []alert.Rule
	AlertTargets []AlertTarget
}

// Queue says how much is kept on disk, and what happens when that is too much.
type Queue struct {
	Kind         string            `toml:"kind"`
	MaxBytes     nodefile.Size     `toml:"max_bytes"`
	WhenFull     string            `toml:"when_full"`
	CommitDelay  nodefile.Duration `toml:"commit_delay"`
	MinFreeBytes nodefile.Size     `toml:"min_free_bytes"`
	KeptBytes    nodefile.Size     `toml:"kept_bytes"`
	KeptAge      nodefile.Duration `toml:"kept_age"`
}

// Provision describes the database that the relay creates on InfluxDB 1.x.
type Provision struct {
	Enabled         bool              `toml:"enabled"`
	Prefix          string            `toml:"prefix"`
	Database        string            `toml:"database"`
	RetentionPolicy string            `toml:"retention_policy"`
	Duration        nodefile.Duration `toml:"duration"`
	Replication     int               `toml:"replication"`
	Default         bool              `toml:"default"`
}

// Fleet bounds the view of the nodes. Zero for an age means: judge each node
// by its own rhythm.
type Fleet struct {
	LateAfter nodefile.Duration `toml:"late_after"`
	DownAfter nodefile.Duration `toml:"down_after"`
	// ForgetAfter is how long a node may be silent before it is forgotten.
	ForgetAfter nodefile.Duration `toml:"forget_after"`
	MaxNodes    int               `toml:"max_nodes"`
	// History is how long the chief vitals of every node are remembered,
	// HistoryBytes the memory that this may take.
	History      nodefile.Duration `toml:"history"`
	HistoryBytes nodefile.Size     `toml:"history_bytes"`
}

// Self says whether the relay writes its own figures into its own queue.
type Self struct {
	Interval nodefile.Duration `toml:"interval"` // 0: it does not
}

// top holds the keys of [relay] itself.
type top struct {
	Listen        string `toml:"listen"`
	DataDirectory string `toml:"data_directory"`
	Packages      string `toml:"packages"`
	QueryURL      string `toml:"query_url"`
}

// subTables are the tables below [relay].
var subTables = []string{"limits", "door", "query", "destinations", "auth", "tls", "queue", "provision", "fleet", "self", "alerts", "alert_targets"}

// Find returns the path of the node file: the one given, else $VITALS_CONFIG,
// else /etc/vitals/node.toml if there is one, else "".
func Find(given string) string {
	if given != "" {
		return given
	}
	if env := os.Getenv("VITALS_CONFIG"); env != "" {
		return env
	}
	if _, err := os.Stat(DefaultPath); errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return DefaultPath
}

// Load reads the node file at path; an empty path gives the defaults. All
// mistakes are returned together.
func Load(path string) (*Config, error) {
	if path == "" {
		return fromFile(&nodefile.File{})
	}
	f, err := nodefile.Load(path, "relay")
	if f == nil {
		return nil, err
	}
	c, decodeErr := fromFile(f)
	if err := errors.Join(err, decodeErr); err != nil {
		return nil, err
	}
	c.Path, c.Warnings = path, f.Warnings
	return c, nil
}

func fromFile(f *nodefile.File) (*Config, error) {
	section, _ := f.Table("relay")
	c := &Config{
		Limits: defaultLimits(), Door: defaultDoor(), Query: defaultQuery(),
		Auth: Auth{Mode: "off", NodeCheck: "enforce"},
		Queue: Queue{
			Kind: "files", MaxBytes: 10e9, WhenFull: "refuse", MinFreeBytes: 256 << 20,
			KeptBytes: 1e9, KeptAge: nodefile.Duration(7 * 24 * time.Hour),
		},
		Provision: Provision{
			Enabled: true, Database: "node_vitals", RetentionPolicy: "node_vitals_year_rp",
			Duration: nodefile.Duration(365 * 24 * time.Hour), Replication: 3, Default: true,
		},
		Fleet: Fleet{ForgetAfter: nodefile.Duration(7 * 24 * time.Hour), MaxNodes: 10_000, History: nodefile.Duration(6 * time.Hour), HistoryBytes: 64e6},
	}
	var errs []error
	sub := section.Take(subTables...)
	errs = append(errs, nearSubTable(section)...)
	errs = append(errs, c.decodeTop(section)...)
	errs = append(errs, c.decodeDestinations(sub)...)
	errs = append(errs, c.decodeAlerts(sub)...)
	errs = append(errs, c.decodeAlertTargets(sub)...)
	for key, part := range map[string]interface {
		validate(*nodefile.Section) []error
	}{
		"limits": &c.Limits, "door": &c.Door, "query": &c.Query, "auth": &c.Auth, "tls": &c.TLS, "queue": &c.Queue, "provision": &c.Provision, "fleet": &c.Fleet,
		"self": &c.Self,
	} {
		errs = append(errs, decodeOne(sub, key, part)...)
	}
	errs = append(errs, c.checkOpen(section)...)
	if len(c.Destinations) == 0 && c.Queue.KeptBytes == 0 && len(errs) == 0 {
		errs = append(errs, sub.Errorf("queue.kept_bytes", "with no destination and nothing kept, every line would be thrown away; add [[relay.destinations]] or let kept_bytes be more than 0"))
	}
	return c, inOrder(errs)
}

// nearSubTable finds misspelt tables below [relay]: their names are not among
// the keys that decoding the rest would suggest.
func nearSubTable(s *nodefile.Section) []error {
	var errs []error
	for _, key := range s.Keys() {
		switch s.Values[key].(type) {
		case map[string]any, []map[string]any:
			text := "unknown table"
			if near := nodefile.Nearest(key, subTables); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			errs = append(errs, s.Errorf(key, "%s", text))
			s.Take(key)
		}
	}
	return errs
}

// renamed takes keys out that go by another name here, which spelling alone
// does not suggest.
func renamed(s *nodefile.Section, names map[string]string) []error {
	var errs []error
	for key, name := range names {
		if s.Has(key) {
			errs = append(errs, s.Errorf(key, "unknown option; use %s", name))
			s.Take(key)
		}
	}
	return errs
}

func decodeOne(parent *nodefile.Section, key string, part interface {
	validate(*nodefile.Section) []error
}) []error {
	tables, err := parent.Sub(key)
	if err != nil {
		return []error{err}
	}
	if len(tables) > 1 {
		return []error{tables[1].Errorf("", "there can be only one; write it [relay.%s]", key)}
	}
	if len(tables) == 0 {
		return nil
	}
	var errs []error
	if err := tables[0].Decode(part); err != nil {
		errs = append(errs, err)
	}
	return append(errs, part.validate(tables[0])...)
}

func (c *Config) decodeTop(s *nodefile.Section) []error {
	t := top{Listen: "127.0.0.1:8186", DataDirectory: stateDirectory(), Packages: DefaultPackages}
	errs := renamed(s, map[string]string{
		"data_dir": "data_directory", "max_body": "max_body below [relay.limits]",
		"max_compressed_body": "max_compressed_body below [relay.limits]", "max_in_flight": "max_in_flight below [relay.limits]",
	})
	if err := s.Decode(&t); err != nil {
		errs = append(errs, err)
	}
	c.Listen, c.DataDirectory, c.Packages, c.Query.URL = t.Listen, t.DataDirectory, t.Packages, t.QueryURL
	if mistake := urlMistake(t.QueryURL); t.QueryURL != "" && mistake != "" {
		errs = append(errs, s.Errorf("query_url", "%s", mistake))
	}
	if err := checkListen(t.Listen); err != nil {
		errs = append(errs, s.Errorf("listen", "%v", err))
	}
	if t.DataDirectory == "" {
		errs = append(errs, s.Errorf("data_directory", "must name a directory"))
	}
	return errs
}

// stateDirectory is where systemd (or whoever starts the relay) wants its
// state, else the usual place.
func stateDirectory() string {
	first, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":")
	if first != "" {
		return filepath.Clean(first)
	}
	return "/var/lib/vitals/relay"
}

func checkListen(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf(`%q is not an address; write it as "127.0.0.1:8186", or ":8186" for every interface`, addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not a port; the usual one is 8186", port)
	}
	return nil
}
