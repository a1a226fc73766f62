package join

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rpicluster/vitals/internal/durable"
	"github.com/rpicluster/vitals/internal/nodefile"
)

// planned is what shall become of the node file that is there.
type planned struct {
	keep     bool   // it is for this relay, and was changed by hand
	sum      string // of it as it was written, if it stays
	replaces string // sum of the one that goes
	before   string // where the one is kept that joining has not written
	copy     bool   // it has to be copied there first
}

// plan looks at the node file that is there. One that joining has not written
// is somebody's work.
func (s *Setup) plan(relay *Relay, note *Note, me Identity, force bool) (planned, error) {
	now, err := fileSum(s.path(s.NodeFile))
	switch {
	case err != nil:
		return planned{}, roomError(fmt.Errorf("read the node file: %w", err))
	case now == "":
		return planned{}, nil
	case note != nil && note.NodeFile == s.NodeFile && note.Sum == now:
		return planned{replaces: now, before: note.Before}, nil
	case note != nil && note.NodeFile == s.NodeFile && note.Relay == relay.String() && note.Pin == relay.Pin() && note.Node == me.Node:
		fmt.Fprintf(s.Out, "%s was changed since it was written, and stays as it is.\n", s.NodeFile)
		return planned{keep: true, sum: note.Sum, before: note.Before}, nil
	case s.runsRelay():
		return planned{}, fmt.Errorf("%s is also that of a vitals-relay on this machine, and is not replaced. "+
			"A relay's own agent needs no joining: vitals-relay init sees to it. To write to another relay, add an [[outputs.influxdb]] with a token of "+
			"vitals-relay token create --node %s made there", s.NodeFile, me.Node)
	case !force:
		return planned{}, fmt.Errorf("%s is there, and join has not written it. Move it away; or have join keep a copy beside it and write its own, with --force; "+
			"or keep it and add an [[outputs.influxdb]] with a token of vitals-relay token create --node %s, made on the primary", s.NodeFile, me.Node)
	}
	before, err := s.freeName(s.NodeFile + ".before-join")
	return planned{replaces: now, before: before, copy: true}, err
}

// runsRelay reports whether the node file has a relay's part. One that cannot
// be read as a node file is nobody's.
func (s *Setup) runsRelay() bool {
	text, err := os.ReadFile(s.path(s.NodeFile))
	if err != nil {
		return false
	}
	f, _ := nodefile.Parse(s.NodeFile, text)
	if f == nil {
		return false
	}
	_, ok := f.Table("relay")
	return ok
}

// freeName is a name like this one that no file has.
func (s *Setup) freeName(name string) (string, error) {
	const most = 100
	for i := range most {
		candidate := name
		if i > 0 {
			candidate = fmt.Sprintf("%s-%d", name, i+1)
		}
		if _, err := os.Lstat(s.path(candidate)); errors.Is(err, fs.ErrNotExist) {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("there are %d files like %s; remove some", most, name)
}

// place puts the node file in its place; the one before is kept first, under
// its own name.
func (s *Setup) place(f *file, how planned) error {
	if how.copy {
		if err := os.Link(f.path, s.path(how.before)); err != nil && !errors.Is(err, fs.ErrExist) {
			info, err := os.Stat(f.path) // a file system without links
			if err == nil {
				err = copyFile(f.path, s.path(how.before), info.Mode().Perm())
			}
			if err != nil {
				return fmt.Errorf("keep a copy of the node file: %w", err)
			}
		}
		if err := durable.SyncDirectory(filepath.Dir(f.path)); err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "The node file that was there is kept as %s.\n", how.before)
	}
	if err := f.rename(); err != nil {
		return fmt.Errorf("write the node file: %w", err)
	}
	return nil
}
