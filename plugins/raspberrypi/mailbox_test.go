package raspberrypi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// firmware answers as that of a Raspberry Pi does. It is the device as well.
type firmware struct {
	Open      string            `toml:"open"` // "permission": not for this user
	Throttled uint32            `toml:"throttled"`
	Refuse    []string          `toml:"refuse"`
	Gencmd    map[string]string `toml:"gencmd"`
	Clock     map[string]uint32 `toml:"clock"`   // measured
	Rate      map[string]uint32 `toml:"rate"`    // set
	Voltage   map[string]uint32 `toml:"voltage"` // in µV

	mu             sync.Mutex
	reason         error // why it cannot be opened
	opened, closed int
	failure        error // of the next calls
	asked          []string
}

// recordedFirmware reads that of a case; without the file there is no mailbox.
func recordedFirmware(t *testing.T, folder string) *firmware {
	t.Helper()
	fw := &firmware{}
	_, err := toml.DecodeFile(filepath.Join(folder, "firmware.toml"), fw)
	switch {
	case errors.Is(err, os.ErrNotExist):
		fw.reason = os.ErrNotExist
	case err != nil:
		t.Fatal(err)
	case fw.Open == "permission":
		fw.reason = os.ErrPermission
	}
	return fw
}

func (fw *firmware) set(change func()) {
	fw.mu.Lock()
	defer fw.mu.Unlock()
	change()
}

func (fw *firmware) open(path string) (device, error) {
	fw.mu.Lock()
	defer fw.mu.Unlock()
	if fw.reason != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: fw.reason}
	}
	fw.opened++
	return fw, nil
}

func (fw *firmware) Close() error {
	fw.set(func() { fw.closed++ })
	return nil
}

// property checks a message as the kernel does, and answers in it.
func (fw *firmware) property(m []uint32) error {
	fw.mu.Lock()
	defer fw.mu.Unlock()
	switch {
	case fw.failure != nil:
		return fw.failure
	case int(m[0]) != 4*len(m) || m[1] != 0 || m[len(m)-1] != 0:
		return syscall.EFAULT
	}
	m[1] = 1 << 31
	if m[2] == tagGencmd {
		return fw.command(m)
	}
	values := m[5 : 5+m[3]/4]
	key := fmt.Sprintf("tag %#08x %d", m[2], values)
	fw.asked = append(fw.asked, key)
	if slices.Contains(fw.Refuse, key) {
		return syscall.EINVAL
	}
	known := true
	if m[2] == tagThrottled {
		values[0] = fw.Throttled
	} else {
		values[1], known = fw.table(m[2])[strconv.Itoa(int(values[0]))]
	}
	if known {
		m[4] = 1<<31 | m[3]
	}
	return nil
}

func (fw *firmware) table(tag uint32) map[string]uint32 {
	return map[uint32]map[string]uint32{tagClockMeasured: fw.Clock, tagClockRate: fw.Rate, tagVoltage: fw.Voltage}[tag]
}

func (fw *firmware) command(m []uint32) error {
	var request []byte
	for _, word := range m[6 : len(m)-1] {
		request = binary.NativeEndian.AppendUint32(request, word)
	}
	command, _, _ := strings.Cut(string(request), "\x00")
	fw.asked = append(fw.asked, command)
	answer, known := fw.Gencmd[command]
	if !known || slices.Contains(fw.Refuse, command) {
		answer = `error=1 error_msg="Command not registered"`
	}
	room := make([]byte, 1024)
	copy(room, answer)
	for i := range m[6 : len(m)-1] {
		m[6+i] = binary.NativeEndian.Uint32(room[4*i:])
	}
	return nil
}

// TestRequestNumber: the kernel compares it with _IOWR(100, 0, char *), and with
// _IOWR(100, 0, compat_uptr_t) for a 32-bit program on a 64-bit kernel.
func TestRequestNumber(t *testing.T) {
	f := func(pointer, want uintptr) {
		t.Helper()
		if got := request(pointer); got != want {
			t.Errorf("%d-byte pointers: %#x, want %#x", pointer, got, want)
		}
	}
	f(8, 0xC0086400)
	f(4, 0xC0046400)
	if pointerBytes*8 != strconv.IntSize {
		t.Errorf("pointers of %d bytes in a program of %d bits", pointerBytes, strconv.IntSize)
	}
}

// TestMessageLayout: 32-bit words one after the other, whatever the machine.
func TestMessageLayout(t *testing.T) {
	f := func(got []uint32, want ...uint32) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		first, last := unsafe.Pointer(&got[0]), unsafe.Pointer(&got[len(got)-1])
		if n := uintptr(last) - uintptr(first) + 4; n != uintptr(got[0]) {
			t.Errorf("a message of %d bytes says that it has %d", n, got[0])
		}
	}
	f(message(tagThrottled, 0), 28, 0, 0x00030046, 4, 0, 0, 0)
	f(message(tagClockMeasured, clockARM, 0), 32, 0, 0x00030047, 8, 0, 3, 0, 0)

	// vcgencmd's: 6 words, 1024 bytes of text, an end; "temp" in little endian
	long := make([]uint32, 263)
	copy(long, []uint32{1052, 0, 0x00030080, 1024, 0, 0, binary.NativeEndian.Uint32([]byte("temp"))})
	f(gencmdMessage("temp"), long...)

	endless := gencmdMessage(strings.Repeat("x", 5000))
	if last := endless[len(endless)-2]; last != binary.NativeEndian.Uint32([]byte("xxx\x00")) {
		t.Errorf("the text does not end: %#x", last)
	}
}

// TestEveryTagOnlyReads: those that change something have a bit that ours lack.
func TestEveryTagOnlyReads(t *testing.T) {
	const changes = 0x8000
	for _, tag := range []uint32{tagClockRate, tagVoltage, tagThrottled, tagClockMeasured, tagGencmd} {
		if tag&changes != 0 {
			t.Errorf("%#08x", tag)
		}
	}
}

// TestRefusalsAreRemembered: the kernel would log each of them.
func TestRefusalsAreRemembered(t *testing.T) {
	fw := &firmware{Refuse: []string{"tag 0x00030047 [3 0]"}, Rate: map[string]uint32{"3": 600000000}}
	box := newMailbox("x", fw.open)
	if err := box.connect(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if hz, ok := box.hertz(clockARM); hz != 600000000 || !ok {
			t.Errorf("%d, %v", hz, ok)
		}
		if _, err := box.gencmd("pmic_read_adc"); !errors.Is(err, errRefused) {
			t.Error(err)
		}
		if v, ok := box.volts(voltCore); ok { // answered, but not this tag
			t.Error(v)
		}
	}
	want := []string{"tag 0x00030047 [3 0]", "tag 0x00030002 [3 0]", "pmic_read_adc", "tag 0x00030003 [1 0]", "tag 0x00030002 [3 0]", "tag 0x00030002 [3 0]"}
	if diff := cmp.Diff(want, fw.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// TestPassingFailure: a firmware that does not answer in time is asked again.
func TestPassingFailure(t *testing.T) {
	fw := &firmware{Throttled: 4, failure: syscall.ETIMEDOUT}
	box := newMailbox("x", fw.open)
	if _, ok := box.throttled(); ok {
		t.Error("answered before it was opened")
	}
	if err := box.connect(); err != nil {
		t.Fatal(err)
	}
	if _, ok := box.throttled(); ok {
		t.Error("answered though it failed")
	}
	fw.set(func() { fw.failure = nil })
	if word, ok := box.throttled(); !ok || word != 4 {
		t.Errorf("%#x, %v", word, ok)
	}
	for range 2 {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	}
	if fw.opened != 1 || fw.closed != 1 {
		t.Errorf("opened %d times, closed %d", fw.opened, fw.closed)
	}
}

// TestNoVoltage: codes for what is no voltage are left out.
func TestNoVoltage(t *testing.T) {
	fw := &firmware{Voltage: map[string]uint32{"1": 0, "2": 1 << 31, "3": 1225000}}
	box := newMailbox("x", fw.open)
	if err := box.connect(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]float64{1: 0, 2: 0, 3: 1.225} {
		if v, _ := box.volts(id); v != want {
			t.Errorf("%d: %v", id, v)
		}
	}
}
