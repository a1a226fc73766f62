package trust

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// checkKind refuses what the kernel would not run, or not to its end. It is the
// interpreter of so many scripts, each of the next.
func (r Rules) checkKind(f *File, size int64, scripts int) error {
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
		return r.checkScript(f.Path, head[2:], scripts+1)
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return r.checkProgram(f, size)
	}
	return &Refusal{Path: f.Path, Reason: "is neither a program nor a script that begins with #! (half copied?)"}
}

// checkProgram refuses a program for another kind of machine and one of which
// only a part is there.
func (r Rules) checkProgram(f *File, size int64) error {
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
			if err := r.checkLoader(f.Path, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkLoader refuses a program linked for a library that is not here, of which
// the kernel would say only that there is no such file, and one whose loader
// could be replaced: that is what runs first.
func (r Rules) checkLoader(path string, p *elf.Prog) error {
	name := make([]byte, min(p.Filesz, 4096))
	if _, err := io.ReadFull(p.Open(), name); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	loader, _, _ := strings.Cut(string(name), "\x00")
	if !strings.HasPrefix(loader, "/") {
		return &Refusal{Path: path, Reason: fmt.Sprintf("names a loader without its whole path, %q", loader)}
	}
	f, _, err := r.find(loader)
	if errors.Is(err, fs.ErrNotExist) {
		return &Refusal{Path: path, Reason: fmt.Sprintf("needs the loader %s, which this machine does not have (built for another distribution?)", quote(loader))}
	}
	if err != nil {
		return fmt.Errorf("%s: its loader: %w", path, err)
	}
	return f.Close()
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
