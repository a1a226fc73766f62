// Package query passes queries on to an InfluxDB 1.x, for those who read where
// they write.
package query

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says where queries go. URL is required.
type Config struct {
	URL string
	// Username and Password, or Token, are shown to the server in place of what
	// the client shows, unless ForwardCredentials passes that on.
	Username, Password, Token string
	ForwardCredentials        bool
	Timeout                   time.Duration // of a whole answer
	MaxConcurrent             int
	MaxAnswer                 int64 // bytes; what is longer breaks off
	Headers                   map[string]string
	TLS                       *tls.Config
}

// Why a query has no answer. The messages are for whoever asked.
var (
	ErrBusy        = errors.New("too many queries at once, ask again later")
	ErrUnreachable = errors.New("the server that answers queries cannot be reached")
	ErrRefused     = errors.New("the server that answers queries refuses the relay's credentials; see [relay.query]")
	ErrRedirect    = errors.New("the server that answers queries is elsewhere; mend query_url below [relay]")
)

// answerTime is what an answer that there is none may take to reach a client.
const answerTime = 30 * time.Second

// Proxy passes queries on.
type Proxy struct {
	config    Config
	transport *http.Transport
	slots     chan struct{}
}

// New makes a proxy.
func New(c Config) *Proxy {
	return &Proxy{
		config: c, slots: make(chan struct{}, c.MaxConcurrent),
		transport: &http.Transport{
			TLSClientConfig: c.TLS, DisableCompression: true, // what the client accepts is the client's to inflate
			MaxIdleConnsPerHost: c.MaxConcurrent, MaxConnsPerHost: c.MaxConcurrent, IdleConnTimeout: time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// Close gives up connections that are not in use.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// What is passed on of a request and of an answer; all else stays here.
var (
	asked    = []string{"Accept", "Accept-Encoding", "User-Agent"}
	answered = []string{"Content-Type", "Content-Encoding", "X-Influxdb-Error", "Retry-After"}
)

// Pass asks the server what r asks, whose form has been parsed, and answers what
// it answers, as it comes. With an error nothing is answered yet.
func (p *Proxy) Pass(w http.ResponseWriter, r *http.Request) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return ErrBusy
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.config.Timeout)
	defer cancel()
	// An answer that is not ours may take longer than one that is.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(p.config.Timeout + answerTime))
	req, err := p.request(ctx, r)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	resp, err := p.transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer resp.Body.Close()
	switch refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden; {
	case resp.StatusCode/100 == 3:
		return ErrRedirect
	case refused && !p.config.ForwardCredentials:
		return ErrRefused
	}
	header := w.Header()
	for _, name := range answered {
		header.Del(name)
		if v := resp.Header[name]; len(v) > 0 {
			header[name] = v
		}
	}
	if resp.ContentLength >= 0 && resp.ContentLength <= p.config.MaxAnswer {
		header.Set("Content-Length", fmt.Sprint(resp.ContentLength))
	}
	w.WriteHeader(resp.StatusCode)
	p.copy(w, resp.Body)
	return nil
}

// request is what the server is asked: made anew, so that nothing of the client
// reaches it that is not meant to.
func (p *Proxy) request(ctx context.Context, r *http.Request) (*http.Request, error) {
	// Some parameters count only in the address, so each stays where it is. But of
	// several texts the server may choose another than the one that was looked at.
	inURL, inBody, text := r.URL.Query(), url.Values{}, r.FormValue("q")
	method := http.MethodGet
	if r.Method == http.MethodGet {
		inURL.Set("q", text)
	} else {
		method = http.MethodPost
		maps.Copy(inBody, r.PostForm)
		inURL.Del("q")
		inBody.Set("q", text)
	}
	target, body := strings.TrimSuffix(p.config.URL, "/")+"/query?"+p.meant(inURL), p.meant(inBody)
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "vitals-relay")
	for _, name := range asked {
		if v := r.Header[name]; len(v) > 0 {
			req.Header[name] = slices.Clone(v)
		}
	}
	for name, v := range p.config.Headers {
		req.Header.Set(name, v)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch v := r.Header["Authorization"]; {
	case p.config.ForwardCredentials && len(v) > 0:
		req.Header["Authorization"] = v[:1]
	case p.config.ForwardCredentials:
	case p.config.Token != "":
		req.Header.Set("Authorization", "Token "+p.config.Token)
	case p.config.Username != "":
		req.SetBasicAuth(p.config.Username, p.config.Password)
	}
	return req, nil
}

// meant is what of parameters is meant for the server.
func (p *Proxy) meant(params url.Values) string {
	params = maps.Clone(params)
	if !p.config.ForwardCredentials {
		params.Del("u")
		params.Del("p")
	}
	return params.Encode()
}

// copy answers as the server does, piece by piece: with chunked=true whoever asks
// waits for each. What breaks off is broken off here, too: a client must not take
// it for the whole.
func (p *Proxy) copy(w http.ResponseWriter, body io.Reader) {
	rc, buffer, left := http.NewResponseController(w), make([]byte, 32<<10), p.config.MaxAnswer
	for {
		n, err := body.Read(buffer)
		if left -= int64(n); left < 0 {
			panic(http.ErrAbortHandler)
		}
		rc.SetWriteDeadline(time.Now().Add(p.config.Timeout))
		if n > 0 {
			if _, failed := w.Write(buffer[:n]); failed != nil {
				return // nobody listens any more
			}
			rc.Flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}
