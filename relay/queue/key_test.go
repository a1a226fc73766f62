package queue

import (
	"fmt"
	"testing"

	"github.com/rpicluster/vitals/internal/influx"
)

func TestKeys(t *testing.T) {
	var k keys
	for _, target := range []influx.Target{
		{}, {Database: "db"}, {Database: "db", RetentionPolicy: "rp", Precision: "ns"}, {Database: "a/b", Precision: "us"}, {RetentionPolicy: "ü x"},
	} {
		if got := decodeKey(k.of(target)); got != target {
			t.Errorf("%+v came back as %+v", target, got)
		}
		if k.of(target) != encodeKey(target) {
			t.Errorf("the remembered key of %+v differs", target)
		}
	}
	if got := decodeKey("something else"); got != (influx.Target{Database: "something else"}) {
		t.Errorf("a foreign key: %+v", got)
	}
	for n := range 3 * maxKeys {
		k.of(influx.Target{Database: fmt.Sprint(n)})
	}
	if len(k.known) > maxKeys {
		t.Errorf("%d keys are remembered", len(k.known))
	}
}
