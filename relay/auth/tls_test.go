package auth

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	pair := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw})
	return a
}

func (a *authority) sign(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.NotBefore, template.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// write puts a server's certificate where certificates has its files.
func (a *authority) write(c *Certificates, name string) {
	a.t.Helper()
	pair := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{c.CertFile: {Type: "CERTIFICATE", Bytes: pair.Leaf.Raw}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path+".new", pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			a.t.Fatal(err)
		}
	}
}

func newCertificates(t *testing.T, a *authority) *Certificates {
	dir := t.TempDir()
	c := &Certificates{CertFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key"), ClientCAFile: filepath.Join(dir, "ca")}
	if err := os.WriteFile(c.ClientCAFile, a.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	a.write(c, "first")
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	return c
}

// serve serves with the certificates and returns where.
func serve(t *testing.T, c *Certificates, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go server.Serve(tls.NewListener(ln, c.Config()))
	t.Cleanup(func() { server.Close() })
	return ln.Addr().String()
}

func (a *authority) client(change func(*tls.Config)) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: a.clientConfig(change)}}
}

func (a *authority) clientConfig(change func(*tls.Config)) *tls.Config {
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(a.cert)
	if change != nil {
		change(config)
	}
	return config
}

func TestNodesOfCertificates(t *testing.T) {
	a := newAuthority(t)
	c := newCertificates(t, a)
	l := newLab(t, nil)
	_, token := l.create("by-token", Write, 0)
	var got string
	address := serve(t, c, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		grant, err := l.Admit(r, Write)
		switch {
		case err != nil:
			got = err.Error()
		default:
			got = grant.ID() + ": " + strings.NewReplacer("m,host=", "", " v=1 1\n", "|").Replace(nodesOf(grant, "uri", "dns", "dns2", "cn", "by-token"))
		}
	}))
	spiffe := func(path string) []*url.URL { return []*url.URL{{Scheme: "spiffe", Host: "site", Path: path}} }
	f := func(template *x509.Certificate, authorization, want string) {
		t.Helper()
		client := a.client(func(config *tls.Config) {
			if template != nil {
				config.Certificates = []tls.Certificate{a.sign(template)}
			}
		})
		r, _ := http.NewRequest("GET", "https://"+address, nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	cn := pkix.Name{CommonName: "cn"}
	f(&x509.Certificate{Subject: cn, DNSNames: []string{"dns"}, URIs: spiffe("/x/node/uri")}, "", "certificate of uri: uri|")
	f(&x509.Certificate{Subject: cn, DNSNames: []string{"dns", "dns2"}, URIs: spiffe("/x/service/uri")}, "", "certificate of dns, dns2: dns|dns2|")
	f(&x509.Certificate{Subject: cn}, "", "certificate of cn: cn|")
	f(&x509.Certificate{}, "", ErrMissing.Error())
	f(nil, "", ErrMissing.Error())
	id, _, _ := cut(token)
	f(&x509.Certificate{Subject: cn}, "Token "+token, id+": by-token|")
	f(&x509.Certificate{Subject: cn}, "Token wrong", ErrWrong.Error())
}

func TestCertificatesOfOthersAreRefused(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	c := newCertificates(t, a)
	address := serve(t, c, http.NotFoundHandler())
	with := func(change func(*tls.Config)) error {
		resp, err := a.client(change).Get("https://" + address)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	stranger := other.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "cn"}})
	if err := with(func(t *tls.Config) {
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	}); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	if err := with(func(t *tls.Config) { t.MinVersion, t.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	if err := with(nil); err != nil {
		t.Error(err)
	}
	c.ClientRequired = true
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	if err := with(nil); err == nil {
		t.Error("a client without certificate was taken")
	}
}

func TestCertificatesChangeUnderOpenConnections(t *testing.T) {
	a := newAuthority(t)
	c := newCertificates(t, a)
	address := serve(t, c, http.NotFoundHandler())
	connect := func() *tls.Conn {
		t.Helper()
		conn, err := tls.Dial("tcp", address, a.clientConfig(nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	name := func(conn *tls.Conn) string {
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	open := connect()
	answers := bufio.NewReader(open)
	ask := func() {
		t.Helper()
		_, err := io.WriteString(open, "GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	if got := name(open); got != "first" {
		t.Error(got)
	}
	a.write(c, "second")
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	ask() // over the connection that was open
	if got := name(connect()); got != "second" {
		t.Errorf("a new connection got %s", got)
	}
	if err := os.WriteFile(c.KeyFile, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Load(); err == nil {
		t.Error("a file without key was loaded")
	}
	if got := name(connect()); got != "second" {
		t.Errorf("after a failure a new connection got %s", got)
	}
}

func TestCertificatesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		c := newCertificates(t, a)
		first := c.current.Load()
		go c.Run(t.Context(), slog.New(slog.DiscardHandler))
		time.Sleep(3 * watchEvery)
		synctest.Wait()
		if c.current.Load() != first {
			t.Error("loaded again without a change")
		}
		a.write(c, "second")
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		if c.current.Load() == first {
			t.Error("a change was not seen")
		}
		second := c.current.Load()
		if err := os.Remove(c.KeyFile); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		if c.current.Load() != second {
			t.Error("what was loaded is not in use any more")
		}
	})
}

// A file may become readable, or be mended, in a way that its time and size do
// not tell: what could not be used is tried again.
func TestCertificatesThatCannotBeUsedAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		c := newCertificates(t, a)
		var log bytes.Buffer
		go c.Run(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
		time.Sleep(2 * watchEvery)
		a.write(c, "second")
		good, err := os.ReadFile(c.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		when := time.Now()
		write := func(text []byte) {
			if err := errors.Join(os.WriteFile(c.KeyFile, text, 0o600), os.Chtimes(c.KeyFile, when, when)); err != nil {
				t.Fatal(err)
			}
		}
		write(bytes.Repeat([]byte("x"), len(good)))
		time.Sleep(5 * watchEvery)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be used"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
		write(good)
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		if name := c.current.Load().Certificates[0].Leaf.Subject.CommonName; name != "second" {
			t.Errorf("it is still %s", name)
		}
	})
}

func TestPlainRequestsHaveNoCertificate(t *testing.T) {
	if nodes := certifiedNodes(httptest.NewRequest("GET", "/", nil).TLS); nodes != nil {
		t.Error(nodes)
	}
	// What nobody has verified names nobody.
	a := newAuthority(t)
	if nodes := certifiedNodes(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{a.cert}}); nodes != nil {
		t.Error(nodes)
	}
}
