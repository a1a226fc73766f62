package ingest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/relay/auth"
)

// guard refuses everybody with err, and remembers what was asked for.
type guard struct {
	err  error
	role auth.Role
}

func (g *guard) Admit(_ *http.Request, role auth.Role) (*auth.Grant, error) {
	g.role = role
	return nil, g.err
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read before the writer was known")
	return 0, io.EOF
}

func TestRefusalsInTheWordsOfEachAPI(t *testing.T) {
	v1 := func(text string) string {
		return "401 Unauthorized\nContent-Type: application/json\nRequest-Id: id-1\nWww-Authenticate: Basic realm=\"InfluxDB\"\n" +
			"X-Influxdb-Build: OSS\n" + v1Tail + `{"error":"` + text + `"}` + "\n"
	}
	forbidden := `"t1" user is not authorized to write to database "d"`
	tests := []struct {
		name, method, target string
		err                  error
		want                 string
	}{
		{"v1, no credentials", "POST", "/write?db=d", auth.ErrMissing, v1("unable to parse authentication credentials")},
		{"v1, a header that is none", "POST", "/write?db=d", auth.ErrMalformed, v1("unable to parse authentication credentials")},
		{"v1, wrong credentials", "POST", "/write?db=d", auth.ErrWrong, v1("authorization failed")},
		{"v1, no user", "POST", "/write?db=d", auth.ErrNoUser, v1("username required")},
		{"v1, before the other parameters", "POST", "/write?precision=x", auth.ErrWrong, v1("authorization failed")},
		{"v1, wrong role", "POST", "/write?db=d", &auth.Forbidden{ID: "t1"},
			v1Fails("403 Forbidden", forbidden, strings.ReplaceAll(forbidden, `"`, `\"`))},
		{"query", "POST", "/query?q=SHOW+DATABASES", auth.ErrMissing, v1("unable to parse authentication credentials")},
		{"v2, no credentials", "POST", "/api/v2/write?bucket=d", auth.ErrMissing, v2Fails("401 Unauthorized", "unauthorized", "unauthorized access")},
		{"v2, wrong credentials", "POST", "/api/v2/write?bucket=d", auth.ErrWrong, v2Fails("401 Unauthorized", "unauthorized", "unauthorized access")},
		{"v2, wrong role", "POST", "/api/v2/write?bucket=d", &auth.Forbidden{ID: "t1"}, v2Fails("403 Forbidden", "forbidden", "insufficient permissions for write")},
		{"v3, no credentials", "POST", "/api/v3/write_lp?db=d", auth.ErrMissing, v3Says("401 Unauthorized", `{"error": "the request was not authenticated"}`)},
		{"v3, wrong credentials", "POST", "/api/v3/write_lp?db=d", auth.ErrWrong, v3Says("401 Unauthorized", `{"error": "the request was not authenticated"}`)},
		{"v3, malformed", "POST", "/api/v3/write_lp?db=d", auth.ErrMalformed, v3Says("400 Bad Request", `{"error": "Authorization header was malformed, the request was not in the form of 'Authorization: <auth-scheme> <token>', supported auth-schemes are Bearer, Token and Basic"}`)},
		{"v3, wrong role", "POST", "/api/v3/write_lp?db=d", &auth.Forbidden{ID: "t1"}, v3Says("403 Forbidden", `{"error": "requestor is forbidden from requested resource"}`)},
		{"v2, over its limits", "POST", "/api/v2/write?bucket=d", &auth.SlowDown{Reason: "too much", After: 2500 * time.Millisecond},
			"429 Too Many Requests\nContent-Type: application/json; charset=utf-8\nRetry-After: 3\n" + v2Tail + "X-Platform-Error-Code: too many requests\n\n" +
				`{"code":"too many requests","message":"too much"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDoor()
			d.config.Guard = &guard{err: test.err}
			if diff := cmp.Diff(test.want, render(t, d.do(t, test.method, test.target, id, unread{t}))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNotNowForAnUncheckedWriter(t *testing.T) {
	for name, err := range map[string]error{"the tokens": auth.ErrUnavailable, "the limits": &auth.SlowDown{After: time.Second}} {
		for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d"} {
			d := newDoor()
			d.config.Guard = &guard{err: err}
			resp := d.do(t, "POST", target, nil, unread{t})
			if resp.Header.Get("Retry-After") == "" || resp.StatusCode != 503 && (resp.StatusCode != 429 || target[1] == 'w') {
				t.Errorf("%s, %s: %d %v", name, target, resp.StatusCode, resp.Header)
			}
		}
	}
}

func TestWhoIsNotAsked(t *testing.T) {
	d := newDoor()
	d.config.Guard = &guard{err: errors.New("nobody")}
	for _, path := range []string{"/ping", "/health", "/status"} {
		if resp := d.do(t, "GET", path, nil, nil); resp.StatusCode/100 != 2 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if resp := d.do(t, "OPTIONS", "/write", nil, nil); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestRolesThatRoutesNeed(t *testing.T) {
	for target, role := range map[string]auth.Role{"/write?db=d": auth.Write, "/api/v2/write?bucket=d": auth.Write, "/query?q=SHOW+DATABASES": auth.Any} {
		d, g := newDoor(), &guard{err: auth.ErrWrong}
		d.config.Guard = g
		d.do(t, "POST", target, nil, nil)
		if g.role != role {
			t.Errorf("%s asks for %q", target, g.role)
		}
	}
}

// keyed is a door whose guard knows one token, for the node pi-1.
func keyed(t *testing.T, check auth.NodeCheck, limits auth.Limits) (d *door, headers func(...string) map[string]string) {
	t.Helper()
	g := auth.New(auth.Config{
		Mode: auth.Required, NodeCheck: check, Directory: t.TempDir(), Limits: limits,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	_, token, err := g.Create("pi-1", auth.Write, 0)
	if err != nil {
		t.Fatal(err)
	}
	d = newDoor()
	d.config.Guard = g
	return d, func(more ...string) map[string]string { return with(append(more, "Authorization", "Bearer "+token)...) }
}

const (
	mixedNodes = "m,host=pi-1 v=1 1\nm,host=pi-2,x=y v=\"host=pi-2\" 2\nm v=3\n"
	ownReason  = `its token is only for the node \"pi-1\"`
)

func TestLinesOfOthersAreBadLines(t *testing.T) {
	const other, nameless = "'m,host=pi-2,x=y v=\\\"host=pi-2\\\" 2': " + ownReason, "'m v=3': " + ownReason + ", and the line has no tag host or node"
	for target, c := range map[string]struct{ body, kept string }{
		"/write?db=d":                                {"partial write: unable to parse " + other + `\nunable to parse ` + nameless + " dropped=0", "d||ns\nm,host=pi-1 v=1 1\n"},
		"/api/v2/write?bucket=d":                     {"unable to parse " + other + `\nunable to parse ` + nameless, ""},
		"/api/v3/write_lp?db=d&precision=ns":         {`"error_message":"` + ownReason + `","line_number":2`, "d||ns\nm,host=pi-1 v=1 1\n"},
		"/api/v3/write_lp?db=d&accept_partial=false": {`"error_message":"` + ownReason + `","line_number":2`, ""},
	} {
		for name, body := range map[string]string{"": mixedNodes, "gzip": gz(mixedNodes)} {
			d, headers := keyed(t, auth.Enforce, auth.Limits{})
			resp := d.do(t, "POST", target, headers("Content-Encoding", name), strings.NewReader(body))
			answer, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 400 || !strings.Contains(string(answer), c.body) {
				t.Errorf("%s %s: %s %s, want %s", target, name, resp.Status, answer, c.body)
			}
			if kept := d.queue.text(t); !strings.HasPrefix(kept, c.kept) || c.kept == "" && kept != "" || strings.Contains(kept, "pi-2") {
				t.Errorf("%s %s: kept %q", target, name, kept)
			}
		}
	}
}

func TestLinesOfOthersBecomeOnesOwn(t *testing.T) {
	const want = "d||ns\nm,host=pi-1 v=1 1\nm,host=pi-1,x=y v=\"host=pi-2\" 2\nm,host=pi-1 v=3 1772368496789000000\n"
	for _, target := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d&precision=nanosecond"} {
		for name, body := range map[string]string{"": mixedNodes, "gzip": gz(mixedNodes)} {
			d, headers := keyed(t, auth.Overwrite, auth.Limits{})
			if resp := d.do(t, "POST", target, headers("Content-Encoding", name), strings.NewReader(body)); resp.StatusCode != 204 {
				t.Errorf("%s %s: %s", target, name, resp.Status)
			}
			if kept := d.queue.text(t); kept != want {
				t.Errorf("%s %s: kept %q", target, name, kept)
			}
			if len(d.fleet.texts) != 1 || strings.Contains(d.fleet.texts[0], "host=pi-2,") {
				t.Errorf("shown to the fleet: %q", d.fleet.texts)
			}
		}
	}
	// What stands alone stays as it came, compressed.
	d, headers := keyed(t, auth.Overwrite, auth.Limits{})
	own := gz("m,host=pi-1 v=1 1\n")
	d.do(t, "POST", "/write?db=d", headers("Content-Encoding", "gzip"), strings.NewReader(own))
	if len(d.queue.batches) != 1 || string(d.queue.batches[0].Body) != own {
		t.Errorf("%+v", d.queue.batches)
	}
}

func TestTagsCannotMakeABodyTooLarge(t *testing.T) {
	d, headers := keyed(t, auth.Overwrite, auth.Limits{})
	body := gz(strings.Repeat("m v=1\n", (2<<20)/6-1)) // the rest of a limit of 2 MiB is tags
	if resp := d.do(t, "POST", "/write?db=d", headers("Content-Encoding", "gzip"), strings.NewReader(body)); resp.StatusCode != 413 {
		t.Error(resp.Status)
	}
	if n := d.Stats().InFlight; n != 0 || len(d.queue.batches) != 0 {
		t.Errorf("%d bytes in flight, %d batches", n, len(d.queue.batches))
	}
}

func TestOverItsLimitsAWriterComesAgain(t *testing.T) {
	for target, status := range map[string]int{"/write?db=d": 503, "/api/v2/write?bucket=d": 429, "/api/v3/write_lp?db=d": 429} {
		d, headers := keyed(t, auth.Enforce, auth.Limits{Lines: 2})
		body := "m,host=pi-1 v=1 1\nm,host=pi-1 v=1 2\n"
		for _, want := range []int{204, status, status} {
			resp := d.do(t, "POST", target, headers(), strings.NewReader(body))
			if resp.StatusCode != want || (resp.Header.Get("Retry-After") != "") != (want != 204) {
				t.Errorf("%s: %s, want %d", target, resp.Status, want)
			}
		}
		if len(d.queue.batches) != 1 {
			t.Errorf("%s: %d batches", target, len(d.queue.batches))
		}
	}
}

// The table of docs/http.md that says who is refused is true.
func TestTheDocumentedRefusals(t *testing.T) {
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	errs := map[string]error{
		"nothing": auth.ErrMissing, "a token that is unknown, revoked or expired": auth.ErrWrong, "a header of no known form": auth.ErrMalformed,
		"a token that may only read": &auth.Forbidden{ID: "t1"}, "a token that is over its limits, or too many wrong ones": &auth.SlowDown{Reason: "slow"},
		"one, while tokens cannot be read": auth.ErrUnavailable,
	}
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(row, "|")
		refusal := errs[strings.TrimSpace(cells[min(1, len(cells)-1)])]
		if refusal == nil {
			continue
		}
		delete(errs, strings.TrimSpace(cells[1]))
		for i, target := range []string{"/write?db=d", "/api/v2/write?bucket=d", "/api/v3/write_lp?db=d"} {
			d := newDoor()
			d.config.Guard = &guard{err: refusal}
			resp := d.do(t, "POST", target, nil, unread{t})
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			status, want, _ := strings.Cut(strings.TrimSpace(cells[2+i]), " ")
			if got := strings.TrimSpace(string(body)); fmt.Sprint(resp.StatusCode) != status || want != "" && "`"+got+"`" != want {
				t.Errorf("%s, %s: %d %s, said to be %s %s", cells[1], target, resp.StatusCode, got, status, want)
			}
		}
	}
	if len(errs) > 0 {
		t.Errorf("not documented: %v", errs)
	}
}
