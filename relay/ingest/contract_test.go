package ingest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var id = map[string]string{"X-Request-Id": "id-1"}

// The headers that answers share; X-… come in the order of the alphabet.
const (
	v1Head  = "Content-Type: application/json\nRequest-Id: id-1\nX-Influxdb-Build: OSS\n"
	v1Tail  = "X-Influxdb-Version: 1.8.10\nX-Request-Id: id-1\n\n"
	v1NoErr = v1Head + v1Tail
	v2Tail  = "X-Influxdb-Build: OSS\nX-Influxdb-Version: v2.7.11\n"
)

func v1Fails(status, text, json string) string {
	return status + "\n" + v1Head + "X-Influxdb-Error: " + strings.ReplaceAll(text, "\n", " ") + "\n" + v1Tail + `{"error":"` + json + `"}` + "\n"
}

func v2Fails(status, code, json string) string {
	return status + "\nContent-Type: application/json; charset=utf-8\n" + v2Tail + "X-Platform-Error-Code: " + code + "\n\n" +
		`{"code":"` + code + `","message":"` + json + `"}`
}

type contractCase struct {
	name    string
	method  string // POST unless said
	target  string
	headers map[string]string
	body    io.Reader
	want    string // the answer
	kept    string // what is in the queue then
}

func with(headers ...string) map[string]string {
	m := map[string]string{"X-Request-Id": "id-1"}
	for i := 0; i < len(headers); i += 2 {
		m[headers[i]] = headers[i+1]
	}
	return m
}

// chunked hides a body's length.
func chunked(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) }

var gzipped = with("Content-Encoding", "gzip")

const (
	good    = "cpu,host=a v=1 1700000000000000000\nmem,host=a v=2i 1700000000000000001\n"
	oneBad  = "cpu,host=a v=1 1\nbad\ncpu,host=<b> v=\ncpu,host=c v=3 3\n"
	badText = "unable to parse 'bad': missing fields\nunable to parse 'cpu,host=<b> v=': missing field value"
	badJSON = `unable to parse 'bad': missing fields\nunable to parse 'cpu,host=\u003cb\u003e v=': missing field value`
)

func TestContractV1(t *testing.T) {
	const ok = "204 No Content\n" + v1NoErr
	huge := strings.Repeat("m v=1 1\n", 400_000)
	tests := []contractCase{
		{name: "good body", target: "/write?db=d", headers: id, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "retention policy and precision", target: "/write?db=d&rp=r&precision=s", headers: id, body: strings.NewReader("m v=1 1700000000\n"), want: ok, kept: "d|r|s\nm v=1 1700000000\n"},
		{name: "microseconds", target: "/write?db=d&precision=u", headers: id, body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||us\nm v=1 5\n"},
		{name: "milliseconds", target: "/write?db=d&precision=ms", headers: id, body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||ms\nm v=1 5\n"},
		{name: "minutes", target: "/write?db=d&precision=m", headers: id, body: strings.NewReader("m v=1 5\nm v=2\n"), want: ok, kept: "d||ns\nm v=1 300000000000\nm v=2 1772368440000000000\n"},
		{name: "hours", target: "/write?db=d&precision=h", headers: id, body: strings.NewReader("m v=1 2\n"), want: ok, kept: "d||ns\nm v=1 7200000000000\n"},
		{name: "no timestamp", target: "/write?db=d", headers: id, body: strings.NewReader("m v=1\nm v=2 7\n"), want: ok, kept: "d||ns\nm v=1 1772368496789000000\nm v=2 7\n"},
		{name: "no timestamp, seconds", target: "/write?db=d&precision=s", headers: id, body: strings.NewReader("m v=1\n"), want: ok, kept: "d||ns\nm v=1 1772368496000000000\n"},
		{name: "no newline at the end", target: "/write?db=d", headers: id, body: strings.NewReader("m v=1 1"), want: ok, kept: "d||ns\nm v=1 1\n"},
		{name: "gzip body", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz(good)), want: ok, kept: "d||ns\n" + good},
		{name: "gzip of several members", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz("m v=1 1\n") + gz("m v=2 2\n")), want: ok, kept: "d||ns\nm v=1 1\nm v=2 2\n"},
		{name: "gzip without newline at the end", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz("m v=1 1")), want: ok, kept: "d||ns\nm v=1 1\n"},
		{name: "chunked body", target: "/write?db=d", headers: id, body: chunked(good), want: ok, kept: "d||ns\n" + good},
		{name: "chunked gzip body", target: "/write?db=d", headers: gzipped, body: chunked(gz(good)), want: ok, kept: "d||ns\n" + good},
		{name: "empty body", target: "/write?db=d", headers: id, body: strings.NewReader(""), want: ok},
		{name: "only comments and blank lines", target: "/write?db=d", headers: id, body: strings.NewReader("# a\n\n  \n# b"), want: ok},
		{name: "comments among lines are kept with them", target: "/write?db=d", headers: id, body: strings.NewReader("# a\nm v=1 1\n"), want: ok, kept: "d||ns\n# a\nm v=1 1\n"},
		{name: "gzip of nothing", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz("")), want: ok},
		{name: "bad lines among good ones", target: "/write?db=d", headers: id, body: strings.NewReader(oneBad),
			want: v1Fails("400 Bad Request", "partial write: "+badText+" dropped=0", "partial write: "+badJSON+" dropped=0"),
			kept: "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"},
		{name: "the same, gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz(oneBad)),
			want: v1Fails("400 Bad Request", "partial write: "+badText+" dropped=0", "partial write: "+badJSON+" dropped=0"),
			kept: "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"},
		{name: "only bad lines", target: "/write?db=d", headers: id, body: strings.NewReader("bad\n"),
			want: v1Fails("400 Bad Request", "unable to parse 'bad': missing fields", "unable to parse 'bad': missing fields")},
		{name: "pretty error", target: "/write?db=d&pretty=true", headers: id, body: strings.NewReader("bad\n"),
			want: "400 Bad Request\n" + v1Head + "X-Influxdb-Error: unable to parse 'bad': missing fields\n" + v1Tail + "{\n    \"error\": \"unable to parse 'bad': missing fields\"\n}\n"},
		{name: "unknown precision", target: "/write?precision=us", headers: id, body: strings.NewReader(good),
			want: v1Fails("400 Bad Request", `invalid precision "us" (use n, u, ms, s, m or h)`, `invalid precision \"us\" (use n, u, ms, s, m or h)`)},
		{name: "missing db", target: "/write", headers: gzipped, body: strings.NewReader("no gzip"),
			want: v1Fails("400 Bad Request", "database is required", "database is required")},
		{name: "bad consistency", target: "/write?db=d&consistency=most", headers: id, body: strings.NewReader(good),
			want: v1Fails("400 Bad Request", "invalid consistency level", "invalid consistency level")},
		{name: "consistency after parsing", target: "/write?db=d&consistency=most", headers: id, body: strings.NewReader("bad"),
			want: v1Fails("400 Bad Request", "unable to parse 'bad': missing fields", "unable to parse 'bad': missing fields")},
		{name: "oversize", target: "/write?db=d", headers: id, body: strings.NewReader(huge),
			want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
		{name: "oversize, chunked", target: "/write?db=d", headers: id, body: chunked(huge),
			want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
		{name: "oversize when inflated", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz(huge)),
			want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
		{name: "oversize before inflating", target: "/write?db=d", headers: gzipped, body: strings.NewReader(strings.Repeat(gz(""), 4000)),
			want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
		{name: "bad gzip before oversize", target: "/write?db=d", headers: gzipped, body: strings.NewReader(huge),
			want: v1Fails("400 Bad Request", "gzip: invalid header", "gzip: invalid header")},
		{name: "bomb", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz(strings.Repeat("#", 1<<20+1<<19))),
			want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
		{name: "bad gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader("this is not gzip at all"),
			want: v1Fails("400 Bad Request", "gzip: invalid header", "gzip: invalid header")},
		{name: "empty gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader(""),
			want: v1Fails("400 Bad Request", "EOF", "EOF")},
		{name: "truncated gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader(gz(good)[:40]),
			want: v1Fails("400 Bad Request", "unexpected EOF", "unexpected EOF")},
		{name: "damaged gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader(damaged(gz(good))),
			want: v1Fails("400 Bad Request", "gzip: invalid checksum", "gzip: invalid checksum")},
		{name: "newline in a database", target: "/write?db=a%0Ab", headers: id, body: strings.NewReader(good),
			want: v1Fails("404 Not Found", `database not found: "a\nb"`, `database not found: \"a\\nb\"`)},
		{name: "slash in a database", target: "/write?db=..%2Fb", headers: id, body: strings.NewReader(good),
			want: v1Fails("404 Not Found", `database not found: "../b"`, `database not found: \"../b\"`)},
		{name: "dots for a database", target: "/write?db=..", headers: id, body: strings.NewReader(good),
			want: v1Fails("404 Not Found", `database not found: ".."`, `database not found: \"..\"`)},
		{name: "backslash in a retention policy", target: "/write?db=d&rp=a%5Cb", headers: id, body: strings.NewReader(good),
			want: v1Fails("400 Bad Request", "invalid name of a retention policy, or too long a name", "invalid name of a retention policy, or too long a name")},
		{name: "wrong method", method: "PUT", target: "/write?db=d", headers: id, body: strings.NewReader(good),
			want: "405 Method Not Allowed\nAllow: OPTIONS, POST\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nX-Influxdb-Build: OSS\nX-Influxdb-Version: 1.8.10\n\nMethod Not Allowed\n"},
		{name: "GET", method: "GET", target: "/write?db=d", headers: id,
			want: "405 Method Not Allowed\nAllow: OPTIONS, POST\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nX-Influxdb-Build: OSS\nX-Influxdb-Version: 1.8.10\n\nMethod Not Allowed\n"},
		{name: "options", method: "OPTIONS", target: "/write", headers: with("Origin", "http://o"),
			want: "200 OK\nAccess-Control-Allow-Headers: Accept, Accept-Encoding, Authorization, Content-Length, Content-Type, X-CSRF-Token, X-HTTP-Method-Override\n" +
				"Access-Control-Allow-Methods: DELETE, GET, OPTIONS, POST, PUT\nAccess-Control-Allow-Origin: http://o\n" +
				"Access-Control-Expose-Headers: Date, X-InfluxDB-Version, X-InfluxDB-Build\nRequest-Id: id-1\n" +
				"X-Influxdb-Build: OSS\n" + v1Tail},
		{name: "ping", method: "GET", target: "/ping", headers: id, want: ok},
		{name: "ping HEAD", method: "HEAD", target: "/ping", headers: id, want: ok},
		{name: "ping verbose", method: "GET", target: "/ping?verbose=true", headers: id, want: "200 OK\n" + v1NoErr + `{"version":"1.8.10"}`},
		{name: "ping verbose 0", method: "GET", target: "/ping?verbose=0", headers: id, want: ok},
		{name: "ping POST", method: "POST", target: "/ping", headers: id,
			want: "405 Method Not Allowed\nAllow: GET, HEAD\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nX-Influxdb-Build: OSS\nX-Influxdb-Version: 1.8.10\n\nMethod Not Allowed\n"},
		{name: "status", method: "GET", target: "/status", headers: id, want: ok},
		{name: "health", method: "GET", target: "/health", headers: id,
			want: "200 OK\n" + v1NoErr + `{"checks":[],"message":"ready for queries and writes","name":"influxdb","status":"pass","version":"1.8.10"}`},
		{name: "elsewhere", method: "GET", target: "/nowhere", headers: id,
			want: "404 Not Found\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\n\n404 page not found\n"},
	}
	runContract(t, tests)
}

func TestContractV2(t *testing.T) {
	const ok = "204 No Content\n" + v2Tail + "\n"
	tests := []contractCase{
		{name: "good body", target: "/api/v2/write?org=o&bucket=b", body: strings.NewReader(good), want: ok, kept: "b||ns\n" + good},
		{name: "bucket with a retention policy", target: "/api/v2/write?bucket=b/r&precision=us", body: strings.NewReader("m v=1 5\n"), want: ok, kept: "b|r|us\nm v=1 5\n"},
		{name: "seconds, no timestamp", target: "/api/v2/write?bucket=b&precision=s", body: strings.NewReader("m v=1"), want: ok, kept: "b||ns\nm v=1 1772368496000000000\n"},
		{name: "gzip body", target: "/api/v2/write?bucket=b", headers: gzipped, body: strings.NewReader(gz(good)), want: ok, kept: "b||ns\n" + good},
		{name: "chunked body", target: "/api/v2/write?bucket=b", body: chunked(good), want: ok, kept: "b||ns\n" + good},
		{name: "empty body", target: "/api/v2/write?bucket=b", body: strings.NewReader(""), want: ok},
		{name: "one bad line: nothing is written", target: "/api/v2/write?bucket=b", body: strings.NewReader(oneBad), want: v2Fails("400 Bad Request", "invalid", badJSON)},
		{name: "unknown precision", target: "/api/v2/write?precision=m", body: strings.NewReader(good),
			want: v2Fails("400 Bad Request", "invalid", "invalid precision; valid precision units are ns, us, ms, and s")},
		{name: "missing bucket", target: "/api/v2/write?org=o", headers: gzipped, body: strings.NewReader("no gzip"), want: v2Fails("404 Not Found", "not found", "bucket not found")},
		{name: "bucket without a database", target: "/api/v2/write?bucket=/r", body: strings.NewReader(good), want: v2Fails("404 Not Found", "not found", `bucket \"/r\" not found`)},
		{name: "oversize", target: "/api/v2/write?bucket=b", body: strings.NewReader(strings.Repeat("m v=1 1\n", 400_000)),
			want: v2Fails("413 Request Entity Too Large", "request too large", "unable to read data: points batch is too large")},
		{name: "bad gzip", target: "/api/v2/write?bucket=b", headers: gzipped, body: strings.NewReader("this is not gzip at all"),
			want: v2Fails("500 Internal Server Error", "internal error", "An internal error has occurred - check server logs")},
		{name: "empty gzip", target: "/api/v2/write?bucket=b", headers: gzipped, body: strings.NewReader(""), want: v2Fails("400 Bad Request", "invalid", "unable to read data: EOF")},
		{name: "truncated gzip", target: "/api/v2/write?bucket=b", headers: gzipped, body: strings.NewReader(gz(good)[:40]),
			want: v2Fails("400 Bad Request", "invalid", "unable to read data: unexpected EOF")},
		{name: "damaged gzip", target: "/api/v2/write?bucket=b", headers: gzipped, body: strings.NewReader(damaged(gz(good))),
			want: v2Fails("400 Bad Request", "invalid", "unable to read data: gzip: invalid checksum")},
		{name: "wrong method", method: "GET", target: "/api/v2/write?bucket=b",
			want: "405 Method Not Allowed\nAllow: OPTIONS, POST\n" + v2Fails("", "method not allowed", "allow: OPTIONS, POST")[1:]},
	}
	runContract(t, tests)
}

// damaged flips a bit of the checksum.
func damaged(gzip string) string {
	b := []byte(gzip)
	b[len(b)-8] ^= 1
	return string(b)
}

func runContract(t *testing.T, tests []contractCase) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { checkContract(t, newDoor(), tt) })
	}
}

func checkContract(t *testing.T, d *door, tt contractCase) {
	t.Helper()
	if tt.method == "" {
		tt.method = http.MethodPost
	}
	got := render(t, d.do(t, tt.method, tt.target, tt.headers, tt.body))
	if diff := cmp.Diff(tt.want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tt.kept, d.queue.text(t)); diff != "" {
		t.Errorf("queue (-want +got):\n%s", diff)
	}
	if n := d.inFlight.Load(); n != 0 {
		t.Errorf("%d bytes are still in flight", n)
	}
}

func TestNotNow(t *testing.T) {
	d := newDoor()
	d.queue.fails = errors.New("disk is gone")
	tests := []struct {
		target, body string
	}{
		{"/write?db=d", v1Fails("503 Service Unavailable", notNow, notNow)},
		{"/api/v2/write?bucket=d", v2Fails("503 Service Unavailable", "unavailable", notNow)},
		{"/api/v3/write_lp?db=d", v3Says("503 Service Unavailable", notNow)},
	}
	for _, tt := range tests {
		t.Run(tt.target, func(t *testing.T) {
			resp := d.do(t, "POST", tt.target, id, strings.NewReader(good))
			if after := resp.Header.Get("Retry-After"); after < "2" || after > "6" {
				t.Errorf("Retry-After: %q", after)
			}
			resp.Header.Del("Retry-After")
			if diff := cmp.Diff(tt.body, render(t, resp)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if len(d.fleet.texts) > 0 {
		t.Error("the fleet was shown lines that were not kept")
	}
	if s := d.Stats(); s.Refused != 3 || s.Lines != 0 {
		t.Errorf("%+v", s)
	}
}

func TestQueries(t *testing.T) {
	const okay = "200 OK\n" + v1NoErr
	form := map[string]string{"X-Request-Id": "id-1", "Content-Type": "application/x-www-form-urlencoded"}
	tests := []contractCase{
		{name: "create database", target: "/query", headers: form, body: strings.NewReader(`q=CREATE+DATABASE+"d"`), want: okay + `{"results":[{"statement_id":0}]}` + "\n"},
		{name: "in the address", target: "/query?q=CREATE%20DATABASE%20d", headers: id, want: okay + `{"results":[{"statement_id":0}]}` + "\n"},
		{name: "GET", method: "GET", target: "/query?q=CREATE+DATABASE+d", headers: id,
			want: okay + `{"results":[{"statement_id":0,"messages":[{"level":"warning","text":"deprecated use of 'CREATE DATABASE \"d\"' in a read only context, please use a POST request instead"}]}]}` + "\n"},
		{name: "create retention policy", target: "/query", headers: form, body: strings.NewReader(`q=CREATE+RETENTION+POLICY+p+ON+d+DURATION+1d+REPLICATION+1`), want: okay + `{"results":[{"statement_id":0}]}` + "\n"},
		{name: "show databases", method: "GET", target: "/query?q=SHOW+DATABASES", headers: id,
			want: okay + `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["a"],["b"]]}]}]}` + "\n"},
		{name: "show retention policies", method: "GET", target: "/query?q=SHOW+RETENTION+POLICIES+ON+a", headers: id,
			want: okay + `{"results":[{"statement_id":0,"series":[{"columns":["name","duration","shardGroupDuration","replicaN","default"],"values":[["p","8760h0m0s","168h0m0s",3,true]]}]}]}` + "\n"},
		{name: "… of an unknown database, and what follows", method: "GET", target: "/query?q=SHOW+RETENTION+POLICIES+ON+x%3BSHOW+DATABASES", headers: id,
			want: okay + `{"results":[{"statement_id":0,"error":"database not found: x"}]}` + "\n"},
		{name: "two statements, pretty", target: "/query?pretty=true", headers: form, body: strings.NewReader(`q=CREATE+DATABASE+d%3B+CREATE+DATABASE+e`),
			want: okay + "{\n    \"results\": [\n        {\n            \"statement_id\": 0\n        },\n        {\n            \"statement_id\": 1\n        }\n    ]\n}\n"},
		{name: "no query", target: "/query", headers: id, want: v1Fails("400 Bad Request", `missing required parameter "q"`, `missing required parameter \"q\"`)},
		{name: "misspelt", target: "/query?q=CREATE+DATABASE", headers: id,
			want: v1Fails("400 Bad Request", `error parsing query: found EOF, expected identifier at line 1, char 17`, `error parsing query: found EOF, expected identifier at line 1, char 17`)},
		{name: "a question", method: "GET", target: "/query?q=SELECT+1", headers: id,
			want: v1Fails("400 Bad Request", "vitals-relay does not answer queries, ask InfluxDB itself, or set query_url below [relay]; it knows CREATE DATABASE, CREATE RETENTION POLICY, SHOW DATABASES and SHOW RETENTION POLICIES (statement is not known: SELECT 1)",
				"vitals-relay does not answer queries, ask InfluxDB itself, or set query_url below [relay]; it knows CREATE DATABASE, CREATE RETENTION POLICY, SHOW DATABASES and SHOW RETENTION POLICIES (statement is not known: SELECT 1)")},
		{name: "wrong method", method: "DELETE", target: "/query", headers: id,
			want: "405 Method Not Allowed\nAllow: GET, OPTIONS, POST\nContent-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff\nX-Influxdb-Build: OSS\nX-Influxdb-Version: 1.8.10\n\nMethod Not Allowed\n"},
	}
	runContract(t, tests)
}

func TestCreateFails(t *testing.T) {
	d := newDoor()
	d.databases.fails = errors.New("too many databases")
	got := render(t, d.do(t, "POST", "/query?q=CREATE+DATABASE+d", id, nil))
	if want := "200 OK\n" + v1NoErr + `{"results":[{"statement_id":0,"error":"too many databases"}]}` + "\n"; got != want {
		t.Error(cmp.Diff(want, got))
	}
}
