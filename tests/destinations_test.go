package tests

import (
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// influx3 stands in for an InfluxDB 3 behind TLS that asks for a certificate
// and a token. Lines of a measurement "bad" it refuses by their numbers.
type influx3 struct {
	*httptest.Server
	mu     sync.Mutex
	token  string
	stored []string // "db precision: line"
	writes int
}

func newInflux3(t *testing.T, certificate, key, token string) *influx3 {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(certificate), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	s := &influx3{token: token}
	s.Server = httptest.NewUnstartedServer(s)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(certificate))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *influx3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path != "/api/v3/write_lp" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		w.WriteHeader(401)
		io.WriteString(w, `{"error": "the request was not authenticated"}`)
		return
	}
	zr, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	raw, err := io.ReadAll(zr)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	s.writes++
	q := r.URL.Query()
	var bad []string
	for i, l := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
		if strings.HasPrefix(l, "bad") {
			bad = append(bad, fmt.Sprintf(`{"original_line":%q,"line_number":%d,"error_message":"no such column"}`, l[:min(20, len(l))], i+1))
			continue
		}
		s.stored = append(s.stored, q.Get("db")+" "+q.Get("precision")+": "+l)
	}
	if bad == nil {
		w.WriteHeader(204)
		return
	}
	w.WriteHeader(400)
	fmt.Fprintf(w, `{"error":"partial write of line protocol occurred","data":[%s]}`, strings.Join(bad, ","))
}

func (s *influx3) have() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.Clone(s.stored)
	slices.Sort(got)
	return got
}

// An InfluxDB 3 is added to a running relay: it gets its databases only, over
// TLS with a certificate of the relay's, and what it refuses is set aside.
func TestAnInfluxDB3IsAdded(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "", "")
	c.db.start()
	c.startRelay()
	certificate, key := selfSigned(t)
	c.file("relay.pem", certificate)
	c.file("relay.key", key)
	c.file("token", "first\n")
	three := newInflux3(t, certificate, key, "second")
	now := time.Now().Unix()
	c.write("attic", fmt.Sprintf("m v=1 %d\n", now*1e9))
	c.appendConfig(fmt.Sprintf(`
[[relay.destinations]]
  name = "three"
  url = %q
  version = 3
  databases = ["attic", "cellar*"]
  token_file = "$DIR/token"
  ca_file = "$DIR/relay.pem"
  cert_file = "$DIR/relay.pem"
  key_file = "$DIR/relay.key"
  in_flight = 2
`, three.URL))
	stdout, stderr, code := run(t, c.command("vitals-relay", "reload"))
	if code != 0 || strings.TrimSpace(stdout) != "destinations: 1 kept, added three" {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	eventually(t, time.Minute, func() string {
		if out, _, _ := run(t, c.command("vitals-relay", "destinations", "list")); !strings.Contains(out, "401 Unauthorized: the request was not authenticated") {
			return "not held: " + out
		}
		return ""
	})
	c.file("token", "second\n")
	c.relay.cmd.Process.Signal(syscall.SIGHUP)
	c.write("cellar_2", fmt.Sprintf("m v=2 %d\nbad v=3 %d\nm v=4 %d\n", now*1e9, now*1e9, now*1e9+1))
	c.write("elsewhere", fmt.Sprintf("m v=5 %d\n", now*1e9))
	want := []string{
		fmt.Sprintf("attic nanosecond: m v=1 %d", now*1e9),
		fmt.Sprintf("cellar_2 nanosecond: m v=2 %d", now*1e9), fmt.Sprintf("cellar_2 nanosecond: m v=4 %d", now*1e9+1),
	}
	eventually(t, time.Minute, func() string {
		if got := three.have(); !slices.Equal(got, want) {
			return fmt.Sprintf("stored %q, want %q", got, want)
		}
		return ""
	})
	c.delivered()
	if rows := c.db.query("elsewhere", "SELECT count(v) FROM m"); len(rows) != 1 || fmt.Sprint(rows[0][1]) != "1" {
		t.Errorf("the other destination gets everything: %v", rows)
	}
	if out, _, _ := run(t, c.command("vitals-relay", "rejected", "show", "three")); !strings.Contains(out, fmt.Sprintf("no such column\nbad v=3 %d\n", now*1e9)) {
		t.Errorf("what was refused: %s", out)
	}
	// A bad edit is told with its line, and changes nothing.
	c.appendConfig("[[relay.destinations]]\n  name = \"four\"\n  version = 4\n  url = \"http://127.0.0.1:1\"\n")
	_, stderr, code = run(t, c.command("vitals-relay", "reload"))
	if code != 1 || !strings.Contains(stderr, "relay.destinations.version: must be 1") || !strings.Contains(stderr, "node.toml:") || !strings.Contains(stderr, "everything goes on as it was") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	c.write("attic", fmt.Sprintf("m v=6 %d\n", now*1e9+2))
	eventually(t, time.Minute, func() string {
		if got := three.have(); len(got) != 4 {
			return fmt.Sprintf("stored %q", got)
		}
		return ""
	})
}
