package web

import (
	"time"

	"github.com/rpicluster/vitals/relay/alert"
)

// alerts is what the page tells of alerts.
type alerts struct {
	Firing   []firing
	More     int // that fire as well
	Rules    []alert.RuleStatus
	Targets  []alert.TargetStatus
	Silences []silence
}

// firing is an alert that fires.
type firing struct {
	Name, Subject, URL, Text string
	When                     string // for who has no script
	Millis                   int64
	Silenced                 bool
}

type silence struct{ Name, Until string }

// maxFiring is how many the overview shows.
const maxFiring = 6

// alerts returns those that fire, max of them at most; 0: all.
func (h *Handler) alerts(max int) alerts {
	s := h.config.Alerts()
	a := alerts{Rules: s.Rules, Targets: s.Targets}
	for _, f := range s.Firing {
		if max > 0 && len(a.Firing) == max {
			a.More = len(s.Firing) - max
			break
		}
		one := firing{
			Name: f.Name, Subject: f.Node, URL: nodeURL(f.Node), Text: f.Text, Silenced: f.Silenced,
			When: f.Since.Local().Format("2 Jan 15:04"), Millis: f.Since.UnixMilli(),
		}
		if f.Destination != "" {
			one.Subject, one.URL = f.Destination, "/relay"
		}
		a.Firing = append(a.Firing, one)
	}
	for _, x := range s.Silences {
		a.Silences = append(a.Silences, silence{x.Node, until(x.Until, h.config.Now())})
	}
	return a
}

// until is a time as short as it is clear.
func until(t, now time.Time) string {
	if t.Sub(now) < 20*time.Hour {
		return t.Local().Format("15:04")
	}
	return t.Local().Format("2 Jan 15:04")
}
