package plugintest

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

// assignment is an option in a sample, commented out or not; prose is behind
// two number signs.
var assignment = regexp.MustCompile(`^\s*#?\s*([a-z_0-9]+ = .*)$`)

// Docs checks what a collector says about itself: its sample names every
// option with its default and nothing else, its README.md begins by telling
// which Telegraf input it equals and mentions every option.
func Docs(t *testing.T, d plugins.Description) {
	t.Helper()
	options := optionNames(t, d)
	sampleHoldsDefaults(t, d, options)

	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(readme), "\n")
	if !strings.Contains(first, "Telegraf") {
		t.Errorf("README.md begins with %q, which does not say what it is to Telegraf", first)
	}
	for _, o := range options {
		if !strings.Contains(string(readme), "`"+o) {
			t.Errorf("README.md does not tell of the option %s", o)
		}
	}
}

func sampleHoldsDefaults(t *testing.T, d plugins.Description, options []string) {
	t.Helper()
	var body strings.Builder
	for line := range strings.Lines(d.Sample) {
		if m := assignment.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			body.WriteString(m[1] + "\n")
		}
	}
	if !strings.Contains(d.Sample, "\n[[inputs."+d.Name+"]]\n") {
		t.Errorf("the sample has no table [[inputs.%s]]", d.Name)
	}
	// What is wrong without any option is for the owner to fill in.
	required := plugins.Check(d, nil)
	for _, e := range plugins.Check(d, []byte(body.String())) {
		if !slices.Contains(required, e) {
			t.Errorf("the sample: %v", e)
		}
	}
	defaults := reflect.ValueOf(d.New()).Elem()
	sample := reflect.New(defaults.Type())
	md, err := toml.Decode(body.String(), sample.Interface())
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, k := range md.Keys() {
		named = append(named, k.String())
	}
	slices.Sort(named)
	slices.Sort(options)
	if diff := cmp.Diff(options, named); diff != "" {
		t.Errorf("options of the sample (-collector +sample):\n%s", diff)
	}
	for _, f := range reflect.VisibleFields(defaults.Type()) {
		if !f.IsExported() {
			continue
		}
		want, got := defaults.FieldByIndex(f.Index).Interface(), sample.Elem().FieldByIndex(f.Index).Interface()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-default +sample):\n%s", f.Name, diff)
		}
	}
}

func optionNames(t *testing.T, d plugins.Description) []string {
	t.Helper()
	r, err := plugins.NewServer(nil, d).Describe(t.Context(), &proto.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(r.Collectors[0].Options)
}
