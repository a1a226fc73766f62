package glob

import (
	"strings"
	"testing"
	"unicode/utf8"

	gobwas "github.com/gobwas/glob"
)

func TestMatch(t *testing.T) {
	f := func(pattern, separators, name string, want bool) {
		t.Helper()
		g, err := Compile(pattern, []rune(separators)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Match(name); got != want {
			t.Errorf("%q with separators %q, %q: %v", pattern, separators, name, got)
		}
	}
	f("", "", "", true)
	f("", "", "a", false)
	f("cpu", "", "cpu", true)
	f("cpu", "", "cpus", false)
	f("c*", "", "cpu", true)
	f("*", "", "", true)
	f("*", "", "a\nb", true)
	f("c?u", "", "cpu", true)
	f("c?u", "", "cu", false)
	f("a.c", "", "abc", false)
	f("*.*", ".", "a.b", true)
	f("*.*", ".", "a.b.c", false)
	f("a?c", ".", "a.c", false)
	f("**", ".", "a.b.c", true)
	f("a**c", "./", "a.b/c", true)
	f("[abc]x", "", "bx", true)
	f("[abc]x", "", "dx", false)
	f("[!abc]x", "", "dx", true)
	f("[!abc]x", "", "ax", false)
	f("cpu[0-9]", "", "cpu7", true)
	f("cpu[!0-9]", "", "cpu7", false)
	f("cpu[!0-9]", "", "cpux", true)
	f("[^.]x", "", "^x", true)
	f(`[\\]`, "", `\`, true)
	f("{cpu,mem}*", "", "mem", true)
	f("{cpu,mem}*", "", "swap", false)
	f("{a*,b?}c", "", "axc", true)
	f("{a,{b,c}}", "", "c", true)
	f("{a,}x", "", "x", true)
	f(`\*`, "", "*", true)
	f(`\*`, "", "a", false)
	f("a,b", "", "a,b", true)
	f("(a|b)+", "", "(a|b)+", true)
	f("(a|b)+", "", "a", false)
}

// Here gobwas/glob has no or wrong answers.
func TestMatchBeyondASCII(t *testing.T) {
	f := func(pattern, name string, want bool) {
		t.Helper()
		g, err := Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Match(name); got != want {
			t.Errorf("%q, %q: %v", pattern, name, got)
		}
	}
	f("Z?rich", "Zürich", true)
	f("Z?rich*", "Zürich-1", true)
	f("[ü-ÿ]x?", "üxö", true)
	f("*[iü]r*", "Zürich", true)
	f("*[!ü]r*", "Zürich", false)
	f("??", "日本", true)
	f("?", "日本", false)
	f("a?", "a\xff", true)
}

func TestNotAPattern(t *testing.T) {
	f := func(pattern string) {
		t.Helper()
		if g, err := Compile(pattern); err == nil || g != nil {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	f("x[")
	f("[z-a]")
	f("[]")
	f("\xff*")
}

// FuzzMatch: what gobwas/glob accepts is accepted, but for what regular
// expressions have no room for, and a text without wildcards stands for itself.
func FuzzMatch(f *testing.F) {
	f.Add("{a*,[b-d]?}**", ".", "a.bc")
	f.Add("[!ü]*", "", "Zürich")
	f.Fuzz(func(t *testing.T, pattern, separators, name string) {
		_, want := gobwas.Compile(pattern, []rune(separators)...)
		g, err := Compile(pattern, []rune(separators)...)
		if roomy := len(pattern) < 500 && utf8.ValidString(pattern); (want == nil) != (err == nil) && (roomy || err == nil) {
			t.Fatalf("%q: %v, of gobwas/glob %v", pattern, err, want)
		}
		if err != nil {
			return
		}
		if g.Match(name) != g.Match(name) {
			t.Error("two answers")
		}
		// A zero byte ends a pattern for its parser.
		if !strings.ContainsAny(pattern, "*?[]{},\\\x00") && g.Match(name) != (name == pattern) {
			t.Errorf("%q, %q: %v", pattern, name, g.Match(name))
		}
	})
}
