package auth

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/internal/pin"
)

func ownKey(t *testing.T, dir string) (certFile, keyFile string, c *Certificates) {
	t.Helper()
	certFile, keyFile, err := OwnKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	c = &Certificates{CertFile: certFile, KeyFile: keyFile}
	if err := c.Load(); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, c
}

func TestTheOwnKeyStays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	certFile, keyFile, c := ownKey(t, dir)
	want := c.Pin()
	if _, err := pin.Parse(want); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(keyFile)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	same := func(what string) {
		t.Helper()
		if _, _, c := ownKey(t, dir); c.Pin() != want {
			t.Errorf("%s: another key", what)
		}
	}
	same("a second start")
	// Ended between key and certificate, or the certificate is damaged, or it is
	// one of another key.
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	same("without a certificate")
	if err := os.WriteFile(certFile, []byte("-----BEGIN"), 0o600); err != nil {
		t.Fatal(err)
	}
	same("with half a certificate")
	other, _, _ := ownKey(t, t.TempDir())
	text, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(certFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	same("with the certificate of another")
}

// A key that nodes have pinned is not quietly replaced.
func TestALostOwnKeyIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	_, keyFile, _ := ownKey(t, dir)
	for what, damage := range map[string]func() error{
		"gone":  func() error { return os.Remove(keyFile) },
		"empty": func() error { return os.WriteFile(keyFile, nil, 0o600) },
		"damaged": func() error {
			return os.WriteFile(keyFile, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600)
		},
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := OwnKey(dir); err == nil || !strings.Contains(err.Error(), keyFile) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A board without a battery may believe that it is 1970.
func TestTheOwnCertificateIsGoodAtAnyTime(t *testing.T) {
	certFile, keyFile, c := ownKey(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, year := range []int{1970, 2026, 2106, 9999} {
		at := time.Date(year, 1, 1, 0, 0, 1, 0, time.UTC)
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at}); err != nil {
			t.Errorf("%d: %v", year, err)
		}
	}
	if c.Trusted("vitals-relay") {
		t.Error("this machine trusts it")
	}
}
