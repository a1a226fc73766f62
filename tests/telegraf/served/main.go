// Command served is an external plugin for Telegraf, made with its Go shim: a
// service input, which speaks when it has something to say.
package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/plugins/common/shim"
)

// begin and step are the times of the points, so that they can be told from
// when they were said.
var begin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

const step = time.Second

type served struct {
	stop chan struct{}
	wg   sync.WaitGroup
}

var _ telegraf.ServiceInput = (*served)(nil)

// SampleConfig implements telegraf.Input.
func (*served) SampleConfig() string { return "" }

// Gather implements telegraf.Input.
func (*served) Gather(telegraf.Accumulator) error { return nil }

// Start implements telegraf.ServiceInput.
func (s *served) Start(acc telegraf.Accumulator) error {
	s.stop = make(chan struct{})
	s.wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				acc.AddCounter("served", map[string]any{"n": n, "said": "line\n" + fmt.Sprint(n)}, nil, begin.Add(time.Duration(n)*step))
			}
		}
	})
	return nil
}

// Stop implements telegraf.ServiceInput.
func (s *served) Stop() {
	close(s.stop)
	s.wg.Wait()
	fmt.Fprintln(os.Stderr, "I! served has stopped")
}

func main() {
	s := shim.New()
	err := s.AddInput(&served{})
	if err == nil {
		err = s.Run(shim.PollIntervalDisabled)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "E! "+err.Error())
		os.Exit(1)
	}
}
