package influx

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// refusing answers as InfluxDB 3 does when it refuses some lines, of which all
// tells whether others are stored nevertheless.
func refusing(s **server, all bool, original func(line string) string, bad func(line string) bool) func([]string) (int, string) {
	return func(lines []string) (int, string) {
		var data []named
		var good []string
		for i, l := range lines {
			if bad(l) {
				data = append(data, named{i + 1, original(l), "not " + strings.Fields(l)[0]})
			} else {
				good = append(good, l)
			}
		}
		if len(data) == 0 {
			return 204, ""
		}
		var text []byte
		if all {
			(*s).store(good...)
			text, _ = json.Marshal(map[string]any{"error": "partial write of line protocol occurred", "data": data})
		} else {
			text, _ = json.Marshal(map[string]any{"error": "line protocol parsing error", "data": data[0]})
		}
		return 400, string(text)
	}
}

func whole(line string) string { return line }

// cut is what versions make of a line in an answer.
func cut(line string) string { return line[:min(20, len(line))] }

func printedAnew(line string) string {
	return strings.NewReplacer(`"`, "", `\`, "").Replace(line)
}

func TestInfluxDB3NamesTheLines(t *testing.T) {
	text := manyLines(2000, func(i int) bool { return i%100 == 7 })
	for name, original := range map[string]func(string) string{"whole": whole, "cut": cut, "printed anew": printedAnew} {
		var s *server
		s = newServer(t, refusing(&s, true, original, func(l string) bool { return strings.HasPrefix(l, "bad") }))
		got, reasons := deliver(t, s, Batch{Lines: 2000}, text)
		requireOnlyBadRejected(t, text, got)
		if n := len(s.queries); n != 1 {
			t.Errorf("%s: %d requests for a write that was answered at once", name, n)
		}
		if !strings.Contains(reasons, "not bad,i=107") {
			t.Errorf("%s: the reasons are %s", name, reasons)
		}
	}
}

func TestInfluxDB3StoresNothing(t *testing.T) {
	text := manyLines(500, func(i int) bool { return i%100 == 7 })
	var s *server
	s = newServer(t, refusing(&s, false, whole, func(l string) bool { return strings.HasPrefix(l, "bad") }))
	got, _ := deliver(t, s, Batch{Lines: 500}, text)
	requireOnlyBadRejected(t, text, got)
	if n := len(s.queries); n != 6 {
		t.Errorf("%d requests for 5 lines that were named one after the other", n)
	}
}

// Numbers of another body, as a proxy might make them, are not believed.
func TestInfluxDB3NamesOtherLines(t *testing.T) {
	text := manyLines(64, func(i int) bool { return i == 7 })
	var s *server
	s = newServer(t, refusing(&s, true, func(string) string { return "something else" }, func(l string) bool { return strings.HasPrefix(l, "bad") }))
	got, _ := deliver(t, s, Batch{Lines: 64}, text)
	requireOnlyBadRejected(t, text, got)
}

// A partial write that was answered is not written line by line, whatever the
// version.
func TestAnsweredPartialWritesAreBounded(t *testing.T) {
	const lines = 20_000
	bad := func(l string) bool { return strings.HasPrefix(l, "bad") }
	tests := []struct {
		name     string
		every    int
		answer   func(s **server) func([]string) (int, string)
		requests int
	}{
		{"named by 1.x", 1000, func(s **server) func([]string) (int, string) {
			return func(lines []string) (int, string) {
				var reasons []string
				for _, l := range lines {
					if bad(l) {
						reasons = append(reasons, fmt.Sprintf("unable to parse '%s': bad timestamp", l))
					} else {
						(*s).store(l)
					}
				}
				if reasons == nil {
					return 204, ""
				}
				text, _ := json.Marshal(map[string]string{"error": "partial write: " + strings.Join(reasons, "\n") + " dropped=0"})
				return 400, string(text)
			}
		}, 1},
		{"all too old", 1, func(**server) func([]string) (int, string) {
			return func(l []string) (int, string) {
				return 400, fmt.Sprintf(`{"error":"partial write: points beyond retention policy dropped=%d"}`, len(l))
			}
		}, 1},
		// Each of 20 lines costs the halvings down to it at most.
		{"some too old", 1000, func(s **server) func([]string) (int, string) {
			return func(lines []string) (int, string) {
				n := 0
				for _, l := range lines {
					if bad(l) {
						n++
					} else {
						(*s).store(l)
					}
				}
				if n == 0 {
					return 204, ""
				}
				return 400, fmt.Sprintf(`{"error":"partial write: points beyond retention policy dropped=%d"}`, n)
			}
		}, 20 * 2 * 15},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := manyLines(lines, func(i int) bool { return i%tt.every == 0 })
			var s *server
			s = newServer(t, tt.answer(&s))
			got, _ := deliver(t, s, Batch{Lines: lines}, text)
			requireOnlyBadRejected(t, text, got)
			if n := len(s.queries); n > tt.requests {
				t.Errorf("%d requests, not more than %d were to be", n, tt.requests)
			}
		})
	}
}

// A name that no database can have is somebody's choice, or the lines' own.
func TestNamesThatInfluxDB3Refuses(t *testing.T) {
	s := newServer(t, func([]string) (int, string) {
		return 400, "invalid character in database name: must be ASCII"
	})
	for _, chosen := range []bool{false, true} {
		var rejected string
		sender := &Sender{
			Client:        newClient(t, Config{URLs: []string{s.URL}, Version: 3}),
			FixedDatabase: chosen,
			Rejected:      func(_ Target, lines []byte, _ string) error { rejected = string(lines); return nil },
		}
		err := sender.Deliver(t.Context(), Target{Database: "a.b"}, Batch{Body: Gzip(nil, []byte(five))})
		if chosen != (err != nil) || chosen != (rejected == "") {
			t.Errorf("chosen by the operator: %v; rejected %q, error %v", chosen, rejected, err)
		}
	}
}

func TestAPolicyThatWasChosenIsMadeAgain(t *testing.T) {
	made := false
	s := newServer(t, func([]string) (int, string) {
		if made {
			return 204, ""
		}
		return 500, `{"error":"retention policy not found: year"}`
	})
	sender := &Sender{
		Client: newClient(t, Config{URLs: []string{s.URL}, RetentionPolicy: "year"}), FixedPolicy: true,
		Rejected: func(Target, []byte, string) error { t.Error("rejected"); return nil },
	}
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five))}); err == nil {
		t.Error("delivered without the policy")
	}
	sender.CreateDatabase = func(context.Context, string) error { made = true; return nil }
	if err := sender.Deliver(t.Context(), Target{}, Batch{Body: Gzip(nil, []byte(five))}); err != nil {
		t.Error(err)
	}
}

func TestOneMember(t *testing.T) {
	joined := append(Gzip(nil, []byte("a f=1 1\n")), Gzip(nil, []byte("b f=1 1\n"))...)
	alone := Gzip(nil, []byte("a f=1 1\n"))
	for _, tt := range []struct {
		body []byte
		want string
		same bool
	}{
		{alone, "a f=1 1\n", true}, {joined, "a f=1 1\nb f=1 1\n", false},
		{append(slices.Clone(joined), alone...), "a f=1 1\nb f=1 1\na f=1 1\n", false},
	} {
		got, err := oneMember(tt.body)
		if err != nil {
			t.Fatal(err)
		}
		if tt.same != (string(got) == string(tt.body)) {
			t.Errorf("%q: packed anew, or not", tt.want)
		}
		if first := firstMember(t, got); first != tt.want {
			t.Errorf("who reads the first member only sees %q, want %q", first, tt.want)
		}
	}
	if _, err := oneMember([]byte("not gzip")); err == nil {
		t.Error("no error for what is not gzip")
	}
	if _, err := oneMember(joined[:len(joined)-3]); err == nil {
		t.Error("no error for half a member")
	}
}

func TestBodiesOfOneMember(t *testing.T) {
	var sent string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		sent = firstMember(t, body)
	}))
	defer s.Close()
	body := append(Gzip(nil, []byte("a f=1 1\n")), Gzip(nil, []byte("b f=1 1\n"))...)
	for one, want := range map[bool]string{true: "a f=1 1\nb f=1 1\n", false: "a f=1 1\n"} {
		c := newClient(t, Config{URLs: []string{s.URL}, OneMember: one})
		_ = c.Write(t.Context(), Target{}, body) // 200 is none of InfluxDB's answers
		if sent != want {
			t.Errorf("one member: %v; its reader has %q", one, sent)
		}
	}
}

// firstMember is what a reader sees that takes gzip for one member.
func firstMember(t *testing.T, body []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
