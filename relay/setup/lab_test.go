package setup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is one that is set up, below a directory.
type machine struct {
	t   *testing.T
	dir string
	// systemd runs here; the relay runs as soon as it is started.
	systemd   bool
	active    map[string]bool
	starts    []string
	refuses   string // to start this unit
	dead      bool   // what is started does not come up
	relayRuns bool
	tokens    []string
	made      int
	noToken   error // why the relay makes none
}

func newMachine(t *testing.T, systemd bool) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), systemd: systemd, active: map[string]bool{}}
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) Manages(context.Context, string) bool       { return m.systemd }
func (m *machine) Active(_ context.Context, unit string) bool { return m.active[unit] }
func (m *machine) Running() bool                              { return m.relayRuns }
func (m *machine) Tokens(context.Context) ([]string, error)   { return m.tokens, nil }
func (m *machine) Token(_ context.Context, node string) (string, error) {
	if m.noToken != nil {
		return "", m.noToken
	}
	m.made++
	id := strings.Repeat("a", m.made)
	m.tokens = []string{id}
	return "vt_" + id + "_secret_of_" + node, nil
}

func (m *machine) Start(_ context.Context, unit string) error {
	if m.refuses == unit {
		return errors.New("systemctl restart: Job failed")
	}
	m.starts = append(m.starts, unit)
	m.active[unit] = true
	m.relayRuns = m.relayRuns || unit == relayUnit && !m.dead
	return nil
}

// freeAddress is one of this machine on which nothing listens, nor will for a
// while: it is not among the ports that Linux gives to whoever asks for any.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address := fmt.Sprintf(":%d", 10_000+rand.IntN(20_000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			l.Close()
			return address
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// run sets the machine up; change may say otherwise than usual.
func (m *machine) run(change func(*Config)) (Done, error) {
	m.t.Helper()
	m.t.Setenv("STATE_DIRECTORY", m.path("state"))
	c := Config{
		NodeFile: m.path("etc/node.toml"), Listen: freeAddress(m.t), Influx: Influx{URL: "none"}, Secrets: m.path("etc/secrets"), Node: "primary",
		Services: m, Relay: m, Patience: 200 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	return Run(m.t.Context(), c)
}

// must sets it up and has nothing go wrong.
func (m *machine) must(change func(*Config)) Done {
	m.t.Helper()
	done, err := m.run(change)
	if err != nil {
		m.t.Fatal(err)
	}
	return done
}

func (m *machine) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(m.path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *machine) file(name, text string, mode fs.FileMode) string {
	m.t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// wantFiles has a list of all files, each with its mode.
func (m *machine) wantFiles(want ...string) {
	m.t.Helper()
	var got []string
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(m.dir, path)
		got = append(got, info.Mode().Perm().String()+" "+name)
		return err
	})
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		m.t.Errorf("%v: files\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// says reports whether a note has a text.
func says(d *Done, text string) bool {
	return slices.ContainsFunc(d.Notes, func(n Note) bool { return strings.Contains(n.What+" "+n.Text+" "+n.Undo, text) })
}
