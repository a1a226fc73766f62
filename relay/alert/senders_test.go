package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/influxdata/influxdb/models"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples are one message of each state.
func samples() []Message {
	e := &Engine{config: Config{Relay: "primary", Now: func() time.Time { return start }}}
	hot := Alert{
		ID: "ID1", Name: "temperature", Kind: Temperature, Node: `pi "7"`, Since: start, Value: of(83.5), Above: 80,
		Text: "temperature 83.5 °C, more than 80 °C",
	}
	over := hot
	over.Cleared = start.Add(90 * time.Second)
	backlog := Alert{ID: "ID2", Name: "backlog", Kind: Backlog, Destination: "influxdb", Since: start, Text: "its oldest lines have waited for 10m1s"}
	return []Message{e.message(&hot), e.message(&over), e.message(&backlog), e.testMessage("ID3")}
}

// What is posted, of every template and every state.
func TestTemplates(t *testing.T) {
	f := func(name string, c WebhookConfig) {
		t.Helper()
		render, err := newRenderer(&c)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for _, m := range samples() {
			body, header, err := render(m)
			if err != nil {
				t.Fatal(err)
			}
			header.Write(&got)
			fmt.Fprintf(&got, "\n%s\n--\n", body)
		}
		path := filepath.Join("testdata", name+".golden")
		text := strings.ReplaceAll(got.String(), "\r\n", "\n")
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || text != string(want) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	f("json", WebhookConfig{})
	f("ntfy", WebhookConfig{Template: "ntfy"})
	f("telegram", WebhookConfig{Template: "telegram", ChatID: "-100"})
	f("own", WebhookConfig{Body: `{"msg":{{json .Text}},"bad":{{.Firing}}}`, ContentType: "application/x"})
}

// scripted is a server whose answers are laid down.
type scripted struct {
	*httptest.Server
	mu      sync.Mutex
	answers []http.HandlerFunc // the last stays
	ids     []string
	headers []http.Header
	paths   []string
	bodies  []string
}

func newScripted(t *testing.T, answers ...http.HandlerFunc) *scripted {
	s := &scripted{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.ids, s.headers = append(s.ids, r.Header.Get(IDHeader)), append(s.headers, r.Header)
		s.paths, s.bodies = append(s.paths, r.URL.Path), append(s.bodies, string(body))
		answer := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, "says no")
	}
}

func webhook(t *testing.T, c WebhookConfig) *Webhook {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	w, err := NewWebhook(c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestAnswersOfAWebhook(t *testing.T) {
	f := func(answer http.HandlerFunc, want string) {
		t.Helper()
		s := newScripted(t, answer)
		err := webhook(t, WebhookConfig{URL: s.URL}).Send(t.Context(), samples()[:1])
		got := fmt.Sprintf("%T %v", err, err)
		if err == nil {
			got = "taken"
		}
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(status(200), "taken")
	f(status(204), "taken")
	f(status(302, "Location", "/elsewhere"), "*errors.errorString it answers 302 and wants to be asked elsewhere; write its final address")
	f(status(400), "alert.Refused it is refused for good: it answers 400 says no")
	f(status(401), "*errors.errorString it answers 401 says no")
	f(status(404), "*errors.errorString it answers 404 says no")
	f(status(413), "alert.Refused it is refused for good: it answers 413 says no")
	f(status(429, "Retry-After", "7"), "alert.Later it answers 429 says no")
	var later Later
	date := newScripted(t, status(503, "Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)))
	if err := webhook(t, WebhookConfig{URL: date.URL}).Send(t.Context(), samples()[:1]); !errors.As(err, &later) || later.After < 50*time.Minute {
		t.Errorf("a date: %v, after %v", err, later.After)
	}
	f(status(500), "alert.Unsure it answers 500 says no")
	f(status(503), "alert.Later it answers 503 says no")
	f(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, "alert.Unsure EOF")
	f(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		io.WriteString(w, "x"+strings.Repeat("é\n", 300))
	}, "*errors.errorString it answers 404 xé"+strings.Repeat(" é", 65)+"…")

	s := newScripted(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	var unsure Unsure
	if err := webhook(t, WebhookConfig{URL: s.URL, Timeout: 100 * time.Millisecond}).Send(t.Context(), samples()[:1]); !errors.As(err, &unsure) {
		t.Errorf("slow: %T %v", err, err)
	}
	s.Close()
	if err := webhook(t, WebhookConfig{URL: s.URL}).Send(t.Context(), samples()[:1]); err == nil || errors.As(err, &unsure) {
		t.Errorf("down: %T %v", err, err)
	}
}

func TestWhatAWebhookSends(t *testing.T) {
	s := newScripted(t, status(200))
	m := samples()[:1]
	if err := webhook(t, WebhookConfig{URL: s.URL + "/hook", Token: "s3cret", Headers: map[string]string{"X-Key": "k3y5"}, UserAgent: "vitals-relay/1"}).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	h := s.headers[0]
	if h.Get("Authorization") != "Bearer s3cret" || h.Get("X-Key") != "k3y5" || h.Get(IDHeader) != "ID1-firing" || h.Get("User-Agent") != "vitals-relay/1" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%v", h)
	}
	if err := webhook(t, WebhookConfig{URL: s.URL, Template: "telegram", Token: "123:abc", ChatID: "9"}).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if s.paths[1] != "/bot123:abc/sendMessage" || s.headers[1].Get("Authorization") != "" {
		t.Errorf("%s %v", s.paths[1], s.headers[1])
	}
}

// journal is a log that may be written to and read at once.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// running is an engine that runs, in real time, and a node that is down.
func running(t *testing.T, targets ...Target) (*Engine, *journal) {
	t.Helper()
	log := new(journal)
	r := rule(Down)
	r.Intervals = 0
	down := node("pi-1")
	down.State = fleet.Down
	e, err := New(Config{
		Rules: []Rule{r}, Targets: targets, Directory: t.TempDir(), Relay: "primary",
		Nodes: func() []fleet.Node { return []fleet.Node{down} }, Destinations: func() []deliver.Status { return nil },
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e, log
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// One who does not answer is asked again, and delays nobody else.
func TestAWebhookIsRetriedAndDelaysNobody(t *testing.T) {
	slow := newScripted(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	bad := newScripted(t, status(500), status(503), status(302, "Location", "/"), status(401), status(200))
	fine := newScripted(t, status(200))
	e, _ := running(t,
		Target{Name: "slow", Sender: webhook(t, WebhookConfig{URL: slow.URL, Timeout: time.Hour})},
		Target{Name: "bad", Sender: webhook(t, WebhookConfig{URL: bad.URL})},
		Target{Name: "fine", Sender: webhook(t, WebhookConfig{URL: fine.URL})})
	eventually(t, "not all are told", func() bool {
		s := e.Status().Targets
		return s[0].Waiting == 1 && s[1].Sent == 1 && s[1].Error == "" && s[2].Sent == 1
	})
	eventually(t, "the slow one is not asked", func() bool {
		slow.mu.Lock()
		defer slow.mu.Unlock()
		return len(slow.ids) == 1
	})
	bad.mu.Lock()
	defer bad.mu.Unlock()
	if ids := slices.Compact(slices.Clone(bad.ids)); len(ids) != 1 || len(bad.ids) != 5 {
		t.Errorf("the same message has the IDs %q", bad.ids)
	}
}

// Whatever a server answers, no secret comes into the log, the status or an
// error.
func TestNoSecretIsTold(t *testing.T) {
	echo := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			fmt.Fprintln(w, r.URL, r.Header)
		}
	}
	const token, key, topic = "123456:verysecret", "anotherSecret", "hidden-topic"
	s := newScripted(t, echo(500), echo(404), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status(302, "Location", "/"+topic), echo(400))
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for i, c := range []WebhookConfig{
		{URL: s.URL, Template: "telegram", Token: token, ChatID: "1"},
		{URL: s.URL + "/" + topic + "?auth=" + key, Token: token, Headers: map[string]string{"X-Key": key}},
		{URL: gone.URL + "/" + topic + "?auth=" + key, Token: token},
		{URL: gone.URL, Template: "telegram", Token: token, ChatID: "1"},
		{URL: "http://127.0.0.1:1/" + topic, Token: "bad\nheader" + token},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			s.mu.Lock()
			s.answers = []http.HandlerFunc{echo(500), echo(404), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status(302, "Location", "/"+topic), echo(400)}
			s.mu.Unlock()
			e, log := running(t, Target{Name: "phone", Sender: webhook(t, c)})
			tried := 0
			eventually(t, "it never fails", func() bool {
				if e.Status().Targets[0].Error != "" {
					tried++
				}
				return tried > 50
			})
			_, err := e.Test(t.Context(), "")
			report, _ := json.Marshal(e.Status())
			all := log.String() + string(report) + fmt.Sprint(err)
			for _, secret := range []string{token, "verysecret", key, topic} {
				if strings.Contains(all, secret) {
					t.Errorf("%s is told:\n%s", secret, all)
				}
			}
			if !strings.Contains(all, "level=WARN") {
				t.Error("nothing is told at all")
			}
		})
	}
}

func TestACommandGetsTheMessage(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "tell")
	text := "#!/bin/sh\ncat > " + dir + "/in\nenv > " + dir + "/env\necho \"$1\" > " + dir + "/arg\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("INFLUX_TOKEN", "s3cret")
	if err := (Command{Argv: []string{script, "a b; c"}, Timeout: time.Minute}).Send(t.Context(), samples()[:1]); err != nil {
		t.Fatal(err)
	}
	in, _ := os.ReadFile(dir + "/in")
	var m Message
	if err := json.Unmarshal(in, &m); err != nil || m.ID != "ID1-firing" || m.Node != `pi "7"` {
		t.Errorf("%v %s", err, in)
	}
	env, _ := os.ReadFile(dir + "/env")
	arg, _ := os.ReadFile(dir + "/arg")
	if strings.Contains(string(env), "s3cret") || string(arg) != "a b; c\n" {
		t.Errorf("%s %s", env, arg)
	}
}

func TestACommandThatFails(t *testing.T) {
	f := func(text string, timeout time.Duration, want string) {
		t.Helper()
		err := (Command{Argv: []string{"/bin/sh", "-c", text}, Timeout: timeout}).Send(t.Context(), samples()[:1])
		if got := fmt.Sprint(err); !strings.HasPrefix(got, want) || len(got) > 700 {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("echo no such phone >&2; exit 3", time.Minute, "exit status 3: no such phone")
	f("yes | head -c 1000000; exit 1", time.Minute, "exit status 1: y y y")
	f("sleep 1000 & sleep 1000", time.Second, "it does not end within 1s")
	f("exit 0", time.Minute, "<nil>") // without reading what it is sent
	if err := (Command{Argv: []string{"/nowhere/tell"}, Timeout: time.Minute}).Send(t.Context(), samples()[:1]); err == nil {
		t.Error("a program that is not there is run")
	}
}

// The lines are what InfluxDB understands, whatever a node calls itself.
func TestLines(t *testing.T) {
	var got []byte
	l := Lines{Write: func(_ context.Context, lines []byte, n int) error {
		got = append(got, lines...)
		return nil
	}}
	all := samples()
	all[0].Node = `a b,c=d\`
	all[0].Text = "say \"no\"\\\nor else"
	if err := l.Send(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	points, err := models.ParsePoints(got)
	if err != nil || len(points) != 4 {
		t.Fatal(err, string(got))
	}
	f := func(i int, tags string, fields models.Fields, at time.Time) {
		t.Helper()
		p := points[i]
		is, err := p.Fields()
		if string(p.Name()) != "vitals_alert" || p.Tags().String() != tags || err != nil || fmt.Sprint(is) != fmt.Sprint(fields) || !p.Time().Equal(at) {
			t.Errorf("%s: %s %v", p, p.Tags(), is)
		}
	}
	f(0, "[{alert temperature} {host a b,c=d} {kind temperature}]", models.Fields{"firing": 1, "text": `say "no"\ or else`, "value": 83.5}, start)
	f(1, "[{alert temperature} {host pi \"7\"} {kind temperature}]", models.Fields{"firing": 0, "text": all[1].Text, "value": 83.5}, start.Add(90*time.Second))
	f(2, "[{alert backlog} {destination influxdb} {kind backlog}]", models.Fields{"firing": 1, "text": all[2].Text}, start)
	f(3, "[{alert test}]", models.Fields{"firing": 0, "text": all[3].Text}, start)
}

func TestATestIsTold(t *testing.T) {
	s, bad := newScripted(t, status(200)), newScripted(t, status(401))
	books := &phone{}
	e, _ := running(t,
		Target{Name: "phone", Kind: "webhook", Sender: webhook(t, WebhookConfig{URL: s.URL})},
		Target{Name: "other", Kind: "webhook", Sender: webhook(t, WebhookConfig{URL: bad.URL})},
		Target{Name: "line", Kind: "line", Sender: books, Always: true})
	f := func(name, want string) {
		t.Helper()
		tested, err := e.Test(t.Context(), name)
		if got := fmt.Sprint(tested, err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f("", "[{phone } {other it answers 401 says no}] <nil>")
	f("phone", "[{phone }] <nil>")
	f("nobody", `[] there is no target "nobody"; vitals-relay alerts list shows them`)
	alone, _ := running(t)
	if _, err := alone.Test(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "[[relay.alert_targets]]") {
		t.Error(err)
	}
}

// together is a target that answers when all have been asked.
type together struct{ all *sync.WaitGroup }

func (m together) Send(ctx context.Context, _ []Message) error {
	m.all.Done()
	there := make(chan struct{})
	go func() { defer close(there); m.all.Wait() }()
	select {
	case <-there:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Whoever tests waits for the slowest, not for all of them one after the other.
func TestATestIsToldToAllAtOnce(t *testing.T) {
	var all sync.WaitGroup
	all.Add(2)
	l := newLab(t, rule(Down))
	l.config.Targets = []Target{{Name: "a", Sender: together{&all}}, {Name: "b", Sender: together{&all}}}
	l.restart()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if tested, err := l.Test(ctx, ""); fmt.Sprint(tested, err) != "[{a } {b }] <nil>" {
		t.Error(tested, err)
	}
}
