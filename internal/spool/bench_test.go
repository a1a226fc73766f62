package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// randomBody returns n bytes that begin as gzip does and otherwise look like
// its output.
func randomBody(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	copy(b, gzipHeader[:3])
	return b
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, callers), func(b *testing.B) { benchmarkAppend(b, size, callers) })
		}
	}
}

func benchmarkAppend(b *testing.B, size, callers int) {
	s := mustOpen(b, Config{Directory: b.TempDir(), KeptBytes: 64 << 20})
	body := randomBody(size)
	before := s.Stats()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := i; n < b.N; n += callers {
				if err := s.Append(context.Background(), &Frame{Key: "db", Lines: 10, Body: body}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := s.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(after.Syncs-before.Syncs)/float64(b.N), "syncs/frame")
}

func BenchmarkNext(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) { benchmarkNext(b, size) })
	}
}

func benchmarkNext(b *testing.B, size int) {
	s := mustOpen(b, Config{Directory: b.TempDir()})
	d := mustDestination(b, s, "a")
	frames := make([]*Frame, (64<<20)/size)
	for i := range frames {
		frames[i] = &Frame{Key: "db", Lines: 10, Body: randomBody(size)}
	}
	if err := s.Append(context.Background(), frames...); err != nil {
		b.Fatal(err)
	}
	var f Frame
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		ok, err := d.TryNext(&f)
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			d.Rewind()
		}
	}
}

func BenchmarkFindMark(b *testing.B) {
	body := randomBody(64 << 10)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if findMark(body) >= 0 {
			b.Fatal("found")
		}
	}
}
