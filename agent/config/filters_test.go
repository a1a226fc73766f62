package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/selection"
)

// Inputs and outputs have the same filters.
func TestFiltersAreRead(t *testing.T) {
	f := func(name, options string, want selection.Options, warnings ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			c, err := load(t, "[[inputs.cpu]]\n"+options+"[[outputs.file]]\n", Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, c.Inputs[0].Filter.Options()); diff != "" {
				t.Error("input", diff)
			}
			if len(c.Inputs[0].TOML) > 0 {
				t.Errorf("the collector gets %s", c.Inputs[0].TOML)
			}
			checkWarnings(t, c.Warnings, warnings)
			c, err = load(t, "[[inputs.cpu]]\n[[outputs.file]]\n"+strings.ReplaceAll(options, "inputs.cpu", "outputs.file"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, c.Outputs[0].Filter.Options()); diff != "" {
				t.Error("output", diff)
			}
			checkWarnings(t, c.Warnings, warnings)
		})
	}
	type list = []string
	f("none", "", selection.Options{})
	f("empty", "namepass = []\nfieldinclude = []\n", selection.Options{})
	f("a separator alone", "namepass_separator = \".\"\n", selection.Options{})
	f("names", "namepass = [\"a\"]\nnamedrop = [\"b\", \"c\"]\n", selection.Options{NamePass: list{"a"}, NameDrop: list{"b", "c"}})
	f("separators", "namepass = [\"a\"]\nnamepass_separator = \".\"\nnamedrop = [\"b\"]\nnamedrop_separator = \"/:\"\n",
		selection.Options{NamePass: list{"a"}, NamePassSeparators: ".", NameDrop: list{"b"}, NameDropSeparators: "/:"})
	f("tags", "taginclude = [\"a\"]\ntagexclude = [\"b\"]\n", selection.Options{TagInclude: list{"a"}, TagExclude: list{"b"}})
	f("values of tags", "[inputs.cpu.tagpass]\ncpu = [\"cpu0\", \"cpu1\"]\n[inputs.cpu.tagdrop]\na = [\"b\"]\nc = []\n",
		selection.Options{TagPass: map[string][]string{"cpu": {"cpu0", "cpu1"}}, TagDrop: map[string][]string{"a": {"b"}, "c": {}}})
	f("values of tags in line", "tagpass = {cpu = [\"cpu0\"]}\n", selection.Options{TagPass: map[string][]string{"cpu": {"cpu0"}}})
	f("no tagpass at all", "[inputs.cpu.tagpass]\n", selection.Options{})
	f("fields", "fieldinclude = [\"a\"]\nfieldexclude = [\"b\"]\n", selection.Options{FieldInclude: list{"a"}, FieldExclude: list{"b"}})
	f("old names of fieldinclude", "fieldpass = [\"b\"]\npass = [\"a\"]\nfieldinclude = [\"c\"]\n", selection.Options{FieldInclude: list{"a", "b", "c"}},
		".pass: is an old name; write fieldinclude", ".fieldpass: is an old name; write fieldinclude")
	f("old names of fieldexclude", "fielddrop = [\"b\"]\ndrop = [\"a\"]\nfieldexclude = [\"c\"]\n", selection.Options{FieldExclude: list{"a", "b", "c"}},
		".drop: is an old name; write fieldexclude", ".fielddrop: is an old name; write fieldexclude")
	f("always_include_local_tags, false", "always_include_local_tags = false\n", selection.Options{})
	f("always_include_local_tags, true", "always_include_local_tags = true\n", selection.Options{}, ".always_include_local_tags: has no effect here")
	f("no metricpass", "metricpass = \"\"\n", selection.Options{})
}

// checkWarnings compares warnings with their ends; each names a line.
func checkWarnings(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("warnings %q, want %q", got, want)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) || !strings.Contains(got[i], "node.toml:") {
			t.Errorf("warning %q, want %q", got[i], want[i])
		}
	}
}

func TestMistakesOfFilters(t *testing.T) {
	f := func(name, options string, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			for _, kind := range []string{"inputs.cpu", "outputs.file"} {
				text := "[[inputs.cpu]]\n" + options + "[[outputs.file]]\n"
				if kind == "outputs.file" {
					text = "[[inputs.cpu]]\n[[outputs.file]]\n" + strings.ReplaceAll(options, "inputs.cpu", kind)
				}
				_, err := load(t, text, Options{})
				if err == nil {
					t.Fatal("accepted")
				}
				for _, w := range want {
					if !strings.Contains(err.Error(), strings.ReplaceAll(w, "KIND", kind)) {
						t.Errorf("%q is not in:\n%v", w, err)
					}
				}
			}
		})
	}
	const notOne = `"x[" is not a pattern`
	f("namepass", "namepass = [\"a\", \"x[\"]\n", "KIND.namepass: "+notOne, "write a backslash")
	f("namedrop", "namedrop = [\"x[\"]\n", "KIND.namedrop: "+notOne)
	f("fieldinclude", "fieldinclude = [\"x[\"]\n", "KIND.fieldinclude: "+notOne)
	f("pass", "pass = [\"x[\"]\nfieldinclude = [\"a\"]\n", "KIND.pass: "+notOne)
	f("fielddrop", "fielddrop = [\"x[\"]\n", "KIND.fielddrop: "+notOne)
	f("taginclude", "taginclude = [\"x[\"]\n", "KIND.taginclude: "+notOne)
	f("tagexclude", "tagexclude = [\"x[\"]\n", "KIND.tagexclude: "+notOne)
	f("tagpass", "[inputs.cpu.tagpass]\ncpu = [\"x[\"]\n", "KIND.tagpass.cpu: "+notOne)
	f("tagdrop", "[inputs.cpu.tagdrop]\ncpu = [\"x[\"]\n", "KIND.tagdrop.cpu: "+notOne)
	f("tagpass is a list", "tagpass = [\"cpu0\"]\n", "KIND.tagpass: must be a table of lists: [KIND.tagpass], and below it a line for each tag")
	f("tagdrop is a list", "tagdrop = [\"cpu0\"]\n", "KIND.tagdrop: must be a table of lists")
	f("tagpass of a text", "[inputs.cpu.tagpass]\ncpu = \"cpu0\"\n", "KIND.tagpass.cpu: must be an array")
	f("an option below tagpass", "[inputs.cpu.tagpass]\ncpu = [\"a\"]\nalias = \"x\"\n", "KIND.tagpass.alias: must be an array")
	f("namepass is a text", "namepass = \"cpu\"\n", "KIND.namepass: must be an array")
	f("namepass of numbers", "namepass = [1]\n", "KIND.namepass")
	f("a separator that is a list", "namepass_separator = [\".\"]\n", "KIND.namepass_separator: must be a string")
	f("metricpass", "metricpass = \"name == 'cpu'\"\n", "KIND.metricpass: this version of vitals-agent does not read CEL yet; say it with namepass")
	f("a name with a line break", "name_prefix = \"a\\nb\"\n", "a name cannot hold a line break")
	f("the line of the option", "\n\nnamepass = [\"x[\"]\n", "KIND.namepass")
}

func TestTheLineOfABadPattern(t *testing.T) {
	_, err := load(t, "[[inputs.cpu]]\n\nnamepass = [\n \"a\", \"x[\"]\n[inputs.cpu.tagpass]\ncpu = [\"y[\"]\n[[outputs.file]]\n", Options{})
	if err == nil || !strings.Contains(err.Error(), "node.toml:3") {
		t.Error(err)
	}
}

func TestAlwaysIncludeIsTheAgentsWhereverItStands(t *testing.T) {
	const agent = "[agent]\nalways_include_local_tags = true\nalways_include_global_tags = true\n"
	const rest = "[[inputs.cpu]]\n[[outputs.file]]\n"
	f := func(name string, want bool, files ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			var from Sources
			for i, text := range files {
				path := filepath.Join(t.TempDir(), string(rune('a'+i))+".conf")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				from.Files = append(from.Files, path)
			}
			c, err := Read(from, Options{Builtins: builtins()})
			if err != nil {
				t.Fatal(err)
			}
			if in := c.Inputs[0]; in.AlwaysLocalTags != want || in.AlwaysGlobalTags != want {
				t.Errorf("%v, %v", in.AlwaysLocalTags, in.AlwaysGlobalTags)
			}
		})
	}
	f("nowhere", false, rest)
	f("first", true, agent+rest)
	f("last", true, rest+agent)
	f("in a file before", true, agent, rest)
	f("in a file behind", true, rest, agent)
}

func TestOutputsRename(t *testing.T) {
	c, err := load(t, "[[inputs.cpu]]\n[[outputs.file]]\nname_override = \"a\"\nname_prefix = \"b\"\nname_suffix = \"c\"\n", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Outputs[0]; o.NameOverride != "a" || o.Prefix != "b" || o.Suffix != "c" {
		t.Errorf("%+v", o)
	}
}

// Inputs that differ in what passes do not write the same lines, and one whose
// filters change is another.
func TestFiltersTellInputsApart(t *testing.T) {
	const out = "[[outputs.file]]\n"
	of := func(text string) *Config {
		t.Helper()
		c, err := load(t, text+out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := of("[[inputs.cpu]]\nnamepass = [\"a*\"]\n[[inputs.cpu]]\nnamepass = [\"b*\"]\n[[inputs.cpu]]\nnamepass = [\"a*\"]\n")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "table of line 1") {
		t.Errorf("%q", c.Warnings)
	}
	if !c.Inputs[0].Same(&c.Inputs[2]) || c.Inputs[0].Same(&c.Inputs[1]) {
		t.Error("Same")
	}
	always := of("[agent]\nalways_include_local_tags = true\n[[inputs.cpu]]\nnamepass = [\"a*\"]\n")
	if always.Inputs[0].Same(&c.Inputs[0]) {
		t.Error("Same, though a setting of the agent has changed")
	}
}
