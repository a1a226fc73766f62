package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// httpOptions are the options of both InfluxDB outputs.
type httpOptions struct {
	URLs            []string          `toml:"urls"`
	Timeout         nodefile.Duration `toml:"timeout"`
	UserAgent       string            `toml:"user_agent"`
	Headers         map[string]string `toml:"http_headers"`
	ContentEncoding string            `toml:"content_encoding"`
	Proxy           string            `toml:"http_proxy"`
	LocalAddress    string            `toml:"local_address"`
	tlsOptions
}

type influxOptions struct {
	outputOptions
	httpOptions
	Database             string `toml:"database"`
	DatabaseTag          string `toml:"database_tag"`
	ExcludeDatabaseTag   bool   `toml:"exclude_database_tag"`
	RetentionPolicy      string `toml:"retention_policy"`
	PolicyTag            string `toml:"retention_policy_tag"`
	ExcludePolicyTag     bool   `toml:"exclude_retention_policy_tag"`
	Consistency          string `toml:"write_consistency"`
	Username             string `toml:"username"`
	Password             string `toml:"password"`
	SkipDatabaseCreation bool   `toml:"skip_database_creation"`
}

type influx2Options struct {
	outputOptions
	httpOptions
	Token            string            `toml:"token"`
	Organization     string            `toml:"organization"`
	Bucket           string            `toml:"bucket"`
	BucketTag        string            `toml:"bucket_tag"`
	ExcludeBucketTag bool              `toml:"exclude_bucket_tag"`
	RateLimit        nodefile.Size     `toml:"rate_limit"`
	RatePeriod       nodefile.Duration `toml:"rate_limit_period"`
	ConcurrentWrites int               `toml:"concurrent_writes"`
	PingTimeout      nodefile.Duration `toml:"ping_timeout"`
	ReadIdleTimeout  nodefile.Duration `toml:"read_idle_timeout"`
}

func (l *loader) influx(s *nodefile.Section, o *Output) {
	l.refuse(s, influxUnsupported)
	t := influxOptions{httpOptions: defaultHTTP(), Database: "telegraf"}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	l.http(s, t.httpOptions, o)
	o.Database, o.RetentionPolicy = t.Database, t.RetentionPolicy
	o.DatabaseTag = l.route(s, "exclude_database_tag", t.DatabaseTag, t.ExcludeDatabaseTag)
	o.PolicyTag = l.route(s, "exclude_retention_policy_tag", t.PolicyTag, t.ExcludePolicyTag)
	o.Username, o.Password = t.Username, t.Password
	o.SkipDatabaseCreation = t.SkipDatabaseCreation
	if t.Database == "" {
		l.fail(s.Errorf("database", "must not be empty"))
	}
	switch t.Consistency {
	case "", "any", "one", "quorum", "all":
		o.Consistency = t.Consistency
	default:
		l.fail(s.Errorf("write_consistency", `%q is none; it is "any", "one", "quorum" or "all"`, t.Consistency))
	}
}

// route reads a tag that lines are sent by.
func (l *loader) route(s *nodefile.Section, excludeKey, tag string, exclude bool) Route {
	if exclude && tag == "" {
		l.warn(s.Errorf(excludeKey, "has no effect without %s", strings.TrimPrefix(excludeKey, "exclude_")))
	}
	return Route{Tag: tag, Exclude: exclude}
}

func (l *loader) influx2(s *nodefile.Section, o *Output) {
	l.refuse(s, influx2Unsupported)
	t := influx2Options{httpOptions: defaultHTTP()}
	l.fail(s.Decode(&t))
	l.common(s, t.outputOptions, o)
	l.http(s, t.httpOptions, o)
	o.Token, o.Organization, o.Bucket = t.Token, t.Organization, t.Bucket
	o.BucketTag = l.route(s, "exclude_bucket_tag", t.BucketTag, t.ExcludeBucketTag)
	if t.Bucket == "" {
		l.fail(s.Errorf("bucket", "is missing; name the bucket to write to%s", map[bool]string{true: ", for lines without the tag, too"}[t.BucketTag != ""]))
	}
	if t.ConcurrentWrites < 0 || t.ConcurrentWrites > maxConcurrentWrites {
		l.fail(s.Errorf("concurrent_writes", "is a number from 1 to %d", maxConcurrentWrites))
	}
	l.notNegative(s, "ping_timeout", t.PingTimeout)
	l.notNegative(s, "read_idle_timeout", t.ReadIdleTimeout)
	o.ConcurrentWrites = max(1, t.ConcurrentWrites)
	o.PingAfter, o.PingTimeout = t.ReadIdleTimeout.Std(), t.PingTimeout.Std()
	l.rate(s, &t, o)
}

// maxConcurrentWrites is more than any server of one node's lines needs.
const maxConcurrentWrites = 64

func (l *loader) rate(s *nodefile.Section, t *influx2Options, o *Output) {
	switch {
	case t.RateLimit < 0:
		l.fail(s.Errorf("rate_limit", "must not be negative"))
	case t.RatePeriod < 0:
		l.fail(s.Errorf("rate_limit_period", "must not be negative"))
	case t.RateLimit > 0 && t.RatePeriod == 0:
		l.fail(s.Errorf("rate_limit", `says how much, but not in what time; add rate_limit_period, such as "1m"`))
	case t.RateLimit == 0 && t.RatePeriod > 0:
		l.fail(s.Errorf("rate_limit_period", `says in what time, but not how much; add rate_limit, such as "5MB"`))
	}
	o.RateLimit, o.RatePeriod = int64(t.RateLimit), t.RatePeriod.Std()
	if o.RateLimit > 0 { // one batch must not be many periods' worth
		o.BatchBytes = min(o.BatchBytes, max(o.RateLimit, 4<<10))
	}
}

func defaultHTTP() httpOptions {
	return httpOptions{URLs: []string{"http://localhost:8086"}, Timeout: nodefile.Duration(5 * time.Second), ContentEncoding: "gzip"}
}

func (l *loader) http(s *nodefile.Section, t httpOptions, o *Output) {
	l.positive(s, "timeout", t.Timeout)
	if len(t.URLs) == 0 {
		l.fail(s.Errorf("urls", `must name an InfluxDB or a relay, such as ["http://127.0.0.1:8186"]`))
	}
	for _, text := range t.URLs {
		l.checkURL(s, text)
	}
	switch t.ContentEncoding {
	case "gzip", "":
	case "identity":
		o.Identity = true
	default:
		l.fail(s.Errorf("content_encoding", `%q is none; it is "gzip" or "identity"`, t.ContentEncoding))
	}
	o.URLs, o.Timeout, o.UserAgent, o.Headers = t.URLs, t.Timeout.Std(), t.UserAgent, t.Headers
	o.TLS = l.tls(s, t.tlsOptions)
	for _, text := range t.URLs {
		if len(o.TLS.Pins) > 0 && !strings.HasPrefix(text, "https://") {
			l.fail(s.Errorf("urls", "%q has no key that tls_pin could look at; write https://", influx.Redact(text)))
		}
	}
	if t.Proxy != "" {
		u, err := url.Parse(t.Proxy)
		if err != nil || u.Host == "" {
			l.fail(s.Errorf("http_proxy", "%q is not the URL of a proxy; write it as http://proxy:3128", influx.Redact(t.Proxy)))
		}
		o.Proxy = u
	}
	if t.LocalAddress != "" {
		local, err := localAddress(t.LocalAddress)
		if err != nil {
			l.fail(s.Errorf("local_address", "%v; write an address of this machine, such as 192.168.1.20", err))
		}
		o.Local = local
	}
}

// localAddress reads an address or a name, with or without a port.
func localAddress(text string) (*net.TCPAddr, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		host, portText = strings.Trim(text, "[]"), "0"
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is no port", portText)
	}
	ip, err := net.ResolveIPAddr("ip", host)
	if err != nil {
		return nil, err
	}
	if ip.IP == nil {
		return nil, errors.New("it names no address")
	}
	return &net.TCPAddr{IP: ip.IP, Port: int(port), Zone: ip.Zone}, nil
}

func (l *loader) checkURL(s *nodefile.Section, text string) {
	u, err := url.Parse(text)
	shown := influx.Redact(text)
	switch {
	case !strings.Contains(text, "://") && text != "":
		l.fail(s.Errorf("urls", "%q is not a URL; write it as http://%s", shown, shown))
	case err != nil:
		l.fail(s.Errorf("urls", "%q is not a URL", shown))
	case strings.HasPrefix(u.Scheme, "udp"):
		l.fail(s.Errorf("urls", "%q: over UDP nobody knows what was stored, and vitals-agent loses nothing silently; use http:// to the same server", shown))
	case u.Scheme == "unix":
		if u.Host != "" || u.Path == "" {
			l.fail(s.Errorf("urls", "%q names no socket; write it as unix:///path/of/socket", shown))
		}
	case u.Scheme != "http" && u.Scheme != "https":
		l.fail(s.Errorf("urls", "%q does not begin with http://, https:// or unix://, which is all that vitals-agent speaks", shown))
	case u.Host == "":
		l.fail(s.Errorf("urls", "%q names no host", shown))
	}
}
