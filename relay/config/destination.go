package config

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// Destination is one InfluxDB that gets everything the relay receives.
type Destination struct {
	Name            string            `toml:"name"`
	URL             string            `toml:"url"`
	Version         int               `toml:"version"`
	Database        string            `toml:"database"`
	RetentionPolicy string            `toml:"retention_policy"`
	Organization    string            `toml:"org"`
	Bucket          string            `toml:"bucket"`
	TokenFile       string            `toml:"token_file"`
	Username        string            `toml:"username"`
	PasswordFile    string            `toml:"password_file"`
	Required        bool              `toml:"required"`
	Timeout         nodefile.Duration `toml:"timeout"`
	SkipVerify      bool              `toml:"skip_verify"`

	// Token and Password are what the files held.
	Token    string `toml:"-"`
	Password string `toml:"-"`
}

// destinationName is what can be a directory's name everywhere.
var destinationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *Config) decodeDestinations(s *nodefile.Section) []error {
	tables, err := s.Sub("destinations")
	if err != nil {
		return []error{err}
	}
	var errs []error
	seen := map[string]bool{}
	for _, table := range tables {
		d := Destination{Version: 1, Required: true, Timeout: nodefile.Duration(30 * time.Second)}
		errs = append(errs, renamed(table, map[string]string{
			"password": "password_file, which names a file that holds the password",
			"token":    "token_file, which names a file that holds the token",
		})...)
		if err := table.Decode(&d); err != nil {
			errs = append(errs, err)
		}
		errs = append(errs, d.validate(table)...)
		if seen[d.Name] && d.Name != "" {
			errs = append(errs, table.Errorf("name", "%q is the name of two destinations", d.Name))
		}
		seen[d.Name] = true
		c.Destinations = append(c.Destinations, d)
	}
	return errs
}

func (d *Destination) validate(s *nodefile.Section) []error {
	var errs []error
	add := func(key, format string, args ...any) { errs = append(errs, s.Errorf(key, format, args...)) }
	switch {
	case d.Name == "":
		add("name", `is missing; choose one that stays, such as "influxdb": the destination's progress is kept under it`)
	case !destinationName.MatchString(d.Name):
		add("name", "%q cannot be a directory's name; use letters, digits, dots, dashes and underscores", d.Name)
	}
	if text := urlMistake(d.URL); text != "" {
		add("url", "%s", text)
	}
	if d.Version != 1 && d.Version != 2 {
		add("version", "must be 1 (InfluxDB 1.x, VictoriaMetrics) or 2 (InfluxDB 2.x), not %d", d.Version)
	}
	for _, key := range []string{"database", "retention_policy", "username", "password_file"} {
		if d.Version == 2 && s.Has(key) {
			add(key, "belongs to version = 1; InfluxDB 2.x has org, bucket and token_file")
		}
	}
	for _, key := range []string{"org", "bucket", "token_file"} {
		if d.Version == 1 && s.Has(key) {
			add(key, "belongs to version = 2; InfluxDB 1.x has database, retention_policy, username and password_file")
		}
	}
	if d.Timeout < nodefile.Duration(100*time.Millisecond) {
		add("timeout", "must be at least 100ms")
	}
	var err error
	if d.Token, err = secret(d.TokenFile); err != nil && d.Version != 1 {
		add("token_file", "%v", err)
	}
	if d.Password, err = secret(d.PasswordFile); err != nil && d.Version != 2 {
		add("password_file", "%v", err)
	}
	return errs
}

func urlMistake(text string) string {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return `is missing; write url = "http://127.0.0.1:8086"`
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return `must be like "http://127.0.0.1:8086"`
	case u.User != nil:
		return "must not hold credentials; use username and password_file, or token_file"
	case u.RawQuery != "" || u.Fragment != "":
		return "must end before the question mark; the relay adds the parameters itself"
	}
	return ""
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
