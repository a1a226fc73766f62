package tests

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// primary is a machine that vitals-relay init is called on.
type primary struct {
	*machine
	port int
	node string // its node file
}

func newPrimary(t *testing.T) *primary {
	t.Helper()
	p := &primary{machine: newMachine(t), port: openPort(t)}
	p.node = p.path("etc/node.toml")
	// The harness looks for the runtime directory at the end.
	p.env = append([]string{"STATE_DIRECTORY=" + p.path("state")}, p.env...)
	return p
}

// openPort is a port that is free on every address of this machine.
func openPort(t *testing.T) int {
	t.Helper()
	for {
		port := freePort(t)
		if l, err := net.Listen("tcp", fmt.Sprintf(":%d", port)); err == nil {
			l.Close()
			return port
		}
	}
}

// init calls it.
func (p *primary) init(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	all := append([]string{"init", "--config", p.node, "--listen", fmt.Sprintf(":%d", p.port)}, args...)
	return run(p.t, p.command("vitals-relay", all...))
}

// mustInit calls it and has it succeed.
func (p *primary) mustInit(args ...string) string {
	p.t.Helper()
	stdout, stderr, code := p.init(args...)
	if code != 0 {
		p.t.Fatalf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	return stdout
}

// up starts both programs as init says, with a second init between.
func (p *primary) up() (printed string) {
	p.t.Helper()
	p.start("vitals-relay", "--config", p.node)
	p.awaitRelay()
	printed = p.mustInit()
	if stdout, stderr, code := run(p.t, p.command("vitals-relay", "status")); code != 0 {
		p.t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	p.start("vitals-agent", "--config", p.node)
	return printed
}

func (p *primary) awaitRelay() {
	p.t.Helper()
	eventually(p.t, time.Minute, func() string {
		if _, stderr, code := run(p.t, p.command("vitals-relay", "token", "list")); code != 0 {
			return "the relay: " + stderr
		}
		return ""
	})
}

func (p *primary) url() string { return fmt.Sprintf("https://127.0.0.1:%d", p.port) }

// carelessClient does not mind who has made a certificate.
func carelessClient(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
}

var (
	loginCode  = regexp.MustCompile(`(?m)^  ([0-9A-Z]{4}-[0-9A-Z]{4})$`)
	inviteCode = regexp.MustCompile(`(?m)^  ([0-9A-Z]{4}(?:-[0-9A-Z]{4}){3})$`)
)

func TestInitMakesAPrimary(t *testing.T) {
	t.Parallel()
	db, p := startInfluxd(t), newPrimary(t)
	printed := p.mustInit("--influx", db.url())
	if !strings.Contains(printed, "1.6.7") || !strings.Contains(printed, "vitals-relay --config "+p.node) || !strings.Contains(printed, "vitals-agent --config "+p.node) {
		t.Errorf("%s", printed)
	}
	if rows := db.query("", `SHOW RETENTION POLICIES ON "node_vitals"`); len(rows) != 1 || rows[0][0] != "node_vitals_year_rp" {
		t.Errorf("%v", rows)
	}
	// The way back that it has printed is one.
	undo := regexp.MustCompile(`(?m)undo: (curl .*?)  ?\(`).FindStringSubmatch(printed)
	if undo == nil {
		t.Fatalf("it does not say how to remove the database:\n%s", printed)
	}
	if stdout, stderr, code := run(t, p.command("sh", "-c", undo[1])); code != 0 || strings.Contains(stdout, "error") {
		t.Errorf("%s: exit code %d\n%s%s", undo[1], code, stdout, stderr)
	}
	if rows := db.query("", "SHOW DATABASES"); strings.Contains(fmt.Sprint(rows), "node_vitals") {
		t.Errorf("after %s there is still %v", undo[1], rows)
	}
	for _, program := range []string{"vitals-relay", "vitals-agent"} {
		if _, stderr, code := run(t, p.command(program, "config", "check", "--config", p.node)); program == "vitals-relay" && code != 0 {
			t.Errorf("%s: %s", program, stderr)
		}
	}
	printed = p.up()
	code := loginCode.FindStringSubmatch(printed)
	if code == nil {
		t.Fatalf("there is no code:\n%s", printed)
	}
	p.signsIn(code[1], true)
	p.signsIn(code[1], false) // it is good once
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		rows, err := db.tryQuery("node_vitals", fmt.Sprintf(`SELECT "usage_idle" FROM "cpu" WHERE "host" = '%s'`, host))
		if err != nil || len(rows) == 0 {
			return fmt.Sprintf("no line of this machine: %v", err)
		}
		return ""
	})
	// Of a database that was there before nobody is told how to remove it.
	if printed := newPrimary(t).mustInit("--influx", db.url()); strings.Contains(printed, "DROP") {
		t.Errorf("%s", printed)
	}
	before := p.read("etc/node.toml") + p.read("etc/secrets/relay") + p.read("state/tls/key.pem")
	again := p.mustInit()
	if now := p.read("etc/node.toml") + p.read("etc/secrets/relay") + p.read("state/tls/key.pem"); now != before || !strings.Contains(again, "left alone") {
		t.Errorf("the second time something changed:\n%s", again)
	}
	p.keepsSecrets(code[1])
}

// signsIn opens the page with a code, in a browser of its own.
func (p *primary) signsIn(code string, want bool) {
	p.t.Helper()
	b := carelessClient(p.t)
	resp, err := b.PostForm(p.url()+"/signin", url.Values{"token": {code}, "next": {"/"}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || (resp.StatusCode == 200) != want || strings.Contains(string(text), "Add a node") != want {
		p.t.Errorf("%v, %s: %.400s", err, resp.Status, text)
	}
}

// keepsSecrets fails if a secret is in a log, or in a file that others may read.
func (p *primary) keepsSecrets(more ...string) {
	p.t.Helper()
	token := strings.TrimSpace(p.read("etc/secrets/relay"))
	_, secret, _ := strings.Cut(strings.TrimPrefix(token, "vt_"), "_")
	if len(secret) < 20 {
		p.t.Fatalf("the token is %d characters long", len(secret))
	}
	secrets := append([]string{secret}, more...)
	err := filepath.Walk(p.dir, func(path string, info os.FileInfo, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // both run, and have done with it
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for _, s := range secrets {
			private := info.Mode().Perm()&0o077 == 0 && !strings.HasSuffix(path, ".log")
			if strings.Contains(string(text), s) && !private {
				p.t.Errorf("%s (%v) has a secret in it", path, info.Mode())
			}
		}
		return err
	})
	if err != nil {
		p.t.Error(err)
	}
	for path, want := range map[string]os.FileMode{"etc/node.toml": 0o644, "etc/secrets/relay": 0o600, "etc/secrets": 0o750, "state/tls": 0o700, "state/tls/key.pem": 0o600} {
		if info, err := os.Stat(p.path(path)); err != nil || info.Mode().Perm() != want {
			p.t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
}

func TestInitLooksAtInfluxDB(t *testing.T) {
	t.Parallel()
	db := newInfluxd(t)
	db.start()
	for _, q := range []string{"CREATE USER admin WITH PASSWORD 'adminpw' WITH ALL PRIVILEGES", "CREATE USER reader WITH PASSWORD 'readerpw'", "CREATE USER writer WITH PASSWORD 'writerpw'"} {
		db.query("", q)
	}
	db.stop()
	db.m.env = append(db.m.env, "INFLUXDB_HTTP_AUTH_ENABLED=true")
	db.start()
	refuses := func(what, want string, args ...string) {
		t.Helper()
		p := newPrimary(t)
		for i, a := range args { // a file with a password
			if name, ok := strings.CutPrefix(a, "file:"); ok {
				args[i] = p.file("password", name+"\n")
			}
		}
		stdout, stderr, code := p.init(append([]string{"--influx", db.url()}, args...)...)
		if code != 1 || !strings.Contains(stderr, want) || p.read("etc/node.toml") != "" {
			t.Errorf("%s: exit code %d\n%s%s", what, code, stdout, stderr)
		}
		for _, secret := range []string{"adminpw", "readerpw", "wrongpw"} {
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("%s: it prints the password", what)
			}
		}
	}
	refuses("no user", "--influx-username NAME --influx-password-file FILE")
	refuses("wrong password", `does not take the password of "admin"`, "--influx-username", "admin", "--influx-password-file", "file:wrongpw")
	refuses("no rights", "GRANT ALL PRIVILEGES TO", "--influx-username", "reader", "--influx-password-file", "file:readerpw")
	refuses("no file", "no such file", "--influx-username", "admin", "--influx-password-file", "/absent")

	p := newPrimary(t)
	printed := p.mustInit("--influx", db.url(), "--influx-username", "admin", "--influx-password-file", p.file("pw", "adminpw\n"))
	if strings.Contains(printed, "adminpw") || p.read("state/secrets/influxdb") != "adminpw\n" {
		t.Errorf("%s", printed)
	}
	p.up()
	eventually(t, time.Minute, func() string {
		stdout, _, _ := run(t, p.command("vitals-relay", "status"))
		if !regexp.MustCompile(`influxdb +ok +0 lines +- +[1-9]`).MatchString(stdout) {
			return stdout
		}
		return ""
	})

	// One who may only write gets a relay that makes no database.
	db.query2("admin", "adminpw", `GRANT WRITE ON "node_vitals" TO writer`)
	p = newPrimary(t)
	p.mustInit("--influx", db.url(), "--influx-username", "writer", "--influx-password-file", p.file("pw", "writerpw\n"))
	if !strings.Contains(p.read("etc/node.toml"), "enabled = false") {
		t.Errorf("%s", p.read("etc/node.toml"))
	}
}

// query2 runs a statement as a user.
func (db *influxd) query2(user, password, statement string) {
	db.m.t.Helper()
	resp, err := http.PostForm(db.url()+"/query?"+url.Values{"u": {user}, "p": {password}}.Encode(), url.Values{"q": {statement}})
	if err != nil {
		db.m.t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || strings.Contains(string(text), "error") {
		db.m.t.Fatalf("%v, %s: %s", err, resp.Status, text)
	}
}
