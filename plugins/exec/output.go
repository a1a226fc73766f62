package exec

import (
	"sync"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

// output reads what a program prints. Its results are valid once it is closed.
type output struct {
	program *plugins.Program
	wg      sync.WaitGroup
	done    chan struct{}

	stdout  []byte
	tooMuch bool
	first   string // line of stderr
}

// newOutput reads until both pipes end; say is given each line of stderr.
func newOutput(p *plugins.Program, say func(line string)) *output {
	o := &output{program: p, done: make(chan struct{})}
	o.wg.Go(o.readStdout)
	o.wg.Go(func() {
		plugins.ReadLog(p.Stderr, func(line string) {
			if o.first == "" {
				o.first = line[:min(len(line), maxFirst)]
			}
			say(line)
		})
	})
	go func() {
		o.wg.Wait()
		close(o.done)
	}()
	return o
}

// readStdout reads on beyond what is kept, so that the program may end.
func (o *output) readStdout() {
	buffer := make([]byte, 16<<10)
	for {
		n, err := o.program.Stdout.Read(buffer)
		if o.tooMuch = o.tooMuch || len(o.stdout)+n > maxOutput; o.tooMuch {
			o.stdout = nil
		} else {
			o.stdout = append(o.stdout, buffer[:n]...)
		}
		if err != nil {
			return
		}
	}
}

// endsWithin reports whether both pipes reach their end by then.
func (o *output) endsWithin(patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-o.done:
		return true
	case <-t.C:
		return false
	}
}

// close ends the reading.
func (o *output) close() {
	now := time.Now()
	_ = o.program.Stdout.SetReadDeadline(now)
	_ = o.program.Stderr.SetReadDeadline(now)
	<-o.done
}
