package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/pin"
)

const (
	askTimeout = 30 * time.Second // one question to the relay
	maxAnswer  = 1 << 20
)

// ErrUnknownToken is what the relay says of a token that it does not know.
var ErrUnknownToken = errors.New("the relay does not know this node's token")

// Relay is asked at its doors for those who join.
type Relay struct {
	base url.URL
	pins pin.Pins
	http *http.Client
}

// Dial checks an address and a pin. It sends nothing.
func Dial(address, pins string) (*Relay, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address of the relay is written as https://10.7.0.1:8186, as vitals-relay invite prints it")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the address of the relay has no user, no password and no query in it: what stands in a command line is seen by everybody on this machine; join asks for the code")
	}
	r := &Relay{base: url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if pins != "" {
		if u.Scheme != "https" {
			return nil, errors.New("--pin is for https://: over http:// no key is shown")
		}
		if r.pins, err = pin.Parse(pins); err != nil {
			return nil, err
		}
		r.pins.Require(config)
	}
	r.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, Proxy: http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: askTimeout, IdleConnTimeout: 10 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return r, nil
}

// String is the relay's address.
func (r *Relay) String() string { return r.base.String() }

// open reports whether others than the relay could answer in its place.
func (r *Relay) open() bool {
	ip := net.ParseIP(r.base.Hostname())
	return r.base.Scheme == "http" && r.base.Hostname() != "localhost" && !ip.IsLoopback()
}

// Pin is what the relay's key has to be; empty: its certificate says it.
func (r *Relay) Pin() string { return r.pins.String() }

// Request is what a machine that joins says of itself.
type Request struct {
	Code    string `json:"code"`
	Node    string `json:"node"`
	Machine string `json:"machine"`
	Version string `json:"version"`
}

// Answer is what it gets.
type Answer struct {
	Node     string            `json:"node"`
	Token    string            `json:"token"`
	TokenID  string            `json:"token_id"`
	Database string            `json:"database"`
	Tags     map[string]string `json:"tags"`
	Interval string            `json:"interval"`
}

var (
	soundToken    = regexp.MustCompile(`^vt_[A-Za-z0-9_]{8,200}$`)
	soundID       = regexp.MustCompile(`^[A-Za-z0-9_-]{0,100}$`)
	soundInterval = regexp.MustCompile(`^[0-9]{1,9}(ms|s|m|h|d)$`)
)

// check refuses what cannot be written into the files of a node.
func (a *Answer) check() error {
	switch {
	case !soundToken.MatchString(a.Token), !soundID.MatchString(a.TokenID):
		return errors.New("what the relay answers has no token in it")
	case a.Node == "" || a.Database == "":
		return errors.New("what the relay answers names no node, or no database")
	case a.Interval == "":
		a.Interval = "10s"
	}
	if !soundInterval.MatchString(a.Interval) {
		return fmt.Errorf("what the relay answers as interval, %.20q, is none", a.Interval)
	}
	texts := slices.Concat([]string{a.Node, a.Database}, slices.Collect(maps.Keys(a.Tags)), slices.Collect(maps.Values(a.Tags)))
	if i := slices.IndexFunc(texts, unfit); i >= 0 {
		return fmt.Errorf("what the relay answers cannot be written into a node file: %.80q; make an invite without it", texts[i])
	}
	return nil
}

// unfit reports whether a node file would make something else of a text, such as
// the value of a variable.
func unfit(text string) bool {
	return strings.Contains(text, "$") || strings.Contains(text, "@{") || !utf8.ValidString(text) ||
		strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Meet asks for what everybody may have. So an address or a key that is wrong is
// found out before anybody is asked for a code.
func (r *Relay) Meet(ctx context.Context) error {
	return r.ask(ctx, http.MethodGet, "/join", "", nil, nil)
}

// Join exchanges an invite's code for a token of this node.
func (r *Relay) Join(ctx context.Context, what Request) (*Answer, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	var a Answer
	if err := r.ask(ctx, http.MethodPost, "/join", "", body, &a); err != nil {
		return nil, err
	}
	return &a, nil
}

// Leave gives the node's token back. That the relay does not know it is as good.
func (r *Relay) Leave(ctx context.Context, token string) error {
	err := r.ask(ctx, http.MethodPost, "/leave", token, nil, nil)
	if errors.Is(err, ErrUnknownToken) {
		return nil
	}
	return err
}

// Probe asks whether a token holds, by writing nothing.
func (r *Relay) Probe(ctx context.Context, database, token string) error {
	return r.ask(ctx, http.MethodPost, "/write?"+url.Values{"db": {database}}.Encode(), token, nil, nil)
}

// ask makes one request and reads its answer into out.
func (r *Relay) ask(ctx context.Context, method, path, token string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.base.String()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return r.unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return r.unreachable(err)
	}
	if resp.StatusCode/100 != 2 {
		return r.refusal(resp, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("what %s answers is not what a relay answers: see whether the address is right", r)
	}
	return nil
}

// refusal words an answer that says no. The relay's own words say what to do.
func (r *Relay) refusal(resp *http.Response, answer []byte) error {
	var said struct{ Error, Code string }
	_ = json.Unmarshal(answer, &said)
	said.Error = legible(strings.TrimSpace(said.Error))
	switch {
	case said.Code == "wrong" && said.Error != "":
		return &refused{said.Error, errCode}
	case said.Code == "slow":
		return fmt.Errorf("%s; wait %s and try again", or(said.Error, "too many wrong codes came from this address"), waitFor(resp.Header.Get("Retry-After")))
	case said.Code != "" && said.Error != "":
		return errors.New(said.Error)
	case resp.StatusCode == http.StatusUnauthorized:
		return ErrUnknownToken
	case resp.StatusCode == http.StatusBadRequest && r.base.Scheme == "http":
		return fmt.Errorf("%s answers %s: if it speaks TLS, write https:// and give its key with --pin, as vitals-relay invite prints it", r, resp.Status)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s has no such door: see whether a vitals-relay answers there, and whether it is as new as this program", r)
	}
	return fmt.Errorf("%s answers %s; try again, and see vitals-relay status there if it goes on", r, resp.Status)
}

// legible is what a relay says, kept from steering the terminal.
func legible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// refused is an answer in the relay's words, and what it comes to.
type refused struct {
	text string
	kind error
}

// Error implements error.
func (e *refused) Error() string { return e.text }

// Unwrap implements errors.Is.
func (e *refused) Unwrap() error { return e.kind }

func waitFor(header string) string {
	if d, err := time.ParseDuration(header + "s"); err == nil && d > 0 {
		return d.String()
	}
	return "a minute"
}

// unreachable words why there is no answer.
func (r *Relay) unreachable(err error) error {
	var mismatch *pin.MismatchError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	switch {
	case errors.As(err, &mismatch):
		return fmt.Errorf("%w. It was sent nothing. vitals-relay invite, on the primary, prints the line with the key that it has", mismatch)
	case errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &invalid):
		return fmt.Errorf("the certificate of %s is not one that this machine trusts (%w): give the relay's key with --pin, as vitals-relay invite prints it", r, err)
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks no TLS: write http://, or turn TLS on there ([relay.tls] own_key = true)", r)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return fmt.Errorf("there is no answer from %s (%s): see whether the relay runs (vitals-relay status there) and whether this machine reaches it, then try again", r, influx.Redact(err.Error()))
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
