package tests

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// collectdPoints are handed to collectd, a second apart.
const collectdPoints = 50

// TestCollectd has collectd write through the relay. Its write_http speaks
// collectd's own formats and JSON, none of which InfluxDB takes over HTTP: the
// relay refuses them as InfluxDB does. The line protocol of its
// write_influxdb_udp comes by way of Telegraf.
func TestCollectd(t *testing.T) {
	t.Parallel()
	m, db := newMachine(t), startInfluxd(t)
	url, telegraf := m.relayInFront(db, ""), buildTelegraf(t)
	db.query("", "CREATE DATABASE collectd")
	doors := map[string]*watched{"relay": watch(t, url), "influxdb": watch(t, db.url())}
	port := freePort(t)
	m.start(telegraf, "--config", m.file("telegraf.conf", fmt.Sprintf("[agent]\n  flush_interval = \"1s\"\n  omit_hostname = true\n"+
		"[[inputs.socket_listener]]\n  service_address = \"udp://127.0.0.1:%d\"\n  data_format = \"influx\"\n  influx_timestamp_precision = \"1ms\"\n"+
		"[[outputs.influxdb]]\n  urls = [%q]\n  database = \"collectd\"\n", port, url)))
	eventually(t, time.Minute, func() string {
		if !strings.Contains(m.read("telegraf-of-our-inputs.log"), "Listening on udp") {
			return "Telegraf does not listen"
		}
		return ""
	})
	socket := m.collectd(port, doors)
	for i := range collectdPoints {
		socket.says(fmt.Sprintf(`PUTVAL "n1/exec-test/gauge-x" interval=1 %d:%d.5`, clientBegin+i, i))
		socket.says(fmt.Sprintf(`PUTVAL "n1/tail-test/derive-y" interval=1 %d:%d`, clientBegin+i, i))
	}
	for name, door := range doors {
		eventually(t, time.Minute, func() string {
			socket.says("FLUSH") // again and again: its threads may not have got so far
			door.mu.Lock()
			defer door.mu.Unlock()
			if n := door.answers[400]; n < 2 || len(door.answers) != 1 {
				return fmt.Sprintf("%s answers write_http %v", name, door.answers)
			}
			return ""
		})
	}
	eventually(t, time.Minute, func() string {
		socket.says("FLUSH")
		for from, suffix := range map[string]string{"exec WHERE type = 'gauge'": ".5", "tail WHERE type = 'derive'": ""} {
			rows, err := db.tryQuery("collectd", "SELECT value FROM "+from+" AND host = 'n1' AND instance = 'test'")
			if err != nil || len(rows) != collectdPoints {
				return fmt.Sprintf("%d points of %d, %v", len(rows), collectdPoints, err)
			}
			for i, row := range rows {
				if got, want := fmt.Sprint(row), fmt.Sprintf("[%d000000000 %d%s]", clientBegin+i, i, suffix); got != want {
					return got + ", want " + want
				}
			}
		}
		return ""
	})
	if measurements := db.query("collectd", "SHOW MEASUREMENTS"); fmt.Sprint(measurements) != "[[exec] [tail]]" {
		t.Errorf("of write_http something is stored: %v", measurements)
	}
}

// collectdSocket is where collectd takes values.
type collectdSocket struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

// says gives collectd a command and requires that it obeys.
func (s *collectdSocket) says(command string) {
	s.t.Helper()
	fmt.Fprintln(s.Conn, command)
	if answer, err := s.ReadString('\n'); err != nil || !strings.HasPrefix(answer, "0 ") {
		s.t.Fatalf("collectd answers %s: %q, %v", command, answer, err)
	}
}

// collectd starts a collectd that writes over HTTP to all doors, in both
// formats, and as lines to a UDP port.
func (m *machine) collectd(port int, doors map[string]*watched) *collectdSocket {
	m.t.Helper()
	var nodes strings.Builder
	for name, door := range doors {
		for _, format := range []string{"Command", "JSON"} {
			fmt.Fprintf(&nodes, "  <Node %q>\n    URL %q\n    Format %s\n  </Node>\n", name+format, door.url+"/write?db=collectd", format)
		}
	}
	m.start("/usr/sbin/collectd", "-f", "-C", m.file("collectd.conf", fmt.Sprintf(`Hostname "n1"
FQDNLookup false
BaseDir "$DIR"
PIDFile "$DIR/collectd.pid"
TypesDB "/usr/share/collectd/types.db"
Interval 3600
WriteThreads 1
LoadPlugin unixsock
LoadPlugin write_http
LoadPlugin write_influxdb_udp
<Plugin unixsock>
  SocketFile "$DIR/collectd.sock"
  SocketGroup "root"
</Plugin>
<Plugin write_http>
%s</Plugin>
<Plugin write_influxdb_udp>
  Server "127.0.0.1" "%d"
</Plugin>
`, nodes.String(), port)))
	s := &collectdSocket{t: m.t}
	eventually(m.t, time.Minute, func() string {
		conn, err := net.Dial("unix", m.path("collectd.sock"))
		if err != nil {
			return err.Error()
		}
		s.Conn, s.Reader = conn, bufio.NewReader(conn)
		return ""
	})
	m.t.Cleanup(func() { s.Close() })
	return s
}
