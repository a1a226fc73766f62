package pin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newServer answers under a certificate of no name and no authority that is good
// for so long.
func newServer(t *testing.T, good time.Duration) (*httptest.Server, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(good)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		if r.TLS.DidResume {
			io.WriteString(w, "resumed")
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, certificate
}

func get(t *testing.T, url string, c *tls.Config) (string, error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestOnlyThePinnedKeyIsTalkedTo(t *testing.T) {
	s, certificate := newServer(t, -time.Hour)
	_, stranger := newServer(t, -time.Hour)
	f := func(name, pins string, want bool) {
		t.Helper()
		p, err := Parse(pins)
		if err != nil {
			t.Fatal(name, err)
		}
		c := &tls.Config{}
		p.Require(c)
		_, err = get(t, s.URL, c)
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		mismatch := new(MismatchError)
		if !want && (!errors.As(err, &mismatch) || mismatch.Got != Of(certificate) || mismatch.Want != pins) {
			t.Errorf("%s: the error does not name both keys: %v", name, err)
		}
	}
	f("its own", Of(certificate), true)
	f("another", Of(stranger), false)
	f("the new and the old", Of(stranger)+";"+Of(certificate), true)
	f("two others", Of(stranger)+";"+Of(stranger), false)
}

// A session is resumed without a certificate being sent; that of its beginning
// is looked at all the same.
func TestResumedSessionsAreLookedAt(t *testing.T) {
	s, certificate := newServer(t, time.Hour)
	_, stranger := newServer(t, time.Hour)
	right, err := Parse(Of(certificate))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := Parse(Of(stranger))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	right.Require(c)
	if _, err := get(t, s.URL, c); err != nil {
		t.Fatal(err)
	}
	if body, err := get(t, s.URL, c); err != nil || body != "resumed" {
		t.Fatalf("the session is not resumed: %q, %v", body, err)
	}
	wrong.Require(c)
	if _, err := get(t, s.URL, c); !errors.As(err, new(*MismatchError)) {
		t.Errorf("a resumed session with another key is taken: %v", err)
	}
}

func TestPinsAreRead(t *testing.T) {
	_, certificate := newServer(t, time.Hour)
	good := Of(certificate)
	for _, text := range []string{good, good + ";" + good, " " + good + " ; " + good} {
		p, err := Parse(text)
		if err != nil || strings.ReplaceAll(text, " ", "") != p.String() {
			t.Errorf("%q is read as %q, %v", text, p, err)
		}
	}
	for _, text := range []string{"", ";", good + ";", "sha256//", "sha1//" + good[8:], good[:len(good)-1], good + "=", good[8:], "sha256//" + strings.Repeat("é", 22)} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q passes for a pin", text)
		}
	}
}

// The pin is what curl and openssl make of the same key.
func TestThePinIsThatOfOpenSSL(t *testing.T) {
	_, certificate := newServer(t, time.Hour)
	file := filepath.Join(t.TempDir(), "certificate.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "openssl x509 -in "+file+" -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := "sha256//" + strings.TrimSpace(string(out)); Of(certificate) != want {
		t.Errorf("%s is %s for openssl", Of(certificate), want)
	}
}
