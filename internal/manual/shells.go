package manual

import (
	"fmt"
	"slices"
	"strings"
)

const (
	files       = "files"
	directories = "directories"
)

// kind says what a value is: files, directories, words to choose from, or
// empty for what nobody but the reader can know.
func kind(value string) string {
	switch {
	case strings.Contains(value, "|"):
		return strings.ReplaceAll(value, "|", " ")
	case value == "FILE":
		return files
	case value == "DIR", value == "D" || value == "PATH":
		return directories
	}
	return ""
}

// values are the flags that have one, each in the form that shells know, by kind.
func (p Program) values(of string) string {
	var names []string
	for _, f := range p.All() {
		if f.Value != "" && (kind(f.Value) == of) {
			names = append(names, "--"+f.Name)
		}
	}
	return strings.Join(names, "|")
}

// kinds are those that there are, in a fixed order.
func (p Program) kinds() []string {
	var all []string
	for _, f := range p.All() {
		if k := kind(f.Value); f.Value != "" && !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}

// withValue are all flags that have a value.
func (p Program) withValue() string {
	var names []string
	for _, f := range p.All() {
		if f.Value != "" {
			names = append(names, "--"+f.Name)
		}
	}
	return strings.Join(names, "|")
}

// takesFiles reports whether files may follow a command.
func (c Command) takesFiles() bool { return strings.HasPrefix(c.Usage, "FILE") }

func long(all []Flag, prefix string) string {
	var names []string
	for _, f := range all {
		names = append(names, prefix+f.Name)
	}
	return strings.Join(names, " ")
}

func identifier(name string) string { return "_" + strings.ReplaceAll(name, "-", "_") }

// bash is the completion for bash. It needs nothing but bash.
func (p Program) bash() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Completion of %s for bash. Generated from its help; DO NOT EDIT.

%s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= flags= i
	COMPREPLY=()
	if [[ $prev = '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	elif [[ $cur = '=' ]]; then
		cur=
	fi
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		%s) [[ ${COMP_WORDS[i+1]} = '=' ]] && ((i++)); ((i++)) ;;
		-*) ;;
		*) command+=" ${COMP_WORDS[i]}" ;;
		esac
	done
	case $prev in
`, p.Name, identifier(p.Name), p.withValue())
	for _, k := range p.kinds() {
		fmt.Fprintf(&b, "\t%s) %s; return ;;\n", p.values(k), bashValue(k))
	}
	b.WriteString("\tesac\n\tcase ${command# } in\n")
	for _, c := range p.byLength() {
		files := ""
		if c.takesFiles() {
			files = "; compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$cur\"))"
		}
		pattern := fmt.Sprintf("'%s' | '%[1]s '*", c.Words)
		if c.Words == "" {
			pattern = "''"
		}
		words := ""
		if next := p.next(c.Words); len(next) > 0 {
			words = fmt.Sprintf("[[ ${command# } = '%s' ]] && words='%s'; ", c.Words, long(next, ""))
		}
		fmt.Fprintf(&b, "\t%s) %sflags='%s'%s ;;\n", pattern, words, long(p.Of(c), "--"), files)
	}
	for _, g := range p.groups() {
		if !p.isCommandItself(g) {
			fmt.Fprintf(&b, "\t'%s') words='%s' ;;\n", g, long(p.next(g), ""))
		}
	}
	fmt.Fprintf(&b, `	esac
	if [[ $cur = -* ]]; then
		COMPREPLY=($(compgen -W "$flags" -- "$cur"))
	else
		COMPREPLY+=($(compgen -W "$words" -- "$cur"))
	fi
}

complete -F %s %s
`, identifier(p.Name), p.Name)
	return b.String()
}

func bashValue(kind string) string {
	switch kind {
	case "":
		return ":"
	case files:
		return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))`
	case directories:
		return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur"))`
	}
	return fmt.Sprintf(`COMPREPLY=($(compgen -W "%s" -- "$cur"))`, kind)
}

// byLength are the commands, those of two words first: the shells take the first that fits.
func (p Program) byLength() []Command {
	sorted := slices.Clone(p.Commands)
	slices.SortStableFunc(sorted, func(a, b Command) int { return len(strings.Fields(b.Words)) - len(strings.Fields(a.Words)) })
	return sorted
}

func (p Program) isCommandItself(words string) bool {
	return slices.ContainsFunc(p.Commands, func(c Command) bool { return c.Words == words })
}
