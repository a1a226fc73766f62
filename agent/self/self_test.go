package self

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// TestGolden has the state of the agent of each case in its file status.json.
func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		data, err := os.ReadFile(filepath.Join(folder, "status.json"))
		if err != nil {
			t.Fatal(err)
		}
		var s State
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		return of(func() State { return s })
	})
}

// of describes the collector of an agent of a version that never was.
func of(read func() State) plugins.Description {
	d := Description("1.99.0", read)
	make := d.New
	d.New = func() plugins.Collector {
		c := make().(*Collector)
		c.golang = "1.2.3"
		return c
	}
	return d
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description("dev", nil)) }

// TestMeasurements: what the README shows is what it describes itself with.
func TestMeasurements(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, m := range Description("dev", nil).Measurements {
		if !strings.Contains(string(readme), "\n"+m) {
			t.Errorf("the README shows no line of %s", m)
		}
	}
}

// TestAverages: a time is the average since it was last read, the same again if
// nothing was done, and begins anew for an input that does.
func TestAverages(t *testing.T) {
	var now collect.Status
	in := plugintest.Configure(t, of(func() State { return State{Inputs: []collect.Status{now}} }), "collect_memstats = false")
	f := func(gathers int64, spent time.Duration, want string) {
		t.Helper()
		now = collect.Status{ID: "cpu", Name: "cpu", Gathers: gathers, Spent: spent}
		got := regexp.MustCompile(`gather_time_ns=\d+i`).FindString(in.Gather())
		if got != "gather_time_ns="+want+"i" {
			t.Errorf("after %d gathers of %d ns: %s, want %s", gathers, spent, got, want)
		}
	}
	f(0, 0, "0")
	f(2, 20, "10")
	f(2, 20, "10")
	f(4, 80, "30")
	f(4, 80, "30")
	f(1, 7, "7") // it was restarted by a reload
}

// TestThisProcess: what the runtime tells has Telegraf's types, and nothing of
// it is missing.
func TestThisProcess(t *testing.T) {
	read := func() State { return State{} }
	got := plugintest.Configure(t, of(read), "collect_gostats = true").Gather()
	for _, want := range []string{
		`(?m)^internal_memstats alloc_bytes=[1-9]\d*i,total_alloc_bytes=[1-9]\d*i,sys_bytes=[1-9]\d*i,.*,heap_objects=[1-9]\d*i,num_gc=\d+i$`,
		`(?m)^internal_gostats,go_version=1\.2\.3 .*\bgc_heap_objects_objects=[1-9]\d*i,`,
		`(?m)^internal_gostats,.*\bcpu_classes_total_cpu_seconds=\d+(\.\d+)?,`,
		`(?m)^internal_gostats,.*\bsched_goroutines_goroutines=[1-9]\d*i`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s does not match\n%s", want, got)
		}
	}
	if got := plugintest.Configure(t, of(read), "collect_memstats = false").Gather(); strings.Contains(got, "internal_memstats") {
		t.Errorf("%q", got)
	}
}
