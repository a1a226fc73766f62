package join

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
)

// programName is that of the program in every kind of package.
const programName = "vitals-agent"

// extract writes the program that is in a package to a file, so that it can be
// looked at before anything is installed.
func extract(ctx context.Context, file, kind, to string) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	switch kind {
	case "deb":
		err = piped(ctx, func(r io.Reader) error { return fromTar(r, out) }, "dpkg-deb", "--fsys-tarfile", file)
	case "rpm":
		err = piped(ctx, func(r io.Reader) error { return fromCPIO(r, out) }, "rpm2cpio", file)
	default:
		err = fromArchive(file, out)
	}
	if err != nil {
		return fmt.Errorf("look into the package: %w", err)
	}
	return errors.Join(out.Chmod(0o755), out.Sync())
}

// piped reads what a program prints.
func piped(ctx context.Context, read func(io.Reader) error, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = read(out)
	_, _ = io.Copy(io.Discard, out) // so that the program comes to its end
	if failed := cmd.Wait(); failed != nil {
		return fmt.Errorf("%s: %w: %s", name, failed, end(said.Bytes(), 300))
	}
	return err
}

func fromArchive(file string, out io.Writer) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	return fromTar(z, out)
}

var errNoProgram = errors.New("there is no " + programName + " in it")

func fromTar(r io.Reader, out io.Writer) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errNoProgram
		case err != nil:
			return err
		case h.Typeflag == tar.TypeReg && isProgram(h.Name, h.Mode):
			return copyProgram(out, t, h.Size)
		}
	}
}

// isProgram reports whether an entry is the program, and not a folder's or a
// completion's file of the same name.
func isProgram(name string, mode int64) bool {
	return path.Base(name) == programName && mode&0o111 != 0
}

func copyProgram(out io.Writer, in io.Reader, size int64) error {
	if size > maxPackage {
		return fmt.Errorf("the program in it has %d bytes", size)
	}
	_, err := io.CopyN(out, in, size)
	return err
}

// fromCPIO reads what rpm2cpio prints: "new ASCII" headers of 110 characters.
func fromCPIO(r io.Reader, out io.Writer) error {
	const mode, size, nameSize, header = 14, 54, 94, 110
	for {
		var h [header]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return fmt.Errorf("read its list of files: %w", err)
		}
		field := func(at int) (n int64) {
			n, err := strconv.ParseInt(string(h[at:at+8]), 16, 64)
			if err != nil {
				return -1
			}
			return n
		}
		names, bytes := field(nameSize), field(size)
		if !strings.HasPrefix(string(h[:]), "07070") || names < 1 || names > 4096 || bytes < 0 || bytes > maxPackage {
			return errors.New("its list of files cannot be read")
		}
		name := make([]byte, names+padding(header+names))
		if _, err := io.ReadFull(r, name); err != nil {
			return err
		}
		text := string(name[:names-1])
		switch {
		case text == "TRAILER!!!":
			return errNoProgram
		case isProgram(text, field(mode)) && field(mode)&0o170000 == 0o100000:
			return copyProgram(out, r, bytes)
		}
		if _, err := io.CopyN(io.Discard, r, bytes+padding(bytes)); err != nil {
			return err
		}
	}
}

// padding is what is missing to a multiple of four.
func padding(n int64) int64 { return (4 - n%4) % 4 }

// fitsHere refuses a program that is made for other machines than self, and
// returns the version that it says it is.
func fitsHere(ctx context.Context, candidate, self string) (string, error) {
	theirs, err := machineOf(candidate)
	if err != nil {
		return "", fmt.Errorf("the program in the package: %w", err)
	}
	ours, err := machineOf(self)
	if err != nil {
		return "", err
	}
	if theirs != ours {
		return "", fmt.Errorf("the program in the package is for %s, and this machine runs those for %s: nothing was installed. Put the right package on the relay", theirs, ours)
	}
	cmd := exec.CommandContext(ctx, candidate, "version")
	out, err := cmd.Output()
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("try the program in the package: %w; %s must not be mounted noexec", err, path.Dir(candidate))
	}
	is, found := strings.CutPrefix(strings.TrimSpace(string(out)), programName+" ")
	if err != nil || !found {
		return "", fmt.Errorf("the program in the package does not run here (%v): nothing was installed. Put the right package on the relay", err)
	}
	return is, nil
}

// machineOf names the machines that a program is made for.
func machineOf(file string) (string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return "", fmt.Errorf("it is no program: %w", err)
	}
	defer f.Close()
	return fmt.Sprintf("%s, %s, %s", strings.TrimPrefix(f.Machine.String(), "EM_"), f.Class, f.Data), nil
}
