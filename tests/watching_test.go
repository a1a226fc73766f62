package tests

import (
	"regexp"
	"strings"
	"testing"
)

// The alerts of the guide are sound, and ask for figures that there are.
func TestAlertsOfTheGuide(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	rules := m.file("alerts.yaml", sampleWith(t, "docs/operating.md", "yaml", "groups:"))
	if stdout, stderr, code := run(t, m.command("promtool", "check", "rules", rules)); code != 0 || !strings.Contains(stdout, "9 rules found") {
		t.Errorf("exit code %d (sh tests/install.sh installs promtool)\n%s%s", code, stdout, stderr)
	}
	scrape := m.file("prometheus.yaml", sampleWith(t, "docs/operating.md", "yaml", "scrape_configs:"))
	if stdout, stderr, code := run(t, m.command("promtool", "check", "config", scrape)); code != 0 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	url := m.relayInFront(newInfluxd(t), "[relay.provision]\n  enabled = false\n")
	status, figures := get(t, url+"/metrics")
	names := regexp.MustCompile(`vitals_relay_\w+`).FindAllString(m.read("alerts.yaml"), -1)
	for _, name := range names {
		if !regexp.MustCompile(`(?m)^` + name + `[ {]`).MatchString(figures) {
			t.Errorf("/metrics (%d) has no %s", status, name)
		}
	}
	if len(names) < 9 {
		t.Errorf("only %d figures are asked for", len(names))
	}
	table := m.file("node.toml", sampleWith(t, "docs/operating.md", "toml", "[relay.self]"))
	if _, stderr, code := run(t, m.command("vitals-relay", "config", "check", "--config", table)); code != 0 {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}
