package plugins

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/rpicluster/vitals/plugins/proto"
)

func TestFlaws(t *testing.T) {
	f := func(want string, all ...*proto.CollectorDescription) {
		t.Helper()
		flaws := Flaws(&proto.DescribeReply{Collectors: all})
		if text := fmt.Sprint(flaws); (len(flaws) == 0) != (want == "") || !strings.Contains(text, want) {
			t.Errorf("%s, want %q", text, want)
		}
	}
	one := func(name string, options ...string) *proto.CollectorDescription {
		return &proto.CollectorDescription{Name: name, Options: options}
	}
	f("", one("a", "x", "y"), one("b", "x"))
	f("it collects nothing")
	f(`cannot be called ""`, one(""))
	f(`cannot be called "Load"`, one("Load"))
	f(`cannot be called "a-b"`, &proto.CollectorDescription{Name: "a", Aliases: []string{"a-b"}})
	f(`two collectors are called "a": a and b`, one("a"), &proto.CollectorDescription{Name: "b", Aliases: []string{"a"}})
	f(`b: the option "interval" is the agent's`, one("a"), one("b", "x", "interval"))
	f(`a: the option "namepass" is the agent's`, one("a", "namepass"))
	f(`a: two options are called "x"`, one("a", "x", "x"))
	f("a: an option without a name", one("a", ""))
	f("a: it wants to be gathered every 1ns; 100ms is the least", &proto.CollectorDescription{Name: "a", DefaultIntervalNs: 1})
}

type clock struct{ Interval string }

func (clock) Gather(context.Context, *Batch) error { return nil }

// What cannot be used is told to its author at once, by hand; a host is let see
// for itself.
func TestServeRefusesWhatAHostWould(t *testing.T) {
	cmd := self()
	cmd.Env = append(cmd.Environ(), "PLUGINS_TEST_FLAW=1", "VITALS_PLUGIN=")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), `clock: the option "interval" is the agent's`) || strings.Contains(string(out), "1|1|") {
		t.Errorf("%v\n%s", err, out)
	}
	cmd = self()
	cmd.Env = append(cmd.Environ(), "PLUGINS_TEST_FLAW=1")
	r, err := start(t, cmd).Describe(t.Context(), &proto.DescribeRequest{})
	if err != nil || !strings.Contains(fmt.Sprint(Flaws(r)), `clock: the option "interval" is the agent's`) {
		t.Errorf("%v, %v", r, err)
	}
	if err := usable([]Description{{Name: "a"}}, true); err == nil || !strings.Contains(err.Error(), `"a" has no New`) {
		t.Error(err)
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "cpu": true, "linux_cpu": true, "b9": true, strings.Repeat("n", 32): true,
		"": false, "9b": false, "_a": false, "Cpu": false, "a-b": false, "a b": false, "ä": false, "a\n": false, strings.Repeat("n", 33): false,
	} {
		if got := ValidName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
