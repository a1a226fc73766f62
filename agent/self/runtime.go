package self

import (
	"runtime"
	"runtime/metrics"
	"strings"

	"github.com/rpicluster/vitals/plugins"
)

// addMemory adds what the runtime keeps account of, under Telegraf's names.
func addMemory(b *plugins.Batch) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.Point("internal_memstats").
		Uint("alloc_bytes", m.Alloc).
		Uint("total_alloc_bytes", m.TotalAlloc).
		Uint("sys_bytes", m.Sys).
		Uint("pointer_lookups", m.Lookups).
		Uint("mallocs", m.Mallocs).
		Uint("frees", m.Frees).
		Uint("heap_alloc_bytes", m.HeapAlloc).
		Uint("heap_sys_bytes", m.HeapSys).
		Uint("heap_idle_bytes", m.HeapIdle).
		Uint("heap_in_use_bytes", m.HeapInuse).
		Uint("heap_released_bytes", m.HeapReleased).
		Uint("heap_objects", m.HeapObjects).
		Uint("num_gc", uint64(m.NumGC))
}

// addRuntime adds everything that runtime/metrics has.
func (c *Collector) addRuntime(b *plugins.Batch) {
	all := metrics.All()
	samples := make([]metrics.Sample, len(all))
	for i := range samples {
		samples[i].Name = all[i].Name
	}
	metrics.Read(samples)
	p := b.Point("internal_gostats").Tag("go_version", c.golang)
	for _, s := range samples {
		switch name := fieldName(s.Name); s.Value.Kind() {
		case metrics.KindUint64:
			p.Uint(name, s.Value.Uint64())
		case metrics.KindFloat64:
			p.Float(name, s.Value.Float64())
		case metrics.KindFloat64Histogram:
			p.Float(name, median(s.Value.Float64Histogram()))
		}
	}
}

// fieldName makes cpu_classes_gc_total_cpu_seconds of
// /cpu/classes/gc/total:cpu-seconds.
func fieldName(name string) string {
	name = strings.TrimPrefix(name, "/")
	return strings.Map(func(r rune) rune {
		if r == '/' || r == ':' || r == '-' {
			return '_'
		}
		return r
	}, name)
}

// median is the lower bound of the bucket that the median lies in.
func median(h *metrics.Float64Histogram) float64 {
	var total, below uint64
	for _, n := range h.Counts {
		total += n
	}
	for i, n := range h.Counts {
		if below += n; below >= total/2 {
			return h.Buckets[i]
		}
	}
	return 0
}
