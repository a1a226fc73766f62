package tests

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// printed are lines of the kinds that filters are written for, all of one whole
// second, to which both programs round them.
const printed = `cat <<'END'
cpu,cpu=cpu0,rack=x usage_user=1.5,usage_idle=98i 1700000000000000000
cpu,cpu=cpu-total,site=cellar usage_user=2.5,usage_system=1 1700000000000000000
disk,fstype=ext4,path=/mnt/my\ disk free=10i,used\ percent=3.5,label="a, \"b\" \\ = c" 1700000000000000000
net.eth0.rx,iface=eth0 value=1i,up=t 1700000000000000000
net.eth0.tx.errors,iface=eth0 value=2i 1700000000000000000
my\ name\,x,a\ b\=c=d\,e f=1 1700000000000000000
{cpu\,disk} f=2 1700000000000000000
END
`

// The agent, run with one node file: what an input's filters keep back no
// output gets, and each output takes of the rest what its own let through.
func TestFiltersFromOutside(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.script("print", printed)
	const text = `
[[outputs.file]]
  alias = "all"
  files = ["$DIR/all.lines"]
[[outputs.file]]
  alias = "some"
  files = ["$DIR/some.lines"]
  namepass = ["p_*"]
  tagexclude = ["host", "site"]
  fieldexclude = ["usage_*"]
  name_suffix = "_s"
  [outputs.file.tagdrop]
    iface = ["eth*"]
[[inputs.exec]]
  commands = ["$DIR/print"]
  data_format = "influx"
  namepass = ["cpu", "disk", "net.*"]
  namepass_separator = "."
  name_prefix = "p_"
  fieldpass = ["usage_*", "free", "label"]
  tagexclude = ["rack", "host"]
[agent]
  interval = "1s"
  flush_interval = "200ms"
  hostname = "node"
  always_include_global_tags = true
  buffer_directory = "$DIR/buffer"
[global_tags]
  site = "attic"
`
	file := m.file("node.toml", text)
	agent := m.start("vitals-agent", "--config", file)
	eventually(t, 30*time.Second, func() string {
		if !agent.running() {
			t.Fatal("the agent does not run")
		}
		if !strings.HasSuffix(m.read("some.lines"), "\n") || !strings.HasSuffix(m.read("all.lines"), "\n") {
			return "nothing was written"
		}
		return ""
	})
	stdout, _, _ := run(t, m.command("vitals-agent", "status", "--json"))
	all, some := m.read("all.lines"), m.read("some.lines")
	requireLines(t, all[:strings.LastIndexByte(all, '\n')+1], `p_cpu,cpu=cpu0,host=node,site=attic usage_user=1.5,usage_idle=98i 1700000000000000000
p_cpu,cpu=cpu-total,host=node,site=cellar usage_user=2.5,usage_system=1 1700000000000000000
p_disk,fstype=ext4,host=node,path=/mnt/my\ disk,site=attic free=10i,label="a, \"b\" \\ = c" 1700000000000000000
`)
	requireLines(t, some[:strings.LastIndexByte(some, '\n')+1], `p_disk_s,fstype=ext4,path=/mnt/my\ disk free=10i,label="a, \"b\" \\ = c" 1700000000000000000
`)
	var status struct {
		Inputs, Outputs []struct {
			ID       string
			Filtered int64 `json:"filtered_lines"`
		}
	}
	if err := json.Unmarshal([]byte(stdout), &status); err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Concat(status.Inputs, status.Outputs) {
		gathers := map[string]int64{"exec": 4, "all": 0, "some": 2}[s.ID] // lines of each
		if gathers == 0 && s.Filtered != 0 || gathers > 0 && (s.Filtered == 0 || s.Filtered%gathers != 0) {
			t.Errorf("%s: %d filtered lines", s.ID, s.Filtered)
		}
	}
	if len(status.Inputs) != 1 || len(status.Outputs) != 2 {
		t.Errorf("%s", stdout)
	}
	if log := m.read("vitals-agent.log"); !strings.Contains(log, "inputs.exec.fieldpass: is an old name; write fieldinclude") {
		t.Error("no warning of fieldpass")
	}
	m.file("node.toml", strings.NewReplacer(`namepass = ["cpu", "disk", "net.*"]`, `namepass = ["**"]`, `fieldpass = ["usage_*", "free", "label"]`, `fieldinclude = ["f"]`,
		`name_suffix = "_s"`, `name_suffix = "_t"`).Replace(text))
	if stdout, stderr, code := run(t, m.command("vitals-agent", "reload")); code != 0 {
		t.Fatalf("reload: exit code %d\n%s%s", code, stdout, stderr)
	}
	eventually(t, 30*time.Second, func() string {
		want := `p_my\ name\,x_t,a\ b\=c=d\,e f=1 1700000000000000000` + "\n"
		if !strings.Contains(m.read("some.lines"), want) {
			return "the new filters have no effect"
		}
		return ""
	})
	agent.stop()
}

// requireLines fails unless text is want, once or several times over.
func requireLines(t *testing.T, text, want string) {
	t.Helper()
	if n := strings.Count(text, "\n") / strings.Count(want, "\n"); n == 0 || text != strings.Repeat(want, n) {
		t.Errorf("written:\n%s\nwant, once or more:\n%s", text, want)
	}
}

// TestFiltersAsTelegraf runs Telegraf and the agent with the same file and
// requires the same points of both.
func TestFiltersAsTelegraf(t *testing.T) {
	t.Parallel()
	telegraf := buildTelegraf(t)
	m := newMachine(t)
	m.script("print", printed)
	f := func(name string, want int, agent, input, output string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			file := m.file("telegraf.conf", fmt.Sprintf(`
[global_tags]
  site = "attic"
[agent]
  hostname = "node"
  skip_processors_after_aggregators = true
%s
[[outputs.file]]
  files = ["stdout"]
%s
[[inputs.exec]]
  commands = ["$DIR/print"]
  data_format = "influx"
%s
`, agent, output, input))
			ours, stderr, code := run(t, m.command("vitals-agent", "--config", file, "--once"))
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, stderr)
			}
			theirs, stderr, code := run(t, m.command(telegraf, "--config", file, "--once", "--strict-env-handling"))
			if code != 0 {
				t.Fatalf("Telegraf: exit code %d\n%s", code, stderr)
			}
			points := inOrder(t, ours)
			if len(points) != want {
				t.Errorf("%d points, want %d", len(points), want)
			}
			if diff := cmp.Diff(inOrder(t, theirs), points, cmp.AllowUnexported(point{})); diff != "" {
				t.Errorf("(-Telegraf +vitals-agent):\n%s", diff)
			}
		})
	}
	const tags = "\n[inputs.exec.tags]\n  rack = \"local\"\n  room = \"r\"\n"
	f("no filter", 7, "", tags, "")
	f("namepass", 3, "", `namepass = ["cpu", "disk"]`, "")
	f("namepass of globs", 5, "", `namepass = ["c?u", "net*", "[!n]isk"]`, "")
	f("namepass and namedrop", 1, "", `namepass = ["net*"]`+"\n"+`namedrop = ["*.tx.*"]`, "")
	f("one separator", 3, "", "namepass = [\"net.*.*\", \"c*\"]\nnamepass_separator = \".\"", "")
	f("two separators", 5, "", "namedrop = [\"my*\", \"net.**\"]\nnamedrop_separator = \". \"", "")
	f("braces without wildcard", 1, "", `namepass = ["{cpu,disk}"]`, "")
	f("braces with a wildcard", 3, "", `namepass = ["{cpu,disk}*"]`, "")
	f("braces with a separator", 3, "", "namepass = [\"{cpu,disk}\"]\nnamepass_separator = \".\"", "")
	f("escaped name", 1, "", `namepass = ["my name,x"]`, "")
	f("backslash beside a wildcard", 1, "", `namepass = ['\{*']`, "")
	f("namepass knows the first name", 2, "", "namepass = [\"cpu\"]\nname_override = \"x\"", "")
	f("tagpass", 3, "", "[inputs.exec.tagpass]\n cpu = [\"cpu0\"]\n iface = [\"e*\"]", "")
	f("tagpass does not see the input's tags", 1, "", "[inputs.exec.tagpass]\n rack = [\"local\", \"x\"]"+tags, "")
	f("tagpass without patterns", 1, "", "[inputs.exec.tagpass]\n cpu = []\n path = [\"/*\"]", "")
	f("tagpass and tagdrop", 1, "", "[inputs.exec.tagpass]\n cpu = [\"*\"]\n[inputs.exec.tagdrop]\n rack = [\"x\"]", "")
	f("tagdrop, escaped", 5, "", "[inputs.exec.tagdrop]\n \"a b=c\" = [\"d,e\"]\n path = [\"/mnt/my disk\"]", "")
	f("fieldinclude", 3, "", `fieldinclude = ["usage_*", "used percent"]`, "")
	f("fieldinclude and fieldexclude", 4, "", "fieldinclude = [\"usage_*\", \"f\"]\nfieldexclude = [\"*_idle\"]", "")
	f("old names", 2, "", "fieldpass = [\"usage_user\", \"value\"]\nfielddrop = [\"value\"]", "")
	f("taginclude", 7, "", `taginclude = ["cpu", "site"]`+tags, "")
	f("tagexclude", 7, "", `tagexclude = ["host", "r*"]`+tags, "")
	f("always include local tags", 7, "  always_include_local_tags = true", `taginclude = ["cpu"]`+tags, "")
	f("always include global tags", 7, "  always_include_global_tags = true", `tagexclude = ["*"]`+tags, "")
	f("always include both", 7, "  always_include_local_tags = true\n  always_include_global_tags = true", `tagexclude = ["rack", "site"]`+tags, "")
	f("names", 7, "", "name_override = \"o p\"\nname_prefix = \"p,\"\nname_suffix = \"_s\"", "")
	f("output, names", 5, "", "name_prefix = \"p_\"", "namepass = [\"p_*\"]\nnamedrop = [\"p_net*\"]\nname_override = \"o\"\nname_prefix = \"q_\"\nname_suffix = \"_t\"")
	f("output, all tags", 5, "", tags, "[outputs.file.tagpass]\n rack = [\"local\"]\n[outputs.file.tagdrop]\n site = [\"cell*\"]")
	f("output, fields and tags", 5, "", tags, "fieldexclude = [\"usage_*\", \"label\"]\ntaginclude = [\"r*\", \"path\"]")
	f("both", 2, "", "namepass = [\"cpu\", \"disk\"]\ntagexclude = [\"host\"]", "namedrop = [\"disk\"]\nfieldexclude = [\"usage_idle\"]")
}

// inOrder are the points of lines, in an order of their own: those of Telegraf
// have none.
func inOrder(t *testing.T, text string) []point {
	t.Helper()
	if !strings.Contains(text, "\n") {
		return nil
	}
	all := parse(t, text)
	key := func(p point) string { return fmt.Sprint(p.name, p.tags, p.fields, p.time) }
	slices.SortFunc(all, func(a, b point) int { return strings.Compare(key(a), key(b)) })
	return all
}
