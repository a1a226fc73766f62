package main

import (
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rpicluster/vitals/relay/fleet"
)

func TestRefusedLinesRaiseAnAlarm(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	db.refuses = true
	config := nodeFile(t, dir, map[string]string{"influxdb": db.URL})
	p := start(t, config)
	p.write("m,host=a v=1 1\nm,host=a v=2 2\n")
	p.eventually("refused", func() bool {
		return p.status().Destinations[0].RejectedLines == 2 && p.status().Destinations[0].Writes == 1
	})
	if d := p.status().Destinations[0]; d.Lines != 0 || d.State != "ok" || !d.LastDelivery.IsZero() {
		t.Errorf("of a write that was refused whole: %+v", d)
	}
	set := filepath.Join(dir, "relay", "rejected", "influxdb")
	out, err := command(t, "status")
	if err != nil || !strings.Contains(out, "ALARM: influxdb: 2 lines that it refused for good, set aside in "+set) || !strings.Contains(out, "the last reason: partial write: field type conflict: no such type") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, config)
	if alarms := p.status().Alarms; len(alarms) != 1 || !strings.Contains(alarms[0], "lines that it refused in an earlier run, set aside in "+set) {
		t.Errorf("after a restart: %q", alarms)
	}
	if err := os.RemoveAll(set); err != nil {
		t.Fatal(err)
	}
	if alarms := p.status().Alarms; len(alarms) != 0 {
		t.Errorf("after the files were taken away: %q", alarms)
	}
}

// A script that asks for the status finds out that nobody can write.
func TestStatusOfARelayThatTakesNothing(t *testing.T) {
	config := nodeFile(t, t.TempDir(), nil)
	appendTo(t, config, "[relay.auth]\nmode = \"required\"\n")
	start(t, config)
	out, err := command(t, "status")
	if exitCode(err) != 1 || !strings.Contains(out, "\nwrites     are refused: no token is known yet") || !strings.Contains(out, "\npage       http://127.0.0.1:") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := command(t, "token", "create", "--node", "a"); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "status"); err != nil || strings.Contains(out, "refused: no token") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheLogIsNotFilledWithRefusedLines(t *testing.T) {
	db := newInflux(t)
	db.refuses = true
	p := start(t, nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL}))
	for n := range int64(5) {
		p.write(fmt.Sprintf("m,host=a v=1 %d\n", n+1))
		p.eventually("refused", func() bool { return p.status().Destinations[0].RejectedLines == n+1 })
	}
	if n := strings.Count(p.stderr.String(), "they are set aside"); n != 1 {
		t.Errorf("the log says so %d times:\n%s", n, p.stderr)
	}
}

func TestARelayThatIsItsOwnDestinationDoesNotLoop(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		var self atomic.Pointer[url.URL]
		proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(self.Load()) }})
		t.Cleanup(proxy.Close)
		config := nodeFile(t, t.TempDir(), map[string]string{"self": proxy.URL})
		text := append(must(os.ReadFile(config)), "version = "+version+"\n[relay.provision]\nenabled = false\n"...)
		if err := os.WriteFile(config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, config)
		address, err := url.Parse(p.url)
		if err != nil {
			t.Fatal(err)
		}
		self.Store(address)
		p.write("m,host=a v=1 1\n")
		p.eventually("held", func() bool { return p.status().Destinations[0].State == "held" })
		s := p.status()
		if s.Ingest.Lines != 1 || len(s.Alarms) != 1 || !strings.Contains(s.Alarms[0], "self refuses writes until somebody acts: 508 Loop Detected") || !strings.Contains(s.Alarms[0], "this destination's url is the relay itself") {
			t.Errorf("version %s: %d lines, alarms %q", version, s.Ingest.Lines, s.Alarms)
		}
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForgettingADestination(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	db.set(true)
	p := start(t, nodeFile(t, dir, map[string]string{"old": db.URL}))
	p.write("m,host=a v=1 1\n")
	if _, err := command(t, "destinations", "forget", "old"); err == nil || !strings.Contains(err.Error(), "is configured") {
		t.Errorf("a configured destination: %v", err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, nodeFile(t, dir, nil))
	if alarms := p.status().Alarms; len(alarms) != 1 || !strings.Contains(alarms[0], "backlog of 1 line (") || !strings.Contains(alarms[0], "vitals-relay destinations forget old") {
		t.Errorf("alarms: %q", alarms)
	}
	if _, err := command(t, "destinations", "forget", "other"); err == nil || !strings.HasPrefix(err.Error(), `there is no destination "other"`) || !strings.Contains(err.Error(), `["old"]`) {
		t.Errorf("an unknown destination: %v", err)
	}
	if out, err := command(t, "destinations", "forget", "old"); err != nil || out != "old is forgotten\n" {
		t.Errorf("%q, %v", out, err)
	}
	if alarms := p.status().Alarms; len(alarms) != 0 {
		t.Errorf("alarms: %q", alarms)
	}
}

func TestARenamedDestinationWithNothingWaitingIsForgotten(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	p := start(t, nodeFile(t, dir, map[string]string{"old": db.URL}))
	p.write("m,host=a v=1 1\n")
	p.eventually("nothing waits", func() bool {
		return p.status().Destinations[0].Lines == 1 && p.status().Destinations[0].Backlog.Bytes == 0
	})
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, nodeFile(t, dir, map[string]string{"new": db.URL}))
	if alarms := p.status().Alarms; len(alarms) != 0 {
		t.Errorf("alarms: %q", alarms)
	}
}

func TestABacklogOfAnUnconfiguredDestinationIsKept(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	db.set(true)
	with, without := map[string]string{"old": db.URL}, map[string]string(nil)
	p := start(t, nodeFile(t, dir, with))
	p.write("m,host=a v=1 1\n")
	for range 2 { // what is left is still known after a second stop
		if err := p.stop(); err != nil {
			t.Fatal(err)
		}
		p = start(t, nodeFile(t, dir, without))
		if alarms := p.status().Alarms; len(alarms) != 1 || !strings.Contains(alarms[0], "backlog of 1 line (") {
			t.Errorf("alarms: %q", alarms)
		}
	}
	db.set(false)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, nodeFile(t, dir, with)).eventually("stored", func() bool { return db.have("m,host=a v=1 1") })
}

func TestForgettingANode(t *testing.T) {
	config := patient(t, nodeFile(t, t.TempDir(), nil))
	p := start(t, config)
	p.write("m,host=a v=1 1\nm,host=b v=1 1\n")
	p.eventually("seen", func() bool { return p.status().Nodes.Up == 2 })
	if _, err := command(t, "nodes", "forget", "c"); err == nil || err.Error() != "there is no node of this name; vitals-relay nodes lists them" {
		t.Errorf("an unknown node: %v", err)
	}
	if out, err := command(t, "nodes", "forget", "a"); err != nil || out != "a is forgotten\n" {
		t.Errorf("%q, %v", out, err)
	}
	if n := p.status().Nodes.Up; n != 1 {
		t.Errorf("%d nodes", n)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	p = start(t, config)
	p.eventually("the other is back", func() bool { return p.status().Nodes != fleet.Counts{} })
	if out, err := command(t, "nodes"); err != nil || strings.Contains(out, "\na ") || !strings.Contains(out, "\nb ") {
		t.Errorf("after a restart: %v\n%s", err, out)
	}
	p.write("m,host=a v=2 2\n")
	p.eventually("it has written again", func() bool { return p.status().Nodes.Up == 2 })
}
