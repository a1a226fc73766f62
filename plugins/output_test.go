//go:build linux

package plugins

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// printed is what a process prints, and our hold of its end.
func printed(t *testing.T) (*Output, *os.File) {
	t.Helper()
	pipe, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	o := NewOutput(pipe)
	t.Cleanup(func() {
		o.Close()
		write.Close()
	})
	return o, write
}

// What a pipe holds at the deadline is read, however late the reader comes, and
// who goes on holding the pipe open is not waited for.
func TestOutputIsReadAfterItsDeadline(t *testing.T) {
	o, write := printed(t)
	long := strings.Repeat("x", 50_000)
	if _, err := write.WriteString(long); err != nil {
		t.Fatal(err)
	}
	if err := o.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(o); string(got) != long || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes of %d, %v", len(got), len(long), err)
	}
	if _, err := write.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	write.Close()
	if got, err := io.ReadAll(o); string(got) != "more" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOutputWithoutEndIsNotReadForEver(t *testing.T) {
	o, write := printed(t)
	if err := o.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 32<<10)
	for read := 0; ; {
		if _, err := write.Write(block); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(o, block)
		if read += n; errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil || read > maxLate+len(block) {
			t.Fatalf("%d bytes were read, %v", read, err)
		}
	}
}
