package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestANodeFileByURL runs an agent whose node file is on a server, which changes
// it, breaks it, and goes away.
func TestANodeFileByURL(t *testing.T) {
	m := newMachine(t)
	m.env = append(m.env, "STATE_DIRECTORY="+m.dir+"/state", "TELEGRAF_CONTROLLER_TOKEN=", "INFLUX_TOKEN=canary-token")
	text := func(rack string) string {
		return strings.ReplaceAll("[global_tags]\nrack = \""+rack+"\"\n[agent]\ninterval = \"1s\"\nflush_interval = \"1s\"\nomit_hostname = true\n"+
			"[[inputs.mem]]\n[[outputs.file]]\nfiles = [\"$DIR/lines\"]\n", "$DIR", m.dir)
	}
	var node atomic.Value
	var whole, unchanged atomic.Int64
	node.Store(text("a"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := node.Load().(string)
		etag := fmt.Sprintf(`"%x"`, body[:24])
		if r.Header.Get("Authorization") != "Token canary-token" || r.Header.Get("Accept") != "application/toml" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		whole.Add(1)
		w.Write([]byte(body))
	}))
	defer server.Close()
	url := strings.Replace(server.URL, "http://", "http://u:canary-password@", 1)
	args := []string{"--config", url + "/node", "--config-url-watch-interval", "200ms", "--config-url-retry-attempts", "0"}
	agent := m.start("vitals-agent", args...)
	arrives := func(want string) {
		t.Helper()
		eventually(t, 2*time.Minute, func() string {
			if data, _ := os.ReadFile(filepath.Join(m.dir, "lines")); !strings.Contains(string(data), want) {
				return "no line with " + want
			}
			return ""
		})
	}
	arrives("mem,rack=a ")
	eventually(t, 2*time.Minute, func() string {
		if unchanged.Load() < 3 || whole.Load() > 2 {
			return "a file that is what it was is sent whole again"
		}
		return ""
	})
	node.Store(text("b"))
	arrives("mem,rack=b ")
	node.Store("[global_tags]\nrack = c\n" + text("c"))
	eventually(t, 2*time.Minute, func() string {
		stdout, _, _ := run(t, m.command("vitals-agent", "status"))
		if !strings.Contains(stdout, "/node:2:8: ") || !strings.Contains(stdout, "goes on as it was") || strings.Contains(stdout, "canary") {
			return "status does not tell of the broken file, or tells too much:\n" + stdout
		}
		return ""
	})
	agent.stop()
	server.Close()
	if err := os.Remove(filepath.Join(m.dir, "lines")); err != nil {
		t.Fatal(err)
	}
	again := m.start("vitals-agent", args...)
	arrives("mem,rack=b ") // from the copy
	again.stop()
	log, err := os.ReadFile(again.log)
	if err != nil || !strings.Contains(string(log), "the copy of it that was last in effect is used") || strings.Contains(string(log), "canary") {
		t.Errorf("%s, %v", log, err)
	}
	if err := os.RemoveAll(filepath.Join(m.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := run(t, m.command("vitals-agent", args...)); code != 1 || !strings.Contains(stderr, "connection refused") {
		t.Errorf("without a server and a copy it ends with %d: %s", code, stderr)
	}
}

// TestSignalsWhileTheNodeFileIsFetched sends what would end a program that is
// not prepared for it, before there is anything to reload.
func TestSignalsWhileTheNodeFileIsFetched(t *testing.T) {
	m := newMachine(t)
	m.env = append(m.env, "STATE_DIRECTORY="+m.dir+"/state")
	asked, answer := make(chan struct{}, 9), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		<-answer
		fmt.Fprintf(w, "[agent]\ninterval = \"1s\"\n[[inputs.mem]]\n[[outputs.file]]\nfiles = [%q]\n", m.dir+"/lines")
	}))
	defer server.Close()
	agent := m.start("vitals-agent", "--config", server.URL)
	<-asked
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGHUP} {
		if err := agent.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second) // a program that heeds one of them is gone by now
	close(answer)
	eventually(t, 2*time.Minute, func() string {
		log, _ := os.ReadFile(agent.log)
		lines, _ := os.ReadFile(filepath.Join(m.dir, "lines"))
		if !strings.Contains(string(log), "why=SIGHUP") || !strings.HasPrefix(string(lines), "mem,") {
			return "it was not reloaded, or does not run"
		}
		return ""
	})
	agent.stop()
}
