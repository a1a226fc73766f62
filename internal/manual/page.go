package manual

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	title = regexp.MustCompile(`^([A-Z][A-Za-z ]*):$`)
	paths = regexp.MustCompile(`(^|[ (])([^ ]*(?:[/$_]|--)[^ ]*)`)
	// term is what is explained, two spaces or more before the explanation.
	term = regexp.MustCompile(`^(\S.*?)(?:  +(\S.*))$`)
)

// page is the man page, in roff.
func (p Program) page() string {
	about, rest, _ := strings.Cut(p.Help, "\nUsage:\n")
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" Generated from the help of %s; DO NOT EDIT.\n", p.Name)
	fmt.Fprintf(&b, ".TH %s 1 \"\" vitals \"vitals\"\n", escape(strings.ToUpper(p.Name)))
	fmt.Fprintf(&b, ".ad l\n.SH NAME\n%s \\- %s\n", escape(p.Name), escape(p.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n[\\fB\\-\\-config\\fR \\fIFILE\\fR]\n.br\n.B %[1]s\n.I COMMAND\n[\\fIARGUMENTS\\fR]\n", escape(p.Name))
	b.WriteString(".SH DESCRIPTION\n")
	p.text(&b, about, 0)
	b.WriteString(".SH COMMANDS\n")
	for _, c := range p.Commands {
		if c.Words == "" {
			continue
		}
		fmt.Fprintf(&b, ".TP\n.B %s\n", escape(strings.TrimSpace(c.Words+" "+c.Usage)))
		short, more, _ := strings.Cut(c.Help, "\n\n")
		b.WriteString(escape(sentence(short)) + "\n")
		if more != "" {
			b.WriteString(".RS\n.PP\n")
			p.text(&b, more, 0)
			b.WriteString(".RE\n")
		}
	}
	for _, s := range sections(rest + p.More) {
		if s.title == "" || s.title == "Commands" {
			continue
		}
		fmt.Fprintf(&b, ".SH %s\n", escape(strings.ToUpper(s.title)))
		p.text(&b, s.body, 2)
	}
	return b.String()
}

// section is a part of a help below a title of its own.
type section struct{ title, body string }

func sections(text string) []section {
	all := []section{{}}
	for line := range strings.Lines(text) {
		if m := title.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			all = append(all, section{title: m[1]})
			continue
		}
		all[len(all)-1].body += line
	}
	return all
}

// text writes paragraphs, terms with what they mean, and code, of a text whose
// paragraphs are indented by margin. Terms are by two, code by more, and so is
// what a term means.
func (p Program) text(b *strings.Builder, text string, margin int) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	was, blank := nothing, false
	for i, line := range lines {
		at, words := indent(line), strings.TrimSpace(line)
		if words == "" {
			blank = true
			continue
		}
		kind := p.kind(line, margin, i+1 < len(lines) && indent(lines[i+1]) > 2*termIndent)
		if was == item && !blank && at > termIndent {
			b.WriteString(escape(words) + "\n")
			continue
		}
		if was == code && kind != code {
			b.WriteString(".EE\n.RE\n")
		}
		switch kind {
		case code:
			if was == item {
				b.WriteString(".PP\n")
			}
			if was != code {
				b.WriteString(".RS 4\n.EX\n")
			} else if blank {
				b.WriteString("\n")
			}
			b.WriteString(escape(line[min(at, margin+2):]) + "\n")
		case item:
			about := splitItem(words)
			b.WriteString(".TP\n.B " + escape(about[0]) + "\n")
			if about[1] != "" {
				b.WriteString(escape(about[1]) + "\n")
			}
		default:
			if blank || was != prose && was != nothing {
				b.WriteString(".PP\n")
			}
			b.WriteString(escape(words) + "\n")
		}
		was, blank = kind, false
	}
	if was == code {
		b.WriteString(".EE\n.RE\n")
	}
}

// What a line of a help is.
const (
	nothing = iota
	prose
	item
	code
)

const termIndent = 2

// kind says what a line is. One that stands alone above what is far to the
// right of it is a term, too.
func (p Program) kind(line string, margin int, above bool) int {
	at, words := indent(line), strings.TrimSpace(line)
	switch isItem := splitItem(words) != [2]string{words} || above; {
	case at > termIndent, at == termIndent && p.isCommand(words):
		return code
	case at == termIndent && isItem:
		return item
	case at > margin:
		return code
	}
	return prose
}

// splitItem parts a term and the beginning of what it means.
func splitItem(words string) [2]string {
	for _, form := range []*regexp.Regexp{flagItem, term} {
		if m := form.FindStringSubmatch(words + " "); m != nil {
			return [2]string{m[1], strings.TrimSpace(m[2])}
		}
	}
	return [2]string{words}
}

func (p Program) isCommand(words string) bool {
	return strings.HasPrefix(strings.TrimPrefix(words, "sudo "), p.Name+" ")
}

// escape is text as roff prints it, letter for letter, with no hyphen in a path or a flag.
func escape(text string) string {
	text = paths.ReplaceAllString(text, "$1\x00$2")
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == 0:
			b.WriteString(`\%`)
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case i == 0 && (r == '.' || r == '\''):
			b.WriteString(`\&` + string(r))
		case r == '\'':
			b.WriteString(`\(aq`)
		case strings.ContainsRune("`^~", r), r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// sentence is a line of the help with what makes it one.
func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
