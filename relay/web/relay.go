package web

import (
	"fmt"
	"net/http"
	"time"
)

// relayPage is what the relay's own page shows.
type relayPage struct {
	Alarms       []string
	Notes        []string
	Alerts       alerts
	Destinations []destination
	Kept, Queue  string
	Traffic      string
	Version      string
	Pin          string // of the relay's key; empty: it speaks plain HTTP
	DataPath     string
	NowMillis    int64
	Rejected     []rejected
	More         int    // files of refused lines that are not shown
	Outcome      string // of a retry, just now
}

func (h *Handler) relayPage() relayPage {
	s := h.config.Status()
	p := relayPage{
		Alarms: s.Alarms, Notes: s.Notes, Alerts: h.alerts(0), Version: s.Version, Pin: s.Pin, DataPath: s.DataDirectory, NowMillis: h.nowMillis(),
		Kept:  byteText(float64(s.Queue.KeptBytes)),
		Queue: fmt.Sprintf("%s on disk, %s of it kept for later destinations, %s free", byteText(float64(s.Queue.Bytes)), byteText(float64(s.Queue.KeptBytes)), free(s.Queue.FreeBytes)),
		Traffic: fmt.Sprintf("%s lines accepted in %s writes since %s; %s bad lines, %s writes told to come again",
			count(s.Ingest.Lines), count(s.Ingest.Requests), s.Started.Local().Format("2 Jan 15:04"), count(s.Ingest.BadLines), count(s.Ingest.Refused)),
	}
	for _, d := range s.Destinations {
		p.Destinations = append(p.Destinations, newDestination(d, h.config.Now()))
	}
	p.Rejected, p.More = h.rejected()
	return p
}

func free(n int64) string {
	if n < 0 {
		return "an unknown amount"
	}
	return byteText(float64(n))
}

func (h *Handler) serveRelayPage(w http.ResponseWriter, r *http.Request) {
	p := h.relayPage()
	p.Outcome = outcomes[r.URL.Query().Get("outcome")]
	h.render(w, r, http.StatusOK, "relay.html", p)
}

// serveRelayLive goes on telling what the relay's page shows.
func (h *Handler) serveRelayLive(w http.ResponseWriter, r *http.Request) {
	s, ok := h.stream(w, r)
	if !ok {
		return
	}
	defer s.close()
	was := ""
	for {
		html, err := h.board.render("relay-live.html", h.relayPage())
		if err != nil {
			h.config.Logger.Error("the page cannot be made", "error", err)
			return
		}
		if html != was {
			s.send("", "relay", html)
			was = html
		}
		if !s.rest(r, h.config.Stopping, nil, 2*time.Second) {
			return
		}
	}
}
