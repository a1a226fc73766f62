package influx

import "github.com/rpicluster/vitals/internal/line"

// cutLines parts raw into its lines, each with its newline. A newline inside a
// quoted string ends none.
func cutLines(raw []byte) (lines [][]byte) {
	for len(raw) > 0 {
		// A line that cannot be read is one too: the server shall judge it.
		_, rest, _ := line.Cut(raw)
		n := len(raw) - len(rest)
		lines = append(lines, raw[:n:n])
		raw = rest
	}
	return lines
}

// kinds are the types of field values in the words of InfluxDB's errors.
var kinds = map[line.Kind]string{
	line.FloatKind: "float", line.IntKind: "integer", line.BoolKind: "boolean", line.StringKind: "string",
}

// hasField reports whether b is a line of the measurement that carries the
// field with a value of that type.
func hasField(b []byte, measurement, field, typ string) bool {
	l, _, err := line.Cut(b)
	if err != nil || l.Name() != measurement {
		return false
	}
	for key, value := range l.EachField() {
		if key == field {
			return kinds[line.KindOf(value)] == typ
		}
	}
	return false
}
