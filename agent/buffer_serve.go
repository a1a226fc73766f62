package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/rpicluster/vitals/agent/output"
)

// kept are the buffers of this agent while it runs: those of its outputs are
// open, orphans are not.
type kept struct{ agent *agent }

func (k kept) stores() *stores {
	k.agent.mu.Lock()
	defer k.agent.mu.Unlock()
	return newStores(k.agent.config)
}

// sender is the output of a name that runs.
func (k kept) sender(name string) *sender {
	all := k.agent.outputs.list()
	i := slices.IndexFunc(all, func(s *sender) bool { return s.ID() == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

func (k kept) list(ctx context.Context) (listing, error) {
	l, err := k.stores().list(ctx)
	for _, s := range k.agent.outputs.list() {
		st := s.Status()
		i := slices.IndexFunc(l.Buffers, func(b output.Buffer) bool { return b.Name == st.ID })
		if i < 0 {
			l.Buffers = append(l.Buffers, output.Buffer{Name: st.ID, MemoryLines: st.MemoryLines, Oldest: st.Oldest})
			continue
		}
		b := &l.Buffers[i]
		b.Lines, b.Bytes, b.MemoryLines, b.Oldest = st.SpoolLines, st.SpoolBytes, st.MemoryLines, st.Oldest
	}
	return l, err
}

func (k kept) replay(ctx context.Context, r bufferRequest) (done output.Requeued, err error) {
	all := k.stores()
	target, err := all.target(r)
	if err != nil {
		return done, err
	}
	to := k.sender(target.ID)
	if to == nil { // it could not be opened
		return all.replay(ctx, r)
	}
	if from := k.sender(r.Name); from != nil {
		return from.MoveRejected(ctx, to.Output)
	}
	from, err := output.OpenStore(all.directory, r.Name, target.BufferMaxBytes, false)
	if err != nil {
		return done, err
	}
	return all.move(ctx, from, to.Output, true)
}

func (k kept) purge(ctx context.Context, r bufferRequest) (output.Purged, error) {
	if s := k.sender(r.Name); s != nil {
		return s.Purge(ctx, r.Rejected)
	}
	return k.stores().purge(ctx, r)
}

// serveBuffers answers the commands about buffers.
func (a *agent) serveBuffers(ctx context.Context, mux *http.ServeMux) {
	k := kept{a}
	mux.HandleFunc("GET /buffers", func(w http.ResponseWriter, _ *http.Request) {
		l, err := k.list(ctx)
		answerBuffers(w, l, err)
	})
	mux.HandleFunc("POST /buffers/replay", func(w http.ResponseWriter, r *http.Request) {
		if asked, ok := bufferRequestOf(w, r); ok {
			done, err := k.replay(ctx, asked)
			answerBuffers(w, done, err)
		}
	})
	mux.HandleFunc("POST /buffers/purge", func(w http.ResponseWriter, r *http.Request) {
		if asked, ok := bufferRequestOf(w, r); ok {
			done, err := k.purge(ctx, asked)
			answerBuffers(w, done, err)
		}
	})
}

func bufferRequestOf(w http.ResponseWriter, r *http.Request) (asked bufferRequest, ok bool) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return asked, false
	}
	return asked, true
}

func answerBuffers(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	_ = writeJSON(w, v)
}
