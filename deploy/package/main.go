// Package main makes what is installed from the programs that make has built:
// packages for dpkg and rpm, an archive of the same files, and a list of what each
// program was made from.
//
//	dist/linux-armv6/vitals-agent ─┬─► vitals-agent_1.2.3_armhf.deb, .rpm, .tar.gz ─┐
//	vitals-agent.yaml, scripts/ ───┘   vitals-agent_1.2.3_armhf.cdx.json           │
//	                                   vitals-packages_1.2.3_all.deb, .rpm, .tar.gz ◄┘
//
// The same tree at the same version gives the same bytes, wherever and whenever.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

// target is one architecture: as make, as nfpm and as Debian call it.
type target struct{ name, nfpm, debian string }

func targetOf(name string) (target, error) {
	switch name {
	case "amd64", "arm64":
		return target{name, name, name}, nil
	case "armv6":
		// armhf is ARMv7 to Debian and ARMv6 on a Raspberry Pi: this runs on both.
		return target{name, "arm6", "armhf"}, nil
	}
	return target{}, fmt.Errorf("nobody has told how packages for %q are called; main.go has a list", name)
}

// shop is where packages are made.
type shop struct {
	dist    string // programs are in it, and what is made goes into it
	work    string // files made on the way
	version string // as the programs tell it, v1.2.3
	at      time.Time
	log     func(file string)
}

func run(args []string) error {
	set := flag.NewFlagSet("package", flag.ContinueOnError)
	s := shop{log: func(file string) { fmt.Println(file) }}
	set.StringVar(&s.dist, "dist", "", "directory of the programs, and of what is made")
	set.StringVar(&s.version, "version", "", "version of the programs")
	targets := set.String("targets", "", "architectures, with spaces between them")
	seconds := set.Int64("time", 0, "time of every file, in seconds since 1970")
	if err := set.Parse(args); err != nil {
		return err
	}
	s.at = time.Unix(*seconds, 0).UTC()
	work, err := os.MkdirTemp("", "vitals-package")
	if err != nil {
		return err
	}
	s.work = work
	return errors.Join(s.all(strings.Fields(*targets)), os.RemoveAll(work))
}

// all makes everything for the targets, and the package of the agent's packages
// at last.
func (s *shop) all(targets []string) error {
	var agents []string
	for _, name := range targets {
		t, err := targetOf(name)
		if err != nil {
			return err
		}
		for _, program := range []string{"vitals-agent", "vitals-relay"} {
			if err := s.components(program, t); err != nil {
				return fmt.Errorf("list what %s for %s is made from: %w", program, t.name, err)
			}
			made, err := s.pack(program, t, nil)
			if err != nil {
				return fmt.Errorf("pack %s for %s: %w", program, t.name, err)
			}
			if program == "vitals-agent" {
				agents = append(agents, made...)
			}
		}
	}
	if _, err := s.pack("vitals-packages", target{nfpm: "all", debian: "all"}, agents); err != nil {
		return fmt.Errorf("pack the agent's packages: %w", err)
	}
	return nil
}

// packageVersion is the version as dpkg and rpm sort it.
func (s *shop) packageVersion() string {
	return strings.ReplaceAll(strings.TrimPrefix(s.version, "v"), "-", "~")
}

// file is the path of something that is made, by what its name ends in.
func (s *shop) file(name string, t target, end string) string {
	return filepath.Join(s.dist, fmt.Sprintf("%s_%s_%s%s", name, s.packageVersion(), t.debian, end))
}

// create writes a file of dist.
func (s *shop) create(path string, write func(f *os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.log(path)
	return nil
}
