package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/rpicluster/vitals/"

// ours returns every package of the module with those of its imports, tests
// left out, that are also of the module; both without the module's path.
func ours(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name, isOurs := strings.CutPrefix(p.ImportPath, module)
		if !isOurs {
			continue
		}
		packages[name] = nil
		for _, i := range p.Imports {
			packages[name] = append(packages[name], strings.TrimPrefix(i, module))
		}
	}
	return packages
}

func TestDependencyDirection(t *testing.T) {
	under := func(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
	ownPackages := func(i string) bool {
		return under(i, "agent") || under(i, "relay") || under(i, "internal") || under(i, "plugins")
	}
	rules := []struct {
		what      string
		importer  func(pkg string) bool
		forbidden func(imported string) bool
	}{
		{"the plugin package imports only the contract, and Telegraf's patterns",
			func(p string) bool { return p == "plugins" },
			func(i string) bool { return ownPackages(i) && i != "plugins/proto" && i != "internal/glob" }},
		{"a collector imports the plugin package and nothing else of ours",
			func(p string) bool {
				return under(p, "plugins") && p != "plugins" && p != "plugins/builtin" && !strings.HasSuffix(p, "test")
			},
			func(i string) bool { return ownPackages(i) && i != "plugins" && i != "plugins/proto" }},
		{"the agent does not know that a relay exists",
			func(p string) bool { return under(p, "agent") },
			func(i string) bool { return under(i, "relay") }},
		{"the relay knows neither agent nor collectors",
			func(p string) bool { return under(p, "relay") },
			func(i string) bool { return under(i, "agent") || under(i, "plugins") }},
		{"what both share knows neither",
			func(p string) bool { return under(p, "internal") },
			func(i string) bool { return under(i, "agent") || under(i, "relay") || under(i, "plugins") }},
		{"the spool knows bytes, not lines or HTTP",
			func(p string) bool { return under(p, "internal/spool") },
			func(i string) bool {
				return under(i, "internal/line") || under(i, "internal/influx") || under(i, "net/http")
			}},
		{"a template, or RPC by names, makes the linker keep every method in the agent's program",
			func(p string) bool { return !under(p, "relay") && !under(p, "tests") },
			func(i string) bool {
				return i == "text/template" || i == "html/template" || i == "net/rpc" || i == "expvar"
			}},
	}
	for pkg, imports := range ours(t) {
		for _, r := range rules {
			for _, i := range imports {
				if r.importer(pkg) && r.forbidden(i) {
					t.Errorf("%s imports %s: %s", pkg, i, r.what)
				}
			}
		}
	}
}

// The longest function and file that a reader can still see whole.
const maxFunction, maxFile = 60, 400

func TestFunctionsAndFilesCanBeSeenWhole(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if n := lines(t, path); n > maxFile && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s has %d lines", path, n)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && !strings.HasSuffix(path, "_test.go") {
				if n := files.Position(fn.End()).Line - files.Position(fn.Pos()).Line + 1; n > maxFunction {
					t.Errorf("%s: %s has %d lines", files.Position(fn.Pos()), fn.Name.Name, n)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func lines(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
	}
	return n
}
