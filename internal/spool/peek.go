package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Peek calls fn with every frame that a destination of a directory has not
// passed, oldest first, until fn returns false. It takes no lock and changes
// nothing, so another process may have the directory open; what that has passed
// in the last seconds may then be shown, too. Damage is stepped over. With
// bodies false the frames come without; size is what one takes on disk.
func Peek(directory, destination string, bodies bool, fn func(f *Frame, size int64) bool) error {
	if err := CheckName(destination); err != nil {
		return err
	}
	dir := filepath.Join(directory, destinationsName, destination)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into spool: %w", err)
	}
	passed, err := readNumber(filepath.Join(dir, progressName))
	if err != nil {
		passed = 0 // everything that is there, then
	}
	var firsts []uint64
	for _, e := range entries {
		if first, ok := parseSegmentName(e.Name()); ok {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	for i, first := range firsts {
		high := uint64(math.MaxUint64)
		if i+1 < len(firsts) {
			high = firsts[i+1] - 1
		}
		more, err := peekSegment(filepath.Join(dir, segmentName(first)), first, high, passed, bodies, fn)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // passed meanwhile
			return fmt.Errorf("look into spool: %w", err)
		}
		if !more {
			break
		}
	}
	return nil
}

func peekSegment(path string, low, high, passed uint64, bodies bool, fn func(*Frame, int64) bool) (more bool, err error) {
	c, err := openCursor(kernel{}, path, low, high)
	if err != nil {
		return true, err
	}
	defer c.Close()
	info, err := c.file.Stat()
	if err != nil {
		return true, err
	}
	var f Frame
	body := &f
	if !bodies {
		body = nil
	}
	stop := errors.New("enough")
	err = c.walk(info.Size(), body, func(h header, _ int64) error {
		if h.seq <= passed {
			return nil
		}
		if h.fill(&f); !fn(&f, h.total()) {
			return stop
		}
		return nil
	}, func(*damage) {})
	if err == stop {
		return false, nil
	}
	return true, err
}
