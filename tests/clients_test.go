package tests

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// What every client writes: tests/clients says the same in its languages.
const (
	clientPoints    = 500 // a second apart
	clientUnstamped = 20
	clientBegin     = 1767225600
)

func clientPoint(i int) string {
	return fmt.Sprintf(`stamped,host=c%d,odd\ tag=a\,\ b\=c f=%d.5,i=%di,s="line %d \"quoted\" ü",b=%t %d`, i%7, i, i*1_000_003, i, i%2 == 0, clientBegin+i)
}

// client is somebody else's program that writes to InfluxDB.
type client struct {
	name string // … and of the database it writes to
	args func(url string) []string
	// unstamped says that it writes lines without timestamps, too.
	unstamped bool
	// forever says that it does not end by itself.
	forever bool
	// told is what it says to whoever runs it when the server is not ready;
	// empty: it comes again by itself.
	told string
}

// clients prepares the programs.
func (m *machine) clients() []client {
	m.t.Helper()
	here := filepath.Join(root, "tests", "clients")
	golang := m.path("clients-go")
	m.prepare(filepath.Join(here, "go"), "go", "build", "-o", golang, ".")
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "write.js"} {
		text, err := os.ReadFile(filepath.Join(here, "js", name))
		if err != nil {
			m.t.Fatal(err)
		}
		m.file("js/"+name, string(text))
	}
	m.prepare(m.path("js"), "npm", "ci", "--no-audit", "--no-fund")
	m.clientFiles()
	telegraf := buildTelegraf(m.t)
	script := func(language ...string) func(database, version string) func(string) []string {
		return func(database, version string) func(string) []string {
			return func(url string) []string {
				return append(append(append([]string{}, language...), strings.Fields(version)...), url, database)
			}
		}
	}
	js, goes := script("node", m.path("js/write.js")), script(golang)
	python := func(database string, more ...string) func(string) []string {
		return func(url string) []string {
			return append([]string{"/usr/bin/python3", filepath.Join(here, "python", "write.py"), url, database}, more...)
		}
	}
	curl := func(script string) func(string) []string {
		return func(url string) []string {
			return []string{"sh", "-euc", strings.ReplaceAll(script, "curl ", "curl -sS --fail-with-body --retry 600 --retry-max-time 600 "), m.dir, url}
		}
	}
	collects := func(name, output string) func(string) []string {
		return func(url string) []string {
			config := m.file(name+".conf", "[agent]\n  interval = \"1h\"\n  round_interval = false\n  flush_interval = \"1s\"\n  omit_hostname = true\n"+
				"[[inputs.file]]\n  files = [\"$DIR/lines-ns\"]\n  data_format = \"influx\"\n"+strings.ReplaceAll(output, "$URL", url))
			return []string{telegraf, "--config", config}
		}
	}
	return []client{
		{name: "curl", unstamped: true, args: curl(`cd "$0"
curl "$1/query" --data-urlencode 'q=CREATE DATABASE "curl"'
curl "$1/write?db=curl&precision=s" --data-binary @lines-s
curl "$1/write?db=curl" --data-binary @unstamped`)},
		{name: "curl-gzip", unstamped: true, args: curl(`cd "$0"
curl "$1/write?db=curl-gzip&precision=s" -H 'Content-Encoding: gzip' --data-binary @lines-s.gz
curl "$1/write?db=curl-gzip&u=somebody&p=secret" --data-binary @unstamped`)},
		{name: "curl-v2", unstamped: true, args: curl(`cd "$0"
curl "$1/api/v2/write?org=o&bucket=curl-v2&precision=s" -H 'Authorization: Token t' -H 'Content-Encoding: gzip' --data-binary @lines-s.gz
curl "$1/api/v2/write?org=o&bucket=curl-v2" -H 'Authorization: Token t' --data-binary @unstamped`)},
		{name: "python", unstamped: true, args: python("python"), told: "InfluxDBServerError"},
		{name: "python-gzip", unstamped: true, args: python("python-gzip", "gzip"), told: "InfluxDBServerError"},
		{name: "js-v1", unstamped: true, args: js("js-v1", "v1"), told: "Service Unavailable"},
		{name: "js-v2", unstamped: true, args: js("js-v2", "v2")},
		{name: "go-v1", unstamped: true, args: goes("go-v1", "v1"), told: "write: "},
		{name: "go-v2", unstamped: true, args: goes("go-v2", "v2")},
		{name: "telegraf-v1", forever: true, args: collects("telegraf-v1",
			"[[outputs.influxdb]]\n  urls = [\"$URL\"]\n  database = \"telegraf-v1\"\n  content_encoding = \"gzip\"\n")},
		{name: "telegraf-v2", forever: true, args: collects("telegraf-v2",
			"[[outputs.influxdb_v2]]\n  urls = [\"$URL\"]\n  token = \"t\"\n  organization = \"o\"\n  bucket = \"telegraf-v2\"\n")},
	}
}

// prepare runs a command in a directory, and requires that it succeeds.
func (m *machine) prepare(dir, name string, args ...string) {
	m.t.Helper()
	cmd := m.command(name, args...)
	cmd.Dir = dir
	if stdout, stderr, code := run(m.t, cmd); code != 0 {
		m.t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, stdout, stderr)
	}
}

// clientFiles writes the lines for those clients that send what they are given.
func (m *machine) clientFiles() {
	m.t.Helper()
	var seconds, nanoseconds, unstamped strings.Builder
	for i := range clientPoints {
		line := clientPoint(i)
		fmt.Fprintln(&seconds, line)
		fmt.Fprintln(&nanoseconds, line+"000000000")
	}
	for n := range clientUnstamped {
		fmt.Fprintf(&unstamped, "unstamped,n=%d v=%di\n", n, n)
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(seconds.String())); err != nil {
		m.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range map[string]string{"lines-s": seconds.String(), "lines-s.gz": packed.String(), "lines-ns": nanoseconds.String(), "unstamped": unstamped.String()} {
		if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
}

// missing says what of a client's points is not in its database as it was
// written; "" if all is.
func (c *client) missing(db *influxd, from time.Time) string {
	rows, err := db.tryQuery(c.name, `SELECT f, i, s, b FROM stamped WHERE "odd tag" = 'a, b=c'`)
	if err != nil {
		return err.Error()
	}
	if len(rows) != clientPoints {
		return fmt.Sprintf("%s: %d points of %d", c.name, len(rows), clientPoints)
	}
	for i, row := range rows {
		want := fmt.Sprintf(`[%d000000000 %d.5 %d line %d "quoted" ü %t]`, clientBegin+i, i, i*1_000_003, i, i%2 == 0)
		if got := fmt.Sprint(row); got != want {
			return fmt.Sprintf("%s: point %d is %s, want %s", c.name, i, got, want)
		}
	}
	if !c.unstamped {
		return ""
	}
	if rows, err = db.tryQuery(c.name, "SELECT v, n FROM unstamped"); err != nil || len(rows) != clientUnstamped {
		return fmt.Sprintf("%s: %d points without a timestamp of %d, %v", c.name, len(rows), clientUnstamped, err)
	}
	for _, row := range rows {
		if ns, err := row[0].(json.Number).Int64(); err != nil || ns < from.Truncate(time.Second).UnixNano() || ns > time.Now().UnixNano() || fmt.Sprint(row[1]) != row[2] {
			return fmt.Sprintf("%s: a point without a timestamp: %v", c.name, row)
		}
	}
	return ""
}

// relayInFront starts a relay whose only destination is db.
func (m *machine) relayInFront(db *influxd, more string) (url string) {
	m.t.Helper()
	port := freePort(m.t)
	config := m.file("node.toml", fmt.Sprintf("[relay]\n  listen = \"127.0.0.1:%d\"\n  data_directory = \"$DIR/relay\"\n[[relay.destinations]]\n  name = \"influxdb\"\n  url = %q\n%s", port, db.url(), more))
	m.start("vitals-relay", "--config", config)
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(m.t, time.Minute, func() string {
		if status, body := get(m.t, url+"/ping"); status != 204 {
			return "relay: " + body
		}
		return ""
	})
	return url
}

// running is a client at work.
type running struct {
	*client
	cmd    *exec.Cmd
	output bytes.Buffer // once it has ended
	ended  chan struct{}
}

func (m *machine) run(c *client, url string) *running {
	m.t.Helper()
	args := c.args(url)
	r := &running{client: c, cmd: m.command(args[0], args[1:]...), ended: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.output, &r.output
	if err := r.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		close(r.ended)
	}()
	m.t.Cleanup(func() {
		r.cmd.Process.Kill()
		<-r.ended
		if m.t.Failed() {
			m.t.Logf("%s:\n%s", c.name, tail(r.output.Bytes(), 2000))
		}
	})
	return r
}

// end waits until a client ends and returns its exit code.
func (r *running) end(t *testing.T) int {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(5 * time.Minute):
		t.Fatalf("%s does not end", r.name)
	}
	return r.cmd.ProcessState.ExitCode()
}

// TestClients has everybody's clients write through the relay into a real
// InfluxDB, and reads back every point.
func TestClients(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	all, db := m.clients(), startInfluxd(t)
	url, from := m.relayInFront(db, ""), time.Now()
	var atWork []*running
	for i := range all {
		atWork = append(atWork, m.run(&all[i], url))
	}
	for _, r := range atWork {
		if !r.forever && r.end(t) != 0 {
			t.Errorf("%s: exit code %d\n%s", r.name, r.cmd.ProcessState.ExitCode(), r.output.String())
		}
		eventually(t, 2*time.Minute, func() string { return r.missing(db, from) })
	}
}

// watched is a proxy that knows what a client was answered.
type watched struct {
	url     string
	mu      sync.Mutex
	answers map[int]int // of writes, by status
}

func watch(t *testing.T, to string) *watched {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{answers: map[int]int{}}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(resp *http.Response) error {
			if strings.HasSuffix(resp.Request.URL.Path, "/write") {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.answers[resp.StatusCode]++
			}
			return nil
		},
	})
	t.Cleanup(proxy.Close)
	w.url = proxy.URL
	return w
}

func (w *watched) count(status int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answers[status]
}

// fill writes to a relay until it takes no more.
func fill(t *testing.T, relay string) {
	t.Helper()
	eventually(t, 30*time.Second, func() string {
		for n := range 1000 {
			noise := make([]byte, 4096)
			for i := range noise {
				noise[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[(i*i*31+n*n*17+i*n)%64]
			}
			resp, err := http.Post(relay+"/write?db=filler", "", strings.NewReader(fmt.Sprintf("filler s=\"%s\" %d\n", noise, n+1)))
			if err != nil {
				return err.Error()
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusServiceUnavailable {
				return ""
			}
		}
		return "it takes everything"
	})
}

// TestClientsOfABusyRelay has everybody's clients write to a relay that has no
// room until InfluxDB is back. Those that come again lose nothing; the others
// tell whoever runs them.
func TestClientsOfABusyRelay(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	all, db := m.clients(), newInfluxd(t)
	url, from := m.relayInFront(db, "[relay.queue]\n  max_bytes = \"200KB\"\n"), time.Now()
	fill(t, url)
	doors := map[string]*watched{}
	var atWork []*running
	for i := range all {
		doors[all[i].name] = watch(t, url)
		atWork = append(atWork, m.run(&all[i], doors[all[i].name].url))
	}
	for _, r := range atWork {
		door := doors[r.name]
		eventually(t, time.Minute, func() string {
			if door.count(503) == 0 {
				return r.name + " was not refused"
			}
			return ""
		})
		if r.told != "" && (r.end(t) == 0 || !strings.Contains(r.output.String(), r.told)) {
			t.Errorf("%s does not tell that it was refused: exit code %d\n%s", r.name, r.cmd.ProcessState.ExitCode(), r.output.String())
		}
		if n := door.count(204); n > 0 {
			t.Errorf("%s: %d writes are taken", r.name, n)
		}
	}
	db.start()
	for _, r := range atWork {
		if r.told != "" { // whoever was told runs it again, when there is room
			eventually(t, time.Minute, func() string {
				args := r.args(url)
				_, stderr, _ := run(t, m.command(args[0], args[1:]...))
				return stderr
			})
		} else if !r.forever && r.end(t) != 0 {
			t.Errorf("%s: exit code %d\n%s", r.name, r.cmd.ProcessState.ExitCode(), r.output.String())
		}
		eventually(t, 2*time.Minute, func() string { return r.missing(db, from) })
	}
}
