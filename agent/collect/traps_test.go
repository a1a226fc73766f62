package collect

import (
	"os"
	"testing"

	"github.com/rpicluster/vitals/agent/trust"
)

// A start may wait for its turn while somebody looks at the file once more and
// opens it anew: what the start was given must stay open, or its number names
// another file by then, and that is what is run.
func TestAFileIsOpenForAsLongAsItsStartTakes(t *testing.T) {
	l := newLab(t)
	l.dropIn("a", "exit 1")
	d := &dropIn{name: "a", rules: func() trust.Rules { return l.config.DropIns }}
	picked, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.pick()
	if err != nil {
		t.Fatal(err)
	}
	d.close()
	for _, f := range []*trust.File{picked, again} {
		if _, err := f.Stat(); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	if files, _ := os.ReadDir("/proc/self/fd"); len(files) > 64 {
		t.Errorf("%d files are open", len(files))
	}
}
