package main

import (
	"context"
	"net/http"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/web"
)

// web says what the pages show.
func (r *relay) web() web.Config {
	c := web.Config{Fleet: r.fleet, Status: r.status, Rejected: refusals{r}, Alerts: r.alerts.Status, Stopping: r.stopping, Pin: r.pinFor, Metrics: r.figures(), Logger: r.log}
	if r.guard.Mode() == auth.Required {
		c.Session = r.guard
	}
	return c
}

// protected keeps the pages from strangers, but for what it takes to sign in.
// Only an admin may have something done.
func (r *relay) protected(pages http.Handler) http.Handler {
	readers := r.guard.RequireRole(auth.Read, web.SignInPath, pages)
	admins := r.guard.RequireRole(auth.Admin, web.SignInPath, pages)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case web.Open(req.URL.Path):
			pages.ServeHTTP(w, req)
		case req.Method == http.MethodGet || req.Method == http.MethodHead:
			readers.ServeHTTP(w, req)
		default:
			admins.ServeHTTP(w, req)
		}
	})
}

// refusals show the pages what destinations have refused.
type refusals struct{ *relay }

// RejectedFiles lists the files of refused lines, oldest first.
func (r refusals) RejectedFiles() (list []web.RejectedFile, err error) {
	files, err := r.listRejected("")
	for _, f := range files {
		list = append(list, web.RejectedFile{Destination: f.Destination, ID: f.ID, Lines: f.Lines, Since: f.Since, Reason: f.Reason})
	}
	return list, err
}

// Retry sends the lines of a file again.
func (r refusals) Retry(ctx context.Context, destination, id string) (web.Retried, error) {
	done, err := r.retryRejected(ctx, destination, id)
	return web.Retried{Stored: done.Stored, Refused: done.Refused, Left: done.Left}, err
}
