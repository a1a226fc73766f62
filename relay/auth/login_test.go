package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// admitted is the status that an admin's page has for a session.
func admitted(l *lab, c *http.Cookie) int {
	h := l.RequireRole(Admin, "/signin", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	r := httptest.NewRequest("POST", "/", nil)
	r.AddCookie(c)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

func TestALoginCodeIsGoodOnceAndSoon(t *testing.T) {
	l := newLab(t, nil) // there is no token at all
	code, expires := l.NewLogin()
	if expires.Sub(start) != 10*time.Minute {
		t.Error(expires)
	}
	c, err := signIn(l, " "+strings.ToLower(code)+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := admitted(l, c); got != 204 {
		t.Errorf("the session is none of an admin: %d", got)
	}
	if _, err := signIn(l, code, nil); !errors.Is(err, errNoLogin) {
		t.Errorf("it is good a second time: %v", err)
	}
	code, _ = l.NewLogin()
	l.pass(10 * time.Minute)
	if _, err := signIn(l, code, nil); !errors.Is(err, errNoLogin) {
		t.Errorf("it is good after ten minutes: %v", err)
	}
	if got := admitted(l, c); got != 204 {
		t.Errorf("the session ended with its code: %d", got)
	}
	l.pass(13 * time.Hour)
	if got := admitted(l, c); got == 204 {
		t.Error("nobody has used the session for 13 hours, and it goes on")
	}
	if strings.Contains(l.log.String(), code) {
		t.Error("the code is in the log")
	}
}

func TestALoginCodeOpensOneSessionUnderContention(t *testing.T) {
	l := newLab(t, nil)
	code, _ := l.NewLogin()
	var opened atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := signIn(l, code, func(r *http.Request) { r.RemoteAddr = "10.0.0." + string(rune('0'+i%10)) + ":1" })
			if err == nil {
				opened.Add(1)
			}
		})
	}
	all.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

func TestGuessingCodesIsSlow(t *testing.T) {
	l := newLab(t, nil)
	code, _ := l.NewLogin()
	_, token := l.create("", Read, 0)
	for range maxFailures {
		if _, err := signIn(l, "AAAA-AAAA", nil); !errors.Is(err, errNoLogin) {
			t.Fatal(err)
		}
	}
	var slow *SlowDown
	if _, err := signIn(l, code, nil); !errors.As(err, &slow) {
		t.Errorf("the right one is looked at: %v", err)
	}
	if _, err := signIn(l, token, nil); err != nil {
		t.Errorf("tokens are slowed down by codes: %v", err)
	}
	if _, err := signIn(l, code, func(r *http.Request) { r.RemoteAddr = "10.9.9.9:1" }); err != nil {
		t.Errorf("another address is slowed down: %v", err)
	}
	code, _ = l.NewLogin()
	l.pass(failureEvery + time.Second)
	if _, err := signIn(l, code, nil); err != nil {
		t.Errorf("it is still slowed down: %v", err)
	}
}

func TestFewLoginCodesAreGoodAtOnce(t *testing.T) {
	l := newLab(t, nil)
	first, _ := l.NewLogin()
	for range maxLogins {
		l.NewLogin()
	}
	if _, err := signIn(l, first, nil); err == nil {
		t.Error("the oldest is still good")
	}
}
