package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/relay/fleet"
)

// oneToken is a Session that knows one token.
type oneToken struct{}

func (oneToken) SignIn(w http.ResponseWriter, _ *http.Request, token string) error {
	if token != "right" {
		return errors.New("wrong <credentials>")
	}
	http.SetCookie(w, &http.Cookie{Name: "session", Value: "s"})
	return nil
}

func (oneToken) SignOut(w http.ResponseWriter, _ *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: "session", MaxAge: -1})
}

func post(t *testing.T, session Session, path, site string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	h, err := New(Config{Fleet: nodesOnly{nodes: func() []fleet.Node { return nil }}, Status: aStatus, Session: session})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", site)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestSignIn(t *testing.T) {
	f := func(token, next string, status int, location string) {
		t.Helper()
		w := post(t, oneToken{}, SignInPath, "same-origin", url.Values{"token": {token}, "next": {next}})
		if w.Code != status || w.Header().Get("Location") != location || (len(w.Result().Cookies()) > 0) != (status == 303) {
			t.Errorf("%q, %q: %d %s", token, next, w.Code, w.Header())
		}
	}
	f("right", "/nodes/a?x=1", 303, "/nodes/a?x=1")
	f(" right\n", "", 303, "/")
	f("right", "//evil.example/", 303, "/")
	f("right", "https://evil.example/", 303, "/")
	f("right", `/\evil.example`, 303, "/")
	f("wrong", "/relay", 401, "")
	w := post(t, oneToken{}, SignInPath, "same-origin", url.Values{"token": {"wrong"}, "next": {"/relay"}})
	contains(t, w.Body.String(), "wrong &lt;credentials&gt;", `value="/relay"`)
	if w := post(t, oneToken{}, "/signout", "same-origin", nil); w.Code != 303 || w.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestAnotherSiteMayNotSignIn(t *testing.T) {
	if w := post(t, oneToken{}, SignInPath, "cross-site", url.Values{"token": {"right"}}); w.Code != 403 || len(w.Result().Cookies()) > 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestNobodySignsInWhereNobodyNeedsTo(t *testing.T) {
	if w := post(t, nil, SignInPath, "same-origin", url.Values{"token": {"right"}}); w.Code != 404 && w.Code != 405 {
		t.Error(w.Code)
	}
}

func TestOpen(t *testing.T) {
	for path, want := range map[string]bool{SignInPath: true, "/assets/1/style.css": true, "/": false, "/api/nodes": false, "/signinx": false, "/live": false} {
		if Open(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
