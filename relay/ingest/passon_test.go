package ingest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/relay/auth"
	"github.com/rpicluster/vitals/relay/query"
)

// elsewhere answers queries, or fails.
type elsewhere struct {
	asked []string
	fails error
}

func (e *elsewhere) Pass(w http.ResponseWriter, r *http.Request) error {
	e.asked = append(e.asked, r.FormValue("q"))
	if e.fails == nil {
		io.WriteString(w, "the answer")
	}
	return e.fails
}

// ask asks a question of a door whose queries are answered elsewhere.
func ask(t *testing.T, d *door, e *elsewhere, q string) (status int, body string) {
	t.Helper()
	d.config.Queries = e
	resp := d.do(t, "POST", "/query?db=d&q="+url.QueryEscape(q), nil, nil)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestWhatOnlyReadsIsPassedOn(t *testing.T) {
	for _, q := range []string{"SELECT v FROM m", "SHOW DATABASES", "SHOW RETENTION POLICIES ON d; SELECT v FROM m", "EXPLAIN SELECT v FROM m", "SELEC v"} {
		e := &elsewhere{}
		status, body := ask(t, newDoor(), e, q)
		if q == "SELEC v" { // what is no word of reading is taken for more
			if status != 403 || len(e.asked) != 0 {
				t.Errorf("%s: %d %s", q, status, body)
			}
			continue
		}
		if status != 200 || body != "the answer" || len(e.asked) != 1 || e.asked[0] != q {
			t.Errorf("%s: %d %s, asked %q", q, status, body, e.asked)
		}
	}
}

func TestDatabasesAreMadeHere(t *testing.T) {
	d, e := newDoor(), &elsewhere{}
	status, body := ask(t, d, e, `CREATE DATABASE x; CREATE RETENTION POLICY p ON x DURATION 1d REPLICATION 1`)
	if status != 200 || !strings.HasPrefix(body, `{"results":[{"statement_id":0},`) || len(e.asked) != 0 || len(d.databases.created) != 2 {
		t.Errorf("%d %s, asked %q, created %v", status, body, e.asked, d.databases.created)
	}
}

func TestWhatDoesMoreIsRefusedUnlessAllowed(t *testing.T) {
	for q, word := range map[string]string{
		"DROP DATABASE x": "DROP", "SELECT v INTO x FROM m": "INTO", "CREATE DATABASE x; SELECT v FROM m": "CREATE", "SELECT v FROM m; DELETE FROM m": "DELETE",
	} {
		e, d := &elsewhere{}, newDoor()
		status, body := ask(t, d, e, q)
		if status != 403 || !strings.Contains(body, "and "+word+" does more") || len(e.asked) != 0 {
			t.Errorf("%s: %d %s, asked %q", q, status, body, e.asked)
		}
		d.config.AllowWrites = true
		if status, body := ask(t, d, e, q); status != 200 || len(e.asked) != 1 {
			t.Errorf("%s, allowed: %d %s", q, status, body)
		}
	}
}

// holder admits everybody with a grant.
type holder struct{ grant *auth.Grant }

func (h holder) Admit(*http.Request, auth.Role) (*auth.Grant, error) { return h.grant, nil }

func TestReadingNeedsItsRole(t *testing.T) {
	d, e := newDoor(), &elsewhere{}
	d.config.Guard = holder{&auth.Grant{}}
	if status, body := ask(t, d, e, "SELECT v FROM m"); status != 403 || !strings.Contains(body, "requires the role read") || len(e.asked) != 0 {
		t.Errorf("%d %s", status, body)
	}
	d.config.AllowWrites = true
	if status, body := ask(t, d, e, "DROP DATABASE x"); status != 403 || !strings.Contains(body, "requires the role admin") || len(e.asked) != 0 {
		t.Errorf("%d %s", status, body)
	}
}

func TestAQueryWithoutAnAnswer(t *testing.T) {
	for err, want := range map[error]string{
		query.ErrBusy: "503 too many queries at once, ask again later",
		fmt.Errorf("%w: dial tcp 10.1.2.3", query.ErrUnreachable): "502 the server that answers queries cannot be reached",
		query.ErrRefused:  "502 " + query.ErrRefused.Error(),
		query.ErrRedirect: "502 " + query.ErrRedirect.Error(),
	} {
		status, body := ask(t, newDoor(), &elsewhere{fails: err}, "SELECT v FROM m")
		if got := fmt.Sprintf("%d %s", status, strings.TrimSuffix(strings.TrimPrefix(body, `{"error":"`), "\"}\n")); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
