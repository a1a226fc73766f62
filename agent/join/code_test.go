package join

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal returns both sides of a terminal: the person's and the program's.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// Whoever answers in the moment in which the prompt appears is understood, and
// nothing of what he types is shown.
func TestACodeMayBeTypedAsSoonAsItIsAskedFor(t *testing.T) {
	person, program := terminal(t)
	screen := bufio.NewReader(person)
	for n := range 500 {
		typed := fmt.Sprintf("K7QX-%d", n)
		asked := make(chan string, 1)
		go func() {
			code, err := readHidden(t.Context(), program, "code?")
			asked <- fmt.Sprint(code, err)
		}()
		if prompt, err := screen.ReadString('?'); err != nil || prompt != "code?" {
			t.Fatalf("%q is shown, %v", prompt, err)
		}
		if _, err := person.WriteString(typed + "\r"); err != nil {
			t.Fatal(err)
		}
		if got, want := <-asked, typed+"\n<nil>"; got != want {
			t.Fatalf("read %q, want %q", got, want)
		}
	}
}
