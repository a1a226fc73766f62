package main

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/trust"
)

const (
	// settleTime is how long files must have been left alone before they are
	// looked at: somebody who copies one is not done at the first byte.
	settleTime = 2 * time.Second
	// rescanTime is how often files are looked at without an event.
	rescanTime = time.Minute
	// pollTime is that where there are no events, or none shall be relied on.
	pollTime = 2 * time.Second
)

// watcher puts into effect what changes on disk while the agent runs: the files
// of drop-ins, and the node file where that is asked for. SIGHUP is for both.
type watcher struct {
	agent   *agent
	events  *fsnotify.Watcher // nil: there are none
	node    []file            // the node file, when it was last read
	arrived bool              // files of drop-ins have changed
	looks   sync.WaitGroup
}

// watch runs until ctx ends.
func (a *agent) watch(ctx context.Context, hangups <-chan os.Signal) {
	w := &watcher{agent: a}
	_, sources := w.places()
	w.node = stamps(sources)
	defer w.looks.Wait()
	every := rescanTime
	events, err := fsnotify.NewWatcher()
	if err != nil {
		a.log.Info("changed files are noticed by looking now and then", "why", err)
		every = pollTime
	} else {
		defer events.Close()
		w.events = events
	}
	if a.flags.watchConfig == "poll" {
		every = max(cmp.Or(a.flags.watchInterval, pollTime), 100*time.Millisecond)
	}
	w.run(ctx, hangups, every)
}

func (w *watcher) run(ctx context.Context, hangups <-chan os.Signal, every time.Duration) {
	rescan, settled := time.NewTicker(every), time.NewTimer(settleTime) // what came before listen
	defer rescan.Stop()
	defer settled.Stop()
	var remote <-chan time.Time
	if every := w.agent.flags.urlEvery; every > 0 {
		ticker := time.NewTicker(max(every, 100*time.Millisecond))
		defer ticker.Stop()
		remote = ticker.C
	}
	var changes <-chan fsnotify.Event
	var failures <-chan error
	if w.events != nil {
		changes, failures = w.events.Events, w.events.Errors
	}
	for {
		w.listen()
		select {
		case <-ctx.Done():
			return
		case <-remote:
			if _, sources := w.places(); w.agent.flags.fetcher().changed(sources.URLs()) {
				w.reload(ctx, "it has changed at its server")
			}
		case <-hangups:
			w.reload(ctx, "SIGHUP")
			w.look(ctx)
		case e := <-changes:
			if strings.HasPrefix(filepath.Base(e.Name), trust.Prefix) {
				w.arrived = true
			}
			if w.concerns(e.Name) {
				settled.Reset(settleTime)
			}
		case <-failures: // some were lost; no more come while nobody takes this
			settled.Reset(settleTime)
		case <-settled.C:
			w.look(ctx)
		case <-rescan.C:
			w.look(ctx)
		}
	}
}

// listen asks for the events of directories that are new, or there again.
func (w *watcher) listen() {
	if w.events == nil {
		return
	}
	directories, sources := w.places()
	if w.agent.flags.watchConfig != "" {
		directories = append(directories, sources.Watched()...)
	}
	known := w.events.WatchList()
	for _, dir := range directories {
		if !slices.Contains(known, dir) {
			_ = w.events.Add(dir) // one that is not there may come, and is looked for again
		}
	}
}

// places are where drop-ins, with what decides on them, and the node file are, at
// this moment.
func (w *watcher) places() (plugins []string, node config.Sources) {
	w.agent.mu.Lock()
	defer w.agent.mu.Unlock()
	rules := w.agent.config.Agent.Trust
	plugins = slices.Clone(rules.Directories)
	if rules.Pinned {
		plugins = append(plugins, filepath.Dir(rules.LockFile))
	}
	return plugins, w.agent.config.Sources
}

// concerns reports whether a file matters that has changed. Beside a node file
// there may be others, such as the log, which are never left alone for long.
func (w *watcher) concerns(path string) bool {
	plugins, node := w.places()
	path = filepath.Clean(path)
	within := func(directory string) bool {
		rel, err := filepath.Rel(directory, path)
		return err == nil && filepath.IsLocal(rel)
	}
	return slices.ContainsFunc(append(plugins, node.Directories...), within) ||
		slices.ContainsFunc(node.Files, func(file string) bool { return filepath.Clean(file) == path }) ||
		strings.HasPrefix(filepath.Base(path), "..") // where Kubernetes swaps what a file links to
}

// look puts into effect what is different on disk. A node file that was
// refused is tried again when collectors' files have come: one may have been
// missing.
func (w *watcher) look(ctx context.Context) {
	a := w.agent
	_, sources := w.places()
	a.mu.Lock()
	refused := a.reloadErr != nil
	a.mu.Unlock()
	switch {
	case a.flags.watchConfig != "" && !slices.Equal(stamps(sources), w.node):
		w.reload(ctx, "it has changed")
	case refused && w.arrived:
		w.reload(ctx, "a collector's file has changed")
	}
	w.arrived = false
	w.looks.Go(func() { a.supervisor.Refresh(ctx) })
}

func (w *watcher) reload(ctx context.Context, why string) {
	_, sources := w.places()
	w.node = stamps(sources)
	w.agent.tryReload(ctx, why)
}

// file is one that belongs to the configuration, and the state of it or of that
// which it links to.
type file struct {
	path  string
	stamp trust.Stamp
}

// stamps are the states of all files of the sources: one that is changed, added
// or gone makes them differ.
func stamps(sources config.Sources) []file {
	var all []file
	for _, path := range sources.Paths() {
		one := file{path: path}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		one.stamp, _ = trust.StampOf(path) // one that is gone differs, too
		all = append(all, one)
	}
	return all
}
