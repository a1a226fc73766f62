// Package influx makes writes to an InfluxDB-compatible endpoint: one attempt
// (Client), what its answer means (Class), and the policy that follows from it
// (Sender, Backoff). The agent and the relay deliver through it alike.
package influx

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"
)

// Config says where writes go. The zero values of Version and Timeout mean 1
// and 5 s.
type Config struct {
	// URLs are the base addresses of servers that hold the same data; a write
	// goes to the first that takes it.
	URLs []string
	// Version of the write API: 1 (/write) or 2 (/api/v2/write).
	Version int

	// Database and RetentionPolicy, if set, replace those of a batch.
	Database, RetentionPolicy string
	Username, Password        string // version 1

	// Bucket, if set, replaces the one that a batch's database and retention
	// policy name: "db/rp", or "db".
	Organization, Bucket string
	Token                string

	Timeout   time.Duration // of one request
	UserAgent string
	Headers   map[string]string
	TLS       *tls.Config
}

// Target is the key of a batch: what it is written into, and the unit of its
// timestamps ("ns", "us", "ms" or "s"; empty means "ns").
type Target struct {
	Database, RetentionPolicy, Precision string
}

// Client makes single requests. It is safe for concurrent use.
type Client struct {
	config Config
	bases  []*url.URL
	http   *http.Client
	good   atomic.Int32 // index of the base that last took a write
}

// NewClient checks config and makes a client. It sends nothing.
func NewClient(config Config) (*Client, error) {
	if config.Version == 0 {
		config.Version = 1
	}
	if config.Timeout == 0 {
		config.Timeout = 5 * time.Second
	}
	if config.Version != 1 && config.Version != 2 {
		return nil, fmt.Errorf("version %d of the write API is not known; use 1 or 2", config.Version)
	}
	c := &Client{config: config}
	for _, raw := range config.URLs {
		u, err := parseBase(raw)
		if err != nil {
			return nil, err
		}
		c.bases = append(c.bases, u)
	}
	if len(c.bases) == 0 {
		return nil, errors.New("no url to write to")
	}
	c.http = &http.Client{
		// A redirected write would arrive as a GET, or at a stranger's.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: config.Timeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        config.TLS,
			TLSHandshakeTimeout:    config.Timeout,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        90 * time.Second,
			DisableCompression:     true,
			WriteBufferSize:        64 << 10,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
	return c, nil
}

func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("url %q: it cannot be read as one", Redact(raw))
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("url %q: write it as http://host:8086 or https://host:8086", Redact(raw))
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// URL is the address that the next write is sent to first, without secrets.
func (c *Client) URL() string { return Redact(c.bases[c.good.Load()].String()) }

var secrets = regexp.MustCompile(`//[^/@]*@|\?.*$`)

// Redact returns a URL, however broken, without what may be secret in it: its
// credentials and its query.
func Redact(url string) string {
	return secrets.ReplaceAllStringFunc(url, func(secret string) string {
		if strings.HasPrefix(secret, "//") {
			return "//***@"
		}
		return "?***"
	})
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Write makes one write of a gzip body. It returns nil only if a server has
// answered that every line is stored; any other outcome is a *WriteError.
func (c *Client) Write(ctx context.Context, t Target, body []byte) error {
	first := int(c.good.Load())
	var failure *WriteError
	for i := range c.bases {
		n := (first + i) % len(c.bases)
		err := c.writeTo(ctx, c.bases[n], t, body)
		if err == nil {
			c.good.Store(int32(n))
			return nil
		}
		failure = err
		if failure.Class != Retry && failure.Class != Wait || ctx.Err() != nil {
			break
		}
	}
	return failure
}

func (c *Client) writeTo(ctx context.Context, base *url.URL, t Target, body []byte) *WriteError {
	path, query := "/write", c.v1Query(t)
	if c.config.Version == 2 {
		path, query = "/api/v2/write", c.v2Query(t)
	}
	resp, answer, err := c.do(ctx, base, path, query, "text/plain; charset=utf-8", body, true)
	if err != nil {
		return &WriteError{Class: Retry, Message: err.Error(), err: err}
	}
	return classify(resp, answer)
}

func (c *Client) v1Query(t Target) url.Values {
	q := url.Values{"db": {or(c.config.Database, t.Database)}}
	// A retention policy belongs to its database: one of the batch's means
	// nothing in another database.
	rp := c.config.RetentionPolicy
	if rp == "" && c.config.Database == "" {
		rp = t.RetentionPolicy
	}
	if rp != "" {
		q.Set("rp", rp)
	}
	switch t.Precision {
	case "", "ns":
	case "us":
		q.Set("precision", "u") // 1.x takes "us" for an error and writes nanoseconds
	default:
		q.Set("precision", t.Precision)
	}
	return q
}

func (c *Client) v2Query(t Target) url.Values {
	bucket := c.config.Bucket
	if bucket == "" {
		bucket = t.Database
		if t.RetentionPolicy != "" {
			bucket += "/" + t.RetentionPolicy
		}
	}
	q := url.Values{"bucket": {bucket}, "precision": {or(t.Precision, "ns")}}
	if c.config.Organization != "" {
		q.Set("org", c.config.Organization)
	}
	return q
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maxAnswer bounds what is read of an answer. A partial write names its bad
// lines, so it may be long.
const maxAnswer = 1 << 20

func (c *Client) do(ctx context.Context, base *url.URL, path string, query url.Values, contentType string, body []byte, gzipped bool) (*http.Response, []byte, error) {
	u := *base
	u.User, u.Path = nil, base.Path+path
	values := base.Query()
	for k, v := range query {
		values[k] = v
	}
	u.RawQuery = values.Encode()
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if gzipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	c.identify(req, base)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, withoutURL(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp, answer, nil
}

// identify sets the headers that say who writes.
func (c *Client) identify(req *http.Request, base *url.URL) {
	for k, v := range c.config.Headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	if c.config.UserAgent != "" {
		req.Header.Set("User-Agent", c.config.UserAgent)
	}
	password, _ := base.User.Password()
	switch {
	case c.config.Token != "":
		req.Header.Set("Authorization", "Token "+c.config.Token)
	case c.config.Username != "" || c.config.Password != "":
		req.SetBasicAuth(c.config.Username, c.config.Password)
	case base.User != nil:
		req.SetBasicAuth(base.User.Username(), password)
	}
}

// withoutURL drops the URL that net/http puts before each error: with its
// query it says more than a log line should hold.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return fmt.Errorf("no answer in time: %w", u.Err)
		}
		return u.Err
	}
	return err
}

// Ping asks whether a server answers at all.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	base := c.bases[c.good.Load()]
	u := *base
	u.User, u.Path = nil, base.Path+"/ping"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	c.identify(req, base)
	resp, err := c.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}
