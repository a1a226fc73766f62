package queue

import (
	"strings"
	"sync"

	"github.com/rpicluster/vitals/internal/influx"
)

// keySeparator parts the fields of a key. The door lets no name that holds a
// control character through.
const keySeparator = "\x00"

// encodeKey makes the spool's key of a target.
func encodeKey(t influx.Target) string {
	return t.Database + keySeparator + t.RetentionPolicy + keySeparator + t.Precision
}

// decodeKey is the inverse of encodeKey. A key that another version has written
// gives a target without a database at worst: no server takes that, so its
// lines are held and somebody looks.
func decodeKey(key string) influx.Target {
	db, rest, _ := strings.Cut(key, keySeparator)
	rp, precision, _ := strings.Cut(rest, keySeparator)
	return influx.Target{Database: db, RetentionPolicy: rp, Precision: precision}
}

// maxKeys bounds the cache of keys: a client may invent database names.
const maxKeys = 1024

// keys remembers the keys of targets, of which a relay sees few, often.
type keys struct {
	mu    sync.RWMutex
	known map[influx.Target]string
}

func (k *keys) of(t influx.Target) string {
	k.mu.RLock()
	key, ok := k.known[t]
	k.mu.RUnlock()
	if ok {
		return key
	}
	key = encodeKey(t)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil || len(k.known) >= maxKeys {
		k.known = map[influx.Target]string{}
	}
	k.known[t] = key
	return key
}
