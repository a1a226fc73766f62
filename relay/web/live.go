package web

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// serveLive goes on telling a viewer of the overview what has changed. One whose
// page has not got all cards is sent all of them first; until then the stream has
// no id, so that whoever is cut off begins anew.
func (h *Handler) serveLive(w http.ResponseWriter, r *http.Request) {
	text := r.Header.Get("Last-Event-ID")
	all := false
	if text == "" {
		query := r.URL.Query()
		text, all = query.Get("version"), query.Has("all")
	}
	epoch, version, err := parseVersion(text)
	if err != nil {
		apiError(w, badRequest("version: is none of this page's"))
		return
	}
	s, ok := h.stream(w, r)
	if !ok {
		return
	}
	defer s.close()
	for {
		u, err := h.board.since(epoch, version, all)
		if err != nil {
			h.config.Logger.Error("the page cannot be made", "error", err)
			return
		}
		if u.Reload {
			s.send("", "reload", true)
			s.flush()
			return
		}
		s.tell(u, all)
		if u.Version != version || all {
			s.mark(versionText(epoch, u.Version))
		}
		version, all = u.Version, false
		if !s.rest(r, h.config.Stopping, nil, time.Second) {
			return
		}
	}
}

// chunk is how many cards are sent at a time: a slow viewer reads each within
// its patience.
const chunk = 100

// tell sends what has changed, and says when that is all there is.
func (s *stream) tell(u update, all bool) {
	for cards := range slices.Chunk(u.Cards, chunk) {
		s.send("", "cards", strings.Join(cards, "\n"))
		s.flush()
	}
	for _, name := range u.Gone {
		s.send("", "gone", name)
	}
	if u.Summary != "" {
		s.send("", "summary", u.Summary)
	}
	if all {
		s.send("", "complete", true)
	}
}

func versionText(epoch int64, version uint64) string { return fmt.Sprintf("%d-%d", epoch, version) }

func parseVersion(text string) (epoch int64, version uint64, err error) {
	a, b, _ := strings.Cut(text, "-")
	if epoch, err = strconv.ParseInt(a, 10, 64); err == nil {
		version, err = strconv.ParseUint(b, 10, 64)
	}
	return epoch, version, err
}

// serveNodeLive goes on telling what a node's page shows of it.
func (h *Handler) serveNodeLive(w http.ResponseWriter, r *http.Request) {
	s, ok := h.stream(w, r)
	if !ok {
		return
	}
	defer s.close()
	was := ""
	for {
		html, err := h.nodeHTML(r.PathValue("name"))
		if err != nil {
			s.send("", "gone", true)
			s.flush()
			return
		}
		if html != was {
			s.send("", "node", html)
			was = html
		}
		if !s.rest(r, h.config.Stopping, nil, 2*time.Second) {
			return
		}
	}
}

const (
	// patience is how long a client may take to read what it is sent.
	patience = 30 * time.Second
	// keepAlive is how often something is sent to who listens to a silent
	// stream.
	keepAlive = 15 * time.Second
	// longest is when a stream ends, to be asked for again: who may no longer
	// see it finds out then.
	longest = 30 * time.Minute
	// maxStreams bounds who listens at the same time.
	maxStreams = 200
)

// stream sends server-sent events, compressed if the client can undo it.
type stream struct {
	out     io.Writer
	packed  *gzip.Writer // nil: not compressed
	control *http.ResponseController
	begun   time.Time
	sent    time.Time
	err     error
	leave   func()
}

// stream begins a stream, or says that there are too many.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request) (*stream, bool) {
	if h.streams.Add(1) > maxStreams {
		h.streams.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many watch already; look again later", http.StatusServiceUnavailable)
		return nil, false
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a proxy shall pass each on at once
	s := &stream{out: w, begun: time.Now(), control: http.NewResponseController(w), leave: func() { h.streams.Add(-1) }}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		s.packed, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is valid
		s.out = s.packed
	}
	w.WriteHeader(http.StatusOK)
	return s, true
}

func (s *stream) close() {
	if s.packed != nil {
		s.packed.Close()
	}
	s.leave()
}

// send sends an event whose data is v as JSON. Without an id the last one holds.
func (s *stream) send(id, event string, v any) {
	if s.err != nil {
		return
	}
	var data []byte
	if data, s.err = encode(v); s.err == nil {
		if id != "" {
			id = "id: " + id + "\n"
		}
		_, s.err = fmt.Fprintf(s.out, "%sevent: %s\ndata: %s\n\n", id, event, data)
	}
	s.sent = time.Time{}
}

// mark says what all that was sent comes to: who is cut off goes on from there,
// and who is cut off before gets all of it again.
func (s *stream) mark(id string) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.out, "id: %s\n\n", id)
	}
	s.sent = time.Time{}
}

// flush sends what was written.
func (s *stream) flush() {
	if s.packed != nil && s.err == nil {
		s.err = s.packed.Flush()
	}
	if s.err == nil {
		s.err = s.control.SetWriteDeadline(time.Now().Add(patience))
	}
	if s.err == nil {
		s.err = s.control.Flush()
	}
	s.sent = time.Now()
}

// rest sends what was written, waits for more or for a while, and reports
// whether there is still somebody to tell.
func (s *stream) rest(r *http.Request, stopping, more <-chan struct{}, while time.Duration) bool {
	switch silent := time.Since(s.sent); {
	case s.sent.IsZero():
		s.flush()
	case silent >= keepAlive && s.err == nil:
		_, s.err = io.WriteString(s.out, ": still here\n\n")
		s.flush()
	}
	if s.err != nil || time.Since(s.begun) > longest {
		return false
	}
	t := time.NewTimer(while)
	defer t.Stop()
	select {
	case <-r.Context().Done():
		return false
	case <-stopping:
		return false
	case <-more:
	case <-t.C:
	}
	return true
}
