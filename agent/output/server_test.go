package output

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// influxd is a server that stores lines, or misbehaves as told.
type influxd struct {
	*httptest.Server
	mu      sync.Mutex
	answer  func(w http.ResponseWriter, lines []string) (stored bool)
	lines   []string
	writes  []*http.Request
	queries []string
}

func newInfluxd(t *testing.T) *influxd {
	t.Helper()
	db := &influxd{}
	db.Server = httptest.NewServer(http.HandlerFunc(db.serve))
	t.Cleanup(db.Close)
	return db
}

func (db *influxd) serve(w http.ResponseWriter, r *http.Request) {
	db.mu.Lock()
	defer db.mu.Unlock()
	switch r.URL.Path {
	case "/ping":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/query":
		db.queries = append(db.queries, r.FormValue("q"))
		if db.answer != nil {
			db.answer(w, nil)
			return
		}
		io.WriteString(w, `{"results":[{"statement_id":0}]}`)
		return
	}
	body, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	db.writes = append(db.writes, r)
	if db.answer != nil && !db.answer(w, lines) {
		return
	}
	if db.answer == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	db.lines = append(db.lines, lines...)
}

// misbehave makes every answer this one; nil makes it well again.
func (db *influxd) misbehave(answer func(w http.ResponseWriter, lines []string) bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.answer = answer
}

// status is an answer with a JSON error.
func status(code int, message string) func(http.ResponseWriter, []string) bool {
	return func(w http.ResponseWriter, _ []string) bool {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, "{\"error\":%q}\n", message)
		return false
	}
}

// drop ends the connection without an answer.
func drop(http.ResponseWriter, []string) bool { panic(http.ErrAbortHandler) }

func (db *influxd) stored() []string {
	db.mu.Lock()
	defer db.mu.Unlock()
	return append([]string(nil), db.lines...)
}

func (db *influxd) attempts() int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return len(db.writes)
}
