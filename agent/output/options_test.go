package output

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/pin"
)

// store answers as an InfluxDB does and remembers where each line went.
type store struct {
	mu     sync.Mutex
	where  map[string][]string // by the query's db, rp or bucket
	header http.Header
	query  url.Values
	refuse func(bucket string) int // status, 0: stored
	most   atomic.Int32            // writes at one time
	now    atomic.Int32
	meet   bool // a write waits for another
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.now.Add(1)
	defer s.now.Add(-1)
	for was := s.most.Load(); was < now && !s.most.CompareAndSwap(was, now); was = s.most.Load() {
	}
	for end := time.Now().Add(patience); s.meet && s.most.Load() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	body, err := io.ReadAll(r.Body)
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		body, err = influx.Gunzip(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	s.header, s.query = r.Header, q
	to := strings.TrimSuffix(q.Get("db")+"/"+q.Get("rp"), "/") + q.Get("bucket")
	if s.refuse != nil {
		if code := s.refuse(to); code != 0 {
			w.WriteHeader(code)
			return
		}
	}
	if s.where == nil {
		s.where = map[string][]string{}
	}
	for l := range strings.Lines(string(body)) {
		s.where[to] = append(s.where[to], strings.TrimSuffix(l, "\n"))
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *store) places() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]string{}
	for k, v := range s.where {
		all[k] = slices.Clone(v)
	}
	return all
}

func (s *store) lines() (n int) {
	for _, v := range s.places() {
		n += len(v)
	}
	return n
}

// sends gives an output lines and waits until they are stored.
func sends(t *testing.T, c Config, s *store, lines ...string) *running {
	t.Helper()
	o := run(t, c)
	o.Append(t.Context(), []byte(strings.Join(lines, "\n")+"\n"), len(lines))
	o.until("all is stored", func() bool { return s.lines() == len(lines) && o.done() })
	return o
}

func TestEncodingHeadersAndConsistency(t *testing.T) {
	s := &store{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := settings(srv.URL)
	c.Identity, c.Consistency, c.Headers = true, "all", map[string]string{"X-Scope": "a"}
	sends(t, c, s, "m n=1i 1")
	if s.header.Get("Content-Encoding") != "" || s.query.Get("consistency") != "all" || s.header.Get("X-Scope") != "a" {
		t.Error(s.header, s.query)
	}
	c.Identity, c.Consistency = false, "one"
	s.where = nil
	sends(t, c, s, "m n=1i 1")
	if s.header.Get("Content-Encoding") != "gzip" || s.query.Has("consistency") {
		t.Error(s.header, s.query)
	}
}

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "v") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := &store{}
	srv := httptest.NewUnstartedServer(s)
	if srv.Listener, err = net.Listen("unix", filepath.Join(dir, "s")); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer srv.Close()
	for _, name := range []string{"influxdb", "influxdb_v2"} {
		s.where = nil
		c := settings("unix://" + filepath.Join(dir, "s"))
		c.Name, c.Bucket = name, "b"
		o := sends(t, c, s, "m n=1i 1")
		if got := o.Status().URL; got != c.URLs[0] {
			t.Error(got)
		}
	}
}

func TestProxy(t *testing.T) {
	s := &store{}
	var hosts []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.URL.Host)
		s.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	c := settings("http://influx.example:8086")
	var err error
	if c.Proxy, err = url.Parse(proxy.URL); err != nil {
		t.Fatal(err)
	}
	o := sends(t, c, s, "m n=1i 1")
	if err := o.stop(); err != nil {
		t.Error(err)
	}
	if len(hosts) != 1 || hosts[0] != "influx.example:8086" {
		t.Error(hosts)
	}
}

func TestLocalAddress(t *testing.T) {
	s := &store{}
	var from atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from.Store(r.RemoteAddr)
		s.ServeHTTP(w, r)
	}))
	defer srv.Close()
	c := settings(srv.URL)
	c.Local = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}
	sends(t, c, s, "m n=1i 1")
	if got := fmt.Sprint(from.Load()); !strings.HasPrefix(got, "127.0.0.7:") {
		t.Error(got)
	}
}

func TestTLS(t *testing.T) {
	s := &store{}
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	f := func(name string, tls config.TLS, want string) {
		t.Helper()
		c := settings(srv.URL)
		c.TLS = tls
		o := run(t, c)
		before := s.lines()
		o.give(0, 1)
		o.until(name, func() bool {
			return want == "" && s.lines() > before || want != "" && strings.Contains(o.Status().LastError, want)
		})
	}
	f("a stranger", config.TLS{}, "certificate")
	f("a known one", config.TLS{CA: ca}, "")
	f("no questions asked", config.TLS{SkipVerify: true}, "")
	f("of another name", config.TLS{CA: ca, ServerName: "elsewhere.example"}, "elsewhere.example")
	f("of the name it has", config.TLS{CA: ca, ServerName: "example.com"}, "")
	pins, err := pin.Parse(pin.Of(srv.Certificate()))
	if err != nil {
		t.Fatal(err)
	}
	f("of the pinned key", config.TLS{Pins: pins}, "")
	f("of another key than the pinned one", config.TLS{Pins: pin.Pins{{1}}}, "the server's key is "+pins.String())
}

func TestRoutes(t *testing.T) {
	f := func(name string, set func(c *Config), lines []string, want map[string][]string) {
		t.Helper()
		s := &store{}
		srv := httptest.NewServer(s)
		defer srv.Close()
		c := settings(srv.URL)
		set(&c)
		o := sends(t, c, s, lines...)
		if diff := cmp.Diff(want, s.places()); diff != "" {
			t.Error(name, diff)
		}
		if st := o.Status(); st.Written != int64(len(lines)) {
			t.Errorf("%s: %+v", name, st)
		}
		if err := o.stop(); err != nil {
			t.Error(err)
		}
	}
	lines := []string{"m,db=a,x=1 n=1i 1", "m n=2i 2", "m,db=b,rp=y n=3i 3", `m,db=a\ b n=4i 4`, "m,db=a,x=1 n=5i 5"}
	f("database", func(c *Config) { c.DatabaseTag.Tag = "db" }, lines, map[string][]string{
		"a/r": {lines[0], lines[4]}, "d/r": {lines[1]}, "b/r": {lines[2]}, "a b/r": {lines[3]},
	})
	f("database and policy, both left out", func(c *Config) {
		c.DatabaseTag, c.PolicyTag = config.Route{Tag: "db", Exclude: true}, config.Route{Tag: "rp", Exclude: true}
	}, lines, map[string][]string{
		"a/r": {"m,x=1 n=1i 1", "m,x=1 n=5i 5"}, "d/r": {"m n=2i 2"}, "b/y": {"m n=3i 3"}, "a b/r": {"m n=4i 4"},
	})
	v2 := func(c *Config) { c.Name, c.Bucket, c.Database, c.RetentionPolicy = "influxdb_v2", "k", "", "" }
	f("bucket", func(c *Config) { v2(c); c.BucketTag.Tag = "db" }, lines, map[string][]string{
		"a": {lines[0], lines[4]}, "k": {lines[1]}, "b": {lines[2]}, "a b": {lines[3]},
	})
	f("bucket, left out", func(c *Config) { v2(c); c.BucketTag = config.Route{Tag: "db", Exclude: true} }, lines[:2], map[string][]string{
		"a": {"m,x=1 n=1i 1"}, "k": {"m n=2i 2"},
	})
}

// While one bucket takes nothing, the others get theirs, once; and nothing is
// lost or doubled when it is well again.
func TestARouteThatFails(t *testing.T) {
	for _, code := range []int{401, 404, 429, 500, 503} {
		s := &store{}
		s.refuse = func(bucket string) int {
			if bucket == "b" {
				return code
			}
			return 0
		}
		srv := httptest.NewServer(s)
		c := settings(srv.URL)
		c.Name, c.Bucket, c.BucketTag.Tag, c.Directory = "influxdb_v2", "k", "db", t.TempDir()
		o := run(t, c)
		lines := []string{"m,db=b n=1i 1", "m,db=a n=2i 2", "m,db=b n=3i 3", "m n=4i 4", "m,db=a n=5i 5"}
		o.Append(t.Context(), []byte(strings.Join(lines, "\n")+"\n"), len(lines))
		o.until("it has failed twice", func() bool { o.FlushNow(); return o.Status().Failures >= 2 })
		o.holds(5)
		if got := s.places(); code < 429 && len(got["k"])+len(got["a"]) != 3 || len(got["b"]) != 0 {
			t.Errorf("%d: %v", code, got)
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		o.FlushNow()
		o.until("all is stored", func() bool { return o.Held() == 0 })
		want := map[string][]string{"b": {lines[0], lines[2]}, "a": {lines[1], lines[4]}, "k": {lines[3]}}
		got := s.places()
		if code == 500 { // which is taken for the fault of a line, if it has failed once more by now: the others are written first, and as a proof
			slices.Sort(got["b"])
			got["b"] = slices.Compact(got["b"])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(code, diff)
		}
		if err := o.stop(); err != nil {
			t.Error(err)
		}
		srv.Close()
	}
}

// A batch that is tried again is the same batch, however much has come in since:
// what has arrived of it is not sent again.
func TestARouteThatFailsWhileLinesComeIn(t *testing.T) {
	for _, disk := range []bool{false, true} {
		s := &store{}
		s.refuse = func(bucket string) int {
			if bucket == "b" {
				return 403
			}
			return 0
		}
		srv := httptest.NewServer(s)
		c := settings(srv.URL)
		c.Name, c.Bucket, c.BucketTag.Tag, c.Directory, c.Disk = "influxdb_v2", "k", "db", t.TempDir(), disk
		o := run(t, c)
		give := func(from, to int) {
			for i := from; i < to; i++ {
				o.Append(t.Context(), fmt.Appendf(nil, "m,db=%c n=%di %d\n", "ab"[i%2], i, i), 1)
			}
		}
		give(0, 4)
		for i := range 4 {
			o.until("it has failed again", func() bool { o.FlushNow(); return o.Status().Failures > int64(i) })
			give(4+4*i, 8+4*i)
		}
		s.mu.Lock()
		s.refuse = nil
		s.mu.Unlock()
		o.until("all is stored", func() bool { o.FlushNow(); return o.Held() == 0 })
		for at, bucket := range []string{"a", "b"} {
			var want []string
			for i := at; i < 20; i += 2 {
				want = append(want, fmt.Sprintf("m,db=%s n=%di %d", bucket, i, i))
			}
			if diff := cmp.Diff(want, s.places()[bucket]); diff != "" {
				t.Errorf("disk %v: %s", disk, diff)
			}
		}
		if err := o.stop(); err != nil {
			t.Error(err)
		}
		srv.Close()
	}
}

// Several writes go at the same time, and each series keeps its order.
func TestConcurrentWrites(t *testing.T) {
	s := &store{meet: true}
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := settings(srv.URL)
	c.Name, c.Bucket, c.ConcurrentWrites, c.BatchSize, c.BufferLimit = "influxdb_v2", "k", 4, 100, 1000
	var lines []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("m,s=%d n=%di %d", i%10, i, i))
	}
	sends(t, c, s, lines...)
	if s.most.Load() < 2 || s.most.Load() > 4 {
		t.Errorf("%d writes at one time", s.most.Load())
	}
	got := s.places()["k"]
	for series := range 10 {
		var of []string
		for _, l := range got {
			if strings.HasPrefix(l, fmt.Sprintf("m,s=%d ", series)) {
				of = append(of, l)
			}
		}
		var want []string
		for i := series; i < 300; i += 10 {
			want = append(want, lines[i])
		}
		if diff := cmp.Diff(want, of); diff != "" {
			t.Error(diff)
		}
	}
}

func TestFailOverOverBothVersions(t *testing.T) {
	for _, name := range []string{"influxdb", "influxdb_v2"} {
		for _, code := range []int{0, 401, 404, 429, 500, 503} {
			var bad atomic.Int32
			first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if bad.Add(1); code == 0 {
					panic(http.ErrAbortHandler)
				}
				w.WriteHeader(code)
			}))
			s := &store{}
			second := httptest.NewServer(s)
			c := settings(first.URL, second.URL)
			c.Name, c.Bucket = name, "k"
			o := sends(t, c, s, "m n=1i 1")
			for i := range 3 { // sticky: the first is not asked any more
				o.give(i, i+1)
				o.until("it is stored", func() bool { return s.lines() == i+2 && o.done() })
			}
			if st := o.Status(); bad.Load() != 1 || st.Failures != 0 || st.URL != second.URL {
				t.Errorf("%s %d: the bad one was asked %d times; %+v", name, code, bad.Load(), st)
			}
			if err := o.stop(); err != nil {
				t.Error(err)
			}
			first.Close()
			second.Close()
		}
	}
}

func TestRateLimit(t *testing.T) {
	p := pace{limit: 100, period: time.Second}
	now := time.Unix(1000, 0)
	f := func(after time.Duration, sent int64, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if got := p.wait(now, sent); got != want {
			t.Errorf("wait %v, want %v", got, want)
		}
	}
	f(0, 0, 0)
	f(0, 99, 0)
	f(300*time.Millisecond, 100, 700*time.Millisecond)
	f(700*time.Millisecond, 100, 0)
	f(0, 350, time.Second) // 250 at once: two and a half periods' worth
	f(time.Second, 350, time.Second)
	f(time.Second, 350, 0)
	f(0, 399, 0)
	f(10*time.Second, 400, 0) // nothing is saved up
	f(0, 500, time.Second)
}

// The limit is kept over the wire, and what it delays is not lost when the
// output stops.
func TestRateLimitOfAnOutput(t *testing.T) {
	s := &store{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	c := settings(srv.URL)
	c.RateLimit, c.RatePeriod, c.Directory, c.BatchSize = 1, time.Hour, t.TempDir(), 10
	o := run(t, c)
	o.give(0, 200)
	o.until("the rest waits", func() bool { n := s.lines(); return n > 0 && int64(n)+o.Held() == 200 })
	first := s.lines()
	o.FlushNow()
	o.FlushNow()
	if first > 10 || s.lines() != first {
		t.Errorf("%d and then %d lines were sent in the first hour", first, s.lines())
	}
	if st := o.Status(); st.State != StateOK || st.MemoryLines > 100 {
		t.Errorf("%+v", st)
	}
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	c.RateLimit, c.RatePeriod = 0, 0
	o = run(t, c)
	o.until("all is stored", func() bool { return s.lines() == 200 && o.Held() == 0 })
}

func TestBatchesAreBounded(t *testing.T) {
	for _, disk := range []bool{false, true} {
		var most, bytes atomic.Int64
		s := &store{}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			text, _ := influx.Gunzip(body)
			most.Store(max(most.Load(), int64(strings.Count(string(text), "\n"))))
			bytes.Store(max(bytes.Load(), int64(len(text))))
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			s.ServeHTTP(w, r)
		}))
		c := settings(srv.URL)
		c.BatchSize, c.BatchBytes, c.BufferLimit, c.Directory, c.Disk = 50, 4096, 5000, t.TempDir(), disk
		var lines []string
		for i := range 1000 {
			lines = append(lines, fmt.Sprintf("m,s=%d text=\"%s\n\" %d", i, strings.Repeat("x", i%300), i))
		}
		o := run(t, c)
		o.Append(t.Context(), []byte(strings.Join(lines, "\n")+"\n"), len(lines))
		o.until("all is sent", o.done)
		if got := o.Status().Written; got != 1000 || most.Load() > 100 || bytes.Load() > 4096 || most.Load() < 20 {
			t.Errorf("disk %v: %d lines written, at most %d newlines and %d bytes in a write", disk, got, most.Load(), bytes.Load())
		}
		srv.Close()
	}
}

func TestOldLinesAreDroppedAndCounted(t *testing.T) {
	for _, memory := range []bool{true, false} {
		db := newInfluxd(t)
		db.misbehave(status(http.StatusServiceUnavailable, "busy"))
		c := settings(db.URL)
		c.BufferMaxAge = 300 * time.Millisecond
		if !memory {
			c.Directory = t.TempDir()
		}
		o := run(t, c)
		o.give(0, 20)
		o.until("it is too old", func() bool { o.FlushNow(); return o.Status().DroppedBy[DroppedAge] == 20 })
		db.misbehave(nil)
		c.BufferMaxAge = time.Hour // what comes now is sent, however long that takes
		if err := o.Reconfigure(t.Context(), c.Output); err != nil {
			t.Fatal(err)
		}
		o.give(20, 30)
		o.FlushNow()
		o.delivers(db, numbers(20, 30))
		if s := o.Status(); s.Dropped != 20 || s.Written != 10 {
			t.Errorf("memory %v: %+v", memory, s)
		}
	}
}

func TestLinesBeyondTheDisksBoundAreCounted(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusServiceUnavailable, "busy"))
	c := settings(db.URL)
	c.Directory, c.Disk, c.BufferMaxBytes = t.TempDir(), true, 8<<10
	o := run(t, c)
	for i := 0; i < 600; i += 10 {
		o.Append(t.Context(), []byte(strings.Join(numbers(i, i+10), "\n")+"\n"), 10)
	}
	o.until("the bound is reached", func() bool { return o.Status().DroppedBy[DroppedDisk] > 0 })
	held, dropped := o.Held(), o.Status().Dropped
	if held+dropped != 600 {
		t.Errorf("%d held, %d dropped", held, dropped)
	}
	db.misbehave(nil)
	o.FlushNow()
	o.delivers(db, numbers(600-int(held), 600))
}

// A thousand hosts with the same configuration do not write in the same second,
// and each always writes at its own.
func TestHostsHavePlaces(t *testing.T) {
	const every = 10 * time.Second
	now := time.Unix(1_800_000_000, 123)
	seconds := map[int64]int{}
	for i := range 1000 {
		host := fmt.Sprintf("node%d", i)
		d := untilPlace(now, every, host)
		if d <= every/10 || d > every+every/10 {
			t.Errorf("%s: %v", host, d)
		}
		at := now.Add(d)
		if again := at.Add(untilPlace(at, every, host)); !again.Equal(at.Add(every)) {
			t.Errorf("%s: %v and then %v", host, at, again)
		}
		seconds[at.Unix()%10]++
	}
	for s, n := range seconds {
		if n < 60 || n > 140 {
			t.Errorf("%d of a thousand write at second %d", n, s)
		}
	}
	if len(seconds) != 10 {
		t.Error(seconds)
	}
}

func TestFlushesKeepTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Output{config: Config{Host: "node7", Output: config.Output{FlushInterval: 10 * time.Second}}}
		time.Sleep(o.period(time.Now()))
		place := time.Now().UnixNano() % int64(10*time.Second)
		for range 5 {
			time.Sleep(3 * time.Second)
			time.Sleep(o.period(time.Now()))
			if got := time.Now().UnixNano() % int64(10*time.Second); got != place {
				t.Errorf("at %v, and first at %v", time.Duration(got), time.Duration(place))
			}
		}
		o.config.FlushJitter = 4 * time.Second
		for range 100 {
			if d := o.period(time.Now()); d < 10*time.Second || d >= 14*time.Second {
				t.Error(d)
			}
		}
	})
}

func TestDiscard(t *testing.T) {
	c := settings()
	c.Name, c.Directory, c.Disk = "discard", t.TempDir(), true
	o := run(t, c)
	o.give(0, 50)
	o.until("all is gone", func() bool { return o.Held() == 0 && o.Status().Written == 50 })
	if entries, err := os.ReadDir(c.Directory); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
}

func TestFilesThatRotateAndCompress(t *testing.T) {
	dir := t.TempDir()
	c := settings()
	c.Name, c.Files, c.Compress, c.RotateBytes, c.RotateKeep = "file", []string{filepath.Join(dir, "m.lp.gz")}, true, 400, -1
	o := run(t, c)
	o.give(0, 100)
	o.until("all is written", func() bool { return o.Held() == 0 })
	if err := o.stop(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 3 {
		t.Fatal(entries, err)
	}
	var all []string
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > 400 {
			t.Errorf("%s has %d bytes", e.Name(), len(text))
		}
		if text, err = influx.Gunzip(text); err != nil {
			t.Fatal(e.Name(), err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")...)
	}
	slices.Sort(all)
	if diff := cmp.Diff(slices.Sorted(slices.Values(numbers(0, 100))), all); diff != "" {
		t.Error(diff)
	}
}

// A file that has taken a batch does not get it again because another has not.
func TestOneOfTwoFilesFails(t *testing.T) {
	dir := t.TempDir()
	good, late := filepath.Join(dir, "good.lp"), filepath.Join(dir, "late", "m.lp")
	c := settings()
	c.Name, c.Files = "file", []string{good, late}
	o := run(t, c)
	o.give(0, 3)
	o.until("it fails", func() bool { o.FlushNow(); return o.Status().Failures >= 3 })
	if err := os.Mkdir(filepath.Dir(late), 0o755); err != nil {
		t.Fatal(err)
	}
	o.until("all is written", func() bool { o.FlushNow(); return o.Held() == 0 })
	for _, name := range c.Files {
		text, err := os.ReadFile(name)
		if want := strings.Join(numbers(0, 3), "\n") + "\n"; err != nil || string(text) != want {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

func TestFlushNow(t *testing.T) {
	db := newInfluxd(t)
	c := settings(db.URL)
	c.FlushInterval, c.Host = time.Hour, "h"
	o := run(t, c)
	o.give(0, 3)
	o.FlushNow()
	o.delivers(db, numbers(0, 3))
}

func TestPurgeOfARunningOutput(t *testing.T) {
	db := newInfluxd(t)
	db.misbehave(status(http.StatusServiceUnavailable, "busy"))
	c := settings(db.URL)
	c.Directory = t.TempDir()
	o := run(t, c)
	o.give(0, 20)
	o.until("it fails", func() bool { return o.Status().Failures > 0 })
	o.give(20, 25)
	done, err := o.Purge(context.Background(), false)
	if err != nil || done.Waiting != 25 || o.Held() != 0 || o.Status().DroppedBy[DroppedPurge] != 25 {
		t.Errorf("%+v %v %+v", done, err, o.Status())
	}
	db.misbehave(nil)
	o.give(25, 30)
	o.FlushNow()
	o.delivers(db, numbers(25, 30))
}
