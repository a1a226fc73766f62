package manual

import (
	"fmt"
	"strings"
)

// zsh is the completion for zsh, which shows what each word is for.
func (p Program) zsh() string {
	var b strings.Builder
	fmt.Fprintf(&b, `#compdef %s
# Generated from the help of %[1]s; DO NOT EDIT.

local command= i
local -a next flags
for ((i = 2; i < CURRENT; i++)); do
	case $words[i] in
	%s) ((i++)) ;;
	-*) ;;
	*) command+=" $words[i]" ;;
	esac
done
case $words[CURRENT-1] in
`, p.Name, p.withValue())
	for _, k := range p.kinds() {
		fmt.Fprintf(&b, "%s) %s; return ;;\n", p.values(k), zshValue(k))
	}
	b.WriteString("esac\ncase ${command# } in\n")
	for _, c := range p.byLength() {
		pattern, files, next := fmt.Sprintf("'%s'|'%[1]s '*", c.Words), "", ""
		if c.Words == "" {
			pattern = "''"
		}
		if c.takesFiles() {
			files = "\t[[ $PREFIX == -* ]] || _files\n"
		}
		if words := p.next(c.Words); len(words) > 0 {
			next = fmt.Sprintf("\t[[ ${command# } == '%s' ]] && next=(%s)\n", c.Words, described(words, ""))
		}
		fmt.Fprintf(&b, "%s)\n%s\tflags=(%s)\n%s\t;;\n", pattern, next, described(p.Of(c), "--"), files)
	}
	for _, g := range p.groups() {
		if !p.isCommandItself(g) {
			fmt.Fprintf(&b, "'%s')\n\tnext=(%s)\n\t;;\n", g, described(p.next(g), ""))
		}
	}
	b.WriteString(`esac
if [[ $PREFIX == -* ]]; then
	_describe -o option flags
else
	_describe command next
fi
`)
	return b.String()
}

func zshValue(kind string) string {
	switch kind {
	case "":
		return "_message value"
	case files:
		return "_files"
	case directories:
		return "_files -/"
	}
	return "compadd " + kind
}

// described are words as zsh's _describe takes them.
func described(all []Flag, prefix string) string {
	var words []string
	for _, f := range all {
		word := prefix + f.Name
		if f.Help != "" {
			word += ":" + strings.ReplaceAll(firstLine(f.Help), ":", `\:`)
		}
		words = append(words, quote(word))
	}
	return strings.Join(words, " ")
}

// quote is text as a word of zsh and bash.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// fish is the completion for fish, which shows what each word is for.
func (p Program) fish() string {
	var b strings.Builder
	name := "_" + identifier(p.Name)
	fmt.Fprintf(&b, `# Completion of %s for fish. Generated from its help; DO NOT EDIT.

# The words before the cursor that are neither flags nor their values.
function %s_words
	set -l skip 0
	for word in (commandline -opc)[2..-1]
		if test $skip = 1
			set skip 0
		else if contains -- $word %s
			set skip 1
		else if not string match -q -- '-*' $word
			echo -- $word
		end
	end
end

function %[2]s_at
	test "$(%[2]s_words | string join ' ')" = "$argv[1]"
end

function %[2]s_in
	string match -q -- "$argv[1] *" "$(%[2]s_words | string join ' ') "
end

complete -c %[1]s -f
`, p.Name, name, strings.ReplaceAll(p.withValue(), "|", " "))
	for _, g := range p.groups() {
		for _, w := range p.next(g) {
			fmt.Fprintf(&b, "complete -c %s -n \"%s_at '%s'\" -a %s -d %s\n", p.Name, name, g, w.Name, fishQuote(firstLine(w.Help)))
		}
	}
	for _, c := range p.Commands {
		when := fmt.Sprintf("\"%s_in '%s'\"", name, c.Words)
		if c.Words == "" {
			when = fmt.Sprintf("\"%s_at ''\"", name)
		}
		if c.takesFiles() {
			fmt.Fprintf(&b, "complete -c %s -n %s -F\n", p.Name, when)
		}
		for _, f := range p.Of(c) {
			fmt.Fprintf(&b, "complete -c %s -n %s -l %s%s -d %s\n", p.Name, when, f.Name, fishValue(f.Value), fishQuote(firstLine(f.Help)))
		}
	}
	return b.String()
}

func fishValue(value string) string {
	switch k := kind(value); {
	case value == "":
		return ""
	case k == "":
		return " -x"
	case k == files:
		return " -r -F"
	case k == directories:
		return " -x -a '(__fish_complete_directories)'"
	default:
		return fmt.Sprintf(" -x -a '%s'", k)
	}
}

// fishQuote is text as a word of fish.
func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
