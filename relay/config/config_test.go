package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// load writes text to node.toml in a directory of its own and loads it; the
// directory's name is cut out of the error.
func load(t *testing.T, text string) (*Config, string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "node.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	c, err := Load(path)
	if err == nil {
		return c, ""
	}
	return c, strings.ReplaceAll(err.Error(), dir+"/", "")
}

func TestDefaults(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listen: "127.0.0.1:8186", DataDirectory: "/var/lib/vitals/relay", Packages: "/usr/share/vitals/packages",
		Limits: Limits{
			MaxBody: 25_000_000, MaxCompressedBody: 25_000_000, MaxInFlight: 128 << 20, MaxRatio: 250,
			MaxLine: 64 << 10, MaxTags: 64, MaxFields: 256, MaxKey: 1 << 10, MaxTagValue: 1 << 10, MaxHeader: 16 << 10,
			HeaderTimeout: nodefile.Duration(5 * time.Second), MinRate: 512, BodySilence: nodefile.Duration(30 * time.Second),
			BodyTimeout: nodefile.Duration(10 * time.Minute), IdleTimeout: nodefile.Duration(2 * time.Minute),
			MaxConnections: 4096, MaxConnectionsPerAddress: 512,
		},
		Door:  Door{Version1: "1.8.10", Version2: "v2.7.11", Version3: "3.10.1", AnswerAs: 1},
		Query: Query{Timeout: nodefile.Duration(time.Minute), MaxConcurrent: 16, MaxAnswer: 256 << 20},
		Auth:  Auth{Mode: "off", NodeCheck: "enforce"},
		Queue: Queue{
			Kind: "files", MaxBytes: 10e9, WhenFull: "refuse", MinFreeBytes: 256 << 20,
			KeptBytes: 1e9, KeptAge: nodefile.Duration(168 * time.Hour),
		},
		Provision: Provision{
			Enabled: true, Database: "node_vitals", RetentionPolicy: "node_vitals_year_rp",
			Duration: nodefile.Duration(8760 * time.Hour), Replication: 3, Default: true,
		},
		Fleet: Fleet{ForgetAfter: nodefile.Duration(168 * time.Hour), MaxNodes: 10_000, History: nodefile.Duration(6 * time.Hour), HistoryBytes: 64e6},
	}
	if got := alertNames(c); got != "down temperature ram disk throttled conflict backlog held" || len(c.AlertTargets) > 0 {
		t.Errorf("alerts %s, %d targets", got, len(c.AlertTargets))
	}
	c.Alerts = nil
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

func TestAWholeFile(t *testing.T) {
	c, text := load(t, `
[agent]
interval = "10s"
[[inputs.cpu]]
anything = "is the agent's"
[relay]
listen = ":9000"
data_directory = "/srv/vitals"
[relay.limits]
max_body = "5MB"
max_tags = 20
[relay.door]
version_2 = "1.8.10"
answer_as = 2
[relay.auth]
mode = "required"
node_check = "overwrite"
max_lines_per_minute = 6000
[relay.queue]
max_bytes = "1GB"
when_full = "drop_oldest"
commit_delay = "5ms"
[relay.provision]
prefix = "site_"
duration = "30d"
[relay.fleet]
late_after = "30s"
[[relay.destinations]]
name = "near"
url = "http://127.0.0.1:8086"
[[relay.destinations]]
name = "far"
url = "https://influx.example:8086"
version = 2
org = "o"
bucket = "b"
token_file = "token"
required = false
timeout = "1m"
[[relay.destinations]]
name = "three"
url = "https://influx3.example:8181"
version = 3
database = "d"
token_file = "token"
databases = ["a", "b*"]
in_flight = 4
concatenate = false
server_name = "influx"
insecure_skip_verify = true
`)
	if text != "" {
		t.Fatal(text)
	}
	want := []Destination{
		{Name: "near", URL: "http://127.0.0.1:8086", Version: 1, Required: true, Timeout: nodefile.Duration(30 * time.Second), MaxBody: 25e6, Concatenate: true, InFlight: 1},
		{Name: "far", URL: "https://influx.example:8086", Version: 2, Organization: "o", Bucket: "b", TokenFile: "token", Token: "s3cret", Timeout: nodefile.Duration(time.Minute), MaxBody: 50e6, Concatenate: true, InFlight: 1},
		{Name: "three", URL: "https://influx3.example:8181", Version: 3, Database: "d", TokenFile: "token", Token: "s3cret", Required: true, Timeout: nodefile.Duration(30 * time.Second), Databases: []string{"a", "b*"}, MaxBody: 10e6, InFlight: 4, ServerName: "influx", SkipVerify: true},
	}
	if d := cmp.Diff(want, c.Destinations); d != "" {
		t.Error(d)
	}
	if c.Auth != (Auth{Mode: "required", NodeCheck: "overwrite", MaxLines: 6000}) {
		t.Errorf("%+v", c.Auth)
	}
	if c.Listen != ":9000" || c.DataDirectory != "/srv/vitals" || c.Limits.MaxBody != 5e6 || c.Limits.MaxTags != 20 || c.Door.AnswerAs != 2 || c.Door.Version2 != "1.8.10" || c.Provision.Prefix != "site_" || c.Queue.MaxBytes != 1e9 {
		t.Errorf("%+v", c)
	}
}

const aPin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"misspelt key", "[relay]\nlisen = ':1'", `node.toml:2:1: relay.lisen: unknown option; did you mean "listen"?`},
		{"misspelt table", "[relay]\n[relay.queu]\n", `node.toml:2:1: relay.queu: unknown table; did you mean "queue"?`},
		{"misspelt array", "[[relay.destination]]\nname='x'\n", `node.toml:1:1: relay.destination: unknown table; did you mean "destinations"?`},
		{"open unawares", "[relay]\nlisten = ':8186'", `node.toml:2:1: relay.listen: with ":8186" every machine of the network may write, as none is checked: write mode = "required" below [relay.auth] and give each node a token (vitals-relay token create --node NAME), or open = true below [relay.auth] if every machine may be trusted`},
		{"open unawares, auth off", "[relay]\nlisten = '192.168.0.1:8186'\n[relay.auth]\nmode = 'off'", `node.toml:2:1: relay.listen: with "192.168.0.1:8186" every machine of the network may write, as none is checked: write mode = "required" below [relay.auth] and give each node a token (vitals-relay token create --node NAME), or open = true below [relay.auth] if every machine may be trusted`},
		{"open without need", "[relay.auth]\nmode = 'required'\nopen = true", `node.toml:3:1: relay.auth.open: belongs to mode = "off", with which everybody may write; remove it`},
		{"auth mode", "[relay.auth]\nmode = 'on'", `node.toml:2:1: relay.auth.mode: must be "off", "observe" (take every write, and list who would be refused) or "required"`},
		{"node check", "[relay.auth]\nnode_check = 'on'", `node.toml:2:1: relay.auth.node_check: must be "enforce" (a node writes only its own lines), "overwrite" (its lines become its own) or "off"`},
		{"negative limit", "[relay.auth]\nmax_lines_per_minute = -1", `node.toml:1:1: relay.auth: limits must not be negative; 0 is no limit`},
		{"key without certificate", "[relay.tls]\nkey_file = 'token'", `node.toml:1:1: relay.tls.cert_file: is missing; name the file of the relay's certificate, or write own_key = true to have the relay make one for itself`},
		{"two keys", "[relay.tls]\nown_key = true\nkey_file = 'token'", `node.toml:2:1: relay.tls.own_key: is in the place of cert_file and key_file; take out the one or the others`},
		{"pin", "[[relay.destinations]]\nname = 'x'\nurl = 'https://h'\npin = 'sha256//AAAA'", `node.toml:4:1: relay.destinations.pin: "sha256//AAAA" is not the pin of a key; it is written sha256// and 44 characters, as vitals-relay status shows it`},
		{"pin of nothing", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\npin = '" + aPin + "'", `node.toml:4:1: relay.destinations.pin: is for https, and the url is of plain http, where there is no key`},
		{"pin and authority", "[[relay.destinations]]\nname = 'x'\nurl = 'https://h'\nca_file = 'token'\npin = '" + aPin + "'", `node.toml:4:1: relay.destinations.ca_file: has no effect with pin, which looks at the server's key and at nobody's signature; take one of them out`},
		{"certificate without key", "[relay.tls]\ncert_file = 'token'", `node.toml:1:1: relay.tls.key_file: is missing; name the file of the certificate's key`},
		{"no such certificate", "[relay.tls]\ncert_file = 'absent'\nkey_file = 'token'", `node.toml:2:1: relay.tls.cert_file: open absent: no such file or directory`},
		{"clients of nobody", "[relay.tls]\ncert_file = 'token'\nkey_file = 'token'\nrequire_client_cert = true", `node.toml:1:1: relay.tls.client_ca_file: is missing; name the file of the authority that signs the clients' certificates`},
		{"address", "[relay]\nlisten = '8186'", `node.toml:2:1: relay.listen: "8186" is not an address; write it as "127.0.0.1:8186", or ":8186" for every interface`},
		{"port", "[relay]\nlisten = ':http'", `node.toml:2:1: relay.listen: "http" is not a port; the usual one is 8186`},
		{"in flight", "[relay.limits]\nmax_in_flight = 1000", `node.toml:2:1: relay.limits.max_in_flight: must be at least 75000000, twice max_body and once max_compressed_body, or the largest write could never be served`},
		{"body", "[relay.limits]\nmax_body = 10", `node.toml:2:1: relay.limits.max_body: must be at least 1 KiB; the default is 25 MB`},
		{"a limit of none", "[relay.limits]\nmax_tags = 0", `node.toml:2:1: relay.limits.max_tags: must be at least 1`},
		{"no time", "[relay.limits]\nbody_timeout = '1ms'", `node.toml:2:1: relay.limits.body_timeout: must be at least 100ms`},
		{"moved", "[relay]\nmax_body = '5MB'", `node.toml:2:1: relay.max_body: unknown option; use max_body below [relay.limits]`},
		{"no version", "[relay.door]\nversion_1 = 'new'", `node.toml:2:1: relay.door.version_1: must be like "1.8.10": clients read it as a number`},
		{"whose answers", "[relay.door]\nanswer_as = 4", `node.toml:2:1: relay.door.answer_as: must be 1, 2 or 3: the InfluxDB whose /ping and /health the relay has`},
		{"query url", "[relay]\nquery_url = 'influx'", `node.toml:2:1: relay.query_url: must be like "http://127.0.0.1:8086"`},
		{"credentials of queries", "[relay.query]\ntoken_file = 'token'\nforward_credentials = true", `node.toml:3:1: relay.query.forward_credentials: shows the server what the client shows; remove username and token_file, or it`},
		{"no certificate", "[relay.query]\nca_file = 'token'", `node.toml:2:1: relay.query.ca_file: token holds no certificate`},
		{"no name", "[[relay.destinations]]\nurl = 'http://x'", `node.toml:1:1: relay.destinations.name: is missing; choose one that stays, such as "influxdb": the destination's progress is kept under it`},
		{"path as name", "[[relay.destinations]]\nname = '../x'\nurl = 'http://x'", `node.toml:2:1: relay.destinations.name: "../x" cannot be a directory's name; use letters, digits, dots, dashes and underscores`},
		{"no url", "[[relay.destinations]]\nname = 'x'", `node.toml:1:1: relay.destinations.url: is missing; write url = "http://127.0.0.1:8086"`},
		{"no scheme", "[[relay.destinations]]\nname = 'x'\nurl = 'localhost:8086'", `node.toml:3:1: relay.destinations.url: must be like "http://127.0.0.1:8086"`},
		{"credentials in url", "[[relay.destinations]]\nname = 'x'\nurl = 'http://u:p@h'", `node.toml:3:1: relay.destinations.url: must not hold credentials; use username and password_file, or token_file`},
		{"v2 key on v1", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nbucket = 'b'", `node.toml:4:1: relay.destinations.bucket: belongs to version = 2; InfluxDB 1.x has database, retention_policy, username and password_file`},
		{"v1 key on v2", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 2\ndatabase = 'b'", `node.toml:5:1: relay.destinations.database: belongs to version = 1 or 3; InfluxDB 2.x has org, bucket and token_file`},
		{"version 4", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 4", `node.toml:4:1: relay.destinations.version: must be 1 (InfluxDB 1.x, VictoriaMetrics), 2 (InfluxDB 2.x) or 3 (InfluxDB 3), not 4`},
		{"no token file", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 2\ntoken_file = 'absent'", `node.toml:5:1: relay.destinations.token_file: open absent: no such file or directory`},
		{"token file on v1", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\ntoken_file = 'absent'", `node.toml:4:1: relay.destinations.token_file: belongs to version = 2 or 3; InfluxDB 1.x has database, retention_policy, username and password_file`},
		{"password file on v2", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 2\npassword_file = 'absent'", `node.toml:5:1: relay.destinations.password_file: belongs to version = 1; InfluxDB 2.x has org, bucket and token_file`},
		{"password", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\npassword = 'p'", `node.toml:4:1: relay.destinations.password: unknown option; use password_file, which names a file that holds the password`},
		{"token", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 2\ntoken = 'p'", `node.toml:5:1: relay.destinations.token: unknown option; use token_file, which names a file that holds the token`},
		{"data_dir", "[relay]\ndata_dir = '/x'", `node.toml:2:1: relay.data_dir: unknown option; use data_directory`},
		{"v2 key on v3", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nversion = 3\nbucket = 'b'", `node.toml:5:1: relay.destinations.bucket: belongs to version = 2; InfluxDB 3 has database and token_file`},
		{"skip_verify", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nskip_verify = true", `node.toml:4:1: relay.destinations.skip_verify: unknown option; use insecure_skip_verify`},
		{"in flight at once", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nin_flight = 0", `node.toml:4:1: relay.destinations.in_flight: must be between 1, which keeps the order, and 64`},
		{"a budget of a required one", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nmax_backlog = '1GB'", `node.toml:4:1: relay.destinations.max_backlog: belongs to required = false: a required destination gets everything, and writers are refused when the queue is full of what it has not got`},
		{"tiny budgets", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nrequired = false\nmax_backlog = '1KB'\nmax_backlog_age = '1s'", "node.toml:5:1: relay.destinations.max_backlog: must be at least 1 MiB, or 0 for no bound of its own\nnode.toml:6:1: relay.destinations.max_backlog_age: must be at least 1m, or 0 for no bound"},
		{"no pattern", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\ndatabases = ['a[']", `node.toml:4:1: relay.destinations.databases: "a[" is no pattern: unexpected end of input`},
		{"no database at all", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\ndatabases = []", `node.toml:4:1: relay.destinations.databases: names none, so nothing would be delivered; leave it out for all of them`},
		{"tiny bodies", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nmax_body = 10", `node.toml:4:1: relay.destinations.max_body: must be at least 1 KiB; the default is 25000000`},
		{"no such certificate", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nca_file = 'absent'", `node.toml:4:1: relay.destinations.ca_file: open absent: no such file or directory`},
		{"no certificate", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nca_file = 'token'", `node.toml:1:1: relay.destinations: ca_file: token holds no certificate`},
		{"half a pair", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nkey_file = 'token'", `node.toml:4:1: relay.destinations.key_file: cert_file and key_file go together; one of them is missing`},
		{"no pair", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\nkey_file = 'token'\ncert_file = 'token'", `node.toml:1:1: relay.destinations: cert_file and key_file: tls: failed to find any PEM data in certificate input`},
		{"same name", "[[relay.destinations]]\nname = 'x'\nurl = 'http://h'\n[[relay.destinations]]\nname = 'x'\nurl = 'http://i'", `node.toml:5:1: relay.destinations.name: "x" is the name of two destinations`},
		{"queue kind", "[relay.queue]\nkind = 'jetstream'", `node.toml:2:1: relay.queue.kind: must be "files"; this relay has no other queue`},
		{"when full", "[relay.queue]\nwhen_full = 'drop'", `node.toml:2:1: relay.queue.when_full: must be "refuse" (writers get 503 and keep their lines) or "drop_oldest"`},
		{"commit delay", "[relay.queue]\ncommit_delay = '1m'", `node.toml:2:1: relay.queue.commit_delay: must be between 0 and 1s: every write waits for it`},
		{"nothing kept", "[relay.queue]\nkept_bytes = 0", `node.toml:2:1: relay.queue.kept_bytes: with no destination and nothing kept, every line would be thrown away; add [[relay.destinations]] or let kept_bytes be more than 0`},
		{"short policy", "[relay.provision]\nduration = '10s'", `node.toml:2:1: relay.provision.duration: must be at least 1h, or 0 to keep the lines for ever`},
		{"fleet ages", "[relay.fleet]\nlate_after = '1m'\ndown_after = '30s'", `node.toml:3:1: relay.fleet.down_after: must not be shorter than late_after`},
		{"history", "[relay.fleet]\nhistory = '1m'", `node.toml:2:1: relay.fleet.history: must be between 10m and 7d; the default is 6h, and InfluxDB remembers the rest`},
		{"history_bytes", "[relay.fleet]\nhistory_bytes = 1", `node.toml:2:1: relay.fleet.history_bytes: must be at least 1MB; the default is 64MB`},
		{"forgotten too soon", "[relay.fleet]\nforget_after = '10s'", `node.toml:2:1: relay.fleet.forget_after: must be at least 1m, and not shorter than down_after; the default is 7d`},
		{"self too often", "[relay.self]\ninterval = '1ms'", `node.toml:2:1: relay.self.interval: must be at least 1s, or 0 to write none`},
		{"queue twice", "[[relay.queue]]\n[[relay.queue]]\n", `node.toml:2:1: relay.queue: there can be only one; write it [relay.queue]`},
		{"neither's table", "[relys]\n", `node.toml:1:1: relys: neither vitals-agent nor vitals-relay has a table of this name; did you mean "relay"?`},
		{"several, in order", "[relay]\nlisten = 'x'\n[relay.queue]\nkind = 'y'\nwhenfull = 'z'\n", `node.toml:2:1: relay.listen: "x" is not an address; write it as "127.0.0.1:8186", or ":8186" for every interface
node.toml:4:1: relay.queue.kind: must be "files"; this relay has no other queue
node.toml:5:1: relay.queue.whenfull: unknown option; did you mean "when_full"?`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, got := load(t, tt.text)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWants(t *testing.T) {
	f := func(want string, patterns ...string) {
		t.Helper()
		wants := (&Destination{Databases: patterns}).Wants()
		var got []string
		for _, name := range []string{"a", "b", "b2", "node_vitals"} {
			if wants == nil || wants(name) {
				got = append(got, name)
			}
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q: %s, want %s", patterns, text, want)
		}
	}
	f("a b b2 node_vitals")
	f("a b b2", "a", "b*")
	f("b", "b")
	f("node_vitals", "{node,site}_vitals")
}

func TestStateDirectory(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
	c, err := Load("")
	if err != nil || c.DataDirectory != "/var/lib/a" {
		t.Errorf("data directory %q, %v", c.DataDirectory, err)
	}
}

func TestFind(t *testing.T) {
	t.Setenv("VITALS_CONFIG", "/a/node.toml")
	if got := Find("/b/node.toml"); got != "/b/node.toml" {
		t.Errorf("a path that was given: %q", got)
	}
	if got := Find(""); got != "/a/node.toml" {
		t.Errorf("$VITALS_CONFIG: %q", got)
	}
}

// Both programs read one file, and the agent's secrets need not be the relay's.
func TestVariablesOfTheAgentNeedNotBeSet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.toml")
	text := "[[outputs.influxdb]]\nusername = '${V_UNSET}'\npassword = '${V_UNSET:?no token}'\n[relay]\nlisten = '${V_UNSET:-127.0.0.1:8391}'\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || len(c.Warnings) != 0 || c.Listen != "127.0.0.1:8391" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestTheFileMustExist(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "absent.toml")); err == nil {
		t.Error("an absent file was accepted")
	}
}

func TestWhereOnlyThisMachineIs(t *testing.T) {
	for listen, ok := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true, "[::ffff:127.0.0.1]:1": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "primary:1": false,
	} {
		for _, auth := range []string{"", "[relay.auth]\nmode = 'off'\n"} {
			if _, text := load(t, "[relay]\nlisten = '"+listen+"'\n"+auth); (text == "") != ok {
				t.Errorf("%s: %q", listen, text)
			}
		}
		for _, auth := range []string{"open = true", "mode = 'observe'", "mode = 'required'"} {
			if _, text := load(t, "[relay]\nlisten = '"+listen+"'\n[relay.auth]\n"+auth); text != "" {
				t.Errorf("%s, %s: %q", listen, auth, text)
			}
		}
	}
}
