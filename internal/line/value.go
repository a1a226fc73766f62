package line

import (
	"strconv"
	"unsafe"
)

// Kind is the type of a field value.
type Kind uint8

// The kinds of field values. InvalidKind is none of them.
const (
	InvalidKind Kind = iota
	FloatKind
	IntKind
	BoolKind
	StringKind
)

// KindOf tells the kind of a raw field value as InfluxDB does: by its first
// byte, and by its last if it is a number.
func KindOf(raw []byte) Kind {
	if len(raw) == 0 {
		return InvalidKind
	}
	switch c := raw[0]; {
	case c == '"':
		return StringKind
	case isNumeric(c) || c == '-':
		if raw[len(raw)-1] == 'i' {
			return IntKind
		}
		return FloatKind
	case c == 't' || c == 'T' || c == 'f' || c == 'F':
		return BoolKind
	}
	return InvalidKind
}

// Float returns the value of a float or integer field.
func Float(raw []byte) (v float64, ok bool) {
	switch KindOf(raw) {
	case FloatKind:
	case IntKind:
		raw = raw[:len(raw)-1]
	default:
		return 0, false
	}
	v, err := strconv.ParseFloat(view(raw), 64)
	return v, err == nil
}

// Int returns the value of an integer field.
func Int(raw []byte) (v int64, ok bool) {
	if KindOf(raw) != IntKind {
		return 0, false
	}
	v, err := strconv.ParseInt(view(raw[:len(raw)-1]), 10, 64)
	return v, err == nil
}

// Bool returns the value of a boolean field.
func Bool(raw []byte) (v, ok bool) {
	if KindOf(raw) != BoolKind {
		return false, false
	}
	v, err := strconv.ParseBool(view(raw))
	return v, err == nil
}

// String returns the unescaped value of a string field.
func String(raw []byte) (v string, ok bool) {
	if KindOf(raw) != StringKind || len(raw) < 2 {
		return "", false
	}
	return unescape(raw[1:len(raw)-1], `"\`), true
}

// Value returns a field value as float64, int64, bool or string, or nil if it
// is none of these.
func Value(raw []byte) any {
	switch KindOf(raw) {
	case FloatKind:
		if v, ok := Float(raw); ok {
			return v
		}
	case IntKind:
		if v, ok := Int(raw); ok {
			return v
		}
	case BoolKind:
		if v, ok := Bool(raw); ok {
			return v
		}
	case StringKind:
		if v, ok := String(raw); ok {
			return v
		}
	}
	return nil
}

func isNumeric(c byte) bool { return (c >= '0' && c <= '9') || c == '.' }

// view is b as a string without a copy, for those who keep nothing of what
// they are given.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
