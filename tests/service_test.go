package tests

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// systemd stands at the other end of its socket, and remembers what it is told.
type systemd struct {
	mu   sync.Mutex
	told []string
}

func newSystemd(t *testing.T, m *machine) *systemd {
	t.Helper()
	path := filepath.Join(m.dir, "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	m.env = append(m.env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=1000000")
	s := &systemd{}
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.told = append(s.told, string(buf[:n]))
			s.mu.Unlock()
		}
	}()
	return s
}

// count is how often something that begins so was told.
func (s *systemd) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.told {
		if strings.HasPrefix(one, what) {
			n++
		}
	}
	return n
}

// eventually waits until something was told n times at least.
func (s *systemd) eventually(t *testing.T, what string, n int) {
	t.Helper()
	eventually(t, 2*time.Minute, func() string {
		if got := s.count(what); got < n {
			return fmt.Sprintf("%s was told %d times, want %d", what, got, n)
		}
		return ""
	})
}

func TestSystemdIsTold(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := newSystemd(t, m)
	config := m.file("node.toml", `
[agent]
  interval = "1s"
  buffer_directory = "$DIR/buffer"
[[inputs.cpu]]
[[outputs.file]]
  files = ["$DIR/lines"]
`)
	agent := m.start("vitals-agent", "--config", config)
	s.eventually(t, "READY=1", 1)
	s.eventually(t, "WATCHDOG=1", 4)
	if stdout, stderr, code := run(t, m.command("vitals-agent", "reload")); code != 0 {
		t.Fatal(stdout, stderr)
	}
	s.eventually(t, "RELOADING=1\nMONOTONIC_USEC=", 1)
	s.eventually(t, "READY=1", 2)
	agent.stop()
	s.eventually(t, "STOPPING=1", 1)
}

func TestSystemdIsToldByTheRelay(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	s := newSystemd(t, m)
	config := m.file("node.toml", fmt.Sprintf("[relay]\nlisten = \"127.0.0.1:%d\"\ndata_directory = \"$DIR/relay\"\n", freePort(t)))
	relay := m.start("vitals-relay", "--config", config)
	s.eventually(t, "READY=1", 1)
	s.eventually(t, "WATCHDOG=1", 4)
	relay.stop()
	s.eventually(t, "STOPPING=1", 1)
}
