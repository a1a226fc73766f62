package web

import (
	"context"
	"net/http"
	"time"
)

// Rejected is what destinations have refused for good.
type Rejected interface {
	RejectedFiles() ([]RejectedFile, error)
	// Retry sends the lines of a file again.
	Retry(ctx context.Context, destination, id string) (Retried, error)
}

// RejectedFile is lines that a destination has refused.
type RejectedFile struct {
	Destination, ID string
	Lines           int
	Since           time.Time
	Reason          string // the last one
}

// Retried is what became of lines that were sent again.
type Retried struct{ Stored, Refused, Left int }

// rejectedPath is where the relay's page asks for lines to be sent again.
const rejectedPath = "/relay/rejected/retry"

// retryPatience is how long a page waits for a destination.
const retryPatience = 50 * time.Second

// outcomes are what the relay's page says of a retry: what an address may hold
// is a word, not a text.
var outcomes = map[string]string{
	"stored":  "The lines are stored.",
	"refused": "Some lines were refused once more; the rest is stored.",
	"left":    "The destination could not take them now; they are kept.",
	"failed":  "The lines could not be sent again; the relay's log says why.",
}

// rejected is a file of refused lines, as the page tells it.
type rejected struct {
	RejectedFile
	Millis int64
}

// maxRejected is how many files of refused lines the page shows.
const maxRejected = 20

func (h *Handler) rejected() (list []rejected, more int) {
	if h.config.Rejected == nil {
		return nil, 0
	}
	files, err := h.config.Rejected.RejectedFiles()
	if err != nil {
		h.config.Logger.Warn("the refused lines cannot be listed", "error", err)
		return nil, 0
	}
	for i := len(files) - 1; i >= 0 && len(list) < maxRejected; i-- { // the newest first
		list = append(list, rejected{files[i], files[i].Since.UnixMilli()})
	}
	return list, len(files) - len(list)
}

func (h *Handler) serveRetry(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	ctx, cancel := context.WithTimeout(r.Context(), retryPatience)
	defer cancel()
	destination := r.PostFormValue("destination")
	done, err := h.config.Rejected.Retry(ctx, destination, r.PostFormValue("id"))
	outcome := "stored"
	switch {
	case err != nil:
		h.config.Logger.Warn("refused lines could not be sent again", "destination", destination, "error", err)
		outcome = "failed"
	case done.Left > 0:
		outcome = "left"
	case done.Refused > 0:
		outcome = "refused"
	}
	http.Redirect(w, r, "/relay?outcome="+outcome, http.StatusSeeOther)
}
