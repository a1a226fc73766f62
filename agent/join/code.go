package join

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// CodeFrom is where the code of an invite comes from: the file of that name, "-"
// for standard input, or without a name whoever sits at the terminal.
func CodeFrom(file string, stdin io.Reader) func(ctx context.Context, wrong string) (string, error) {
	if file == "" {
		return askForCode
	}
	return func(_ context.Context, wrong string) (string, error) {
		if wrong != "" {
			return "", fmt.Errorf("the code from %s: %s", map[bool]string{true: "standard input", false: file}[file == "-"], wrong)
		}
		in := stdin
		if file != "-" {
			f, err := os.Open(file)
			if err != nil {
				return "", fmt.Errorf("read the code: %w", err)
			}
			defer f.Close()
			in = f
		}
		line, err := bufio.NewReader(io.LimitReader(in, 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the code: %w", err)
		}
		if strings.TrimSpace(line) == "" {
			return "", errors.New("read the code: there is none in the first line")
		}
		return line, nil
	}
}

// askForCode reads the code from the terminal and shows nothing of it.
func askForCode(ctx context.Context, wrong string) (string, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask for the invite's code: put it into a file that only root may read and name that with --code-file, or pipe it in with --code-file -")
	}
	defer tty.Close()
	prompt := "The invite's code (it is not shown): "
	if wrong != "" {
		prompt = strings.TrimSuffix(wrong, ".") + ".\nTry again. " + prompt
	}
	code, err := readHidden(ctx, tty, prompt)
	fmt.Fprintln(tty)
	return code, err
}

// readHidden prints the prompt and reads a line with the terminal's echo off, and
// turns that on again however it ends. The prompt comes second: what somebody types
// or pastes as soon as he sees it would else be shown, and then thrown away.
func readHidden(ctx context.Context, tty *os.File, prompt string) (string, error) {
	fd := int(tty.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("ask for the code: %w", err)
	}
	// Ctrl-C, Ctrl-\ and a hang-up would leave the echo off.
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	defer stop()
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETSF, &hidden); err != nil {
		return "", fmt.Errorf("ask for the code: %w", err)
	}
	defer func() { _ = unix.IoctlSetTermios(fd, unix.TCSETSF, before) }()
	if _, err := fmt.Fprint(tty, prompt); err != nil {
		return "", fmt.Errorf("ask for the code: %w", err)
	}
	type line struct {
		text string
		err  error
	}
	typed := make(chan line, 1)
	go func() { // it may wait for a key until the program ends
		text, err := bufio.NewReader(io.LimitReader(tty, 1024)).ReadString('\n')
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		if l.err != nil {
			return "", errors.New("no code was typed")
		}
		return l.text, nil
	case <-ctx.Done():
		return "", errors.New("broken off")
	}
}
