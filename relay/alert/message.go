package alert

import (
	"fmt"
	"time"
)

// Message is what a target is told: the JSON of a webhook and of a command's
// standard input.
type Message struct {
	// ID is the same whenever the same is told again.
	ID          string    `json:"id"`
	Status      string    `json:"status"` // "firing", "clear" or "test"
	Alert       string    `json:"alert"`
	Kind        Kind      `json:"kind"`
	Node        string    `json:"node,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Since       time.Time `json:"since"`
	Time        time.Time `json:"time"` // when it began or ended
	Value       *float64  `json:"value,omitempty"`
	Above       float64   `json:"above,omitempty"`
	Title       string    `json:"title"`
	Text        string    `json:"text"`
	Relay       string    `json:"relay"`

	of string // the alert's ID
}

// Firing reports whether trouble begins.
func (m Message) Firing() bool { return m.Status == "firing" }

// message words an alert as it is now.
func (e *Engine) message(a *Alert) Message {
	m := Message{
		ID: a.ID + "-firing", Status: "firing", Alert: a.Name, Kind: a.Kind, Node: a.Node, Destination: a.Destination,
		Since: a.Since, Time: a.Since, Value: a.Value, Above: a.Above, Relay: e.config.Relay, of: a.ID,
	}
	m.Title = fmt.Sprintf("%s: %s", a.subject(), a.Name)
	m.Text = fmt.Sprintf("%s: %s", a.subject(), a.Text)
	if !a.fires() {
		m.ID, m.Status, m.Time = a.ID+"-clear", "clear", a.Cleared
		m.Title += " is over"
		m.Text = fmt.Sprintf("%s: %s is over, after %s", a.subject(), a.Name, a.lasted())
		if a.Unwatched {
			m.Text += ", as it is not watched any more"
		}
	}
	return m
}

// testMessage is one that says that it is none.
func (e *Engine) testMessage(id string) Message {
	now := e.config.Now().Round(0)
	return Message{
		ID: id + "-test", Status: "test", Alert: "test", Since: now, Time: now, Relay: e.config.Relay,
		Title: "vitals: a test", Text: "This is a test of alerts from " + e.config.Relay + ". Nothing is the matter.",
	}
}
