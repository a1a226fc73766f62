package line

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/influxdata/influxdb/models"
)

// loadBody is what the load generator sends: n lines of Telegraf's cpu.
func loadBody(n int) []byte {
	var o []byte
	for s := range n {
		o = fmt.Appendf(o, "cpu,cpu=cpu%d,host=node%d usage_user=", s%4, s%200)
		o = strconv.AppendFloat(o, float64(s%1000)/10.3, 'f', -1, 64)
		o = append(o, ",usage_system="...)
		o = strconv.AppendFloat(o, float64(s%770)/7.7, 'f', -1, 64)
		o = append(o, ",usage_idle="...)
		o = strconv.AppendFloat(o, 100-float64(s%1000)/10.3, 'f', -1, 64)
		o = append(o, ",usage_nice=0,usage_iowait=0.1001,usage_irq=0,usage_softirq=0,usage_steal=0,usage_guest=0,usage_guest_nice=0,seq="...)
		o = fmt.Appendf(o, "%di %d\n", s, 1700000000000000000+int64(s)*1000)
	}
	return o
}

// mixedBody has integers, strings, booleans, escapes and exponents as well.
func mixedBody(n int) []byte {
	var o []byte
	for s := range n {
		switch s % 4 {
		case 0:
			o = fmt.Appendf(o, "disk,device=sda1,fstype=ext4,host=node%d,mode=rw,path=/mnt/my\\ disk free=%di,inodes_free=26125312i,used_percent=41.30012 1700000000000000000\n", s%200, 1<<40+int64(s))
		case 1:
			o = fmt.Appendf(o, "system,host=node%d load1=0.2,load5=1.5e-05,n_cpus=4i,uptime=%di,uptime_format=\"4 days, 17:05\",ok=true 1700000000000000000\n", s%200, s)
		case 2:
			o = fmt.Appendf(o, "mem,host=node%d active=%di,available=7612000000i,available_percent=91.6,huge_pages_free=0i,swap_free=0i 1700000000000000000\n", s%200, s)
		case 3:
			o = fmt.Appendf(o, "log,host=node%d message=\"GET \\\"/x%d\\\" in 3 ms\",level=\"info\" 1700000000000000000\n", s%200, s)
		}
	}
	return o
}

// wideBody has lines of 180 fields, as Telegraf's kernel_vmstat.
func wideBody(n int) []byte {
	var o []byte
	for s := range n {
		o = fmt.Appendf(o, "kernel_vmstat,host=node%d nr_free_pages=%di", s%200, 1<<20+s)
		for f := range 179 {
			o = fmt.Appendf(o, ",nr_zone_counter_%d=%di", f, s*f)
		}
		o = append(o, " 1700000000000000000\n"...)
	}
	return o
}

// benchLimits are the relay's by default.
var benchLimits = Limits{Line: 64 << 10, Tags: 64, Fields: 256, Key: 1 << 10, TagValue: 1 << 10}

func BenchmarkScan(b *testing.B) {
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"load", loadBody(5000)}, {"load10", loadBody(10)}, {"mixed", mixedBody(5000)},
		{"wide", wideBody(300)},
		{"escaped", bytes.ReplaceAll(loadBody(5000), []byte("cpu="), []byte("c\\ u="))},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := Scanner{Limits: benchLimits}
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if r := s.Scan(c.body, Nanosecond); len(r.Bad) > 0 {
					b.Fatal(r)
				}
			}
		})
	}
}

// BenchmarkScanExact is the way of lines that are not plain: sound ones, and a
// body whose every line is refused.
func BenchmarkScanExact(b *testing.B) {
	for name, body := range map[string][]byte{
		"odd":     bytes.ReplaceAll(loadBody(5000), []byte("cpu="), []byte(`c\\u=`)),
		"refused": bytes.ReplaceAll(loadBody(5000), []byte("\n"), []byte("\r\n")),
	} {
		b.Run(name, func(b *testing.B) {
			var s Scanner
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				s.Scan(body, Nanosecond)
			}
		})
	}
}

// BenchmarkModels is InfluxDB's own parser on the same lines; line-protocol/v2 is
// measured beside the scanner by make bench.
func BenchmarkModels(b *testing.B) {
	body := loadBody(5000)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := models.ParsePoints(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCut(b *testing.B) {
	body := loadBody(5000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := body; len(rest) > 0; {
			var err error
			if _, rest, err = Cut(rest); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAppendSound(b *testing.B) {
	body := bytes.ReplaceAll(loadBody(5000), []byte("000\n"), []byte("\n"))
	var s Scanner
	var dst []byte
	r := s.Scan(body, Microsecond)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendSound(dst[:0], body, r, Microsecond, 0)
	}
}

func BenchmarkEdit(b *testing.B) {
	body := loadBody(5000)
	e := Edit{Tags: []Tag{{"cluster", "north"}, {"zone", "a b"}}}
	var dst []byte
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for rest := body; len(rest) > 0; {
			var l Line
			l, rest, _ = Cut(rest)
			dst = e.Append(dst, l)
		}
	}
}
