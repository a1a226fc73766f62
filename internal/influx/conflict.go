package influx

import (
	"regexp"
	"strings"
	"sync"

	"github.com/rpicluster/vitals/internal/line"
)

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

var typeConflict = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`input field "(.*?)" on measurement "(.*?)" is type (\w+), already exists as type`)
})

// blamed parts lines by whether the server's message names them: word for
// word (verbatim, if that is all it does), or as a field whose type is not that
// of what is stored. It is complete if it quotes nothing but these lines: what it
// has cut, or printed otherwise, may be any of the others.
func blamed(lines [][]byte, message string) (bad, good [][]byte, verbatim, complete bool) {
	quoted := map[string]bool{} // and whether it was found
	complete = true
	for _, piece := range strings.Split(message, "unable to parse '")[1:] {
		i := strings.LastIndex(piece, "': ")
		if i < 0 {
			complete = false
			continue
		}
		quoted[piece[:i]] = false
	}
	conflict := typeConflict().FindStringSubmatch(message)
	for _, l := range lines {
		text := strings.TrimSuffix(string(l), "\n")
		_, named := quoted[text]
		if named {
			quoted[text] = true
		}
		if named || conflict != nil && hasField(l, conflict[2], conflict[1], conflict[3]) {
			bad = append(bad, l)
		} else {
			good = append(good, l)
		}
	}
	for _, found := range quoted {
		complete = complete && found
	}
	return bad, good, conflict == nil, complete
}

// of reports whether the line may be the one that n names. The text is cut, to
// 20 bytes by some versions, and what is printed anew has lost its quotes and
// backslashes: only what is before the fields is compared.
func (n named) of(line []byte) bool {
	plain := strings.NewReplacer(`"`, "", `\`, "")
	text, _, _ := strings.Cut(plain.Replace(n.Text), " ")
	return strings.HasPrefix(plain.Replace(strings.TrimLeft(string(line), " \t\x00")), text)
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
