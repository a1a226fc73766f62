package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// invited is what a program reads of an invite.
type invited struct {
	ID, Code, URL, Pin, Line string
}

func (p *hub) invited(flags string) (in invited) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.must("vitals-relay invite --json "+flags)), &in); err != nil {
		p.t.Fatal(err)
	}
	return in
}

// join joins with the code in a file; where is another address of the relay than
// that of the invite.
func (m *island) join(in invited, where string, flags string) (out string, code int) {
	m.t.Helper()
	m.write("/run/code", in.Code+"\n", 0o600)
	if where == "" {
		where = in.URL
	}
	return m.try(fmt.Sprintf("vitals-agent join %s --pin '%s' --code-file /run/code %s </dev/null", where, in.Pin, flags))
}

// traces are the files that joining writes, with modes and sizes.
func (m *island) traces() string {
	m.t.Helper()
	out, _ := m.try(`find /etc/vitals /var/lib/vitals /usr/bin/vitals-agent -printf '%p %m %u %s\n' 2>/dev/null | sort`)
	return out
}

// refuses requires that something fails, says what to do, and changes nothing.
func (m *island) refuses(what string, do func() (string, int), remedy string) {
	m.t.Helper()
	before := m.traces()
	out, code := do()
	if code == 0 || !strings.Contains(out, remedy) {
		m.t.Errorf("%s: exit code %d, want one that says %q\n%s", what, code, remedy, out)
	}
	if now := m.traces(); now != before {
		m.t.Errorf("%s: something is left. Before:\n%s\nNow:\n%s", what, before, now)
	}
}

// joins requires that a machine joins, and leaves again without a trace.
func (m *island) joins(what string, do func() (string, int)) {
	m.t.Helper()
	if out, code := do(); code != 0 || !strings.Contains(out, "stored its first lines") {
		m.t.Fatalf("%s: exit code %d\n%s", what, code, out)
	}
}

func (m *island) leaves(what, before string) {
	m.t.Helper()
	if out, code := m.try("vitals-agent leave"); code != 0 {
		m.t.Errorf("%s: leave: exit code %d\n%s", what, code, out)
	}
	if now := m.traces(); now != before {
		m.t.Errorf("%s: something is left after leave. Before:\n%s\nNow:\n%s", what, before, now)
	}
}

// expire puts the end of an invite into the past, while the relay is stopped.
func (p *hub) expire(id string) {
	p.t.Helper()
	p.relay.stop()
	const path = "/var/lib/vitals/relay/invites.json"
	var file map[string][]map[string]any
	if err := json.Unmarshal([]byte(p.read(path)), &file); err != nil {
		p.t.Fatal(err)
	}
	found := false
	for _, one := range file["invites"] {
		if one["id"] == id {
			one["expires"], found = time.Now().Add(-time.Minute), true
		}
	}
	text, err := json.Marshal(file)
	if err != nil || !found {
		p.t.Fatalf("%s is not in %s: %v", id, file, err)
	}
	p.write(path, string(text), 0o600)
	p.runs()
}

// What is wrong with an invite, or with a machine, is told with what to do about
// it; nothing is half-installed, and once it is mended a second try works.
func TestJoiningThatFails(t *testing.T) {
	t.Parallel()
	agent := agentAs(t, "v0.1.0")
	all := archipelago(t, "pi-1", "pi-2", "pi-3")
	p := newHub(all[0], "none", agent)
	m, bare := all[1], all[2]
	m.bring(agent, "/usr/bin/vitals-agent")
	clean := m.traces()
	try := func(in invited, flags string) func() (string, int) {
		return func() (string, int) { return m.join(in, "", flags) }
	}

	in := p.invited("")
	wrong := in
	wrong.Pin = "sha256//" + strings.Repeat("A", 43) + "="
	m.refuses("another key", try(wrong, ""), "It was sent nothing")
	wrong = in
	wrong.Code = map[bool]string{true: "1", false: "0"}[in.Code[0] == '0'] + in.Code[1:]
	m.refuses("a tampered code", try(wrong, ""), "vitals-relay invite")
	old := p.invited("")
	p.expire(old.ID)
	m.refuses("an expired invite", try(old, ""), "vitals-relay invite")
	for _, key := range []string{"\x03", "\x1c", "\x04"} { // Ctrl-C, Ctrl-\, Ctrl-D
		if shown, exit := m.paste(fmt.Sprintf("exec vitals-agent join %s --pin '%s'", in.URL, in.Pin), key); exit != 1 || !strings.Contains(shown, "nothing else was changed") || m.traces() != clean {
			t.Errorf("%q instead of a code: exit code %d\n%s\n%s", key, exit, shown, m.traces())
		}
	}
	m.joins("a second try", try(in, ""))
	m.leaves("a second try", clean)

	// The same invite on a second machine, and a second machine of the same name.
	m.joins("the same machine again", try(in, ""))
	bare.bring(agent, "/usr/bin/vitals-agent")
	other := func(in invited, flags string) func() (string, int) {
		return func() (string, int) { return bare.join(in, "", flags) }
	}
	bare.refuses("a duplicated invite", other(in, ""), "vitals-relay invite")
	in = p.invited("")
	bare.refuses("a name that is taken", other(in, "--name pi-2"), "--name")
	bare.joins("another name", other(in, "--name pi-4"))
	bare.must("vitals-agent leave")
	m.leaves("the same machine again", clean)

	// Packages: none for this machine, one for another, one that is damaged.
	bare.must("rm /usr/bin/vitals-agent")
	in = p.invited("")
	paste := func() (string, int) {
		bare.write("/run/code", in.Code+"\n", 0o600)
		return bare.try("export VITALS_CODE_FILE=/run/code; " + strings.Replace(in.Line, "sudo sh", "sh", 1))
	}
	shelf := "/usr/share/vitals/packages/"
	foreign := debianPackage(t, agent, "0.1.0", map[bool]string{true: "armhf", false: "amd64"}[debianArch() != "armhf"])
	p.bring(foreign, shelf+filepath.Base(foreign))
	bare.refuses("no package for this machine", paste, "vitals-packages")
	name := fmt.Sprintf("vitals-agent_0.1.0_%s.deb", debianArch())
	p.bring(foreign, shelf+name)
	bare.refuses("a package for another machine", paste, "does not match system")
	good := debianPackage(t, agent, "0.1.0", debianArch())
	p.bring(good, shelf+name)
	p.write(shelf+"SHA256SUMS", strings.Repeat("0", 64)+"  "+name+"\n", 0o644)
	bare.refuses("a damaged package", paste, "damaged")
	in.Line = strings.Replace(in.Line, in.Pin, wrong.Pin[:8]+strings.Repeat("A", 43)+"=", 1)
	before := bare.traces()
	if out, _ := paste(); !strings.Contains(out, "curl: (90)") || bare.traces() != before {
		t.Errorf("a line with another key: %s\n%s", out, bare.traces())
	}
	p.must("rm " + shelf + "SHA256SUMS")
	in = p.invited("")
	bare.joins("the right package", paste)
}

// The relay goes away at any moment of a joining, the disk is full, the program
// is killed.
func TestJoiningThatIsBrokenOff(t *testing.T) {
	t.Parallel()
	agent := agentAs(t, "v0.1.0")
	all := archipelago(t, "pi-1", "pi-2")
	p, m := newHub(all[0], "none", agent), all[1]
	m.bring(agent, "/usr/bin/vitals-agent")
	clean := m.traces()
	c := newCutter(t, p.island, "10.77.0.1:9000", "127.0.0.1:8186")

	in := p.invited("--uses 20")
	m.joins("by way of the proxy", func() (string, int) { return m.join(in, c.url, "") })
	whole := c.carried()
	m.leaves("by way of the proxy", clean)
	if len(whole) < 2 {
		t.Fatalf("there was one connection only: %v", whole)
	}
	for n, bytes := range whole[:2] { // the exchange, and the first write
		for _, at := range []int64{0, bytes / 2, bytes - 64} { // the very last only say good-bye
			what := fmt.Sprintf("connection %d is cut after %d of %d bytes", n+1, at, bytes)
			c.cut(n, at)
			again := func() (string, int) { return m.join(in, c.url, "") }
			if n == 0 {
				m.refuses(what, again, "try again")
				c.cut(-1, 0)
			} else {
				if out, code := again(); code == 0 || !strings.Contains(out, "asks for no code") {
					t.Errorf("%s: exit code %d\n%s", what, code, out)
				}
				c.cut(-1, 0)
				again = func() (string, int) {
					return m.try(fmt.Sprintf("vitals-agent join %s --pin '%s' --code-file /no/such/file", c.url, in.Pin))
				}
			}
			m.joins(what, again)
			m.leaves(what, clean)
		}
	}

	// The disk is full where the token or where the note would be.
	for _, dir := range []string{"/etc/vitals", "/var/lib/vitals"} {
		m.must(fmt.Sprintf("mkdir -p %[1]s && mount -t tmpfs -o size=64k tmpfs %[1]s && { dd if=/dev/zero of=%[1]s/full bs=1k count=100 2>/dev/null || true; }", dir))
		try := func() (string, int) { return m.join(in, "", "") }
		m.refuses(dir+" is full", try, "make room there")
		if tokens := p.must("vitals-relay token list"); strings.Contains(tokens, "pi-2") {
			t.Errorf("%s is full, and the relay has made a token:\n%s", dir, tokens)
		}
		m.must("rm " + dir + "/full")
		full := m.traces()
		m.joins(dir+" has room again", try)
		m.leaves(dir+" has room again", full)
		m.must("umount " + dir + " && rmdir -p --ignore-fail-on-non-empty " + dir)
	}

	// Killed at any moment: the same line again, and it has joined.
	for _, after := range []string{"0.03", "0.08", "0.15", "0.3", "0.6"} {
		m.try(fmt.Sprintf("timeout -s KILL %s vitals-agent join %s --pin '%s' --code-file /run/code", after, in.URL, in.Pin))
		m.joins("killed after "+after+" s", func() (string, int) { return m.join(in, "", "") })
		m.must("vitals-agent leave")
		if left, _ := m.try("find /etc/vitals /var/lib/vitals ! -type d 2>/dev/null"); left != "" {
			t.Errorf("killed after %s s, joined and left: there is\n%s", after, left)
		}
		m.must("rm -rf /etc/vitals /var/lib/vitals") // folders that the killed one has made
	}
}

// cutter passes connections on, and cuts one of them.
type cutter struct {
	url string

	mu      sync.Mutex
	carries []*atomic.Int64 // bytes to the client, by connection
	which   int             // that is cut; -1: none
	after   int64
}

// newCutter listens on one address of a machine's network and passes on to another.
func newCutter(t *testing.T, m *island, listen, to string) *cutter {
	t.Helper()
	c := &cutter{url: "https://" + listen, which: -1}
	var ln net.Listener
	m.inNetwork(func() (err error) { ln, err = net.Listen("tcp", listen); return err })
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			var server net.Conn
			m.inNetwork(func() (err error) { server, err = net.Dial("tcp", to); return err })
			go c.carry(client, server)
		}
	}()
	return c
}

func (c *cutter) carry(client, server net.Conn) {
	c.mu.Lock()
	n := new(atomic.Int64)
	limit := int64(1 << 40)
	if len(c.carries) == c.which {
		limit = c.after
	}
	c.carries = append(c.carries, n)
	c.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	_, _ = io.CopyN(&metered{client, n}, server, limit)
	client.Close()
	server.Close()
}

// metered counts what is written.
type metered struct {
	io.Writer
	n *atomic.Int64
}

// Write implements io.Writer.
func (c *metered) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// cut cuts the connection with this number from now on, after so many bytes.
func (c *cutter) cut(which int, after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.carries, c.which, c.after = nil, which, after
}

// carried is how many bytes each connection has carried.
func (c *cutter) carried() (all []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.carries {
		all = append(all, n.Load())
	}
	return all
}

// inNetwork does something, such as to open a socket, in the network of the machine.
func (m *island) inNetwork(do func() error) {
	m.t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			ns.Close()
		}
		if err == nil {
			err = do()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		m.t.Error(err)
	}
}
