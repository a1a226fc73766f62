package config

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Query is how queries are passed on to the server at query_url.
type Query struct {
	// URL is query_url of [relay] itself; empty: no query is passed on.
	URL string `toml:"-"`

	Username     string `toml:"username"`
	PasswordFile string `toml:"password_file"`
	TokenFile    string `toml:"token_file"`
	CAFile       string `toml:"ca_file"`
	// ForwardCredentials shows the server what the client shows.
	ForwardCredentials bool `toml:"forward_credentials"`
	// AllowWrites passes on what does more than read.
	AllowWrites   bool              `toml:"allow_writes"`
	Timeout       nodefile.Duration `toml:"timeout"`
	MaxConcurrent int               `toml:"max_concurrent"`
	MaxAnswer     nodefile.Size     `toml:"max_answer"`

	// Password, Token and CA are what the files held.
	Password string `toml:"-"`
	Token    string `toml:"-"`
	CA       []byte `toml:"-"`
}

// TLS makes the library's configuration of what the files held.
func (q *Query) TLS() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(q.CA) > 0 {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AppendCertsFromPEM(q.CA)
	}
	return c
}

func defaultQuery() Query {
	return Query{Timeout: nodefile.Duration(time.Minute), MaxConcurrent: 16, MaxAnswer: 256 << 20}
}

func (q *Query) validate(s *nodefile.Section) (errs []error) {
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	for key, file := range map[string]struct {
		path string
		into *string
	}{"token_file": {q.TokenFile, &q.Token}, "password_file": {q.PasswordFile, &q.Password}} {
		text, err := secret(file.path)
		if err != nil {
			add(key, "%v", err)
		}
		*file.into = text
	}
	if q.CAFile != "" {
		var err error
		if q.CA, err = os.ReadFile(q.CAFile); err != nil {
			add("ca_file", "%v", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(q.CA) {
			add("ca_file", "%s holds no certificate", q.CAFile)
		}
	}
	if q.Token != "" && q.Username != "" {
		add("token_file", "is one way to log in, username another; keep one of them")
	}
	if q.ForwardCredentials && (q.Token != "" || q.Username != "") {
		add("forward_credentials", "shows the server what the client shows; remove username and token_file, or it")
	}
	if q.Timeout.Std() < time.Second {
		add("timeout", "must be at least 1s")
	}
	if q.MaxConcurrent < 1 || q.MaxConcurrent > 1000 {
		add("max_concurrent", "must be between 1 and 1000")
	}
	if q.MaxAnswer < 1024 {
		add("max_answer", "must be at least 1 KiB")
	}
	return errs
}
