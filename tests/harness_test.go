// Package tests drives the programs from outside, as built by the Makefile,
// against a real InfluxDB.
package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// root is the top of the repository.
var root = func() string {
	dir, err := filepath.Abs("..")
	if err != nil {
		panic(err)
	}
	return dir
}()

func TestMain(m *testing.M) {
	build := exec.Command("make", "--no-print-directory", "build")
	build.Dir, build.Stdout, build.Stderr = root, os.Stdout, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "make build:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// machine is one node: its folders and its sockets.
type machine struct {
	t    *testing.T
	dir  string
	env  []string
	logs map[string]bool // of programs started, by path
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), logs: map[string]bool{}}
	// Unix sockets have short paths, which t.TempDir's are not always.
	run, err := os.MkdirTemp("", "vitals")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	m.env = append(os.Environ(), "RUNTIME_DIRECTORY="+run)
	return m
}

// file writes a file of the machine and returns its path. $DIR in its content
// is the machine's folder. Where the tests do not run as root, drop-ins belong
// to whoever runs them.
func (m *machine) file(name, content string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if uid := os.Geteuid(); uid != 0 {
		content = strings.Replace(content, "plugin_directory =", fmt.Sprintf("plugin_owner = \"%d\"\n  plugin_directory =", uid), 1)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := writeFile(path, []byte(strings.ReplaceAll(content, "$DIR", m.dir)), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// writeFile is os.WriteFile for what may be run. No process that another test
// starts meanwhile gets the open file, for as long as one has it nobody can run
// it: text file busy.
func writeFile(path string, content []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, mode)
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// read returns the content of a file of the machine, "" if there is none yet.
func (m *machine) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.path(name))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(text)
}

// command is a program of ours or of the system with the machine's environment.
func (m *machine) command(name string, args ...string) *exec.Cmd {
	if strings.HasPrefix(name, "vitals-") {
		name = filepath.Join(root, "bin", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = m.dir, m.env
	return cmd
}

// process is a running program.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// start runs a program until the test ends or stops it. Its output is shown if
// the test fails.
func (m *machine) start(name string, args ...string) *process {
	m.t.Helper()
	p := &process{t: m.t, cmd: m.command(name, args...), log: filepath.Join(m.dir, filepath.Base(name)+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	m.t.Cleanup(p.kill)
	if !m.logs[p.log] {
		m.logs[p.log] = true
		m.t.Cleanup(func() { m.showIfFailed(p.log) })
	}
	return p
}

func (m *machine) showIfFailed(log string) {
	if m.t.Failed() {
		text, _ := os.ReadFile(log)
		m.t.Logf("the end of %s:\n%s", filepath.Base(log), tail(text, 4000))
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) kill() {
	if p.running() {
		p.cmd.Process.Kill()
		<-p.done
	}
}

// stop ends the process as systemd would, which waits as long, and requires that
// it obeys.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(90 * time.Second):
		p.t.Errorf("%s does not stop on SIGTERM", p.cmd.Path)
		p.kill()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s stopped with exit code %d", filepath.Base(p.cmd.Path), code)
	}
}

// patience is how long is waited at least for what must happen: where much else
// runs, everything takes many times as long.
const patience = 2 * time.Minute

// eventually polls until check returns "", or fails with what it said last once
// the time within which it should have, and patience, are over.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	within = max(within, patience)
	deadline := time.Now().Add(within)
	for {
		why := check()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not so after %v: %s", within, why)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// lastPort is the port of the loopback that a test was given last. The first is
// another one in every run, for what an earlier run left may still be closing.
var lastPort = func() *atomic.Int32 {
	var port atomic.Int32
	port.Store(10_000 + int32(os.Getpid()%22)*1000)
	return &port
}()

// freePort returns a port of the loopback that nobody listens on and that no
// other test is given. It lies below those that the kernel gives to connections,
// one of which could take it before the test's program does.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := int(lastPort.Add(1))
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		} else if port > 32_000 {
			t.Fatal(err)
		}
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// influxd is a real InfluxDB 1.x on a port of its own, which it keeps when it
// is started again.
type influxd struct {
	*process
	m    *machine
	port int
}

func startInfluxd(t *testing.T) *influxd {
	t.Helper()
	db := newInfluxd(t)
	db.start()
	return db
}

// newInfluxd prepares an InfluxDB without starting it.
func newInfluxd(t *testing.T) *influxd {
	t.Helper()
	if _, err := exec.LookPath("influxd"); err != nil {
		t.Fatal("influxd is missing; sh tests/install.sh installs it")
	}
	db := &influxd{m: newMachine(t), port: freePort(t)}
	db.m.env = append(db.m.env,
		"INFLUXDB_REPORTING_DISABLED=true",
		"INFLUXDB_MONITOR_STORE_ENABLED=false",
		"INFLUXDB_HTTP_LOG_ENABLED=false",
		"INFLUXDB_DATA_QUERY_LOG_ENABLED=false",
		fmt.Sprintf("INFLUXDB_HTTP_BIND_ADDRESS=127.0.0.1:%d", db.port),
		fmt.Sprintf("INFLUXDB_BIND_ADDRESS=127.0.0.1:%d", freePort(t)),
		"INFLUXDB_META_DIR="+db.m.dir+"/meta",
		"INFLUXDB_DATA_DIR="+db.m.dir+"/data",
		"INFLUXDB_DATA_WAL_DIR="+db.m.dir+"/wal",
	)
	return db
}

func (db *influxd) start() {
	db.m.t.Helper()
	db.process = db.m.start("influxd", "-config", os.DevNull)
	eventually(db.m.t, 60*time.Second, func() string {
		if status, body := get(db.m.t, db.url()+"/ping"); status != 204 {
			return "influxd: " + body
		}
		return ""
	})
}

func (db *influxd) url() string { return "http://127.0.0.1:" + strconv.Itoa(db.port) }

// query returns the rows of a statement's only series.
func (db *influxd) query(database, statement string) [][]any {
	db.m.t.Helper()
	rows, err := db.tryQuery(database, statement)
	if err != nil {
		db.m.t.Fatalf("%s: %v", statement, err)
	}
	return rows
}

func (db *influxd) tryQuery(database, statement string) ([][]any, error) {
	tables, err := db.tables(database, statement)
	if err != nil || len(tables) == 0 {
		return nil, err
	}
	return tables[0].Values, nil
}

// table is a series as a query is answered with it.
type table struct {
	Name    string
	Tags    map[string]string
	Columns []string
	Values  [][]any
}

// tables returns all series of a statement, none while there is no such database.
func (db *influxd) tables(database, statement string) ([]table, error) {
	resp, err := http.PostForm(db.url()+"/query", url.Values{"db": {database}, "q": {statement}, "epoch": {"ns"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error   string
		Results []struct {
			Error  string
			Series []table
		}
	}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&answer); err != nil {
		return nil, err
	}
	if len(answer.Results) == 1 && strings.HasPrefix(answer.Results[0].Error, "database not found") {
		return nil, nil // the relay has yet to create it
	}
	if answer.Error != "" || len(answer.Results) != 1 || answer.Results[0].Error != "" {
		return nil, fmt.Errorf("influxd answers %+v", answer)
	}
	return answer.Results[0].Series, nil
}

// seconds returns the distinct times, in seconds since the epoch, at which a
// measurement has points, and fails if a time is not a whole second or comes
// twice in one series.
func (db *influxd) seconds(database, measurement, field, where string) map[int64]int {
	db.m.t.Helper()
	at := map[int64]int{}
	for _, row := range db.query(database, fmt.Sprintf(`SELECT %q FROM %q %s`, field, measurement, where)) {
		ns, err := row[0].(json.Number).Int64()
		if err != nil || ns%int64(time.Second) != 0 {
			db.m.t.Errorf("%s has a point at %v, which is not a tick", measurement, row[0])
		}
		at[ns/int64(time.Second)]++
	}
	return at
}

// every is the seconds between the ticks of agents whose ticks are counted. An
// agent has to have gathered by the next one: where much else runs, it may have to
// wait for a processor for as long as a second.
const every = 2

// requireEveryTick fails unless at has exactly one point for each tick from its
// first to its last, by their seconds, and returns how many there are.
func requireEveryTick(t *testing.T, what string, at map[int64]int, except func(second int64) bool) int {
	t.Helper()
	if len(at) == 0 {
		t.Errorf("%s: not one point", what)
		return 0
	}
	first, last := int64(1<<62), int64(0)
	for s, n := range at {
		first, last = min(first, s), max(last, s)
		if n != 1 || s%every != 0 {
			t.Errorf("%s: %d points at second %d", what, n, s)
		}
	}
	var missing []int64
	for s := first; s <= last; s += every {
		if at[s] == 0 && (except == nil || !except(s)) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%s: no point at seconds %v of %d to %d", what, missing, first, last)
	}
	return len(at)
}

// run runs a command to its end and returns its output and exit code.
func run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		cmd.Process.Kill()
		<-done
		t.Errorf("%v does not end", cmd.Args)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
