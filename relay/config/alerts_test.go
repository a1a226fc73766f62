package config

import (
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/relay/alert"
)

func alertNames(c *Config) string {
	var names []string
	for _, r := range c.Alerts {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

func TestAlerts(t *testing.T) {
	c, text := load(t, `
[[relay.alerts]]
kind = "temperature"
above = 70
for = "1m"
[[relay.alerts]]
kind = "temperature"
name = "oven"
above = 90
clear_below = 60
nodes = ["oven-*"]
quiet = ["Mon-Fri 22:00-06:00"]
[[relay.alerts]]
kind = "disk"
enabled = false
[[relay.alerts]]
kind = "swap"
[[relay.alerts]]
kind = "backlog"
above = "1h"
destinations = ["far"]
[[relay.alert_targets]]
kind = "webhook"
url = "https://ntfy.sh/x"
template = "ntfy"
token_file = "token"
[[relay.alert_targets]]
kind = "webhook"
name = "telegram"
template = "telegram"
chat_id = "-100"
token_file = "token"
[[relay.alert_targets]]
kind = "command"
command = ["/usr/local/bin/tell", "me"]
alerts = ["oven"]
[[relay.alert_targets]]
kind = "line"
enabled = false
`)
	if text != "" {
		t.Fatal(text)
	}
	if got := alertNames(c); got != "down ram throttled conflict held temperature oven swap backlog" {
		t.Error(got)
	}
	rule := func(name string) *alert.Rule {
		for i := range c.Alerts {
			if c.Alerts[i].Name == name {
				return &c.Alerts[i]
			}
		}
		return nil
	}
	f := func(name string, above, below float64, lasts time.Duration) {
		t.Helper()
		if r := rule(name); r.Above != above || r.ClearBelow != below || r.For != lasts {
			t.Errorf("%+v", r)
		}
	}
	f("temperature", 70, 65, time.Minute)
	f("oven", 90, 60, 5*time.Minute)
	f("swap", 80, 70, 10*time.Minute)
	f("backlog", 3600, 360, 0)
	if r := rule("oven"); len(r.Quiet) != 1 || len(r.Subjects) != 1 || rule("backlog").Subjects[0] != "far" {
		t.Errorf("%+v", r)
	}
	if n := len(c.AlertTargets); n != 4 || c.AlertTargets[0].Token != "s3cret" || c.AlertTargets[3].Enabled {
		t.Errorf("%d targets", n)
	}
}

func TestMistakesInAlerts(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, got := load(t, text); !strings.HasPrefix(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	rule := func(text string) string { return "[[relay.alerts]]\n" + text }
	f(rule("kind = 'temprature'"), `node.toml:2:1: relay.alerts.kind: must be one of down, temperature, ram, swap, disk, throttled, rebooted, conflict, backlog, held; did you mean "temperature"?`)
	f(rule("kind = 'down'\nabove = 3"), `node.toml:3:1: relay.alerts.above: a down alert goes by no figure; remove it`)
	f(rule("kind = 'ram'\nabove = '3m'"), `node.toml:3:1: relay.alerts.above: must be a number: a ram is no duration`)
	f(rule("kind = 'ram'\nabove = 80\nclear_below = 90"), `node.toml:4:1: relay.alerts.clear_below: must not be more than above (80)`)
	f(rule("kind = 'ram'\nname = 'a b'"), `node.toml:3:1: relay.alerts.name: "a b" cannot be used as a tag`)
	f(rule("kind = 'ram'\n[[relay.alerts]]\nkind = 'ram'"), `node.toml:3:1: relay.alerts.name: "ram" is the name of two alerts`)
	f(rule("kind = 'held'\nnodes = ['x']"), `node.toml:3:1: relay.alerts.nodes: a held alert is not about nodes; remove it`)
	f(rule("kind = 'ram'\nnodes = ['x[']"), `node.toml:3:1: relay.alerts.nodes: "x[" is no pattern`)
	f(rule("kind = 'ram'\nfro = '1m'"), `node.toml:3:1: relay.alerts.fro: unknown option; did you mean "for"?`)
	f(rule("kind = 'ram'\nquiet = ['night']"), `node.toml:3:1: relay.alerts.quiet: "night" is not a time of the week`)

	target := func(text string) string { return "[[relay.alert_targets]]\n" + text }
	f(target("kind = 'mail'"), `node.toml:2:1: relay.alert_targets.kind: must be "webhook", "command" or "line"`)
	f(target("kind = 'webhook'"), `node.toml:1:1: relay.alert_targets.url: is missing`)
	f(target("kind = 'webhook'\nurl = 'ntfy.sh/x'"), `node.toml:3:1: relay.alert_targets.url: must be like`)
	f(target("kind = 'webhook'\nurl = 'https://u:p@ntfy.sh/x'"), `node.toml:3:1: relay.alert_targets.url: must not hold credentials`)
	f(target("kind = 'webhook'\nurl = 'https://x'\ntemplate = 'slack'"), `node.toml:4:1: relay.alert_targets.template: there is no template "slack"`)
	f(target("kind = 'webhook'\nurl = 'https://x'\nbody = '{{.Txt}}'"), `node.toml:4:1: relay.alert_targets.body: template: body:1:2`)
	f(target("kind = 'webhook'\ntemplate = 'telegram'\nchat_id = '1'"), `node.toml:1:1: relay.alert_targets.token_file: is missing`)
	f(target("kind = 'webhook'\ntemplate = 'telegram'\ntoken_file = 'token'"), `node.toml:1:1: relay.alert_targets.chat_id: template = "telegram" and chat_id go together`)
	f(target("kind = 'webhook'\nurl = 'https://x'\ntoken = 'x'"), `node.toml:4:1: relay.alert_targets.token: unknown option; use token_file`)
	f(target("kind = 'command'\ncommand = ['tell']"), `node.toml:3:1: relay.alert_targets.command: "tell" must be a path from the root`)
	f(target("kind = 'command'\ncommand = ['/tell']\nurl = 'x'"), `node.toml:4:1: relay.alert_targets.url: belongs to kind = "webhook"`)
	f(target("kind = 'line'\nquiet = ['22:00-06:00']"), `node.toml:2:1: relay.alert_targets.kind: lines are of every alert`)
	f(target("kind = 'line'\n[[relay.alert_targets]]\nkind = 'line'"), `node.toml:3:1: relay.alert_targets.name: "line" is the name of two targets`)
	f(target("kind = 'line'\n[[relay.alert_targets]]\nkind = 'line'\nname = 'other'"), `node.toml:4:1: relay.alert_targets.kind: there can be only one target that writes lines`)
	f(target("kind = 'command'\ncommand = ['/tell']\nname = 'line'"), `node.toml:4:1: relay.alert_targets.name: "line" is the name of the target that writes lines`)
}
