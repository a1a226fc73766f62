package conformance

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rpicluster/vitals/agent/program"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// drive checks a program and returns the results by item.
func drive(t *testing.T, c Config) (results []Result, good bool) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vitals") // short, as a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("the check leaves %v behind, %v", left, err)
		}
		os.RemoveAll(dir)
	})
	c.Sockets, c.ByHand = dir, c.Argv
	// With the race detector a program would take a second to end.
	c.Env = append(c.Env, "PATH="+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0")
	c.AsAgent = func(ctx context.Context) (func(), error) {
		p, err := program.Start(ctx, program.Command{
			Argv: c.Argv, Env: c.Env, Sockets: dir, Timeout: c.startTimeout, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			return nil, err
		}
		return func() { p.End(program.EndTimeout) }, nil
	}
	good = Run(t.Context(), c, func(r Result) { results = append(results, r) })
	return results, good
}

// self is the test binary under another name, so that nothing but its
// arguments tells it what to be.
func self(t *testing.T, words ...string) []string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{path}, words...)
}

func require(t *testing.T, results []Result, want map[string]Status) {
	t.Helper()
	got := map[string]Status{}
	for _, r := range results {
		if r.Status != OK {
			got[r.Item] = r.Status
		}
		if (r.Contract == "") != (r.Item == "the rest") || (r.Status == Fail) != (len(r.Fails) > 0) {
			t.Errorf("%+v does not explain itself", r)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items that are not ok (-want +got):\n%s", diff)
	}
	if t.Failed() {
		for _, r := range results {
			t.Logf("%-4s  %-22s%s %q %q", r.Status, r.Item, r.Note, r.Fails, r.Warnings)
		}
	}
}

func TestBuiltInCollectorsKeepTheContract(t *testing.T) {
	t.Parallel()
	file, err := nodefile.Parse("check.toml", []byte(`
[[inputs.exec]]
  commands = ["echo 'line value=1i'"]
[[inputs.execd]]
  command = ["sh", "-c", "while read x; do echo line value=1i; done"]
  signal = "STDIN"
`))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := file.Plugins("inputs")
	if err != nil {
		t.Fatal(err)
	}
	results, good := drive(t, Config{Argv: self(t, "plugin"), Tables: tables, primeTime: 50 * time.Millisecond, streamTime: 2 * time.Second})
	for _, r := range results {
		// A collector may find nothing on this machine, or a disk twice.
		if slices.Contains([]string{"gather", "lines", "sample", "one value for a point"}, r.Item) && r.Status == Warn {
			continue
		}
		if r.Status != OK {
			t.Errorf("%s %s: %q %q", r.Status, r.Item, r.Fails, r.Warnings)
		}
	}
	if len(results) != len(items()) || !good {
		t.Errorf("%d of %d items, %v", len(results), len(items()), good)
	}
}

// What breaks one promise fails the item that asks for it, and no other but
// those named with it.
func TestBrokenPrograms(t *testing.T) {
	t.Parallel()
	vital := func(items ...string) map[string]Status {
		want := map[string]Status{"the rest": Fail}
		for _, i := range items {
			want[i] = Fail
		}
		return want
	}
	fail := func(items ...string) map[string]Status {
		want := vital(items...)
		delete(want, "the rest")
		return want
	}
	warn := func(items ...string) map[string]Status {
		want := map[string]Status{}
		for _, i := range items {
			want[i] = Warn
		}
		return want
	}
	and := func(a, b map[string]Status) map[string]Status {
		maps.Copy(a, b)
		return a
	}
	for broken, want := range map[string]map[string]Status{
		"nothing at all":          {},
		"silent by hand":          fail("run by hand"),
		"content by hand":         fail("run by hand"),
		"runs by hand":            fail("run by hand"),
		"serves by hand":          fail("run by hand"),
		"prints first":            vital("handshake"),
		"no handshake":            vital("handshake"),
		"ends at start":           vital("handshake"),
		"socket elsewhere":        vital("handshake"),
		"version 2":               vital("handshake"),
		"netrpc":                  vital("handshake"),
		"tls":                     vital("handshake"),
		"listens late":            vital("handshake"),
		"no health":               fail("health"),
		"other health":            fail("health"),
		"slow to describe":        vital("describe"),
		"slow to describe once":   {},                          // so is any on a busy machine
		"cannot describe":         vital("health", "describe"), // not even alive
		"nothing":                 vital("describe"),
		"bad name":                fail("names and options", "started by the agent"),
		"twins":                   fail("names and options", "started by the agent"),
		"claims interval":         and(fail("names and options", "started by the agent"), warn("sample")),
		"built in":                warn("names and options"),
		"says little":             warn("names and options"),
		"sample is no TOML":       fail("sample"),
		"sample of another":       fail("sample"),
		"sample is refused":       fail("sample"),
		"sample lacks an option":  warn("sample"),
		"needs an option":         warn("sample"),
		"takes unknown options":   fail("unknown option"),
		"dies of unknown options": fail("unknown option", "configured again"),

		"does not say which option":         warn("unknown option"),
		"takes wrong types":                 fail("wrong type"),
		"dies of wrong types":               fail("wrong type"),
		"takes garbage":                     fail("garbage as options"),
		"garbage is an error":               fail("garbage as options"),
		"dies of garbage":                   fail("garbage as options"),
		"any collector":                     fail("unknown collector"),
		"drops what it refuses":             fail("configured again"),
		"goes by what it refuses":           fail("configured again"),
		"configured once":                   fail("configured again"),
		"hangs":                             fail("gather", "two instances", "configured again", "cancelled gather"),
		"cannot gather":                     fail("gather", "two instances", "configured again", "cancelled gather"),
		"dies gathering":                    and(fail("gather", "two instances", "configured again", "cancelled gather", "shutdown", "lifeline"), warn("nothing left")),
		"gathers with an error":             warn("gather", "lines"),
		"no lines":                          warn("lines"),
		"bad line":                          fail("lines"),
		"seconds":                           fail("lines"),
		"other measurement":                 fail("measurements"),
		"same point twice":                  warn("one value for a point"),
		"mixes instances":                   fail("two instances"),
		"releases all":                      fail("two instances"),
		"hangs once cancelled":              fail("cancelled gather"),
		"dies once cancelled":               fail("cancelled gather"),
		"answers anyone":                    fail("unknown instance"),
		"never releases":                    fail("unknown instance"),
		"dies of unknown instances":         fail("unknown instance"),
		"unknown instance is another error": fail("unknown instance"),
		"releases once":                     fail("release"),
		"prints":                            fail("standard output"),
		"stream":                            {},
		"stream prompted":                   {},
		"stream opens once":                 fail("stream"),
		"stream prompted in vain":           fail("stream"),
		"stream is not served":              fail("stream"),
		"stream ends":                       fail("stream"),
		"stream fails":                      fail("stream"),
		"stream dies":                       fail("stream"),
		"stream of bad lines":               fail("lines"),
		"no controller":                     warn("shutdown"),
		"ignores shutdown":                  fail("shutdown"),
		"ignores its lifeline":              fail("lifeline"),
		"leaves its socket":                 fail("nothing left"),
		"leaves a child":                    fail("nothing left"),
	} {
		t.Run(broken, func(t *testing.T) {
			t.Parallel()
			c := Config{
				Argv: self(t, "fixture", broken), BuiltIn: func(name string) bool { return name == "cpu" },
				primeTime: 20 * time.Millisecond, streamTime: time.Second,
			}
			switch broken { // what never comes is not waited for in full
			case "no handshake":
				c.startTimeout = 2 * time.Second
			case "hangs", "hangs once cancelled", "stream prompted in vain", "stream opens once":
				c.gatherTimeout = 2 * time.Second
			}
			results, good := drive(t, c)
			require(t, results, want)
			if failed := strings.Contains(strings.Join(statuses(want), " "), string(Fail)); good == failed {
				t.Errorf("good is %v", good)
			}
		})
	}
}

// A program of package plugins that takes an option of the agent's is told so
// where options are the matter, and not that it does not start.
func TestAnOptionOfTheAgents(t *testing.T) {
	t.Parallel()
	results, _ := drive(t, Config{Argv: self(t, "flawed"), BuiltIn: func(string) bool { return false }})
	for _, r := range results {
		switch said := strings.Join(r.Fails, " "); r.Item {
		case "handshake", "describe":
			if r.Status != OK {
				t.Errorf("%+v", r)
			}
		case "names and options":
			if r.Status != Fail || !strings.Contains(said, `the option "labels" is the agent's`) {
				t.Errorf("%+v", r)
			}
			return
		}
	}
	t.Errorf("names and options were not looked at: %+v", results)
}

func statuses(want map[string]Status) []string {
	var all []string
	for _, s := range want {
		all = append(all, string(s))
	}
	return all
}
