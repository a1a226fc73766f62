package alert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
)

// Alert is what one rule says of one node or destination, from when it fires
// until everybody has been told that it is over.
type Alert struct {
	ID   string `json:"id"`
	Name string `json:"alert"` // the rule's
	Kind Kind   `json:"kind"`
	// Node or Destination is what it is about.
	Node        string    `json:"node,omitempty"`
	Destination string    `json:"destination,omitempty"`
	Since       time.Time `json:"since"`
	Cleared     time.Time `json:"cleared,omitzero"`
	Value       *float64  `json:"value,omitempty"` // when it fired
	Above       float64   `json:"above,omitempty"`
	Text        string    `json:"text"`

	// Unwatched says that it is over because nobody looks any more, whether or not
	// all is well.
	Unwatched bool `json:"unwatched,omitempty"`

	// Told are the targets that have been told that it fires, and not yet that
	// it is over.
	Told []string `json:"told,omitempty"`
	// Telling are those of whom that is not certain: they were about to be told
	// when something went wrong.
	Telling []string `json:"telling,omitempty"`
	// Silenced says that nobody is told at present.
	Silenced bool `json:"silenced,omitempty"`
}

// subject is what the alert is about.
func (a *Alert) subject() string { return a.Node + a.Destination }

func (a *Alert) fires() bool { return a.Cleared.IsZero() }

// lasted is how long an alert lasted that is over.
func (a *Alert) lasted() time.Duration { return a.Cleared.Sub(a.Since).Round(time.Second) }

// knows reports whether a target has been told that the alert fires, or may
// have been: that it is over must be told in both cases.
func (a *Alert) knows(target string) bool {
	return slices.Contains(a.Told, target) || !a.fires() && slices.Contains(a.Telling, target)
}

// Silence is a node of which nobody is told for a while.
type Silence struct {
	Node  string    `json:"node"`
	Until time.Time `json:"until"`
}

// state is what must outlive the program.
type state struct {
	Alerts   []*Alert  `json:"alerts"`
	Silences []Silence `json:"silences"`
	Pending  pending   `json:"pending"`
}

// key is what a rule says something of.
type key struct{ rule, subject string }

// pending are conditions that have not lasted for long enough, and since when
// they last.
type pending map[key]time.Time

// pendingJSON is one of them in the file.
type pendingJSON struct {
	Alert   string    `json:"alert"`
	Subject string    `json:"of"`
	Since   time.Time `json:"since"`
}

// MarshalJSON writes them as a list.
func (p pending) MarshalJSON() ([]byte, error) {
	list := []pendingJSON{}
	for k, since := range p {
		list = append(list, pendingJSON{k.rule, k.subject, since})
	}
	slices.SortFunc(list, func(a, b pendingJSON) int {
		return cmp.Or(strings.Compare(a.Alert, b.Alert), strings.Compare(a.Subject, b.Subject))
	})
	return json.Marshal(list)
}

// UnmarshalJSON reads that list.
func (p *pending) UnmarshalJSON(data []byte) error {
	var list []pendingJSON
	err := json.Unmarshal(data, &list)
	*p = pending{}
	for _, x := range list {
		(*p)[key{x.Alert, x.Subject}] = x.Since
	}
	return err
}

// tidy drops what everybody has been told of, and silences that are over.
func (s *state) tidy(now time.Time) {
	s.Alerts = slices.DeleteFunc(s.Alerts, func(a *Alert) bool { return !a.fires() && len(a.Told)+len(a.Telling) == 0 })
	s.Silences = slices.DeleteFunc(s.Silences, func(x Silence) bool { return !x.Until.After(now) })
}

func (s *state) silenced(subject string, now time.Time) bool {
	return slices.ContainsFunc(s.Silences, func(x Silence) bool { return x.Node == subject && x.Until.After(now) })
}

// clone is a copy that shares nothing that changes.
func (s *state) clone() []Alert {
	list := make([]Alert, len(s.Alerts))
	for i, a := range s.Alerts {
		list[i] = *a
		list[i].Told, list[i].Telling = slices.Clone(a.Told), slices.Clone(a.Telling)
	}
	return list
}

func (e *Engine) path() string { return filepath.Join(e.config.Directory, "alerts.json") }

// load reads what an earlier run has saved. A damaged file is set aside: at
// worst alerts are told once more.
func (e *Engine) load() error {
	e.state.Pending = pending{}
	data, err := os.ReadFile(e.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &e.state)
	}
	if err != nil {
		e.state = state{Pending: pending{}}
		return errors.Join(fmt.Errorf("read %s: %w", e.path(), err), os.Rename(e.path(), e.path()+".damaged"))
	}
	if e.state.Pending == nil {
		e.state.Pending = pending{}
	}
	e.strike(e.rules)
	return nil
}

// strike takes from the books who is not told any more, and what may not become
// an alert any more: what no rule looks at, or one that was of another kind
// among the rules before. mu is held.
func (e *Engine) strike(before []*Rule) {
	gone := func(name string) bool { return named(e.targets, name) == nil }
	for _, a := range e.state.Alerts {
		a.Told, a.Telling = slices.DeleteFunc(a.Told, gone), slices.DeleteFunc(a.Telling, gone)
	}
	maps.DeleteFunc(e.state.Pending, func(k key, _ time.Time) bool {
		return !slices.ContainsFunc(e.rules, func(r *Rule) bool {
			was := slices.IndexFunc(before, func(b *Rule) bool { return b.Name == r.Name && b.Kind == r.Kind })
			return r.Name == k.rule && was >= 0 && r.covers(k.subject)
		})
	})
}

// save writes the state down. What it says is told only afterwards.
func (e *Engine) save() {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.mu.Lock()
	e.state.tidy(e.config.Now())
	data, err := json.MarshalIndent(&e.state, "", "  ")
	next := e.state.clone()
	e.mu.Unlock()
	if err == nil {
		err = durable.Write(e.path(), func(w io.Writer) error {
			_, err := w.Write(data)
			return err
		})
	}
	if failed := err != nil; failed != e.unsaved {
		if e.unsaved = failed; failed {
			e.config.Logger.Warn("what is told of alerts cannot be noted; after a crash it may be told again", "error", err)
		}
	}
	e.mu.Lock()
	e.saved = next
	e.mu.Unlock()
}
