// Package disk collects how full file systems are, as Telegraf's inputs.disk
// does.
package disk

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

//go:embed sample.conf
var sample string

// Description returns the collector under its name.
func Description() plugins.Description {
	return plugins.Description{
		Name:         "disk",
		Description:  "How full file systems are.",
		Sample:       sample,
		Measurements: []string{"disk"},
		New: func() plugins.Collector {
			return &Collector{MountPoints: []string{}, IgnoreFS: []string{}, IgnoreMountOpts: []string{}, statfs: statfs}
		},
	}
}

// Collector holds the options.
type Collector struct {
	MountPoints     []string `toml:"mount_points"`
	IgnoreFS        []string `toml:"ignore_fs"`
	IgnoreMountOpts []string `toml:"ignore_mount_opts"`

	statfs func(path string) (space, error)
}

// space is what a file system has, in bytes and files. Free is what users
// other than root may still take.
type space struct {
	total, used, free                   uint64
	inodesTotal, inodesUsed, inodesFree uint64
}

// Gather implements plugins.Collector. A file system that cannot be asked is
// left out, as in Telegraf: most of them only this user may not look at.
func (c *Collector) Gather(ctx context.Context, b *plugins.Batch) error {
	mounts, err := readMounts()
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	prefix := os.Getenv("HOST_MOUNT_PREFIX")
	for _, m := range mounts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !c.wants(m) {
			continue
		}
		path, ok := located(m.point, prefix, mounts)
		if !ok {
			continue
		}
		s, err := c.statfs(path)
		if err != nil {
			b.Log().Debug("file system left out", "path", path, "error", err)
			continue
		}
		if s.total > 0 { // others are /proc and its like
			s.add(m.tag(b.Point("disk"), prefix))
		}
	}
	return nil
}

// wants leaves out autofs too: to look at it would mount what is behind it,
// and that is listed by itself once it is mounted.
func (c *Collector) wants(m mount) bool {
	ignored := func(option string) bool { return slices.Contains(c.IgnoreMountOpts, option) }
	return m.fsType != "autofs" &&
		!slices.Contains(c.IgnoreFS, m.fsType) &&
		!slices.ContainsFunc(m.options, ignored) &&
		(len(c.MountPoints) == 0 || slices.Contains(c.MountPoints, m.point))
}

// located tells where this process finds a mount point of the machine that
// HOST_PROC names. If it is listed under that path too, it is told once.
func located(point, prefix string, mounts []mount) (string, bool) {
	if prefix == "" || strings.HasPrefix(point, prefix) {
		return point, true
	}
	path := filepath.Join(prefix, point)
	return path, !slices.ContainsFunc(mounts, func(m mount) bool { return m.point == path })
}

func (m mount) tag(p *plugins.Point, prefix string) *plugins.Point {
	return p.Tag("path", filepath.Join("/", strings.TrimPrefix(m.point, prefix))).
		Tag("device", strings.ReplaceAll(m.device, "/dev/", "")).
		Tag("fstype", m.fsType).
		Tag("mode", m.mode()).
		Tag("label", m.label())
}

func (s space) add(p *plugins.Point) {
	p.Uint("total", s.total).
		Uint("free", s.free).
		Uint("used", s.used).
		Float("used_percent", percent(s.used, s.free)).
		Uint("inodes_total", s.inodesTotal).
		Uint("inodes_free", s.inodesFree).
		Uint("inodes_used", s.inodesUsed).
		Float("inodes_used_percent", percent(s.inodesUsed, s.inodesFree))
}

// percent is of what users may take, as df(1) has it: what is reserved for
// root is in the total alone.
func percent(used, free uint64) float64 {
	if used+free == 0 {
		return 0
	}
	return float64(used) / (float64(used) + float64(free)) * 100
}
