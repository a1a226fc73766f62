package ingest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// The tables of docs/http.md that have requests are true.
func TestTheDocumentedAnswers(t *testing.T) {
	text, err := os.ReadFile("../../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(row, "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.Trim(cells[i], " `"))
		}
		if method, target, isRequest := strings.Cut(cells[min(1, len(cells)-1)], " /"); isRequest && len(cells) == 6 {
			rows++
			t.Run(cells[1], func(t *testing.T) { checkRow(t, method, "/"+target, cells[2], cells[3], cells[4]) })
		}
	}
	if rows < 30 {
		t.Errorf("only %d rows were found", rows)
	}
}

func checkRow(t *testing.T, method, target, body, status, want string) {
	t.Helper()
	resp := newDoor().do(t, method, target, nil, strings.NewReader(strings.ReplaceAll(body, `\n`, "\n")))
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	// Markdown's backquotes around it are gone, and with them one at its end.
	if text := strings.Trim(string(got), " \n`"); fmt.Sprint(resp.StatusCode) != status || text != want {
		t.Errorf("answers %s %s\nsaid to be %s %s", resp.Status, text, status, want)
	}
}
