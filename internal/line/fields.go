package line

import (
	"fmt"
	"strconv"
)

// fieldsEnd checks the field section that begins at b[i] and returns its end.
// Like InfluxDB it counts '=' and ',' rather than reading key after value.
func fieldsEnd(b []byte, i int) (end int, reason string) {
	quoted, equals, commas := false, 0, 0
	for i < len(b) && (b[i] != ' ' || quoted) {
		switch c := b[i]; {
		case c == '\\' && i+1 < len(b):
			i++
		case c == '"' && equals > commas:
			quoted = !quoted
		case c == '=' && !quoted:
			equals++
			if i, reason = fieldValue(b, i); reason != "" {
				return i, reason
			}
			continue
		case c == ',' && !quoted:
			commas++
		}
		i++
	}
	if quoted {
		return i, "unbalanced quotes"
	}
	if equals == 0 || commas != equals-1 {
		return i, "invalid field format"
	}
	return i, ""
}

// fieldValue looks at both sides of the '=' at b[i], checks a number or a
// boolean to its end, and returns where to go on.
func fieldValue(b []byte, i int) (next int, reason string) {
	if (b[i-1] == ' ' || b[i-1] == ',') && b[i-2] != '\\' {
		return i, "missing field key"
	}
	i++
	if i >= len(b) || b[i] == ',' || b[i] == ' ' {
		return i, "missing field value"
	}
	if b[i] == '"' {
		return i, ""
	}
	end := i + 1
	for end < len(b) && b[end] != ',' && b[end] != ' ' {
		end++
	}
	if c := b[i]; isNumeric(c) || c == '-' || c == 'N' || c == 'n' {
		return end, checkNumber(b[i:end])
	}
	return end, checkBool(b[i:end])
}

// Numbers of fewer bytes, the sign included, cannot be out of range.
const (
	maxIntDigits   = 19
	maxFloatDigits = 25
)

func checkBool(v []byte) (reason string) {
	switch string(v) {
	case "t", "T", "f", "F", "true", "True", "TRUE", "false", "False", "FALSE":
		return ""
	}
	return "invalid boolean"
}

// checkNumber checks a float or an integer. It converts only what could be
// out of range.
func checkNumber(v []byte) (reason string) {
	const invalid = "invalid number"
	shape, ok := shapeOf(v)
	if !ok || shape.digits == 0 {
		return invalid
	}
	switch {
	case shape.unsigned: // refused by 1.x as it is configured by default
		return invalid
	case shape.integer:
		if shape.point || shape.exponent || v[len(v)-1] != 'i' {
			return invalid
		}
		digits := v[:len(v)-1]
		if len(digits) < maxIntDigits {
			return ""
		}
		if _, err := strconv.ParseInt(string(digits), 10, 64); err != nil {
			return fmt.Sprintf("unable to parse integer %s: %s", digits, err)
		}
	case shape.exponent || len(v) >= maxFloatDigits:
		if _, err := strconv.ParseFloat(view(v), 64); err != nil {
			return "invalid float"
		}
	}
	return ""
}

// shape is what a number is made of; digits counts the bytes that are none of
// the others, as InfluxDB counts them.
type shape struct {
	digits                             int
	integer, unsigned, point, exponent bool
}

// shapeOf tells the shape of a number, or !ok at a byte that no number has.
func shapeOf(v []byte) (s shape, ok bool) {
	s.digits = len(v)
	i := 0
	if v[0] == '-' {
		s.digits--
		i = 1
	}
	for ; i < len(v); i++ {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
		case c == '.' && !s.point:
			s.point = true
			s.digits--
		case c == 'i' && i > 0 && !s.integer && !s.unsigned:
			s.integer = true
			s.digits--
		case c == 'u' && i > 0 && !s.integer && !s.unsigned:
			s.unsigned = true
		case (c == 'e' || c == 'E') && i > 0:
			s.exponent = true
		case (c == '+' || c == '-') && i > 0 && (v[i-1] == 'e' || v[i-1] == 'E'):
		default:
			return s, false
		}
	}
	return s, true
}

// walkFields goes over the fields as InfluxDB divides them when it stores
// them, which need not be as they were divided when they were checked.
func (p *parser) walkFields(b []byte) (reason string) {
	key := p.at.key - p.at.start
	for f := b[p.at.fields:p.at.fieldsEnd]; len(f) > 0; {
		eq := indexUnescaped(f, 0, '=')
		if eq > len(f)-2 {
			return fmt.Sprintf("invalid value: field-key=%s", f[:eq])
		}
		if n := key + fieldSeparator + eq; n > maxKey {
			return keyTooLong(n)
		}
		_, _, f = nextField(f)
	}
	return ""
}

// judge refuses a line that InfluxDB accepts but that is not safe to keep.
func (p *parser) judge(body []byte, lineStart int) (reason string) {
	at := &p.at
	if skipSpace(body[:at.end], at.stampEnd) != at.end {
		return reasonIgnored
	}
	if !selfContained(body[at.start:at.end]) || !selfContained(body[lineStart:at.end]) {
		return reasonSwallows
	}
	for f := body[at.fields:at.fieldsEnd]; len(f) > 0; {
		var key, value []byte
		key, value, f = nextField(f)
		if len(key) == 0 {
			return reasonNoKey
		}
		if !readable(value) {
			return reasonUnreadable
		}
	}
	return ""
}

// readable reports whether InfluxDB can turn a stored value into its type.
func readable(v []byte) bool {
	switch KindOf(v) {
	case StringKind:
		return len(v) >= 2
	case BoolKind:
		return checkBool(v) == ""
	case FloatKind, IntKind:
		return checkNumber(v) == ""
	}
	return false
}
