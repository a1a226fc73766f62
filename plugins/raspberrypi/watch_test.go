package raspberrypi

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a file and the folders above it.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// opened is a mailbox with this firmware behind it.
func opened(t *testing.T, fw *firmware) *mailbox {
	t.Helper()
	box := newMailbox("x", fw.open)
	if err := box.connect(); err != nil {
		t.Fatal(err)
	}
	return box
}

func counts(w *watcher) [4]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// TestAlarmBetweenGathers: an alarm that the kernel holds for 2 s is counted
// though nobody gathers meanwhile, and once.
func TestAlarmBetweenGathers(t *testing.T) {
	sys := t.TempDir()
	t.Setenv("HOST_SYS", sys)
	alarm := sys + "/class/hwmon/hwmon7/in0_lcrit_alarm"
	write(t, sys+"/class/hwmon/hwmon7/name", "rpi_volt\n")
	write(t, alarm, "0\n")
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(newMailbox("", nil), false)
		w.start(time.Second)
		defer w.stop()
		for range 5 {
			write(t, alarm, "1\n")
			<-time.After(2 * time.Second) // of the bubble's clock
			synctest.Wait()
			write(t, alarm, "0\n")
			<-time.After(8 * time.Second)
			synctest.Wait()
		}
		if got := counts(w); got != [4]int64{5} {
			t.Errorf("%v", got)
		}
	})
}

// TestStop: nothing is read any more.
func TestStop(t *testing.T) {
	t.Setenv("HOST_SYS", t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		fw := &firmware{}
		w := newWatcher(opened(t, fw), false)
		w.start(time.Second)
		<-time.After(10500 * time.Millisecond)
		w.stop()
		before := len(fw.asked)
		<-time.After(time.Minute)
		if before != 11 || len(fw.asked) != before {
			t.Errorf("%d looks in 10.5 s, then %d", before, len(fw.asked))
		}
	})
}

// TestCounts: each word is one look at the bits of the mailbox.
func TestCounts(t *testing.T) {
	t.Setenv("HOST_SYS", t.TempDir())
	f := func(want [4]int64, words ...uint32) {
		t.Helper()
		fw := &firmware{Throttled: words[0]}
		w := newWatcher(opened(t, fw), false)
		w.start(0)
		for _, word := range words[1:] {
			fw.set(func() { fw.Throttled = word })
			w.look()
		}
		if diff := cmp.Diff(want, counts(w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", fmt.Sprintf("%#x", words), diff)
		}
	}
	f([4]int64{}, 0, 0, 0)
	f([4]int64{1, 0, 1, 0}, 0, 0x50005, 0x50005, 0x50000, 0)       // once, cleared by the kernel
	f([4]int64{1, 0, 1, 0}, 0, 0x50005, 0x50005, 0x50000, 0x50000) // once, never cleared
	f([4]int64{0, 1, 0, 0}, 0, 0x20000, 0x20000, 0)                // came and went between two looks
	f([4]int64{0, 2, 0, 0}, 0, 0x20000, 0, 0x20000)                // twice so
	f([4]int64{0, 0, 0, 2}, 0, 0x80008, 0x80000, 0x80008)          // twice, never cleared
	f([4]int64{}, 0xF000F, 0xF000F, 0xF0000)                       // began before us
	f([4]int64{0, 0, 1, 0}, 0x70007, 0x70003, 0x70007)             // ended and began again
}

// TestAlarmOverWord: of under-voltage the alarm alone decides.
func TestAlarmOverWord(t *testing.T) {
	sys := t.TempDir()
	t.Setenv("HOST_SYS", sys)
	alarm := sys + "/class/hwmon/hwmon0/in0_lcrit_alarm"
	write(t, sys+"/class/hwmon/hwmon0/name", "rpi_volt\n")
	write(t, alarm, "0\n")
	fw := &firmware{}
	w := newWatcher(opened(t, fw), false)
	w.start(0)
	fw.set(func() { fw.Throttled = 0x50005 })
	w.look()
	if got := counts(w); got != [4]int64{0, 0, 1, 0} {
		t.Errorf("without an alarm: %v", got)
	}
	write(t, alarm, "1\n")
	if s := w.look(); s.now != 5 || counts(w) != [4]int64{1, 0, 1, 0} {
		t.Errorf("with an alarm: %v, %v", s, counts(w))
	}
}

// TestUnreadableForAWhile: an event is neither lost nor counted twice because
// its file is gone for some looks, and a driver may come back under another
// number.
func TestUnreadableForAWhile(t *testing.T) {
	sys := t.TempDir()
	t.Setenv("HOST_SYS", sys)
	chip := func(n int) string { return fmt.Sprintf("%s/class/hwmon/hwmon%d/", sys, n) }
	write(t, chip(1)+"name", "rpi_volt\n")
	write(t, chip(1)+"in0_lcrit_alarm", "1\n")
	w := newWatcher(newMailbox("", nil), false)
	w.start(0)
	if err := os.RemoveAll(chip(1)); err != nil {
		t.Fatal(err)
	}
	if s := w.look(); s.known != 0 {
		t.Errorf("known without a file: %v", s)
	}
	write(t, chip(2)+"name", "rpi_volt\n")
	write(t, chip(2)+"in0_lcrit_alarm", "1\n")
	w.find()
	w.look()
	if got := counts(w); got != [4]int64{} {
		t.Errorf("counted what went on: %v", got)
	}
	write(t, chip(2)+"in0_lcrit_alarm", "0\n")
	w.look()
	write(t, chip(2)+"in0_lcrit_alarm", "1\n")
	w.look()
	if got := counts(w); got != [4]int64{1} {
		t.Errorf("%v", got)
	}
}

// BenchmarkLook is what watching costs each second.
func BenchmarkLook(b *testing.B) {
	b.Setenv("HOST_SYS", "testdata/pi4-6.1/sys")
	box := newMailbox("x", (&firmware{}).open)
	if err := box.connect(); err != nil {
		b.Fatal(err)
	}
	w := newWatcher(box, false)
	w.find()
	b.ReportAllocs()
	for b.Loop() {
		w.look()
	}
}
