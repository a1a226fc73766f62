package influxql

import (
	"strings"
	"testing"
)

func TestReads(t *testing.T) {
	for _, text := range []string{
		`SELECT mean("usage") FROM "cpu" WHERE "host" =~ /^a$/ AND time > now() - 1h GROUP BY time(1m), "host" fill(null)`,
		`show databases; select 1 from m`, "SHOW TAG VALUES WITH KEY IN (\"a\", \"b\")", "explain analyze select v from m",
		`SELECT "drop" FROM "into" WHERE a = '; DROP DATABASE x'`, `SELECT v FROM m -- DROP DATABASE x`, "SELECT v /* INTO x */ FROM m",
		`SELECT "a"/"b", "c"/"d" FROM m`, `SELECT v FROM /it's/ WHERE a = 'it\'s'`, `SELECT v FROM "d"."r"./^c.*/`,
		`SELECT max("used") / 1024 / 1024 FROM mem`, `SELECT v FROM m WHERE a !~ /x\/'y/ AND b = ''`, "; ; SELECT v FROM m;", "", "SELECT (/a'b/) FROM m",
		`SELECT v FROM m WHERE v > $into / 2. AND h =~ /\d'\/\\x/ AND t > now() - 1h30m`,
	} {
		if ok, what := Reads(text); !ok {
			t.Errorf("%s: said to do more: %s", text, what)
		}
	}
	for text, want := range map[string]string{
		`DROP DATABASE x`: "DROP", ` /* SELECT */ drop database x`: "DROP", "-- SELECT\nDROP DATABASE x": "DROP",
		`SELECT v FROM m; DELETE FROM m`: "DELETE", `SELECT v INTO x FROM m`: "INTO", `SELECT v into "x" FROM m`: "INTO",
		`SELECT v FROM /it's/; DROP DATABASE x --'`: "DROP", `SELECT a / 1 INTO x FROM m WHERE v > 1 / 1`: "INTO",
		`SELECT 'a\'; SELECT '; DROP DATABASE x`: "DROP", `SELECT true / 2 INTO x FROM m WHERE a > 1/1`: "INTO", `SELECT * / 2 INTO x FROM m WHERE a > 1/1`: "INTO",
		`SELECT "a" / 2 INTO x FROM m WHERE a > 1/1`: "INTO", `SELECT f(a) / 2 INTO x FROM m WHERE a > 1/1`: "INTO",
		`ALTER RETENTION POLICY a ON b DURATION 1h`: "ALTER", `GRANT ALL TO u`: "GRANT", `KILL QUERY 1`: "KILL", `SET PASSWORD FOR u = 'x'`: "SET",
		`CREATE USER u WITH PASSWORD 'x'`: "CREATE", `EXPLAIN ANALYZE SELECT v INTO x FROM m`: "INTO", `"SELECT" v`: `"SELECT"`,
		`SELECT 'open`: "an open quote or comment", "SELECT v FROM m /* open": "an open quote or comment",
		// What ends a comment, a pattern or a number for InfluxDB, and what only looks
		// like the word before a pattern.
		"SELECT v FROM m --\r; DROP DATABASE x": "DROP", "SELECT v FROM m --\x00; DROP DATABASE x": "a NUL",
		`SELECT v FROM m WHERE h =~ /\\/'/; DROP DATABASE x --'`: "DROP", `SELECT v FROM m WHERE v > 1. / 2; DROP DATABASE x --/`: "DROP",
		`SELECT v*1.0INTO x FROM m`: "INTO", `SELECT v*.5INTO x FROM m`: "INTO", `SELECT v*1.INTO x FROM m`: "INTO",
		`SELECT v FROM m WHERE v > $in / 2; DROP DATABASE x --/`: "DROP",
		"SELECT v FROM/**/m;DROP DATABASE x":                     "DROP", "SELECT/**/v/**/INTO/**/x FROM m": "INTO", `(DROP DATABASE x)`: "(",
	} {
		if ok, what := Reads(text); ok || what != want {
			t.Errorf("%s: %v, %q; want %q", text, ok, what, want)
		}
	}
}

// FuzzReads: what is quoted changes nothing, and what follows is seen.
func FuzzReads(f *testing.F) {
	f.Add("SELECT v FROM m", "it's")
	f.Add("SELECT v FROM m", "a\x00b")
	f.Fuzz(func(t *testing.T, text, name string) {
		if ok, _ := Reads(text); !ok || strings.TrimSpace(text) == "" {
			return
		}
		if ok, _ := Reads(text + "\n; DROP DATABASE x"); ok {
			t.Errorf("%q hides what follows", text)
		}
		if strings.IndexByte(name, 0) >= 0 {
			return // refused wherever it is
		}
		literal := "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "'"
		if ok, what := Reads("SELECT v FROM m WHERE a = " + literal); !ok {
			t.Errorf("%s: %s", literal, what)
		}
	})
}
