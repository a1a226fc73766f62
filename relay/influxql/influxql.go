// Package influxql reads and writes the few statements of InfluxDB 1.x's query
// language that have to do with writing: those that make databases and
// retention policies, and those that list them.
package influxql

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind says what a statement does.
type Kind uint8

// The statements that are known.
const (
	CreateDatabase Kind = iota
	CreatePolicy
	ShowDatabases
	ShowPolicies
)

// Statement is one statement.
type Statement struct {
	Kind     Kind
	Database string
	// Policy is what CreatePolicy makes, or what CreateDatabase makes with
	// the database if it is not zero.
	Policy Policy
}

// Policy is a retention policy. Zero durations are InfluxDB's to choose, or,
// for Duration, for ever.
type Policy struct {
	Name          string        `json:"name"`
	Duration      time.Duration `json:"duration"`
	ShardDuration time.Duration `json:"shard_duration,omitempty"`
	Replication   int           `json:"replication"`
	Default       bool          `json:"default,omitempty"`
}

// ErrUnknown is in the chain of an error about a statement that is none of
// those known, as opposed to one that is misspelt.
var ErrUnknown = errors.New("statement is not known")

// String writes a statement as InfluxDB reads it.
func (s Statement) String() string {
	switch s.Kind {
	case CreateDatabase:
		text := "CREATE DATABASE " + Quote(s.Database)
		if with := s.Policy.clauses(); with != "" {
			text += " WITH" + with
			if s.Policy.Name != "" {
				text += " NAME " + Quote(s.Policy.Name)
			}
		} else if s.Policy.Name != "" {
			text += " WITH NAME " + Quote(s.Policy.Name)
		}
		return text
	case CreatePolicy:
		return "CREATE" + s.Policy.definition(s.Database)
	case ShowPolicies:
		if s.Database == "" {
			return "SHOW RETENTION POLICIES"
		}
		return "SHOW RETENTION POLICIES ON " + Quote(s.Database)
	}
	return "SHOW DATABASES"
}

// Alter is the statement that makes an existing policy like p.
func Alter(database string, p Policy) string { return "ALTER" + p.definition(database) }

func (p Policy) definition(database string) string {
	clauses := " DURATION " + Duration(p.Duration) + fmt.Sprintf(" REPLICATION %d", max(p.Replication, 1))
	if p.ShardDuration > 0 {
		clauses += " SHARD DURATION " + Duration(p.ShardDuration)
	}
	if p.Default {
		clauses += " DEFAULT"
	}
	return " RETENTION POLICY " + Quote(p.Name) + " ON " + Quote(database) + clauses
}

// clauses are those of CREATE DATABASE … WITH, in InfluxDB's order.
func (p Policy) clauses() string {
	text := ""
	if p.Duration > 0 {
		text += " DURATION " + Duration(p.Duration)
	}
	if p.Replication > 0 {
		text += fmt.Sprintf(" REPLICATION %d", p.Replication)
	}
	if p.ShardDuration > 0 {
		text += " SHARD DURATION " + Duration(p.ShardDuration)
	}
	return text
}

// Quote makes an identifier of any name.
func Quote(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name) + `"`
}

// Duration writes d in InfluxDB's units; zero is for ever.
func Duration(d time.Duration) string {
	units := []struct {
		length time.Duration
		name   string
	}{{7 * 24 * time.Hour, "w"}, {24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "u"}}
	if d <= 0 {
		return "INF"
	}
	for _, u := range units {
		if d%u.length == 0 {
			return fmt.Sprintf("%d%s", d/u.length, u.name)
		}
	}
	return fmt.Sprintf("%dns", d)
}

// ValidName reports whether an InfluxDB can have a database or a retention
// policy of that name. Lines for one that cannot exist would wait for it for
// ever, and all others behind them.
func ValidName(name string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return name != "" && name != "." && name != ".." && utf8.ValidString(name) &&
		!strings.ContainsAny(name, `/\`) && !strings.ContainsFunc(name, unprintable)
}
