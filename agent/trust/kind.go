package trust

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxInterpreter is how much of a script's first line the kernel reads.
const maxInterpreter = 256

// checkKind refuses what the kernel would not run, or not to its end.
func (r Rules) checkKind(f *File, size int64) error {
	head := make([]byte, maxInterpreter)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	head = head[:n]
	switch {
	case n == 0:
		return &Refusal{Path: f.Path, Reason: "is empty (half copied?)"}
	case bytes.HasPrefix(head, []byte("#!")):
		f.Script = true
		return r.checkScript(f.Path, head[2:])
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return checkProgram(f, size)
	}
	return &Refusal{Path: f.Path, Reason: "is neither a program nor a script that begins with #! (half copied?)"}
}

// checkScript refuses a script whose interpreter is not there, or could be
// replaced: who can do that runs what he likes in the script's name.
func (r Rules) checkScript(path string, line []byte) error {
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	switch {
	case len(words) == 0:
		return &Refusal{Path: path, Reason: "names no interpreter after #!"}
	case strings.HasSuffix(string(line), "\r"):
		return &Refusal{path, "has line ends of Windows, which make its interpreter one that nobody has", `sed -i 's/\r$//' ` + quote(path)}
	case !strings.HasPrefix(words[0], "/"):
		return &Refusal{Path: path, Reason: fmt.Sprintf("names an interpreter without its whole path, %s", words[0])}
	}
	real, err := r.walk(words[0], true)
	if errors.Is(err, fs.ErrNotExist) {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the interpreter %s, which is not there", words[0])}
	}
	if err != nil {
		return fmt.Errorf("%s: its interpreter: %w", path, err)
	}
	var info syscall.Stat_t
	if err := syscall.Stat(real, &info); err != nil {
		return fmt.Errorf("%s: its interpreter %s: %w", path, real, err)
	}
	if info.Mode&syscall.S_IFMT != syscall.S_IFREG || info.Mode&0o111 == 0 {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the interpreter %s, which is no program", words[0])}
	}
	if err := r.checkOwner(real, &info); err != nil {
		return fmt.Errorf("%s: its interpreter: %w", path, err)
	}
	return nil
}

// checkProgram refuses a program for another kind of machine and one of which
// only a part is there.
func checkProgram(f *File, size int64) error {
	half := &Refusal{Path: f.Path, Reason: "is a program of which a part is missing (half copied?)"}
	e, err := elf.NewFile(f)
	if err != nil {
		return half
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return &Refusal{Path: f.Path, Reason: "is no program but " + e.Type.String()}
	}
	if here := machine(); !runs(here, e.Machine) {
		return &Refusal{Path: f.Path, Reason: fmt.Sprintf("is built for %s, this machine is %s", words(e.Machine), words(here[0]))}
	}
	beyond := func(offset, length uint64) bool { return offset > uint64(size) || length > uint64(size)-offset }
	for _, s := range e.Sections {
		if s.Type != elf.SHT_NOBITS && beyond(s.Offset, s.FileSize) {
			return half
		}
	}
	for _, p := range e.Progs {
		if beyond(p.Off, p.Filesz) {
			return half
		}
		if p.Type == elf.PT_INTERP {
			if err := checkLoader(f.Path, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLoader refuses a program linked for a library that is not here, of which
// the kernel would say only that there is no such file.
func checkLoader(path string, p *elf.Prog) error {
	name := make([]byte, min(p.Filesz, 4096))
	if _, err := io.ReadFull(p.Open(), name); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	loader := string(bytes.TrimRight(name, "\x00"))
	if _, err := os.Stat(loader); errors.Is(err, fs.ErrNotExist) {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the loader %s, which this machine does not have (built for another distribution?)", loader)}
	}
	return nil
}

// machine is what this machine runs, its own kind first; nothing if that is
// not known.
func machine() []elf.Machine {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return nil
	}
	return machines(unix.ByteSliceToString(name.Machine[:]))
}

// machines is what a kernel runs, by what it calls its machine.
func machines(name string) []elf.Machine {
	switch {
	case name == "x86_64":
		return []elf.Machine{elf.EM_X86_64, elf.EM_386}
	case len(name) == 4 && strings.HasPrefix(name, "i") && strings.HasSuffix(name, "86"):
		return []elf.Machine{elf.EM_386}
	case name == "aarch64":
		return []elf.Machine{elf.EM_AARCH64, elf.EM_ARM}
	case strings.HasPrefix(name, "arm"):
		return []elf.Machine{elf.EM_ARM}
	case name == "riscv64":
		return []elf.Machine{elf.EM_RISCV}
	}
	return nil
}

// runs reports whether a program may be for here. Of a machine that is not
// known the kernel will say.
func runs(here []elf.Machine, program elf.Machine) bool {
	return len(here) == 0 || slices.Contains(here, program)
}

// words are what people call a machine.
func words(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "x86-64"
	case elf.EM_386:
		return "32-bit x86"
	case elf.EM_AARCH64:
		return "64-bit ARM"
	case elf.EM_ARM:
		return "32-bit ARM"
	case elf.EM_RISCV:
		return "RISC-V"
	}
	return strings.TrimPrefix(m.String(), "EM_")
}
