package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A code that was typed into the command line is not told once more.
func TestACodeIsNoArgument(t *testing.T) {
	for _, args := range [][]string{
		{"join", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "--pin", "sha256//x", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://10.7.0.1:8186", "--code=9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://10.7.0.1:8186", "--code", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://9TRD-8WVB-K7QX-4M2P@10.7.0.1:8186"},
	} {
		_, _, err := call(t, args...)
		if err == nil || strings.Contains(err.Error(), "9TRD") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, _, err := call(t, "join", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"); !strings.Contains(err.Error(), "--code-file") {
		t.Errorf("it does not say what to do: %v", err)
	}
	if _, _, err := call(t, "join"); err == nil || !strings.Contains(err.Error(), "URL is missing") {
		t.Errorf("%v", err)
	}
}

// Whoever has taken over the agent's user lays links in the agent's directory,
// and waits for root to send or remove what they lead to.
func TestLeavingDoesNoMoreThanTheAgentsUserCould(t *testing.T) {
	if os.Geteuid() != 0 {
		return // nobody else has anything to lose there
	}
	const stranger = 65533
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	his, roots, nodeFile := filepath.Join(dir, "his"), filepath.Join(dir, "roots"), filepath.Join(dir, "node.toml")
	buffer := filepath.Join(his, "buffer")
	text := fmt.Sprintf("[agent]\nbuffer_directory = %q\n[[inputs.cpu]]\n[[outputs.influxdb]]\nalias = \"a\"\nurls = [%q]\n", buffer, server.URL)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Mkdir(his, 0o750), os.Chown(his, stranger, stranger),
		os.MkdirAll(filepath.Join(roots, "a"), 0o700), os.Symlink(roots, buffer), os.WriteFile(nodeFile, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	l := local{stderr: io.Discard}
	if _, err := l.Drain(t.Context(), nodeFile); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("it sends what is behind a link: %v", err)
	}
	if err := l.Discard(nodeFile); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("it removes what is behind a link: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(roots, "a")); err != nil || len(left) > 0 {
		t.Errorf("behind the link: %v, %v", left, err)
	}

	if err := errors.Join(os.Remove(buffer), os.Mkdir(buffer, 0o750)); err != nil {
		t.Fatal(err)
	}
	fillBuffer(t, buffer, "a", 0, 5)
	everything := func(do func(path string) error) {
		if err := filepath.WalkDir(his, func(path string, _ fs.DirEntry, _ error) error { return do(path) }); err != nil {
			t.Error(err)
		}
	}
	everything(func(path string) error { return os.Lchown(path, stranger, stranger) })
	if left, err := l.Drain(t.Context(), nodeFile); left != 0 || err != nil {
		t.Errorf("%d lines are left: %v", left, err)
	}
	everything(func(path string) error {
		info, err := os.Lstat(path)
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != stranger {
			err = fmt.Errorf("%s is not the agent's any more", path)
		}
		return err
	})
	if err := l.Discard(nodeFile); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(buffer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the buffer is there: %v", err)
	}
}
