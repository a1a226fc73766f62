package rate

import (
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var m Minute
	for s := range 120 {
		m.Add(start.Add(time.Duration(s)*time.Second), 5)
	}
	if got := m.PerMinute(start.Add(120 * time.Second)); got < 299 || got > 301 {
		t.Errorf("5 a second are %v a minute", got)
	}
	if got := m.PerMinute(start.Add(10 * time.Minute)); got != 0 {
		t.Errorf("after silence: %v", got)
	}
	m.Add(start, 1000) // long ago
	if got := m.PerMinute(start.Add(120 * time.Second)); got < 299 || got > 301 {
		t.Errorf("after an old count: %v", got)
	}
}
