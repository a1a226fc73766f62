package main

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"
)

// series is a time series of remote write with one sample for each value.
func series(name string, values ...float64) []byte {
	label := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "__name__")
	label = protowire.AppendString(protowire.AppendTag(label, 2, protowire.BytesType), name)
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), label)
	for _, v := range values {
		var sample []byte
		if v != 0 {
			sample = protowire.AppendFixed64(protowire.AppendTag(sample, 1, protowire.Fixed64Type), math.Float64bits(v))
		}
		sample = protowire.AppendVarint(protowire.AppendTag(sample, 2, protowire.VarintType), 1_700_000_000_000)
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), sample)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
}

func TestLedger(t *testing.T) {
	post := func(t *testing.T, l *ledger, encoding string, body []byte) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, "/write?db=bench", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", encoding)
		w := httptest.NewRecorder()
		if l.ServeHTTP(w, r); w.Code != http.StatusNoContent {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	var lines []byte
	for seq := range 3 {
		lines = appendLine(lines, seq)
	}
	snappy := s2.EncodeSnappy(nil, append(series("cpu_usage_user", 1, 2), series("cpu_seq", 0, 1, 2)...))
	zipped := load{per: 3, gzip: true}
	if err := zipped.make(3); err != nil {
		t.Fatal(err)
	}
	for encoding, body := range map[string][]byte{"": lines, "gzip": zipped.bodies[0], "snappy": snappy} {
		t.Run("encoding "+encoding, func(t *testing.T) {
			var l ledger
			l.expect(4)
			post(t, &l, encoding, body)
			if err := l.wait(context.Background(), time.Millisecond); err == nil || !strings.HasPrefix(err.Error(), "1 lines") {
				t.Errorf("one line of four is missing, and the ledger says: %v", err)
			}
			l.expect(3)
			post(t, &l, encoding, body)
			post(t, &l, encoding, body)
			if err := l.wait(context.Background(), time.Millisecond); err != nil || l.twice != 3 {
				t.Errorf("every line came twice, and the ledger says: %v, %d twice", err, l.twice)
			}
		})
	}
}
