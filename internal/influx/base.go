package influx

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// base is the address of one server.
type base struct {
	url    url.URL
	socket string // of a server on this machine; its url is then a mere form
	shown  string // without secrets
	http   *http.Client
}

// parseBase reads http://host:8086, https://host/prefix or unix:///path.
func parseBase(raw string) (*base, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("url %q: it cannot be read as one", Redact(raw))
	}
	if u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") {
		return &base{url: url.URL{Scheme: "http", Host: "localhost", User: u.User, RawQuery: u.RawQuery}, socket: u.Path, shown: Redact(raw)}, nil
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("url %q: write it as http://host:8086, https://host:8086 or unix:///path/of/socket", Redact(raw))
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return &base{url: *u, shown: Redact(u.String())}, nil
}

// transport connects to any host, or to a socket of this machine.
func (c *Config) transport(socket string) *http.Transport {
	dialer := &net.Dialer{Timeout: c.Timeout, KeepAlive: 30 * time.Second}
	if c.Local != nil {
		dialer.LocalAddr = c.Local
	}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		Proxy:                  c.Proxy,
		TLSClientConfig:        c.TLS,
		TLSHandshakeTimeout:    c.Timeout,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		WriteBufferSize:        64 << 10,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if socket != "" {
		dialer.LocalAddr, t.Proxy = nil, nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	if c.PingAfter > 0 || c.PingTimeout > 0 {
		t.ForceAttemptHTTP2 = true
		t.HTTP2 = &http.HTTP2Config{SendPingTimeout: c.PingAfter, PingTimeout: c.PingTimeout}
	}
	return t
}

var secrets = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`//[^/@]*@|\?.*$`)
})

// Redact returns a URL, however broken, without what may be secret in it: its
// credentials and its query.
func Redact(url string) string {
	return secrets().ReplaceAllStringFunc(url, func(secret string) string {
		if strings.HasPrefix(secret, "//") {
			return "//***@"
		}
		return "?***"
	})
}
