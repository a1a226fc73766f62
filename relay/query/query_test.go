package query

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// between starts a server that answers with answer and a proxy before it.
func between(t *testing.T, c Config, answer http.HandlerFunc) (url string) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	c.URL = server.URL
	c.MaxConcurrent = max(1, c.MaxConcurrent)
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Minute
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = 1 << 20
	}
	p := New(c)
	t.Cleanup(p.Close)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.FormValue("q")
		if err := p.Pass(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// heard is what the server is asked, in one text.
func heard(r *http.Request) string {
	r.ParseForm()
	r.Header.Del("Content-Length")
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n", r.Method, r.URL.Path, r.Form.Encode())
	if r.Method == http.MethodPost && (r.URL.RawQuery != "db=d" || r.PostForm.Has("db")) {
		fmt.Fprintf(&b, "in the address is %s\n", r.URL.RawQuery)
	}
	r.Header.Write(&b)
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func TestWhatIsPassedOn(t *testing.T) {
	headers := http.Header{
		"Authorization": {"Token client:secret"}, "Accept": {"text/csv"}, "Accept-Encoding": {"gzip"}, "User-Agent": {"grafana"},
		"Connection": {"x-hop"}, "X-Hop": {"1"}, "Cookie": {"a=b"}, "X-Forwarded-For": {"1.2.3.4"}, "Te": {"trailers"},
	}
	const params = "q=SELECT+v+FROM+m&db=d&u=client&p=secret&pretty=true&chunked=true&chunk_size=10&epoch=ms"
	const passed = "chunk_size=10&chunked=true&db=d&epoch=ms&pretty=true&q=SELECT+v+FROM+m\n"
	const kept = "Accept: text/csv\nAccept-Encoding: gzip\n"
	tests := []struct {
		name, method string
		config       Config
		want         string
	}{
		{"GET, with a token", "GET", Config{Token: "own"}, "GET /query\n" + passed + kept + "Authorization: Token own\nUser-Agent: grafana\n"},
		{"POST, with a password", "POST", Config{Username: "me", Password: "pw"}, "POST /query\n" + passed + kept + "Authorization: Basic bWU6cHc=\nContent-Type: application/x-www-form-urlencoded\nUser-Agent: grafana\n"},
		{"without any", "GET", Config{}, "GET /query\n" + passed + kept + "User-Agent: grafana\n"},
		{"with the client's", "GET", Config{Token: "own", ForwardCredentials: true}, "GET /query\n" +
			"chunk_size=10&chunked=true&db=d&epoch=ms&p=secret&pretty=true&q=SELECT+v+FROM+m&u=client\n" + kept + "Authorization: Token client:secret\nUser-Agent: grafana\n"},
		{"with the relay's mark", "GET", Config{Headers: map[string]string{"Vitals-Relay": "id"}}, "GET /query\n" + passed + kept + "User-Agent: grafana\nVitals-Relay: id\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			front := between(t, tt.config, func(w http.ResponseWriter, r *http.Request) {
				got = heard(r)
				w.Header().Set("Content-Type", "text/csv")
				w.Header().Set("Set-Cookie", "c=d")
				w.Header().Set("X-Influxdb-Version", "9")
				w.WriteHeader(http.StatusTeapot)
				io.WriteString(w, "a,b")
			})
			target, body := front+"/query?"+params, io.Reader(nil)
			if tt.method == "POST" {
				target, body = front+"/query?db=d", strings.NewReader(strings.ReplaceAll(params, "&db=d", ""))
			}
			req, _ := http.NewRequest(tt.method, target, body)
			req.Header = headers.Clone()
			if tt.method == "POST" {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, _ := io.ReadAll(resp.Body)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if resp.StatusCode != 418 || string(answer) != "a,b" || resp.Header.Get("Content-Type") != "text/csv" || resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("X-Influxdb-Version") != "" {
				t.Errorf("%s %v %q", resp.Status, resp.Header, answer)
			}
		})
	}
}

// The server must not choose another text than the one that was looked at.
func TestOneTextIsPassedOn(t *testing.T) {
	const multi = "--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nDROP DATABASE d\r\n--b--\r\n"
	for _, tt := range []struct{ method, params, contentType, body, want string }{
		{"POST", "q=SELECT&db=d", "multipart/form-data; boundary=b", multi, "SELECT"},
		{"GET", "q=SELECT&db=d", "multipart/form-data; boundary=b", multi, "SELECT"},
		{"POST", "db=d", "multipart/form-data; boundary=b", multi, "DROP DATABASE d"},
		{"POST", "q=SELECT&q=DROP", "application/x-www-form-urlencoded", "", "SELECT"},
		{"POST", "q=DROP", "application/x-www-form-urlencoded", "q=SELECT&q=DROP", "SELECT"},
		{"GET", "q=SELECT&q=DROP", "", "", "SELECT"},
	} {
		var got []string
		front := between(t, Config{}, func(_ http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			got = r.Form["q"]
		})
		req, _ := http.NewRequest(tt.method, front+"/query?"+tt.params, strings.NewReader(tt.body))
		req.Header.Set("Content-Type", tt.contentType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
			t.Errorf("%s ?%s %s: %s", tt.method, tt.params, tt.body, diff)
		}
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	for status, want := range map[int]error{302: ErrRedirect, 307: ErrRedirect, 401: ErrRefused, 403: ErrRefused} {
		asked := 0
		front := between(t, Config{Token: "own"}, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, "/elsewhere", status)
		})
		if got := body(t, front); !strings.Contains(got, want.Error()) || asked != 1 {
			t.Errorf("%d: %q, asked %d times", status, got, asked)
		}
	}
	p := New(Config{URL: "http://127.0.0.1:1", MaxConcurrent: 1, Timeout: 2 * time.Minute, MaxAnswer: 1})
	err := p.Pass(httptest.NewRecorder(), httptest.NewRequest("GET", "/query", nil))
	if !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return string(text) + " " + err.Error()
	}
	return string(text)
}

func TestPiecesComeAsTheyAre(t *testing.T) {
	next := make(chan struct{})
	front := between(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			io.WriteString(w, "piece\n")
			w.(http.Flusher).Flush()
			<-next
		}
	})
	resp, err := http.Get(front)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for range 3 { // the server waits until the client has each
		if line, err := r.ReadString('\n'); err != nil || line != "piece\n" {
			t.Fatalf("%q, %v", line, err)
		}
		next <- struct{}{}
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	front := between(t, Config{MaxAnswer: 1000}, func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			io.WriteString(w, strings.Repeat("x", 100))
			w.(http.Flusher).Flush()
		}
	})
	if got := body(t, front); len(got) > 1100 || !strings.Contains(got, "EOF") {
		t.Errorf("%d bytes: %s", len(got), got[max(0, len(got)-100):])
	}
	slow := between(t, Config{Timeout: 200 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if got := body(t, slow); !strings.Contains(got, ErrUnreachable.Error()) {
		t.Errorf("%s", got)
	}
}

func TestNotTooManyAtOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	front := between(t, Config{MaxConcurrent: 1}, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	done := make(chan string)
	go func() { done <- body(t, front) }()
	<-entered
	if got := body(t, front); !strings.Contains(got, ErrBusy.Error()) {
		t.Errorf("a second: %s", got)
	}
	close(leave)
	if got := <-done; got != "" {
		t.Errorf("the first: %s", got)
	}
}

// Whoever asks hears that the server is silent, however little time a relay has for
// an answer that is its own.
func TestASilentServerIsToldOf(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	p := New(Config{URL: silent.URL, MaxConcurrent: 1, MaxAnswer: 1 << 20, Timeout: 400 * time.Millisecond})
	defer p.Close()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.Pass(w, r); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v", err)
		}
		http.Error(w, "silent", http.StatusBadGateway)
	}))
	front.Config.WriteTimeout = 100 * time.Millisecond
	front.Start()
	defer front.Close()
	resp, err := http.Get(front.URL + "/query?q=SELECT")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadGateway {
		t.Error(resp.Status)
	}
}
