package plugins

import (
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/rpicluster/vitals/plugins/proto"
)

// TestClose: a collector is closed when it is replaced or released, after the
// reading that is under way.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := 0
		d := probeDescription()
		d.New = func() Collector { return &probe{Schema: Telegraf, closed: func() { closed++ }} }
		s := NewServer(slog.New(slog.DiscardHandler), d).(*server)
		configure := func() {
			if _, err := s.Configure(t.Context(), &proto.ConfigureRequest{InstanceId: "x", Collector: "probe"}); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(n int) {
			t.Helper()
			synctest.Wait()
			if closed != n {
				t.Errorf("closed %d times, want %d", closed, n)
			}
		}
		configure()
		expect(0)
		configure()
		expect(1)
		s.instances["x"].turn <- struct{}{} // a reading
		turn := s.instances["x"].turn
		if _, err := s.Release(t.Context(), &proto.ReleaseRequest{InstanceId: "x"}); err != nil {
			t.Fatal(err)
		}
		expect(1)
		<-turn
		expect(2)
	})
}

// TestNewPanics: a collector that cannot even be made is a refused instance.
func TestNewPanics(t *testing.T) {
	d := Description{Name: "bad", New: func() Collector { panic("no") }}
	r, err := NewServer(slog.New(slog.DiscardHandler), d).Configure(t.Context(), &proto.ConfigureRequest{Collector: "bad"})
	if err != nil || len(r.Errors) != 1 || r.Errors[0].Message != "collector panicked: no" {
		t.Errorf("%v, %v", r, err)
	}
}

func TestHostPaths(t *testing.T) {
	t.Setenv("HOST_PROC", "")
	t.Setenv("HOST_SYS", "/host/sys")
	if got := HostProc("stat") + " " + HostSys("class", "hwmon") + " " + HostEtc(); got != "/proc/stat /host/sys/class/hwmon /etc" {
		t.Error(got)
	}
}
