package plugins

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Check decodes options (TOML, without the table's header) for d and validates
// them, in this process and without a reading. It returns everything that is
// wrong, in the order of the options.
func Check(d Description, options []byte) []OptionError {
	_, errs := configure(d, options)
	return errs
}

// configure makes a collector of d with these options.
func configure(d Description, options []byte) (Collector, []OptionError) {
	c := d.New()
	if errs := decode(c, options); len(errs) > 0 {
		return nil, errs
	}
	if v, ok := c.(Validator); ok {
		if err := v.Validate(); err != nil {
			return nil, optionErrors(err)
		}
	}
	return c, nil
}

// optionErrors takes joined errors apart.
func optionErrors(err error) []OptionError {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []OptionError
		for _, e := range joined.Unwrap() {
			all = append(all, optionErrors(e)...)
		}
		return all
	}
	var oe OptionError
	if errors.As(err, &oe) {
		return []OptionError{oe}
	}
	return []OptionError{{Message: err.Error()}}
}

// option is one exported field of a collector.
type option struct {
	key   string
	value reflect.Value
}

// options lists the options of c in the order in which they are declared.
func options(c Collector) []option {
	v := reflect.Indirect(reflect.ValueOf(c))
	if v.Kind() != reflect.Struct {
		return nil
	}
	var all []option
	for _, f := range reflect.VisibleFields(v.Type()) {
		key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if !f.IsExported() || f.Anonymous || key == "-" {
			continue
		}
		all = append(all, option{cmp.Or(key, strings.ToLower(f.Name)), v.FieldByIndex(f.Index)})
	}
	return all
}

// optionNames lists the keys that Configure accepts.
func optionNames(c Collector) []string {
	var names []string
	for _, o := range options(c) {
		names = append(names, o.key)
	}
	return names
}

// decode sets the options of c from TOML. Each key is decoded by itself, so
// that every mistake is reported with its own key and not only the first.
func decode(c Collector, data []byte) []OptionError {
	var given map[string]toml.Primitive
	md, err := toml.Decode(string(data), &given)
	if err != nil {
		return []OptionError{{Message: err.Error()}}
	}
	known := options(c)
	var errs []OptionError
	for _, o := range known {
		if primitive, ok := given[o.key]; ok {
			errs = append(errs, o.decode(&md, primitive)...)
		}
	}
	return append(errs, unknown(&md, known, errs)...)
}

func (o option) decode(md *toml.MetaData, p toml.Primitive) []OptionError {
	var raw any
	if err := md.PrimitiveDecode(p, &raw); err != nil {
		return []OptionError{{o.key, err.Error()}}
	}
	if message := suspicious(o.value, raw); message != "" {
		return []OptionError{{o.key, message}}
	}
	err := md.PrimitiveDecode(p, o.value.Addr().Interface())
	if d, isDuration := o.value.Addr().Interface().(*time.Duration); isDuration {
		*d, err = duration(raw)
	}
	if err == nil {
		return nil
	}
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return []OptionError{{o.key, parse.Message}}
	}
	if _, isTable := raw.(map[string]any); isTable && wanted(o.value.Type()) == "a table" {
		return []OptionError{{o.key, err.Error()}} // something within it
	}
	return []OptionError{{o.key, fmt.Sprintf("expected %s, not %s", wanted(o.value.Type()), shown(raw))}}
}

// suspicious finds a negative number for an unsigned one, which the decoder
// would take for a huge one.
func suspicious(field reflect.Value, raw any) string {
	if n, isInt := raw.(int64); isInt && n < 0 && field.CanUint() {
		return fmt.Sprintf("expected a number that is not negative, not %d", n)
	}
	return ""
}

// unknown reports every key that no option took, also inside the tables of
// options that have not failed already.
func unknown(md *toml.MetaData, known []option, failed []OptionError) []OptionError {
	var errs []OptionError
	undecoded := md.Undecoded()
	for _, key := range md.Keys() {
		if slices.ContainsFunc(failed, func(e OptionError) bool { return e.Option == key[0] }) {
			continue
		}
		i := slices.IndexFunc(known, func(o option) bool { return o.key == key[0] })
		switch {
		case i < 0 && len(key) == 1:
			errs = append(errs, OptionError{key[0], unknownMessage(key[0], known)})
		case i >= 0 && len(key) > 1 && closed(known[i].value.Type()) && contains(undecoded, key):
			errs = append(errs, OptionError{key.String(), "unknown option"})
		}
	}
	return errs
}

func unknownMessage(key string, known []option) string {
	names := make([]string, len(known))
	for i, o := range known {
		names[i] = o.key
	}
	if near := nearest(key, names); near != "" {
		return fmt.Sprintf("unknown option; did you mean %q?", near)
	}
	if len(names) == 0 {
		return "unknown option; this collector has none"
	}
	return "unknown option; known are " + strings.Join(names, ", ")
}

func contains(keys []toml.Key, key toml.Key) bool {
	return slices.ContainsFunc(keys, func(k toml.Key) bool { return slices.Equal(k, key) })
}

// closed reports whether every key that a value of type t takes is known from
// the type: below an interface the decoder keeps no account of them.
func closed(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return false
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return closed(t.Elem())
	case reflect.Struct:
		for f := range t.Fields() {
			if f.IsExported() && !closed(f.Type) {
				return false
			}
		}
	}
	return true
}

// wanted names the type of an option in the reader's words.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return `a duration such as "10s"`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string in quotes"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list in brackets"
	case reflect.Map, reflect.Struct:
		return "a table"
	}
	return "a whole number"
}

// shown writes a decoded value as it stands in the file.
func shown(raw any) string {
	switch v := raw.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case map[string]any, []map[string]any:
		return "a table"
	case []any:
		return "a list"
	}
	return fmt.Sprint(raw)
}

// sample is the sample configuration of d.
func sample(d Description) string {
	if d.Sample != "" {
		return d.Sample
	}
	var b bytes.Buffer
	if d.Description != "" {
		fmt.Fprintf(&b, "# %s\n", d.Description)
	}
	fmt.Fprintf(&b, "[[inputs.%s]]\n", d.Name)
	for _, o := range options(d.New()) {
		if line := o.assignment(); line != "" {
			fmt.Fprintf(&b, "  # %s\n", strings.ReplaceAll(line, "\n", "\n  # "))
		}
	}
	return b.String()
}

// assignment writes an option with its default as TOML.
func (o option) assignment() string {
	if o.value.Kind() == reflect.Slice && o.value.Len() == 0 {
		return o.key + " = []"
	}
	text, err := toml.Marshal(map[string]any{o.key: o.value.Interface()})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
