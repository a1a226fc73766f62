package program

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/go-plugin"

	"github.com/rpicluster/vitals/plugins"
)

// maxHandshake is the longest first line that is read. A socket's path has
// some hundred bytes.
const maxHandshake = 4 << 10

// handshake is a program's standard output as go-plugin is given it: the first
// line, if it is what the contract asks for, and nothing else.
//
//	program ── 1|1|unix|/path|grpc| ──► go-plugin
//	        ── whatever follows ──────► read and dropped
//
// go-plugin itself stops reading at a line of 64 KiB, and the program that
// printed it is stuck at the next; it also takes what follows the five fields
// for a certificate, and panics in the agent if it did not ask for one.
type handshake struct {
	from io.ReadCloser
	home func() string // the process's own directory, in which its socket must be
	rest []byte        // of the line, still to be handed on
	done bool          // the line was read

	mu  sync.Mutex
	err error // what is wrong with it
}

// Read hands on the line, and then reads until the program has ended.
func (h *handshake) Read(p []byte) (int, error) {
	if !h.done {
		h.done = true
		h.begin()
	}
	if len(h.rest) > 0 {
		n := copy(p, h.rest)
		h.rest = h.rest[n:]
		return n, nil
	}
	_, _ = io.Copy(io.Discard, h.from)
	return 0, io.EOF
}

// Close closes our end of the pipe.
func (h *handshake) Close() error { return h.from.Close() }

// begin reads the first line. One that is wrong reaches go-plugin as an empty
// one, which ends the start at once.
func (h *handshake) begin() {
	line, err := bufio.NewReaderSize(io.LimitReader(h.from, maxHandshake), 512).ReadString('\n')
	if line == "" && err != nil {
		h.fail(errors.New("it ended without the go-plugin handshake"))
		return
	}
	fields, err := parseHandshake(line)
	if err == nil {
		err = ownSocket(fields[3], h.home())
	}
	if err != nil {
		h.fail(err)
		h.rest = []byte("\n")
		return
	}
	h.rest = []byte(strings.Join(fields, "|") + "|\n")
}

func (h *handshake) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
}

// wrong says what is wrong with the line, if that is known.
func (h *handshake) wrong() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// ownSocket refuses an address that is not a socket in the process's own
// directory: another may be anybody's, and answer in the program's name.
func ownSocket(path, home string) error {
	info, err := os.Lstat(path)
	if filepath.Dir(path) != filepath.Clean(home) || err == nil && info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("its socket %q is not in $PLUGIN_UNIX_SOCKET_DIR, the directory that the agent made for it", shorten(path, 120))
	}
	return nil
}

// parseHandshake returns the five fields that count: the version of go-plugin's
// protocol and of ours, network, address and kind of connection.
func parseHandshake(line string) ([]string, error) {
	text := strings.TrimRight(line, "\r\n")
	fields := strings.Split(strings.TrimSpace(text), "|")
	core, err := strconv.Atoi(fields[0])
	if err != nil || len(fields) < 4 {
		return nil, fmt.Errorf("it printed %q where the go-plugin handshake belongs", shorten(text, 80))
	}
	ours := strconv.Itoa(int(plugins.Handshake().ProtocolVersion))
	switch {
	case core != plugin.CoreProtocolVersion:
		return nil, fmt.Errorf("it speaks version %d of go-plugin's protocol; this agent speaks %d", core, plugin.CoreProtocolVersion)
	case fields[1] != ours:
		return nil, fmt.Errorf("it speaks version %s of the contract; this agent speaks %s", oneLine(fields[1], 20), ours)
	case len(fields) < 5 || fields[4] != "grpc" || fields[2] != "unix":
		return nil, fmt.Errorf("it printed %q; the agent talks gRPC through a Unix socket: 1|1|unix|/path|grpc|", shorten(text, 80))
	}
	return fields[:5], nil
}
