package ingest

import (
	"errors"
	"io"
	"net/http"
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
