package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSeveralFilesAreWatched runs an agent with a file and a directory, and
// adds, breaks and removes files of the directory, without a signal.
func TestSeveralFilesAreWatched(t *testing.T) {
	m := newMachine(t)
	main := m.file("telegraf.conf", "[agent]\n  interval = \"1s\"\n  flush_interval = \"1s\"\n  buffer_directory = \"$DIR/buffer\"\n"+
		"[[inputs.mem]]\n[[outputs.file]]\n  files = [\"$DIR/lines\"]\n")
	directory := filepath.Join(m.dir, "telegraf.d")
	m.file("telegraf.d/sub/tags.conf", "[global_tags]\n  rack = \"a\"\n  host = \"n7\"\n")
	m.start("vitals-agent", "--config", main, "--config-directory", directory, "--watch-config", "notify")
	lines := func(want string) func() string {
		return func() string {
			if data, _ := os.ReadFile(filepath.Join(m.dir, "lines")); !strings.Contains(string(data), want) {
				return "no line with " + want
			}
			return ""
		}
	}
	eventually(t, 20*time.Second, lines("mem,host=n7,rack=a "))
	m.file("telegraf.d/sub/new/swap.conf", "[[inputs.swap]]\n")
	eventually(t, 20*time.Second, lines("swap,host=n7,rack=a "))
	m.file("telegraf.d/sub/tags.conf", "[global_tags]\n  rack = \"b\"\n  host = \"n7\"\n")
	eventually(t, 20*time.Second, lines("mem,host=n7,rack=b "))
	m.file("telegraf.d/sub/tags.conf", "[global_tags]\n  rack = \n")
	eventually(t, 20*time.Second, func() string {
		stdout, _, _ := run(t, m.command("vitals-agent", "status"))
		if !strings.Contains(stdout, "sub/tags.conf:2:10: ") || !strings.Contains(stdout, "goes on as it was") {
			return "status says nothing of the file that is broken:\n" + stdout
		}
		return ""
	})
	if err := os.Remove(filepath.Join(directory, "sub/tags.conf")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() string {
		stdout, _, _ := run(t, m.command("vitals-agent", "status", "--json"))
		if strings.Contains(stdout, `"n7"`) {
			return "the tags of a file that is gone still count"
		}
		return ""
	})
}
