package rotate

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func write(t *testing.T, f *File, text string) {
	t.Helper()
	if _, err := f.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func TestSize(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "m.2026-11-22-notanumber.out")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(filepath.Join(dir, "m.out"), Options{MaxBytes: 10, Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, text := range []string{"1234\n", "5678\n", "second\n", "third\n", "fourth\n", "a line that is longer than all that is allowed\n"} {
		write(t, f, text)
	}
	got := names(t, dir)
	archive := regexp.MustCompile(`^m\.\d{4}-\d\d-\d\d-\d+(-\d+)?\.out$`)
	if len(got) != 4 || got[3] != "m.out" && got[0] != "m.out" {
		t.Fatal(got)
	}
	var archives int
	var kept strings.Builder
	for _, n := range got {
		if archive.MatchString(n) {
			archives++
			text, err := os.ReadFile(filepath.Join(dir, n))
			if err != nil {
				t.Fatal(err)
			}
			kept.Write(text)
		}
	}
	if archives != 2 || !strings.Contains(kept.String(), "third\n") || !strings.Contains(kept.String(), "fourth\n") {
		t.Errorf("kept %q of %v", kept.String(), got)
	}
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f, err := Open(filepath.Join(dir, "m"), Options{Every: time.Hour, Keep: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 4 { // the first three within the hour
			write(t, f, "x\n")
			time.Sleep(25 * time.Minute)
		}
		if got := names(t, dir); len(got) != 2 {
			t.Error(got)
		}
		for range 10 {
			time.Sleep(time.Hour)
			write(t, f, "x\n")
		}
		if got := names(t, dir); len(got) != 12 {
			t.Error(got)
		}
	})
}

func TestNoneIsKept(t *testing.T) {
	dir := t.TempDir()
	f, err := Open(filepath.Join(dir, "m.out"), Options{MaxBytes: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, f, "abc\n")
	write(t, f, "def\n")
	if got := names(t, dir); len(got) != 1 {
		t.Error(got)
	}
}

// A device that is full takes nothing, and the next write begins anew.
func TestAFullDevice(t *testing.T) {
	f, err := Open("/dev/full", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		if n, err := f.Write([]byte("x\n")); err == nil || n != 0 {
			t.Error(n, err)
		}
	}
}

func TestWhatIsThereIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.out")
	for range 2 {
		f, err := Open(path, Options{MaxBytes: 100})
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, "x\n")
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x\nx\n" {
		t.Errorf("%q %v", text, err)
	}
}

// What cannot be put aside goes on, and nothing that is written is lost.
func TestWhatCannotBePutAsideIsWrittenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, strings.Repeat("x", 240)) // its archive's name is longer than a name may be
		failures := 0
		f, err := Open(path, Options{MaxBytes: 4, Keep: -1, Failed: func(error) { failures++ }})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range 4 {
			write(t, f, "abc\n")
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != "abc\nabc\nabc\nabc\n" || failures != 1 {
			t.Errorf("%q %v, told %d times", text, err, failures)
		}
		time.Sleep(patience)
		write(t, f, "abc\n")
		if failures != 2 {
			t.Errorf("told %d times", failures)
		}
	})
}

// An archive that cannot be removed does not keep a new file from being begun.
func TestAnArchiveThatStays(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "m.2026-11-22-1.out")
	if err := os.MkdirAll(filepath.Join(old, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	var failed error
	f, err := Open(filepath.Join(dir, "m.out"), Options{MaxBytes: 4, Failed: func(err error) { failed = err }})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write(t, f, "abc\n")
	write(t, f, "def\n")
	if text, err := os.ReadFile(filepath.Join(dir, "m.out")); err != nil || string(text) != "def\n" || failed == nil {
		t.Errorf("%q %v, told %v", text, err, failed)
	}
}
