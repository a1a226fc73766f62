package main

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestVersionsAsPackagesSortThem(t *testing.T) {
	f := func(version, want string) {
		t.Helper()
		s := shop{version: version}
		if got := s.packageVersion(); got != want {
			t.Errorf("%s is %s, want %s", version, got, want)
		}
	}
	f("v1.2.3", "1.2.3")
	f("v1.2.3-rc1", "1.2.3~rc1")
	f("v1.2.3+4.g0123456789ab", "1.2.3+4.g0123456789ab")
}

func TestArchitectureThatIsNotKnown(t *testing.T) {
	if err := run([]string{"-targets", "sparc", "-dist", t.TempDir()}); err == nil || !strings.Contains(err.Error(), "sparc") {
		t.Error(err)
	}
}

// What a program is said to be made of is all that was linked into it, in the
// form that CycloneDX has laid down.
func TestComponents(t *testing.T) {
	s := shop{dist: t.TempDir(), version: "v1.2.3", at: time.Unix(1e9, 0).UTC(), log: func(string) {}}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dist, "linux-amd64"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own, filepath.Join(s.dist, "linux-amd64/vitals-agent")); err != nil {
		t.Fatal(err)
	}
	if err := s.components("vitals-agent", target{name: "amd64", debian: "amd64"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(s.dist, "vitals-agent_1.2.3_amd64.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t).Validate(document); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	var bom struct{ Components []struct{ PURL string } }
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}
	for _, d := range info.Deps {
		want = append(want, "pkg:golang/"+d.Path+"@"+strings.ReplaceAll(d.Version, "+", "%2B"))
	}
	for i, c := range bom.Components {
		if len(want) != len(bom.Components) || c.PURL != want[i] {
			t.Fatalf("%d components, number %d is %s; want %d: %s", len(bom.Components), i, c.PURL, len(want), want)
		}
	}
}

// schema is CycloneDX's own, which its library brings.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for name, file := range map[string]string{"bom-1.6.schema.json": "", "spdx.schema.json": "", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		if file == "" {
			file = name
		}
		f, err := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "schema", file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		document, err := jsonschema.UnmarshalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource("http://cyclonedx.org/schema/"+name, document); err != nil {
			t.Fatal(err)
		}
	}
	compiled, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}
