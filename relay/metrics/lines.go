package metrics

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rpicluster/vitals/relay/deliver"
	"github.com/rpicluster/vitals/relay/fleet"
)

// tagEscapes makes a tag's value of a name. What line protocol cannot hold in
// one is replaced.
var tagEscapes = strings.NewReplacer(",", `\,`, "=", `\=`, " ", `\ `, `\`, "_", "\n", "_", "\r", "_", "\t", "_")

// Lines returns the same figures as line protocol, and how many lines that is:
// one of vitals_relay, and one of vitals_relay_destination for each.
func (s *Source) Lines(host string, at time.Time) ([]byte, int) {
	status := s.Status()
	i, q := &status.Ingest, &status.Queue
	tag := ",host=" + tagEscapes.Replace(host)
	acks, ackSum := s.Ack.total()
	commits, commitSum := s.Commit.total()
	var b strings.Builder
	fmt.Fprintf(&b, fleet.SelfMeasurement+"%s accepted_bytes=%di,accepted_lines=%di,accepted_raw_bytes=%di,accepted_writes=%di,"+
		"bad_lines=%di,bad_writes=%di,refused_writes=%di,unauthorized_writes=%di,in_flight_bytes=%di,connections=%di,",
		tag, i.Bytes, i.Lines, i.RawBytes, i.Requests, i.BadLines, i.BadRequests, i.Refused, i.Unauthorized, i.InFlight, status.Connections.Open)
	fmt.Fprintf(&b, "queue_bytes=%di,queue_undelivered_bytes=%di,queue_kept_bytes=%di,commits=%di,syncs=%di,damaged_frames=%di,dropped_lines=%di,",
		q.Bytes, q.UndeliveredBytes, q.KeptBytes, q.Commits, q.Syncs, q.DamagedFrames, q.DroppedLines)
	if q.FreeBytes >= 0 {
		fmt.Fprintf(&b, "queue_free_bytes=%di,", q.FreeBytes)
	}
	fmt.Fprintf(&b, "ack_count=%di,ack_seconds=%s,commit_seconds=%s,commit_count=%di,nodes_up=%di,nodes_late=%di,nodes_down=%di,"+
		"alarms=%di,ready=%t,resident_bytes=%di,uptime_seconds=%di %d\n",
		acks, seconds(ackSum), seconds(commitSum), commits, status.Nodes.Up, status.Nodes.Late, status.Nodes.Down,
		len(status.Alarms), s.Refusal() == "", residentBytes(), int64(at.Sub(status.Started).Seconds()), at.UnixNano())
	for n := range status.Destinations {
		s.destinationLine(&b, tag, &status.Destinations[n], at)
	}
	return []byte(b.String()), 1 + len(status.Destinations)
}

func (s *Source) destinationLine(b *strings.Builder, tag string, d *deliver.Status, at time.Time) {
	fmt.Fprintf(b, fleet.DestinationMeasurement+",destination=%s%s backlog_age_seconds=%s,backlog_bytes=%di,backlog_lines=%di,"+
		"delivered_bytes=%di,delivered_lines=%di,dropped_lines=%di,failed_writes=%di,rejected_lines=%di,state=\"%s\",writes=%di %d\n",
		tagEscapes.Replace(d.Name), tag, strconv.FormatFloat(s.backlogAge(d), 'f', -1, 64), d.Backlog.Bytes, d.Backlog.Lines,
		d.Bytes, d.Lines, d.Backlog.DroppedLines, d.Failures, d.RejectedLines, d.State, d.Writes, at.UnixNano())
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
