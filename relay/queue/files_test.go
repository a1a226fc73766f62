package queue_test

import (
	"testing"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/internal/spool"
	"github.com/rpicluster/vitals/relay/queue"
	"github.com/rpicluster/vitals/relay/queue/queuetest"
)

func TestFiles(t *testing.T) {
	queuetest.Run(t, func(t *testing.T, o queuetest.Options) queue.Queue {
		c := spool.Config{Directory: o.Directory, MaxBytes: o.MaxBytes, SegmentBytes: 64 << 10}
		if o.Keep {
			c.KeptBytes = 1 << 30
		}
		q, err := queue.OpenFiles(c)
		if err != nil {
			t.Fatal(err)
		}
		return q
	})
}

func BenchmarkAppend(b *testing.B) {
	q, err := queue.OpenFiles(spool.Config{Directory: b.TempDir(), KeptBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	batch := queue.Batch{Target: influx.Target{Database: "db", Precision: "ns"}, Lines: 10, Body: influx.Gzip(nil, make([]byte, 2500))}
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Append(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
	}
}
