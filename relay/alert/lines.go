package alert

import (
	"context"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/relay/fleet"
)

// Lines writes messages as lines of the measurement vitals_alert. The same
// message always makes the same line.
type Lines struct {
	// Write makes lines durable: n of them.
	Write func(ctx context.Context, lines []byte, n int) error
}

var _ Sender = Lines{}

// Send writes all messages together.
func (l Lines) Send(ctx context.Context, messages []Message) error {
	var b []byte
	for i := range messages {
		b = appendLine(b, &messages[i])
	}
	return l.Write(ctx, b, len(messages))
}

func appendLine(b []byte, m *Message) []byte {
	b = append(b, fleet.AlertMeasurement+",alert="+tagValue(m.Alert)...)
	if m.Kind != "" { // a test is of none
		b = append(b, ",kind="+tagValue(string(m.Kind))...)
	}
	if m.Destination != "" {
		b = append(b, ",destination="+tagValue(m.Destination)...)
	}
	if m.Node != "" {
		b = append(b, ",host="+tagValue(m.Node)...)
	}
	b = append(b, " firing="...)
	if m.Firing() {
		b = append(b, "1i"...)
	} else {
		b = append(b, "0i"...)
	}
	b = append(b, `,text="`+strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(m.Text)+`"`...)
	if m.Value != nil {
		b = strconv.AppendFloat(append(b, ",value="...), *m.Value, 'f', -1, 64)
	}
	b = append(b, ' ')
	return append(strconv.AppendInt(b, m.Time.UnixNano(), 10), '\n')
}

// tagValue escapes what may stand in a tag. A backslash at its end would take
// what follows with it.
func tagValue(text string) string {
	text = strings.TrimRight(strings.ReplaceAll(text, "\n", " "), `\`)
	return strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `).Replace(text)
}
