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
