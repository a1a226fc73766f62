package system

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/plugintest"
)

// TestGolden has the logins of each case in its folder var.
func TestGolden(t *testing.T) {
	plugintest.Golden(t, func(t *testing.T, folder string) plugins.Description {
		t.Setenv("HOST_VAR", filepath.Join(folder, "var"))
		return Description()
	})
}

func TestDocs(t *testing.T) { plugintest.Docs(t, Description()) }

func TestInclude(t *testing.T) {
	for _, good := range []string{"", "include = []", `include = ["legacy", "load", "users", "cpus", "uptime", "os", "dmi"]`} {
		if errs := plugins.Check(Description(), []byte(good)); len(errs) > 0 {
			t.Errorf("%s: %v", good, errs)
		}
	}
	errs := plugins.Check(Description(), []byte(`include = ["load", "memory"]`))
	if len(errs) != 1 || errs[0].Option != "include" || !strings.Contains(errs[0].Message, `"memory" is none of legacy`) {
		t.Errorf("%v", errs)
	}
}

func TestFormatUptime(t *testing.T) {
	f := func(seconds uint64, want string) {
		t.Helper()
		if got := formatUptime(seconds); got != want {
			t.Errorf("%d: %q, want %q", seconds, got, want)
		}
	}
	f(0, " 0:00")
	f(23*60+59, " 0:23")
	f(86399, "23:59")
	f(86400, "1 day,  0:00")
	f(86400+11*3600+7*60, "1 day, 11:07")
	f(1249632, "14 days, 11:07")
}

func TestRecordSize(t *testing.T) {
	f := func(fileSize int, arch string, want int) {
		t.Helper()
		if got := recordSize(fileSize, arch); got != want {
			t.Errorf("%d bytes on %s: %d, want %d", fileSize, arch, got, want)
		}
	}
	f(0, "amd64", 384)
	f(0, "arm64", 400)
	f(5*384, "arm64", 384)
	f(5*400, "arm64", 400)
	f(5*400, "arm", 400)
	f(24*400, "arm64", 400) // as good as 25*384
	f(24*400, "arm", 384)
	f(1000, "arm64", 400) // being written
	f(1000, "arm", 384)
}

// TestCache: what was read is kept for as long as it may be, and no longer.
func TestCache(t *testing.T) {
	sys := t.TempDir()
	t.Setenv("HOST_SYS", sys)
	name := filepath.Join(sys, "class/dmi/id/product_name")
	write := func(text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1717171717, 0)
	d := Description()
	d.New = func() plugins.Collector {
		c := Description().New().(*Collector)
		c.now = func() time.Time { return now }
		return c
	}
	in := plugintest.Configure(t, d, "include = [\"dmi\"]\ndmi_cache_ttl = \"1m\"")
	want := func(product string) {
		t.Helper()
		if got := in.Gather(); !strings.Contains(got, `product_name="`+product+`"`) {
			t.Errorf("%q lacks %s", got, product)
		}
	}
	write("one\n")
	want("one")
	write("two\n")
	now = now.Add(59 * time.Second)
	want("one")
	now = now.Add(time.Second)
	want("two")
}

// TestThisMachine asks the system calls that a redirected reading does not.
func TestThisMachine(t *testing.T) {
	got := plugintest.Configure(t, Description(), `include = ["legacy", "os"]`).Gather()
	for _, field := range []string{"load1=", "n_cpus=", "uptime=", "uptime_format=", `kernel_version="`} {
		if !strings.Contains(got, field) {
			t.Errorf("%q lacks %s", got, field)
		}
	}
}
