package nodefile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// environ sets the variables of the tests below.
func environ(t *testing.T) {
	for name, value := range map[string]string{
		"V_TRUE": "true", "V_FALSE": " FALSE ", "V_NUMBER": "250", "V_FLOAT": "1.5", "V_TIME": "90s", "V_EMPTY": "",
		"V_TEXT": `a"b = 1`, "V_DOLLAR": "$V_NUMBER", "V_LINES": "1\nmetric_batch_size = 7", "v_low": "low",
	} {
		t.Setenv(name, value)
	}
}

func TestVariablesInStrings(t *testing.T) {
	environ(t)
	const left = "is not set and is left as written"
	f := func(text, want string, warned ...string) {
		t.Helper()
		file := parse(t, "[agent]\n\nnames = ['"+text+"']\n")
		s, _ := file.Table("agent")
		var got options
		if err := s.Decode(&got); err != nil || len(got.Names) != 1 || got.Names[0] != want {
			t.Errorf("%s: %q, %v; want %q", text, got.Names, err, want)
		}
		if len(file.Warnings) != len(warned) {
			t.Errorf("%s: warnings %q; want %q", text, file.Warnings, warned)
			return
		}
		for i, w := range warned {
			if got := file.Warnings[i]; !strings.HasPrefix(got, "node.toml:3:1: agent.names: the environment variable "+w) {
				t.Errorf("%s: warning %q; want %q", text, got, w)
			}
		}
	}
	f("plain", "plain")
	f("$V_NUMBER", "250")
	f("${V_NUMBER}", "250")
	f("a${V_NUMBER}b$V_NUMBER-c", "a250b250-c")
	f("$v_low$V_low", "low$V_low", "V_low "+left)
	f("$V_UNSET", "$V_UNSET", "V_UNSET "+left)
	f("x${V_UNSET}y", "x${V_UNSET}y", "V_UNSET "+left)
	f("${V_EMPTY}", "")
	f("${V_NUMBER:-7}", "250")
	f("${V_NUMBER-7}", "250")
	f("${V_UNSET:-7}", "7")
	f("${V_UNSET-7}", "7")
	f("${V_EMPTY:-7}", "7")
	f("${V_EMPTY-7}", "")
	f("${V_UNSET:-}", "")
	f("${V_UNSET:-${V_NUMBER}}", "250")
	f("${V_UNSET:-a${V_GONE:-b}c}d", "abcd")
	f("${V_UNSET:-$V_NUMBER}", "250")
	f("${V_UNSET:-${V_GONE}}", "${V_GONE}", "V_GONE "+left)
	f("${V_UNSET:-a-b:?c}", "a-b:?c")
	f("${V_NUMBER:?must be set}", "250")
	f("${V_EMPTY?must be set}", "")
	f("$$V_NUMBER", "$V_NUMBER")
	f("$${V_NUMBER}", "${V_NUMBER}")
	f("$$$V_NUMBER", "$250")
	f("${V_UNSET:-$$x}", "$x")
	f("$V_DOLLAR", "$V_NUMBER") // what a variable holds is not read again
	f("$V_TEXT", `a"b = 1`)
	f("${1}", "${1}")
	f("$1 ^a$ $", "$1 ^a$ $")
	f("${}", "${}")
	f("${V_NUMBER", "${V_NUMBER")
	f("${V_UNSET:-x", "${V_UNSET:-x")
	f("${V-NUMBER}", "NUMBER")
	f("${V_NUMBER:+x}", "${V_NUMBER:+x}")
	f("${V_NUMBER/x}", "${V_NUMBER/x}")
}

func TestVariablesThatMustBeSet(t *testing.T) {
	environ(t)
	f := func(text, want string) {
		t.Helper()
		_, err := Parse("node.toml", []byte("[agent]\n  names = ['"+text+"']\n"))
		if err == nil || err.Error() != "node.toml:2:3: agent.names: the environment variable "+want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	f("${V_UNSET:?say which}", "V_UNSET is not set: say which")
	f("${V_UNSET?say which}", "V_UNSET is not set: say which")
	f("${V_EMPTY:?say which}", "V_EMPTY is not set: say which")
	f("${V_UNSET?}", "V_UNSET is not set: the file cannot do without it")
	f("${V_UNSET:-${V_GONE?or this}}", "V_GONE is not set: or this")
}

func TestVariablesBecomeWhatTheOptionIs(t *testing.T) {
	environ(t)
	type numbers struct {
		options
		Float float64  `toml:"float"`
		List  []int    `toml:"list"`
		Words []string `toml:"words"`
	}
	f := func(text string, want numbers) {
		t.Helper()
		s, _ := parse(t, "[agent]\n"+text).Table("agent")
		var got numbers
		if err := s.Decode(&got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(numbers{})); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
	f(`debug = "${V_TRUE}"`, numbers{options: options{Debug: true}})
	f(`debug = "${V_UNSET:-true}"`, numbers{options: options{Debug: true}})
	f(`debug = "${V_FALSE}"`, numbers{})
	f(`metric_batch_size = "$V_NUMBER"`, numbers{options: options{Batch: 250}})
	f(`metric_batch_size = "${V_NUMBER}0"`, numbers{options: options{Batch: 2500}})
	f(`float = "$V_FLOAT"`, numbers{Float: 1.5})
	f(`list = ["1${V_EMPTY}", "$V_NUMBER"]`, numbers{List: []int{1, 250}})
	f(`words = ["$V_NUMBER", "$V_TRUE"]`, numbers{Words: []string{"250", "true"}})
	f(`interval = "$V_TIME"`, numbers{options: options{Interval: Duration(90 * time.Second)}})
	f(`interval = "$V_NUMBER"`, numbers{options: options{Interval: Duration(250 * time.Second)}})
	f(`limit = "$V_NUMBER"`, numbers{options: options{Limit: 250}})
	f("[agent.inner]\ndepth = '$V_NUMBER'", numbers{options: options{Inner: struct {
		Depth int `toml:"depth"`
	}{250}}})
	f("[agent.tags]\na = '$V_NUMBER'", numbers{options: options{Tags: map[string]string{"a": "250"}}})
}

func TestVariablesOfTheWrongForm(t *testing.T) {
	environ(t)
	f := func(text, want string) {
		t.Helper()
		s, _ := parse(t, "[agent]\n"+text).Table("agent")
		if err := s.Decode(&options{}); err == nil || err.Error() != "node.toml:2:1: "+want {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	const spells = "; the variable in it spells no number and neither true nor false"
	f(`debug = "$V_TEXT"`, "agent.debug: must be a boolean, not a string"+spells)
	f(`debug = "$V_EMPTY"`, "agent.debug: must be a boolean, not a string"+spells)
	f(`debug = "$V_NUMBER"`, "agent.debug: must be a boolean, not an integer")
	f(`metric_batch_size = "$V_LINES"`, "agent.metric_batch_size: must be an integer, not a string"+spells)
	f(`debug = "true"`, "agent.debug: must be a boolean, not a string") // no variable, no coercion
}

// In Telegraf's older files variables could be anywhere.
func TestVariablesOutsideStrings(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Parse("node.toml", []byte("[agent]\n"+text+"\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "node.toml:2:") || strings.Contains(err.Error(), "in quotes") != (want != "") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	const quotes = `; a variable stands in quotes, for numbers and booleans too: debug = "${DEBUG}"`
	f("debug = ${DEBUG}", quotes)
	f("debug = $DEBUG", quotes)
	f("urls = [${A}, 'b']", quotes)
	f("${DEBUG} = true", quotes)
	f("debug = yes", "")
}

func TestVariablesWhereTheyMeanNothing(t *testing.T) {
	environ(t)
	file := parse(t, "# $V_UNSET ${V_UNSET:?x}\n[agent] # $V_UNSET\n[agent.tags]\n\"$V_NUMBER\" = \"a\" # ${V_UNSET?}\n")
	s, _ := file.Table("agent")
	var got options
	if err := s.Decode(&got); err != nil || got.Tags["$V_NUMBER"] != "a" || len(file.Warnings) > 0 {
		t.Errorf("%v, %v, %v", got.Tags, err, file.Warnings)
	}
}
