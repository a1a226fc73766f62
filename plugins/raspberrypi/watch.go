package raspberrypi

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

// watcher looks at the conditions between the gathers and counts how often they
// began.
//
// It reads instead of waiting in poll(2) for the kernel to notify of the alarm:
// the driver renews the alarm every 2 s and keeps it till then, so that looking
// once a second misses none; nobody notifies of the other conditions; and a
// short read a second costs less than a thread that waits.
type watcher struct {
	box       *mailbox
	useLegacy bool // also where the kernel calls the file deprecated
	blind     bool // the board has no detector of under-voltage

	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // taken before that of box
	alarm  string     // the path of the alarm of the driver rpi_volt, or empty
	legacy string     // the path of get_throttled, or empty
	last   conditions
	seen   uint32 // all conditions that were ever known and visible
	counts [len(conditionNames)]int64
}

func newWatcher(box *mailbox, useLegacy bool) *watcher {
	return &watcher{box: box, useLegacy: useLegacy, cancel: func() {}}
}

// start takes the first look, with which the next is compared, and looks again
// after each interval.
func (w *watcher) start(interval time.Duration) {
	w.find()
	w.look()
	if interval <= 0 {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.wg.Go(func() { w.run(ctx, interval) })
}

func (w *watcher) run(ctx context.Context, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			w.look()
		case <-ctx.Done():
			return
		}
	}
}

// stop returns when the last look has ended.
func (w *watcher) stop() {
	w.cancel()
	w.wg.Wait()
}

// find looks for the files; drivers may be loaded, and numbered anew, while the
// agent runs.
func (w *watcher) find() {
	alarm, legacy := alarmFile(), ""
	// Newer kernels have both files, and log a warning with a backtrace when
	// the older one is first read.
	if alarm == "" || w.useLegacy {
		legacy = legacyFile()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alarm, w.legacy = alarm, legacy
}

func alarmFile() string {
	folders := hwmon("rpi_volt")
	if len(folders) == 0 {
		return ""
	}
	return filepath.Join(folders[0], "in0_lcrit_alarm")
}

// legacyFile finds soc:firmware/get_throttled without spelling the colon, which
// not every file system and archive takes.
func legacyFile() string {
	for _, pattern := range []string{"devices/platform/soc/soc?firmware/get_throttled", "devices/platform/soc?firmware/get_throttled"} {
		if paths := glob(pattern); len(paths) > 0 {
			return paths[0]
		}
	}
	return ""
}

// look reads the conditions and counts what has begun. A condition that cannot
// be read at the moment is compared with the last time it could.
func (w *watcher) look() conditions {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.read()
	for i, begun := 0, s.begun(w.last); i < len(w.counts); i++ {
		w.counts[i] += int64(begun >> i & 1)
	}
	w.seen |= w.visible(s).known
	w.last.known |= s.known
	w.last.now = w.last.now&^s.known | s.now
	w.last.earlier = w.last.earlier&^s.known | s.earlier
	return s
}

// visible takes under-voltage for not known on a board that cannot see it. If
// there is any all the same, it can.
func (w *watcher) visible(s conditions) conditions {
	if w.blind && (s.now|s.earlier)&underVoltage == 0 {
		s.known &^= underVoltage
	}
	return s
}

// read is called with mu held. Of under-voltage the alarm is the better
// witness: it holds for 2 s, and who else clears bits does not touch it.
func (w *watcher) read() conditions {
	var s conditions
	if word, ok := w.word(); ok {
		s = conditionsOf(word)
	}
	if v, ok := number(w.alarm); ok {
		s.known |= underVoltage
		s.earlier &^= underVoltage
		s.now &^= underVoltage
		if v != 0 {
			s.now |= underVoltage
		}
	}
	return s
}

// word prefers the file to the mailbox: the kernel keeps in it what its own
// last look showed, sticking bits included.
func (w *watcher) word() (uint32, bool) {
	if w.legacy != "" {
		if word, ok := hexadecimal(w.legacy); ok {
			return word, true
		}
	}
	return w.box.throttled()
}

// cleared tells that the kernel clears the sticking bits, so that they do not
// tell of the time since boot.
func (w *watcher) cleared() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alarm != "" || w.legacy != ""
}

// addCounts adds how often each condition began since start.
func (w *watcher) addCounts(p *plugins.Point) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, name := range conditionNames {
		if w.seen>>i&1 == 1 {
			p.Int(name+"_events", w.counts[i])
		}
	}
}
