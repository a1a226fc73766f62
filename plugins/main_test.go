package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"github.com/rpicluster/vitals/plugins/proto"
)

// TestMain lets the test binary be a plugin: it re-executes itself as one.
func TestMain(m *testing.M) {
	if os.Getenv("PLUGINS_TEST_FLAW") != "" {
		Serve(Description{Name: "clock", New: func() Collector { return &clock{} }})
		return
	}
	if os.Getenv("PLUGINS_TEST_SERVE") != "" {
		Serve(probeDescription(), eventsDescription())
		return
	}
	os.Exit(m.Run())
}

// probe is a collector that does what its options say.
type probe struct {
	Mode   string        `toml:"mode"`
	Value  int           `toml:"value"`
	Ratio  float64       `toml:"ratio"`
	Every  time.Duration `toml:"every"`
	Names  []string      `toml:"names"`
	Size   uint          `toml:"size"`
	Schema Schema        `toml:"schema"`
	primed int
	closed func()
}

func probeDescription() Description {
	return Description{
		Name: "probe", Aliases: []string{"sonde"}, Version: "1.2.3", Description: "Does as told.",
		Measurements: []string{"probe"}, Interval: time.Hour,
		New: func() Collector { return &probe{Value: 7, Schema: Telegraf, Every: time.Second} },
	}
}

func (p *probe) Validate() error {
	if p.Value < 0 {
		return OptionError{"value", "must not be negative"}
	}
	return nil
}

func (p *probe) OmitHost() bool { return p.Schema == Cluster }

func (p *probe) Prime(context.Context) error {
	switch p.Mode {
	case "prime fails":
		return errors.New("no counters")
	case "prime panics":
		panic("in Prime")
	}
	p.primed++
	return nil
}

func (p *probe) Gather(ctx context.Context, b *Batch) error {
	switch p.Mode {
	case "panic":
		b.Point("probe").Int("before", 1)
		panic("boom")
	case "hang":
		select {} // ignores ctx, as a read of a dead device does
	case "print":
		fmt.Println(strings.Repeat("printed ", 1<<15))
		fmt.Fprintln(os.NewFile(1, "descriptor 1"), strings.Repeat("written ", 1<<15))
	case "program":
		dir := p.Names[0]
		_, err := StartProgram([]string{"sh", "-c", "echo $$ >" + dir + "/leader; sleep 600 & echo $! >" + dir + "/child; wait"}, os.Environ(), false)
		return err
	case "fail":
		b.Fail(errors.New("one"))
		b.Fail(errors.New("two"))
	case "log":
		b.Log().Debug("too fine")
		b.Log().Warn("look here", "reason", "told to")
	case "error":
		b.Point("probe").Int("value", 1)
		return errors.New("half of it is missing")
	}
	b.Point("probe").Tag("node", b.Host()).Int("value", int64(p.Value)).Int("primed", int64(p.primed))
	return ctx.Err()
}

func (p *probe) Close() error {
	if p.Mode == "farewell" {
		slog.Warn("farewell")
		return os.WriteFile(p.Names[0], nil, 0o600)
	}
	if p.closed != nil {
		p.closed()
	}
	return nil
}

// events is a collector that streams.
type events struct {
	Count  int `toml:"count"`
	Fail   bool
	Prompt bool
}

func eventsDescription() Description {
	return Description{Name: "events", New: func() Collector { return &events{Count: 3} }}
}

func (e *events) Gather(context.Context, *Batch) error { return nil }

func (e *events) Prompted() bool { return e.Prompt }

func (e *events) Patience() time.Duration { return time.Duration(e.Count) * time.Second }

func (e *events) Stream(ctx context.Context, b *Batch, flush func() error) error {
	for i := range e.Count {
		b.Point("event").Int("n", int64(i))
		if i == 1 {
			b.Fail(errors.New("for a moment"))
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if e.Fail {
		return errors.New("device went away")
	}
	<-ctx.Done()
	return ctx.Err()
}

// host is a plugin process with go-plugin's real client on this side.
type host struct {
	proto.CollectorClient
	client     *plugin.Client
	connection plugin.ClientProtocol
	lifeline   *os.File // our end of it
	pid        int
	sockets    string // the directory for its socket's
	log        *lockedBuffer
}

// start runs cmd as a plugin until the test ends.
func start(t *testing.T, cmd *exec.Cmd) *host {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	sockets, err := os.MkdirTemp("", "vitals") // short, as a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{read}
	cmd.Env = append(os.Environ(), cmd.Env...)
	cmd.Env = append(cmd.Env, LifelineEnv+"=3", "PLUGIN_UNIX_SOCKET_DIR="+sockets)
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		Plugins:          PluginSet(),
		Cmd:              cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     2 * time.Minute,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log}),
	})
	t.Cleanup(func() {
		write.Close()
		client.Kill()
		os.RemoveAll(sockets)
		if t.Failed() {
			t.Logf("the plugin's log:\n%.4000s", log.String())
		}
	})
	connection, err := client.Client()
	read.Close()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := connection.Dispense(DispenseName)
	if err != nil {
		t.Fatal(err)
	}
	return &host{raw.(proto.CollectorClient), client, connection, write, cmd.Process.Pid, sockets, log}
}

// self is the test binary as a plugin.
func self() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{"PLUGINS_TEST_SERVE=1"}
	return cmd
}

func (h *host) configure(t *testing.T, id, collector, options string) *proto.ConfigureReply {
	t.Helper()
	r, err := h.Configure(t.Context(), &proto.ConfigureRequest{
		InstanceId: id, Collector: collector, ConfigToml: []byte(options), Hostname: "pi4", LogLevel: "info",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *host) gather(t *testing.T, id string) (lines, failure string) {
	t.Helper()
	r, err := h.Gather(t.Context(), &proto.GatherRequest{InstanceId: id})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Lines), r.Error
}
