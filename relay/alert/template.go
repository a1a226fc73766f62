package alert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"text/template"
	"time"
)

// renderer makes the body and the headers of a message.
type renderer func(m Message) ([]byte, http.Header, error)

// Templates are the ready ones.
func Templates() []string { return []string{"json", "ntfy", "telegram"} }

// newRenderer finds the template that is asked for.
func newRenderer(c *WebhookConfig) (renderer, error) {
	switch {
	case c.Body != "":
		return newOwn(c.Body, c.ContentType)
	case c.Template == "ntfy":
		return renderNtfy, nil
	case c.Template == "telegram":
		return func(m Message) ([]byte, http.Header, error) {
			return asJSON(map[string]any{"chat_id": c.ChatID, "text": mark(m) + " " + m.Text, "disable_web_page_preview": true})
		}, nil
	case c.Template == "json", c.Template == "":
		return func(m Message) ([]byte, http.Header, error) { return asJSON(m) }, nil
	}
	return nil, fmt.Errorf("there is no template %q; there are %v", c.Template, Templates())
}

func asJSON(v any) ([]byte, http.Header, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), http.Header{"Content-Type": {"application/json"}}, err
}

// renderNtfy makes what ntfy publishes: the text, and the rest in headers.
func renderNtfy(m Message) ([]byte, http.Header, error) {
	priority, tag := "default", "white_check_mark"
	switch m.Status {
	case "firing":
		priority, tag = "high", "warning"
	case "test":
		tag = "test_tube"
	}
	return []byte(m.Text), http.Header{
		"Content-Type": {"text/plain; charset=utf-8"}, "Title": {mime.QEncoding.Encode("utf-8", m.Title)}, "Priority": {priority}, "Tags": {tag},
	}, nil
}

// mark is a message's state at a glance.
func mark(m Message) string {
	switch m.Status {
	case "firing":
		return "🔴"
	case "clear":
		return "🟢"
	}
	return "🔵"
}

// newOwn reads a template that the node file has, and tries it.
func newOwn(text, contentType string) (renderer, error) {
	t, err := template.New("body").Option("missingkey=error").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		b, err := json.Marshal(v)
		return string(b), err
	}}).Parse(text)
	if err != nil {
		return nil, err
	}
	if contentType == "" {
		contentType = "application/json"
	}
	render := func(m Message) ([]byte, http.Header, error) {
		var b bytes.Buffer
		err := t.Execute(&b, m)
		return b.Bytes(), http.Header{"Content-Type": {contentType}}, err
	}
	value := 81.5
	_, _, err = render(Message{ID: "x-firing", Status: "firing", Kind: Temperature, Alert: "hot", Node: "pi-1", Value: &value, Time: time.Unix(0, 0)})
	return render, err
}
