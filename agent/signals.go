package main

import (
	"os"
	"os/signal"
	"syscall"
)

// signals are what a running agent is told. One that comes before it runs, while
// it waits for a node file on a server, would end it; it is kept until then.
type signals struct{ reload, flush chan os.Signal }

// listenTo begins to listen, unless there is only one gather to be made.
func listenTo(f *flags) signals {
	s := signals{reload: make(chan os.Signal, 1), flush: make(chan os.Signal, 1)}
	if !f.test && !f.once {
		signal.Notify(s.reload, syscall.SIGHUP)
		signal.Notify(s.flush, syscall.SIGUSR1)
	}
	return s
}

func (s signals) stop() {
	signal.Stop(s.reload)
	signal.Stop(s.flush)
}
