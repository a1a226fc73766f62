package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestRejectedCommands(t *testing.T) {
	db, dir := newInflux(t), t.TempDir()
	db.refuses = true
	p := start(t, nodeFile(t, dir, map[string]string{"influxdb": db.URL}))
	expect := func(want string, args ...string) {
		t.Helper()
		out, err := command(t, append([]string{"rejected"}, args...)...)
		if err != nil {
			out += err.Error()
		}
		if !strings.Contains(out, want) {
			t.Errorf("rejected %q: %s\nwant %s", args, out, want)
		}
	}
	expect("no destination has refused anything", "list")
	p.write("m,host=a v=1 1\nm,host=a v=2 2\n")
	p.eventually("refused", func() bool { return p.status().Destinations[0].RejectedLines == 2 })
	files, err := filepath.Glob(filepath.Join(dir, "relay", "rejected", "influxdb", "*.lp"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	id := strings.TrimSuffix(filepath.Base(files[0]), ".lp")
	expect("influxdb     "+id+"  2      30     partial write: field type conflict", "list")
	expect("influxdb", "list", "influxdb")
	expect(`no destination "other" has refused anything`, "list", "other")
	expect("field type conflict: no such type dropped=2\nm,host=a v=1 1\nm,host=a v=2 2\n", "show", "influxdb")
	expect("m,host=a v=1 1", "show", "influxdb", id)
	expect(`influxdb has refused nothing that is called "x"`, "show", "influxdb", "x")
	expect("vitals-relay rejected show NAME [ID]", "show")
	out, err := command(t, "rejected", "list", "--json")
	var list []rejectedFile
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 || list[0].Destination != "influxdb" || list[0].ID != id || list[0].Lines != 2 {
		t.Errorf("%s, %v", out, err)
	}

	expect("0 lines stored, 2 refused again, 0 not tried and still here", "retry", "influxdb")
	db.set(true)
	expect("0 lines stored, 0 refused again, 2 not tried and still here\nwhy not: 503", "retry", "influxdb", id)
	db.set(false)
	db.mu.Lock()
	db.refuses = false
	db.mu.Unlock()
	if len(p.status().Alarms) != 1 {
		t.Errorf("alarms: %q", p.status().Alarms)
	}
	expect("2 lines stored, 0 refused again, 0 not tried and still here", "retry", "influxdb", id)
	if !db.have("m,host=a v=1 1", "m,host=a v=2 2") || len(p.status().Alarms) != 0 {
		t.Errorf("after the retry; alarms: %q", p.status().Alarms)
	}

	db.mu.Lock()
	db.refuses = true
	db.mu.Unlock()
	p.write("m,host=a v=3 3\n")
	p.eventually("refused", func() bool { return p.status().Destinations[0].RejectedLines == 3 })
	expect("1 line of 1 file given up", "drop", "influxdb")
	expect("no destination has refused anything", "list")
}

func TestDestinationsList(t *testing.T) {
	db := newInflux(t)
	config := nodeFile(t, t.TempDir(), map[string]string{"influxdb": db.URL})
	appendTo(t, config, destinationTable("spare", "http://127.0.0.1:1", "required = false"))
	p := start(t, config)
	p.write("m,host=a v=1 1\n")
	p.eventually("one has it, the other fails", func() bool {
		d := p.status().Destinations
		return d[0].Backlog.Lines == 0 && d[0].Lines == 1 && d[1].State == "failing"
	})
	out, err := command(t, "destinations", "list")
	for _, want := range []string{"influxdb          ok       0        0 B", "spare (optional)  failing  1  ", db.URL, "spare: last error ", "connection refused"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v\n%s\nwant %s", err, out, want)
		}
	}
	out, err = command(t, "destinations", "list", "--json")
	if err != nil || !strings.Contains(out, fmt.Sprintf(`"url": %q`, db.URL)) || !strings.Contains(out, `"lines_per_minute": `) {
		t.Errorf("%v\n%s", err, out)
	}
}
