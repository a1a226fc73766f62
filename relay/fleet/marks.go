package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rpicluster/vitals/internal/durable"
)

// maxMarks bounds the names that are remembered; the oldest go first.
const maxMarks = 1000

// marks remembers what somebody has said of nodes, and when: that they are
// forgotten, so that what is kept of them does not bring them back; or that
// they are retired.
type marks struct {
	path  string               // empty: in memory only
	names map[string]time.Time // by raw name
}

// load reads the file. A damaged one is set aside: at worst nodes come back.
func (m *marks) load() error {
	m.names = map[string]time.Time{}
	if m.path == "" {
		return nil
	}
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &m.names)
	}
	if err != nil {
		m.names = map[string]time.Time{}
		return errors.Join(fmt.Errorf("read %s: %w", m.path, err), os.Rename(m.path, m.path+".damaged"))
	}
	return nil
}

// covers reports whether what arrived then is of before the mark.
func (m *marks) covers(name string, received time.Time) bool {
	at, ok := m.names[name]
	return ok && !received.After(at)
}

// add remembers names durably.
func (m *marks) add(names []string, at time.Time) error {
	for _, name := range names {
		m.names[name] = at
	}
	for len(m.names) > maxMarks {
		oldest := ""
		for name, t := range m.names {
			if oldest == "" || t.Before(m.names[oldest]) {
				oldest = name
			}
		}
		delete(m.names, oldest)
	}
	if m.path == "" {
		return nil
	}
	return durable.WriteJSON(m.path, m.names)
}

// ErrNoNode says that there is no node of a name.
var ErrNoNode = errors.New("there is no node of this name; vitals-relay nodes lists them")

// Forget removes a node until it writes again. What it has written before does
// not bring it back, not even after a restart.
func (v *View) Forget(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	raw := v.rawNames(name)
	if len(raw) == 0 {
		return ErrNoNode
	}
	if err := v.forgotten.add(raw, v.config.Now()); err != nil {
		return fmt.Errorf("remember that %q is forgotten: %w", name, err)
	}
	for _, r := range raw {
		v.remove(r)
	}
	return nil
}

// Retire marks a node as one that was taken out of service: it stays in the
// list, and nobody is told that it is down. It is in service again as soon as
// it writes.
func (v *View) Retire(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	raw := v.rawNames(name)
	if len(raw) == 0 {
		return ErrNoNode
	}
	if err := v.retired.add(raw, v.config.Now()); err != nil {
		return fmt.Errorf("remember that %q is retired: %w", name, err)
	}
	for _, r := range raw {
		v.records[r].retired = true
	}
	return nil
}

// rawNames are the raw names that read as name: one may be escaped in several
// ways.
func (v *View) rawNames(name string) (raw []string) {
	for r := range v.records {
		if unescape(r) == name {
			raw = append(raw, r)
		}
	}
	return raw
}
