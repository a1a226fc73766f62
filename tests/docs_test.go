package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins"
)

// sample is a fenced block of a document.
type sample struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func samples(t *testing.T, document string) []sample {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		all = append(all, sample{m[1], m[2]})
	}
	if len(all) == 0 {
		t.Fatalf("%s has no samples", document)
	}
	return all
}

// samplesOf returns the texts of one language.
func samplesOf(t *testing.T, document, language string) []string {
	t.Helper()
	var texts []string
	for _, s := range samples(t, document) {
		if s.language == language {
			texts = append(texts, s.text)
		}
	}
	return texts
}

// buildSample builds Go code of a document as a drop-in.
func (m *machine) buildSample(name, code string) (dir string) {
	m.t.Helper()
	// Inside the module, so that its imports resolve.
	src, err := os.MkdirTemp(filepath.Join(root, "tests"), "sample")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { os.RemoveAll(src) })
	if err := os.WriteFile(filepath.Join(src, "main.go"), []byte(code), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("gofmt", "-l", src).CombinedOutput(); err != nil || len(out) > 0 {
		m.t.Errorf("the sample is not formatted by gofmt: %s", out)
	}
	return m.buildPlugin(name, "./tests/"+filepath.Base(src))
}

func TestCollectorsOfTheReadme(t *testing.T) {
	m := newMachine(t)
	golang, python := samplesOf(t, "README.md", "go"), samplesOf(t, "README.md", "python")
	if len(golang) != 1 || len(python) != 1 {
		t.Fatalf("the README has %d samples in Go and %d in Python", len(golang), len(python))
	}
	dir := m.buildSample("dice", golang[0])
	m.installPython(dir)
	if err := writeFile(filepath.Join(dir, "vitals-plugin-pydice"), []byte(python[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	var tables string
	for _, s := range samplesOf(t, "README.md", "toml") {
		if strings.Contains(s, "inputs.dice") {
			tables = s
		}
	}
	file := m.file("node.toml", "[agent]\n  hostname = \"primary\"\n  plugin_directory = [\"$DIR/plugins\"]\n"+tables+"[[outputs.file]]\n")
	stdout, stderr, code := run(t, m.command("vitals-agent", "--config", file, "--test"))
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{`(?m)^> dice,host=primary value=\d+i \d+$`, `(?m)^> dice,host=primary,made_in=python value=\d+i \d+$`} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no line like %s:\n%s", want, stdout)
		}
	}
}

// sampleWith returns the only sample of a language that holds a text.
func sampleWith(t *testing.T, document, language, text string) string {
	t.Helper()
	var found []string
	for _, s := range samplesOf(t, document, language) {
		if strings.Contains(s, text) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d samples of %s with %q", document, len(found), language, text)
	}
	return found[0]
}

// like makes a pattern of a line that a document shows: the numbers in it may
// be others, and times in seconds.
func like(line string) string {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "> "), "\n")
	line = regexp.MustCompile(`\d+(\\\.\d+)?`).ReplaceAllString(regexp.QuoteMeta(line), `[0-9.]+`)
	return strings.ReplaceAll(line, "[0-9.]+ms", "[0-9.]+m?s")
}

// The commands with which the documents begin, as they stand there but for
// sudo and the directory to install to.
func TestQuickStartOfTheDocuments(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"README.md", "docs/collectors.md"} {
		m := newMachine(t)
		if err := os.Symlink(root, filepath.Join(m.dir, "vitals")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(m.dir, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		script := strings.ReplaceAll(sampleWith(t, document, "sh", "plugins new"), "sudo ", "")
		sh := m.newcomer(m.command("sh", "-euxc", script))
		sh.Dir, sh.Env = filepath.Join(m.dir, "work"), append(sh.Env, "DIRECTORY="+m.dir+"/plugins")
		if stdout, stderr, code := run(t, sh); code != 0 {
			t.Fatalf("%s: exit code %d\n%s%s", document, code, stdout, stderr)
		}
		if document == "README.md" {
			continue
		}
		config := m.file("node.toml", "[agent]\n  hostname = \"primary\"\n  plugin_directory = [\"$DIR/plugins\"]\n[[outputs.file]]\n"+
			sampleWith(t, document, "toml", "inputs.load"))
		m.prints(config, "load", like(sampleWith(t, document, "text", "load,host=primary")))
	}
}

// guide prepares a machine with a program of the guide in its plugin directory.
func guide(t *testing.T, name, code string) (m *machine, config string) {
	t.Helper()
	m = newMachine(t)
	dir := filepath.Join(m.dir, "plugins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if code != "" {
		if err := writeFile(filepath.Join(dir, "vitals-plugin-"+name), []byte(code), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m, m.file("node.toml", "[agent]\n  hostname = \"n1\"\n  plugin_directory = [\"$DIR/plugins\"]\n[[outputs.file]]\n[[inputs."+name+"]]\n")
}

func TestGoOfTheGuide(t *testing.T) {
	t.Parallel()
	m, config := guide(t, "forks", "")
	dir := m.buildSample("forks", sampleWith(t, "docs/collectors.md", "go", "package main"))
	m.prints(config, "forks", `forks,host=n1,source=kernel started=\d+i,total=\d+i \d+`)
	m.kept(filepath.Join(dir, "vitals-plugin-forks"))
	bad := m.file("bad.toml", "[agent]\n  plugin_directory = [\"$DIR/plugins\"]\n[[inputs.forks]]\n  pth = \"x\"\n")
	_, stderr, code := run(t, m.command("vitals-agent", "--config", bad, "--test"))
	if code != 1 || !strings.Contains(stderr, "bad.toml:4:3: inputs.forks.pth") || !strings.Contains(stderr, `"path"`) {
		t.Errorf("a misspelt option of a drop-in: exit code %d\n%s", code, stderr)
	}
}

// What the guide shows of a collector that breaks the contract is what it gets.
func TestCheckOfTheGuide(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	dir := m.buildSample("load", `package main

import (
	"context"

	"github.com/rpicluster/vitals/plugins"
)

type load struct{}

func (load) Gather(_ context.Context, b *plugins.Batch) error {
	b.Lines([]byte("load value="))
	return nil
}

func main() {
	plugins.Serve(plugins.Description{Name: "load", Description: "Nothing.", New: func() plugins.Collector { return &load{} }})
}
`)
	stdout, stderr, code := run(t, m.command("vitals-agent", "plugins", "check", filepath.Join(dir, "vitals-plugin-load")))
	if code != 1 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
	for line := range strings.Lines(sampleWith(t, "docs/collectors.md", "text", "run by hand")) {
		if !regexp.MustCompile(`(?m)^` + like(line) + `$`).MatchString(stdout) {
			t.Errorf("the guide shows\n%sbut it says\n%s", line, stdout)
		}
	}
}

func TestPythonOfTheGuide(t *testing.T) {
	t.Parallel()
	m, config := guide(t, "uptime", sampleWith(t, "docs/collectors.md", "python", "vitals.serve"))
	m.installPython(filepath.Join(m.dir, "plugins"))
	m.prints(config, "uptime", `uptime,host=n1,kernel=linux seconds=[0-9.]+ \d+`)
	m.kept(filepath.Join(m.dir, "plugins/vitals-plugin-uptime"))
}

func TestNodeOfTheGuide(t *testing.T) {
	t.Parallel()
	m, config := guide(t, "entropy", sampleWith(t, "docs/collectors.md", "js", "serve("))
	m.installNode(filepath.Join(m.dir, "plugins"))
	m.prints(config, "entropy", `entropy,host=n1,source=kernel available=\d+i \d+`)
	m.kept(filepath.Join(m.dir, "plugins/vitals-plugin-entropy"))
}

func TestShellOfTheGuide(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	script := m.file("processes.sh", sampleWith(t, "docs/collectors.md", "shell", "#!/bin/sh"))
	if err := os.Chmod(script, 0o755); err != nil {
		t.Fatal(err)
	}
	table := strings.ReplaceAll(sampleWith(t, "docs/collectors.md", "toml", "inputs.exec"), "/usr/local/lib/vitals/processes.sh", script)
	m.prints(m.file("node.toml", "[agent]\n  hostname = \"n1\"\n"+table), "exec", `processes_sh,host=n1 total=\d+i \d+`)
}

func TestNodeFilesOfTheReadme(t *testing.T) {
	t.Parallel()
	n := 0
	for _, text := range samplesOf(t, "README.md", "toml") {
		m := newMachine(t)
		if strings.Contains(text, "[agent]") {
			n++
			if _, stderr, code := run(t, m.command("vitals-agent", "config", "check", "--config", m.file("node.toml", text))); code != 0 {
				t.Errorf("vitals-agent: exit code %d\n%s\n%s", code, stderr, text)
			}
		}
		if strings.Contains(text, "[relay]") {
			n++
			if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", m.file("node.toml", text))); code != 0 {
				t.Errorf("vitals-relay: exit code %d\n%s\n%s", code, stderr, text)
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d node files were checked", n)
	}
}

// A link to a file that has moved helps nobody.
// telegrafs are the options, flags and signals of Telegraf that concern what
// there is here: those of [agent], of every input and output, of the outputs, of
// processors and aggregators, and of the command line.
const telegrafs = `
	interval round_interval precision collection_jitter collection_offset flush_interval flush_jitter metric_batch_size
	metric_buffer_limit debug quiet logformat structured_log_message_key logfile logfile_rotation_interval
	logfile_rotation_max_size logfile_rotation_max_archives log_with_timezone logtarget hostname omit_hostname
	snmp_translator statefile always_include_local_tags always_include_global_tags skip_processors_after_aggregators
	config_url_retry_attempts buffer_strategy buffer_directory buffer_disk_sync
	alias time_source name_override name_prefix name_suffix tags log_level startup_error_behavior namepass namedrop
	namepass_separator namedrop_separator tagpass tagdrop metricpass fieldinclude fieldexclude taginclude tagexclude
	fieldpass fielddrop pass drop data_format influx_parser_type influx_timestamp_precision
	urls local_address username password database database_tag exclude_database_tag retention_policy retention_policy_tag
	exclude_retention_policy_tag skip_database_creation write_consistency timeout udp_payload http_proxy http_headers
	user_agent content_encoding influx_uint_support influx_omit_timestamp tls_ca tls_cert tls_key tls_key_pwd
	tls_min_version tls_cipher_suites insecure_skip_verify tls_server_name tls_renegotiation_method tls_enable
	token organization bucket bucket_tag exclude_bucket_tag ping_timeout read_idle_timeout concurrent_writes rate_limit
	rate_limit_period files use_batch_format rotation_interval rotation_max_size rotation_max_archives
	compression_algorithm compression_level influx_sort_fields influx_max_line_bytes
	order period delay grace drop_original
	--config --config-directory --watch-config --watch-interval --watch-debounce-interval --config-url-watch-interval
	--config-url-retry-attempts --test --test-wait --once --input-filter --output-filter --processor-filter
	--aggregator-filter --secretstore-filter --section-filter --select --debug --quiet --pidfile --pprof-addr --password
	--unprotected --strict-env-handling --non-strict-env-handling --old-env-behavior --print-plugin-config-source --usage
	--input-list --output-list --deprecation-list --version --sample-config --plugin-directory
	SIGTERM SIGINT SIGHUP SIGUSR1 SIGQUIT`

// TestTelegrafsOptionsAreTold wants each of them in the guide for migrating. The
// options of collectors are looked for in their READMEs, by tests of their own.
func TestTelegrafsOptionsAreTold(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(root, "docs/telegraf.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(telegrafs) {
		if !regexp.MustCompile("(^|[^\\w-])" + regexp.QuoteMeta(name) + "($|[^\\w-])").Match(guide) {
			t.Errorf("docs/telegraf.md does not tell of %s", name)
		}
	}
}

func TestLinksOfTheDocuments(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	documents, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.md", "plugins/*/README.md", "plugins/*/*/README.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, more...)
	}
	for _, d := range documents {
		text, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(d), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", d, m[1])
			}
		}
	}
}

// The guide names every option that is the agent's.
func TestHostKeysOfTheGuide(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/collectors.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "The agent's own are\n")
	listed, _, _ := strings.Cut(after, ".\n")
	listed = strings.Join(strings.Fields(listed), " ")
	if want := "`" + strings.Join(plugins.HostKeys(), "`, `") + "`"; listed != want {
		t.Errorf("docs/collectors.md lists\n%s\nwant\n%s", listed, want)
	}
}
