package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// chunked hides the length of a body, so that it is sent without one.
type chunked struct{ io.Reader }

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// exchange is one request, and what of the answer is the contract.
type exchange struct {
	method, path, body string
	gzip, chunked      bool
	notGzip            bool // the header says gzip, the body is something else
	authorization      string
}

func (e exchange) send(t *testing.T, base string) string {
	t.Helper()
	body := e.body
	if e.gzip {
		body = gzipped(body)
	}
	var r io.Reader = strings.NewReader(body)
	if e.chunked {
		r = chunked{r}
	}
	req, err := http.NewRequest(e.method, base+e.path, r)
	if err != nil {
		t.Fatal(err)
	}
	if e.gzip || e.notGzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if e.authorization != "" {
		req.Header.Set("Authorization", e.authorization)
	}
	req.Header.Set("X-Request-Id", "from-the-client")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", resp.StatusCode)
	for _, h := range []string{"Content-Type", "Allow", "Request-Id", "X-Request-Id", "X-Influxdb-Build", "X-Influxdb-Error", "Www-Authenticate"} {
		v := resp.Header.Get(h)
		if h == "Allow" { // InfluxDB's order changes from start to start
			methods := strings.Split(v, ", ")
			slices.Sort(methods)
			v = strings.Join(methods, ", ")
		}
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\n", h, v)
		}
	}
	if resp.Header.Get("X-Influxdb-Version") != "" {
		b.WriteString("X-Influxdb-Version: is there\n")
	}
	fmt.Fprintf(&b, "%s", answer)
	return b.String()
}

// The v1 API of the relay is the one that a real InfluxDB 1.x has, answer for
// answer. What differs on purpose is named.
func TestRelayAnswersAsInfluxDB(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", "")
	c.db.start()
	c.startRelay()
	good := "m,host=a f=1 1700000000000000000\n"
	influx := exchange{method: "POST", path: "/query?q=CREATE+DATABASE+d"}
	influx.send(t, c.db.url())

	tests := []struct {
		name string
		exchange
		differs string // why, where the answers need not be the same
	}{
		{"good body", exchange{method: "POST", path: "/write?db=d", body: good}, ""},
		{"several lines, comments and blanks", exchange{method: "POST", path: "/write?db=d", body: "# c\n\n" + good + "m f=2\n"}, ""},
		{"gzip body", exchange{method: "POST", path: "/write?db=d", body: good, gzip: true}, ""},
		{"chunked body", exchange{method: "POST", path: "/write?db=d", body: good, chunked: true}, ""},
		{"chunked gzip body", exchange{method: "POST", path: "/write?db=d", body: good, gzip: true, chunked: true}, ""},
		{"empty body", exchange{method: "POST", path: "/write?db=d"}, ""},
		{"only a comment", exchange{method: "POST", path: "/write?db=d", body: "# nothing\n"}, ""},
		{"precision s", exchange{method: "POST", path: "/write?db=d&precision=s", body: "m f=1 1700000000\n"}, ""},
		{"precision n", exchange{method: "POST", path: "/write?db=d&precision=n", body: good}, ""},
		{"precision u", exchange{method: "POST", path: "/write?db=d&precision=u", body: "m f=1 1700000000000000\n"}, ""},
		{"precision h", exchange{method: "POST", path: "/write?db=d&precision=h", body: "m f=1 470000\n"}, ""},
		{"no database", exchange{method: "POST", path: "/write", body: good}, ""},
		{"one bad line", exchange{method: "POST", path: "/write?db=d", body: good + "bad\n" + good}, ""},
		{"two bad lines", exchange{method: "POST", path: "/write?db=d", body: "bad\n" + good + "m f=x 1\n"}, ""},
		{"only a bad line", exchange{method: "POST", path: "/write?db=d", body: "bad\n"}, ""},
		{"a bad line with characters of HTML", exchange{method: "POST", path: "/write?db=d", body: "<b>&\n"}, ""},
		{"an open quote", exchange{method: "POST", path: "/write?db=d", body: "m f=\"open\n" + good}, ""},
		{"missing field value", exchange{method: "POST", path: "/write?db=d", body: "m f= 1\n"}, ""},
		{"bad timestamp", exchange{method: "POST", path: "/write?db=d", body: "m f=1 12x\n"}, ""},
		{"carriage return", exchange{method: "POST", path: "/write?db=d", body: "m f=1 1700000000000000000\r\n"}, ""},
		{"not gzip", exchange{method: "POST", path: "/write?db=d", body: "plain text, and more than ten bytes of it", notGzip: true}, ""},
		{"empty, said to be gzip", exchange{method: "POST", path: "/write?db=d", notGzip: true}, ""},
		{"wrong method", exchange{method: "GET", path: "/write?db=d"}, ""},
		{"unknown path", exchange{method: "POST", path: "/nothing"},
			"the relay speaks as InfluxDB only where it stands in for it"},
		{"ping", exchange{method: "GET", path: "/ping"}, ""},
		{"head ping", exchange{method: "HEAD", path: "/ping"}, ""},
		{"query without q", exchange{method: "GET", path: "/query"}, ""},
		{"create database", exchange{method: "POST", path: "/query?q=CREATE+DATABASE+%22e%22"}, ""},
		{"create retention policy", exchange{method: "POST", path: "/query?q=CREATE+RETENTION+POLICY+%22r%22+ON+%22e%22+DURATION+1d+REPLICATION+1"}, ""},
		{"a database that cannot be", exchange{method: "POST", path: "/write?db=a%2Fb", body: good}, ""},
		{"a database of dots", exchange{method: "POST", path: "/write?db=..", body: good}, ""},
		{"create a database that cannot be", exchange{method: "POST", path: "/query?q=CREATE+DATABASE+%22a%2Fb%22"}, ""},
		{"precision ms", exchange{method: "POST", path: "/write?db=d&precision=ms", body: "m f=1 1700000000000\n"}, ""},
		{"precision m", exchange{method: "POST", path: "/write?db=d&precision=m", body: "m f=1 28333333\n"}, ""},
		{"pretty error", exchange{method: "POST", path: "/write?db=d&pretty=true", body: "bad\n"}, ""},
		{"consistency", exchange{method: "POST", path: "/write?db=d&consistency=quorum", body: good}, ""},
		{"wrong consistency", exchange{method: "POST", path: "/write?db=d&consistency=most", body: good}, ""},
		{"wrong consistency and a bad line", exchange{method: "POST", path: "/write?db=d&consistency=most", body: "bad\n"}, ""},
		{"larger than 25 MB", exchange{method: "POST", path: "/write?db=d", body: strings.Repeat("# a comment of twenty-\n", 25_000_001/23+1)}, ""},
		{"two gzip members", exchange{method: "POST", path: "/write?db=d", body: gzipped(good) + gzipped(good), notGzip: true}, ""},
		{"truncated gzip", exchange{method: "POST", path: "/write?db=d", body: gzipped(good)[:30], notGzip: true}, ""},
		{"options", exchange{method: "OPTIONS", path: "/write"}, ""},
		{"options of queries", exchange{method: "OPTIONS", path: "/query"}, ""},
		{"put", exchange{method: "PUT", path: "/write?db=d", body: good}, ""},
		{"wrong method of queries", exchange{method: "DELETE", path: "/query"}, ""},
		{"head status", exchange{method: "HEAD", path: "/status"}, ""},
		{"misspelt query", exchange{method: "POST", path: "/query?q=CREATE+DATABASE"}, ""},
		{"half a policy", exchange{method: "POST", path: "/query?q=CREATE+RETENTION+POLICY+p+ON+d+DURATION+1d"}, ""},
		{"no policy", exchange{method: "POST", path: "/query?q=CREATE+RETENTION+POLICY"}, ""},
		{"misspelt word", exchange{method: "POST", path: "/query?q=CREATE+DATABASE+x+y"}, "1.6 expects ; and 1.8 also the end"},
		{"unknown policy", exchange{method: "POST", path: "/write?db=d&rp=nobody", body: good},
			"the relay takes it, and what the destination makes of it comes after the answer"},
		{"another type than before", exchange{method: "POST", path: "/write?db=d", body: "m,host=a f=\"text\" 1700000000000000001\n"},
			"the relay takes it, and what the destination makes of it comes after the answer"},
		{"70 tags", exchange{method: "POST", path: "/write?db=d", body: "m" + manyOf(70, ",t%d=1") + " f=1 1\n"}, "the relay bounds a line"},
		{"unknown precision", exchange{method: "POST", path: "/write?db=d&precision=fortnight", body: good},
			"1.6 does not know the error and writes nanoseconds"},
		{"unknown database", exchange{method: "POST", path: "/write?db=nobody", body: good},
			"the relay takes it and creates the database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, got := tt.send(t, c.db.url()), tt.send(t, c.relayURL)
			want, got = sameVersion(want), sameVersion(got)
			if tt.differs == "" && got != want {
				t.Errorf("the relay answers\n%s\nand InfluxDB\n%s", got, want)
			}
			if tt.differs != "" && got == want {
				t.Errorf("both answer the same, although %s:\n%s", tt.differs, got)
			}
		})
	}
}

var requestID = regexp.MustCompile(`(?m)^(X-)?Request-Id: .*\n`)

// sameVersion takes out of an answer what 1.6.7 does not have yet and 1.8, as
// which the relay answers, has: the client's own request id.
func sameVersion(answer string) string {
	return requestID.ReplaceAllString(answer, "")
}

// Queries that only read are answered through the relay as by the server itself.
func TestRelayPassesQueriesOn(t *testing.T) {
	t.Parallel()
	db := startInfluxd(t)
	m := newMachine(t)
	relay := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	config := m.file("node.toml", fmt.Sprintf(`
[relay]
  listen = %q
  data_directory = "$DIR/relay"
  query_url = %q
[[relay.destinations]]
  name = "influxdb"
  url = %q
`, strings.TrimPrefix(relay, "http://"), db.url(), db.url()))
	m.start("vitals-relay", "--config", config)
	eventually(t, 60*time.Second, func() string {
		status, text := get(t, relay+"/ready")
		if status != 200 {
			return text
		}
		return ""
	})
	exchange{method: "POST", path: "/query?q=CREATE+DATABASE+d"}.send(t, relay)
	var lines strings.Builder
	for i := range 100 {
		fmt.Fprintf(&lines, "m,host=h%d f=%d %d\n", i%3, i, 1700000000000000000+i)
	}
	exchange{method: "POST", path: "/write?db=d", body: lines.String(), gzip: true}.send(t, relay)
	eventually(t, 60*time.Second, func() string {
		if rows, err := db.tryQuery("d", `SELECT count(f) FROM m`); err != nil || len(rows) != 1 || fmt.Sprint(rows[0][1]) != "100" {
			return fmt.Sprint(rows, err)
		}
		return ""
	})
	for _, method := range []string{"GET", "POST"} {
		for _, query := range []string{
			"db=d&q=SELECT+*+FROM+m", "db=d&epoch=ms&q=SELECT+*+FROM+m", "db=d&pretty=true&q=SELECT+mean(f)+FROM+m+WHERE+host+%3D~+%2Fh[01]%2F+GROUP+BY+host",
			"db=d&chunked=true&chunk_size=7&q=SELECT+*+FROM+m", "q=SHOW+DATABASES", "db=d&q=SHOW+TAG+VALUES+WITH+KEY+%3D+host", "db=nobody&q=SELECT+*+FROM+m",
			"db=d&q=SELECT+f+FROM", "db=d&q=SELECT+f+FROM+m+LIMIT+1%3B+SHOW+MEASUREMENTS", "db=d&params=%7B%22h%22%3A%22h1%22%7D&q=SELECT+f+FROM+m+WHERE+host+%3D+$h+LIMIT+2",
		} {
			e := exchange{method: method, path: "/query?" + query}
			if want, got := sameVersion(e.send(t, db.url())), sameVersion(e.send(t, relay)); got != want {
				t.Errorf("%s %s: through the relay\n%s\nthe server itself\n%s", method, query, got, want)
			}
		}
	}
	for _, query := range []string{"q=DROP+DATABASE+d", "db=d&q=SELECT+f+INTO+n+FROM+m", "db=d&q=DELETE+FROM+m"} {
		if got := (exchange{method: "POST", path: "/query?" + query}).send(t, relay); !strings.HasPrefix(got, "403\n") {
			t.Errorf("%s: %s", query, got)
		}
	}
	if rows := db.query("d", `SELECT count(f) FROM m`); fmt.Sprint(rows[0][1]) != "100" {
		t.Errorf("%v", rows)
	}
}

// InfluxDB 1.6 has no /api/v2/write. VictoriaMetrics has, and is as content with
// the same bodies as the relay; of bad lines it says nothing.
func TestRelayTakesWhatVictoriaMetricsTakes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	vm := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	m.start("victoria-metrics", "-httpListenAddr="+vm, "-storageDataPath="+m.path("vm"), "-loggerLevel=ERROR")
	relay := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	m.start("vitals-relay", "--config", m.file("node.toml", fmt.Sprintf("[relay]\nlisten = %q\ndata_directory = \"$DIR/relay\"\n", relay)))
	for _, address := range []string{vm, relay} {
		eventually(t, 60*time.Second, func() string {
			status, text := get(t, "http://"+address+"/health")
			if status != 200 {
				return text
			}
			return ""
		})
	}
	const good = "m,host=a f=1 1700000000000000000\n"
	for name, e := range map[string]exchange{
		"plain": {body: good}, "gzip": {body: good, gzip: true}, "chunked gzip": {body: good, gzip: true, chunked: true}, "two members": {body: gzipped(good) + gzipped(good), notGzip: true},
		"no stamp": {body: "m f=1\n"}, "no newline": {body: "m f=1 1700000000000000000"}, "a comment": {body: "# c\n" + good}, "empty": {},
	} {
		for _, path := range []string{"/api/v2/write?org=o&bucket=d&precision=ns", "/api/v2/write?bucket=d/r", "/write?db=d"} {
			e.method, e.path = "POST", path
			for _, address := range []string{vm, relay} {
				if got := e.send(t, "http://"+address); !strings.HasPrefix(got, "204\n") {
					t.Errorf("%s, %s, %s: %s", name, path, address, got)
				}
			}
		}
	}
}
