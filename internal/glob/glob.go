// Package glob matches names with Telegraf's patterns: their grammar is that of
// gobwas/glob, which Telegraf uses, and is read by its parser. The matching is
// not: gobwas/glob counts bytes where runes are meant, so that it finds no
// "Zürich" for Z?rich, and ends the program with some other names.
package glob

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/gobwas/glob/syntax"
	"github.com/gobwas/glob/syntax/ast"
)

// Glob is a compiled pattern. It may be used by several goroutines.
type Glob struct{ names *regexp.Regexp }

// Compile reads a pattern. In it * stands for any text and ? for one character,
// both without separators; ** for any text with them; [abc], [a-z], [!abc] and
// [!a-z] for one character; {this,that} for either; a backslash makes what
// follows it stand for itself.
func Compile(pattern string, separators ...rune) (*Glob, error) {
	tree, err := syntax.Parse(pattern)
	if err != nil {
		return nil, err
	}
	w := writer{any: "."}
	if len(separators) > 0 {
		w.any = "[^" + class(string(separators)) + "]"
	}
	w.WriteString(`(?s)\A`)
	w.node(tree)
	w.WriteString(`\z`)
	names, err := regexp.Compile(w.String())
	if err != nil {
		return nil, fmt.Errorf("too complex, or not UTF-8: %w", err)
	}
	return &Glob{names: names}, nil
}

// Match reports whether the pattern stands for the whole name.
func (g *Glob) Match(name string) bool { return g.names.MatchString(name) }

// writer writes a pattern as a regular expression.
type writer struct {
	strings.Builder
	any string // one character that is no separator
}

func (w *writer) node(n *ast.Node) {
	switch n.Kind {
	case ast.KindPattern:
		for _, child := range n.Children {
			w.node(child)
		}
	case ast.KindAnyOf:
		w.WriteString("(?:")
		for i, child := range n.Children {
			if i > 0 {
				w.WriteString("|")
			}
			w.node(child)
		}
		w.WriteString(")")
	case ast.KindText:
		w.WriteString(regexp.QuoteMeta(n.Value.(ast.Text).Text))
	case ast.KindAny:
		w.WriteString(w.any + "*")
	case ast.KindSuper:
		w.WriteString(".*")
	case ast.KindSingle:
		w.WriteString(w.any)
	case ast.KindList:
		list := n.Value.(ast.List)
		w.one(list.Not, class(list.Chars))
	case ast.KindRange:
		r := n.Value.(ast.Range)
		w.one(r.Not, class(string(r.Lo))+"-"+class(string(r.Hi)))
	}
}

// one writes what stands for one character of a class, or for one not of it.
func (w *writer) one(not bool, class string) {
	if not {
		class = "^" + class
	}
	w.WriteString("[" + class + "]")
}

// class writes characters as they stand for themselves within [ ].
func class(chars string) string {
	var b strings.Builder
	for _, r := range chars {
		fmt.Fprintf(&b, `\x{%x}`, r)
	}
	return b.String()
}
