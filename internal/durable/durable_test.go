package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteJSON(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	for _, v := range []any{1, "two"} {
		if err := WriteJSON(path, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteJSON(path, func() {}); err == nil {
		t.Error("a function was written")
	}
	if text, err := os.ReadFile(path); string(text) != "\"two\"\n" {
		t.Errorf("%q, %v", text, err)
	}
	if files, err := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	if err := WriteJSON(filepath.Join(dir, "absent", "a"), 1); err == nil {
		t.Error("a directory that is not there")
	}
}
