package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guarded writes a node file whose relay has these further tables.
func guarded(t *testing.T, tables string) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = nodeFile(t, dir, nil)
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append(text, tables...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// fails runs a command and expects an error that says something.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	if out, err := command(t, args...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%q: %v\n%s", args, err, out)
	}
}

// prints runs a command and expects what it prints.
func prints(t *testing.T, want string, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil || !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("%q: %v\n%s\nwant %s", args, err, out, want)
	}
	return out
}

func TestInvitesFromTheCommandLine(t *testing.T) {
	config, _ := guarded(t, "packages = \"/absent\"\n[relay.auth]\nmode = \"required\"\n")
	p := start(t, config)
	fails(t, `write listen = ":8186"`, "invite")
	out := prints(t, `(?s)curl -fsS https://vitals\.example/join \| sudo sh\n.*\(3 machines, until .*\n\n  (\w{4}-){3}\w{4}\n.*sudo vitals-agent join https://vitals\.example\n`,
		"invite", "--url", "https://vitals.example/", "--uses", "3", "--for", "2d", "--tag", "site=attic", "--tag", "rack=r 1")
	if !strings.Contains(out, "no package to hand out in /absent") {
		t.Errorf("it does not say that there is no package:\n%s", out)
	}
	if strings.Contains(out, "pin") {
		t.Errorf("a relay without a key of its own has one pinned:\n%s", out)
	}
	for _, bad := range []string{"vitals.example", "ftp://h", "https://h/path", "https://u:p@h", "https://h?q", "https://h'", "https://", "https://h:0"} {
		fails(t, "write it like https://10.7.0.1:8186", "invite", "--url", bad)
	}
	fails(t, "write it like 1h", "invite", "--url", p.url, "--for", "soon")
	fails(t, "between 1m and 30d", "invite", "--url", p.url, "--for", "365d")
	fails(t, "--uses must be between", "invite", "--url", p.url, "--uses", "0")
	fails(t, "write it like site=attic", "invite", "--url", p.url, "--tag", "site")
	fails(t, "not for an invite to say", "invite", "--url", p.url, "--tag", "host=a")
	list := prints(t, `(?m)^(\w{8}) +open +\S+ \S+ +0 of 3 +rack=r 1 site=attic +-$`, "invite", "list")
	fails(t, "there is no invite", "invite", "revoke", "nosuch")
	prints(t, "is revoked", "invite", "revoke", regexp.MustCompile(`(?m)^\w{8}\b`).FindString(list))
	prints(t, "there is no invite", "invite", "list")
	if log := p.stderr.String(); regexp.MustCompile(`(\w{4}-){3}\w{4}`).MatchString(log) {
		t.Errorf("a code is in the log:\n%s", log)
	}
}

func TestWhereNobodyIsCheckedThereIsNoInviteAndNoLogin(t *testing.T) {
	config, _ := guarded(t, "")
	p := start(t, config)
	fails(t, `mode = "required"`, "invite", "--url", p.url)
	if out := prints(t, `^The page is at http://127\.0\.0\.1:\d+/\n$`, "login"); strings.Contains(out, "Sign in") {
		t.Error(out)
	}
	for _, path := range []string{"/join", "/packages/", "/packages/SHA256SUMS"} {
		if status, body := p.ask(path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// post sends JSON to a relay whose certificate is nobody's.
func (p *program) post(path string, in, out any) int {
	p.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		p.t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Post(p.url+path, "application/json", bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		p.t.Fatalf("%v: %s", err, text)
	}
	return resp.StatusCode
}

func TestAMachineJoinsARelayWithItsOwnKey(t *testing.T) {
	config, dir := guarded(t, "[relay.auth]\nmode = \"observe\"\n[relay.tls]\nown_key = true\n[relay.provision]\nprefix = \"site_\"\n")
	p := start(t, config)
	var made inviteAnswer
	out, err := command(t, "invite", "--url", p.url, "--tag", "site=attic", "--json")
	if err != nil || json.Unmarshal([]byte(out), &made) != nil || made.Pin == "" || !strings.HasPrefix(made.Line, "curl -fsSk --pinnedpubkey '"+made.Pin+"' "+p.url+"/join") {
		t.Fatalf("%v: %s", err, out)
	}
	prints(t, "(?m)^key +"+regexp.QuoteMeta(made.Pin)+"$", "status")
	var answer struct {
		Node, Token, Database, Interval, Error, Code string
		Tags                                         map[string]string
	}
	ask := map[string]string{"code": made.Code, "node": "pi-7", "machine": strings.Repeat("a1", 32)}
	if status := p.post("/join", ask, &answer); status != 200 || answer.Database != "site_node_vitals" || answer.Interval != "10s" || answer.Tags["site"] != "attic" {
		t.Errorf("%d: %+v", status, answer)
	}
	prints(t, `(?m)^\w{8} +pi-7 +write .* from 127\.0\.0\.1$`, "token", "list")
	prints(t, `(?m) used up .* 1 of 1 +site=attic +pi-7$`, "invite", "list")
	ask["machine"] = strings.Repeat("b2", 32)
	if status := p.post("/join", ask, &answer); status != 410 || answer.Code != "used" {
		t.Errorf("%d: %+v", status, answer)
	}
	// A proxy with another key, which this machine does not trust either.
	proxy := httptest.NewUnstartedServer(http.NotFoundHandler())
	proxy.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	proxy.StartTLS()
	defer proxy.Close()
	fails(t, "another key answers than the relay's", "invite", "--url", proxy.URL)
	closed := proxy.URL
	proxy.Close()
	prints(t, "--pinnedpubkey '"+regexp.QuoteMeta(made.Pin)+"' "+closed, "invite", "--url", closed)
	if out := prints(t, "curl -fsS http://(?s:.*)whoever is on the way", "invite", "--url", "http://10.7.0.1:1"); strings.Contains(out, "pin") {
		t.Error(out)
	}
	// Some shells take brackets for a pattern of files.
	prints(t, `curl -fsSk --pinnedpubkey '[^']*' 'https://\[::1\]:1/join' \| sudo sh(?s:.*)join 'https://\[::1\]:1' --pin '`, "invite", "--url", "https://[::1]:1")
	// What a reload reads again is what the relay began with.
	if out := prints(t, "destinations: 0 kept", "reload"); strings.Contains(out, "restart") {
		t.Error(out)
	}
	prints(t, `(?s)The page is at https://.*SHA-256 fingerprint is\n\n  ([0-9A-F]{2}:){31}[0-9A-F]{2}\n`, "login")
	for _, name := range []string{"invites.json", "tokens.json", "tls/key.pem"} {
		info, err := os.Stat(filepath.Join(dir, "relay", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if log := p.stderr.String(); strings.Contains(log, made.Code) || strings.Contains(log, answer.Token) && answer.Token != "" {
		t.Errorf("a secret is in the log:\n%s", log)
	}
}
