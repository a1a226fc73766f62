package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Verify opens the file at path and checks that it may be run. The error is a
// *Refusal where the file is there and may not; it wraps fs.ErrNotExist where
// there is none. The caller closes the File.
func (r Rules) Verify(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, info, err := r.open(path)
	if err != nil {
		return nil, err
	}
	file := &File{File: f, Path: path, Stamp: stamp(info)}
	if err := r.verify(file, info); err != nil {
		f.Close()
		return nil, err
	}
	return file, nil
}

// Unverified opens a file that the rules may refuse, for those who know that and
// run it all the same.
func Unverified(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	head := make([]byte, 2)
	n, _ := f.ReadAt(head, 0) // of a shorter file the kernel says what is wrong
	return &File{File: f, Path: path, Script: string(head[:n]) == "#!"}, nil
}

// verify checks what is open, from what costs least to what costs most.
func (r Rules) verify(f *File, info *syscall.Stat_t) error {
	err := checkBits(f.Path, info)
	if err != nil {
		return err
	}
	if f.real, err = r.walk(f.Path, false); err != nil {
		return err
	}
	if err := r.checkKind(f, info.Size, 0); err != nil {
		return err
	}
	if err := r.checkAccess(f, info); err != nil {
		return err
	}
	if f.SHA256, err = sum(f.File); err != nil {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	var after syscall.Stat_t
	if err := fstat(f.File, &after); err != nil {
		return err
	}
	if stamp(&after) != f.Stamp {
		return &Refusal{Path: f.Path, Reason: "is being written to; write to another name and rename it when it is complete"}
	}
	if r.Pinned {
		return r.checkPin(f)
	}
	return nil
}

// checkBits refuses what nobody may execute, and what would change its user.
func checkBits(path string, info *syscall.Stat_t) error {
	switch {
	case info.Mode&(syscall.S_ISUID|syscall.S_ISGID) != 0:
		return &Refusal{path, fmt.Sprintf("has the set-user-ID or set-group-ID bit (mode %s)", mode(info)), "chmod ug-s " + quote(path)}
	case info.Mode&0o111 == 0:
		return &Refusal{path, fmt.Sprintf("is not executable (mode %s)", mode(info)), "chmod +x " + quote(path)}
	}
	return nil
}

// Confirm checks a file once more that was verified before and is still open,
// wherever it lies by now: that these rules allow it, and that it holds what it
// held. A stamp does not tell: who may write to a file can set its time.
func (r Rules) Confirm(f *File) error {
	var info syscall.Stat_t
	if err := fstat(f.File, &info); err != nil {
		return err
	}
	if err := errors.Join(r.checkOwner(f.Path, &info), checkBits(f.Path, &info), r.checkAccess(f, &info)); err != nil {
		return err
	}
	now, err := sum(f.File)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Path, err)
	}
	if now != f.SHA256 {
		return &Refusal{Path: f.Path, Reason: "has changed since it was checked"}
	}
	if r.Pinned {
		return r.checkPin(f)
	}
	return nil
}

// open opens a regular file that nobody untrusted may write to. A link is
// refused, since it stands for a file elsewhere; the rest neither blocks nor
// has an effect on what is opened.
func (r Rules) open(path string) (*os.File, *syscall.Stat_t, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, openError(path, err)
	}
	var info syscall.Stat_t
	if err = fstat(f, &info); err == nil {
		if info.Mode&syscall.S_IFMT != syscall.S_IFREG {
			err = &Refusal{Path: path, Reason: "is not a regular file but " + kind(info.Mode)}
		} else {
			err = r.checkOwner(path, &info)
		}
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, &info, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ELOOP):
		target, _ := os.Readlink(path)
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return &Refusal{path, "is a symbolic link to " + target + ", which can be replaced where nobody looks; put the file itself there",
			"cp --remove-destination " + quote(target) + " " + quote(path)}
	case errors.Is(err, syscall.EACCES):
		return &Refusal{path, fmt.Sprintf("cannot be read by the agent, which runs as %s", owner(os.Geteuid())), "chmod a+rX " + quote(path)}
	case errors.Is(err, syscall.ENXIO): // a socket
		return &Refusal{Path: path, Reason: "is not a regular file"}
	}
	return err
}

// checkOwner refuses what somebody other than root and the owner may write to.
func (r Rules) checkOwner(path string, info *syscall.Stat_t) error {
	if refusal := r.checkUser(path, int(info.Uid)); refusal != nil {
		return refusal
	}
	return checkMode(path, info)
}

// checkUser refuses what belongs to somebody untrusted.
func (r Rules) checkUser(path string, uid int) *Refusal {
	if uid == 0 || uid == r.Owner {
		return nil
	}
	refusal := &Refusal{path, fmt.Sprintf("belongs to %s, not to %s", owner(uid), r.trusted()), "chown root:root " + quote(path)}
	if uid == os.Geteuid() {
		refusal.Reason = fmt.Sprintf("belongs to %s, as whom the agent runs, so that whatever goes wrong in the agent could replace it; "+
			"give it to root, or set plugin_owner = %q in [agent]", owner(uid), account(uid))
	}
	return refusal
}

// checkMode refuses what the group or everybody may write to.
func checkMode(path string, info *syscall.Stat_t) error {
	who := "its group"
	switch {
	case info.Mode&0o022 == 0:
		return nil
	case info.Mode&0o002 != 0:
		who = "everybody"
	}
	return &Refusal{path, fmt.Sprintf("is writable by %s (mode %s)", who, mode(info)), "chmod go-w " + quote(path)}
}

// trusted names those whose files may be run.
func (r Rules) trusted() string {
	if r.Owner > 0 {
		return "root or " + account(r.Owner)
	}
	return "root"
}

// sum is the SHA-256 of a whole file, in hex.
func sum(f *os.File) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func fstat(f *os.File, info *syscall.Stat_t) error {
	if err := syscall.Fstat(int(f.Fd()), info); err != nil {
		return fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return nil
}

// Clone is the file for another who closes it when he likes.
func (f *File) Clone() (*File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s once more: %w", f.Path, err)
	}
	clone := *f
	clone.File = os.NewFile(uintptr(fd), f.Name())
	return &clone, nil
}

// StampOf is the state that the file at path has now.
func StampOf(path string) (Stamp, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return Stamp{}, err
	}
	return stamp(info.Sys().(*syscall.Stat_t)), nil
}

func stamp(st *syscall.Stat_t) Stamp {
	return Stamp{
		Device: uint64(st.Dev), Inode: st.Ino, Size: st.Size,
		ModUnixNano: st.Mtim.Nano(), ChangeUnixNano: st.Ctim.Nano(),
	}
}
