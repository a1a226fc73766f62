package raspberrypi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unsafe"
)

// device is an open mailbox.
type device interface {
	// property hands a message to the firmware, which answers within it.
	property(message []uint32) error
	io.Closer
}

// request is the number of the ioctl, _IOWR(100, 0, char *). It holds the size
// of a pointer: the kernel knows a 32-bit program on a 64-bit kernel, which is
// common on Raspberry Pis, by the other number.
func request(pointerBytes uintptr) uintptr {
	const readWrite = 3
	return readWrite<<30 | pointerBytes<<16 | 100<<8
}

// pointerBytes is the size that this program has it with.
const pointerBytes = unsafe.Sizeof(uintptr(0))

// Tags of the property interface. None of them changes anything.
const (
	tagClockRate     = 0x00030002
	tagVoltage       = 0x00030003
	tagThrottled     = 0x00030046
	tagClockMeasured = 0x00030047
	tagGencmd        = 0x00030080
)

// A message is a header, one tag and an end, all of them words of 32 bits on
// every machine:
//
//	┌──────┬────────┬─────┬────────────┬──────────────┬────────┬───┐
//	│bytes │ status │ tag │ room bytes │ answer bytes │ values │ 0 │
//	└──────┴────────┴─────┴────────────┴──────────────┴────────┴───┘
//	   0       1       2        3             4          5 …
const (
	wordStatus, wordAnswer, wordValues = 1, 4, 5

	statusSuccess = 1 << 31
	answered      = 1 << 31 // in wordAnswer, beside the length
)

// message is a request for a tag whose answer has as many values as it is
// given.
func message(tag uint32, values ...uint32) []uint32 {
	room := uint32(4 * len(values))
	m := append([]uint32{0, 0, tag, room, 0}, values...)
	m = append(m, 0)
	m[0] = uint32(4 * len(m))
	return m
}

// gencmdBytes is the room for a command and for its answer, as vcgencmd has it.
const gencmdBytes = 1024

// gencmdMessage asks the firmware to run a command. Before the text there is a
// word for an error, which the room does not count; vcgencmd does it so.
func gencmdMessage(command string) []uint32 {
	var bytes [gencmdBytes]byte
	copy(bytes[:gencmdBytes-1], command)
	values := make([]uint32, 1+gencmdBytes/4)
	for i := range values[1:] {
		values[1+i] = binary.NativeEndian.Uint32(bytes[4*i:])
	}
	m := message(tagGencmd, values...)
	m[3] = gencmdBytes
	return m
}

// gencmdAnswer is the text in an answered message.
func gencmdAnswer(m []uint32) string {
	var bytes []byte
	for _, word := range m[wordValues+1 : len(m)-1] {
		bytes = binary.NativeEndian.AppendUint32(bytes, word)
	}
	answer, _, _ := strings.Cut(string(bytes), "\x00")
	return strings.TrimSpace(answer)
}

var (
	errClosed  = errors.New("the mailbox is not open")
	errRefused = errors.New("this firmware does not tell")
)

// mailbox asks the firmware. What it refused once it is not asked again: the
// kernel logs every refusal.
type mailbox struct {
	path string
	open func(path string) (device, error)

	mu      sync.Mutex
	device  device // nil while it is not open
	refused map[string]bool
}

func newMailbox(path string, open func(string) (device, error)) *mailbox {
	return &mailbox{path: path, open: open, refused: make(map[string]bool)}
}

// connect opens the mailbox unless it is open, or not wanted.
func (m *mailbox) connect() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.device != nil || m.path == "" {
		return nil
	}
	d, err := m.open(m.path)
	if err != nil {
		return err
	}
	m.device = d
	return nil
}

// Close lets go of the device.
func (m *mailbox) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.device == nil {
		return nil
	}
	err := m.device.Close()
	m.device = nil
	return err
}

// ask hands over a message; key is what is remembered if it is refused.
func (m *mailbox) ask(key string, msg []uint32, sound func() bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.device == nil:
		return errClosed
	case m.refused[key]:
		return errRefused
	}
	err := m.device.property(msg)
	if isRefusal(err) || err == nil && (msg[wordStatus] != statusSuccess || !sound()) {
		m.refused[key] = true
		return fmt.Errorf("%s: %w", key, errRefused)
	}
	return err
}

// property asks for a tag with these values and returns those of the answer.
func (m *mailbox) property(tag uint32, values ...uint32) ([]uint32, error) {
	msg := message(tag, values...)
	key := fmt.Sprintf("tag %#08x %d", tag, values)
	err := m.ask(key, msg, func() bool {
		return msg[wordAnswer]&answered != 0 && msg[wordAnswer]&^answered >= uint32(4*len(values))
	})
	if err != nil {
		return nil, err
	}
	return msg[wordValues : wordValues+len(values)], nil
}

// gencmd runs a command of the firmware.
func (m *mailbox) gencmd(command string) (string, error) {
	msg := gencmdMessage(command)
	err := m.ask(command, msg, func() bool {
		return msg[wordValues] == 0 && !strings.HasPrefix(gencmdAnswer(msg), "error=")
	})
	if err != nil {
		return "", err
	}
	return gencmdAnswer(msg), nil
}

// throttled returns the bits that the kernel clears every 2 s where it has the
// driver rpi_volt. The value asked with names the bits to clear: none.
func (m *mailbox) throttled() (uint32, bool) {
	values, err := m.property(tagThrottled, 0)
	if err != nil {
		return 0, false
	}
	return values[0], true
}

// throttledSinceBoot returns the bits as vcgencmd shows them. The firmware
// keeps these apart from those that the kernel clears.
func (m *mailbox) throttledSinceBoot() (uint32, bool) {
	answer, err := m.gencmd("get_throttled")
	if err != nil {
		return 0, false
	}
	return parseHex(strings.TrimPrefix(answer, "throttled="))
}

// Clocks and voltages as the firmware numbers them.
const (
	clockARM, clockCore                          = 3, 4
	voltCore, voltSDRAMC, voltSDRAMP, voltSDRAMI = 1, 2, 3, 4
)

// hertz is the frequency that the firmware measured, or else the one that it
// has set.
func (m *mailbox) hertz(clock uint32) (int64, bool) {
	for _, tag := range []uint32{tagClockMeasured, tagClockRate} {
		if values, err := m.property(tag, clock, 0); err == nil && values[1] > 0 {
			return int64(values[1]), true
		}
	}
	return 0, false
}

// volts is a voltage, which the firmware tells in µV.
func (m *mailbox) volts(id uint32) (float64, bool) {
	values, err := m.property(tagVoltage, id, 0)
	if err != nil || values[1] == 0 || values[1] >= mostMicrovolts {
		return 0, false
	}
	return float64(values[1]) / 1e6, true
}

// mostMicrovolts is beyond every rail of a board; what is more is a code for
// something that is no voltage.
const mostMicrovolts = 20_000_000
