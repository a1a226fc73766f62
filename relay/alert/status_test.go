package alert

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// What asks the relay for its rules can say all of them.
func TestRulesAreTheSameAfterTheirJSON(t *testing.T) {
	hours, err := ParseHours([]string{"Mon-Fri 22:00-06:00", "13:00-14:00"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(r Rule, want string) {
		t.Helper()
		text, err := json.Marshal(RuleStatus{r, r.For.Seconds()})
		if err != nil {
			t.Fatal(err)
		}
		var got RuleStatus
		if err := json.Unmarshal(text, &got); err != nil || got.String() != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
		if len(r.Quiet) > 0 && !strings.Contains(string(text), `"quiet":["Mon-Fri 22:00-06:00","13:00-14:00"]`) {
			t.Errorf("no quiet hours in %s", text)
		}
	}
	f(rule(Down), "down for 2 of its intervals")
	f(rule(Temperature), "temperature above 80 °C for 5m, until below 75 °C")
	f(rule(Backlog), "lines waiting for longer than 10m, until less than 1m")
	f(Rule{Kind: Throttled, For: 90 * time.Second, Subjects: []string{"pi-*"}, Quiet: hours},
		"slowed down by heat or power for 1m30s; of pi-*; not told Mon-Fri 22:00-06:00, 13:00-14:00")
}
