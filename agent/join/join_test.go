package join

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/pin"
)

const goodCode = "9TRD-8WVB-K7QX-4M2P"

// primary is a relay that answers as the test says.
type primary struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string          // method and path
	joins  []Request         // what came to /join
	tokens map[string]string // that hold, with their nodes
	answer func(w http.ResponseWriter, r *http.Request) bool
	tags   map[string]string
}

func newPrimary(t *testing.T) *primary {
	t.Helper()
	p := &primary{tokens: map[string]string{}, tags: map[string]string{"site": "attic"}}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *primary) pin() string { return pin.Of(p.Certificate()) }

func (p *primary) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.Method+" "+r.URL.Path)
	if p.answer != nil && p.answer(w, r) {
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch r.Method + " " + r.URL.Path {
	case "GET /join":
		fmt.Fprint(w, "#!/bin/sh\n")
	case "POST /join":
		var q Request
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.joins = append(p.joins, q)
		if q.Code != goodCode {
			refuse(w, http.StatusForbidden, "wrong", "the relay knows no such invite; see whether it was typed right")
			return
		}
		for old, node := range p.tokens {
			if node == q.Node {
				delete(p.tokens, old)
			}
		}
		token = fmt.Sprintf("vt_id%d_hushhush%d", len(p.joins), len(p.joins))
		p.tokens[token] = q.Node
		_ = json.NewEncoder(w).Encode(Answer{Node: q.Node, Token: token, TokenID: fmt.Sprint("id", len(p.joins)), Database: "node_vitals", Tags: p.tags, Interval: "10s"})
	case "POST /leave", "POST /write":
		if p.tokens[token] == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/leave" {
			delete(p.tokens, token)
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text, "code": code})
}

// world is a machine below a folder, with an agent and a service that are played.
type world struct {
	t       *testing.T
	setup   *Setup
	out     bytes.Buffer
	primary *primary

	checkErr, onceErr, drainErr error
	left                        int64
	managed, running            bool
	restarts                    int
	silent                      bool // its agent has no write answered
	silentVersion, deadVersion  string
	asked                       func() // for its state; nil: nothing more
	state                       State
	did                         []string
}

func newWorld(t *testing.T, p *primary) *world {
	t.Helper()
	w := &world{t: t, primary: p}
	w.setup = &Setup{Root: t.TempDir(), NodeFile: "/etc/vitals/node.toml", Version: "v0.1.0", Out: &w.out, Agent: w, Service: w, Patience: 2 * time.Minute}
	w.put("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	w.put("/proc/device-tree/serial-number", "10000000abcdef01\x00")
	w.put("/var/lib/dpkg/status", "")
	return w
}

func (w *world) put(name, text string) {
	w.t.Helper()
	path := w.setup.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// files are all there are, with modes and contents.
func (w *world) files() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(w.setup.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, text := strings.TrimPrefix(path, w.setup.Root), []byte{}
		if !d.IsDir() {
			text, err = os.ReadFile(path)
		}
		all[name] = fmt.Sprintf("%v %s", info.Mode(), text)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// same fails if the files are not what they were.
func (w *world) same(what string, before map[string]string) {
	w.t.Helper()
	now := w.files()
	for name := range before {
		if now[name] != before[name] {
			w.t.Errorf("%s: %s was %q and is %q", what, name, before[name], now[name])
		}
	}
	for name := range now {
		if _, ok := before[name]; !ok {
			w.t.Errorf("%s: %s is left: %q", what, name, now[name])
		}
	}
}

func (w *world) Check(string) error                           { return w.checkErr }
func (w *world) Once(context.Context, string) error           { w.did = append(w.did, "once"); return w.onceErr }
func (w *world) Drain(context.Context, string) (int64, error) { return w.left, w.drainErr }
func (w *world) Discard(string) error                         { w.did = append(w.did, "discard"); return nil }
func (w *world) Target(string) (string, string, error)        { return w.primary.URL, w.primary.pin(), nil }
func (w *world) Flush(context.Context) error                  { return nil }
func (w *world) Reload(context.Context) error                 { w.did = append(w.did, "reload"); return w.began() }
func (w *world) Manages(context.Context) bool                 { return w.managed }
func (w *world) Active(context.Context) bool                  { return w.managed && (w.running || w.deadVersion != "") }
func (w *world) Start(context.Context) error                  { w.did = append(w.did, "start"); return w.began() }
func (w *world) Restart(context.Context) error                { w.did = append(w.did, "restart"); return w.began() }
func (w *world) Stop(context.Context) error {
	w.did, w.running = append(w.did, "stop"), false
	return nil
}

func (w *world) State(context.Context) (State, error) {
	if !w.running {
		return State{}, errors.New("it does not run")
	}
	if w.asked != nil {
		w.asked()
	}
	return w.state, nil
}

// began has the agent run, anew.
func (w *world) began() error {
	w.restarts++
	w.running = true
	if w.setup.Program != "" {
		w.state.Version = w.installed()
	}
	if w.state.Version != "" && w.state.Version == w.deadVersion {
		w.running = false
		return errors.New("systemctl restart: exit status 1")
	}
	w.state.Started = time.Unix(int64(w.restarts), 0)
	o := Output{URL: w.primary.URL, Waiting: 5}
	if w.silent || w.state.Version != "" && w.state.Version == w.silentVersion {
		o.LastError = "503 Service Unavailable"
	} else {
		o.LastSuccess, o.Waiting = time.Unix(int64(w.restarts)+1, 0), 0
	}
	w.state.Outputs = []Output{o}
	return nil
}

// join joins with the codes that are typed one after the other.
func (w *world) join(codes ...string) error {
	w.t.Helper()
	return w.joinWith(Options{}, codes...)
}

func (w *world) joinWith(o Options, codes ...string) error {
	w.t.Helper()
	if o.URL == "" {
		o.URL, o.Pin = w.primary.URL, w.primary.pin()
	}
	if o.Name == "" {
		o.Name = "pi-7"
	}
	o.Code = func(context.Context, string) (string, error) {
		if len(codes) == 0 {
			return "", errors.New("no more codes")
		}
		code := codes[0]
		codes = codes[1:]
		return code, nil
	}
	err := w.setup.Join(w.t.Context(), o)
	if len(codes) > 0 {
		w.t.Errorf("%d codes were not asked for", len(codes))
	}
	for _, secret := range append([]string{goodCode, strings.ReplaceAll(goodCode, "-", ""), "hushhush"}, codes...) {
		if strings.Contains(fmt.Sprint(err)+w.out.String(), secret) {
			w.t.Errorf("%s is told: %v\n%s", secret, err, &w.out)
		}
	}
	return err
}

func TestJoin(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	w.managed = true
	if err := w.join("9trd 8wvbk7qx-4m2p"); err != nil {
		t.Fatal(err)
	}
	all := w.files()
	if got := all[tokenPath]; got != "-rw------- vt_id1_hushhush1\n" {
		t.Errorf("token: %q", got)
	}
	if got := all[secretsDirectory]; !strings.HasPrefix(got, "drwxr-x---") {
		t.Errorf("its directory: %q", got)
	}
	note := all[notePath]
	if !strings.HasPrefix(note, "-rw------- {") || strings.Contains(note, "hushhush") {
		t.Errorf("note: %q", note)
	}
	node := all[w.setup.NodeFile]
	for _, want := range []string{"-rw-r--r-- # Written by vitals-agent join on ", `urls = ["` + p.URL + `"]`, `tls_pin = "` + p.pin() + `"`, `hostname = "pi-7"`, `"site" = "attic"`, `database = "node_vitals"`, `password = "@{vitals:relay}"`, `[[inputs.temperature]]`} {
		if !strings.Contains(node, want) {
			t.Errorf("the node file has no %s:\n%s", want, node)
		}
	}
	if strings.Contains(node, "raspberrypi") {
		t.Error("a machine that is no Raspberry Pi is asked for what one has")
	}
	if !strings.Contains(w.out.String(), "has stored its first lines") || !slices.Equal(w.did, []string{"start"}) {
		t.Errorf("%v\n%s", w.did, &w.out)
	}
	for name := range all {
		if strings.HasSuffix(name, ".new") {
			t.Errorf("%s is left", name)
		}
	}
	if got := p.joins[0]; got.Node != "pi-7" || len(got.Machine) != 64 || got.Version != "v0.1.0" {
		t.Errorf("%+v", got)
	}
	// Once more: nothing is asked, and nothing changes but that the agent starts anew.
	if err := w.join(); err != nil {
		t.Fatal(err)
	}
	w.same("joined twice", all)
	// Leave, and all is as before.
	if err := w.setup.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if len(p.tokens) != 0 || w.running {
		t.Errorf("tokens %v, running %v", p.tokens, w.running)
	}
	w.same("left", newWorld(t, p).files())
}

// Whatever the relay says, nothing is changed here, it is told what to do, and
// a second try works.
func TestRefusalsChangeNothing(t *testing.T) {
	f := func(name string, set func(w *world), want string, codes ...string) {
		t.Helper()
		p := newPrimary(t)
		w := newWorld(t, p)
		before := w.files()
		set(w)
		err := w.join(codes...)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "has not joined") {
			t.Errorf("%s: %v", name, err)
		}
		w.same(name, before)
		if len(p.tokens) != 0 {
			t.Errorf("%s: the relay still knows %v", name, p.tokens)
		}
		p.answer, w.checkErr = nil, nil
		if err := w.join(goodCode); err != nil {
			t.Errorf("%s: second try: %v", name, err)
		}
	}
	answer := func(status int, code, text string) func(*world) {
		return func(w *world) {
			w.primary.answer = func(rw http.ResponseWriter, r *http.Request) bool {
				if r.Method+r.URL.Path != "POST/join" {
					return false
				}
				rw.Header().Set("Retry-After", "60")
				refuse(rw, status, code, text)
				return true
			}
		}
	}
	nothing := func(*world) {}
	f("wrong three times", nothing, "see whether it was typed right", "AAAA-AAAA-AAAA-AAAA", "BBBB-BBBB-BBBB-BBBB", "9TRD-8WVB-K7QX-4M2Q")
	f("no code", nothing, "four groups of four letters and digits", "x", "", "9TRD-8WVB-K7QX-4M2*")
	f("nobody to type", nothing, "no more codes")
	f("expired", answer(410, "expired", "the invite has expired: make another with vitals-relay invite"), "make another with vitals-relay invite", goodCode)
	f("used up", answer(410, "used", "the invite is used up: make another"), "used up", goodCode)
	f("name taken", answer(409, "name_taken", "pi-7 joined at 10:00 from 10.0.0.9: set another host name"), "set another host name", goodCode)
	f("too many attempts", answer(429, "slow", "slow down"), "wait 1m0s and try again", goodCode)
	f("disabled", answer(404, "disabled", "there is nothing to join with: mode = \"required\""), "nothing to join with", goodCode)
	f("no relay", func(w *world) {
		w.primary.answer = func(rw http.ResponseWriter, _ *http.Request) bool { http.NotFound(rw, nil); return true }
	}, "no such door")
	f("no JSON", func(w *world) {
		w.primary.answer = func(rw http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(rw, "<html>"); return true }
	}, "not what a relay answers", goodCode)
	f("never answers", func(w *world) {
		w.primary.answer = func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }
	}, "try again")
	f("ends in the middle", func(w *world) {
		w.primary.answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				panic(http.ErrAbortHandler)
			}
			return false
		}
	}, "try again", goodCode)
	f("no token", func(w *world) {
		w.primary.answer = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method+r.URL.Path == "POST/join" {
				fmt.Fprint(rw, `{"node":"pi-7","database":"d"}`)
			}
			return r.Method+r.URL.Path == "POST/join"
		}
	}, "no token in it", goodCode)
	f("a node file that would not be sound", func(w *world) { w.checkErr = errors.New("node.toml:3:1: bad") }, "node.toml:3:1", goodCode)
	f("a tag that is a variable", func(w *world) {
		w.primary.tags = map[string]string{"site": "${HOME}"}
		w.primary.answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/leave" {
				w.primary.tags = nil
			}
			return false
		}
	}, "make an invite without it", goodCode)
}

func TestAWrongCodeMayBeTypedAgain(t *testing.T) {
	w := newWorld(t, newPrimary(t))
	if err := w.join("nonsense", "AAAA-AAAA-AAAA-AAAA", goodCode); err != nil {
		t.Fatal(err)
	}
}

// A node file that join has not written is somebody's work.
func TestNodeFilesOfOthers(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	const own = "[agent]\n[[inputs.cpu]]\n[[outputs.file]]\n"
	w.put(w.setup.NodeFile, own)
	before := w.files()
	if err := w.join(); err == nil || !strings.Contains(err.Error(), "--force") || !strings.Contains(err.Error(), "token create --node pi-7") {
		t.Errorf("%v", err)
	}
	w.same("refused", before)
	if err := w.joinWith(Options{Force: true}, goodCode); err != nil {
		t.Fatal(err)
	}
	if got := w.files()[w.setup.NodeFile+".before-join"]; got != "-rw-r--r-- "+own {
		t.Errorf("no copy: %q", got)
	}
	if err := w.setup.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w.same("left", before)
	// The node file of a primary is never replaced.
	w.put(w.setup.NodeFile, own+"[relay]\n")
	before = w.files()
	if err := w.joinWith(Options{Force: true}); err == nil || !strings.Contains(err.Error(), "vitals-relay init") {
		t.Errorf("%v", err)
	}
	w.same("primary", before)
}

// What was changed by hand stays when the machine joins anew, and is kept when
// it leaves.
func TestAChangedNodeFile(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	text := strings.SplitN(w.files()[w.setup.NodeFile], " ", 2)[1] + "[[inputs.net]]\n"
	w.put(w.setup.NodeFile, text)
	clear(p.tokens) // revoked
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	if got := w.files()[w.setup.NodeFile]; got != "-rw-r--r-- "+text {
		t.Errorf("it is now %q", got)
	}
	if got := w.files()[tokenPath]; got != "-rw------- vt_id2_hushhush2\n" {
		t.Errorf("token: %q", got)
	}
	other := newPrimary(t)
	if err := w.joinWith(Options{URL: other.URL, Pin: other.pin()}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("another relay: %v", err)
	}
	if err := w.setup.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if got := w.files()[w.setup.NodeFile+".left"]; got != "-rw-r--r-- "+text {
		t.Errorf("what was changed is gone: %q", w.files())
	}
}

// A machine that has joined and is killed before it has its node file goes on
// without a code.
func TestAJoiningThatWasKilled(t *testing.T) {
	f := func(name, before string, force bool) {
		t.Helper()
		p := newPrimary(t)
		w := newWorld(t, p)
		if before != "" {
			w.put(w.setup.NodeFile, before)
		}
		if err := w.joinWith(Options{Force: force}, goodCode); err != nil {
			t.Fatal(name, err)
		}
		done := w.files()
		// As it was before the last step.
		if err := os.Remove(w.setup.path(w.setup.NodeFile)); err != nil {
			t.Fatal(err)
		}
		if before != "" {
			if err := os.Rename(w.setup.path(w.setup.NodeFile+".before-join"), w.setup.path(w.setup.NodeFile)); err != nil {
				t.Fatal(err)
			}
		}
		w.put(w.setup.NodeFile+".new", "half of ")
		if err := w.join(); err != nil {
			t.Fatal(name, err)
		}
		w.same(name, done)
	}
	f("nothing was there", "", false)
	f("another's file was there", "[agent]\n[[inputs.cpu]]\n[[outputs.file]]\n", true)
}

// A card that was copied has the files of another machine.
func TestACopiedCard(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	w.put("/proc/device-tree/serial-number", "10000000ffffffff\x00")
	if err := w.joinWith(Options{Name: "pi-8"}, goodCode); err != nil {
		t.Fatal(err)
	}
	if p.joins[0].Machine == p.joins[1].Machine || !strings.Contains(w.files()[w.setup.NodeFile], `hostname = "pi-8"`) {
		t.Errorf("%+v\n%s", p.joins, w.files()[w.setup.NodeFile])
	}
}

func TestNoFirstWrite(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	w.managed, w.silent, w.setup.Patience = true, true, 500*time.Millisecond
	if err := w.join(goodCode); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "goes on trying") {
		t.Errorf("%v", err)
	}
	w.silent, w.setup.Patience = false, 2*time.Minute
	if err := w.join(); err != nil { // without a code
		t.Error(err)
	}
	w = newWorld(t, p)
	w.onceErr = errors.New("503 Service Unavailable")
	if err := w.join(goodCode); err == nil || !strings.Contains(err.Error(), "asks for no code") {
		t.Errorf("%v", err)
	}
	w.onceErr = nil
	if err := w.join(); err != nil || !strings.Contains(w.out.String(), "\n  vitals-agent --config /etc/vitals/node.toml\n") {
		t.Errorf("%v\n%s", err, &w.out)
	}
}

// Somebody else's key, and addresses that are none.
func TestTheRightRelay(t *testing.T) {
	p := newPrimary(t)
	const stranger = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	plain := httptest.NewServer(http.HandlerFunc(p.serve))
	defer plain.Close()
	f := func(url, pin, want string) {
		t.Helper()
		w := newWorld(t, p)
		before := w.files()
		// Nobody is asked for a code that would be of no use.
		if err := w.joinWith(Options{URL: url, Pin: pin}); err == nil || strings.Contains(err.Error(), "no more codes") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %v", url, pin, err)
		}
		w.same(url, before)
	}
	f(p.URL, stranger, "It was sent nothing")
	f(p.URL, "", "give the relay's key with --pin")
	f(strings.Replace(plain.URL, "http:", "https:", 1), p.pin(), "speaks no TLS")
	f(strings.Replace(p.URL, "https:", "http:", 1), "", "write https://")
	f(plain.URL, p.pin(), "over http:// no key is shown")
	f("https://127.0.0.1:1", p.pin(), "see whether the relay runs")
	f("10.7.0.1:8186", "", "https://10.7.0.1:8186")
	f("https://9TRD-8WVB-K7QX-4M2P@10.7.0.1:8186", "", "join asks for the code")
	f(p.URL, "sha256//x", "44 characters")
	if len(p.joins) != 0 {
		t.Errorf("a code was sent: %v", p.joins)
	}
}

func TestLeave(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "has not joined") {
		t.Errorf("%v", err)
	}
	before := w.files()
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	joined := w.files()
	// Lines are left, or the relay is away: all stays as it is.
	w.left, w.drainErr = 7, errors.New("503 Service Unavailable")
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "7 lines") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("%v", err)
	}
	w.same("lines are left", joined)
	w.drainErr = nil
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "7 lines") || strings.Contains(err.Error(), "nil") {
		t.Errorf("%v", err)
	}
	w.left = 0
	p.answer = func(rw http.ResponseWriter, _ *http.Request) bool { rw.WriteHeader(http.StatusBadGateway); return true }
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("%v", err)
	}
	w.same("relay away", joined)
	// An agent that somebody has started by hand.
	w.running = true
	p.answer = nil
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "end it") {
		t.Errorf("%v", err)
	}
	w.same("an agent runs", joined)
	w.running = false
	// The answer is lost: the second time the token is unknown, which is as good.
	p.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/leave" {
			clear(p.tokens)
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if err := w.setup.Leave(t.Context(), false); err == nil || !strings.Contains(err.Error(), "token revoke id1") {
		t.Errorf("%v", err)
	}
	p.answer = nil
	if err := w.setup.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w.same("left", before)
	// With force, from a relay that is gone.
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := w.setup.Leave(t.Context(), true); err != nil || !strings.Contains(w.out.String(), "token revoke id") {
		t.Errorf("%v\n%s", err, &w.out)
	}
	w.same("left by force", before)
}

// No room for one of the files: nothing is asked of anybody.
func TestNoRoom(t *testing.T) {
	for _, name := range []string{secretsDirectory, tokenPath, notePath, "/etc/vitals/node.toml"} {
		p := newPrimary(t)
		w := newWorld(t, p)
		before := w.files()
		blocked := name + ".new/x" // a folder where a file should be, or the other way round
		if name == secretsDirectory {
			blocked = name
		}
		w.put(blocked, "in the way")
		blockedFiles := w.files()
		if err := w.join(); err == nil || !strings.Contains(err.Error(), "has not joined: ") {
			t.Errorf("%s: %v", name, err)
		}
		w.same(name, blockedFiles)
		if len(p.asked) > 0 {
			t.Errorf("%s: the relay was asked %v", name, p.asked)
		}
		for dir := filepath.Dir(blocked); dir != "/"; dir = filepath.Dir(dir) {
			if _, ok := before[dir]; !ok {
				os.RemoveAll(w.setup.path(dir))
			}
		}
		if err := w.join(goodCode); err != nil {
			t.Errorf("%s: second try: %v", name, err)
		}
	}
}

// Only one at a time.
func TestTwoAtOnce(t *testing.T) {
	p := newPrimary(t)
	w := newWorld(t, p)
	unlock, err := w.setup.lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.join(); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("%v", err)
	}
	// Also while the first one ever makes its directories.
	w.put(notePath+".new", "")
	if err := w.join(); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("%v", err)
	}
	unlock()
	if err := w.join(goodCode); err != nil {
		t.Error(err)
	}
}

// The unit runs the agent by its own node file and by no other.
func TestAnotherNodeFileThanTheUnits(t *testing.T) {
	w := newWorld(t, newPrimary(t))
	w.managed, w.setup.NodeFile = true, "/srv/node.toml"
	if err := w.join(goodCode); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.did, []string{"once"}) || !strings.Contains(w.out.String(), "\n  vitals-agent --config /srv/node.toml\n") {
		t.Errorf("%v\n%s", w.did, &w.out)
	}
	w.setup.NodeFile = "/etc/vitals/node.toml" // leave goes by what was joined
	w.did = nil
	if err := w.setup.Leave(t.Context(), false); err != nil || slices.Contains(w.did, "stop") {
		t.Errorf("%v: %v", err, w.did)
	}
}

// What a relay says does not steer the terminal of who is asked for a code.
func TestAWordOfTheRelaysIsLegible(t *testing.T) {
	p := newPrimary(t)
	p.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			refuse(w, http.StatusForbidden, "wrong", "no\x1b]0;hello\a such\ninvite")
		}
		return true
	}
	w := newWorld(t, p)
	var asked []string
	err := w.setup.Join(t.Context(), Options{URL: p.URL, Pin: p.pin(), Code: func(_ context.Context, wrong string) (string, error) {
		asked = append(asked, wrong)
		return goodCode, nil
	}})
	if err == nil || len(asked) != 3 {
		t.Errorf("%v, asked %d times", err, len(asked))
	}
	for _, text := range asked {
		if strings.ContainsAny(text, "\x1b\a\n") {
			t.Errorf("%q", text)
		}
	}
	if err := (&Answer{Node: "n", Database: "d", Token: "vt_abcdefgh_ij", TokenID: "x\x1b[2J"}).check(); err == nil {
		t.Error("the ID of a token may be anything")
	}
}
