package nodefile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// joined reads texts as the files a.toml, b.toml and so on.
func joined(t *testing.T, texts ...string) *Files {
	t.Helper()
	var all []*File
	for i, text := range texts {
		f, err := Parse(string(rune('a'+i))+".toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return Join(all...)
}

func TestTablesOfSeveralFilesAreOne(t *testing.T) {
	f := joined(t, "[agent]\ndebug = true\ninterval = 5\n", "[[inputs.x]]\n", "\n[agent]\nmetric_batch_size = 7\n interval = '7s'\n")
	s, ok := f.Table("agent")
	var got options
	if err := s.Decode(&got); err != nil || !ok {
		t.Fatal(err, ok)
	}
	if !got.Debug || got.Batch != 7 || got.Interval.String() != "7s" {
		t.Errorf("joined: %+v", got)
	}
	want := []string{"several [agent] tables (a.toml:1, c.toml:2) set interval; the last one counts"}
	if d := cmp.Diff(want, f.Warnings); d != "" {
		t.Error(d)
	}
	for key, want := range map[string]string{
		"debug": "a.toml:2:1: agent.debug: no", "interval": "c.toml:4:2: agent.interval: no", "other": "a.toml:1:1: agent.other: no",
	} {
		if got := s.Errorf(key, "no").Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestMistakesOfSeveralFilesComeInTheirOrder(t *testing.T) {
	t.Setenv("V_NO", "maybe")
	f := joined(t, "\n\n[agent]\n\ndebug = 1\n", "[agent]\nmetric_batch_size = '$V_NO'\n[agent.inner]\ndepht = 1\n")
	s, _ := f.Table("agent")
	want := "a.toml:5:1: agent.debug: must be a boolean, not an integer\n" +
		"b.toml:2:1: agent.metric_batch_size: must be an integer, not a string; the variable in it spells no number and neither true nor false\n" +
		`b.toml:4:1: agent.inner.depht: unknown option; did you mean "depth"?`
	if err := s.Decode(&options{}); err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%v", err, want)
	}
}

func TestVariablesAreReadAsTheirFileHasThem(t *testing.T) {
	t.Setenv("V_NUMBER", "3")
	f := joined(t, "[agent]\ndebug = true\n", "[agent]\nmetric_batch_size = '$V_NUMBER'\n")
	s, _ := f.Table("agent")
	var got options
	if err := s.Take("metric_batch_size").Decode(&got); err != nil || got.Batch != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPluginsOfSeveralFiles(t *testing.T) {
	f := joined(t, "[[plugins.a]]\n[[inputs.b]]\n", "", "[inputs.c]\n[[plugins.d]]\n")
	all, err := f.Plugins("inputs")
	var got []string
	for _, s := range all {
		got = append(got, s.Path())
	}
	if want := "plugins.a inputs.b inputs.c plugins.d"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%q, %v; want %s", got, err, want)
	}
	if s, ok := f.Table("agent"); ok || s.Has("x") || s.Decode(&options{}) != nil {
		t.Errorf("a table that no file has: %+v, %v", s, ok)
	}
	if s, ok := Join().Table("agent"); ok || len(s.Keys()) > 0 {
		t.Errorf("a table of no file: %+v, %v", s, ok)
	}
}
