package fleet

import (
	"time"

	"github.com/rpicluster/vitals/internal/line"
)

// maxDisks bounds the file systems of a node.
const maxDisks = 32

// disk is how full a file system was; sizes in bytes.
type disk struct {
	used, total, percent float64
	at                   time.Time
}

// alwaysFull are file systems of which nobody needs to know that they are full,
// or which hold nothing.
var alwaysFull = map[string]bool{
	"squashfs": true, "iso9660": true, "tmpfs": true, "devtmpfs": true, "devfs": true, "overlay": true, "aufs": true, "ramfs": true,
}

// applyDisk reads Telegraf's line of one file system.
func (r *record) applyDisk(l line.Line, at time.Time, old bool) {
	path, ok := l.Tag("path")
	kind, _ := l.Tag("fstype")
	was, known := r.disks[path]
	if !ok || alwaysFull[kind] || known && old || !known && len(r.disks) >= maxDisks || len(path) > maxName {
		return
	}
	d := was
	d.at = at
	for key, raw := range l.EachField() {
		v, ok := line.Float(raw)
		if !ok {
			continue
		}
		switch key {
		case "used":
			d.used = v
		case "total":
			d.total = v
		case "used_percent":
			d.percent = clamp(v, 0, 100)
		}
	}
	if r.disks == nil {
		r.disks = map[string]disk{}
	}
	r.disks[path] = d
}

// fullestDisk is the fullest of the file systems that the node still tells of.
func (r *record) fullestDisk(interval time.Duration) (path string, fullest disk, ok bool) {
	var newest time.Time
	for _, d := range r.disks {
		if d.at.After(newest) {
			newest = d.at
		}
	}
	for p, d := range r.disks {
		if newest.Sub(d.at) > 3*interval || !r.fresh(d.at) {
			continue // unmounted, or no longer asked for
		}
		if !ok || d.percent > fullest.percent || d.percent == fullest.percent && p < path {
			path, fullest, ok = p, d, true
		}
	}
	return path, fullest, ok
}
