package exec

import (
	"errors"
	"fmt"
	"strings"
)

// Commands is the option of that name: a list of programs with their
// arguments, each a list of words, or one string quoted as for a shell.
type Commands [][]string

// UnmarshalTOML takes both forms, also mixed.
func (c *Commands) UnmarshalTOML(value any) error {
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf(`expected a list of commands, such as [["/usr/local/bin/sensor", "--all"]]`)
	}
	*c = nil
	for i, item := range list {
		argv, err := words(item)
		if err == nil && (len(argv) == 0 || argv[0] == "") {
			err = errors.New("names no program")
		}
		if err != nil {
			return fmt.Errorf("command %d: %w", i+1, err)
		}
		*c = append(*c, argv)
	}
	return nil
}

func words(item any) ([]string, error) {
	switch v := item.(type) {
	case string:
		return split(v)
	case []any:
		var argv []string
		for _, word := range v {
			s, ok := word.(string)
			if !ok {
				return nil, fmt.Errorf("%v must be in quotes", word)
			}
			argv = append(argv, s)
		}
		return argv, nil
	}
	return nil, fmt.Errorf("expected a list of words, or a string, not %v", item)
}

// split takes a line apart as a shell would, without expanding anything:
// blanks part words, single quotes keep everything, double quotes everything
// but a backslash before one of $ ` " \ and newline.
func split(line string) ([]string, error) {
	s := splitter{rest: line}
	for s.rest != "" {
		if err := s.next(); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	s.end()
	return s.words, nil
}

type splitter struct {
	rest   string
	words  []string
	word   strings.Builder
	inWord bool // a word of no letters is one too: ''
}

var (
	errQuote  = errors.New("a quote is opened and not closed")
	errEscape = errors.New("nothing follows the last backslash")
)

func (s *splitter) next() error {
	c := s.rest[0]
	s.rest = s.rest[1:]
	switch c {
	case ' ', '\t', '\n', '\r':
		s.end()
		return nil
	case '\'':
		return s.single()
	case '"':
		return s.double()
	case '\\':
		return s.escape()
	}
	s.add(c)
	return nil
}

func (s *splitter) add(c byte) {
	s.word.WriteByte(c)
	s.inWord = true
}

func (s *splitter) end() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

func (s *splitter) single() error {
	text, rest, closed := strings.Cut(s.rest, "'")
	if !closed {
		return errQuote
	}
	s.word.WriteString(text)
	s.inWord, s.rest = true, rest
	return nil
}

func (s *splitter) double() error {
	s.inWord = true
	for i := 0; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return nil
		case c == '\\' && i+1 < len(s.rest) && strings.IndexByte("$`\"\\\n", s.rest[i+1]) >= 0:
			if i++; s.rest[i] != '\n' {
				s.word.WriteByte(s.rest[i])
			}
		default:
			s.word.WriteByte(c)
		}
	}
	return errQuote
}

func (s *splitter) escape() error {
	if s.rest == "" {
		return errEscape
	}
	if s.rest[0] != '\n' {
		s.add(s.rest[0])
	}
	s.rest = s.rest[1:]
	return nil
}
