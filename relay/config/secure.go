package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
	"github.com/rpicluster/vitals/internal/pin"
)

// readSecrets reads the files with the token and the password.
func (d *Destination) readSecrets(s *nodefile.Section) (errs []error) {
	for key, file := range map[string]struct {
		path string
		into *string
	}{"token_file": {d.TokenFile, &d.Token}, "password_file": {d.PasswordFile, &d.Password}} {
		if !slices.Contains(belongsTo[key], d.Version) {
			continue // it is refused already
		}
		text, err := secret(file.path)
		if err != nil {
			errs = append(errs, s.Errorf(key, "%v", err))
		}
		*file.into = text
	}
	return errs
}

// readTLS reads the certificates.
func (d *Destination) readTLS(s *nodefile.Section) (errs []error) {
	for key, file := range map[string]struct {
		path string
		into *[]byte
	}{"ca_file": {d.CAFile, &d.CA}, "cert_file": {d.CertFile, &d.Cert}, "key_file": {d.KeyFile, &d.Key}} {
		if file.path == "" {
			continue
		}
		text, err := os.ReadFile(file.path)
		if err != nil {
			errs = append(errs, s.Errorf(key, "%v", err))
		}
		*file.into = text
	}
	if d.Pin != "" {
		errs = append(errs, d.checkPin(s)...)
	}
	if (d.CertFile == "") != (d.KeyFile == "") {
		key := map[bool]string{true: "cert_file", false: "key_file"}[d.KeyFile == ""]
		return append(errs, s.Errorf(key, "cert_file and key_file go together; one of them is missing"))
	}
	if len(errs) > 0 {
		return errs
	}
	if _, err := d.TLS(); err != nil {
		return []error{s.Errorf("", "%v", err)}
	}
	return nil
}

// checkPin refuses a pin that is none, and what it makes idle.
func (d *Destination) checkPin(s *nodefile.Section) (errs []error) {
	if _, err := pin.Parse(d.Pin); err != nil {
		errs = append(errs, s.Errorf("pin", "%v", err))
	}
	if strings.HasPrefix(d.URL, "http:") {
		errs = append(errs, s.Errorf("pin", "is for https, and the url is of plain http, where there is no key"))
	}
	if d.CAFile != "" {
		errs = append(errs, s.Errorf("ca_file", "has no effect with pin, which looks at the server's key and at nobody's signature; take one of them out"))
	}
	return errs
}

// TLS makes the library's configuration of what the files held.
func (d *Destination) TLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: d.ServerName, InsecureSkipVerify: d.SkipVerify} //nolint:gosec // asked for
	if d.CAFile != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(d.CA) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate", d.CAFile)
		}
	}
	if d.CertFile != "" {
		pair, err := tls.X509KeyPair(d.Cert, d.Key)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if d.Pin != "" {
		pins, err := pin.Parse(d.Pin)
		if err != nil {
			return nil, fmt.Errorf("pin: %w", err)
		}
		pins.Require(c)
	}
	return c, nil
}

// secret reads a token or password from the first line of a file.
func secret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	if strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("%s has more than one line", path)
	}
	return text, nil
}
