package setup

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// scripted is a server that says it is a version and answers writes with a status.
func scripted(t *testing.T, version string, writes int, asked *[]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if version != "" {
			w.Header().Set("X-Influxdb-Version", version)
		}
		if r.URL.Path == "/ping" {
			w.WriteHeader(204)
			return
		}
		if asked != nil {
			*asked = append(*asked, r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
		}
		w.WriteHeader(writes)
		io.WriteString(w, `{"code":"x","message":"as scripted"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// refuses sets a machine up with an InfluxDB and expects why that fails, at no
// cost.
func refuses(t *testing.T, what, want string, i Influx) {
	t.Helper()
	m := newMachine(t, true)
	_, err := m.run(func(c *Config) { c.Influx = i })
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(strings.ToLower(err.Error()), "nothing was changed") {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
	if m.read("etc/node.toml") != "" || len(m.starts) > 0 {
		t.Errorf("%s: something was changed", what)
	}
}

func TestWhatIsNoInfluxDB(t *testing.T) {
	refuses(t, "nobody there", "nothing listens at", Influx{URL: "http://127.0.0.1" + freeAddress(t)})
	refuses(t, "another server", "is not an InfluxDB (204 No Content)", Influx{URL: scripted(t, "", 204, nil)})
	refuses(t, "of the future", `says that it is InfluxDB "v9.1"`, Influx{URL: scripted(t, "v9.1", 204, nil)})
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	t.Cleanup(secured.Close)
	refuses(t, "a certificate of nobody", "does not trust", Influx{URL: secured.URL})
}

// A server that is reached has no firewall before it.
func TestWhyAServerIsNotTrusted(t *testing.T) {
	for _, why := range []error{x509.UnknownAuthorityError{}, x509.HostnameError{Certificate: new(x509.Certificate), Host: "h"}, x509.CertificateInvalidError{Reason: x509.Expired}} {
		err := unreachable("https://h", &url.Error{Op: "Get", URL: "https://h/ping", Err: &tls.CertificateVerificationError{Err: why}})
		if !strings.Contains(err.Error(), "with ca_file or pin") || !errors.Is(err, why) {
			t.Error(err)
		}
	}
}

func TestInfluxDB2(t *testing.T) {
	m := newMachine(t, false)
	file := m.file("influx.token", "s3cret\n", 0o600)
	all := Influx{Organization: "home", Bucket: "nodes", TokenFile: file}
	at := func(status int) Influx {
		i := all
		i.URL = scripted(t, "v2.7.11", status, nil)
		return i
	}
	refuses(t, "no bucket named", "it needs --influx-org NAME, --influx-bucket NAME", Influx{URL: at(204).URL, TokenFile: file})
	refuses(t, "a user", "are for InfluxDB 1.x", Influx{URL: at(204).URL, Username: "u", PasswordFile: file})
	refuses(t, "no such file", "no such file", Influx{URL: at(204).URL, Organization: "home", Bucket: "nodes", TokenFile: "/absent"})
	refuses(t, "wrong token", "does not take the token in "+file, at(401))
	refuses(t, "may not", `may not write to the bucket "nodes"`, at(403))
	refuses(t, "no bucket", `influx bucket create --org "home" --name "nodes"`, at(404))
	refuses(t, "trouble", "it answers a write with 500", at(500))
	var asked []string
	all.URL = scripted(t, "v2.7.11", 400, &asked) // "writing requires points"
	done := m.must(func(c *Config) { c.Influx = all })
	if len(asked) != 1 || asked[0] != "/api/v2/write?bucket=nodes&org=home Token s3cret" {
		t.Errorf("%q", asked)
	}
	m.wantFiles(nodeFile, certificate, key, "-rw------- influx.token", "-rw------- state/secrets/influxdb")
	text := m.read("etc/node.toml")
	if !strings.Contains(text, "version = 2\n  org = \"home\"\n  bucket = \"nodes\"\n  token_file = \""+m.path("state/secrets/influxdb")) || strings.Contains(text, "s3cret") || m.read("state/secrets/influxdb") != "s3cret\n" {
		t.Error(text)
	}
	for _, n := range done.Notes {
		if strings.Contains(n.Text+n.Undo, "s3cret") {
			t.Errorf("%+v", n)
		}
	}
}

func TestInfluxDB3(t *testing.T) {
	m := newMachine(t, false)
	file := newMachine(t, false).file("influx.token", "s3cret\n", 0o600)
	refuses(t, "without a token", "it wants a token", Influx{URL: scripted(t, "3.10.1", 401, nil)})
	// Without a token it says nothing at all, not even which version it is.
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer s3cret":
			w.WriteHeader(401)
		case r.URL.Path == "/ping":
			w.Header().Set("X-Influxdb-Version", "3.10.1")
		case r.URL.Path == "/api/v3/write_lp":
			http.Error(w, "incoming write was empty", 400)
		}
	}))
	t.Cleanup(closed.Close)
	refuses(t, "closed, without a token", "--influx-token-file FILE", Influx{URL: closed.URL})
	refuses(t, "closed, with another token", "does not take the token in ", Influx{URL: closed.URL, TokenFile: m.file("wrong.token", "wrong\n", 0o600)})
	newMachine(t, false).must(func(c *Config) { c.Influx = Influx{URL: closed.URL, TokenFile: file} })
	refuses(t, "one that may not", `the token in `+file+` may not write to the database "node_vitals"`, Influx{URL: scripted(t, "3.10.1", 403, nil), TokenFile: file})
	refuses(t, "with a bucket", "this one has databases", Influx{URL: scripted(t, "3.10.1", 204, nil), Bucket: "b"})
	var asked []string
	m.must(func(c *Config) { c.Influx = Influx{URL: scripted(t, "3.10.1", 400, &asked), TokenFile: file} })
	if len(asked) != 1 || asked[0] != "/api/v3/write_lp?db=node_vitals Bearer s3cret" || !strings.Contains(m.read("etc/node.toml"), "version = 3\n  token_file = ") {
		t.Errorf("%q\n%s", asked, m.read("etc/node.toml"))
	}
}

func TestInfluxDB1WhoseUserMayOnlyWrite(t *testing.T) {
	m := newMachine(t, false)
	file := m.file("influx.password", "s3cret\n", 0o600)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Influxdb-Version", "1.8.10")
		if r.URL.Path == "/query" {
			w.WriteHeader(403)
			io.WriteString(w, `{"error":"error authorizing query: writer not authorized to execute statement 'CREATE DATABASE node_vitals', requires admin privilege"}`)
			return
		}
		w.WriteHeader(204)
	}))
	t.Cleanup(s.Close)
	m.must(func(c *Config) { c.Influx = Influx{URL: s.URL, Username: "writer", PasswordFile: file} })
	if text := m.read("etc/node.toml"); !strings.Contains(text, "[relay.provision]\n  enabled = false") {
		t.Error(text)
	}
	refuses(t, "a bucket", "are for InfluxDB 2.x", Influx{URL: s.URL, Bucket: "b"})
	empty := m.file("empty", "\n", 0o600)
	refuses(t, "an empty file", "must hold one line", Influx{URL: s.URL, Username: "writer", PasswordFile: empty})
}
