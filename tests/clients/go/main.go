// Command go writes what every client of these tests writes with InfluxData's
// Go clients: v1 URL DATABASE, or v2 URL BUCKET.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	influx2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
	influx1 "github.com/influxdata/influxdb1-client/v2"
)

const points, batch, unstamped = 500, 100, 20

// begin is the time of the first point; each is a second after the last.
var begin = time.Unix(1767225600, 0)

func stamped(i int) (tags map[string]string, fields map[string]any) {
	return map[string]string{"host": fmt.Sprintf("c%d", i%7), "odd tag": "a, b=c"},
		map[string]any{"f": float64(i) + 0.5, "i": int64(i) * 1_000_003, "s": fmt.Sprintf(`line %d "quoted" ü`, i), "b": i%2 == 0}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "write: go v1|v2 URL DATABASE")
		os.Exit(2)
	}
	write := map[string]func(url, database string) error{"v1": v1, "v2": v2}[os.Args[1]]
	if err := write(os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// v1 gives up at the first write that fails: so does the client.
func v1(url, database string) error {
	c, err := influx1.NewHTTPClient(influx1.HTTPConfig{Addr: url, WriteEncoding: influx1.GzipEncoding})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.Ping(5 * time.Second); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	answer, err := c.Query(influx1.NewQuery(fmt.Sprintf("CREATE DATABASE %q", database), "", ""))
	if err := errors.Join(err, answer.Error()); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	for n := 0; n <= points; n += batch {
		b, err := influx1.NewBatchPoints(influx1.BatchPointsConfig{Database: database, Precision: "s"})
		if err != nil {
			return err
		}
		for i := n; i < min(n+batch, points); i++ {
			tags, fields := stamped(i)
			p, err := influx1.NewPoint("stamped", tags, fields, begin.Add(time.Duration(i)*time.Second))
			if err != nil {
				return err
			}
			b.AddPoint(p)
		}
		for i := 0; n == points && i < unstamped; i++ {
			p, err := influx1.NewPoint("unstamped", map[string]string{"n": fmt.Sprint(i)}, map[string]any{"v": int64(i)})
			if err != nil {
				return err
			}
			b.AddPoint(p)
		}
		if err := c.Write(b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// v2 uses the client's own batches and retries. It retries when the next batch
// is written, so a last point is written until nothing waits any more.
func v2(url, bucket string) error {
	c := influx2.NewClientWithOptions(url, "token", influx2.DefaultOptions().
		SetBatchSize(batch).SetFlushInterval(200).SetUseGZip(true).SetMaxRetries(100).SetMaxRetryInterval(10_000).SetMaxRetryTime(600_000).SetLogLevel(0))
	defer c.Close()
	if ok, err := c.Ping(context.Background()); !ok || err != nil {
		return fmt.Errorf("ping: %t, %w", ok, err)
	}
	w := c.WriteAPI("org", bucket)
	failed := make(chan error, 1)
	go func() {
		for err := range w.Errors() {
			fmt.Fprintln(os.Stderr, "told:", err)
		}
		close(failed)
	}()
	for i := range points {
		tags, fields := stamped(i)
		w.WritePoint(influx2.NewPoint("stamped", tags, fields, begin.Add(time.Duration(i)*time.Second)))
	}
	for i := range unstamped {
		w.WriteRecord(fmt.Sprintf("unstamped,n=%d v=%di", i, i))
	}
	last(c.WriteAPIBlocking("org", bucket), w)
	c.Close()
	<-failed
	return nil
}

// last writes one point again and again until the server takes it, which is
// when the batches before it can be sent.
func last(blocking api.WriteAPIBlocking, w api.WriteAPI) {
	for blocking.WriteRecord(context.Background(), "last v=1i 1767225600000000000") != nil {
		w.WriteRecord("last v=1i 1767225600000000000")
		time.Sleep(500 * time.Millisecond)
	}
}
