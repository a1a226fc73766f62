package tests

import (
	"os/exec"
	"regexp"
	"testing"
)

// TestBenchMeasures holds that the tool behind make bench has a figure for each
// program in each round; what the figures are is nobody's promise.
func TestBenchMeasures(t *testing.T) {
	t.Parallel()
	// Long enough for a tick and for the flush after it, whatever place in the
	// interval this host's flushes have.
	benchShows(t, []string{"-part", "agent", "-seconds", "25"},
		`(?m)^10s +vitals-agent, .* 2 +PSS ≤ 22\.0: .*; binary ≤ 18\.0: `,
		`(?m)^10s +vitals-relay, .* 1 +RSS ≤ 30\.0 idle: `,
		`(?m)^1s +vitals-agent, .* 0\.\d+ .* CPU ≤ 0\.25: `)
}

// TestBenchMeasuresTheRelay holds the same for the relay's part, in which every
// line is counted where it arrives.
func TestBenchMeasuresTheRelay(t *testing.T) {
	t.Parallel()
	benchShows(t, []string{"-part", "relay", "-rounds", "1", "-lines", "100000", "-seconds", "10"},
		`(?m)^gzip, 5,000 lines, .* vitals-relay, .* \d+\.\d\d +\d.* to .* ≤ 1\.15 ×: `,
		`(?m)^gzip, 10 lines, 8 .* vitals-relay, .* \d+\.\d\d +\d.* to .* ≤ 1\.25 ×: `,
		`(?m)^gzip, 10 lines, 64 .* vitals-relay, .* \d+\.\d\d +\d.* to .* ≤ 1\.25 ×: `,
		`(?m)^plain, 10 lines, .* vitals-relay, .* \d+\.\d\d +\d.* to `,
		`(?m)^plain, 10 lines, .* floor: .* \d+\.\d\d +\d.* to `,
		`(?m)^vitals-relay, .* ≤ 30\.0 idle: .*; ≤ 100\.0 under load: .*; p99 < 50 ms: .*; < 500 ms always: `,
		`(?m)^floor: net/http, inflates .* +\d+\.\d\d +\d+\.\d\d +\d+\.\d\d`,
		`(?m)^scanner: \d+\.\d\d GB/s a core .* line-protocol/v2 \d`)
}

// benchShows runs the tool, and looks for lines in what it prints.
func benchShows(t *testing.T, args []string, lines ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "./tests/bench", "-peers=false", "-programs", "bin"}, args...)...)
	cmd.Dir = root
	stdout, stderr, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range lines {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("no line matches %s:\n%s\n%s", want, stdout, stderr)
		}
	}
}
