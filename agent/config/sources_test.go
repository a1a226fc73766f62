package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files below a directory of the test's: path, content, path, …
func tree(t *testing.T, files ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// under puts dir before each path.
func under(dir string, paths ...string) []string {
	all := []string{}
	for _, p := range paths {
		all = append(all, filepath.Join(dir, p))
	}
	return all
}

// read reads what lies at these paths below dir.
func read(dir string, files, directories []string, o Options) (*Config, error) {
	o.Builtins = builtins()
	c, err := Read(Sources{Files: under(dir, files...), Directories: under(dir, directories...)}, o)
	if err != nil {
		err = shorten{err, dir + "/"}
	}
	return c, err
}

func TestFind(t *testing.T) {
	f := func(name string, given Sources, vitals, telegraf string, want Sources) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			t.Setenv("VITALS_CONFIG", vitals)
			t.Setenv("TELEGRAF_CONFIG_PATH", telegraf)
			if d := cmp.Diff(want, Find(given)); d != "" {
				t.Error(d)
			}
		})
	}
	files := func(path ...string) Sources { return Sources{Files: path} }
	f("given", files("/y"), "/x", "/z", files("/y"))
	f("a directory alone", Sources{Directories: []string{"/d"}}, "/x", "/z", Sources{Directories: []string{"/d"}})
	f("environment", Sources{}, "/x", "/z", files("/x"))
	f("Telegraf's environment", Sources{}, "", "/z", files("/z"))
	f("installed", Sources{}, "", "", files(DefaultPath))
}

func TestNothingToRead(t *testing.T) {
	f := func(name, vitals, telegraf, want string, files ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			t.Setenv("VITALS_CONFIG", vitals)
			t.Setenv("TELEGRAF_CONFIG_PATH", telegraf)
			dir := tree(t, files...)
			err := missing(Find(Sources{}), filepath.Join(dir, "telegraf.conf"))
			if got := (shorten{err, dir + "/"}).Error(); got != "there is no node file: "+want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
	const installed = "without --config, $VITALS_CONFIG and $TELEGRAF_CONFIG_PATH it is looked for at /etc/vitals/node.toml; "
	const begin = "vitals-agent join makes one for a relay, vitals-agent config create prints one to begin with; or name another with --config"
	f("not installed", "", "", installed+begin)
	f("environment", "/x", "/y", "$VITALS_CONFIG names /x; "+begin)
	f("Telegraf's environment", "", "/y", "$TELEGRAF_CONFIG_PATH names /y; "+begin)
	f("Telegraf's file", "", "", installed+"to run with Telegraf's, which is here, give it: --config telegraf.conf", "telegraf.conf", "")
	f("Telegraf's directory", "", "", installed+"to run with Telegraf's, which is here, give it: --config telegraf.conf --config-directory telegraf.d",
		"telegraf.conf", "", "telegraf.d/x.conf", "")
}

func TestFilesOfADirectory(t *testing.T) {
	dir := tree(t, "20.conf", "", "10.conf", "", "sub/x.conf", "", "sub/sub/a.conf", "", ".conf", "", "a.toml", "", "x.conf.bak", "",
		"..data/y.conf", "", "...conf", "", ".hidden.conf", "", "UPPER.CONF", "", "zz/..v/y.conf", "")
	elsewhere := tree(t, "d/linked.conf", "", "f.conf", "")
	for name, target := range map[string]string{"linkdir": "d", "link.conf": "f.conf", "dirlink.conf": "d", "dangling.conf": "gone"} {
		if err := os.Symlink(filepath.Join(elsewhere, target), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := under(dir, "...conf", ".hidden.conf", "10.conf", "20.conf", "dangling.conf", "link.conf", "sub/sub/a.conf", "sub/x.conf")
	for _, given := range []string{dir, dir + "/"} {
		paths, warnings, err := walk(given)
		if d := cmp.Diff(want, paths); d != "" || err != nil {
			t.Error(d, err)
		}
		if len(warnings) != 1 || !strings.HasSuffix(warnings[0], "a.toml is left out: in a directory only files count whose names end in .conf") {
			t.Error(warnings)
		}
	}
	link := filepath.Join(elsewhere, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if paths, _, _ := walk(link); len(paths) != len(want) || paths[0] != filepath.Join(link, "...conf") {
		t.Errorf("through a link: %q", paths)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	const sound = "[[inputs.cpu]]\n[[outputs.file]]\n"
	dir := tree(t, "sound.conf", sound, "broken.conf", "\n[agent\n", "empty/readme", "", "d/x.conf", "a =", "d/y.conf", "[agent]\nx = 1")
	f := func(name string, files, directories []string, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Helper()
			_, err := read(dir, files, directories, Options{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, w := range want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s\nsays nothing of %s", err, w)
				}
			}
		})
	}
	f("a file that is not there", []string{"sound.conf", "gone.conf"}, nil, "gone.conf: no such file")
	f("a directory as a file", []string{"empty"}, nil, "is a directory; give it as --config-directory")
	f("a directory that is not there", []string{"sound.conf"}, []string{"gone"}, "gone: ", "no such file")
	f("an empty directory", nil, []string{"empty"}, "there is no node file in ", "their names end in .conf")
	f("a syntax error", []string{"sound.conf", "broken.conf"}, nil, "broken.conf:2:7: ")
	f("two", nil, []string{"d"}, "d/x.conf:1")
}

func TestSeveralFiles(t *testing.T) {
	dir := tree(t,
		"main.conf", "[global_tags]\nrack = 'a'\nhost = 'mine'\n[[inputs.cpu]]\n[[outputs.file]]\n",
		"d/1.conf", "[[inputs.mem]]\n[global_tags]\nroom = 'r'\n",
		"d/2.conf", "[agent]\ninterval = '3s'\nmetric_batch_size = 7\nomit_hostname = true\n[global_tags]\nrack = 'b'\n")
	c, err := read(dir, []string{"main.conf"}, []string{"d"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"rack": "b", "room": "r", "host": "mine"}, c.Tags); d != "" {
		t.Error(d)
	}
	if len(c.Inputs) != 2 || c.Inputs[0].Name != "cpu" || c.Inputs[1].Name != "mem" || c.Inputs[0].Interval.String() != "3s" {
		t.Errorf("inputs: %+v", c.Inputs)
	}
	if len(c.Outputs) != 1 || c.Outputs[0].BatchSize != 7 {
		t.Errorf("settings of a later file do not count: %+v", c.Outputs)
	}
	if want := strings.Join(under(dir, "main.conf", "d/1.conf", "d/2.conf"), ", "); c.Path != want {
		t.Errorf("path %q", c.Path)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
}

func TestMistakesOfSeveralFiles(t *testing.T) {
	dir := tree(t, "b.conf", "\n\n\n[[inputs.cpu]]\n  percpux = 1\n", "a.conf", "[[outputs.file]]\n[agent]\nintervall = 1\n")
	_, err := read(dir, []string{"b.conf", "a.conf"}, nil, Options{})
	want := "b.conf:5:3: inputs.cpu.percpux: unknown option; did you mean \"percpu\"?\n" +
		"a.conf:3:1: agent.intervall: unknown option; did you mean \"interval\"?"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAFileGivenTwiceIsReadOnce(t *testing.T) {
	dir := tree(t, "a.conf", "[[inputs.cpu]]\n[[outputs.file]]\n")
	c, err := read(dir, []string{"a.conf"}, []string{"."}, Options{})
	if err != nil || len(c.Inputs) != 1 || len(c.Warnings) != 1 || !strings.HasSuffix(c.Warnings[0], "a.conf is given twice and read once") {
		t.Errorf("%+v, %v", c, err)
	}
}
