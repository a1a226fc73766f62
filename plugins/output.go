package plugins

import (
	"errors"
	"io"
	"os"
	"time"
)

// Output is our end of what a process prints. Once the process has ended others
// may hold the pipe open for ever, so it is then read up to a deadline. What it
// has printed is in the pipe by then, and is read also after the deadline: on a
// busy machine, or where nobody takes it, the reader comes to it later.
type Output struct {
	file *os.File
	past bool // the deadline
	late int  // bytes that were read after it
}

// maxLate is the most that a pipe holds unless root has made it larger. Who
// still prints after the deadline is not read for ever.
const maxLate = 1 << 20

// NewOutput reads from the end of a pipe.
func NewOutput(pipe *os.File) *Output { return &Output{file: pipe} }

// Read reads what is there, and up to the deadline waits for it.
func (o *Output) Read(p []byte) (int, error) {
	if !o.past {
		n, err := o.file.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		o.past = true
	}
	if o.late >= maxLate {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := readNow(o.file, p)
	o.late += max(n, 0)
	switch {
	case n > 0:
		return n, nil
	case err != nil:
		return 0, err
	}
	return 0, io.EOF
}

// SetReadDeadline says until when Read waits.
func (o *Output) SetReadDeadline(t time.Time) error { return o.file.SetReadDeadline(t) }

// Close closes our end.
func (o *Output) Close() error { return o.file.Close() }
