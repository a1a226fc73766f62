package setup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Whoever has taken over the relay's user lays links in the relay's directory,
// and waits for root to write through them.
func TestALinkOfTheRelaysUserLeadsNowhere(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else has anything to lose there
	}
	const stranger = 65533
	for _, name := range []string{"tls", "secrets"} {
		m := newMachine(t, true)
		state, roots := m.path("state"), m.path("cron.daily")
		if err := errors.Join(os.Chmod(filepath.Dir(m.dir), 0o755), os.Mkdir(state, 0o750), os.Mkdir(roots, 0o755),
			os.Symlink(roots, filepath.Join(state, name)), os.Chown(state, stranger, stranger)); err != nil {
			t.Fatal(err)
		}
		password := m.file("password", "hunter2\n", 0o600)
		_, err := m.run(func(c *Config) {
			c.Influx = Influx{URL: scripted(t, "v2.7.11", 204, nil), Organization: "o", Bucket: "b", TokenFile: password}
		})
		if err == nil {
			t.Errorf("%s: it goes on", name)
		}
		if planted, err := os.ReadDir(roots); len(planted) > 0 || err != nil {
			t.Errorf("%s: root has written %v (%v)", name, planted, err)
		}
	}
}
