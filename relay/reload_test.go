package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/alert"
)

// destinationTable is the table of a destination in a node file.
func destinationTable(name, url, more string) string {
	return fmt.Sprintf("[[relay.destinations]]\nname = %q\nurl = %q\n%s\n", name, url, more)
}

// rewrite writes a node file anew: what is above its destinations, then tables.
func rewrite(t *testing.T, path string, tables ...string) {
	t.Helper()
	head, _, _ := strings.Cut(string(must(os.ReadFile(path))), "[[relay.destinations]]")
	if err := os.WriteFile(path, []byte(head+strings.Join(tables, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func reloaded(t *testing.T, want string) {
	t.Helper()
	out, err := command(t, "reload")
	if err != nil || strings.TrimSpace(out) != want {
		t.Errorf("reload says %q, %v; want %q", out, err, want)
	}
}

func TestReloadOfDestinations(t *testing.T) {
	a, b, c := newInflux(t), newInflux(t), newInflux(t)
	config := nodeFile(t, t.TempDir(), map[string]string{"a": a.URL})
	appendTo(t, config, destinationTable("b", b.URL, ""))
	p := start(t, config)
	p.write("m,host=a v=1 1\n")
	p.eventually("both have the first", func() bool { return a.have("m,host=a v=1 1") && b.have("m,host=a v=1 1") })

	// b leaves, c comes and gets what was kept, a stays as it is.
	b.set(true)
	p.write("m,host=a v=2 2\n")
	p.eventually("it fails", func() bool { return p.status().Destinations[1].State == "failing" })
	rewrite(t, config, destinationTable("a", a.URL, ""), destinationTable("c", c.URL, ""))
	reloaded(t, "destinations: 1 kept, added c, removed b")
	p.write("m,host=a v=3 3\n")
	p.eventually("c has all of it", func() bool { return c.have("m,host=a v=1 1", "m,host=a v=2 2", "m,host=a v=3 3") })
	p.eventually("a has it once", func() bool { return a.have("m,host=a v=1 1", "m,host=a v=2 2", "m,host=a v=3 3") })
	if alarms := strings.Join(p.status().Alarms, "\n"); !strings.Contains(alarms, `"b" is not configured but has a backlog of 1 line (`) {
		t.Errorf("alarms: %s", alarms)
	}

	// b comes back and gets what it lacks, once; by SIGHUP.
	b.set(false)
	rewrite(t, config, destinationTable("a", a.URL, ""), destinationTable("b", b.URL, ""))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.eventually("b has all of it", func() bool { return b.have("m,host=a v=1 1", "m,host=a v=2 2", "m,host=a v=3 3") })
	p.eventually("c had everything, so there is no alarm", func() bool { return len(p.status().Alarms) == 0 })

	// a moves: what it has passed is not sent again.
	moved := newInflux(t)
	rewrite(t, config, destinationTable("a", moved.URL, ""), destinationTable("b", b.URL, ""))
	reloaded(t, "destinations: 1 kept, changed a")
	p.write("m,host=a v=4 4\n")
	p.eventually("the new server has it", func() bool { return moved.have("m,host=a v=4 4") })
	if moved.have("m,host=a v=3 3") || a.have("m,host=a v=4 4") {
		t.Error("lines went to both")
	}
	p.eventually("it counts 4 lines", func() bool { return p.status().Destinations[0].Lines == 4 })
}

func TestABadEditChangesNothing(t *testing.T) {
	db := newInflux(t)
	config := nodeFile(t, t.TempDir(), map[string]string{"a": db.URL})
	p := start(t, config)
	for _, edit := range []struct{ text, want string }{
		{"urll = 'x'\n", `node.toml:6:1: relay.destinations.urll: unknown option; did you mean "url"?`},
		{"ca_file = '/absent/ca.pem'\n", "node.toml:6:1: relay.destinations.ca_file: open /absent/ca.pem"},
		{"[relay\n", "node.toml:6:7"},
	} {
		rewriteLines(t, config, db.URL, edit.text)
		_, err := command(t, "reload")
		if err == nil || !strings.Contains(err.Error(), edit.want) || !strings.Contains(err.Error(), "everything goes on as it was") {
			t.Errorf("%q: %v", edit.text, err)
		}
		s := p.status()
		if len(s.Destinations) != 1 || s.Destinations[0].Name != "a" || len(s.Alarms) != 1 || !strings.Contains(s.Alarms[0], edit.want) {
			t.Errorf("%q: %+v, alarms %q", edit.text, s.Destinations, s.Alarms)
		}
	}
	p.write("m,host=a v=1 1\n")
	p.eventually("delivered nevertheless", func() bool { return db.have("m,host=a v=1 1") })
	rewrite(t, config, destinationTable("a", db.URL, ""))
	reloaded(t, "destinations: 1 kept")
	if alarms := p.status().Alarms; len(alarms) != 0 {
		t.Errorf("after it was mended: %q", alarms)
	}
}

// rewriteLines writes a node file whose sixth line is text.
func rewriteLines(t *testing.T, path, url, text string) {
	t.Helper()
	rewrite(t, path, "[[relay.destinations]]\nname = \"b\"\n"+text+"url = \""+url+"\"\n")
}

func TestReloadSaysWhatNeedsARestart(t *testing.T) {
	config := nodeFile(t, t.TempDir(), nil)
	p := start(t, config)
	text := strings.Replace(string(must(os.ReadFile(config))), "127.0.0.1:0", "127.0.0.1:1", 1)
	if err := os.WriteFile(config, []byte(text+"[relay.limits]\nmax_body = \"1MB\"\n[relay.queue]\nkept_age = \"1h\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reloaded(t, "destinations: 0 kept\nchanged, but in effect only after a restart: relay.listen, relay.limits, relay.queue")
	p.write("m,host=a v=1 1\n")
}

// A token and a certificate that were replaced are used from the next write on.
func TestReloadReadsSecretsAgain(t *testing.T) {
	var mu sync.Mutex
	want, stored := "Token old", 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != want {
			http.Error(w, `{"code":"unauthorized","message":"unauthorized access"}`, 401)
			return
		}
		stored++
		w.WriteHeader(204)
	}))
	defer server.Close()
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.pem")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(token, "old\n")
	write(ca, selfSigned(t))
	config := nodeFile(t, dir, nil)
	appendTo(t, config, destinationTable("two", server.URL, fmt.Sprintf("version = 2\ntoken_file = %q\nca_file = %q", token, ca)))
	p := start(t, config)
	p.write("m,host=a v=1 1\n")
	p.eventually("the certificate is not trusted", func() bool {
		return strings.Contains(p.status().Destinations[0].Error, "certificate signed by unknown authority")
	})
	write(ca, pemOf(server.Certificate().Raw))
	reloaded(t, "destinations: 0 kept, changed two")
	count := func() int { mu.Lock(); defer mu.Unlock(); return stored }
	p.eventually("the first is stored", func() bool { return count() == 1 })
	mu.Lock()
	want = "Token new"
	mu.Unlock()
	p.write("m,host=a v=2 2\n")
	p.eventually("the old token is refused", func() bool { return p.status().Destinations[0].State == "held" })
	write(token, "new\n")
	reloaded(t, "destinations: 0 kept, changed two")
	p.eventually("the second is stored", func() bool { return count() == 2 })
	reloaded(t, "destinations: 1 kept")
}

// While destinations come, go and move, a client's connection stays, every
// write is answered, and every line arrives somewhere.
func TestReloadsUnderLoad(t *testing.T) {
	a, b := newInflux(t), newInflux(t)
	config := nodeFile(t, t.TempDir(), map[string]string{"moves": a.URL})
	p := start(t, config)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stop, ended := make(chan struct{}), make(chan int)
	go func() {
		n, answers := 0, bufio.NewReader(conn)
		defer func() { ended <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if status, err := writeOver(conn, answers, p.url, fmt.Sprintf("m,host=a v=%d %d\n", n, n)); err != nil || status != http.StatusNoContent {
				t.Errorf("write %d: %d, %v", n, status, err)
				return
			}
		}
	}()
	for i := range 20 {
		url := []string{b.URL, a.URL}[i%2]
		tables := []string{destinationTable("moves", url, "")}
		if i%3 == 0 {
			tables = append(tables, destinationTable("visits", a.URL, "database = \"visits\""))
		}
		rewrite(t, config, tables...)
		if out, err := command(t, "reload"); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	close(stop)
	n := <-ended
	p.eventually("nothing waits", func() bool { return p.status().Destinations[0].Backlog.Lines == 0 })
	got := a.text() + b.text()
	for i := range n {
		if !strings.Contains(got, fmt.Sprintf("\nm,host=a v=%d %d\n", i, i)) {
			t.Fatalf("line %d of %d has not arrived", i, n)
		}
	}
}

// writeOver writes lines over a connection, and over no other.
func writeOver(conn net.Conn, answers *bufio.Reader, url, lines string) (status int, err error) {
	req, err := http.NewRequest("POST", url+"/write?db=node_vitals", strings.NewReader(lines))
	if err == nil {
		err = req.Write(conn)
	}
	if err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(answers, req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// selfSigned is a certificate that has signed nobody else's.
func selfSigned(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(der)
}

// text is everything that the server has, each line between newlines.
func (db *influxd) text() string {
	db.mu.Lock()
	defer db.mu.Unlock()
	return "\n" + strings.Join(db.lines, "\n") + "\n"
}

// tellsTo is a server that alerts are posted to.
type tellsTo struct {
	*httptest.Server
	mu   sync.Mutex
	told []string // "firing ram a"
}

func newTellsTo(t *testing.T) *tellsTo {
	h := &tellsTo{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m alert.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, m.Status+" "+m.Alert+" "+m.Node)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *tellsTo) heard() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.told, ", ")
}

// Rules and targets come, change and go; nothing is told twice, and what fires is
// not forgotten.
func TestReloadOfAlerts(t *testing.T) {
	a, b := newTellsTo(t), newTellsTo(t)
	config := nodeFile(t, t.TempDir(), nil)
	head := string(must(os.ReadFile(config)))
	edit := func(tables ...string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(head+strings.Join(tables, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(text string) string { return "[[relay.alerts]]\nkind = \"ram\"\nfor = \"0s\"\n" + text + "\n" }
	target := func(name string, h *tellsTo) string {
		return fmt.Sprintf("[[relay.alert_targets]]\nkind = \"webhook\"\nname = %q\nurl = %q\n", name, h.URL)
	}
	edit(rule("above = 50"), target("a", a))
	p := start(t, config)
	writing := func(what string, done func() bool) {
		t.Helper()
		n := 0
		p.eventually(what, func() bool {
			if n++; n%20 == 1 {
				p.write(fmt.Sprintf("mem,host=pi used_percent=90 %d\n", time.Now().UnixNano()))
			}
			return done()
		})
	}
	writing("a is told", func() bool { return a.heard() == "firing ram pi" })
	edit(rule("above = 95\nclear_below = 80"), target("a", a), target("b", b))
	reloaded(t, "destinations: 0 kept\nalerts: changed ram, b")
	writing("the new one is told what still fires", func() bool { return b.heard() == "firing ram pi" })
	reloaded(t, "destinations: 0 kept")
	edit(rule("enabled = false"), target("a", a), target("b", b))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	writing("both are told that it is over", func() bool {
		return a.heard() == "firing ram pi, clear ram pi" && b.heard() == "firing ram pi, clear ram pi"
	})
	edit(rule("above = \"much\""), target("a", a))
	if _, err := command(t, "reload"); err == nil {
		t.Error("a mistake in an alert is taken")
	}
	edit(rule("above = 50"), target("b", b))
	reloaded(t, "destinations: 0 kept\nalerts: changed ram, a")
	writing("it fires again", func() bool { return strings.HasSuffix(b.heard(), "clear ram pi, firing ram pi") })
	if a.heard() != "firing ram pi, clear ram pi" {
		t.Errorf("who went is told %s", a.heard())
	}
}

// A destination for which the disk has no place yet is tried again; all else of the
// node file holds, and nobody says that it does not.
func TestReloadOfADestinationThatHasToWait(t *testing.T) {
	a, c, dir := newInflux(t), newInflux(t), t.TempDir()
	config := nodeFile(t, dir, map[string]string{"a": a.URL})
	p := start(t, config)
	obstacle := filepath.Join(dir, "relay", "queue", "destinations", "c")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, config, destinationTable("a", a.URL, ""), destinationTable("b", a.URL, ""), destinationTable("c", c.URL, ""))
	reloaded(t, "destinations: 1 kept, added b, waiting for the disk c")
	if alarms := strings.Join(p.status().Alarms, "\n"); !strings.Contains(alarms, "c cannot be added: ") || strings.Contains(alarms, "was not read again") {
		t.Errorf("alarms: %s", alarms)
	}
	p.write("m,host=a v=1 1\n")
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	p.eventually("it is added", func() bool { return c.have("m,host=a v=1 1") })
	if alarms := p.status().Alarms; len(alarms) != 0 {
		t.Errorf("alarms: %q", alarms)
	}
}

// The relay writes lines of alerts only where their database is sure to be, also
// of destinations that came later.
func TestLinesOfAlertsAfterAReload(t *testing.T) {
	db := newInflux(t)
	config := nodeFile(t, t.TempDir(), map[string]string{"a": db.URL})
	start(t, config)
	targets := func() string {
		out, err := command(t, "alerts", "list")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := targets(); !strings.Contains(out, "\nline ") {
		t.Errorf("no lines are written:\n%s", out)
	}
	rewrite(t, config, destinationTable("a", db.URL, ""), destinationTable("two", db.URL, "version = 2\nrequired = false"))
	reloaded(t, "destinations: 1 kept, added two\nalerts: changed line")
	if out := targets(); strings.Contains(out, "\nline ") {
		t.Errorf("lines are written for a bucket that there may not be:\n%s", out)
	}
}
