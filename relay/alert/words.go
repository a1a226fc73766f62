package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// figures are how the figures of each kind are written, after what they are of.
var figures = map[Kind]struct{ what, format string }{
	Temperature: {"temperature", "%.4g °C"},
	RAM:         {"RAM", "%.4g %%"},
	Swap:        {"swap", "%.4g %%"},
	Disk:        {"fullest file system", "%.4g %%"},
}

// conditions are what each other kind is about.
var conditions = map[Kind]string{
	Down: "down", Throttled: "slowed down by heat or power", Rebooted: "started again",
	Conflict: "two machines under one name", Held: "refuses writes until somebody acts",
}

// String says when the rule's alert fires, for people.
func (r Rule) String() string {
	text, over := conditions[r.Kind], ""
	switch f, measured := figures[r.Kind]; {
	case measured:
		text = fmt.Sprintf("%s above "+f.format, f.what, r.Above)
		over = fmt.Sprintf(", until below "+f.format, r.ClearBelow)
	case r.Kind == Backlog:
		text = "lines waiting for longer than " + seconds(r.Above)
		over = ", until less than " + seconds(r.ClearBelow)
	}
	switch {
	case r.Intervals > 0:
		text += fmt.Sprintf(" for %g of its intervals", r.Intervals)
	case r.For > 0:
		text += " for " + short(r.For)
	}
	text += over
	if len(r.Subjects) > 0 {
		text += "; of " + strings.Join(r.Subjects, ", ")
	}
	if len(r.Quiet) > 0 {
		text += "; not told " + r.Quiet.String()
	}
	return text
}

// maxText bounds what an alert says: what a destination answers may be a page,
// and who is told refuses what is too long.
const maxText = 500

// brief is a text on one line, of some n bytes at most.
func brief(text string, n int) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return strings.TrimSpace(text[:n]) + "…"
}

// String is the hours as they were written.
func (h Hours) String() string {
	var texts []string
	for _, s := range h {
		texts = append(texts, s.text)
	}
	return strings.Join(texts, ", ")
}

func seconds(n float64) string { return short(time.Duration(n * float64(time.Second))) }

// short is a duration without the zeros at its end.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
