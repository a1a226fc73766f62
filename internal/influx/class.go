package influx

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Class is what the answer to a write means for its lines.
type Class uint8

const (
	// Retry: a network error or a server's own; the lines are not at fault.
	Retry Class = iota
	// Wait: the server asks for time (429, 503).
	Wait
	// Hold: somebody must act first (401, 403, a wrong address).
	Hold
	// MissingDatabase: somebody, or provisioning, must create the database.
	MissingDatabase
	// Split: the body is too large (413).
	Split
	// Partial: some lines are refused, all others are stored.
	Partial
	// BadLines: some lines are refused, and therefore none is stored.
	BadLines
	// Poison: no line of this batch will ever be stored as it is addressed.
	Poison
)

func (c Class) String() string {
	return [...]string{"retry", "wait", "hold", "missing database", "split", "partial", "bad lines", "poison"}[c]
}

// WriteError is the outcome of a write that was not a plain success.
type WriteError struct {
	Class      Class
	Status     int    // 0 if there was no answer
	Message    string // the server's, or what went wrong on the way
	RetryAfter time.Duration
	// Dropped is how many lines a partial write left out, if the server said.
	Dropped int

	others bool // every line that it could read, it has stored
	named  []named
	name   bool // the name of the database is at fault
	err    error
}

// named is a line that an InfluxDB 3 names in its answer.
type named struct {
	Number int    `json:"line_number"`   // from 1
	Text   string `json:"original_line"` // its beginning, or without its quotes
	Reason string `json:"error_message"`
}

func (e *WriteError) Error() string {
	if e.Status == 0 {
		return e.Message
	}
	return fmt.Sprintf("%d %s: %s", e.Status, http.StatusText(e.Status), e.Message)
}

func (e *WriteError) Unwrap() error { return e.err }

// Suspect reports whether the lines themselves may have caused the failure:
// some that a server's parser accepts make it answer 500 for ever, or die.
func (e *WriteError) Suspect() bool {
	if ownTrouble().MatchString(e.Message) {
		return false
	}
	return e.Class == Retry && (e.Status == http.StatusInternalServerError ||
		errors.Is(e.err, io.EOF) || errors.Is(e.err, io.ErrUnexpectedEOF) || errors.Is(e.err, syscall.ECONNRESET))
}

// ownTrouble matches errors of 500 that InfluxDB has whatever it is sent.
var ownTrouble = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)timeout|cache-max-memory-size|engine is closed|no space left|too many open files|read-only file system`)
})

// TooSlow reports whether the server did not answer in time.
func (e *WriteError) TooSlow() bool { return errors.Is(e.err, context.DeadlineExceeded) }

var dropped = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`dropped=(\d+)`)
})

// classify reads an answer by its status and its body: a status alone does not
// tell a server's bad day from a batch that it will never take. The table is
// InfluxDB's, versions 1 to 3.
func classify(resp *http.Response, body []byte) *WriteError {
	if stored(resp.StatusCode) {
		return nil
	}
	e := &WriteError{Status: resp.StatusCode, RetryAfter: RetryAfter(resp)}
	e.Message, e.named = message(resp, body)
	if m := dropped().FindAllStringSubmatch(e.Message, -1); m != nil {
		e.Dropped, _ = strconv.Atoi(m[len(m)-1][1]) // any before it are of lines that are quoted
	}
	own, _, _ := strings.Cut(e.Message, "unable to parse '") // what follows is a line, which may say anything
	e.Class = classOf(resp.StatusCode, own)
	e.name = e.Class == Poison && badName().MatchString(e.Message)
	e.others = len(body) < maxAnswer && strings.HasPrefix(e.Message, "partial write: unable to parse '") &&
		strings.Contains(e.Message, " dropped=0") && !strings.Contains(e.Message, "… dropped=0") // so a vitals-relay cuts it
	return e
}

func classOf(status int, message string) Class {
	says := func(phrase string) bool { return strings.Contains(message, phrase) }
	switch {
	case status/100 == 2, status/100 == 3:
		return Hold // not a server of this API, or not its address
	case status == http.StatusUnprocessableEntity && says("Adding a new database would exceed"):
		return Hold // no line of it is stored before somebody makes room
	case status >= 500 && message == "partial write":
		return Retry // of a cluster: fewer nodes have it than consistency asks for
	case status >= 400 && says("partial write"):
		return Partial
	case says("retention policy not found"):
		return Poison
	case status == http.StatusBadRequest && badName().MatchString(message):
		return Poison
	case says("database not found"):
		return MissingDatabase
	case status == http.StatusRequestEntityTooLarge:
		return Split
	case status == http.StatusLoopDetected:
		return Hold // the url is the writer's own
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return Wait
	case status >= 500, status == http.StatusRequestTimeout:
		return Retry
	case status == http.StatusBadRequest && aboutRequest().MatchString(message):
		return Hold
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		return BadLines
	}
	return Hold
}

// aboutRequest matches answers of 400 that no line can be blamed for.
var aboutRequest = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(database is required|missing db|missing query param|invalid precision|invalid consistency|gzip: |error decoding gzip|unacceptable content-|unable to parse authentication|authorization header was malformed|serde error|db name cannot be empty|the client sent)|<html`)
})

// badName matches InfluxDB 3's answers to names that no database of its can have.
var badName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(invalid character in database|db name (did not start|with invalid|did not|too long))`)
})

// message is the text of an error body in any of the APIs' forms, with the
// lines that it names.
func message(resp *http.Response, body []byte) (string, []named) {
	if resp.StatusCode/100 == 3 {
		to := cmp.Or(resp.Header.Get("Location"), "nowhere")
		return fmt.Sprintf("redirected to %s, which writes do not follow; set the url to where InfluxDB answers", to), nil
	}
	if resp.StatusCode/100 == 2 {
		return "an InfluxDB answers a write with 204; something else seems to answer at this address", nil
	}
	var forms struct {
		Error   string `json:"error"`
		Message string `json:"message"`
		Data    json.RawMessage
	}
	if json.Unmarshal(body, &forms) == nil && forms.Error+forms.Message != "" {
		text := forms.Error + forms.Message
		lines := namedLines(forms.Data)
		if len(lines) > 0 {
			text += ": " + lines[0].Reason
		}
		return strings.TrimSpace(text), lines
	}
	if text := bytes.TrimSpace(body); len(text) > 0 {
		return string(text), nil
	}
	return cmp.Or(resp.Header.Get("X-Influxdb-Error"), "no reason given"), nil
}

// namedLines reads the lines that an answer names: a list of them, or one.
func namedLines(data json.RawMessage) (all []named) {
	if json.Unmarshal(data, &all) != nil {
		all = make([]named, 1)
		if json.Unmarshal(data, &all[0]) != nil || all[0].Number <= 0 {
			return nil
		}
	}
	for i := range all {
		all[i].Reason = cmp.Or(strings.TrimSpace(all[i].Reason), "no reason given")
	}
	return all
}

// RetryAfter reads the header of that name: seconds, or a date. 0: there is none.
func RetryAfter(resp *http.Response) time.Duration {
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 3600) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
