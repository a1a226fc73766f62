// Package manual writes a program's man page and the completion of three
// shells from what its help says, so that none of them can say anything else.
package manual

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Program is what a program says of itself.
type Program struct {
	Name, Short string
	// Help is what --help prints. Paragraphs, then sections: a title with a
	// colon, and indented below it terms, two spaces or more, what they mean.
	Help     string
	More     string // further sections of the man page
	Commands []Command
	Common   []string // names of the flags that every command takes
}

// Command is one thing that a program can be asked for.
type Command struct {
	Words string // as it is typed; empty for what a program does without any
	Usage string // what may follow
	Help  string // in one line or more; a blank line before what is more
	// Flags are the names of those of its own that Usage and Help do not show.
	Flags []string
}

// Flag is a flag with the word that stands for its value; empty: it has none.
type Flag struct{ Name, Value, Help string }

var (
	flagItem = regexp.MustCompile(`^(--[a-z][a-z-]*(?:, --[a-z-]+)*(?: +(?:[A-Z]+(?:[:=][A-Z]+)?|"[^"]*"|[a-z]+(?:\|[a-z]+)+))?)\s+(\S.*)?$`)
	// inline is a flag in a usage or in a sentence.
	inline = regexp.MustCompile(`\[?--([a-z][a-z-]*)(?:[ =]([A-Z][A-Z:=]*|[0-9]+[A-Za-z]+|[0-9]+|[a-z]+(?:\|[a-z]+)+|[a-z]+=[a-z]+)\b|\]| ([a-z0-9]+)\])?`)
)

// flags finds the flags that a text tells of.
func flags(text string) []Flag {
	var all []Flag
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		at := indent(line)
		m := flagItem.FindStringSubmatch(strings.TrimSpace(line) + " ")
		if m == nil || at > termIndent {
			continue
		}
		about := strings.TrimSpace(m[2])
		for _, next := range lines[i+1:] {
			if indent(next) <= at {
				break
			}
			about = strings.TrimSpace(about + " " + strings.TrimSpace(next))
		}
		for term := range strings.SplitSeq(m[1], ", ") {
			name, value, _ := strings.Cut(strings.TrimPrefix(term, "--"), " ")
			all = append(all, Flag{name, strings.Trim(strings.TrimSpace(value), `"`), about})
		}
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		all = append(all, Flag{m[1], cmp.Or(m[2], m[3]), ""})
	}
	return unique(all)
}

// unique leaves one flag of each name, with what is known of it.
func unique(all []Flag) (kept []Flag) {
	for _, f := range all {
		i := slices.IndexFunc(kept, func(k Flag) bool { return k.Name == f.Name })
		if i < 0 {
			kept = append(kept, f)
			continue
		}
		kept[i].Value, kept[i].Help = cmp.Or(kept[i].Value, f.Value), cmp.Or(kept[i].Help, f.Help)
	}
	return kept
}

// Of returns the flags that a command takes, those of all commands last.
func (p Program) Of(c Command) []Flag {
	known := flags(p.Help)
	var all []Flag
	for _, f := range flags(c.Usage + "\n" + c.Help) {
		for _, k := range known {
			if k.Name == f.Name {
				f.Value, f.Help = cmp.Or(f.Value, k.Value), cmp.Or(f.Help, k.Help)
			}
		}
		all = append(all, f)
	}
	for _, name := range slices.Concat(c.Flags, p.Common) {
		i := slices.IndexFunc(known, func(k Flag) bool { return k.Name == name })
		if i < 0 {
			known = append(known, Flag{Name: name})
			i = len(known) - 1
		}
		all = append(all, known[i])
	}
	return unique(all)
}

// All returns every flag of the program.
func (p Program) All() []Flag {
	var all []Flag
	for _, c := range p.Commands {
		all = append(all, p.Of(c)...)
	}
	return unique(all)
}

// next returns the words that may follow words, and what they are for.
func (p Program) next(words string) (next []Flag) {
	for _, c := range p.Commands {
		rest, ok := strings.CutPrefix(c.Words, words)
		if rest = strings.TrimPrefix(rest, " "); !ok || rest == "" || c.Words == words {
			continue
		}
		word, more, _ := strings.Cut(rest, " ")
		about := firstLine(c.Help)
		if more != "" {
			about = ""
		}
		next = append(next, Flag{Name: word, Help: about})
	}
	next = unique(next)
	for i := range next {
		next[i].Help = cmp.Or(next[i].Help, p.group(next[i].Name))
	}
	return next
}

// group is what the commands that begin with word are for, in few words.
func (p Program) group(word string) string {
	var names []string
	for _, c := range p.Commands {
		if rest, ok := strings.CutPrefix(c.Words, word+" "); ok {
			names = append(names, rest)
		}
	}
	return strings.Join(names, ", ")
}

// groups are the words that commands of two words begin with, and "".
func (p Program) groups() []string {
	all := []string{""}
	for _, c := range p.Commands {
		if first, _, two := strings.Cut(c.Words, " "); two && !slices.Contains(all, first) {
			all = append(all, first)
		}
	}
	return all
}

// firstLine is the first sentence or line of a help, without the flags that it shows.
func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n\n")
	text = regexp.MustCompile(` ?\[--[^\]]*\]`).ReplaceAllString(strings.Join(strings.Fields(text), " "), "")
	text, _, _ = strings.Cut(text, "; ")
	return strings.TrimSpace(text)
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// files are all that is written, below deploy/.
func (p Program) files() map[string]string {
	return map[string]string{
		"man/" + p.Name + ".1":                p.page(),
		"completion/bash/" + p.Name:           p.bash(),
		"completion/zsh/_" + p.Name:           p.zsh(),
		"completion/fish/" + p.Name + ".fish": p.fish(),
	}
}

// Check fails the test t if a file below deploy is not what the program p says
// now, and with update writes it. Of each flag it asks takesValue, the program's
// own reading of a command line, whether the help shows a value.
func Check(t *testing.T, p Program, deploy string, update bool, takesValue func(flag string) bool) {
	t.Helper()
	for _, f := range p.All() {
		if got := f.Value != ""; got != takesValue(f.Name) {
			t.Errorf("--%s: the help shows the value %q, and the program takes one: %v", f.Name, f.Value, !got)
		}
	}
	for name, want := range p.files() {
		path := filepath.Join(deploy, name)
		if update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Error(err)
			}
			continue
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the help says now (%v); run: make manual", path, err)
		}
	}
}
