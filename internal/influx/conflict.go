package influx

import (
	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// hasField reports whether line is of the measurement and carries the field
// with a value of that type, in the words of InfluxDB's errors.
func hasField(line []byte, measurement, field, typ string) bool {
	d := lineprotocol.NewDecoderWithBytes(line)
	if !d.Next() {
		return false
	}
	if name, err := d.Measurement(); err != nil || string(name) != measurement {
		return false
	}
	for {
		if key, _, err := d.NextTag(); err != nil {
			return false
		} else if key == nil {
			break
		}
	}
	for {
		key, value, err := d.NextField()
		if err != nil || key == nil {
			return false
		}
		if string(key) == field {
			return kindName(value.Kind()) == typ
		}
	}
}

func kindName(k lineprotocol.ValueKind) string {
	switch k {
	case lineprotocol.Int:
		return "integer"
	case lineprotocol.Uint:
		return "unsigned"
	case lineprotocol.Bool:
		return "boolean"
	}
	return k.String() // float, string
}
