package ingest

import (
	"fmt"
	"strings"
	"testing"
)

// serverRow is a row of what another server than the relay answers.
type serverRow struct {
	contractCase        // what the relay does
	server       string // status and body of the server
	why          string // they differ; empty: they do not
}

// InfluxDB 2 and 3 have a /write for clients of 1.x. The relay answers there as 1.x
// does, whomever else it passes for: those are the clients that use it. Where that
// differs from what these servers answer, the row says why.
func TestWriteIsThatOfInfluxDB1(t *testing.T) {
	const ok = "204 No Content\n" + v1NoErr
	const partial = "partial write: " + badText + " dropped=0"
	partialKept := "d||ns\ncpu,host=a v=1 1\ncpu,host=c v=3 3\n"
	bad := func() contractCase {
		return contractCase{target: "/write?db=d", headers: id, body: strings.NewReader(oneBad), want: v1Fails("400 Bad Request", partial, "partial write: "+badJSON+" dropped=0"), kept: partialKept}
	}
	named := func(name string, c contractCase) contractCase { c.name = name; return c }
	refused := func(text, json string) string { return v1Fails("400 Bad Request", text, json) }
	rows := func() []serverRow {
		huge := strings.Repeat("m v=1 1\n", 400_000)
		return []serverRow{
			{contractCase{name: "v2: good body", target: "/write?db=d", headers: id, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good}, "204", ""},
			{contractCase{name: "v2: empty body", target: "/write?db=d", headers: id, body: strings.NewReader(""), want: ok}, "204", ""},
			{contractCase{name: "v2: no database", target: "/write", headers: id, body: strings.NewReader(good), want: refused("database is required", "database is required")},
				`400 {"code":"invalid","message":"missing db"}`, "1.x has other words for it"},
			{contractCase{name: "v2: unknown precision", target: "/write?db=d&precision=fortnight", headers: id, body: strings.NewReader(good),
				want: refused(`invalid precision "fortnight" (use n, u, ms, s, m or h)`, `invalid precision \"fortnight\" (use n, u, ms, s, m or h)`)},
				"204", "taken for nanoseconds it would be stored where nobody looks for it"},
			{named("v2: a bad line", bad()), `400 {"code":"invalid","message":"` + badJSON + `"}`, "a 1.x keeps the good lines, and its clients do not send them again"},
			{contractCase{name: "v2: bad gzip", target: "/write?db=d", headers: gzipped, body: strings.NewReader("this is not gzip at all"), want: refused("gzip: invalid header", "gzip: invalid header")},
				`500 {"code":"internal error","message":"An internal error has occurred - check server logs"}`, "a client would send it again for ever"},

			{contractCase{name: "v3: good body", target: "/write?db=d", headers: id, body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good}, "204", ""},
			{contractCase{name: "v3: a policy that is none", target: "/write?db=d&rp=autogen", headers: id, body: strings.NewReader(good), want: ok, kept: "d|autogen|ns\n" + good}, "204", ""},
			{contractCase{name: "v3: a policy", target: "/write?db=d&rp=r", headers: id, body: strings.NewReader(good), want: ok, kept: "d|r|ns\n" + good}, "204", ""},
			{contractCase{name: "v3: minutes", target: "/write?db=d&precision=m", headers: id, body: strings.NewReader("m v=1 5\n"), want: ok, kept: "d||ns\nm v=1 300000000000\n"},
				"400", "clients of 1.x may write in minutes; a v3 gets nanoseconds"},
			{contractCase{name: "v3: a precision of its own", target: "/write?db=d&precision=nanosecond", headers: id, body: strings.NewReader(good),
				want: refused(`invalid precision "nanosecond" (use n, u, ms, s, m or h)`, `invalid precision \"nanosecond\" (use n, u, ms, s, m or h)`)},
				"204", "no client of 1.x writes it"},
			{named("v3: a bad line", bad()), `400 {"error":"line protocol parsing error","data":{"error_message":"missing fields","line_number":2,"original_line":"bad"}}`, "a 1.x keeps the good lines, and its clients do not send them again"},
			{contractCase{name: "v3: empty body", target: "/write?db=d", headers: id, body: strings.NewReader(""), want: ok},
				"400 incoming write was empty", "clients of 1.x write an empty body to see whether they may"},
			{contractCase{name: "v3: oversize", target: "/write?db=d", headers: id, body: strings.NewReader(huge),
				want: v1Fails("413 Request Entity Too Large", "Request Entity Too Large", "Request Entity Too Large")},
				"413 max request size (10485760 bytes) exceeded", "1.x has other words for it"},
			{contractCase{name: "v3: another encoding", target: "/write?db=d", headers: with("Content-Encoding", "zstd"), body: strings.NewReader(good), want: ok, kept: "d||ns\n" + good},
				"400 unacceptable content-encoding: zstd", "1.x reads a body that is not gzip as it is"},
		}
	}
	for shared := 1; shared <= 3; shared++ {
		t.Run(fmt.Sprintf("passing for %d", shared), func(t *testing.T) { runRows(t, Versions{Shared: shared}, rows()) })
	}
}

// Some answers only a server can give, since they say what became of lines that
// were read and routed. The relay has answered by then: it takes such a write, and
// what the destination makes of it is in rejected/, an alarm and a metric.
func TestAnswersThatOnlyAServerCanGive(t *testing.T) {
	const later = "a destination finds out when it gets it"
	v1 := func(name, query, server string, kept string) serverRow {
		return serverRow{contractCase{name: name, target: "/write?" + query, headers: id, body: strings.NewReader(good), want: "204 No Content\n" + v1NoErr, kept: kept + good}, server, later}
	}
	v2 := func(name, query, server string, kept string) serverRow {
		return serverRow{contractCase{name: name, target: "/api/v2/write?" + query, body: strings.NewReader(good), want: "204 No Content\n" + v2Tail + "\n", kept: kept + good}, server, later}
	}
	runRows(t, Versions{}, []serverRow{
		v1("v1: unknown database", "db=nobody", `404 {"error":"database not found: \"nobody\""}`, "nobody||ns\n"), // it is created
		v1("v1: unknown retention policy", "db=d&rp=nobody", `500 {"error":"retention policy not found: nobody"}`, "d|nobody|ns\n"),
		v1("v1: type conflict", "db=d", `400 {"error":"partial write: field type conflict: … dropped=1"}`, "d||ns\n"),
		v1("v1: beyond the retention policy", "db=d", `400 {"error":"partial write: points beyond retention policy dropped=2"}`, "d||ns\n"),
		v1("v1: the shard takes too long", "db=d", `500 {"error":"timeout"}`, "d||ns\n"),
		v1("v1: the cache is full", "db=d", `500 {"error":"engine: cache-max-memory-size exceeded: (a/b)"}`, "d||ns\n"),
		v1("v2, /write: no mapping", "db=d&rp=r", `404 {"code":"not found","message":"no dbrp mapping found"}`, "d|r|ns\n"),
		v2("v2: unknown organization", "org=nobody&bucket=b", `404 {"code":"not found","message":"organization name \"nobody\" not found"}`, "b||ns\n"),
		v2("v2: unknown bucket", "org=o&bucket=nobody", `404 {"code":"not found","message":"bucket \"nobody\" not found"}`, "nobody||ns\n"),
		v2("v2: type conflict, or outside of retention", "org=o&bucket=b", `422 {"code":"unprocessable entity","message":"failure writing points to database: partial write: … dropped=1"}`, "b||ns\n"),
		v2("v2: another error of its storage", "org=o&bucket=b", `500 {"code":"internal error","message":"unexpected error writing points to database: …"}`, "b||ns\n"),
		{contractCase{name: "v3: too many tables, columns or databases", target: "/api/v3/write_lp?db=d&precision=ns", body: strings.NewReader(good),
			want: "204 No Content\n" + v3CORS + "\n", kept: "d||ns\n" + good}, "422", later},
	})
}

// runRows holds the relay to its answers, and each row to whether it differs.
func runRows(t *testing.T, v Versions, rows []serverRow) {
	t.Helper()
	var tests []contractCase
	for _, row := range rows {
		status, body, _ := strings.Cut(row.server, " ")
		same := strings.HasPrefix(row.want, status+" ") && strings.HasSuffix(strings.TrimSuffix(row.want, "\n"), body)
		if same != (row.why == "") {
			t.Errorf("%s: the same: %v, but it is said to differ because %q", row.name, same, row.why)
		}
		tests = append(tests, row.contractCase)
	}
	contractDoor(t, v, tests)
}
