package join

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/auth"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const aPin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// machineA and machineB are two machines.
var machineA, machineB = strings.Repeat("a1", 32), strings.Repeat("b2", 32)

// lab is the doors with real tokens in a directory, and a clock of their own.
type lab struct {
	*Handler
	t       testing.TB
	dir     string
	guard   *auth.Guard
	invites *Invites
	log     bytes.Buffer
	retired []string

	mu  sync.Mutex
	now time.Time
}

func newLab(t testing.TB, mode auth.Mode) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), now: start}
	l.open(mode)
	return l
}

// open is a start of the relay.
func (l *lab) open(mode auth.Mode) {
	log := slog.New(slog.NewTextHandler(&l.log, nil))
	clock := func() time.Time { l.mu.Lock(); defer l.mu.Unlock(); return l.now }
	l.guard = auth.New(auth.Config{Mode: mode, NodeCheck: auth.Enforce, Directory: l.dir, Now: clock, Logger: log})
	l.invites = OpenInvites(l.dir, clock)
	l.Handler = New(Config{
		Tokens: l.guard, Invites: l.invites, Enabled: mode != auth.Off, Packages: filepath.Join(l.dir, "packages"),
		Address: func() string { return "https://10.7.0.1:8186" }, Pin: func(string) string { return aPin },
		Database: "node_vitals", Interval: 10 * time.Second, Logger: log,
		Retire: func(node string) error { l.retired = append(l.retired, node); return nil },
	})
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// invite returns the code of a new invite.
func (l *lab) invite(lifetime time.Duration, uses int) string {
	l.t.Helper()
	_, code, err := l.invites.Create(lifetime, uses, map[string]string{"site": "attic"})
	if err != nil {
		l.t.Fatal(err)
	}
	return code
}

// ask sends a request and returns the answer.
func (l *lab) ask(method, path, body string, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "10.7.0.1:8186", "10.7.0.2:4711"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	l.Before(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })).ServeHTTP(w, r)
	return w
}

func secured(r *http.Request) { r.TLS = &tls.ConnectionState{} }

// join asks for a token; word is "" if it was given.
func (l *lab) join(code, node, machine string) (a answer, status int, word string) {
	l.t.Helper()
	body, err := json.Marshal(request{code, node, machine, "v1"})
	if err != nil {
		l.t.Fatal(err)
	}
	w := l.ask("POST", "/join", string(body), nil)
	var both struct {
		answer
		problem
	}
	text, err := io.ReadAll(w.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &both); err != nil {
		l.t.Fatalf("%v: %s", err, text)
	}
	if (both.Code == "") != (w.Code == 200) || (both.Error == "") != (both.Code == "") {
		l.t.Errorf("%d: %s", w.Code, text)
	}
	return both.answer, w.Code, both.Code
}

// wants joins and expects a word, "" for a token.
func (l *lab) wants(what, code, node, machine string, status int, word string) answer {
	l.t.Helper()
	a, gotStatus, gotWord := l.join(code, node, machine)
	if gotStatus != status || gotWord != word {
		l.t.Errorf("%s: %d %q, want %d %q", what, gotStatus, gotWord, status, word)
	}
	return a
}

// writes reports whether a token is good.
func (l *lab) writes(token string) bool {
	r := httptest.NewRequest("POST", "/write?db=d", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := l.guard.Admit(r, auth.Write)
	return err == nil
}

func (l *lab) file(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return path
}
