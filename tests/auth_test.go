package tests

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// gate is a relay that asks who writes; it keeps what it gets.
type gate struct {
	*machine
	relay *process
	url   string
}

// newGate starts a relay with tables of a node file; below [relay] stands its
// address already.
func newGate(t *testing.T, tables string, args ...string) *gate {
	t.Helper()
	g := &gate{machine: newMachine(t)}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	g.url = "http://" + address
	if strings.Contains(tables, "[relay.tls]") {
		g.url = "https://" + address
	}
	config := g.file("relay.toml", "[relay]\n  listen = \""+address+"\"\n  data_directory = \"$DIR/relay\"\n"+tables)
	g.relay = g.start("vitals-relay", append([]string{"--config", config}, args...)...)
	g.wait()
	return g
}

func (g *gate) wait() {
	g.t.Helper()
	eventually(g.t, 60*time.Second, func() string {
		_, stderr, code := run(g.t, g.command("vitals-relay", "token", "list"))
		if code != 0 {
			return stderr
		}
		return ""
	})
}

// ask runs a command of the relay that must succeed.
func (g *gate) ask(args ...string) string {
	g.t.Helper()
	stdout, stderr, code := run(g.t, g.command("vitals-relay", args...))
	if code != 0 {
		g.t.Fatalf("vitals-relay %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// token makes a token and returns its text and its ID.
func (g *gate) token(args ...string) (text, id string) {
	g.t.Helper()
	out := g.ask(append([]string{"token", "create"}, args...)...)
	text, _, _ = strings.Cut(out, "\n")
	parts := strings.Split(text, "_")
	if len(parts) != 3 || parts[0] != "vt" {
		g.t.Fatalf("token create prints\n%s", out)
	}
	return text, parts[1]
}

// write posts lines and returns the answer.
func (g *gate) write(path, authorization, lines string) (status int, body string) {
	g.t.Helper()
	req, err := http.NewRequest("POST", g.url+path, strings.NewReader(lines))
	if err != nil {
		g.t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (g *gate) wants(what string, status int, in, path, authorization, lines string) {
	g.t.Helper()
	if got, body := g.write(path, authorization, lines); got != status || !strings.Contains(body, in) {
		g.t.Errorf("%s: %d %s, want %d %s", what, got, body, status, in)
	}
}

// kept is every line in the relay's queue, as far as it is written: the end of a
// segment may be on its way, and one that is new may have nothing yet.
func (g *gate) kept() string {
	g.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(g.path("relay/queue"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".gz") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		r, err := gzip.NewReader(bufio.NewReader(f))
		if err == nil {
			_, err = io.Copy(&all, r)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return all.String()
}

const required = "[relay.auth]\n  mode = \"required\"\n"

// A node writes with its token through a relay that requires one; another's
// lines are refused, and a revoked token at once, while the one that takes its
// place goes on.
func TestNodeWithAToken(t *testing.T) {
	t.Parallel()
	g := newGate(t, required)
	old, oldID := g.token("--node", "pi-1", "--expires", "90d")
	config := func(password string) string {
		return g.file("node.toml", `
[agent]
  hostname = "pi-1"
  interval = "1s"
  flush_interval = "1s"
  buffer_directory = "$DIR/buffer"
[[secretstores.environment]]
  id = "env"
  prefix = "V_"
[[outputs.influxdb]]
  urls = ["`+g.url+`"]
  database = "node_vitals"
  skip_database_creation = true
  username = "vitals"
  password = "@{env:`+password+`}"
[[outputs.influxdb_v2]]
  alias = "v2"
  urls = ["`+g.url+`"]
  organization = "o"
  bucket = "v2"
  token = "@{env:`+password+`}"
[[inputs.ram]]
`)
	}
	g.env = append(g.env, "V_OLD="+old)
	agent := g.start("vitals-agent", "--config", config("OLD"))
	lines := func() int { return strings.Count(g.kept(), "mem,host=pi-1 ") }
	more := func(what string) {
		t.Helper()
		before := lines()
		eventually(t, 60*time.Second, func() string {
			if n := lines(); n < before+4 { // both outputs, two ticks
				return fmt.Sprintf("%s: %d lines, then %d", what, before, n)
			}
			return ""
		})
	}
	more("with a token")
	var used []struct{ ID, Node, From string }
	if err := json.Unmarshal([]byte(g.ask("token", "list", "--json")), &used); err != nil || len(used) != 1 || used[0].From != "127.0.0.1" || used[0].Node != "pi-1" {
		t.Errorf("%v, %+v", err, used)
	}

	spoof := "mem,host=pi-1 spoofed=1 1\nmem,host=pi-2 spoofed=2 2\n"
	g.wants("a spoofed host on v1", 400, `its token is only for the node \"pi-1\"`, "/write?db=d", "Token "+old, spoof)
	g.wants("a spoofed host on v2", 400, `its token is only for the node \"pi-1\"`, "/api/v2/write?bucket=d", "Token "+old, spoof)
	if kept := g.kept(); !strings.Contains(kept, "spoofed=1") || strings.Contains(kept, "spoofed=2") {
		t.Errorf("kept of a spoofed body: %q", kept)
	}

	fresh, _ := g.token("--node", "pi-1")
	g.wants("the old token beside the new one", 204, "", "/write?db=d", "Token "+old, "mem,host=pi-1 v=1 1\n")
	g.wants("the new token", 204, "", "/write?db=d", "Token "+fresh, "mem,host=pi-1 v=1 1\n")
	g.ask("token", "revoke", oldID)
	g.wants("the revoked token", 401, `{"error":"authorization failed"}`, "/write?db=d", "Token "+old, "mem,host=pi-1 v=1 1\n")
	g.wants("the revoked token on v2", 401, `{"code":"unauthorized","message":"unauthorized access"}`, "/api/v2/write?bucket=d", "Bearer "+old, "mem,host=pi-1 v=1 1\n")
	agent.stop()
	g.env = append(g.env, "V_FRESH="+fresh)
	g.start("vitals-agent", "--config", config("FRESH"))
	more("with the new token")

	g.relay.stop()
	g.relay = g.start("vitals-relay", "--config", g.path("relay.toml"))
	g.wait()
	g.wants("the revoked token after a restart", 401, "authorization failed", "/write?db=d", "Token "+old, "mem,host=pi-1 v=1 1\n")
	more("after a restart")
}

// Before tokens are required, the relay takes everything and tells who would
// be refused.
func TestObservingAFleet(t *testing.T) {
	t.Parallel()
	g := newGate(t, "[relay.auth]\n  mode = \"observe\"\n")
	right, _ := g.token("--node", "pi-1")
	g.wants("a token", 204, "", "/write?db=d", "Token "+right, "mem,host=pi-1 v=1 1\n")
	g.wants("none", 204, "", "/write?db=d", "", "mem,host=pi-2 v=1 1\n")
	g.wants("a wrong one", 204, "", "/api/v2/write?bucket=d", "Token x", "mem,host=pi-3 v=1 1\n")
	g.wants("another's", 204, "", "/write?db=d", "Token "+right, "mem,host=pi-4 v=1 1\n")
	if kept := g.kept(); strings.Count(kept, "mem,host=pi-") != 4 {
		t.Errorf("kept: %q", kept)
	}
	list := g.ask("token", "observed")
	for _, want := range []string{
		`127\.0\.0\.1 +pi-2 .*shows no credentials`, `127\.0\.0\.1 +pi-3 .*its token is unknown, revoked or expired`, `127\.0\.0\.1 +pi-4 .*its token is only for the node "pi-1"`,
	} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("no line like %s:\n%s", want, list)
		}
	}
	if strings.Contains(list, "pi-1 ") {
		t.Errorf("the right one is listed:\n%s", list)
	}
	if status := g.ask("status"); !strings.Contains(status, "3 would be refused") {
		t.Errorf("status:\n%s", status)
	}
	if _, page := get(t, g.url+"/"); !strings.Contains(page, "3 would be refused") {
		t.Errorf("the page does not say who would be refused")
	}
}

func TestOverwritingTheNode(t *testing.T) {
	t.Parallel()
	g := newGate(t, required+"  node_check = \"overwrite\"\n")
	token, _ := g.token("--node", "pi 1")
	g.wants("another's lines", 204, "", "/write?db=d", "Token "+token, "mem,host=pi-2,x=y a=\"host=pi-2\",v=1i 1\nmem,host=pi\\ 1 v=2 2\nmem v=3 3")
	if kept := g.kept(); kept != "mem,host=pi\\ 1,x=y a=\"host=pi-2\",v=1i 1\nmem,host=pi\\ 1 v=2 2\nmem,host=pi\\ 1 v=3 3\n" {
		t.Errorf("kept: %q", kept)
	}
}

// The page and the API need a token that may read; what load balancers ask does not.
func TestReadingNeedsAToken(t *testing.T) {
	t.Parallel()
	g := newGate(t, required)
	read, _ := g.token("--role", "read")
	write, _ := g.token("--node", "*")
	basic := func(token string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+token)) }
	for _, path := range []string{"/", "/relay", "/api/nodes", "/api/status", "/api/events"} {
		for what, c := range map[string]struct {
			authorization string
			status        int
		}{"nobody": {"", 401}, "a reader": {basic(read), 200}, "a writer": {"Bearer " + write, 403}} {
			req, err := http.NewRequest("GET", g.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", c.authorization)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status || (c.status == 401) != (resp.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("%s, %s: %s %v", path, what, resp.Status, resp.Header)
			}
		}
	}
	for path, want := range map[string]int{"/ping": 204, "/health": 200, "/status": 204} {
		if status, body := get(t, g.url+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	g.wants("a reader who writes", 403, "is not authorized to write", "/write?db=d", basic(read), "m v=1\n")
}

// The refusals of /write are those of a real InfluxDB 1.x that wants
// credentials.
func TestRefusalsOfARealInfluxDB(t *testing.T) {
	t.Parallel()
	db := newInfluxd(t)
	db.m.env = append(db.m.env, "INFLUXDB_HTTP_AUTH_ENABLED=true")
	db.start()
	post := func(q string) {
		t.Helper()
		resp, err := http.PostForm(db.url()+"/query?u=admin&p=secret", url.Values{"q": {q}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || bytes.Contains(body, []byte("error")) {
			t.Fatalf("%s: %s %s", q, resp.Status, body)
		}
	}
	post("CREATE USER admin WITH PASSWORD 'secret' WITH ALL PRIVILEGES")
	post("CREATE DATABASE d")
	g := newGate(t, required)
	g.token("--node", "*")
	basic := func(userinfo string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(userinfo)) }
	for _, e := range []exchange{
		{method: "POST", path: "/write?db=d", body: "m v=1"},
		{method: "POST", path: "/write?db=d&pretty=true", body: "m v=1"},
		{method: "POST", path: "/write?db=d&u=admin&p=wrong", body: "m v=1"},
		{method: "POST", path: "/write?db=d&u=admin", body: "m v=1"},
		{method: "POST", path: "/write?db=d", authorization: basic("admin:wrong"), body: "m v=1"},
		{method: "POST", path: "/write?db=d", authorization: basic(":wrong"), body: "m v=1"},
		{method: "POST", path: "/write?db=d", authorization: "Digest x", body: "m v=1"},
		{method: "POST", path: "/write?precision=x", body: "m v=1"},
		{method: "POST", path: "/write", body: "m v=1"},
		{method: "GET", path: "/write", body: "m v=1"},
		{method: "OPTIONS", path: "/write"},
		{method: "POST", path: "/query?q=SHOW+DATABASES"},
		{method: "GET", path: "/query?q=SHOW+DATABASES&u=admin&p=wrong"},
		{method: "GET", path: "/ping"},
	} {
		want, got := e.send(t, db.url()), e.send(t, g.url)
		if want != got {
			t.Errorf("%s %s %s:\nInfluxDB\n%s\nrelay\n%s", e.method, e.path, e.authorization, want, got)
		}
	}
}

// Nothing that a writer shows is ever told: not in the log, at any level, not
// in the status, the page or an answer.
func TestWhatWritersShowIsNeverTold(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"error", "warn", "info", "debug"} {
		for _, mode := range []string{"observe", "required"} {
			t.Run(mode+" "+level, func(t *testing.T) { canaries(t, mode, level) })
		}
	}
}

func canaries(t *testing.T, mode, level string) {
	t.Parallel()
	g := newGate(t, "[relay.auth]\n  mode = \""+mode+"\"\n  max_lines_per_minute = 3\n", "--log-level", level)
	good, _ := g.token("--node", "pi-1")
	read, _ := g.token("--role", "read")
	gone, goneID := g.token("--node", "pi-1")
	g.ask("token", "revoke", goneID)
	secrets := []string{"canary", strings.Split(read, "_")[2]}
	for _, s := range []string{good, gone} {
		secrets = append(secrets, strings.Split(s, "_")[2], base64.StdEncoding.EncodeToString([]byte("u:" + s))[8:40])
	}
	var told strings.Builder
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+s)) }
	for _, token := range []string{good, gone, "canary", "vt_canary_canary", "vt_aaaaaaaa_canary", good + "canary"} {
		for _, path := range []string{"/write?db=d", "/write?db=d&precision=x", "/api/v2/write?bucket=d", "/api/v2/write?bucket=d&precision=x", "/query?q=SHOW+DATABASES", "/query?q=x", "/", "/api/status", "/nothing"} {
			for _, authorization := range []string{basic(token), "Token " + token, "Token u:" + token, "Bearer " + token, "Canary " + token, "Basic " + token} {
				_, answer := g.write(path, authorization, "m,host=pi-1 v=1 1\nm,host=pi-9 v=1 1\nbad\n")
				told.WriteString(answer)
			}
			if strings.Contains(path, "?") {
				_, answer := g.write(path+"&u=u&p="+token, "", "bad\n")
				told.WriteString(answer)
			}
		}
	}
	for _, path := range []string{"/", "/relay", "/api/nodes", "/api/status", "/api/events", "/metrics", "/ready"} {
		req, err := http.NewRequest("GET", g.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("u", read)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		told.Write(page)
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"nodes", "--json"}, {"token", "list"}, {"token", "list", "--json"}, {"token", "observed", "--json"}} {
		stdout, stderr, _ := run(t, g.command("vitals-relay", args...))
		told.WriteString(stdout + stderr)
	}
	g.relay.stop()
	told.WriteString(g.read("vitals-relay.log") + g.read("relay/tokens.json") + g.read("relay/token-use.json"))
	for _, s := range secrets {
		if i := strings.Index(strings.ToLower(told.String()), s); i >= 0 {
			t.Errorf("%q is told: …%s…", s, told.String()[max(0, i-200):min(told.Len(), i+200)])
		}
	}
	if mode == "required" && level == "debug" && !strings.Contains(told.String(), "a request is refused") {
		t.Error("the log does not say that requests were refused")
	}
}

// Over TLS a node's certificate is as good as a token, for its own lines.
func TestNodeWithACertificate(t *testing.T) {
	t.Parallel()
	certificate, key := selfSigned(t) // for localhost, and its own authority
	files := newMachine(t)
	crt, pem := files.file("tls.crt", certificate), files.file("tls.key", key)
	g := newGate(t, fmt.Sprintf("%s[relay.tls]\n  cert_file = %q\n  key_file = %q\n  client_ca_file = %q\n", required, crt, pem, crt))
	node := g.file("node.toml", fmt.Sprintf(`
[agent]
  hostname = "localhost"
  interval = "1s"
  flush_interval = "1s"
  buffer_directory = "$DIR/buffer"
[[outputs.influxdb]]
  urls = [%q]
  database = "d"
  skip_database_creation = true
  tls_ca = %q
  tls_cert = %q
  tls_key = %q
[[inputs.ram]]
[[inputs.ram]]
  alias = "spoof"
  [inputs.ram.tags]
    host = "pi-2"
`, g.url, crt, crt, pem))
	g.start("vitals-agent", "--config", node)
	eventually(t, 60*time.Second, func() string {
		if kept := g.kept(); strings.Count(kept, "mem,host=localhost ") < 3 {
			return "kept: " + kept
		}
		return ""
	})
	if kept := g.kept(); strings.Contains(kept, "pi-2") {
		t.Errorf("another node's lines were kept: %q", kept)
	}
	eventually(t, 60*time.Second, func() string {
		if status := g.ask("status", "--json"); strings.Contains(status, `"bad_lines": 0,`) {
			return status
		}
		return ""
	})
}

// SIGHUP brings in tokens that somebody put into the file, and drops no
// connection.
func TestTokensAreReadAgain(t *testing.T) {
	t.Parallel()
	g := newGate(t, required)
	token, id := g.token("--node", "*")
	g.wants("the token", 204, "", "/write?db=d", "Token "+token, "m v=1 1\n")
	file := g.read("relay/tokens.json")
	g.file("relay/tokens.json", strings.ReplaceAll(file, id, "other"))
	g.relay.cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, 30*time.Second, func() string {
		if status, body := g.write("/write?db=d", "Token "+token, "m v=1 1\n"); status != 401 {
			return fmt.Sprint(status, body)
		}
		return ""
	})
	g.wants("the same secret by another name", 204, "", "/write?db=d", "Token "+strings.Replace(token, id, "other", 1), "m v=1 1\n")
	g.file("relay/tokens.json", "{")
	g.relay.stop()
	g.relay = g.start("vitals-relay", "--config", g.path("relay.toml"))
	g.wait()
	g.wants("tokens that cannot be read", 503, "", "/write?db=d", "Token "+token, "m v=1 1\n")
	g.wants("tokens that cannot be read, v2", 503, "", "/api/v2/write?bucket=d", "Token "+token, "m v=1 1\n")
	status, _, code := run(t, g.command("vitals-relay", "status"))
	if code != 1 || !strings.Contains(status, "ALARM: writers are checked, but the tokens are not known") {
		t.Errorf("status: exit code %d\n%s", code, status)
	}
}
