package alert

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
)

// WebhookConfig says where messages are posted to, and in which form.
type WebhookConfig struct {
	// URL may be empty for Telegram, whose address is known.
	URL      string
	Template string // "json", "ntfy" or "telegram"
	// Body takes the place of a ready template.
	Body        string
	ContentType string // default application/json
	Headers     map[string]string
	// Token is sent as Authorization: Bearer, or as Telegram wants it.
	Token     string
	ChatID    string
	Timeout   time.Duration
	UserAgent string
}

// Webhook posts messages.
type Webhook struct {
	config  WebhookConfig
	url     string
	render  renderer
	client  *http.Client
	secrets []string // never in an error
}

var _ Sender = (*Webhook)(nil)

// IDHeader is the same whenever the same message is sent again.
const IDHeader = "Idempotency-Key"

const telegram = "https://api.telegram.org"

// NewWebhook makes a webhook, after trying its template.
func NewWebhook(c WebhookConfig) (*Webhook, error) {
	w := &Webhook{config: c, url: c.URL, client: &http.Client{
		Timeout: c.Timeout,
		// Elsewhere the answer may be yes to everything, and the headers are secret.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
	}}
	if c.Template == "telegram" {
		w.url = strings.TrimSuffix(cmp.Or(c.URL, telegram), "/") + "/bot" + c.Token + "/sendMessage"
	}
	var err error
	if w.render, err = newRenderer(&c); err != nil {
		return nil, err
	}
	for _, secret := range c.Headers {
		w.hide(secret)
	}
	w.hide(c.Token)
	if u, err := url.Parse(c.URL); err == nil {
		w.hide(u.RawQuery)
		w.hide(strings.Trim(u.Path, "/"))
	}
	return w, nil
}

func (w *Webhook) hide(secret string) {
	if len(secret) >= 4 {
		w.secrets = append(w.secrets, secret)
	}
}

// scrub takes secrets out of a text.
func (w *Webhook) scrub(text string) string {
	for _, s := range w.secrets {
		text = strings.ReplaceAll(text, s, "…")
	}
	return text
}

// Send posts one message.
func (w *Webhook) Send(ctx context.Context, messages []Message) error {
	m := messages[0]
	body, header, err := w.render(m)
	if err != nil {
		return Refused{err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the address cannot be used") // it may be secret
	}
	req.Header = header
	req.Header.Set(IDHeader, m.ID)
	req.Header.Set("User-Agent", w.config.UserAgent)
	if w.config.Token != "" && w.config.Template != "telegram" {
		req.Header.Set("Authorization", "Bearer "+w.config.Token)
	}
	for key, value := range w.config.Headers {
		req.Header.Set(key, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return w.failure(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return w.judge(resp, string(text))
}

// failure is why there was no answer, without the address.
func (w *Webhook) failure(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	text := errors.New(w.scrub(err.Error()))
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return text // it was not even asked
	}
	return Unsure{text}
}

// judge says whether an answer means that the message was taken.
func (w *Webhook) judge(resp *http.Response, body string) error {
	status := resp.StatusCode
	if status/100 == 2 {
		return nil
	}
	text := strings.TrimSpace(fmt.Sprintf("it answers %d %s", status, brief(w.scrub(body), 200)))
	switch {
	case status/100 == 3:
		return fmt.Errorf("it answers %d and wants to be asked elsewhere; write its final address", status)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return Later{influx.RetryAfter(resp), errors.New(text)}
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return Refused{text}
	case status >= 500:
		return Unsure{errors.New(text)}
	}
	return errors.New(text)
}
