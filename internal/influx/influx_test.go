package influx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is an InfluxDB that answers as its script says and remembers which
// lines it has stored.
type server struct {
	*httptest.Server
	answer func(lines []string) (status int, body string)

	mu      sync.Mutex
	stored  map[string]bool
	queries []url.Values
	headers []http.Header
}

func newServer(t *testing.T, answer func(lines []string) (int, string)) *server {
	t.Helper()
	s := &server{answer: answer, stored: map[string]bool{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			w.WriteHeader(204)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		raw, err := Gunzip(body)
		if err != nil {
			t.Errorf("body is not gzip: %v", err)
		}
		lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queries = append(s.queries, r.URL.Query())
		s.headers = append(s.headers, r.Header)
		status, text := s.answer(lines)
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		if status == 204 {
			s.store(lines...)
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) store(lines ...string) {
	for _, l := range lines {
		s.stored[l] = true
	}
}

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func TestRequest(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		target Target
		want   url.Values
	}{
		{"v1", Config{}, Target{"db", "", "ns"}, url.Values{"db": {"db"}}},
		{"v1 policy and precision", Config{}, Target{"db", "rp", "s"}, url.Values{"db": {"db"}, "rp": {"rp"}, "precision": {"s"}}},
		{"v1 takes microseconds as u", Config{}, Target{"db", "", "us"}, url.Values{"db": {"db"}, "precision": {"u"}}},
		{"v1 own database drops the batch's policy", Config{Database: "mine"}, Target{"db", "rp", ""}, url.Values{"db": {"mine"}}},
		{"v1 own policy", Config{Database: "mine", RetentionPolicy: "year"}, Target{"db", "rp", ""}, url.Values{"db": {"mine"}, "rp": {"year"}}},
		{"v2 bucket from the key", Config{Version: 2, Organization: "o"}, Target{"db", "rp", "us"}, url.Values{"bucket": {"db/rp"}, "org": {"o"}, "precision": {"us"}}},
		{"v2 bucket without policy", Config{Version: 2}, Target{"db", "", ""}, url.Values{"bucket": {"db"}, "precision": {"ns"}}},
		{"v3 database from the key", Config{Version: 3}, Target{"db", "rp", "us"}, url.Values{"db": {"db/rp"}, "precision": {"microsecond"}}},
		{"v3 has no default policies", Config{Version: 3}, Target{"db", "autogen", "s"}, url.Values{"db": {"db"}, "precision": {"second"}}},
		{"v3 own database", Config{Version: 3, Database: "mine"}, Target{"db", "rp", "ms"}, url.Values{"db": {"mine"}, "precision": {"millisecond"}}},
		{"v3 without anything", Config{Version: 3}, Target{Database: "db"}, url.Values{"db": {"db"}, "precision": {"nanosecond"}}},
		{"v2 own bucket", Config{Version: 2, Bucket: "b"}, Target{"db", "rp", "ms"}, url.Values{"bucket": {"b"}, "precision": {"ms"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func([]string) (int, string) { return 204, "" })
			tt.config.URLs = []string{s.URL}
			if err := newClient(t, tt.config).Write(t.Context(), tt.target, Gzip(nil, []byte("m f=1 1\n"))); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, s.queries[0]); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	tests := []struct {
		name   string
		config Config
		user   string // put before the host of the URL
		want   string
	}{
		{"token", Config{Token: "T"}, "", "Token T"},
		{"token of version 3", Config{Version: 3, Token: "T"}, "", "Bearer T"},
		{"user and password", Config{Username: "u", Password: "p"}, "", "Basic dTpw"},
		{"in the url", Config{}, "u:p@", "Basic dTpw"},
		{"none", Config{}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t, func([]string) (int, string) { return 204, "" })
			tt.config.URLs = []string{strings.Replace(s.URL, "http://", "http://"+tt.user, 1)}
			c := newClient(t, tt.config)
			if err := c.Write(t.Context(), Target{}, Gzip(nil, nil)); err != nil {
				t.Fatal(err)
			}
			if got := s.headers[0].Get("Authorization"); got != tt.want {
				t.Errorf("Authorization %q, want %q", got, tt.want)
			}
			if strings.Contains(c.URL(), ":p@") {
				t.Errorf("the password shows in %s", c.URL())
			}
		})
	}
}

func TestClasses(t *testing.T) {
	tests := []struct {
		status int
		body   string
		want   Class
	}{
		{200, `{}`, Hold},
		{200, `<html>log in to the Wi-Fi</html>`, Hold},
		{202, ``, Hold},
		{301, ``, Hold},
		{400, `{"error":"partial write: unable to parse 'm': missing fields dropped=0"}`, Partial},
		{400, `{"error":"partial write: field type conflict: input field \"v\" on measurement \"m\" is type float, already exists as type integer dropped=1"}`, Partial},
		{400, `{"error":"unable to parse 'm': missing fields"}`, BadLines},
		{400, `{"code":"invalid","message":"unable to parse 'm': missing fields"}`, BadLines},
		{400, `{"error":"unable to parse 'log text=\"database not found\" x': bad timestamp"}`, BadLines},
		{400, `{"code":"invalid","message":"unable to parse 'log text=\"retention policy not found: x\" x': bad timestamp"}`, BadLines},
		{400, `{"error":"unable to parse 'log text=\"partial write\" x': bad timestamp"}`, BadLines},
		{400, `{"error":"unable to parse 'log text=\"<html>\" x': bad timestamp"}`, BadLines},
		{400, `{"error":"database is required"}`, Hold},
		{400, `{"error":"invalid precision \"us\" (use n, u, ms, s, m or h)"}`, Hold},
		{400, `<html><body>400 Bad Request</body></html>`, Hold},
		{400, `{"error":"partial write of line protocol occurred","data":[{"original_line":"m","line_number":1,"error_message":"No fields were provided"}]}`, Partial},
		{400, `{"error":"line protocol parsing error","data":{"original_line":"m","line_number":1,"error_message":"No fields were provided"}}`, BadLines},
		{400, `{"code":"invalid","message":"write buffer error: line protocol parse failed: No fields were provided"}`, BadLines},
		{400, `body content is not valid utf8: invalid utf-8 sequence of 1 bytes from index 3`, BadLines},
		{400, `invalid character in database name: must be ASCII, containing only letters, numbers, underscores or hyphens`, Poison},
		{400, `db name too long: max 64`, Poison},
		{400, `missing query parameter 'db'`, Hold},
		{400, `error decoding gzip stream: unexpected end of file`, Hold},
		{400, `Authorization header was malformed, the request was not in the form of …`, Hold},
		{401, `{"error": "the request was not authenticated"}`, Hold},
		{413, `max request size (10485760 bytes) exceeded`, Split},
		{422, `{"error":"partial write of line protocol occurred","data":[{"original_line":"m","line_number":1,"error_message":"Update to schema would exceed number of tables limit of 2000 tables"}]}`, Partial},
		{422, `{"error":"partial write of line protocol occurred","data":[{"original_line":"m","line_number":1,"error_message":"Adding a new database would exceed limit of 5 databases"}]}`, Hold},
		{422, `{"error":"Adding a new database would exceed limit of 5 databases","data":null}`, Hold},
		{401, `{"error":"authorization failed"}`, Hold},
		{403, `{"error":"forbidden"}`, Hold},
		{404, `{"error":"database not found: \"x\""}`, MissingDatabase},
		{404, `{"code":"not found","message":"bucket \"x\" not found"}`, Hold},
		{404, `404 page not found`, Hold},
		{408, ``, Retry},
		{413, `{"error":"Request Entity Too Large"}`, Split},
		{422, `{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=2"}`, Partial},
		{429, ``, Wait},
		{500, `{"error":"timeout"}`, Retry},
		{500, `{"error":"retention policy not found: year"}`, Poison},
		{500, `{"error":"partial write: points beyond retention policy dropped=1"}`, Partial},
		{500, `{"error":"partial write"}`, Retry},
		{502, `<html>bad gateway</html>`, Retry},
		{503, ``, Wait},
		{504, ``, Retry},
		{508, `{"error":"this destination's url is the relay itself"}`, Hold},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d %.40s", tt.status, tt.body), func(t *testing.T) {
			s := newServer(t, func([]string) (int, string) { return tt.status, tt.body })
			err := newClient(t, Config{URLs: []string{s.URL}}).Write(t.Context(), Target{}, Gzip(nil, nil))
			var e *WriteError
			if !errors.As(err, &e) || e.Class != tt.want {
				t.Errorf("got %v (%+v), want %v", err, e, tt.want)
			}
		})
	}
}

func TestFailOver(t *testing.T) {
	down := httptest.NewServer(nil)
	down.Close()
	busy := newServer(t, func([]string) (int, string) { return 503, "" })
	good := newServer(t, func([]string) (int, string) { return 204, "" })
	c := newClient(t, Config{URLs: []string{down.URL, busy.URL, good.URL}})
	for range 2 {
		if err := c.Write(t.Context(), Target{}, Gzip(nil, []byte("m f=1\n"))); err != nil {
			t.Fatal(err)
		}
	}
	if len(busy.queries) != 1 || c.URL() != good.URL {
		t.Errorf("the busy server was asked %d times; the next write goes to %s first", len(busy.queries), c.URL())
	}
}

// A server that is away is no reason not to ask the other one.
func TestFailOverOfQueries(t *testing.T) {
	down := httptest.NewServer(nil)
	down.Close()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		io.WriteString(w, `{"results":[{"series":[{"name":"databases","columns":["name"],"values":[["x"]]}]}]}`)
	}))
	defer up.Close()
	c := newClient(t, Config{URLs: []string{down.URL, up.URL}})
	series, err := c.Query(t.Context(), "SHOW DATABASES")
	if err != nil || len(series) != 1 || series[0].Values[0][0] != "x" {
		t.Error(series, err)
	}
	if err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of several failures that of a server that has answered says more than that
// another one is away; and lines that one server refuses are not shown to others.
func TestFailuresOfSeveralServers(t *testing.T) {
	down := httptest.NewServer(nil)
	down.Close()
	f := func(status int, body string, want Class, others int) {
		t.Helper()
		first := newServer(t, func([]string) (int, string) { return status, body })
		second := newServer(t, func([]string) (int, string) { return 503, "" })
		c := newClient(t, Config{URLs: []string{first.URL, down.URL, second.URL}})
		var e *WriteError
		err := c.Write(t.Context(), Target{}, Gzip(nil, []byte("m f=1\n")))
		if !errors.As(err, &e) || e.Class != want || len(second.queries) != others {
			t.Errorf("%d: %v, and %d writes to the other", status, err, len(second.queries))
		}
	}
	f(500, "it broke", Retry, 1)
	f(401, "", Hold, 1)
	f(404, `{"error":"database not found: x"}`, MissingDatabase, 1)
	f(413, "", Split, 0)
	f(400, `{"error":"unable to parse 'm f=1': no"}`, BadLines, 0)
}

// delivery is what became of a batch.
type delivery struct {
	Stored, Rejected string
	Err              string
}

func deliver(t *testing.T, s *server, b Batch, text string) (delivery, string) {
	t.Helper()
	var got delivery
	var reasons []string
	var rejected []string
	sender := &Sender{
		Client: newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, reason string) error {
			rejected = append(rejected, strings.Fields(strings.ReplaceAll(string(lines), " ", "_"))...)
			reasons = append(reasons, reason)
			return nil
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	b.Body = Gzip(nil, []byte(text))
	attempts := 1
	if b.Suspect || b.TooSlow {
		attempts = trials + 1 // accused lines are tried at times apart
	}
	for range attempts {
		got.Err = ""
		err := sender.Deliver(t.Context(), Target{Database: "d"}, b)
		if err == nil {
			break
		}
		got.Err = err.Error()
	}
	var stored []string
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); s.stored[l] {
			stored = append(stored, strings.ReplaceAll(l, " ", "_"))
		}
	}
	got.Stored, got.Rejected = strings.Join(stored, " "), strings.Join(rejected, " ")
	return got, strings.Join(reasons, "; ")
}

const five = "a f=1 1\nb f=1 1\nc f=1 1\nd f=1 1\ne f=1 1\n"

func has(lines []string, prefix string) bool {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			return true
		}
	}
	return false
}

func TestDeliver(t *testing.T) {
	all := "a_f=1_1 b_f=1_1 c_f=1_1 d_f=1_1 e_f=1_1"
	without := "a_f=1_1 b_f=1_1 d_f=1_1 e_f=1_1"
	var s *server
	storeBut := func(lines []string, bad string) {
		for _, l := range lines {
			if !strings.HasPrefix(l, bad) {
				s.store(l)
			}
		}
	}
	tests := []struct {
		name    string
		suspect bool
		answer  func(lines []string) (int, string)
		want    delivery
	}{
		{"stored", false, func([]string) (int, string) { return 204, "" }, delivery{all, "", ""}},
		{"partial write names the line", false, func(lines []string) (int, string) {
			if !has(lines, "c") {
				return 204, ""
			}
			storeBut(lines, "c")
			return 400, `{"error":"partial write: unable to parse 'c f=1 1': bad timestamp dropped=0"}`
		}, delivery{without, "c_f=1_1", ""}},
		{"nothing written, line named", false, func(lines []string) (int, string) {
			if has(lines, "c") {
				return 400, `{"code":"invalid","message":"unable to parse 'c f=1 1': bad timestamp"}`
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"type conflict found by its field", false, func(lines []string) (int, string) {
			if !has(lines, "c") {
				return 204, ""
			}
			storeBut(lines, "c")
			return 400, `{"error":"partial write: field type conflict: input field \"f\" on measurement \"c\" is type float, already exists as type integer dropped=1"}`
		}, delivery{without, "c_f=1_1", ""}},
		{"partial write that names no line", false, func(lines []string) (int, string) {
			storeBut(lines, "c")
			if has(lines, "c") {
				return 400, `{"error":"partial write: points beyond retention policy dropped=1"}`
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"partial write of nothing", false, func(lines []string) (int, string) {
			if len(lines) < 5 {
				return 500, "asked again"
			}
			return 400, `{"error":"partial write: points beyond retention policy dropped=5"}`
		}, delivery{"", all, ""}},
		{"too large by lines", false, func(lines []string) (int, string) {
			if len(lines) > 2 {
				return 413, "too large"
			}
			return 204, ""
		}, delivery{all, "", ""}},
		{"one line too large", false, func(lines []string) (int, string) {
			if has(lines, "c") {
				return 413, "too large"
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"unknown policy rejects the batch", false, func([]string) (int, string) {
			return 500, `{"error":"retention policy not found: x"}`
		}, delivery{"", all, ""}},
		{"every line refused without a name is held", false, func([]string) (int, string) {
			return 400, `{"error":"computer says no"}`
		}, delivery{"", "", `400 Bad Request: every line is refused: computer says no`}},
		{"one line refused without a name", false, func(lines []string) (int, string) {
			if has(lines, "c") {
				return 400, `{"error":"computer says no"}`
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"unauthorized is kept", false, func([]string) (int, string) {
			return 401, `{"error":"authorization failed"}`
		}, delivery{"", "", "401 Unauthorized: authorization failed"}},
		{"down in the middle of a search", false, func(lines []string) (int, string) {
			if len(lines) == 5 {
				return 413, "too large"
			}
			if has(lines, "c") {
				return 503, "busy"
			}
			return 204, ""
		}, delivery{"a_f=1_1 b_f=1_1", "", "503 Service Unavailable: busy"}},
		{"500 is not the lines' fault at first", false, func(lines []string) (int, string) {
			return 500, `{"error":"panic"}`
		}, delivery{"", "", "500 Internal Server Error: panic"}},
		{"500 for ever because of one line", true, func(lines []string) (int, string) {
			if has(lines, "c") {
				return 500, `{"error":"panic"}`
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"a line that makes the server hang up", true, func(lines []string) (int, string) {
			if has(lines, "c") {
				return 0, ""
			}
			return 204, ""
		}, delivery{without, "c_f=1_1", ""}},
		{"500 for every line is the server's fault", true, func([]string) (int, string) {
			return 500, `{"error":"engine trouble"}`
		}, delivery{"", "", "500 Internal Server Error: engine trouble (5 lines may be the cause)"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s = newServer(t, tt.answer)
			got, reasons := deliver(t, s, Batch{Lines: 5, Suspect: tt.suspect}, five)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if got.Rejected != "" && reasons == "" {
				t.Error("a line was rejected without a reason")
			}
		})
	}
}

// manyLines are n lines of which bad(i) says what is before the fields.
func manyLines(n int, bad func(i int) bool) string {
	var text strings.Builder
	for i := range n {
		kind := "good"
		if bad(i) {
			kind = "bad"
		}
		fmt.Fprintf(&text, "%s,i=%d f=1 1\n", kind, i)
	}
	return text.String()
}

// requireOnlyBadRejected fails unless every good line is stored and every bad
// one, and no other, is rejected.
func requireOnlyBadRejected(t *testing.T, text string, got delivery) {
	t.Helper()
	if got.Err != "" {
		t.Fatal(got.Err)
	}
	for what, list := range map[string]string{"good": got.Stored, "bad": got.Rejected} {
		lines := strings.Fields(list)
		if want := strings.Count(text, what+","); len(lines) != want {
			t.Errorf("%d %s lines, want %d", len(lines), what, want)
		}
		for _, l := range lines {
			if !strings.HasPrefix(l, what) {
				t.Fatalf("%s is among the %s lines", l, what)
			}
		}
	}
}

func TestOnlyWhatWasTriedAloneIsRejected(t *testing.T) {
	tests := []struct {
		name   string
		lines  int
		every  int // which line is bad
		batch  Batch
		answer func(lines []string) (int, string)
	}{
		{"many bad lines that are not named", 3000, 10, Batch{}, func(lines []string) (int, string) {
			if has(lines, "bad") {
				return 400, `{"error":"computer says no"}`
			}
			return 204, ""
		}},
		{"many lines that make the server fail", 2000, 50, Batch{Suspect: true}, func(lines []string) (int, string) {
			if has(lines, "bad") {
				return 500, `{"error":"panic"}`
			}
			return 204, ""
		}},
		{"a server that takes few lines at once", 20_000, 1 << 30, Batch{}, func(lines []string) (int, string) {
			if len(lines) > 50 {
				return 413, "too large"
			}
			return 204, ""
		}},
		{"a partial write that says of one line only", 200, 20, Batch{}, func(lines []string) (int, string) {
			for _, l := range lines {
				if strings.HasPrefix(l, "bad") {
					return 400, fmt.Sprintf(`{"error":"partial write: unable to parse '%s': bad timestamp dropped=1"}`, l)
				}
			}
			return 204, ""
		}},
		{"a conflict that names good lines too", 100, 10, Batch{}, func(lines []string) (int, string) {
			n := 0
			for _, l := range lines {
				if strings.HasPrefix(l, "bad") {
					n++
				}
			}
			if n > 0 {
				return 400, fmt.Sprintf(`{"error":"partial write: field type conflict: input field \"f\" on measurement \"bad\" is type float, already exists as type integer dropped=%d"}`, min(n, 1))
			}
			return 204, ""
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := manyLines(tt.lines, func(i int) bool { return i%tt.every == tt.every/2 })
			got, _ := deliver(t, newServer(t, tt.answer), tt.batch, text)
			requireOnlyBadRejected(t, text, got)
		})
	}
}

func TestASearchGoesOnWhereItWas(t *testing.T) {
	text := manyLines(64, func(i int) bool { return i == 40 })
	writes := 0
	s := newServer(t, func(lines []string) (int, string) {
		if writes++; writes%4 == 0 {
			return 503, "busy"
		}
		if has(lines, "bad") {
			return 400, `{"error":"computer says no"}`
		}
		return 204, ""
	})
	var rejected string
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { rejected += string(lines); return nil },
	}
	for range 20 {
		if sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(text))}) == nil {
			break
		}
	}
	if rejected != "bad,i=40 f=1 1\n" || len(s.stored) != 63 || writes > 40 {
		t.Errorf("rejected %q, %d stored, %d writes", rejected, len(s.stored), writes)
	}
}

func TestTroublesOfTheServerAreNotTheLinesFault(t *testing.T) {
	for _, message := range []string{"engine trouble", "timeout", "engine: cache-max-memory-size exceeded: (5/4)"} {
		for failing := 1; failing < 60; failing += 6 {
			writes := 0
			s := newServer(t, func([]string) (int, string) {
				if writes++; writes <= failing {
					return 500, `{"error":"` + message + `"}`
				}
				return 204, ""
			})
			sender := &Sender{
				Client:   newClient(t, Config{URLs: []string{s.URL}}),
				Rejected: func(_ Target, lines []byte, _ string) error { t.Fatalf("rejected %s", lines); return nil },
			}
			b := Batch{Body: Gzip(nil, []byte(manyLines(20, func(int) bool { return false })))}
			var backoff Backoff
			for range 100 {
				err := sender.Deliver(t.Context(), Target{}, b)
				if err == nil {
					break
				}
				backoff.Next(err)
				b.Suspect = backoff.Suspect()
			}
			if len(s.stored) != 20 {
				t.Errorf("%s %d times: %d lines stored", message, failing, len(s.stored))
			}
		}
	}
}

func TestALoneLineThatMakesAServerFail(t *testing.T) {
	s := newServer(t, func(lines []string) (int, string) {
		if has(lines, "bad") {
			return 500, `{"error":"panic"}`
		}
		return 204, ""
	})
	var rejected string
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { rejected += string(lines); return nil },
	}
	bad := Batch{Body: Gzip(nil, []byte("bad f=1 1\n")), Suspect: true}
	// Alone it proves nothing.
	if err := sender.Deliver(t.Context(), Target{}, bad); !errors.Is(err, ErrUnproven) {
		t.Fatalf("without anything to compare with: %v", err)
	}
	// With something else it does, at times apart.
	both := Batch{Body: Gzip(nil, []byte("bad f=1 1\ngood f=1 1\n")), Suspect: true}
	var err error
	attempts := 0
	for ; attempts == 0 || err != nil && attempts < 10; attempts++ {
		err = sender.Deliver(t.Context(), Target{}, both)
	}
	if err != nil || rejected != "bad f=1 1\n" || attempts < trials {
		t.Errorf("after %d attempts: rejected %q, error %v", attempts, rejected, err)
	}
	// And then something is known to compare with.
	rejected = ""
	for range trials {
		err = sender.Deliver(t.Context(), Target{}, bad)
	}
	if err != nil || rejected != "bad f=1 1\n" {
		t.Errorf("alone again: rejected %q, error %v", rejected, err)
	}
}

func TestABatchThatIsTooSlowIsWrittenInParts(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		raw, unzip := Gunzip(body)
		if err != nil || unzip != nil {
			return
		}
		if strings.Count(string(raw), "\n") > 10 {
			<-release
		}
		w.WriteHeader(204)
	}))
	defer s.Close()
	defer close(release)
	sender := &Sender{Client: newClient(t, Config{URLs: []string{s.URL}, Timeout: 200 * time.Millisecond})}
	b := Batch{Body: Gzip(nil, []byte(manyLines(40, func(int) bool { return false })))}
	var backoff Backoff
	for n := 0; ; n++ {
		err := sender.Deliver(t.Context(), Target{}, b)
		if err == nil {
			break
		}
		if n == 200 { // small parts, too, may be late now and then
			t.Fatal("it was never written in parts small enough:", err)
		}
		backoff.Next(err)
		b.TooSlow = backoff.TooSlow()
	}
}

// A server that was away for long, and so seemed too slow for the smallest write,
// is not written to line by line when it is back.
func TestPartsGrowAfterALongSilence(t *testing.T) {
	var back atomic.Bool
	var writes atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if !back.Load() {
			<-r.Context().Done()
			return
		}
		writes.Add(1)
		w.WriteHeader(204)
	}))
	defer s.Close()
	sender := &Sender{Client: newClient(t, Config{URLs: []string{s.URL}, Timeout: 50 * time.Millisecond})}
	b := Batch{Body: Gzip(nil, []byte(manyLines(1000, func(int) bool { return false })))}
	var backoff Backoff
	attempt := func() bool {
		err := sender.Deliver(t.Context(), Target{}, b)
		if err != nil {
			backoff.Next(err)
			b.TooSlow = backoff.TooSlow()
		}
		return err == nil
	}
	for range 15 {
		if attempt() {
			t.Fatal("delivered without an answer")
		}
	}
	back.Store(true)
	sender.Client = newClient(t, Config{URLs: []string{s.URL}, Timeout: time.Minute}) // no more silence
	if !attempt() {
		t.Fatal("it is not delivered")
	}
	if n := writes.Load(); n > 100 {
		t.Errorf("%d writes for 1000 lines", n)
	}
}

// Of a server that fails whatever it is sent no batch is taken apart, line by
// line, at one go.
func TestAServerInTroubleIsLeftInPeace(t *testing.T) {
	ill := false
	s := newServer(t, func([]string) (int, string) {
		if ill {
			return 500, `{"error":"engine trouble"}`
		}
		return 204, ""
	})
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { t.Errorf("rejected %s", lines); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five))}); err != nil {
		t.Fatal(err)
	}
	ill = true
	const attempts = 12
	b := Batch{Body: Gzip(nil, []byte(manyLines(1000, func(int) bool { return false })))}
	var backoff Backoff
	for range attempts {
		backoff.Next(sender.Deliver(t.Context(), Target{}, b))
		b.Suspect = backoff.Suspect()
	}
	if n := len(s.queries); n > 4*attempts {
		t.Errorf("%d writes in %d attempts", n, attempts)
	}
	ill = false
	for n := 0; sender.Deliver(t.Context(), Target{}, b) != nil; n++ {
		if n == 10 {
			t.Fatal("it is never delivered")
		}
	}
	if n := len(s.queries); n > 8*attempts || len(s.stored) != 1005 {
		t.Errorf("%d writes, %d lines stored", n, len(s.stored))
	}
}

// What a quoted line holds is none of the server's own words.
func TestWhatALineSaysIsNotTheServersCount(t *testing.T) {
	const bad = "net dropped=99i,x 1"
	s := newServer(t, nil)
	s.answer = func(lines []string) (int, string) {
		if !has(lines, bad) {
			return 204, ""
		}
		for _, l := range lines {
			if l != bad {
				s.store(l)
			}
		}
		return 400, `{"error":"partial write: unable to parse '` + bad + `': invalid field format dropped=0"}`
	}
	var rejected string
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { rejected += string(lines); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five+bad+"\n"))}); err != nil {
		t.Fatal(err)
	}
	if rejected != bad+"\n" || len(s.stored) != 5 {
		t.Errorf("rejected %q, %d stored", rejected, len(s.stored))
	}
}

// One line that is too large does not make small parts of all others.
func TestALineTooLargeLeavesTheOthersTogether(t *testing.T) {
	text := manyLines(1000, func(i int) bool { return i == 300 })
	s := newServer(t, func(lines []string) (int, string) {
		if has(lines, "bad") {
			return 413, "too large"
		}
		return 204, ""
	})
	got, _ := deliver(t, s, Batch{Lines: 1000}, text)
	requireOnlyBadRejected(t, text, got)
	if n := len(s.queries); n > 50 {
		t.Errorf("%d writes", n)
	}
}

func TestAMissingRetentionPolicyIsAskedForFirst(t *testing.T) {
	exists := false
	s := newServer(t, func([]string) (int, string) {
		if exists {
			return 204, ""
		}
		return 500, `{"error":"retention policy not found: raw"}`
	})
	sender := &Sender{
		Client:         newClient(t, Config{URLs: []string{s.URL}}),
		CreateDatabase: func(context.Context, string) error { exists = true; return nil },
		Rejected:       func(_ Target, lines []byte, _ string) error { t.Errorf("rejected %s", lines); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{Database: "d", RetentionPolicy: "raw"}, Batch{Body: Gzip(nil, []byte(five))}); err != nil {
		t.Error(err)
	}
}

func TestLinesRefusedForOneReasonAreSetAsideTogether(t *testing.T) {
	s := newServer(t, func(lines []string) (int, string) {
		if has(lines, "b") || has(lines, "d") {
			return 400, `{"error":"computer says no"}`
		}
		return 204, ""
	})
	var calls []string
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { calls = append(calls, string(lines)); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five))}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b f=1 1\nd f=1 1\n"}, calls); d != "" {
		t.Error(d)
	}
}

func TestMissingDatabaseIsCreatedOnce(t *testing.T) {
	exists := false
	s := newServer(t, func([]string) (int, string) {
		if exists {
			return 204, ""
		}
		return 404, `{"error":"database not found: \"d\""}`
	})
	var asked []string
	sender := &Sender{
		Client: newClient(t, Config{URLs: []string{s.URL}}),
		CreateDatabase: func(_ context.Context, name string) error {
			asked = append(asked, name)
			exists = true
			return nil
		},
	}
	if err := sender.Deliver(t.Context(), Target{Database: "d"}, Batch{Body: Gzip(nil, []byte(five))}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"d"}, asked); d != "" {
		t.Error(d)
	}
}

func TestADatabaseThatCannotBeHoldsNothingUp(t *testing.T) {
	s := newServer(t, func([]string) (int, string) { return 404, `{"error":"database not found: \"a/b\""}` })
	for refusal, want := range map[string]string{"invalid name": five, "timeout": ""} {
		var rejected string
		sender := &Sender{
			Client:         newClient(t, Config{URLs: []string{s.URL}}),
			CreateDatabase: func(context.Context, string) error { return errors.New(refusal) },
			Rejected:       func(_ Target, lines []byte, _ string) error { rejected += string(lines); return nil },
		}
		err := sender.Deliver(t.Context(), Target{Database: "a/b"}, Batch{Body: Gzip(nil, []byte(five))})
		if rejected != want || (err == nil) != (want != "") {
			t.Errorf("%s: rejected %q, error %v", refusal, rejected, err)
		}
	}
}

func TestRejectedThatCannotBeKeptIsNotGivenUp(t *testing.T) {
	s := newServer(t, func([]string) (int, string) { return 500, `{"error":"retention policy not found: x"}` })
	full := errors.New("disk full")
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(Target, []byte, string) error { return full },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five))}); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

func TestBackoff(t *testing.T) {
	var b Backoff
	down := &WriteError{Class: Retry}
	for i, most := range []time.Duration{25, 50, 100, 200} {
		if got := b.Next(down); got < most*time.Millisecond/2 || got > most*time.Millisecond {
			t.Errorf("delay %d is %v", i+1, got)
		}
	}
	for range 30 {
		if got := b.Next(down); got > maxDelay {
			t.Errorf("delay %v is over the cap", got)
		}
	}
	b.Reset()
	if got := b.Next(&WriteError{Class: Wait, RetryAfter: 7 * time.Second}); got < 7*time.Second || got > 8*time.Second {
		t.Errorf("Retry-After 7 gave %v", got)
	}
	if got := b.Next(&WriteError{Class: Wait, RetryAfter: time.Hour}); got != maxDelay {
		t.Errorf("Retry-After of an hour gave %v", got)
	}
}

func TestSuspicion(t *testing.T) {
	var b Backoff
	failed := &WriteError{Class: Retry, Status: 500}
	for range suspectAfter - 1 {
		b.Next(failed)
	}
	b.Next(&WriteError{Class: Retry, Status: 502})
	b.Next(failed)
	if b.Suspect() {
		t.Error("failures that were interrupted by another kind raised suspicion")
	}
	b.Next(failed)
	b.Next(failed)
	if !b.Suspect() {
		t.Error("three failures in a row raised no suspicion")
	}
}

func TestQuery(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := r.FormValue("q"); q {
		case "SHOW DATABASES":
			io.WriteString(w, `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["_internal"],["d"]]}]}]}`)
		case "CREATE DATABASE d":
			io.WriteString(w, `{"results":[{"statement_id":0}]}`)
		case "taken for a write":
			w.WriteHeader(http.StatusNoContent)
		case "taken":
			w.WriteHeader(http.StatusAccepted)
		default:
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"error parsing query: found x"}`)
		}
	}))
	defer s.Close()
	c := newClient(t, Config{URLs: []string{s.URL}})
	series, err := c.Query(t.Context(), "SHOW DATABASES")
	if err != nil || len(series) != 1 || len(series[0].Values) != 2 {
		t.Errorf("SHOW DATABASES: %v, %v", series, err)
	}
	if series, err := c.Query(t.Context(), "CREATE DATABASE d"); err != nil || len(series) != 0 {
		t.Errorf("CREATE DATABASE: %v, %v", series, err)
	}
	if _, err := c.Query(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "error parsing query") {
		t.Errorf("a bad query: %v", err)
	}
	if _, err := c.Query(t.Context(), "taken for a write"); err == nil || !strings.Contains(err.Error(), "204 No Content") {
		t.Errorf("no answer at all: %v", err)
	} else if wait := new(Backoff).Next(err); wait <= 0 {
		t.Error(wait)
	}
	if _, err := c.Query(t.Context(), "taken"); err == nil || strings.Contains(err.Error(), "a write") {
		t.Errorf("taken for later: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"http://u:pw@host:8086/a":       "http://***@host:8086/a",
		"http://u:pw@host:99x/":         "http://***@host:99x/",
		"u:pw@host":                     "u:pw@host", // nothing says that it is a URL at all
		"https://host/write?token=pw&a": "https://host/write?***",
		"http://host:8086":              "http://host:8086",
	} {
		if got := Redact(url); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
	for _, url := range []string{"http://u:pw@host:99x/", "ftp://u:pw@host/", "http://u:pw@/"} {
		if _, err := NewClient(Config{URLs: []string{url}}); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, c := range []Config{{}, {URLs: []string{"localhost:8086"}}, {URLs: []string{"http://"}}, {URLs: []string{"http://a"}, Version: 9}} {
		if _, err := NewClient(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestALineWithANewlineInAStringStaysWhole(t *testing.T) {
	const text = "a f=\"one\ntwo\" 1\nb f=1 1\n"
	s := newServer(t, func(lines []string) (int, string) {
		if has(lines, "b") {
			return 400, `{"error":"partial write: unable to parse 'b f=1 1': bad timestamp dropped=0"}`
		}
		return 204, ""
	})
	var rejected string
	sender := &Sender{
		Client:   newClient(t, Config{URLs: []string{s.URL}}),
		Rejected: func(_ Target, lines []byte, _ string) error { rejected += string(lines); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(text))}); err != nil {
		t.Fatal(err)
	}
	if rejected != "b f=1 1\n" {
		t.Errorf("rejected %q", rejected)
	}
	want := []string{"a f=\"one\ntwo\" 1\n", "b f=1 1\n"}
	var got []string
	for _, l := range cutLines([]byte(text)) {
		got = append(got, string(l))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A server whose certificate nobody known has signed: the error says what to do.
func TestAnUnknownAuthorityIsExplained(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	client := newClient(t, Config{URLs: []string{s.URL}, Unknown: "name it as tls_ca"})
	err := client.Write(t.Context(), Target{Database: "d"}, Gzip(nil, []byte("m v=1 1\n")))
	if err == nil || !strings.Contains(err.Error(), "unknown authority; name it as tls_ca") {
		t.Error(err)
	}
}
