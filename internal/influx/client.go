// Package influx makes writes to an InfluxDB-compatible endpoint: one attempt
// (Client), what its answer means (Class), and the policy that follows from it
// (Sender, Backoff). The agent and the relay deliver through it alike.
package influx

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// Config says where writes go. The zero values of Version and Timeout mean 1
// and 5 s.
type Config struct {
	// URLs are the base addresses of servers that hold the same data; a write
	// goes to the first that takes it.
	URLs []string
	// Version of the write API: 1 (/write), 2 (/api/v2/write) or 3
	// (/api/v3/write_lp).
	Version int

	// Database and RetentionPolicy, if set, replace those of a batch. Version 3
	// has no retention policies.
	Database, RetentionPolicy string
	Username, Password        string // version 1

	// Bucket, if set, replaces the one that a batch's database and retention
	// policy name: "db/rp", or "db".
	Organization, Bucket string // version 2
	Token                string

	// Consistency is how many nodes of a cluster must have a write (version 1).
	Consistency string

	Timeout   time.Duration // of one request
	UserAgent string
	Headers   map[string]string
	Identity  bool // bodies are sent inflated
	// OneMember: bodies are sent as one gzip member, for servers and proxies that
	// read only the first.
	OneMember bool
	TLS       *tls.Config
	// Unknown says what to do about a server whose certificate is signed by
	// nobody that is known.
	Unknown string
	// Proxy says through which proxy a request goes; nil: through none.
	Proxy func(*http.Request) (*url.URL, error)
	// Local is the address that connections come from; nil: the system's choice.
	Local *net.TCPAddr
	// PingAfter and PingTimeout watch idle connections of HTTP/2; 0: nobody does.
	PingAfter, PingTimeout time.Duration
}

// Target is the key of a batch: what it is written into, and the unit of its
// timestamps ("ns", "us", "ms" or "s"; empty means "ns").
type Target struct {
	Database, RetentionPolicy, Precision string
}

// Client makes single requests. It is safe for concurrent use.
type Client struct {
	config Config
	bases  []*base
	good   atomic.Int32 // index of the base that last took a write
	sent   atomic.Int64 // bytes of bodies
}

// NewClient checks config and makes a client. It sends nothing.
func NewClient(config Config) (*Client, error) {
	if config.Version == 0 {
		config.Version = 1
	}
	if config.Timeout == 0 {
		config.Timeout = 5 * time.Second
	}
	if config.Version < 1 || config.Version > 3 {
		return nil, fmt.Errorf("version %d of the write API is not known; use 1, 2 or 3", config.Version)
	}
	c := &Client{config: config}
	shared := config.transport("")
	for _, raw := range config.URLs {
		b, err := parseBase(raw)
		if err != nil {
			return nil, err
		}
		transport := shared
		if b.socket != "" {
			transport = config.transport(b.socket)
		}
		// A redirected write would arrive as a GET, or at a stranger's.
		b.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		c.bases = append(c.bases, b)
	}
	if len(c.bases) == 0 {
		return nil, errors.New("no url to write to")
	}
	return c, nil
}

// URL is the address that the next write is sent to first, without secrets.
func (c *Client) URL() string { return c.bases[c.good.Load()].shown }

// Sent is how many bytes of bodies were sent, in vain or not.
func (c *Client) Sent() int64 { return c.sent.Load() }

// Close closes idle connections.
func (c *Client) Close() {
	for _, b := range c.bases {
		b.http.CloseIdleConnections()
	}
}

// Write makes one write of a gzip body. It returns nil only if a server has
// answered that every line is stored; any other outcome is a *WriteError. Each
// server is tried once, the one that last took a write first, until one takes
// it or says of the lines that they are at fault.
func (c *Client) Write(ctx context.Context, t Target, body []byte) error {
	body, err := c.encode(body)
	if err != nil {
		return &WriteError{Class: Poison, Message: fmt.Sprintf("not gzip: %v", err), err: err}
	}
	first := int(c.good.Load())
	var failure *WriteError
	for i := range c.bases {
		n := (first + i) % len(c.bases)
		err := c.writeTo(ctx, c.bases[n], t, body)
		if err == nil {
			c.good.Store(int32(n))
			return nil
		}
		// What a server says tells more than that another one is away.
		if failure == nil || failure.Status == 0 || err.aboutLines() {
			failure = err
		}
		if err.aboutLines() || ctx.Err() != nil {
			break
		}
	}
	return failure
}

// encode makes of a gzip body what is sent.
func (c *Client) encode(body []byte) ([]byte, error) {
	switch {
	case c.config.Identity:
		return Gunzip(body)
	case c.config.OneMember:
		return oneMember(body)
	}
	return body, nil
}

// aboutLines reports whether the lines are at fault, as they would be anywhere.
func (e *WriteError) aboutLines() bool {
	switch e.Class {
	case Split, Partial, BadLines, Poison:
		return true
	}
	return false
}

func (c *Client) writeTo(ctx context.Context, at *base, t Target, body []byte) *WriteError {
	path, query := c.address(t)
	c.sent.Add(int64(len(body)))
	resp, answer, err := c.do(ctx, at, path, query, "text/plain; charset=utf-8", body, !c.config.Identity)
	if err != nil {
		return &WriteError{Class: Retry, Message: err.Error(), err: err}
	}
	return classify(resp, answer)
}

// maxAnswer bounds what is read of an answer. A partial write names its bad
// lines, so it may be long.
const maxAnswer = 1 << 20

func (c *Client) do(ctx context.Context, at *base, path string, query url.Values, contentType string, body []byte, gzipped bool) (*http.Response, []byte, error) {
	u := at.url
	u.User, u.Path = nil, at.url.Path+path
	values := at.url.Query()
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
	c.identify(req, at)
	resp, err := at.http.Do(req)
	if err != nil {
		return nil, nil, c.explain(withoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return resp, answer, nil
}

// explain adds what to do to an error that a newcomer meets.
func (c *Client) explain(err error) error {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown && c.config.Unknown != "" {
		return fmt.Errorf("%w; %s", err, c.config.Unknown)
	}
	return err
}

// identify sets the headers that say who writes.
func (c *Client) identify(req *http.Request, at *base) {
	for k, v := range c.config.Headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			req.Host = v
		}
		req.Header.Set(k, v)
	}
	if c.config.UserAgent != "" {
		req.Header.Set("User-Agent", c.config.UserAgent)
	}
	password, _ := at.url.User.Password()
	switch {
	case c.config.Token != "" && c.config.Version == 3:
		req.Header.Set("Authorization", "Bearer "+c.config.Token)
	case c.config.Token != "":
		req.Header.Set("Authorization", "Token "+c.config.Token)
	case c.config.Username != "" || c.config.Password != "":
		req.SetBasicAuth(c.config.Username, c.config.Password)
	case at.url.User != nil:
		req.SetBasicAuth(at.url.User.Username(), password)
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

// Ping asks whether any server answers at all.
func (c *Client) Ping(ctx context.Context) (err error) {
	first := int(c.good.Load())
	for i := range c.bases {
		if err = c.ping(ctx, c.bases[(first+i)%len(c.bases)]); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (c *Client) ping(ctx context.Context, at *base) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	u := at.url
	u.User, u.Path = nil, at.url.Path+"/ping"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	c.identify(req, at)
	resp, err := at.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	return nil
}
