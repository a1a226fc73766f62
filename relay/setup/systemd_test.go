package setup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A systemctl that is played: what it is asked is written down.
const fakeSystemctl = `#!/bin/sh
echo "$*" >>"$DID"
case "$*" in
"is-active running" | "enable running" | "restart running" | "cat running") ;;
*) echo "Unit $2 could not be found." >&2; exit 4 ;;
esac
`

func TestSystemd(t *testing.T) {
	dir := t.TempDir()
	did := filepath.Join(dir, "did")
	if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fakeSystemctl), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DID", did)
	s := Systemd{}
	if !s.Active(t.Context(), "running") || s.Active(t.Context(), "absent") {
		t.Error("which one runs is mistaken")
	}
	if err := s.Start(t.Context(), "running"); err != nil {
		t.Error(err)
	}
	if err := s.Start(t.Context(), "absent"); err == nil || !strings.Contains(err.Error(), "systemctl enable absent") || !strings.Contains(err.Error(), "could not be found") {
		t.Error(err)
	}
	text, err := os.ReadFile(did)
	if want := "is-active running\nis-active absent\nenable running\nrestart running\nenable absent\n"; err != nil || string(text) != want {
		t.Errorf("%v: %s", err, text)
	}
	_, here := os.Stat("/run/systemd/system")
	if s.Manages(t.Context(), "running") != (here == nil) {
		t.Error("whether systemd runs this machine is mistaken")
	}
}
