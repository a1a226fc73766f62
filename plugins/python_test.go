package plugins

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/influxdb/models"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/rpicluster/vitals/plugins/proto"
)

// python is a plugin in Python as a command. Where Python lacks what the
// plugin needs the test fails: it is part of the promise.
func python(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	out, err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").CombinedOutput()
	if err != nil {
		t.Fatalf("plugins in Python need two packages: apt-get install python3-grpcio python3-protobuf\n%v\n%s", err, out)
	}
	absolute, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(absolute)
}

func TestPython(t *testing.T) {
	t.Setenv("PYTHONUNBUFFERED", "") // so that it is put back; an agent hands on none
	os.Unsetenv("PYTHONUNBUFFERED")
	h := start(t, python(t, "testdata/python/vitals-plugin-odd"))

	t.Run("describe", func(t *testing.T) {
		r, err := h.Describe(t.Context(), &proto.DescribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		want := &proto.CollectorDescription{
			Name: "odd", Options: []string{"mode", "ratio", "names", "on"}, DefaultIntervalNs: int64(time.Hour),
			SampleConfig: "[[inputs.odd]]\n  # mode = \"\"\n  # ratio = 1.5\n  # names = []\n  # on = true\n",
		}
		if diff := cmp.Diff(want, r.Collectors[0], protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("options", func(t *testing.T) {
		f := func(json, option, message string) {
			t.Helper()
			r := h.configurePython(t, "o", json)
			want := []*proto.OptionError{{Option: option, Message: message}}
			if diff := cmp.Diff(want, r.Errors, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		}
		f(`{"ratoi": 1}`, "ratoi", "unknown option; did you mean 'ratio'?")
		f(`{"xyz": 1}`, "xyz", "unknown option; known are mode, ratio, names, on")
		f(`{"ratio": "a"}`, "ratio", `expected a number, not "a"`)
		f(`{"on": 1}`, "on", "expected true or false, not 1")
		f(`{"ratio": -1}`, "ratio", "must not be negative")
		f(`[1]`, "", "the options cannot be read: not an object")
		f(`{"ratio"`, "", "the options cannot be read: Expecting ':' delimiter: line 1 column 9 (char 8)")
	})
	t.Run("two instances", func(t *testing.T) {
		h.configurePython(t, "a", `{"ratio": 2}`)
		h.configurePython(t, "b", `{"mode": "prime fails"}`)
		for id, want := range map[string]string{
			"a": "odd,node=pi4 primed=1i,ratio=2i\n", "b": "odd,node=pi4 primed=0i,ratio=1.5\n",
		} {
			if got, failure := h.gather(t, id); got != want || failure != "" {
				t.Errorf("%s: %q, %q", id, got, failure)
			}
		}
	})
	t.Run("exception", func(t *testing.T) {
		h.configurePython(t, "r", `{"mode": "raise"}`)
		if got, failure := h.gather(t, "r"); got != "before x=1i\n" || failure != "RuntimeError: boom" {
			t.Errorf("%q, %q", got, failure)
		}
		eventually(t, "the traceback", func() bool { return strings.Contains(h.log.String(), "vitals-plugin-odd\", line") })
	})
	t.Run("printing does not block", func(t *testing.T) {
		h.configurePython(t, "p", `{"mode": "print"}`)
		for range 5 {
			if got, failure := h.gather(t, "p"); got == "" || failure != "" {
				t.Fatalf("%q, %q", got, failure)
			}
		}
		eventually(t, "the log", func() bool { return strings.Contains(h.log.String(), "[WARN]  vitals-plugin-odd: look here") })
	})
	t.Run("what is printed is logged at once", func(t *testing.T) {
		h.configurePython(t, "s", `{"mode": "say"}`)
		h.gather(t, "s")
		eventually(t, "the log", func() bool { return strings.Contains(h.log.String(), "said without flush") })
	})
	t.Run("release", func(t *testing.T) {
		h.configurePython(t, "z", "")
		if _, err := h.Release(t.Context(), &proto.ReleaseRequest{InstanceId: "z"}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Gather(t.Context(), &proto.GatherRequest{InstanceId: "z"}); status.Code(err) != codes.NotFound {
			t.Errorf("%v", err)
		}
	})
	t.Run("health", func(t *testing.T) {
		if err := h.connection.Ping(); err != nil {
			t.Error(err)
		}
	})
	t.Run("every line is accepted", func(t *testing.T) {
		h.configurePython(t, "n", `{"mode": "nasty"}`)
		lines, failure := h.gather(t, "n")
		if failure != "" {
			t.Fatal(failure)
		}
		points, err := models.ParsePointsWithPrecision([]byte(lines), time.Now(), "n")
		if err != nil {
			t.Fatal(err)
		}
		if want := 13*13 + 1; len(points) != want {
			t.Errorf("%d points, want %d", len(points), want)
		}
		if got := points[len(points)-1].String(); got != "sentinel x=9223372036854775807i,y=-0.5,z=false 17" {
			t.Error(got)
		}
	})
}

// configurePython passes options as JSON, which is what Python reads.
func (h *host) configurePython(t *testing.T, id, options string) *proto.ConfigureReply {
	t.Helper()
	r, err := h.Configure(t.Context(), &proto.ConfigureRequest{
		InstanceId: id, Collector: "odd", ConfigJson: []byte(options), Hostname: "pi4", LogLevel: "info",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPythonHangAndLifeline(t *testing.T) {
	h := start(t, python(t, "testdata/python/vitals-plugin-odd"))
	h.configurePython(t, "stuck", `{"mode": "hang"}`)
	h.configurePython(t, "free", "")
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := h.Gather(ctx, &proto.GatherRequest{InstanceId: "stuck"})
		cancel()
		if status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("%v", err)
		}
		if got, _ := h.gather(t, "free"); got == "" {
			t.Fatal("no line")
		}
	}
	h.lifeline.Close()
	eventually(t, "the end of the process", func() bool { return gone(h.pid) })
}

// TestPyDice runs the example twice: where it lies in the repository, and as
// somebody installs it who has three files and one folder.
func TestPyDice(t *testing.T) {
	f := func(name, script string) {
		t.Run(name, func(t *testing.T) {
			h := start(t, python(t, script))
			r, err := h.Configure(t.Context(), &proto.ConfigureRequest{InstanceId: "d", Collector: "pydice", ConfigJson: []byte(`{"sides": 1}`)})
			if err != nil || len(r.Errors) > 0 {
				t.Fatal(r, err)
			}
			if got, failure := h.gather(t, "d"); got != "dice,made_in=python value=1i\n" || failure != "" {
				t.Errorf("%q, %q", got, failure)
			}
			if err := h.connection.Close(); err != nil { // asks it to shut down
				t.Error(err)
			}
			eventually(t, "Shutdown to be heard", func() bool { return gone(h.pid) })
		})
	}
	f("in the repository", "examples/python/vitals-plugin-pydice")

	folder := t.TempDir()
	for _, file := range []string{"examples/python/vitals-plugin-pydice", "proto/python/vitals_plugin.py", "proto/python/collector_pb2.py"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f("installed", filepath.Join(folder, "vitals-plugin-pydice"))
}

func TestPythonByHand(t *testing.T) {
	out, err := python(t, "examples/python/vitals-plugin-pydice").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not run by hand") || !strings.Contains(string(out), "[[inputs.pydice]]") {
		t.Errorf("%v, %s", err, out)
	}
}
