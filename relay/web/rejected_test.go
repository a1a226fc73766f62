package web

import (
	"context"
	"errors"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/relay/fleet"
)

// refused is a Rejected of which a test says what a retry does.
type refused struct {
	files []RejectedFile
	done  Retried
	err   error
	asked string
}

func (r *refused) RejectedFiles() ([]RejectedFile, error) { return r.files, nil }

func (r *refused) Retry(_ context.Context, destination, id string) (Retried, error) {
	r.asked = destination + " " + id
	return r.done, r.err
}

func TestRefusedLines(t *testing.T) {
	r := &refused{files: []RejectedFile{{"influxdb", "old", 3, now, "too <b>old"}, {"influxdb", "new", 1, now, "field type conflict"}}}
	h, err := New(Config{Fleet: nodesOnly{nodes: func() []fleet.Node { return nil }}, Status: aStatus, Rejected: r})
	if err != nil {
		t.Fatal(err)
	}
	_, body := ask(t, h, "GET", "/relay")
	contains(t, body, "too &lt;b&gt;old", "field type conflict", `action="`+rejectedPath+`"`)
	if strings.Index(body, `value="new"`) > strings.Index(body, `value="old"`) {
		t.Error("the newest are not the first")
	}
	f := func(done Retried, failure error, want string) {
		t.Helper()
		r.done, r.err = done, failure
		req := httptest.NewRequest("POST", rejectedPath, strings.NewReader(url.Values{"destination": {"influxdb"}, "id": {"old"}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		location := w.Header().Get("Location")
		if w.Code != 303 || r.asked != "influxdb old" {
			t.Fatalf("%d, asked for %q", w.Code, r.asked)
		}
		_, body := ask(t, h, "GET", location)
		contains(t, body, want)
	}
	f(Retried{Stored: 3}, nil, "The lines are stored.")
	f(Retried{Stored: 2, Refused: 1}, nil, "refused once more")
	f(Retried{Left: 3}, nil, "could not take them now")
	f(Retried{}, errors.New("no such file"), "could not be sent again")
	_, body = ask(t, h, "GET", "/relay?outcome=%3Cb%3E")
	if strings.Contains(body, `class="note" role="status"`) {
		t.Error("an address says what the page says")
	}
}
