package influxql

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const day = 24 * time.Hour

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		want []Statement
	}{
		{`CREATE DATABASE x`, []Statement{{Kind: CreateDatabase, Database: "x"}}},
		{`create database "tele graf\"s";`, []Statement{{Kind: CreateDatabase, Database: `tele graf"s`}}},
		{` CREATE DATABASE x WITH DURATION 365d REPLICATION 3 SHARD DURATION 1w NAME "p q"`, []Statement{
			{Kind: CreateDatabase, Database: "x", Policy: Policy{Name: "p q", Duration: 365 * day, Replication: 3, ShardDuration: 7 * day}}}},
		{`CREATE DATABASE x WITH NAME p`, []Statement{{Kind: CreateDatabase, Database: "x", Policy: Policy{Name: "p"}}}},
		{`CREATE RETENTION POLICY "a" ON b DURATION 1h30m REPLICATION 1 DEFAULT`, []Statement{
			{Kind: CreatePolicy, Database: "b", Policy: Policy{Name: "a", Duration: 90 * time.Minute, Replication: 1, Default: true}}}},
		{`CREATE RETENTION POLICY a ON b DURATION INF REPLICATION 2`, []Statement{
			{Kind: CreatePolicy, Database: "b", Policy: Policy{Name: "a", Replication: 2}}}},
		{`SHOW DATABASES`, []Statement{{Kind: ShowDatabases}}},
		{"SHOW RETENTION POLICIES ON \"a\" ; -- and\n/* then */ show databases", []Statement{
			{Kind: ShowPolicies, Database: "a"}, {Kind: ShowDatabases}}},
		{`SHOW RETENTION POLICIES`, []Statement{{Kind: ShowPolicies}}},
		{` ; `, nil},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			for _, s := range got { // what is written must read the same
				again, err := Parse(s.String())
				if err != nil || len(again) != 1 || again[0] != s {
					t.Errorf("%s: %+v, %v", s, again, err)
				}
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{`CREATE DATABASE`, "error parsing query: found EOF, expected identifier at line 1, char 17"},
		{`CREATE DATABASE 'x'`, "error parsing query: found ', expected identifier at line 1, char 17"},
		{`CREATE DATABASE "x`, `error parsing query: found "x, expected identifier at line 1, char 17`},
		{`CREATE DATABASE ""`, `error parsing query: found , expected identifier at line 1, char 17`},
		{`CREATE DATABASE x y`, "error parsing query: found y, expected ;, EOF at line 1, char 19"},
		{"CREATE\nDATABASE x\nWITH DURATION 1y", "error parsing query: found 1y, expected duration at line 3, char 15"},
		{`CREATE DATABASE x WITH REPLICATION 0`, "error parsing query: invalid value 0: must be 1 <= n <= 2147483647"},
		{`CREATE RETENTION POLICY p ON d DURATION 1d`, "error parsing query: found EOF, expected REPLICATION at line 1, char 43"},
		{`CREATE RETENTION POLICY p ON d REPLICATION 1`, "error parsing query: found REPLICATION, expected DURATION at line 1, char 32"},
		{`CREATE RETENTION POLICY p ON d DURATION 99999999w REPLICATION 1`, "error parsing query: the duration 99999999w is too long"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			_, err := Parse(tt.text)
			if err == nil || err.Error() != tt.want || errors.Is(err, ErrUnknown) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestUnknownStatements(t *testing.T) {
	for _, text := range []string{"SELECT * FROM cpu", "DROP DATABASE x", "SHOW MEASUREMENTS", "CREATE USER a", "x", "SHOW DATABASES; DROP DATABASE x"} {
		if _, err := Parse(text); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "INF", 365 * day: "365d", 14 * day: "2w", 90 * time.Minute: "90m", time.Hour: "1h", 1500 * time.Millisecond: "1500ms", 3: "3ns",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestAlter(t *testing.T) {
	got := Alter("d", Policy{Name: "p", Duration: 30 * day, Replication: 3, Default: true})
	if want := `ALTER RETENTION POLICY "p" ON "d" DURATION 30d REPLICATION 3 DEFAULT`; got != want {
		t.Errorf("%s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`CREATE DATABASE "x" WITH DURATION 1h30m REPLICATION 3 NAME "p"`, "show retention policies on a", `"\`, "/*", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		statements, err := Parse(text)
		if err != nil {
			return
		}
		for _, s := range statements {
			again, err := Parse(s.String())
			if err != nil || len(again) != 1 || again[0] != s {
				t.Errorf("%q: %s reads as %+v, %v", text, s, again, err)
			}
		}
	})
}
