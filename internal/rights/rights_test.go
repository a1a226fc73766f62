package rights

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// stranger is a user that owns nothing here.
const stranger = 65533

// his is a directory of the stranger's, who can come there.
func his(t *testing.T) string {
	t.Helper()
	above := t.TempDir()
	dir := filepath.Join(above, "his")
	if err := errors.Join(os.Chmod(filepath.Dir(above), 0o755), os.Chmod(above, 0o755), os.Mkdir(dir, 0o700), os.Chown(dir, stranger, stranger)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRootDoesNoMoreThanTheOwnerCould(t *testing.T) {
	if os.Geteuid() != 0 {
		return // everybody else has no more to lend
	}
	dir, roots := his(t), t.TempDir()
	if err := errors.Join(os.Symlink(roots, filepath.Join(dir, "link")), os.Symlink(dir, filepath.Join(roots, "to-him"))); err != nil {
		t.Fatal(err)
	}
	write := func(path string) error {
		return AsOwner(filepath.Dir(path), func() error { return os.WriteFile(path, nil, 0o600) })
	}
	if err := write(filepath.Join(dir, "link", "planted")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("through his link: %v", err)
	}
	for _, path := range []string{filepath.Join(dir, "a"), filepath.Join(roots, "to-him", "b")} {
		if err := write(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if uid, gid, err := owner(path); uid != stranger || gid != stranger || err != nil {
			t.Errorf("%s is %d's, %d's (%v)", path, uid, gid, err)
		}
	}
	mine := filepath.Join(roots, "c")
	if err := write(mine); err != nil {
		t.Error(err)
	}
	if uid, _, err := owner(mine); uid != 0 || err != nil || os.Geteuid() != 0 || os.Getegid() != 0 {
		t.Errorf("%s is %d's (%v), and this is %d", mine, uid, err, os.Geteuid())
	}
}

func TestLinksInACircle(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("b/../a", filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b", filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := AsOwner(filepath.Join(dir, "a"), func() error { return nil }); err == nil {
		t.Error("it has come to an end")
	}
}
