package main

import (
	"fmt"
	"syscall"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/rpicluster/vitals/internal/line"
)

// speeds are bytes per second of processor time: of the scanner, of the scanner
// that also checks whose each line is, and of line-protocol/v2.
type speeds struct{ ours, owned, reference []float64 }

// scanners measures the scanner beside line-protocol/v2, a stretch of each in
// turn.
func scanners(rounds int, stretch time.Duration) (speeds, error) {
	var body []byte
	for seq := range 5000 {
		body = appendLine(body, seq)
	}
	var s speeds
	var scanner line.Scanner
	scan := func(nodes *line.Nodes) func() error {
		return func() error {
			if r := scanner.ScanNodes(body, line.Nanosecond, nodes); r.Lines != 5000 || len(r.Bad) > 0 {
				return fmt.Errorf("the scanner finds %d lines and %d bad ones", r.Lines, len(r.Bad))
			}
			return nil
		}
	}
	anyNode := &line.Nodes{Allowed: func(name string) bool { return name != "" }}
	for range rounds {
		for _, run := range []struct {
			speeds *[]float64
			fn     func() error
		}{
			{&s.ours, scan(nil)}, {&s.owned, scan(anyNode)}, {&s.reference, func() error { return decode(body) }},
		} {
			speed, err := paced(body, stretch, run.fn)
			if err != nil {
				return s, err
			}
			*run.speeds = append(*run.speeds, speed)
		}
	}
	return s, nil
}

// paced is how many bytes a second fn gets through. This process does nothing
// else at the time.
func paced(body []byte, stretch time.Duration, fn func() error) (float64, error) {
	begin, bytes := processorTime(), 0
	for start := time.Now(); time.Since(start) < stretch; bytes += len(body) {
		if err := fn(); err != nil {
			return 0, err
		}
	}
	return float64(bytes) / (processorTime() - begin).Seconds(), nil
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// decode reads every part of every line, and builds no values.
func decode(body []byte) error {
	d := lineprotocol.NewDecoderWithBytes(body)
	for d.Next() {
		if _, err := d.Measurement(); err != nil {
			return err
		}
		for {
			key, _, err := d.NextTag()
			if err != nil {
				return err
			}
			if key == nil {
				break
			}
		}
		for {
			key, _, err := d.NextField()
			if err != nil {
				return err
			}
			if key == nil {
				break
			}
		}
		if _, err := d.TimeBytes(); err != nil {
			return err
		}
	}
	return nil
}
