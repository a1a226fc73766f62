package main

import (
	"net/http"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/web"
)

// web says what the pages show.
func (r *relay) web() web.Config {
	c := web.Config{Fleet: r.fleet, Status: r.status, Stopping: r.stopping, Metrics: r.figures(), Logger: r.log}
	if r.guard.Mode() == auth.Required {
		c.Session = r.guard
	}
	return c
}

// protected keeps the pages from strangers, but for what it takes to sign in.
func (r *relay) protected(pages http.Handler) http.Handler {
	guarded := r.guard.RequireRole(auth.Read, web.SignInPath, pages)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if web.Open(req.URL.Path) {
			pages.ServeHTTP(w, req)
			return
		}
		guarded.ServeHTTP(w, req)
	})
}
