package config

import (
	"net"
	"net/netip"
	"os"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Auth says who may write.
type Auth struct {
	Mode      string `toml:"mode"`
	NodeCheck string `toml:"node_check"`
	// Open lets a relay that checks nobody listen for other machines.
	Open bool `toml:"open"`
	// What one token may write in a minute; 0: as much as it likes.
	MaxBytes  nodefile.Size `toml:"max_bytes_per_minute"`
	MaxLines  int64         `toml:"max_lines_per_minute"`
	MaxSeries int64         `toml:"max_new_series_per_minute"`
}

// TLS says with which certificate the relay listens; without one it speaks
// plain HTTP.
type TLS struct {
	// OwnKey lets the relay make a key and a certificate for itself, in the place
	// of CertFile and KeyFile.
	OwnKey       bool   `toml:"own_key"`
	CertFile     string `toml:"cert_file"`
	KeyFile      string `toml:"key_file"`
	ClientCAFile string `toml:"client_ca_file"`
	// RequireClientCert refuses clients without a certificate.
	RequireClientCert bool `toml:"require_client_cert"`
}

func (a *Auth) validate(s *nodefile.Section) []error {
	var errs []error
	switch a.Mode {
	case "off", "observe", "required":
	default:
		errs = append(errs, s.Errorf("mode", `must be "off", "observe" (take every write, and list who would be refused) or "required"`))
	}
	switch a.NodeCheck {
	case "enforce", "overwrite", "off":
	default:
		errs = append(errs, s.Errorf("node_check", `must be "enforce" (a node writes only its own lines), "overwrite" (its lines become its own) or "off"`))
	}
	if a.Open && a.Mode != "off" {
		errs = append(errs, s.Errorf("open", `belongs to mode = "off", with which everybody may write; remove it`))
	}
	if a.MaxBytes < 0 || a.MaxLines < 0 || a.MaxSeries < 0 {
		errs = append(errs, s.Errorf("", "limits must not be negative; 0 is no limit"))
	}
	return errs
}

func (t *TLS) validate(s *nodefile.Section) []error {
	var errs []error
	switch {
	case t.OwnKey && t.CertFile+t.KeyFile != "":
		errs = append(errs, s.Errorf("own_key", "is in the place of cert_file and key_file; take out the one or the others"))
	case t.OwnKey:
	case t.CertFile == "":
		errs = append(errs, s.Errorf("cert_file", "is missing; name the file of the relay's certificate, or write own_key = true to have the relay make one for itself"))
	case t.KeyFile == "":
		errs = append(errs, s.Errorf("key_file", "is missing; name the file of the certificate's key"))
	}
	if t.RequireClientCert && t.ClientCAFile == "" {
		errs = append(errs, s.Errorf("client_ca_file", "is missing; name the file of the authority that signs the clients' certificates"))
	}
	for key, path := range map[string]string{"cert_file": t.CertFile, "key_file": t.KeyFile, "client_ca_file": t.ClientCAFile} {
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			errs = append(errs, s.Errorf(key, "%v", err))
			continue
		}
		f.Close()
	}
	return errs
}

// checkOpen refuses that every machine may write because nobody has thought
// of it.
func (c *Config) checkOpen(s *nodefile.Section) []error {
	if c.Auth.Mode != "off" || c.Auth.Open || checkListen(c.Listen) != nil || onLoopback(c.Listen) {
		return nil
	}
	return []error{s.Errorf("listen", `with %q every machine of the network may write, as none is checked: write mode = "required" below [relay.auth] `+
		`and give each node a token (vitals-relay token create --node NAME), or open = true below [relay.auth] if every machine may be trusted`, c.Listen)}
}

// onLoopback reports whether only this machine can reach an address.
func onLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
