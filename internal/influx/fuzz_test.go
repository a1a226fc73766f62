package influx

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// oddServer gives one answer to whatever it is asked, but to the writes for
// which there is a bit in takes, which it stores.
type oddServer struct {
	mu sync.Mutex
	oddAnswer
	writes int
	stored []string
}

type oddAnswer struct {
	status      int
	contentType string
	body        []byte
	takes       uint64
}

func (s *oddServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if raw, err := Gunzip(sent); err == nil && len(raw) > 0 {
		taken := s.takes>>(s.writes%64)&1 == 1
		if s.writes++; taken {
			s.stored = append(s.stored, strings.Fields(strings.ReplaceAll(string(raw), " ", "_"))...)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	w.Header().Set("Content-Type", s.contentType)
	w.Header().Set("Retry-After", s.contentType)
	w.WriteHeader(s.status)
	if s.status != http.StatusNoContent && s.status != http.StatusNotModified {
		_, _ = w.Write(s.body)
	}
}

// Whatever a server answers, no line is given up that it has not stored and
// nobody was handed, and nothing crashes.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []struct {
		status uint16
		body   string
	}{
		{204, ""}, {200, `{"results":[{"series":[{"columns":["name"],"values":[["d"],[],null,[5]]}]}]}`},
		{200, `{"results":[null]}`}, {200, "null"}, {200, `{"results":[{"error":"no"}]}`}, {200, "<html>sign in</html>"},
		{400, `{"error":"unable to parse 'm3 f=3 3': missing fields"}`},
		{400, `{"error":"partial write: field type conflict: input field \"f\" on measurement \"m\" is type float, already exists as type integer dropped=1"}`},
		{400, `{"error":"partial write of line protocol occurred","data":[{"line_number":2,"original_line":"m2 f=2","error_message":"no"}]}`},
		{400, `{"error":"partial write of line protocol occurred","data":null}`}, {400, `{"code":"invalid","message":"no"}`},
		{401, ""}, {404, `{"error":"database not found: \"d\""}`}, {413, ""}, {422, `{"code":"unprocessable entity","message":"outside retention","line":2}`},
		{429, "later"}, {500, `{"error":"timeout"}`}, {500, ""}, {503, "no"}, {302, ""}, {418, "\x00\xff"},
	} {
		for _, takes := range []uint64{0, 0b10, 0xAAAA_AAAA_AAAA_AAAA} {
			f.Add(seed.status, "application/json", []byte(seed.body), takes, uint8(1))
			f.Add(seed.status, "5", []byte(seed.body), takes, uint8(3))
		}
	}
	odd := &oddServer{}
	server := httptest.NewServer(odd)
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, status uint16, contentType string, body []byte, takes uint64, version uint8) {
		odd.mu.Lock()
		odd.oddAnswer = oddAnswer{200 + int((status-200)%400), header(contentType), body, takes}
		odd.writes, odd.stored = 0, nil
		odd.mu.Unlock()
		client := newClient(t, Config{URLs: []string{server.URL}, Version: 1 + int(version)%3, Organization: "o"})
		deliverToOdd(t, odd, client)
		if series, err := client.Query(t.Context(), "SHOW DATABASES"); err != nil && (err.Error() == "" || series != nil) {
			t.Errorf("a query: %v, %v", series, err)
		}
	})
}

// deliverToOdd delivers a batch as its owner does, and looks for its lines.
func deliverToOdd(t *testing.T, odd *oddServer, client *Client) {
	t.Helper()
	lines := []string{"m1_f=1_1", "m2_f=2_2", "m3_f=3_3", "m4_f=4_4", "m5_f=5_5"}
	text := strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "_", " ")
	var rejected []string
	sender := &Sender{Client: client, Rejected: func(_ Target, lines []byte, reason string) error {
		rejected = append(rejected, strings.Fields(strings.ReplaceAll(string(lines), " ", "_"))...)
		if reason == "" {
			t.Error("rejected without a reason")
		}
		return nil
	}}
	var backoff Backoff
	var err error
	for range 5 {
		b := Batch{Body: Gzip(nil, []byte(text)), Lines: len(lines), Suspect: backoff.Suspect(), TooSlow: backoff.TooSlow()}
		if err = sender.Deliver(t.Context(), Target{Database: "d"}, b); err == nil {
			break
		}
		if backoff.Next(err) <= 0 || err.Error() == "" {
			t.Errorf("%#v", err)
		}
	}
	odd.mu.Lock()
	defer odd.mu.Unlock()
	slices.Sort(rejected)
	if twice := len(rejected) - len(slices.Compact(slices.Clone(rejected))); twice > 0 {
		t.Errorf("%d lines are rejected twice: %q", twice, rejected)
	}
	for _, l := range lines {
		// A server that says of a part that it has stored it is believed.
		known := slices.Contains(odd.stored, l) || slices.Contains(rejected, l) || odd.status == http.StatusNoContent ||
			bytes.Contains(bytes.ToLower(odd.body), []byte("partial"))
		if err == nil && !known {
			t.Errorf("%d %q: nobody has %s; stored %q, rejected %q", odd.status, odd.body, l, odd.stored, rejected)
		}
	}
	for _, l := range rejected {
		if !slices.Contains(lines, l) {
			t.Errorf("rejected %q, which was never sent", l)
		}
	}
}

// header is text without what no header can have.
func header(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
}
