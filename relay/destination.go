package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rpicluster/vitals/internal/influx"
	"github.com/rpicluster/vitals/relay/config"
	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/ingest"
	"github.com/rpicluster/vitals/relay/provision"
	"github.com/rpicluster/vitals/relay/queue"
)

// destination is a server and all that works for it.
type destination struct {
	*deliver.Destination
	name        string
	config      config.Destination
	client      *influx.Client
	reader      queue.Reader
	rejected    *deliver.Rejected
	provisioner *provision.Provisioner // nil but for 1.x
	proof       influx.Proof
	warned      atomic.Int64 // when the log last told of rejected lines

	cancel context.CancelFunc
	work   sync.WaitGroup
}

// start lets the destination work until ctx ends or it is stopped.
func (d *destination) start(ctx context.Context) {
	ctx, d.cancel = context.WithCancel(ctx)
	d.work.Go(func() { d.Run(ctx) })
	if d.provisioner != nil {
		d.work.Go(func() { d.provisioner.Run(ctx) })
	}
}

// stop ends it, after the writes under way as far as they end soon.
func (d *destination) stop() {
	if d.cancel != nil {
		d.cancel()
	}
	d.work.Wait()
	d.client.Close()
}

// newDestination makes a destination. before is an earlier one of the same
// name, which was stopped; nil: there is none.
func (r *relay) newDestination(c config.Destination, client *influx.Client, before *destination) (*destination, error) {
	reader, err := r.queue.Reader(c.Name)
	if err != nil {
		return nil, err
	}
	reader.Limit(queue.Budget{Optional: !c.Required, MaxBytes: int64(c.MaxBacklog), MaxAge: c.MaxBacklogAge.Std()})
	d := &destination{name: c.Name, config: c, client: client, reader: reader}
	var was deliver.Status
	if before != nil {
		was, d.rejected = before.Status(), before.rejected
	} else {
		d.rejected = deliver.NewRejected(r.rejectedDirectory(c.Name), time.Now)
	}
	if c.Version == 1 {
		d.provisioner = r.newProvisioner(c, client)
	}
	d.Destination = deliver.New(deliver.Config{
		Name: c.Name, URL: client.URL(), Required: c.Required,
		InFlight: c.InFlight, MaxBody: int64(c.MaxBody), Wants: c.Wants(), Reader: reader,
		NewSender: func(refused func(lines int)) deliver.Sender { return r.newSender(d, refused) },
		Before:    was, Logger: r.log,
	})
	return d, nil
}

func (r *relay) rejectedDirectory(name string) string {
	return filepath.Join(r.config.DataDirectory, "rejected", name)
}

func (r *relay) newClient(c config.Destination) (*influx.Client, error) {
	secured, err := c.TLS()
	if err != nil {
		return nil, err
	}
	return influx.NewClient(influx.Config{
		URLs: []string{c.URL}, Version: c.Version, Timeout: c.Timeout.Std(),
		Database: c.Database, RetentionPolicy: c.RetentionPolicy, Username: c.Username, Password: c.Password,
		Organization: c.Organization, Bucket: c.Bucket, Token: c.Token,
		UserAgent: "vitals-relay/" + version + " " + runtime.Version(),
		Headers:   map[string]string{ingest.IDHeader: r.id},
		OneMember: !c.Concatenate, TLS: secured,
		Unknown: "name the authority's file as ca_file, or the server's key as pin, in the destination's table",
	})
}

// rejectionLevel is how loudly the log tells of rejected lines: once a minute is
// enough, since status has the sum.
func (d *destination) rejectionLevel(now time.Time) slog.Level {
	last := d.warned.Load()
	if now.UnixNano()-last < int64(time.Minute) || !d.warned.CompareAndSwap(last, now.UnixNano()) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// newSender applies the delivery policy for one writer of a destination.
func (r *relay) newSender(d *destination, refused func(lines int)) *influx.Sender {
	c := d.config
	sender := &influx.Sender{
		Client: d.client, Proof: &d.proof, Logger: r.log,
		FixedDatabase: c.Database+c.Bucket != "", FixedPolicy: c.RetentionPolicy != "",
		Rejected: func(t influx.Target, lines []byte, reason string) error {
			if err := d.rejected.Add(t, lines, reason); err != nil {
				return err
			}
			n := countLines(lines)
			refused(n)
			r.log.Log(context.Background(), d.rejectionLevel(time.Now()), "a destination refuses lines for good; they are set aside", "destination", d.name, "lines", n, "reason", reason)
			return nil
		},
	}
	if d.provisioner != nil && r.config.Provision.Enabled {
		sender.CreateDatabase = func(ctx context.Context, name string) error {
			if c.Database != "" {
				name = c.Database
			}
			return d.provisioner.Complete(ctx, name)
		}
	}
	return sender
}

func (r *relay) newProvisioner(c config.Destination, client *influx.Client) *provision.Provisioner {
	own := r.ownDatabase()
	wants := c.Wants()
	enabled := r.config.Provision.Enabled && (wants == nil || c.Database != "" || wants(own.Database))
	if c.Database != "" {
		own.Database = c.Database
	}
	policy := r.policy()
	if c.RetentionPolicy != "" {
		policy.Name = c.RetentionPolicy
	}
	return provision.New(provision.Config{
		Destination: c.Name, Server: client, Enabled: enabled, Database: own.Database, Policy: policy,
		Wants: wants, Redirected: c.Database != "", Databases: r.databases, Logger: r.log,
	})
}
