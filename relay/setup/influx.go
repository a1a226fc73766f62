package setup

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/rights"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/influxql"
	"github.com/rpicluster/vitals/relay/provision"
)

// Influx is the InfluxDB that gets what the relay receives.
type Influx struct {
	// URL is its address; empty: one on this machine, if there is one; "none": none.
	URL string
	// Username and PasswordFile are for InfluxDB 1.x, Organization and Bucket for
	// 2.x, TokenFile for 2.x and 3.
	Username, PasswordFile          string
	Organization, Bucket, TokenFile string
}

// check refuses an address that is none, and credentials that everybody could see.
func (i *Influx) check() error {
	u, err := url.Parse(i.URL)
	switch {
	case i.URL != "" && i.URL != "none" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
		return OptionError(fmt.Sprintf("--influx %q: write it like %s", influx.Redact(i.URL), here))
	case err == nil && (u.User != nil || u.RawQuery != "" || u.Fragment != ""):
		return OptionError("--influx must not hold credentials, as everybody sees command lines: use --influx-username with --influx-password-file, or --influx-token-file")
	case (i.Username == "") != (i.PasswordFile == ""):
		return OptionError("--influx-username and --influx-password-file go together")
	}
	return nil
}

// here is where InfluxDB listens on this machine, unless it is told otherwise.
const here = "http://127.0.0.1:8086"

// patience is how long InfluxDB may take to answer.
const patience = 10 * time.Second

// server is an InfluxDB that was found.
type server struct {
	Influx
	text       string // as it says itself: 1.6.7, v2.7.11
	version    int    // 1, 2 or 3
	secret     string // what PasswordFile or TokenFile holds
	secretFile string // where the relay reads it
	made       bool   // the database was made now
	leave      bool   // its policies are not the relay's to make
}

// probe looks for InfluxDB and tries whether lines could be stored.
func (s *setup) probe(ctx context.Context) error {
	if !s.plan.configure {
		return nil // it has its destinations
	}
	i := s.Influx
	if i.URL == "none" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	i.URL = strings.TrimSuffix(i.URL, "/")
	found, err := ping(ctx, cmp.Or(i.URL, here), i.TokenFile)
	if err != nil && i.URL == "" {
		s.note("InfluxDB", "", "none is found at %s: the relay keeps the lines and shows the nodes. Later, add [[relay.destinations]] to %s, and vitals-relay reload", here, s.NodeFile)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w; nothing was changed", err)
	}
	i.URL = cmp.Or(i.URL, here)
	found.Influx = i
	if err := found.try(ctx); err != nil {
		return fmt.Errorf("InfluxDB %s at %s: %w; or leave it out with --influx none. Nothing was changed", found.text, i.URL, err)
	}
	s.server = found
	return nil
}

// ping asks a server which InfluxDB it is. InfluxDB 3 tells nobody without a token.
func ping(ctx context.Context, address, tokenFile string) (found server, err error) {
	s := server{Influx: Influx{URL: address}, version: 3}
	resp, _, err := s.ask(ctx, http.MethodGet, "/ping")
	if err == nil && resp.StatusCode == http.StatusUnauthorized && tokenFile != "" {
		if s.secret, err = readSecret(tokenFile); err != nil {
			return found, err
		}
		resp, _, err = s.ask(ctx, http.MethodGet, "/ping")
	}
	if err != nil {
		return found, unreachable(address, err)
	}
	found.text = resp.Header.Get("X-Influxdb-Version")
	switch number := strings.TrimPrefix(found.text, "v"); {
	case strings.HasPrefix(number, "1."):
		found.version = 1
	case strings.HasPrefix(number, "2."):
		found.version = 2
	case strings.HasPrefix(number, "3."):
		found.version = 3
	case found.text != "":
		return found, fmt.Errorf("%s says that it is InfluxDB %.40q, which the relay does not know; write its [[relay.destinations]] by hand", address, found.text)
	case resp.StatusCode == http.StatusUnauthorized && tokenFile == "":
		return found, fmt.Errorf("what answers at %s wants a token, as InfluxDB 3 does: --influx-token-file FILE (a file that only root can read, with the token in one line)", address)
	case resp.StatusCode == http.StatusUnauthorized:
		return found, fmt.Errorf("%s does not take the token in %s", address, tokenFile)
	default:
		return found, fmt.Errorf("what answers at %s is not an InfluxDB (%s). For a VictoriaMetrics or a proxy, write [[relay.destinations]] by hand; --influx names another address", address, resp.Status)
	}
	return found, nil
}

// unreachable says why a server does not answer.
func unreachable(address string, err error) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: start InfluxDB there, or name another address with --influx", address)
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s has a certificate that this machine does not trust (%w): write its [[relay.destinations]] by hand, with ca_file or pin", address, untrusted.Err)
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return fmt.Errorf("%s does not answer: %w; see whether the address is right and whether a firewall is between", address, err)
}

// try looks whether the server would store lines.
func (s *server) try(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	c := influx.Config{URLs: []string{s.URL}, Version: s.version, Timeout: patience, Username: s.Username, Organization: s.Organization, Bucket: s.Bucket, UserAgent: "vitals-relay init"}
	if s.version == 1 {
		c.Password = s.secret
	} else {
		c.Token = s.secret
	}
	client, err := influx.NewClient(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if s.version == 1 {
		return s.try1(ctx, client)
	}
	return s.try2(ctx)
}

// check refuses options that the version does not have, or that are missing, and
// reads the secret.
func (s *server) check() (err error) {
	file := s.TokenFile
	switch {
	case s.version == 1 && s.Organization+s.Bucket+s.TokenFile != "":
		return errors.New("--influx-org, --influx-bucket and --influx-token-file are for InfluxDB 2.x; this one has --influx-username and --influx-password-file")
	case s.version == 1:
		file = s.PasswordFile
	case s.Username+s.PasswordFile != "":
		return errors.New("--influx-username and --influx-password-file are for InfluxDB 1.x; this one has --influx-token-file")
	case s.version == 2 && (s.Organization == "" || s.Bucket == "" || s.TokenFile == ""):
		return errors.New("it needs --influx-org NAME, --influx-bucket NAME, and --influx-token-file FILE with a token that may write there")
	case s.version == 3 && s.Organization+s.Bucket != "":
		return errors.New("--influx-org and --influx-bucket are for InfluxDB 2.x; this one has databases, and the relay writes to node_vitals")
	}
	if file == "" {
		return nil
	}
	s.secret, err = readSecret(file)
	return err
}

// readSecret is what a file holds.
func readSecret(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", fmt.Errorf("%s must hold one line: the password, or the token", file)
	}
	return secret, nil
}

// try1 makes the database, as the relay would, or sees that it can be written.
func (s *server) try1(ctx context.Context, client *influx.Client) error {
	d, err := config.Load("")
	if err != nil {
		return err
	}
	p := d.Provision
	maker := provision.New(provision.Config{
		Destination: "influxdb", Server: client, Enabled: true, Database: p.Database,
		Policy: influxql.Policy{Name: p.RetentionPolicy, Duration: p.Duration.Std(), Replication: p.Replication, Default: p.Default},
		Logger: slog.New(slog.DiscardHandler),
	})
	there, err := maker.Exists(ctx, p.Database)
	if err == nil {
		err = maker.Ensure(ctx, p.Database)
	}
	if err == nil {
		s.made = !there
		return nil
	}
	refused := new(influx.WriteError)
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden || strings.Contains(err.Error(), "requires admin privilege") {
		resp, text, writeErr := s.ask(ctx, http.MethodPost, "/write?db="+url.QueryEscape(p.Database))
		if writeErr == nil && resp.StatusCode == http.StatusNoContent {
			s.leave = true
			return nil
		}
		return fmt.Errorf(`the user %q may not create the database %s (%s %s): in influx, GRANT ALL PRIVILEGES TO %q; or CREATE DATABASE %s and GRANT WRITE ON %s TO %q`,
			s.Username, p.Database, err, strings.TrimSpace(text), s.Username, p.Database, p.Database, s.Username)
	}
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		if s.Username == "" {
			return errors.New("it wants a user: --influx-username NAME --influx-password-file FILE (a file that only root can read, with the password in one line)")
		}
		return fmt.Errorf("it does not take the password of %q in %s", s.Username, s.PasswordFile)
	}
	return fmt.Errorf("the database %s cannot be made: %w", p.Database, err)
}

// try2 tries to write nothing to where the relay will write.
func (s *server) try2(ctx context.Context) error {
	path, place := "/api/v2/write?"+url.Values{"org": {s.Organization}, "bucket": {s.Bucket}}.Encode(), fmt.Sprintf("bucket %q of %q", s.Bucket, s.Organization)
	if s.version == 3 {
		path, place = "/api/v3/write_lp?db=node_vitals", `database "node_vitals"`
	}
	resp, text, err := s.ask(ctx, http.MethodPost, path)
	if err != nil {
		return unreachable(s.URL, err)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusNoContent, status == http.StatusBadRequest: // an empty write is none
		return nil
	case s.secret == "" && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return errors.New("it wants a token: --influx-token-file FILE (a file that only root can read, with the token in one line)")
	case status == http.StatusUnauthorized:
		return fmt.Errorf("it does not take the token in %s", s.TokenFile)
	case status == http.StatusForbidden:
		return fmt.Errorf("the token in %s may not write to the %s", s.TokenFile, place)
	case status == http.StatusNotFound && s.version == 2:
		return fmt.Errorf("there is no bucket %q in %q that this token may see: make it with influx bucket create --org %q --name %q, or give the token the right to write to it (%s)",
			s.Bucket, s.Organization, s.Organization, s.Bucket, text)
	}
	return fmt.Errorf("it answers a write with %d: %s", resp.StatusCode, text)
}

// ask makes a request without a body: so a write writes nothing, and it is seen
// whether the server would take something.
func (s *server) ask(ctx context.Context, method, path string) (resp *http.Response, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, nil)
	if err != nil {
		return nil, "", err
	}
	switch {
	case s.version == 1 && s.Username != "":
		req.SetBasicAuth(s.Username, s.secret)
	case s.version == 2:
		req.Header.Set("Authorization", "Token "+s.secret)
	case s.secret != "":
		req.Header.Set("Authorization", "Bearer "+s.secret)
	}
	client := http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	if resp, err = client.Do(req); err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // a part will do
	return resp, strings.TrimSpace(strings.ToValidUTF8(string(body), "")), nil
}

// tables are the server's part of the node file.
func (s *server) tables() string {
	if s.version == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n[[relay.destinations]]\n  name = \"influxdb\"\n  url = %q\n", s.URL)
	switch {
	case s.version == 1 && s.Username != "":
		fmt.Fprintf(&b, "  username = %q\n  password_file = %q\n", s.Username, s.secretFile)
	case s.version == 2:
		fmt.Fprintf(&b, "  version = 2\n  org = %q\n  bucket = %q\n  token_file = %q\n", s.Organization, s.Bucket, s.secretFile)
	case s.version == 3:
		b.WriteString("  version = 3\n")
		if s.secretFile != "" {
			fmt.Fprintf(&b, "  token_file = %q\n", s.secretFile)
		}
	}
	if s.leave {
		b.WriteString("\n# This user may write to the database and change nothing of it.\n[relay.provision]\n  enabled = false\n")
	}
	return b.String()
}

// keepCredentials copies the secret to where the relay's user can read it.
func (s *setup) keepCredentials() error {
	if s.server.version == 0 {
		return nil
	}
	target, undo := "the database node_vitals is there", ""
	switch {
	case s.server.made:
		const drop = "DROP DATABASE node_vitals"
		user := ""
		if s.server.Username != "" {
			user = " -u '" + s.server.Username + "'" // it asks for the password
		}
		target, undo = "the database node_vitals is made", fmt.Sprintf("curl -sS%s '%s/query' --data-urlencode 'q=%s' (in influx: %[3]s)", user, s.server.URL, drop)
	case s.server.version == 2:
		target = fmt.Sprintf("the bucket %q takes writes", s.server.Bucket)
	case s.server.version == 3:
		target = "it takes writes to the database node_vitals"
	case s.server.leave:
		target = "the database node_vitals takes writes; its retention policies are left as they are"
	}
	s.note("InfluxDB", undo, "%s at %s; %s", strings.TrimPrefix(s.server.text, "v"), s.server.URL, target)
	if s.server.secret == "" {
		return nil
	}
	data, uid, gid, err := s.dataDirectory()
	if err != nil {
		return err
	}
	directory := filepath.Join(data, "secrets")
	s.server.secretFile = filepath.Join(directory, "influxdb")
	err = rights.AsOwner(directory, func() error {
		if err := makeDirectory(directory, 0o700, uid, gid); err != nil {
			return err
		}
		return durable.WriteFor(s.server.secretFile, []byte(s.server.secret+"\n"), 0o600, uid, gid)
	})
	if err != nil {
		return fmt.Errorf("keep what the relay shows to InfluxDB: %w", err)
	}
	s.note("credentials", "sudo rm "+s.server.secretFile, "copied to %s, which the relay reads; the file that was named is needed no more", s.server.secretFile)
	return nil
}

// noteDestination says what becomes of an --influx that the node file does not
// get.
func (s *setup) noteDestination() {
	u := strings.TrimSuffix(s.Influx.URL, "/")
	if u == "" || u == "none" || slices.ContainsFunc(s.config.Destinations, func(d config.Destination) bool { return strings.TrimSuffix(d.URL, "/") == u }) {
		return
	}
	s.note("InfluxDB", "", "%s was not added, as the node file is left alone: write [[relay.destinations]] with a name, such as \"influxdb\", and url = %q into it, then vitals-relay reload", u, u)
}
