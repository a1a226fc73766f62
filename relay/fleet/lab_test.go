package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// lab is a view with a clock of its own.
type lab struct {
	*View
	t   *testing.T
	now time.Time
}

func newLab(t *testing.T, c Config) *lab {
	t.Helper()
	return newLabAt(t, c, start)
}

func newLabAt(t *testing.T, c Config, at time.Time) *lab {
	t.Helper()
	l := &lab{t: t, now: at}
	c.Now = func() time.Time { return l.now }
	l.View = New(c)
	return l
}

// write applies lines, stamped with the lab's clock, as a write from an address.
func (l *lab) write(address, text string) {
	l.writeAt(address, text, l.now)
}

func (l *lab) writeAt(address, text string, stamp time.Time) {
	lines := strings.ReplaceAll(strings.TrimSpace(text), "\n", fmt.Sprintf(" %d\n", stamp.Unix()))
	lines += fmt.Sprintf(" %d\n", stamp.Unix())
	l.apply(Write{
		Body: []byte(lines), Lines: strings.Count(lines, "\n"), Received: l.now, Unit: time.Second,
		Address: address, Client: "vitals-agent/1.2.0 go1.26", Token: "t1",
	})
}

func (l *lab) pass(d time.Duration) { l.now = l.now.Add(d) }

// node is the node of a name, which there must be.
func (l *lab) node(name string) Node {
	l.t.Helper()
	n, err := l.Node(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// happened are the events so far, as "node kind".
func (l *lab) happened() string {
	var all []string
	list, _ := l.Events(0)
	for _, e := range list {
		all = append(all, e.Node+" "+string(e.Kind))
	}
	return strings.Join(all, ", ")
}
