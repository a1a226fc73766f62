package influxql

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Parse reads statements that semicolons part. An error is worded as
// InfluxDB's parser words it; for a statement that this package does not know
// it wraps ErrUnknown.
func Parse(text string) ([]Statement, error) {
	p := parser{text: text}
	var all []Statement
	for p.advance(); ; {
		for p.tok == ";" {
			p.advance()
		}
		if p.kind == end {
			return all, nil
		}
		s, err := p.statement()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
		if p.kind != end && p.tok != ";" {
			return nil, p.expected(";, EOF")
		}
	}
}

type tokenKind uint8

const (
	end    tokenKind = iota
	word             // a keyword or a bare identifier
	quoted           // an identifier in double quotes
	number           // digits and what follows them: 3, 365d, 1h30m
	symbol
)

// parser holds one token of the text.
type parser struct {
	text string
	at   int // after the token

	start int
	kind  tokenKind
	tok   string // unquoted
}

// advance reads the next token.
func (p *parser) advance() {
	p.skipSpace()
	p.start, p.kind, p.tok = p.at, end, "EOF"
	if p.at >= len(p.text) {
		return
	}
	c := p.text[p.at]
	switch {
	case c == '"':
		p.kind = quoted
		p.tok = p.quotedName()
		return
	case isLetter(c):
		p.kind = word
	case c >= '0' && c <= '9':
		p.kind = number
	default:
		p.kind = symbol
		p.at++
		p.tok = p.text[p.start:p.at]
		return
	}
	for p.at < len(p.text) && (isLetter(p.text[p.at]) || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		p.at++
	}
	p.tok = p.text[p.start:p.at]
}

func isLetter(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// skipSpace skips space and comments.
func (p *parser) skipSpace() {
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		switch {
		case strings.ContainsRune(" \t\r\n", rune(rest[0])):
			p.at++
		case strings.HasPrefix(rest, "--"):
			p.skipPast("\n")
		case strings.HasPrefix(rest, "/*"):
			p.skipPast("*/")
		default:
			return
		}
	}
}

func (p *parser) skipPast(mark string) {
	if i := strings.Index(p.text[p.at:], mark); i >= 0 {
		p.at += i + len(mark)
		return
	}
	p.at = len(p.text)
}

// quotedName reads a name in double quotes; one that does not end is a symbol,
// which nothing expects.
func (p *parser) quotedName() string {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return b.String()
		case c == '\n':
			i = len(p.text)
		case c == '\\' && i+1 < len(p.text) && strings.IndexByte(`"\n`, p.text[i+1]) >= 0:
			i++
			b.WriteString(strings.Replace(p.text[i:i+1], "n", "\n", 1))
		default:
			b.WriteByte(c)
		}
	}
	p.kind, p.at = symbol, len(p.text)
	return p.text[p.start:]
}

func (p *parser) expected(what string) error {
	char := p.start - strings.LastIndexByte(p.text[:p.start], '\n')
	if p.kind == end && what == "identifier" {
		char++ // where InfluxDB looks for a name, it has read past the end
	}
	return fmt.Errorf("error parsing query: found %s, expected %s at line %d, char %d",
		p.tok, what, 1+strings.Count(p.text[:p.start], "\n"), char)
}

// is reports whether the token is the keyword.
func (p *parser) is(keyword string) bool { return p.kind == word && strings.EqualFold(p.tok, keyword) }

// skip passes the keyword if the token is it.
func (p *parser) skip(keyword string) bool {
	if !p.is(keyword) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) need(keywords ...string) error {
	for _, k := range keywords {
		if !p.skip(k) {
			return p.expected(k)
		}
	}
	return nil
}

func (p *parser) statement() (Statement, error) {
	begin := p.start
	switch {
	case p.skip("CREATE"):
		if p.skip("DATABASE") {
			return p.createDatabase()
		}
		if p.skip("RETENTION") {
			return p.createPolicy()
		}
	case p.skip("SHOW"):
		if p.skip("DATABASES") {
			return Statement{Kind: ShowDatabases}, nil
		}
		if p.skip("RETENTION") {
			return p.showPolicies()
		}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(p.text[begin:]), ";")
	if r := []rune(first); len(r) > 60 {
		first = string(r[:60]) + "…"
	}
	return Statement{}, fmt.Errorf("%w: %s", ErrUnknown, first)
}

func (p *parser) createDatabase() (s Statement, err error) {
	s.Kind = CreateDatabase
	if s.Database, err = p.name(); err != nil || !p.skip("WITH") {
		return s, err
	}
	if p.kind != word {
		return s, p.expected("DURATION, NAME, REPLICATION, SHARD")
	}
	if err := p.clauses(&s.Policy); err != nil {
		return s, err
	}
	if p.skip("NAME") {
		s.Policy.Name, err = p.name()
	}
	return s, err
}

func (p *parser) createPolicy() (s Statement, err error) {
	s.Kind = CreatePolicy
	if err := p.need("POLICY"); err != nil {
		return s, err
	}
	if s.Policy.Name, err = p.name(); err != nil {
		return s, err
	}
	if err := p.need("ON"); err != nil {
		return s, err
	}
	if s.Database, err = p.name(); err != nil {
		return s, err
	}
	if !p.is("DURATION") {
		return s, p.expected("DURATION")
	}
	if err := p.clauses(&s.Policy); err != nil {
		return s, err
	}
	if s.Policy.Replication == 0 {
		return s, p.expected("REPLICATION")
	}
	s.Policy.Default = p.skip("DEFAULT")
	return s, nil
}

func (p *parser) showPolicies() (s Statement, err error) {
	s.Kind = ShowPolicies
	if err := p.need("POLICIES"); err != nil || !p.skip("ON") {
		return s, err
	}
	s.Database, err = p.name()
	return s, err
}

// clauses reads DURATION, REPLICATION and SHARD DURATION, in that order.
func (p *parser) clauses(policy *Policy) (err error) {
	if p.skip("DURATION") {
		if policy.Duration, err = p.duration(); err != nil {
			return err
		}
	}
	if p.skip("REPLICATION") {
		n, err := strconv.Atoi(p.tok)
		if p.kind != number || err != nil {
			return p.expected("integer")
		}
		if n < 1 {
			return fmt.Errorf("error parsing query: invalid value %d: must be 1 <= n <= 2147483647", n)
		}
		policy.Replication = n
		p.advance()
	}
	if p.skip("SHARD") {
		if err := p.need("DURATION"); err != nil {
			return err
		}
		policy.ShardDuration, err = p.duration()
	}
	return err
}

func (p *parser) name() (string, error) {
	if p.kind != quoted && p.kind != word || p.kind == word && reserved(p.tok) || p.tok == "" {
		return "", p.expected("identifier")
	}
	name := p.tok
	p.advance()
	return name, nil
}

// reserved words are keywords that cannot be names without quotes; these are
// the ones that may stand next to a name here.
func reserved(word string) bool {
	switch strings.ToUpper(word) {
	case "WITH", "ON", "DURATION", "REPLICATION", "SHARD", "NAME", "DEFAULT", "CREATE", "SHOW", "DATABASE", "POLICY":
		return true
	}
	return false
}

// unitLength is the length of a unit of InfluxQL's durations, by its name.
func unitLength(unit string) time.Duration {
	switch unit {
	case "ns":
		return time.Nanosecond
	case "u", "µ", "us":
		return time.Microsecond
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	case "w":
		return 7 * 24 * time.Hour
	}
	return 0
}

// duration reads 365d, 1h30m or INF, which is zero.
func (p *parser) duration() (time.Duration, error) {
	if p.skip("INF") {
		return 0, nil
	}
	if p.kind != number {
		return 0, p.expected("duration")
	}
	total, rest := 0.0, p.tok
	for rest != "" {
		digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if digits <= 0 {
			return 0, p.expected("duration")
		}
		n, _ := strconv.ParseFloat(rest[:digits], 64)
		rest = rest[digits:]
		letters := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if letters < 0 {
			letters = len(rest)
		}
		unit := unitLength(rest[:letters])
		if unit == 0 {
			return 0, p.expected("duration")
		}
		total += n * float64(unit)
		rest = rest[letters:]
	}
	if total >= 1<<63 {
		return 0, fmt.Errorf("error parsing query: the duration %s is too long", p.tok)
	}
	p.advance()
	return time.Duration(total), nil
}
