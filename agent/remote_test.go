package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAttemptsToFetchANodeFile(t *testing.T) {
	f := func(attempts, failures int, want string) {
		t.Helper()
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked <= failures {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			w.Write([]byte("sound"))
		}))
		defer server.Close()
		r := &remote{ctx: t.Context(), directory: t.TempDir(), attempts: attempts, retry: time.Millisecond, fetched: map[string]answer{}, last: map[string]string{}}
		body, warning, err := r.fetch(server.URL)
		got := string(body) + warning
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, want) {
			t.Errorf("%d attempts more, %d failures: %s, want %s", attempts, failures, got, want)
		}
	}
	f(3, 0, "sound")
	f(3, 3, "sound")
	f(3, 4, "answers 502 Bad Gateway")
	f(0, 1, "answers 502 Bad Gateway")
	f(-1, 9, "sound")
}
