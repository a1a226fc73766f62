package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/queue"
)

func TestASoundCompressedBodyIsKeptByteForByte(t *testing.T) {
	d := newDoor()
	body := gz("cpu,host=a v=1 1\n") + gz("cpu,host=a v=2 2\n")
	d.do(t, "POST", "/write?db=d", gzipped, strings.NewReader(body))
	if got := string(d.queue.batches[0].Body); got != body {
		t.Errorf("kept %x\nsent %x", got, body)
	}
}

func TestRequestID(t *testing.T) {
	d := newDoor()
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		h := d.do(t, "GET", "/ping", nil, nil).Header
		id := h.Get("Request-Id")
		if !form.MatchString(id) || id != h.Get("X-Request-Id") || seen[id] {
			t.Fatalf("Request-Id %q, X-Request-Id %q", id, h.Get("X-Request-Id"))
		}
		seen[id] = true
	}
	if got := d.do(t, "GET", "/ping", map[string]string{"Request-Id": "mine"}, nil).Header.Get("X-Request-Id"); got != "mine" {
		t.Errorf("the client's own: %q", got)
	}
}

func TestTheFleetSeesWhatWasAccepted(t *testing.T) {
	d := newDoor()
	d.do(t, "POST", "/write?db=d", gzipped, strings.NewReader(gz(good)))
	if len(d.fleet.texts) != 1 || d.fleet.texts[0] != good || d.fleet.addresses[0] != "10.0.0.9" {
		t.Errorf("%q from %q", d.fleet.texts, d.fleet.addresses)
	}
	for remote, want := range map[string]string{"[::1]:80": "::1", "10.0.0.1:5": "10.0.0.1", "": ""} {
		if got := host(remote); got != want {
			t.Errorf("host of %q: %q", remote, got)
		}
	}
}

// waiting is a queue whose Append answers when it is told to.
type waiting struct {
	entered chan struct{}
	answer  chan error
}

func (w *waiting) Append(context.Context, *queue.Batch) error {
	w.entered <- struct{}{}
	return <-w.answer
}

func TestNoAnswerBeforeTheLinesAreDurable(t *testing.T) {
	d := newDoor()
	q := &waiting{make(chan struct{}), make(chan error)}
	d.config.Queue = q
	server := httptest.NewServer(d)
	defer server.Close()
	for _, outcome := range []error{nil, errors.New("fdatasync: input/output error")} {
		status := make(chan int, 1)
		go func() {
			resp, err := http.Post(server.URL+"/write?db=d", "", strings.NewReader(good))
			if err != nil {
				t.Error(err)
				close(status)
				return
			}
			resp.Body.Close()
			status <- resp.StatusCode
		}()
		<-q.entered
		select {
		case s := <-status:
			t.Fatalf("answered %d while the lines were being synced", s)
		default:
		}
		q.answer <- outcome
		want := 204
		if outcome != nil {
			want = 503
		}
		if got := <-status; got != want {
			t.Errorf("%d after %v", got, outcome)
		}
	}
}

type panics struct{}

func (panics) Append(context.Context, *queue.Batch) error { panic("of all things") }

func TestPanicIsAnsweredAndCounted(t *testing.T) {
	d := newDoor()
	d.config.Queue = panics{}
	for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"} {
		resp := d.do(t, "POST", target, nil, strings.NewReader(good))
		if resp.StatusCode != 500 {
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
	if s := d.Stats(); s.Panics != 3 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBytesInFlightAreBounded(t *testing.T) {
	d := newDoor()
	d.config.MaxInFlight = 100 << 10
	q := &waiting{make(chan struct{}), make(chan error)}
	d.config.Queue = q
	body := strings.Repeat("m,host=a v=1 1\n", 4000) // 60 kB
	done := make(chan int)
	go func() {
		done <- d.do(t, "POST", "/write?db=d", nil, strings.NewReader(body)).StatusCode
	}()
	<-q.entered
	if got := d.do(t, "POST", "/write?db=d", nil, strings.NewReader(body)); got.StatusCode != 503 || got.Header.Get("Retry-After") == "" {
		t.Errorf("a second large body: %s", got.Status)
	}
	q.answer <- nil
	if got := <-done; got != 204 {
		t.Errorf("the first: %d", got)
	}
	if n := d.inFlight.Load(); n != 0 {
		t.Errorf("%d bytes stay in flight", n)
	}
}

// slow is a body whose deadline passes.
type slow struct{}

func (slow) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestABodyThatStopsComingIsNotTheLinesFault(t *testing.T) {
	d := newDoor()
	if got := d.do(t, "POST", "/write?db=d", nil, slow{}); got.StatusCode != 503 {
		t.Errorf("%s", got.Status)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	d := newDoor()
	resp := d.do(t, "POST", "/write?db=d", nil, strings.NewReader(strings.Repeat("bad line\n", 50_000)))
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || len(body) > 2*maxReasons || len(resp.Header.Get("X-Influxdb-Error")) != 1024 {
		t.Errorf("%s, %d bytes, header of %d", resp.Status, len(body), len(resp.Header.Get("X-Influxdb-Error")))
	}
}

func TestParamsAreRememberedButBounded(t *testing.T) {
	var p params
	if p.of(formV1, "db=x") != p.of(formV1, "db=x") {
		t.Error("parsed twice")
	}
	if p.of(formV2, "db=x") == p.of(formV1, "db=x") {
		t.Error("the versions share an entry")
	}
	for n := range 3 * maxParams {
		p.of(formV1, fmt.Sprintf("db=%d", n))
	}
	if len(p.known[formV1]) > maxParams {
		t.Errorf("%d are remembered", len(p.known[formV1]))
	}
	p.of(formV1, "db=x&u="+strings.Repeat("y", maxQuery))
	for k := range p.known[formV1] {
		if len(k) > maxQuery {
			t.Error("a long query is remembered")
		}
	}
}

func TestManyAtOnceKeepTheirBodiesApart(t *testing.T) {
	d := newDoor()
	server := httptest.NewServer(d)
	defer server.Close()
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 50 {
				text := fmt.Sprintf("m,c=%d v=%di 1\n", c, i)
				body, headers := []byte(strings.Repeat(text, 1+i*7)), "gzip"
				if i%2 == 0 {
					body = influx.Gzip(nil, body)
				} else {
					headers = ""
				}
				req, _ := http.NewRequest("POST", server.URL+"/write?db=d", bytes.NewReader(body))
				req.Header.Set("Content-Encoding", headers)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				resp.Body.Close()
			}
		})
	}
	wg.Wait()
	lines := map[string]int{}
	for l := range strings.Lines(d.queue.text(t)) {
		lines[l]++
	}
	for c := range 8 {
		for i := range 50 {
			if got := lines[fmt.Sprintf("m,c=%d v=%di 1\n", c, i)]; got != 1+i*7 {
				t.Errorf("client %d body %d: %d lines", c, i, got)
			}
		}
	}
}

func TestStored(t *testing.T) {
	for _, n := range []int{0, 1, stored, 65535} {
		text := bytes.Repeat([]byte("x"), n)
		got, err := influx.Gunzip(append(appendStored(nil, text), newlineMember...))
		if err != nil || string(got) != string(text)+"\n" {
			t.Errorf("%d bytes: %d bytes, %v", n, len(got), err)
		}
	}
}

// BenchmarkWrite serves bodies without the network and the disk, and with a
// view of the fleet beside it, which must not make it slower.
func BenchmarkWrite(b *testing.B) {
	text := func(lines int) string {
		var s strings.Builder
		for i := range lines {
			fmt.Fprintf(&s, "cpu,cpu=cpu%d,host=node%d usage_user=%v,usage_system=1.25,usage_idle=97,usage_nice=0,seq=%di %d\n", i%4, i%200, float64(i%1000)/10.3, i, 1700000000000000000+int64(i)*1000)
		}
		return s.String()
	}
	run := func(name string, lines int, looking Fleet) {
		for _, encoding := range []string{"gzip", ""} {
			b.Run(fmt.Sprintf("lines=%d/%s%s", lines, encoding, name), func(b *testing.B) {
				d := newDoor()
				d.config.Queue, d.config.Fleet = nothing{}, looking
				body := text(lines)
				b.SetBytes(int64(len(body)))
				if encoding != "" {
					body = gz(body)
				}
				d.config.MaxCompressedBody = 1 << 20
				r := httptest.NewRequest("POST", "/write?db=d", nil)
				r.Header.Set("Content-Encoding", encoding)
				r.ContentLength = int64(len(body))
				var src strings.Reader
				r.Body = io.NopCloser(&src)
				w := discard{http.Header{}}
				b.ReportAllocs()
				for b.Loop() {
					src.Reset(body)
					clear(w.header)
					d.ServeHTTP(w, r)
				}
				if s := d.Stats(); s.BadRequests > 0 || s.Refused > 0 {
					b.Fatalf("%+v", s)
				}
			})
		}
	}
	view := fleet.New(fleet.Config{})
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go view.Run(ctx, nil)
	for _, lines := range []int{10, 5000} {
		run("", lines, nil)
		run("+fleet", lines, view)
	}
}

type nothing struct{}

func (nothing) Append(context.Context, *queue.Batch) error { return nil }

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

func TestWhatTheRelayHasSentItselfIsNotTaken(t *testing.T) {
	d := newDoor()
	d.config.ID = "me"
	for path, want := range map[string]string{
		"/write?db=d":                      `{"error":"this destination's url is the relay itself; set it to where InfluxDB answers"}` + "\n",
		"/api/v2/write?bucket=d":           `{"code":"conflict","message":"this destination's url is the relay itself; set it to where InfluxDB answers"}`,
		"/query?q=CREATE+DATABASE+\"own\"": `{"error":"this destination's url is the relay itself; set it to where InfluxDB answers"}` + "\n",
	} {
		for id, status := range map[string]int{"me": 508, "other": 204} {
			r := httptest.NewRequest("POST", path, strings.NewReader("m v=1 1\n"))
			r.Header.Set(IDHeader, id)
			w := httptest.NewRecorder()
			d.ServeHTTP(w, r)
			if status == 508 && (w.Code != status || w.Body.String() != want) || status == 204 && w.Code/100 != 2 {
				t.Errorf("%s from %s: %d %s", path, id, w.Code, w.Body)
			}
		}
	}
	if len(d.queue.batches) != 2 || len(d.databases.created) != 1 {
		t.Errorf("%d batches, %d databases", len(d.queue.batches), len(d.databases.created))
	}
}

func TestABodyOfBadLinesCostsLittleAndKeepsNothing(t *testing.T) {
	body := strings.Repeat("x\n", 1<<19) + "m v=1 1\n"
	for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d"} {
		d := newDoor()
		resp := d.do(t, "POST", target, nil, strings.NewReader(body))
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 400 || len(text) > 2*maxReasons || len(d.queue.batches) != 0 {
			t.Errorf("%s: %s, %d bytes of text, %d batches kept, %v", target, resp.Status, len(text), len(d.queue.batches), err)
		}
		if bytes.Contains(text, []byte("partial write")) {
			t.Errorf("%s: it is said to be written in part: %.100s", target, text)
		}
	}
}

// A gzip header with an extra field is how the queue marks its frames.
func TestWhatLooksLikeAFrameIsPackedAnew(t *testing.T) {
	line := "m s=\"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x04\x00VL\" 1\n"
	extra := []byte(gz(line))
	extra[3] |= 4 // FEXTRA, and a field of four bytes
	extra = append(extra[:10:10], append([]byte("\x04\x00VL\x00\x00"), extra[10:]...)...)
	for name, body := range map[string]string{"a plain body": line, "a header of a client's": string(extra)} {
		d := newDoor()
		headers := map[string]string{}
		if body != line {
			headers = gzipped
		}
		if resp := d.do(t, "POST", "/write?db=d", headers, strings.NewReader(body)); resp.StatusCode != 204 {
			t.Fatalf("%s: %s", name, resp.Status)
		}
		if got := d.queue.text(t); !strings.HasSuffix(got, line) {
			t.Errorf("%s: kept %q", name, got)
		}
		if bytes.Contains(d.queue.batches[0].Body, extraHeader) {
			t.Errorf("%s: it stands in the queue as it came", name)
		}
	}
}

func TestALoneRequestIsNeverOneTooMany(t *testing.T) {
	d := newDoor()
	d.Handler.config.MaxInFlight = 10
	if resp := d.do(t, "POST", "/write?db=d", nil, strings.NewReader("m v=1\n")); resp.StatusCode != 204 {
		t.Error(resp.Status)
	}
}

func TestStampsCannotSwellABodyWithoutEnd(t *testing.T) {
	d := newDoor()
	d.Handler.config.MaxBody = 1000
	if resp := d.do(t, "POST", "/write?db=d", nil, strings.NewReader(strings.Repeat("m v=1\n", 160))); resp.StatusCode != 413 {
		t.Error(resp.Status)
	}
	if resp := d.do(t, "POST", "/write?db=d", nil, strings.NewReader(strings.Repeat("m v=1\n", 80))); resp.StatusCode != 204 {
		t.Error(resp.Status)
	}
}
