package ingest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/internal/line"
)

const v3CORS = "Access-Control-Allow-Origin: *\n"

func v3Says(status, text string) string {
	return status + "\n" + v3CORS + "Content-Type: text/plain; charset=utf-8\n\n" + text
}

func v3Fails(text string) string {
	return "400 Bad Request\n" + v3CORS + "Content-Type: application/json\n\n" + text
}

func TestContractV3(t *testing.T) {
	const ok = "204 No Content\n" + v3CORS + "\n"
	huge := strings.Repeat("m v=1 1\n", 400_000)
	const nameMistake = `{"error":"invalid character in database name: must be ASCII, containing only letters, numbers, underscores, or hyphens","data":null}`
	partial := `[{"error_message":"missing fields","line_number":2,"original_line":"bad"},{"error_message":"missing field value","line_number":3,"original_line":"cpu,host=\u003cb\u003e v="}]`
	tests := []contractCase{
		{name: "auto: seconds to nanoseconds", target: "/api/v3/write_lp?db=d", body: strings.NewReader("m v=1 1700000000\nm v=2 1700000000123\nm v=3 1700000000123456\nm v=4 1700000000123456789\n"), want: ok,
			kept: "d||ns\nm v=1 1700000000000000000\nm v=2 1700000000123000000\nm v=3 1700000000123456000\nm v=4 1700000000123456789\n"},
		{name: "auto, said", target: "/api/v3/write_lp?db=d&precision=auto", body: strings.NewReader("m v=1 7\nm v=2"), want: ok, kept: "d||ns\nm v=1 7000000000\nm v=2 1772368496789000000\n"},
		{name: "nanoseconds", target: "/api/v3/write_lp?db=d&precision=nanosecond", body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "microseconds", target: "/api/v3/write_lp?db=d&precision=us", body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||us\nm v=1 5\n"},
		{name: "milliseconds", target: "/api/v3/write_lp?db=d&precision=millisecond", body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||ms\nm v=1 5\n"},
		{name: "seconds", target: "/api/v3/write_lp?db=d&precision=second", body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||s\nm v=1 5\n"},
		{name: "a stamp of now is not truncated", target: "/api/v3/write_lp?db=d&precision=s", body: strings.NewReader("m v=1\n"), want: ok, kept: "d||ns\nm v=1 1772368496789000000\n"},
		{name: "no_sync is heard, and synced all the same", target: "/api/v3/write_lp?db=d&no_sync=true&precision=ns", body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "gzip of several members", target: "/api/v3/write_lp?db=d&precision=ns", headers: gzipped, body: strings.NewReader(gz("m v=1 1\n") + gz("m v=2 2\n")), want: ok, kept: "d||ns\nm v=1 1\nm v=2 2\n"},
		{name: "identity", target: "/api/v3/write_lp?db=d&precision=ns", headers: map[string]string{"Content-Encoding": "identity"}, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "another encoding", target: "/api/v3/write_lp?db=d", headers: map[string]string{"Content-Encoding": "zstd"}, body: strings.NewReader(good), want: v3Says("400 Bad Request", "unacceptable content-encoding: zstd")},
		{name: "bad lines among good ones", target: "/api/v3/write_lp?db=d&precision=ns", body: strings.NewReader(oneBad),
			want: v3Fails(`{"error":"partial write of line protocol occurred","data":` + partial + `}`), kept: "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"},
		{name: "accept_partial=true", target: "/api/v3/write_lp?db=d&precision=ns&accept_partial=true", body: strings.NewReader(oneBad),
			want: v3Fails(`{"error":"partial write of line protocol occurred","data":` + partial + `}`), kept: "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"},
		{name: "accept_partial=false: nothing is written", target: "/api/v3/write_lp?db=d&accept_partial=false", body: strings.NewReader(oneBad),
			want: v3Fails(`{"error":"line protocol parsing error","data":{"error_message":"missing fields","line_number":2,"original_line":"bad"}}`)},
		{name: "only bad lines", target: "/api/v3/write_lp?db=d", body: strings.NewReader("bad, and longer than twenty bytes\n"),
			want: v3Fails(`{"error":"partial write of line protocol occurred","data":[{"error_message":"missing tag key","line_number":1,"original_line":"bad, and longer than"}]}`)},
		{name: "empty body", target: "/api/v3/write_lp?db=d", body: strings.NewReader(""), want: v3Says("400 Bad Request", "incoming write was empty")},
		{name: "gzip of nothing", target: "/api/v3/write_lp?db=d", headers: gzipped, body: strings.NewReader(gz("")), want: v3Says("400 Bad Request", "incoming write was empty")},
		{name: "bad gzip", target: "/api/v3/write_lp?db=d", headers: gzipped, body: strings.NewReader("this is not gzip at all"), want: v3Says("400 Bad Request", "error decoding gzip stream: gzip: invalid header")},
		{name: "oversize", target: "/api/v3/write_lp?db=d", body: strings.NewReader(huge), want: v3Says("413 Request Entity Too Large", "max request size (2097152 bytes) exceeded")},
		{name: "oversize when inflated", target: "/api/v3/write_lp?db=d", headers: gzipped, body: strings.NewReader(gz(huge)), want: v3Says("413 Request Entity Too Large", "max request size (2097152 bytes) exceeded")},
		{name: "no parameters", target: "/api/v3/write_lp", body: strings.NewReader(good), want: v3Says("400 Bad Request", "missing query parameter 'db'")},
		{name: "no db", target: "/api/v3/write_lp?precision=s", body: strings.NewReader(good), want: v3Says("400 Bad Request", "serde error: missing field `db`")},
		{name: "empty db", target: "/api/v3/write_lp?db=", body: strings.NewReader(good), want: v3Fails(`{"error":"db name cannot be empty","data":null}`)},
		{name: "db that begins with a sign", target: "/api/v3/write_lp?db=_d", body: strings.NewReader(good), want: v3Fails(`{"error":"db name did not start with a number or letter","data":null}`)},
		{name: "db with a slash", target: "/api/v3/write_lp?db=d%2Fr", body: strings.NewReader(good), want: v3Fails(nameMistake)},
		{name: "db beyond ASCII", target: "/api/v3/write_lp?db=d%C3%BC", body: strings.NewReader(good), want: v3Fails(nameMistake)},
		{name: "unknown precision", target: "/api/v3/write_lp?db=d&precision=m", body: strings.NewReader(good),
			want: v3Says("400 Bad Request", "serde error: unknown variant `m`, expected one of `auto`, `second`, `millisecond`, `microsecond`, `nanosecond`")},
		{name: "no boolean", target: "/api/v3/write_lp?db=d&accept_partial=yes", body: strings.NewReader(good), want: v3Says("400 Bad Request", "serde error: provided string was not `true` or `false`")},
		{name: "GET", method: "GET", target: "/api/v3/write_lp?db=d", want: v3Says("404 Not Found", "not found")},
		{name: "an unknown path", method: "GET", target: "/api/v3/nothing", want: v3Says("404 Not Found", "not found")},
		{name: "options", method: "OPTIONS", target: "/api/v3/write_lp", want: "204 No Content\nAccess-Control-Allow-Headers: *\nAccess-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\n" + v3CORS + "\n"},
		{name: "health of v1 by its v3 path", method: "GET", target: "/api/v1/health", want: v3Says("200 OK", "OK")},
	}
	runContract(t, tests)
}

// contractDoor is a door that passes for other versions.
func contractDoor(t *testing.T, v Versions, tests []contractCase) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor()
			d.config.Versions = v
			d.config.Versions.defaults()
			d.headerV1, d.headerV2 = []string{d.config.Versions.V1}, []string{d.config.Versions.V2}
			checkContract(t, d, tt)
		})
	}
}

// /api/v2/write of InfluxDB 1.8, for clients of 2.x.
func TestContractV2Of18(t *testing.T) {
	const ok = "204 No Content\n" + v1NoErr
	contractDoor(t, Versions{V2: "1.8.10"}, []contractCase{
		{name: "bucket with a policy", target: "/api/v2/write?org=o&bucket=d/r&precision=us", headers: id, body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d|r|us\nm v=1 5\n"},
		{name: "bucket without", target: "/api/v2/write?bucket=d", headers: id, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "slash and no policy", target: "/api/v2/write?bucket=d/", headers: id, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
		{name: "no bucket", target: "/api/v2/write", headers: id, body: strings.NewReader(good),
			want: v1Fails("404 Not Found", `bucket name "" is missing a slash; not in "database/retention-policy" format`, `bucket name \"\" is missing a slash; not in \"database/retention-policy\" format`)},
		{name: "no database", target: "/api/v2/write?bucket=/r", headers: id, body: strings.NewReader(good),
			want: v1Fails("404 Not Found", `bucket name "/r" is in db/rp form but has an empty database`, `bucket name \"/r\" is in db/rp form but has an empty database`)},
		{name: "bad precision", target: "/api/v2/write?bucket=d&precision=m", headers: id, body: strings.NewReader(good),
			want: v1Fails("400 Bad Request", `invalid precision "m" (use ns, us, ms or s)`, `invalid precision \"m\" (use ns, us, ms or s)`)},
		{name: "bad lines among good ones", target: "/api/v2/write?bucket=d", headers: id, body: strings.NewReader(oneBad),
			want: v1Fails("400 Bad Request", "partial write: "+badText+" dropped=0", "partial write: "+badJSON+" dropped=0"), kept: "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"},
		{name: "empty body", target: "/api/v2/write?bucket=d", headers: id, body: strings.NewReader(""), want: ok},
	})
}

func TestSharedPathsOfV2(t *testing.T) {
	const json = "Content-Type: application/json; charset=utf-8\n"
	contractDoor(t, Versions{Shared: 2, V2: "v2.9.0"}, []contractCase{
		{name: "ping", method: "GET", target: "/ping", headers: id, want: "204 No Content\nX-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\n\n"},
		{name: "ping HEAD", method: "HEAD", target: "/ping", want: "204 No Content\nX-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\n\n"},
		{name: "health", method: "GET", target: "/health", want: "200 OK\n" + json + "X-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\n\n" +
			`{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], "version": "v2.9.0", "commit": "vitals-relay"}`},
		{name: "options with an origin", method: "OPTIONS", target: "/api/v2/write", headers: map[string]string{"Origin": "http://o"},
			want: "204 No Content\nAccess-Control-Allow-Headers: Accept, Content-Type, Content-Length, Accept-Encoding, Authorization, User-Agent\n" +
				"Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\nAccess-Control-Allow-Origin: http://o\nX-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\n\n"},
		{name: "a write from a page of an origin", target: "/api/v2/write?bucket=b", headers: map[string]string{"Origin": "http://o"}, body: strings.NewReader(good),
			want: "204 No Content\nAccess-Control-Allow-Origin: http://o\nX-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\n\n", kept: "b||ns\n" + good},
		{name: "an unknown path", method: "GET", target: "/api/v2/nothing",
			want: "404 Not Found\n" + json + "X-Influxdb-Build: OSS\nX-Influxdb-Version: v2.9.0\nX-Platform-Error-Code: not found\n\n" + `{"code":"not found","message":"path not found"}`},
		{name: "/write stays InfluxDB 1's", target: "/write?db=d&precision=us", headers: id, body: strings.NewReader(good),
			want: v1Fails("400 Bad Request", `invalid precision "us" (use n, u, ms, s, m or h)`, `invalid precision \"us\" (use n, u, ms, s, m or h)`)},
	})
}

func TestSharedPathsOfV3(t *testing.T) {
	d := newDoor()
	process := d.processID
	contractDoor(t, Versions{Shared: 3}, []contractCase{
		{name: "ping HEAD", method: "HEAD", target: "/ping", want: v3Says("404 Not Found", "not found")},
		{name: "health", method: "GET", target: "/health", want: v3Says("200 OK", "OK")},
		{name: "health HEAD", method: "HEAD", target: "/health", want: v3Says("404 Not Found", "not found")},
	})
	d.config.Versions.Shared = 3
	for _, method := range []string{"GET", "POST"} {
		got := render(t, d.do(t, method, "/ping", id, nil))
		want := "200 OK\n" + v3CORS + "Content-Type: application/json\nRequest-Id: id-1\nX-Influxdb-Build: Core\nX-Influxdb-Version: 3.10.1\nX-Request-Id: id-1\n\n" +
			`{"product_name":"InfluxDB 3 Core","version":"3.10.1","revision":"vitals-relay","process_id":"` + process + `"}`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", method, diff)
		}
	}
}

func TestReady(t *testing.T) {
	d := newDoor()
	d.started = now.Add(-90 * time.Second)
	const head = "\nContent-Type: application/json; charset=utf-8\n" + v2Tail + "\n"
	got := render(t, d.do(t, "GET", "/ready", nil, nil))
	want := "200 OK" + head + "{\n    \"status\": \"ready\",\n    \"started\": \"2026-03-01T12:33:26.789Z\",\n    \"up\": \"1m30s\"\n}\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	d.config.Ready = func() (bool, []string) { return true, []string{"a RAM disk"} }
	if resp := d.do(t, "GET", "/ready", nil, nil); resp.StatusCode != 200 || !strings.Contains(render(t, resp), `"notes": [`) {
		t.Error("what else there is to know is not said")
	}
	d.config.Ready = func() (bool, []string) { return false, []string{"the disk is full"} }
	got = render(t, d.do(t, "GET", "/ready", nil, nil))
	want = "503 Service Unavailable" + head + "{\n    \"status\": \"not ready\",\n    \"started\": \"2026-03-01T12:33:26.789Z\",\n    \"up\": \"1m30s\",\n    \"reasons\": [\n        \"the disk is full\"\n    ]\n}\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTroubleLastsUntilAWriteIsKept(t *testing.T) {
	d := newDoor()
	d.queue.fails = errors.New("disk is gone")
	d.do(t, "POST", "/write?db=d", nil, strings.NewReader(good))
	if d.Trouble() == nil {
		t.Error("there is no trouble")
	}
	d.queue.fails = nil
	d.do(t, "POST", "/write?db=d", nil, strings.NewReader(good))
	if err := d.Trouble(); err != nil {
		t.Error(err)
	}
}

func TestLinesBeyondALimitInTheWordsOfEachAPI(t *testing.T) {
	long := "m s=\"" + strings.Repeat("x", 3000) + "\" 1\n"
	body := "m v=1 1\n" + long
	const reason = "limit exceeded: 3008 bytes of line, at most 2000 are taken"
	quoted := long[:128] + "…"
	esc := strings.ReplaceAll(quoted, `"`, `\"`)
	tests := []contractCase{
		{name: "v1", target: "/write?db=d", headers: id, body: strings.NewReader(body), kept: "d||ns\nm v=1 1\n",
			want: v1Fails("400 Bad Request", "partial write: unable to parse '"+quoted+"': "+reason+" dropped=0", "partial write: unable to parse '"+esc+"': "+reason+" dropped=0")},
		{name: "v2", target: "/api/v2/write?bucket=d", body: strings.NewReader(body), want: v2Fails("400 Bad Request", "invalid", "unable to parse '"+esc+"': "+reason)},
		{name: "v3", target: "/api/v3/write_lp?db=d", body: strings.NewReader(body), kept: "d||ns\nm v=1 1000000000\n",
			want: v3Fails(`{"error":"partial write of line protocol occurred","data":[{"error_message":"` + reason + `","line_number":2,"original_line":"m s=\"xxxxxxxxxxxxxxx"}]}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor()
			d.config.Lines = line.Limits{Line: 2000}
			d.requests.New = func() any { return &request{handler: d.Handler, scanner: line.Scanner{Limits: d.config.Lines}} }
			checkContract(t, d, tt)
		})
	}
}

func TestTheRatioIsBounded(t *testing.T) {
	body := gz(strings.Repeat("m v=1 1\n", 1<<18)) // 2 MiB of a few kB
	for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"} {
		d := newDoor()
		d.config.MaxBody, d.config.MaxRatio = 4<<20, 1000
		if got := d.do(t, "POST", target, gzipped, strings.NewReader(body)); got.StatusCode != 204 {
			t.Errorf("%s within the ratio: %s", target, got.Status)
		}
		d.config.MaxRatio = 20
		if got := d.do(t, "POST", target, gzipped, strings.NewReader(body)); got.StatusCode != 413 {
			t.Errorf("%s beyond the ratio: %s", target, got.Status)
		}
	}
}

// phrases are what Telegraf drops a batch for, whatever the status is.
var phrases = []string{"partial write", "unable to parse", "points beyond retention policy", "retention policy not found", "hinted handoff queue not empty", "database not found"}

// No "not now" may hold a phrase that makes a client drop its lines, and on
// /write it may not be 4xx.
func TestNotNowNeverMakesAClientDropItsLines(t *testing.T) {
	for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"} {
		d := newDoor()
		causes := map[string]func(d *door) io.Reader{
			"queue": func(d *door) io.Reader {
				d.queue.fails = errors.New(strings.Join(phrases, " "))
				return strings.NewReader(good)
			},
			"silence": func(*door) io.Reader { return slow{} },
			"in flight": func(d *door) io.Reader {
				d.inFlight.Add(d.config.MaxInFlight)
				return strings.NewReader(good)
			},
		}
		for name, cause := range causes {
			d = newDoor()
			resp := d.do(t, "POST", target, nil, cause(d))
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s, %s: %s", target, name, resp.Status)
			}
			for _, phrase := range phrases {
				if strings.Contains(string(body)+resp.Header.Get("X-Influxdb-Error"), phrase) {
					t.Errorf("%s, %s: %q is in the answer %s", target, name, phrase, body)
				}
			}
		}
	}
}

func TestAConnectionTooManyIsToldInTheWordsOfTheAPI(t *testing.T) {
	for target, want := range map[string]string{
		"/write?db=d":            `{"error":"` + notNow + `"}` + "\n",
		"/api/v2/write?bucket=d": `{"code":"unavailable","message":"` + notNow + `"}`,
		"/api/v3/write_lp?db=d":  notNow,
	} {
		d := newDoor()
		d.config.Crowded = func(context.Context) bool { return true }
		resp := d.do(t, "POST", target, nil, unread{t})
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Connection") != "close" || string(body) != want {
			t.Errorf("%s: %s %v %s", target, resp.Status, resp.Header, body)
		}
	}
}
