package nodefile

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

type options struct {
	Interval Duration          `toml:"interval"`
	Batch    int               `toml:"metric_batch_size"`
	Debug    bool              `toml:"debug"`
	Limit    Size              `toml:"limit"`
	Names    []string          `toml:"names"`
	Tags     map[string]string `toml:"tags"`
	Inner    struct {
		Depth int `toml:"depth"`
	} `toml:"inner"`
}

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("node.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}

func TestMistakesNameFileLineAndKey(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"misspelt key", "[agent]\n\n# note\nintervall = '1s'", `node.toml:4:1: agent.intervall: unknown option; did you mean "interval"?`},
		{"far from any key", "[agent]\nzzzzzz = 1", `node.toml:2:1: agent.zzzzzz: unknown option`},
		{"string for integer", "[agent]\nmetric_batch_size = 'many'", `node.toml:2:1: agent.metric_batch_size: must be an integer, not a string`},
		{"integer for bool", "[agent]\ndebug = 1", `node.toml:2:1: agent.debug: must be a boolean, not an integer`},
		{"string for array", "[agent]\nnames = 'a'", `node.toml:2:1: agent.names: must be an array, not a string`},
		{"string for table", "[agent]\ntags = 'a'", `node.toml:2:1: agent.tags: must be a table, not a string`},
		{"array for table", "[agent]\ntags = ['a']", `node.toml:2:1: agent.tags: must be a table, not an array`},
		{"bad duration", "[agent]\ninterval = '10 parsecs'", `node.toml:2:1: agent.interval: "10 parsecs" is not a duration; write it as "10s", "1h30m" or "7d"`},
		{"bad size", "[agent]\nlimit = '8 buckets'", `node.toml:2:1: agent.limit: "8 buckets" has no known unit; the units are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB`},
		{"nested key", "[agent]\n[agent.inner]\ndepht = 1", `node.toml:3:1: agent.inner.depht: unknown option; did you mean "depth"?`},
		{"after a multi-line string", "[agent]\nnames = ['''\n[x]\ny = 1\n''', \"a\"]\nbatch = 1", `node.toml:6:1: agent.batch: unknown option`},
		{"quoted key", "[agent]\n\"de bug\" = true", `node.toml:2:1: agent.de bug: unknown option; did you mean "debug"?`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := parse(t, tt.text).Table("agent")
			err := s.Decode(&options{})
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
		})
	}
}

func TestColumnsCountCharacters(t *testing.T) {
	s, _ := parse(t, "[agent]\n\t  colour = 1\nnames = ['''\nö''']\n [agent.inner]\n  [agent.inner.'ä']\n").Table("agent")
	want := "node.toml:2:4: agent.colour: unknown option\nnode.toml:6:3: agent.inner.ä: unknown option"
	if err := s.Decode(&options{}); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestAllMistakesAreReportedTogether(t *testing.T) {
	s, _ := parse(t, "[agent]\ndebug = 'x'\nmetric_batch_size = true\nlimt = 3").Table("agent")
	err := s.Decode(&options{})
	want := "node.toml:2:1: agent.debug: must be a boolean, not a string\n" +
		"node.toml:3:1: agent.metric_batch_size: must be an integer, not a boolean\n" +
		`node.toml:4:1: agent.limt: unknown option; did you mean "limit"?`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%v", err, want)
	}
}

func TestTopLevelTables(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"misspelt", "[agent]\n[relays]\n", `node.toml:2:1: relays: neither vitals-agent nor vitals-relay has a table of this name; did you mean "relay"?`},
		{"a collector", "\n[cpu]\n", `node.toml:2:1: cpu: neither vitals-agent nor vitals-relay has a table of this name; a collector is configured as [[inputs.cpu]]`},
		{"a stray key", "interval = '1s'", `node.toml:1:1: interval: neither vitals-agent nor vitals-relay has a table of this name`},
		{"syntax", "[agent]\ninterval = 10s\n", `node.toml:2:14: `},
		{"a table that ends with its line", "[agent\n  interval = 3\n", `node.toml:1:7: expected '.' or ']'`},
		{"a value that ends with its line", "[agent]\ninterval =\nx = 1\n", `node.toml:2:11: expected value`},
		{"a text that ends with its line", "[agent]\r\nname = \"é\r\nx = 1\r\n", `node.toml:2:10: strings cannot contain newlines`},
		{"defined twice", "[agent]\ndebug = true\ndebug = false\n", `node.toml:3:1: `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("node.toml", []byte(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %v", err, tt.want)
			}
		})
	}
}

func TestPluginsKeepTheOrderOfTheFile(t *testing.T) {
	f := parse(t, `
[[inputs.ram]]
[[inputs.cpu]]
  percpu = false
[inputs.swap]
[[inputs.cpu]]
  [inputs.cpu.tags]
    rack = "a"
`)
	sections, err := f.Plugins("inputs")
	if err != nil {
		t.Fatal(err)
	}
	type at struct {
		Path string
		Line int
		Keys string
	}
	var got []at
	for _, s := range sections {
		got = append(got, at{s.Path(), s.Line, strings.Join(s.Keys(), " ")})
	}
	want := []at{{"inputs.ram", 2, ""}, {"inputs.cpu", 3, "percpu"}, {"inputs.swap", 5, ""}, {"inputs.cpu", 6, "tags"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	tags, err := sections[3].Sub("tags")
	if err != nil || len(tags) != 1 || tags[0].Line != 7 {
		t.Errorf("tags of the second cpu: %+v, %v", tags, err)
	}
	if got := sections[3].Errorf("tags.rack", "no").Error(); got != "node.toml:8:5: inputs.cpu.tags.rack: no" {
		t.Errorf("Errorf: %s", got)
	}
}

func TestTakePartsOptions(t *testing.T) {
	sections, _ := parse(t, "[[inputs.cpu]]\ninterval = '5s'\npercpu = false\n").Plugins("inputs")
	host := sections[0].Take("interval", "alias")
	doc, err := sections[0].TOML()
	if err != nil || string(doc) != "percpu = false\n" {
		t.Errorf("what is left: %q, %v", doc, err)
	}
	js, err := host.JSON()
	if err != nil || string(js) != `{"interval":"5s"}` {
		t.Errorf("what was taken: %s, %v", js, err)
	}
}

func TestAPlainStringIsNeverReinterpreted(t *testing.T) {
	s, _ := parse(t, "[agent]\ndebug = 'true'").Table("agent")
	if err := s.Decode(&options{}); err == nil {
		t.Error("a string was taken for a boolean")
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1d": 24 * time.Hour, "1.5d12h": 48 * time.Hour, "": 0,
		"90": 90 * time.Second, "-1s": -time.Second, "250ms": 250 * time.Millisecond,
	} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.Std() != want {
			t.Errorf("%q: %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"d", "1dd", "ten", "1e300", "999999d"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"8MiB": 8 << 20, "1 GB": 1e9, "512": 512, "1.5KiB": 1536, "2tb": 2e12, "7b": 7,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: %d, %v; want %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1MiBB", "1e9", "9999999TB", "1kkb"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"interval", "flush_interval", "precision", "urls"}
	for word, want := range map[string]string{
		"intervall": "interval", "Interval": "interval", "url": "urls", "percision": "precision", "timeout": "", "flush_intervl": "flush_interval",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.toml")
	if _, err := Load(path, "relay"); !os.IsNotExist(err) && !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("\ufeff[agent]\ndebug = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Load(path, "relay")
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := f.Table("agent"); !ok || !s.Has("debug") {
		t.Errorf("agent table: %+v", s)
	}
}

// What the TOML library would need gigabytes for is refused before it is parsed.
func TestDepthIsBounded(t *testing.T) {
	const much = 40_000
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	f := func(name, text, want string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse("node.toml", []byte(text))
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 50<<20 {
				t.Errorf("%d MB", used>>20)
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), "node.toml:"+want+": more than 32 names and brackets")) {
				t.Errorf("%.200v; want %s", err, want)
			}
		})
	}
	f("open", "[agent]\n  x = "+strings.Repeat("[", much), "2:38")
	f("closed", "[agent]\nx = "+nested(much/2), "2:36")
	f("as deep as may be", "[agent]\nx = "+nested(maxDepth-2), "")
	f("one deeper", "[agent]\nx = "+nested(maxDepth-1), "2:36")
	f("tables", "[agent]\nx = "+strings.Repeat("{a=", much/3), "2:96")
	f("lines", "[agent]\nx = "+strings.Repeat("[\n", much), "32:2")
	f("a name", "[agent]\n"+strings.Repeat("a.", much/2)+"a = 1", "2:1")
	f("a name within", "[agent]\nx = {"+strings.Repeat("a.", much/2)+"a = 1}", "2:66")
	f("names of tables", "["+strings.Repeat("a.", much/2)+"a]", "1:1")
	f("names of tables, quoted", "[["+strings.Repeat("'a'.", much/4)+"a]]", "1:1")
	f("behind a text", "[agent]\nx = ['''\n]''', \"\\\"]\", # ]\n"+nested(much), "4:31")
	f("in a text", "[agent]\nx = '''"+nested(much)+"''' #"+nested(much)+"\n# "+nested(much)+"\ny = \""+nested(much)+"\\\"\"", "")
	f("side by side", "[agent]\nx = ["+strings.Repeat("[1.5],", much)+"]", "")
}

// FuzzDepth looks for text behind which brackets are overlooked.
func FuzzDepth(f *testing.F) {
	f.Add("[agent]\na = \"[\"\n")
	f.Add("a = '''\n]''' # [\n[[b]]\n")
	f.Add("a = {b.c = [1, 2.5], \"d\" = '}'}\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Count(text, ".")+strings.Count(text, "[")+strings.Count(text, "{") > maxDepth/2 {
			return
		}
		text += "\ndeep = "
		var sound map[string]any
		if _, err := toml.Decode(text+"[]", &sound); err != nil {
			return
		}
		if _, deep := locate(text + "[]"); deep.line > 0 {
			t.Errorf("%q is no deeper than it may be", text)
		}
		if _, deep := locate(text + strings.Repeat("[", maxDepth+1)); deep.line == 0 {
			t.Errorf("brackets behind %q are overlooked", text)
		}
	})
}

// FuzzParse looks for text that the TOML library accepts and that then makes
// the rest of the package fail.
func FuzzParse(f *testing.F) {
	f.Add("[agent]\ninterval = '1s'\n[[inputs.cpu]]\n[inputs.cpu.tags]\na = \"${X:-b}\"\n")
	f.Add("a.b.\"c d\" = {x = [1, 2], y = '''\n'''}\n")
	f.Add("[[inputs.x]]\nk = \"\"\"a\"\"\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("node.toml", []byte(text))
		if err != nil {
			return
		}
		s, _ := file.Table("agent")
		_ = s.Decode(&options{})
		for _, kind := range []string{"inputs", "outputs"} {
			sections, _ := file.Plugins(kind)
			for _, s := range sections {
				if s.Line <= 0 || s.Line > strings.Count(text, "\n")+1 {
					t.Errorf("%s has line %d", s.Path(), s.Line)
				}
				if _, err := s.TOML(); err != nil {
					t.Errorf("TOML: %v", err)
				}
			}
		}
	})
}

// Of a table of many values every one that is wrong is told of, and what is
// right is read, each time.
func TestEveryMistakeOfATable(t *testing.T) {
	for range 20 {
		s, _ := parse(t, "[agent]\n[agent.tags]\na = 'x'\nb = 1\nc = 'y'\nd = true\n").Table("agent")
		var got options
		err := s.Decode(&got)
		want := "node.toml:4:1: agent.tags.b: must be a string, not an integer\nnode.toml:6:1: agent.tags.d: must be a string, not a boolean"
		if err == nil || err.Error() != want {
			t.Fatalf("%v, want %s", err, want)
		}
		if d := cmp.Diff(map[string]string{"a": "x", "c": "y"}, got.Tags); d != "" {
			t.Fatal(d)
		}
		if table := s.Values["tags"].(map[string]any); len(table) != 4 {
			t.Fatalf("the section itself has changed: %v", table)
		}
	}
}
