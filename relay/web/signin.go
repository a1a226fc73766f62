package web

import (
	"net/http"
	"strings"
)

// Session signs browsers in and out, where tokens are required.
type Session interface {
	SignIn(w http.ResponseWriter, r *http.Request, token string) error
	SignOut(w http.ResponseWriter, r *http.Request)
}

// SignInPath is where people sign in.
const SignInPath = "/signin"

const signOutPath = "/signout"

// maxForm bounds what is read of a form.
const maxForm = 4 << 10

// signInPage is what the page to sign in shows.
type signInPage struct{ Next, Error string }

// Open reports whether a path is for everybody: what it takes to sign in.
func Open(path string) bool {
	return path == SignInPath || path == signOutPath || strings.HasPrefix(path, "/assets/")
}

func (h *Handler) serveSignIn(w http.ResponseWriter, r *http.Request) {
	h.render(w, r, http.StatusOK, "signin.html", signInPage{Next: local(r.URL.Query().Get("next"))})
}

// signIn opens a session for a token. Only a form of this page's own may.
func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	next := local(r.PostFormValue("next"))
	if err := h.config.Session.SignIn(w, r, strings.TrimSpace(r.PostFormValue("token"))); err != nil {
		h.render(w, r, http.StatusUnauthorized, "signin.html", signInPage{Next: next, Error: err.Error()})
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (h *Handler) signOut(w http.ResponseWriter, r *http.Request) {
	h.config.Session.SignOut(w, r)
	http.Redirect(w, r, SignInPath, http.StatusSeeOther)
}

// local is a path of this server's; "/" for any other address.
func local(path string) string {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}
