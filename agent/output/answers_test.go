package output

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// plain is an answer as it stands.
func plain(code int, body string) func(http.ResponseWriter, []string) bool {
	return func(w http.ResponseWriter, _ []string) bool {
		w.WriteHeader(code)
		io.WriteString(w, body)
		return false
	}
}

// overBoth runs a test over both versions of the API.
func overBoth(t *testing.T, name string, versions string, test func(t *testing.T, c Config, db *influxd)) {
	for _, v := range strings.Fields(versions) {
		t.Run(v+" "+name, func(t *testing.T) {
			t.Parallel()
			db := newInfluxd(t)
			c := settings(db.URL)
			c.Directory = t.TempDir()
			if v == "v2" {
				c.Name, c.Database, c.RetentionPolicy, c.Bucket, c.Token = "influxdb_v2", "", "", "b", "t"
			}
			test(t, c, db)
		})
	}
}

const both = "v1 v2"

// Whatever these answers say, the lines are not at fault: they are held, sent
// again as they were, and stored once when the server is well.
func TestAnswersThatHold(t *testing.T) {
	f := func(versions string, code int, body string) {
		t.Helper()
		overBoth(t, fmt.Sprint(code, " ", body), versions, func(t *testing.T, c Config, db *influxd) {
			db.misbehave(plain(code, body))
			o := run(t, c)
			// All at once: with a second batch the server would be tried, and take that twice.
			o.Append(t.Context(), []byte(strings.Join(numbers(0, 10), "\n")+"\n"), 10)
			o.until("it has failed twice", func() bool {
				o.FlushNow()
				return o.Status().Failures >= 2
			})
			o.holds(10)
			if s := o.Status(); s.Dropped != 0 || s.Rejected != 0 || s.Written != 0 || s.State != StateFailing {
				t.Errorf("while it fails: %+v", s)
			}
			db.misbehave(nil)
			o.FlushNow()
			o.delivers(db, numbers(0, 10))
			if s := o.Status(); s.Dropped != 0 || s.Rejected != 0 || s.Written != 10 || s.State != StateOK {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
	const page = "<html><body>Welcome</body></html>"
	f(both, 200, "")
	f(both, 200, page)
	f(both, 201, "")
	f(both, 202, "")
	f(both, 206, "")
	f(both, 207, "")
	f(both, 208, "")
	f(both, 301, "")
	f(both, 307, "")
	f(both, 400, page)
	f("v1", 400, `{"error":"database is required"}`)
	f("v2", 400, `{"code":"invalid","message":"invalid precision; valid precision units are ns, us, ms, and s"}`)
	f("v1", 401, `{"error":"authorization failed"}`)
	f("v2", 401, `{"code":"unauthorized","message":"unauthorized access"}`)
	f(both, 401, "")
	f("v1", 403, `{"error":"\"u\" user is not authorized to write to database \"d\""}`)
	f("v2", 403, `{"code":"forbidden","message":"insufficient permissions for write"}`)
	f("v1", 404, `{"error":"database not found: \"d\""}`)
	f("v2", 404, `{"code":"not found","message":"bucket \"b\" not found"}`)
	f(both, 404, "404 page not found")
	f(both, 405, "Method Not Allowed")
	f(both, 406, "")
	f(both, 407, "Proxy Authentication Required")
	f(both, 408, "")
	f(both, 415, "")
	f(both, 429, "")
	f("v1", 500, `{"error":"timeout"}`)
	f("v1", 500, `{"error":"engine: cache-max-memory-size exceeded: (1/1)"}`)
	f("v1", 500, `{"error":"hinted handoff queue not empty"}`)
	f("v1", 500, `{"error":"retention policy not found: r"}`)
	f("v1", 500, `{"error":"database not found: \"d\""}`)
	f("v2", 500, `{"code":"internal error","message":"An internal error has occurred - check server logs"}`)
	f(both, 502, page)
	f(both, 503, `{"error":"busy"}`)
	f(both, 504, "")
	f(both, 507, "")
	f(both, 511, page)
}

// Where the connection ends, nobody knows what was stored: that, and only that,
// is sent twice.
func TestALostAnswer(t *testing.T) {
	overBoth(t, "stored, and the connection ends", both, func(t *testing.T, c Config, db *influxd) {
		lost := 0 // lines of the write that is stored and not answered
		db.misbehave(func(w http.ResponseWriter, lines []string) bool {
			if lost == 0 {
				lost = len(lines)
				db.lines = append(db.lines, lines...) // the server holds its lock
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		})
		o := run(t, c)
		o.give(0, 20)
		o.until("all is delivered", o.done)
		got := db.stored() // under the server's lock, as lost was counted
		want := append(numbers(0, lost), numbers(0, 20)...)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// refusal is what a server says about some lines.
type refusal struct {
	code   int
	body   string // %s stands for what is said of the bad lines, %d for how many they are
	stores bool   // all others
}

// Lines that a server will never take are set aside with its reason, and these
// only.
func TestAnswersThatSetAside(t *testing.T) {
	f := func(versions, name string, r refusal, bad []string, again bool) {
		t.Helper()
		overBoth(t, name, versions, func(t *testing.T, c Config, db *influxd) {
			db.misbehave(r.answer(db, bad))
			o := run(t, c)
			o.give(0, 10)
			o.until("it is done", func() bool { o.FlushNow(); return o.done() })
			good := slices.DeleteFunc(numbers(0, 10), func(l string) bool { return slices.Contains(bad, l) })
			got := slices.Sorted(slices.Values(db.stored()))
			if again { // the answer may have been about a part: what is left out is asked for again; and what is taken shows that a server which fails is well
				got = slices.Compact(got)
			}
			if diff := cmp.Diff(good, got); diff != "" && len(good)+len(got) > 0 {
				t.Error("stored", diff)
			}
			if s := o.Status(); s.Rejected != int64(len(bad)) || s.Written != int64(len(good)) || s.Dropped != 0 {
				t.Errorf("%+v", s)
			}
			kept, err := os.ReadFile(filepath.Join(c.Directory, "main", "rejected", "rejected.lp"))
			if err != nil {
				t.Fatal(err)
			}
			var aside []string
			for l := range strings.Lines(string(kept)) {
				if !strings.HasPrefix(l, "# ") {
					aside = append(aside, strings.TrimSuffix(l, "\n"))
				}
			}
			slices.Sort(aside)
			if diff := cmp.Diff(bad, aside); diff != "" {
				t.Error("set aside", diff)
			}
			if !strings.Contains(string(kept), "because") {
				t.Errorf("the reason is missing: %s", kept)
			}
		})
	}
	three, two, all := []string{numbered(3)}, []string{numbered(3), numbered(7)}, numbers(0, 10)
	f("v1", "some unparsable", refusal{400, `partial write: unable to parse %s: because dropped=0`, true}, three, false)
	f("v1", "two unparsable", refusal{400, `partial write: unable to parse %s: because dropped=0`, true}, two, false)
	f("v1", "all unparsable", refusal{400, `unable to parse %s: because`, false}, all, false)
	f("v1", "a type conflict", refusal{400, `partial write: field type conflict: because dropped=%d`, true}, three, true)
	f("v1", "too old", refusal{400, `partial write: points beyond retention policy because dropped=%d`, true}, two, true)
	f("v1", "all too old", refusal{400, `partial write: points beyond retention policy because dropped=%d`, true}, all, false)
	f("v1", "422", refusal{422, `because`, false}, three, false)
	f("v2", "some unparsable", refusal{400, `unable to parse %s: because`, false}, two, false)
	f("v2", "a line refused without a name", refusal{400, `because`, false}, three, false)
	f("v2", "a type conflict", refusal{422, `failure writing points to database: partial write: because dropped=%d`, true}, three, true)
	f("v2", "all too old", refusal{422, `failure writing points to database: partial write: because dropped=%d`, true}, all, false)
	f("v1", "500, all others stored", refusal{500, `partial write: points beyond retention policy because dropped=%d`, true}, two, true)
	f("v1", "500, and none stored", refusal{500, `unable to parse %s: because`, false}, three, true)
	f("v1", "500 for what is too old", refusal{500, `points beyond retention policy because`, false}, two, true)
	f("v2", "500 for a line", refusal{500, `because`, false}, three, true)
	f(both, "a line too large", refusal{413, `because`, false}, three, false)
}

// answer refuses writes that hold a bad line.
func (r refusal) answer(db *influxd, bad []string) func(http.ResponseWriter, []string) bool {
	return func(w http.ResponseWriter, lines []string) bool {
		var here []string
		for _, l := range lines {
			if slices.Contains(bad, l) {
				here = append(here, "'"+l+"'")
			}
		}
		if len(here) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return true
		}
		if r.stores {
			for _, l := range lines {
				if !slices.Contains(bad, l) {
					db.lines = append(db.lines, l) // the server holds its lock
				}
			}
		}
		body := strings.Replace(r.body, "%s", strings.Join(here, `: because\nunable to parse `), 1)
		body = strings.Replace(body, "%d", fmt.Sprint(len(here)), 1)
		w.WriteHeader(r.code)
		fmt.Fprintf(w, `{"error":"%s"}`, body)
		return false
	}
}

// A body that is too large is cut until it fits; nothing is stored twice.
func TestAnswersThatSplit(t *testing.T) {
	for _, most := range []int{1, 3, 9} {
		for _, body := range []string{`{"error":"Request Entity Too Large"}`, "<html>413</html>", ""} {
			overBoth(t, fmt.Sprint("at most ", most, body), both, func(t *testing.T, c Config, db *influxd) {
				db.misbehave(func(w http.ResponseWriter, lines []string) bool {
					if len(lines) > most {
						return plain(413, body)(w, lines)
					}
					w.WriteHeader(http.StatusNoContent)
					return true
				})
				o := run(t, c)
				o.give(0, 10)
				o.delivers(db, numbers(0, 10))
				if s := o.Status(); s.Rejected != 0 || s.Dropped != 0 || s.Written != 10 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// What a server asks for in Retry-After is kept to.
func TestAnswersThatAskForTime(t *testing.T) {
	for _, code := range []int{429, 503, 502, 504} {
		overBoth(t, fmt.Sprint(code), both, func(t *testing.T, c Config, db *influxd) {
			var asked time.Time
			db.misbehave(func(w http.ResponseWriter, lines []string) bool {
				if asked.IsZero() {
					asked = time.Now()
					w.Header().Set("Retry-After", "1")
					return plain(code, "")(w, lines)
				}
				if early := time.Second - time.Since(asked); early > 0 {
					t.Errorf("%v too early", early)
				}
				w.WriteHeader(http.StatusNoContent)
				return true
			})
			o := run(t, c)
			o.give(0, 10)
			o.delivers(db, numbers(0, 10))
		})
	}
}

// A missing database is made, over the API that can, and the write made again.
func TestAMissingDatabaseIsMade(t *testing.T) {
	overBoth(t, "database not found", "v1", func(t *testing.T, c Config, db *influxd) {
		c.SkipDatabaseCreation = false
		made := 0
		db.misbehave(func(w http.ResponseWriter, lines []string) bool {
			if lines == nil {
				made++
				return plain(200, `{"results":[{"statement_id":0}]}`)(w, nil)
			}
			if made < 2 {
				return status(404, `database not found: "d"`)(w, lines)
			}
			w.WriteHeader(http.StatusNoContent)
			return true
		})
		o := run(t, c)
		o.give(0, 10)
		o.delivers(db, numbers(0, 10))
		if s := o.Status(); s.Failures != 0 || made != 2 {
			t.Errorf("made %d times: %+v", made, s)
		}
	})
}

// A database that can never be made is no fault of the lines, where it is the
// one that was configured; where a tag names it, the line will never be stored.
func TestADatabaseThatCannotBe(t *testing.T) {
	for _, tagged := range []bool{false, true} {
		overBoth(t, fmt.Sprint("tagged ", tagged), "v1", func(t *testing.T, c Config, db *influxd) {
			c.SkipDatabaseCreation = false
			if tagged {
				c.DatabaseTag.Tag = "host"
			}
			db.misbehave(func(w http.ResponseWriter, lines []string) bool {
				if lines == nil {
					return plain(200, `{"results":[{"statement_id":0,"error":"invalid name"}]}`)(w, nil)
				}
				return status(404, `database not found: "n1"`)(w, lines)
			})
			o := run(t, c)
			o.give(0, 10)
			if tagged {
				o.until("they are set aside", func() bool { o.FlushNow(); return o.Status().Rejected == 10 && o.Held() == 0 })
				return
			}
			o.until("they are held", func() bool { o.FlushNow(); return o.Status().Failures >= 3 })
			o.holds(10)
			if s := o.Status(); s.Rejected != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A line that the server fails at, and that is alone in its batch, holds nothing
// up: what comes after it shows whose fault it is.
func TestALoneLineThatTheServerFailsAt(t *testing.T) {
	for _, buffered := range []bool{true, false} {
		for _, tagged := range []bool{true, false} {
			overBoth(t, fmt.Sprint("buffered ", buffered, ", tagged ", tagged), both, func(t *testing.T, c Config, db *influxd) {
				c.BatchSize = 1
				if !buffered {
					c.Directory = ""
				}
				if tagged {
					c.DatabaseTag.Tag, c.BucketTag.Tag = "host", "host"
				}
				db.misbehave(func(w http.ResponseWriter, lines []string) bool {
					if slices.Contains(lines, numbered(0)) {
						return status(500, "panic")(w, lines)
					}
					w.WriteHeader(http.StatusNoContent)
					return true
				})
				o := run(t, c)
				o.give(0, 1)
				o.until("it has failed", func() bool { o.FlushNow(); return o.Status().Failures > 4 })
				o.give(1, 4)
				o.until("the others are delivered", func() bool { o.FlushNow(); return o.done() })
				stored := slices.Sorted(slices.Values(db.stored()))
				if diff := cmp.Diff(numbers(1, 4), slices.Compact(stored)); diff != "" {
					t.Error(diff)
				}
				if s := o.Status(); s.Rejected != 1 || s.Dropped != 0 && buffered {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}
