package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/fleet"
	"github.com/rpicluster/vitals/relay/web"
)

// influxd stands in for InfluxDB 1.x: it knows its databases and stores lines.
type influxd struct {
	*httptest.Server
	mu        sync.Mutex
	down      bool
	refuses   bool // every line
	databases map[string]bool
	lines     []string
}

var created = regexp.MustCompile(`^CREATE DATABASE "(.*?)"`)

func newInflux(t *testing.T) *influxd {
	db := &influxd{databases: map[string]bool{}}
	db.Server = httptest.NewServer(db)
	t.Cleanup(db.Close)
	return db
}

func (db *influxd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	db.mu.Lock()
	defer db.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case db.down:
		w.WriteHeader(503)
	case r.URL.Path == "/query":
		db.query(w, r.FormValue("q"))
	case !db.databases[r.URL.Query().Get("db")]:
		w.WriteHeader(404)
		fmt.Fprintf(w, `{"error":"database not found: \"%s\""}`, r.URL.Query().Get("db"))
	case db.refuses:
		raw, _ := influx.Gunzip(must(io.ReadAll(r.Body)))
		w.WriteHeader(400)
		fmt.Fprintf(w, `{"error":"partial write: field type conflict: no such type dropped=%d"}`, bytes.Count(raw, []byte("\n")))
	default:
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			w.WriteHeader(400)
			return
		}
		raw, _ := io.ReadAll(zr)
		db.lines = append(db.lines, strings.Split(strings.TrimSpace(string(raw)), "\n")...)
		w.WriteHeader(204)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func (db *influxd) query(w io.Writer, q string) {
	var values []string
	if m := created.FindStringSubmatch(q); m != nil {
		db.databases[m[1]] = true
	} else if strings.HasPrefix(q, "SHOW DATABASES") {
		for name := range db.databases {
			values = append(values, fmt.Sprintf("[%q]", name))
		}
	} else {
		values = []string{`["node_vitals_year_rp","8760h0m0s","168h0m0s",3,true]`}
	}
	fmt.Fprintf(w, `{"results":[{"series":[{"columns":["name","duration","shardGroupDuration","replicaN","default"],"values":[%s]}]}]}`, strings.Join(values, ","))
}

func (db *influxd) set(down bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.down = down
}

func (db *influxd) have(lines ...string) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	stored := "\n" + strings.Join(db.lines, "\n") + "\n"
	for _, l := range lines {
		if strings.Count(stored, "\n"+l+"\n") != 1 {
			return false
		}
	}
	return true
}

// log is what a program writes to stderr.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// program is a relay that runs in this process.
type program struct {
	t      *testing.T
	url    string
	stderr *log
	stop   func() error
}

var address = regexp.MustCompile(`address=(https?://\S+)`)

// start runs the relay with a node file and waits until it listens.
func start(t *testing.T, config string) *program {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{t: t, stderr: &log{}}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--config", config}, io.Discard, p.stderr) }()
	var once sync.Once
	var result error
	p.stop = func() error {
		once.Do(func() { cancel(); result = <-ended })
		return result
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("the relay ended with: %v", err)
		}
	})
	p.eventually("listens", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the relay ended: %v\n%s", err, p.stderr)
		default:
		}
		if m := address.FindStringSubmatch(p.stderr.String()); m != nil {
			p.url = m[1]
		}
		return p.url != ""
	})
	return p
}

func (p *program) eventually(what string, done func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("in vain: %s\n%s", what, p.stderr)
		}
	}
}

func (p *program) write(lines string) {
	p.t.Helper()
	resp, err := http.Post(p.url+"/write?db=node_vitals", "", strings.NewReader(lines))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 204 {
		text, _ := io.ReadAll(resp.Body)
		p.t.Fatalf("%s: %s", resp.Status, text)
	}
}

func (p *program) status() web.Status {
	p.t.Helper()
	resp, err := http.Get(p.url + "/api/status")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var s web.Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// ask returns the status and the body of a GET.
func (p *program) ask(path string) (int, string) {
	p.t.Helper()
	resp, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
}

// command runs a subcommand and returns what it printed.
func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, &out, io.Discard)
	return out.String(), err
}

// nodeFile writes a node file whose relay has these destinations.
func nodeFile(t *testing.T, dir string, destinations map[string]string) string {
	t.Helper()
	// Sockets have short paths, which a test's directory is not.
	runtime, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(runtime) })
	t.Setenv("RUNTIME_DIRECTORY", runtime)
	text := fmt.Sprintf("[relay]\nlisten = \"127.0.0.1:0\"\ndata_directory = %q\n", filepath.Join(dir, "relay"))
	for name, url := range destinations {
		text += fmt.Sprintf("[[relay.destinations]]\nname = %q\nurl = %q\n", name, url)
	}
	path := filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLinesGoFromTheDoorToInfluxDB(t *testing.T) {
	db := newInflux(t)
	p := start(t, patient(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL})))
	p.write("temp,host=pi-1,sensor=cpu_thermal temp=48.5 1\ncpu,cpu=cpu-total,host=pi-1 usage_idle=90 1\nswap,host=pi-1 total=0i,used=0i,free=0i,used_percent=0 1\n")
	p.eventually("stored", func() bool { return db.have("temp,host=pi-1,sensor=cpu_thermal temp=48.5 1") })
	p.eventually("nothing waits", func() bool { return p.status().Destinations[0].Backlog.Lines == 0 })
	p.eventually("seen", func() bool { return p.status().Nodes.Up == 1 })
	out, err := command(t, "nodes")
	if err != nil || !strings.Contains(out, "pi-1") || !strings.Contains(out, "48.5°C") || !strings.Contains(out, "10%") || !strings.Contains(out, "none") {
		t.Errorf("nodes: %v\n%s", err, out)
	}
	out, err = command(t, "status")
	if err != nil || !strings.Contains(out, "influxdb") || !strings.Contains(out, "1 up, 0 late, 0 down") {
		t.Errorf("status: %v\n%s", err, out)
	}
	if out, err = command(t, "status", "--json"); err != nil || !json.Valid([]byte(out)) {
		t.Errorf("status --json: %v\n%s", err, out)
	}
	if out, err = command(t, "--json", "nodes"); err != nil || !json.Valid([]byte(out)) {
		t.Errorf("nodes --json: %v\n%s", err, out)
	}
}

func TestABacklogOutlivesARestart(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	db.set(true)
	config := nodeFile(t, dir, map[string]string{"influxdb": db.URL})
	p := start(t, config)
	p.write("m,host=a v=1 1\n")
	p.eventually("it fails", func() bool { return p.status().Destinations[0].Error != "" })
	out, err := command(t, "status")
	if err != errQuiet || !strings.Contains(out, "failing") {
		t.Errorf("status of a failing destination: %v\n%s", err, out)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	db.set(false)
	p = start(t, config)
	p.eventually("stored", func() bool { return db.have("m,host=a v=1 1") })
	p.eventually("the node is known again", func() bool { return p.status().Nodes != fleet.Counts{} })
}

func TestADestinationAddedLaterGetsWhatWasKept(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	p := start(t, nodeFile(t, dir, nil))
	p.write("m,host=a v=1 1\nm,host=a v=2 2\n")
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, nodeFile(t, dir, map[string]string{"late": db.URL}))
	p.write("m,host=a v=3 3\n")
	p.eventually("stored", func() bool { return db.have("m,host=a v=1 1", "m,host=a v=2 2", "m,host=a v=3 3") })
}

func TestNothingStartsWithABadNodeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, []byte("[relay]\nlisten = \"127.0.0.1:0\"\ndata_directory = \""+dir+"/data\"\n[relay.queue]\nmax_byte = 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", path}, {"config", "check", "--config", path}} {
		_, err := command(t, args...)
		if want := path + `:5:1: relay.queue.max_byte: unknown option; did you mean "max_bytes"?`; err == nil || err.Error() != want {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
		t.Error("the data directory was made")
	}
}

func TestOneDataDirectoryHasOneRelay(t *testing.T) {
	dir := t.TempDir()
	config := nodeFile(t, dir, nil)
	start(t, config)
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	if err := run(t.Context(), []string{"--config", config}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second relay: %v", err)
	}
}

func TestCommandLine(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	tests := []struct {
		args      string
		out, fail string
	}{
		{"version", "vitals-relay dev\n", ""},
		{"--version", "vitals-relay dev\n", ""},
		{"--help", help(), ""},
		{"help", help(), ""},
		{"statu", "", `there is no command "statu"; did you mean "status"? See vitals-relay --help`},
		{"nodes forget", "", `write: vitals-relay nodes [--watch] [--json], or vitals-relay nodes show NAME`},
		{"destinations", "", `write: vitals-relay destinations list [--json], or vitals-relay destinations forget NAME`},
		{"--confg x", "", `there is no flag --confg; did you mean --config? See vitals-relay --help`},
		{"nodes --role read", "", `--role belongs to vitals-relay token create`},
		{"status --watch", "", `--watch belongs to vitals-relay nodes`},
		{"nodes --state dwon", "", `--state "dwon": must be up, late, down or retired`},
		{"top", "", `top needs a terminal`},
		{"--bogus", "", `there is no flag --bogus; see vitals-relay --help`},
		{"--config", "", `--config needs a value; see vitals-relay --help`},
		{"--log-level loud", "", `--log-level "loud": must be error, warn, info or debug`},
		{"status", "", `the relay does not seem to run`},
		{"alive", "", `the relay does not seem to run`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			out, err := command(t, strings.Fields(tt.args)...)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if out != tt.out || !strings.HasPrefix(text, tt.fail) || tt.fail == "" && err != nil {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// Scripts can tell a command line that is wrong from anything else that is, whether
// a relay runs or not.
func TestExitCodesOfMistakes(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", t.TempDir())
	f := func(args, want string) {
		t.Helper()
		out, err := command(t, strings.Fields(args)...)
		if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	f("--log-level loud", "must be error, warn, info or debug")
	f("nodes --state dwon", "must be up, late, down or retired")
	f("alerts silence pi-1 soon", "write it like 2h")
	f("placement --cpus many", "such as 1.5")
	f("placement --cpus -1", "such as 1.5")
	f("placement --ram much", "such as 512MB")
	f("token create", "--node is missing")
	f("token create --node pi-1 --role boss", "none of write, read and admin")
	f("token create --node [ --role write", "the pattern")
	f("token create --node pi-1 --expires soon", "write it like 90d")
	f("invite --for soon", "write it like 1h")
	f("invite --for 365d", "between 1m and 30d")
	f("invite --uses 0", "--uses must be between")
	f("invite --uses many", "uses")
	f("invite --tag site", "write it like site=attic")
	f("invite --tag host=a", "not for an invite to say")
	f("invite --url ftp://h", "write it like https://10.7.0.1:8186")
	f("init --listen 8186", "--listen")
	f("init --influx influx", "write it like http://127.0.0.1:8086")
}

// Of each flag that a command has its help says what it is for.
func TestHelpExplainsEveryFlag(t *testing.T) {
	flags := regexp.MustCompile(`--([a-z][a-z-]*)`)
	for _, c := range commands() {
		if c.help == "" || c.words == "" {
			continue
		}
		out, err := command(t, append(strings.Fields(c.words), "--help")...)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range flags.FindAllStringSubmatch(c.usage+c.help+c.more, -1) {
			if e := regexp.MustCompile(`(?m)^  --` + m[1] + `(?: +(?:[A-Z][A-Z:=]*|"[^"]*"|[a-z]+(?:\|[a-z]+)+))?\s+(\S.*)`).FindStringSubmatch(out); e == nil || strings.HasPrefix(e[1], "-") {
				t.Errorf("vitals-relay %s --help does not say what --%s is:\n%s", c.words, m[1], out)
			}
		}
	}
}

// What a command says of itself is no more than its own.
func TestHelpOfACommand(t *testing.T) {
	f := func(args, want string) {
		t.Helper()
		out, err := command(t, strings.Fields(args)...)
		if text, _, own := strings.Cut(out, "\nvitals-relay --help has all"); err != nil || !own || text != "Usage:\n"+want {
			t.Errorf("%s: %q, %v", args, out, err)
		}
	}
	const create = "  vitals-relay token create --node NAME     a secret with which a node may write its lines\n                                            [--role write|read|admin] [--expires 90d]\n"
	for _, args := range []string{"token create --help", "token create --node pi-1 -h", "help token create"} {
		f(args, create+explained("token create"))
	}
	f("--help nodes forget pi-1", usages("nodes forget"))
	f("destinations --help", usages("destinations")+explained("destinations"))
	if _, err := command(t, "statu", "--help"); err == nil || exitCode(err) != 2 {
		t.Errorf("%v", err)
	}
	if out, err := command(t, "run", "--help"); err != nil || out != help() {
		t.Errorf("%q, %v", out, err)
	}
}

// The help is made of the commands, each in its place.
func TestHelpListsTheCommands(t *testing.T) {
	for _, want := range []string{
		"\n  vitals-relay [--config FILE]              run until SIGINT or SIGTERM\n",
		"\n  vitals-relay config check [--config FILE] say what is wrong",
		"\n  vitals-relay destinations forget NAME     give up a destination that is no longer\n                                            configured",
		"\n  vitals-relay version\n\nFlags:\n",
	} {
		if !strings.Contains(help(), want) {
			t.Errorf("no %q in\n%s", want, help())
		}
	}
}

func TestConfigCheckCounts(t *testing.T) {
	for want, destinations := range map[string]map[string]string{
		" has 0 destinations\n": nil, " has 1 destination\n": {"a": "http://h"}, " has 2 destinations\n": {"a": "http://h", "b": "http://i"},
	} {
		out, err := command(t, "config", "check", "--config", nodeFile(t, t.TempDir(), destinations))
		if err != nil || !strings.HasSuffix(out, want) {
			t.Errorf("%q, %v", out, err)
		}
	}
}

func TestClickable(t *testing.T) {
	for address, want := range map[string]string{
		"[::]:8391": "localhost:8391", "0.0.0.0:80": "localhost:80", "127.0.0.1:8186": "127.0.0.1:8186", "[fe80::1]:1": "[fe80::1]:1", ":8186": "localhost:8186",
	} {
		if got := clickable(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jb\nc ü"); strings.ContainsAny(got, "\x1b\n") || !strings.HasSuffix(got, "c ü") {
		t.Errorf("%q", got)
	}
}

// Every refused request is among the reasons, those of a relay without tokens too.
func TestTheReasonsOfRefusalsAddUp(t *testing.T) {
	s := auth.Status{Mode: auth.Required, Tokens: 1, Missing: 1, Wrong: 2, Forbidden: 3, Slowed: 4, Limited: 5, Unavailable: 6}
	const want = "need a token (1 token); 21 requests refused: 1 without, 2 with a wrong one, 3 of another role, 4 too soon, 5 over their limits, 6 while no token was known"
	if got := writers(&s); got != want {
		t.Errorf("%q", got)
	}
}
