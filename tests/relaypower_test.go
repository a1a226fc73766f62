package tests

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// powered is a relay whose disk can be looked at as a power cut would leave it:
//
//	outer.img ─xfs─► outer/disk.img ─ext4─► disk/relay    written by the relay
//	                       │ cloned within one moment
//	                 outer/cut.img  ─ext4─► cut/relay     what the kernel had not
//	                                                      written yet is missing
type powered struct {
	*rig
	after  *rig // the relay that is started on what a cut has left
	random *rand.Rand
	tables string
	next   int64
	cuts   int
}

func requireRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can " + why)
	}
}

func (m *machine) must(name string, args ...string) {
	m.t.Helper()
	if out, err := m.command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s %v (sh tests/install.sh installs what the tests need): %v\n%s", name, args, err, out)
	}
}

// mount mounts below the machine's folder until the test ends, when whatever
// runs there has been killed.
func (m *machine) mount(what, where string, options ...string) {
	m.t.Helper()
	if err := os.MkdirAll(m.path(where), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.must("mount", append(options, what, m.path(where))...)
	m.t.Cleanup(func() { m.unmount(where) })
}

func (m *machine) unmount(where string) {
	for range 100 {
		if err := unix.Unmount(m.path(where), 0); !errors.Is(err, unix.EBUSY) {
			return // it is done, or was done before
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = unix.Unmount(m.path(where), unix.MNT_DETACH)
}

// image makes a file that holds an empty file system.
func (m *machine) image(name string, size int64, makeFS ...string) string {
	m.t.Helper()
	path := m.path(name)
	err := os.WriteFile(path, nil, 0o600)
	if err == nil {
		err = os.Truncate(path, size)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	m.must(makeFS[0], append(makeFS[1:], path)...)
	return path
}

// newPowered makes one. program is the relay's; options are those of the file
// system.
func newPowered(t *testing.T, program, options string, random *rand.Rand) *powered {
	t.Helper()
	requireRoot(t, "mount the disk of a power cut")
	p := &powered{rig: newRig(t, ""), random: random, tables: queueOfSmallSegments, next: 1}
	p.program = program
	p.mount("none", "memory", "-t", "tmpfs", "-o", "size=1g")
	p.mount(p.image("memory/outer.img", 512<<20, "mkfs.xfs", "-q", "-m", "reflink=1"), "outer", "-o", "loop")
	p.mount(p.image("outer/disk.img", 64<<20, "mkfs.ext4", "-q", "-F"), "disk", "-o", "loop"+options)
	p.after = newRig(t, "")
	p.after.program = program
	p.configure(p.path("disk/relay"), p.tables)
	p.after.configure(p.path("cut/relay"), p.tables)
	p.run()
	return p
}

// cut takes the disk as it is at this moment, and the books.
func (p *powered) cut() *ledger {
	p.t.Helper()
	disk, err := os.Open(p.path("outer/disk.img"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer disk.Close()
	clone, err := os.Create(p.path("outer/cut.img"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer clone.Close()
	p.sink.still.Lock() // nothing is delivered meanwhile
	defer p.sink.still.Unlock()
	book := p.book.fork()
	if err := unix.IoctlFileClone(int(clone.Fd()), int(disk.Fd())); err != nil {
		p.t.Fatal(err)
	}
	p.cuts++
	return book
}

// recover starts a relay on what a cut has left and returns its verdict.
func (p *powered) recover(book *ledger) error {
	p.t.Helper()
	p.must("mount", "-o", "loop", p.path("outer/cut.img"), p.makeDirectory("cut"))
	defer p.unmount("cut")
	p.after.book = book
	p.after.sink.use(book)
	p.after.run()
	defer p.after.end(syscall.SIGKILL)
	client := newClient(p.t)
	for n := int64(0); n < 20; n += 10 {
		if o := p.after.post(client, 1<<60+n, 1<<60+n+10); o.status != 204 {
			return fmt.Errorf("a relay that runs again answers %d: %s", o.status, o.body)
		}
	}
	return p.after.settle()
}

func (m *machine) makeDirectory(name string) string {
	m.t.Helper()
	if err := os.MkdirAll(m.path(name), 0o755); err != nil {
		m.t.Fatal(err)
	}
	return m.path(name)
}

// underLoad has many clients write and cuts the power at a random moment.
func (p *powered) underLoad() error {
	crowd := p.load(int(p.next), 20, 20*time.Millisecond)
	p.next += 20
	time.Sleep(time.Duration(20+p.random.IntN(600)) * time.Millisecond)
	book := p.cut()
	crowd.end()
	return p.recover(book)
}

// afterOne has one client write a few segments of one commit each, and cuts the
// power when the last of them was accepted: nothing else has synced anything
// since.
func (p *powered) afterOne() error {
	client := newClient(p.t)
	p.next++
	away := p.random.IntN(2) == 0
	if away {
		p.sink.down()
	}
	for from := p.next << perWriter; ; from += 400 {
		p.post(client, from, from+400)
		if p.random.IntN(3) == 0 {
			break
		}
	}
	book := p.cut()
	if away {
		p.sink.up()
	}
	return p.recover(book)
}

// cutting cuts the power so many times, or until something is lost.
func (p *powered) cutting(times int) (verdict error) {
	for n := range times {
		if n%2 == 0 {
			verdict = p.underLoad()
		} else {
			verdict = p.afterOne()
		}
		if verdict != nil {
			return fmt.Errorf("power cut %d: %w", n+1, verdict)
		}
		progress(p.t, n+1, times, p.after.book)
	}
	return nil
}

func TestRelayFaultPowerCut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(faultSeed(t), 3))
	disks := []string{"", ",commit=1", ",data=writeback"}
	if os.Getenv("VITALS_FAULTS") != "full" {
		disks = disks[random.IntN(len(disks)):][:1]
	}
	for _, options := range disks {
		p := newPowered(t, "vitals-relay", options, random)
		requireKept(t, "R3"+options, p.cutting(faultCount(t, 12, 100)))
		p.end(syscall.SIGKILL)
		t.Logf("R3 power cut, ext4%s: %d cuts; the last: %v", options, p.cuts, p.after.book)
	}
}
