package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rpicluster/vitals/relay/durable"
)

// maxForgotten bounds the names that are remembered as forgotten; the oldest
// go first.
const maxForgotten = 1000

// forgotten remembers which nodes were forgotten and when, so that what is kept
// of them does not bring them back.
type forgotten struct {
	path  string               // empty: in memory only
	names map[string]time.Time // by raw name
}

// load reads the file. A damaged one is set aside: at worst nodes come back.
func (f *forgotten) load() error {
	f.names = map[string]time.Time{}
	if f.path == "" {
		return nil
	}
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, &f.names)
	}
	if err != nil {
		f.names = map[string]time.Time{}
		return errors.Join(fmt.Errorf("read the forgotten nodes: %w", err), os.Rename(f.path, f.path+".damaged"))
	}
	return nil
}

// has reports whether what arrived then is of before the node was forgotten.
func (f *forgotten) has(name string, received time.Time) bool {
	at, ok := f.names[name]
	return ok && !received.After(at)
}

// add remembers names durably.
func (f *forgotten) add(names []string, at time.Time) error {
	for _, name := range names {
		f.names[name] = at.Round(0)
	}
	for len(f.names) > maxForgotten {
		oldest := ""
		for name, t := range f.names {
			if oldest == "" || t.Before(f.names[oldest]) {
				oldest = name
			}
		}
		delete(f.names, oldest)
	}
	if f.path == "" {
		return nil
	}
	return durable.WriteJSON(f.path, f.names)
}

// ErrNoNode says that there is no node of a name.
var ErrNoNode = errors.New("there is no node of this name; vitals-relay nodes lists them")

// Forget removes a node until it writes again. What it has written before does
// not bring it back, not even after a restart.
func (v *View) Forget(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var raw []string
	for r := range v.records {
		if unescape(r) == name {
			raw = append(raw, r)
		}
	}
	if len(raw) == 0 {
		return ErrNoNode
	}
	if err := v.forgotten.add(raw, v.config.Now()); err != nil {
		return fmt.Errorf("remember that %q is forgotten: %w", name, err)
	}
	for _, r := range raw {
		delete(v.records, r)
	}
	return nil
}
