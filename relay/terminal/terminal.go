// Package terminal draws a screen again and again, and leaves the terminal as
// it has found it.
package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Screen is a terminal that is drawn on.
type Screen struct {
	out     *os.File
	in      *os.File
	before  *unix.Termios // of in; nil: it is no terminal
	keys    chan byte
	resized chan os.Signal
	done    chan struct{}
	reading sync.WaitGroup
}

// Is reports whether w is a terminal.
func Is(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

const (
	// The other screen, without the cursor, and what is too wide is cut.
	enter = "\x1b[?1049h\x1b[?7l\x1b[?25l"
	leave = "\x1b[?25h\x1b[?7h\x1b[?1049l"
)

// Open begins to draw on out, which is a terminal, and to read keys from in, if
// that is one. Close it, whatever happens.
func Open(in, out *os.File) (*Screen, error) {
	s := &Screen{out: out, in: in, keys: make(chan byte), resized: make(chan os.Signal, 1), done: make(chan struct{})}
	if before, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS); err == nil {
		now := *before
		now.Lflag &^= unix.ICANON | unix.ECHO // Ctrl-C stays a signal
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 0, 1
		if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &now); err != nil {
			return nil, fmt.Errorf("set the terminal: %w", err)
		}
		s.before = before
		s.reading.Go(s.read)
	}
	signal.Notify(s.resized, syscall.SIGWINCH)
	_, err := io.WriteString(out, enter)
	return s, err
}

// read reads keys until the screen is closed: a read ends after a tenth of a
// second.
func (s *Screen) read() {
	var key [1]byte
	for {
		n, err := unix.Read(int(s.in.Fd()), key[:])
		if err != nil && err != unix.EINTR {
			return
		}
		if n == 1 {
			select {
			case s.keys <- key[0]:
			case <-s.done:
			}
		}
		select {
		case <-s.done:
			return
		default:
		}
	}
}

// Close gives the terminal back as it was.
func (s *Screen) Close() {
	signal.Stop(s.resized)
	close(s.done)
	s.reading.Wait()
	io.WriteString(s.out, leave)
	if s.before != nil {
		unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETSF, s.before)
	}
}

// size is how large the terminal is now.
func (s *Screen) size() (width, height int) {
	w, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col == 0 || w.Row == 0 {
		return 80, 24
	}
	return int(w.Col), int(w.Row)
}

// Line is a line of text in a colour.
type Line struct {
	Text  string
	Color int // as in ANSI's escapes; 0: none
}

// Draw shows as many lines as there is room for.
func (s *Screen) Draw(lines []Line) error {
	width, height := s.size()
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), height)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		text := clip(line.Text, width)
		if line.Color != 0 {
			text = fmt.Sprintf("\x1b[%dm%s\x1b[0m", line.Color, text)
		}
		b.WriteString(text + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := io.WriteString(s.out, b.String())
	return err
}

// clip cuts a text to the width of the screen.
func clip(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width])
}

// Rest waits for a while, for another size or for ctx, and reports whether to
// go on: not after q or Ctrl-C.
func (s *Screen) Rest(ctx context.Context, while time.Duration) bool {
	t := time.NewTimer(while)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case key := <-s.keys:
			if key == 'q' || key == 'Q' {
				return false
			}
		case <-s.resized:
			return true
		case <-t.C:
			return true
		}
	}
}
