package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/youmark/pkcs8"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/internal/pin"
)

// tlsOptions are Telegraf's options of a client's TLS.
type tlsOptions struct {
	Enable        *bool    `toml:"tls_enable"`
	CA            string   `toml:"tls_ca"`
	Cert          string   `toml:"tls_cert"`
	Key           string   `toml:"tls_key"`
	KeyPassword   string   `toml:"tls_key_pwd"`
	MinVersion    string   `toml:"tls_min_version"`
	CipherSuites  []string `toml:"tls_cipher_suites"`
	ServerName    string   `toml:"tls_server_name"`
	Renegotiation string   `toml:"tls_renegotiation_method"`
	SkipVerify    bool     `toml:"insecure_skip_verify"`
	Pin           string   `toml:"tls_pin"` // not Telegraf's
}

// TLS is how a client secures its connections. It holds what the files said
// when they were read, so that a reload sees a renewed certificate.
type TLS struct {
	CA            []byte // PEM; empty: the system's certificates are trusted
	Cert, Key     []byte // PEM; empty: none is presented
	MinVersion    uint16
	CipherSuites  []uint16
	ServerName    string
	Renegotiation tls.RenegotiationSupport
	SkipVerify    bool
	// Pins, if there are any, are the keys that the server may have. Nothing else
	// of its certificate is looked at then.
	Pins pin.Pins
}

// Config makes the library's configuration. It is nil where nothing is set.
func (t *TLS) Config() (*tls.Config, error) {
	if t.empty() {
		return nil, nil
	}
	c := &tls.Config{
		MinVersion: t.MinVersion, CipherSuites: t.CipherSuites, ServerName: t.ServerName,
		Renegotiation: t.Renegotiation, InsecureSkipVerify: t.SkipVerify, //nolint:gosec // asked for
	}
	if len(t.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(t.CA) {
			return nil, errors.New("tls_ca: the file holds no certificate")
		}
	}
	if len(t.Cert) > 0 {
		pair, err := tls.X509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if len(t.Pins) > 0 {
		t.Pins.Require(c)
	}
	return c, nil
}

func (t *TLS) empty() bool {
	return len(t.CA)+len(t.Cert)+len(t.CipherSuites)+len(t.Pins) == 0 && t.MinVersion == 0 && t.ServerName == "" &&
		t.Renegotiation == tls.RenegotiateNever && !t.SkipVerify
}

// tls reads the options and the files that they name.
func (l *loader) tls(s *nodefile.Section, t tlsOptions) (r TLS) {
	if t.Enable != nil && !*t.Enable {
		if t.Pin != "" { // which nobody drops by the way
			l.fail(s.Errorf("tls_pin", "has no effect with tls_enable = false; take one of them out"))
		}
		return r // the others are switched off
	}
	r = TLS{ServerName: t.ServerName, SkipVerify: t.SkipVerify}
	r.MinVersion = l.tlsVersion(s, t.MinVersion)
	r.CipherSuites = l.ciphers(s, t.CipherSuites)
	switch t.Renegotiation {
	case "", "never":
	case "once":
		r.Renegotiation = tls.RenegotiateOnceAsClient
	case "freely":
		r.Renegotiation = tls.RenegotiateFreelyAsClient
	default:
		l.fail(s.Errorf("tls_renegotiation_method", `%q is none; it is "never", "once" or "freely"`, t.Renegotiation))
	}
	r.CA = l.read(s, "tls_ca", t.CA)
	r.Pins = l.pins(s, t)
	if (t.Cert == "") != (t.Key == "") {
		key := map[bool]string{true: "tls_cert", false: "tls_key"}[t.Key == ""]
		l.fail(s.Errorf(key, "tls_cert and tls_key go together; one of them is missing"))
		return r
	}
	r.Cert, r.Key = l.read(s, "tls_cert", t.Cert), l.read(s, "tls_key", t.Key)
	var err error
	if r.Key, err = decrypted(r.Key, t.KeyPassword); err != nil {
		l.fail(s.Errorf("tls_key_pwd", "%s: %v", t.Key, err))
	} else if _, err := r.Config(); err != nil && (len(r.Cert) > 0) == (len(r.Key) > 0) {
		l.fail(s.Errorf("", "%v", err))
	}
	return r
}

// pins reads tls_pin.
func (l *loader) pins(s *nodefile.Section, t tlsOptions) pin.Pins {
	if t.Pin == "" {
		return nil
	}
	pins, err := pin.Parse(t.Pin)
	switch {
	case err != nil:
		l.fail(s.Errorf("tls_pin", "%v", err))
	case t.CA != "":
		l.fail(s.Errorf("tls_ca", "has no effect with tls_pin, which looks at the server's key and at nobody's signature; take one of them out"))
	}
	return pins
}

// read reads the file that an option names.
func (l *loader) read(s *nodefile.Section, key, path string) []byte {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		l.fail(s.Errorf(key, "%v", err))
	}
	return text
}

func (l *loader) tlsVersion(s *nodefile.Section, name string) uint16 {
	versions := map[string]uint16{"": 0, "TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}
	v, ok := versions[name]
	if !ok {
		l.fail(s.Errorf("tls_min_version", `%q is none; it is "TLS10", "TLS11", "TLS12" or "TLS13"`, name))
	}
	return v
}

// ciphers looks names of cipher suites up; "secure" and "all" stand for lists,
// as they do in Telegraf.
func (l *loader) ciphers(s *nodefile.Section, names []string) (ids []uint16) {
	secure, insecure := tls.CipherSuites(), tls.InsecureCipherSuites()
	for _, name := range names {
		before := len(ids)
		for _, c := range secure {
			if name == c.Name || name == "secure" || name == "all" {
				ids = append(ids, c.ID)
			}
		}
		for _, c := range insecure {
			if name == c.Name || name == "insecure" || name == "all" {
				ids = append(ids, c.ID)
			}
		}
		if len(ids) == before {
			l.fail(s.Errorf("tls_cipher_suites", "%q is not known; one that is: %q", name, secure[len(secure)-1].Name))
		}
	}
	return ids
}

// decrypted returns a key in PEM without its encryption.
func decrypted(key []byte, password string) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return key, nil // none, or nothing that looks like one: its use will tell
	}
	old := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // such keys are about
	switch {
	case !old && block.Type != "ENCRYPTED PRIVATE KEY":
		return key, nil
	case password == "":
		return nil, errors.New("the key is encrypted; give its password")
	case old:
		der, err := x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // see above
		if err != nil {
			return nil, fmt.Errorf("decrypt the key: %w", err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
	private, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(password))
	if err != nil {
		return nil, fmt.Errorf("decrypt the key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("decrypt the key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
