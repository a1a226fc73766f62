package auth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// signIn returns the cookie that a token gets.
func signIn(l *lab, token string, change func(*http.Request)) (*http.Cookie, error) {
	r := httptest.NewRequest("POST", "/signin", nil)
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	if err := l.SignIn(w, r, token); err != nil {
		return nil, err
	}
	return w.Result().Cookies()[0], nil
}

func TestSessions(t *testing.T) {
	l := newLab(t, nil)
	id, token := l.create("", Read, 0)
	page := l.RequireRole(Read, "/signin", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	admin := l.RequireRole(Admin, "/signin", http.NotFoundHandler())
	get := func(h http.Handler, c *http.Cookie) int {
		r := httptest.NewRequest("GET", "/", nil)
		if c != nil {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	c, err := signIn(l, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || strings.Contains(c.Value, token) {
		t.Errorf("%+v", c)
	}
	if got := get(page, c); got != 200 {
		t.Error(got)
	}
	if got := get(admin, c); got == 200 || got == 404 {
		t.Errorf("a reader is let in as admin: %d", got)
	}
	if got := get(page, &http.Cookie{Name: c.Name, Value: "guessed"}); got != 401 {
		t.Error(got)
	}
	l.now = l.now.Add(11 * time.Hour)
	if got := get(page, c); got != 200 {
		t.Errorf("in use: %d", got)
	}
	l.now = l.now.Add(13 * time.Hour)
	if got := get(page, c); got != 401 {
		t.Errorf("idle: %d", got)
	}
	c, err = signIn(l, token, nil)
	if err != nil {
		t.Fatal(err)
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/signout", nil)
	r.AddCookie(c)
	l.SignOut(w, r)
	if got := get(page, c); got != 401 || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("signed out: %d", got)
	}
	if c, err = signIn(l, token, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Revoke(id.ID); err != nil {
		t.Fatal(err)
	}
	if got := get(page, c); got != 401 {
		t.Errorf("revoked: %d", got)
	}
}

// However much it is used, a session ends a month after it was opened.
func TestSessionsEndInTheEnd(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("", Admin, 0)
	code, _ := l.NewLogin()
	var all []*http.Cookie
	for _, shown := range []string{token, code} {
		c, err := signIn(l, shown, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	const step = 10 * time.Hour
	for passed := time.Duration(0); passed <= 31*24*time.Hour; passed += step {
		for i, c := range all {
			if got, want := admitted(l, c) == 204, passed <= 30*24*time.Hour; got != want {
				t.Fatalf("session %d, in use for %s: %v", i, passed, got)
			}
		}
		l.pass(step)
	}
}

// What is still being served ends soon after the token behind it does, or the
// session, and no other.
func TestStreamsEndWithTheirToken(t *testing.T) {
	l := newLab(t, nil)
	begun, ended := make(chan string), make(chan string)
	page := l.RequireRole(Read, "/signin", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- r.URL.Path
		<-r.Context().Done()
		ended <- r.URL.Path
	}))
	stream := func(path string, change func(*http.Request)) {
		r := httptest.NewRequest("GET", path, nil)
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		change(r)
		go page.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
		<-begun
	}
	first := func(want string) {
		t.Helper()
		select {
		case got := <-ended:
			if got != want {
				t.Errorf("%s has ended, not %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s goes on", want)
		}
	}
	id, token := l.create("", Read, 0)
	other, otherToken := l.create("", Read, 0)
	cookies := map[string]*http.Cookie{}
	for _, path := range []string{"/session", "/signed-out", "/other"} {
		with := token
		if path == "/other" {
			with = otherToken
		}
		c, err := signIn(l, with, nil)
		if err != nil {
			t.Fatal(err)
		}
		cookies[path] = c
		stream(path, func(r *http.Request) { r.AddCookie(c) })
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/signout", nil)
	r.AddCookie(cookies["/signed-out"])
	l.SignOut(w, r)
	first("/signed-out")
	if err := l.Revoke(id.ID); err != nil {
		t.Fatal(err)
	}
	first("/session")
	stream("/token", func(r *http.Request) { r.SetBasicAuth("any", otherToken) })
	if err := l.Revoke(other.ID); err != nil {
		t.Fatal(err)
	}
	paths := []string{<-ended, <-ended}
	if slices.Sort(paths); !slices.Equal(paths, []string{"/other", "/token"}) {
		t.Errorf("ended: %v", paths)
	}
}

func TestWhoCannotSignIn(t *testing.T) {
	l := newLab(t, nil)
	_, write := l.create("pi-1", Write, 0)
	if _, err := signIn(l, write, nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("a writer: %v", err)
	}
	if _, err := signIn(l, "vt_x_y", nil); !errors.Is(err, ErrWrong) {
		t.Errorf("a stranger: %v", err)
	}
	for range maxFailures {
		signIn(l, "vt_x_y", nil)
	}
	var slow *SlowDown
	if _, err := signIn(l, "vt_x_y", nil); !errors.As(err, &slow) {
		t.Errorf("a guesser: %v", err)
	}
}

func TestSessionsOverTLSStayThere(t *testing.T) {
	l := newLab(t, nil)
	_, token := l.create("", Read, 0)
	c, err := signIn(l, token, func(r *http.Request) { r.TLS = &tls.ConnectionState{} })
	if err != nil || !c.Secure {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	var s sessions
	for i := range maxSessions + 10 {
		s.add(fmt.Sprint(i), session{token: "t", used: start.Add(time.Duration(i) * time.Second)})
	}
	if _, ok := s.find("9", start); ok || len(s.open) != maxSessions {
		t.Errorf("%d sessions", len(s.open))
	}
	if s.open[sha256.Sum256([]byte("10"))] == nil {
		t.Error("the oldest is not the one that went")
	}
}

func TestAPersonIsSentToSignIn(t *testing.T) {
	l := newLab(t, nil)
	h := l.RequireRole(Read, "/signin", http.NotFoundHandler())
	f := func(accept, mode, want string) {
		t.Helper()
		r := httptest.NewRequest("GET", "/nodes/a?x=1", nil)
		r.Header.Set("Accept", accept)
		r.Header.Set("Sec-Fetch-Mode", mode)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := fmt.Sprint(w.Code, " ", w.Header().Get("Location"), w.Header().Get("WWW-Authenticate")); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f("text/html,*/*", "navigate", "303 /signin?next=%2Fnodes%2Fa%3Fx%3D1")
	f("*/*", "cors", "401 ")
	f("*/*", "", `401 Basic realm="vitals-relay", charset="UTF-8"`)
}
