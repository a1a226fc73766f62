package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// pack makes the package called name for dpkg and for rpm, and an archive of its
// files, and returns their paths. The files called extra go where a relay looks
// for what it hands out.
func (s *shop) pack(name string, t target, extra []string) (made []string, err error) {
	work := filepath.Join(s.work, name+"-"+t.debian)
	if err := s.prepare(name, work); err != nil {
		return nil, err
	}
	formats := []struct {
		end   string
		maker nfpm.Packager
	}{{".deb", deb.Default}, {".rpm", rpm.DefaultRPM}}
	var contents files.Contents
	for _, f := range formats {
		info, err := s.describe(name, t, work, strings.TrimPrefix(f.end, "."))
		if err != nil {
			return nil, err
		}
		for _, path := range extra {
			info.Contents = append(info.Contents, &files.Content{
				Source: path, Destination: "/usr/share/vitals/packages/" + filepath.Base(path), FileInfo: s.plain(),
			})
		}
		path := s.file(name, t, f.end)
		if err := s.create(path, func(out *os.File) error { return f.maker.Package(info, out) }); err != nil {
			return nil, err
		}
		made, contents = append(made, path), info.Contents
	}
	path := s.file(name, t, ".tar.gz")
	return append(made, path), s.create(path, func(out *os.File) error { return s.archive(contents, out) })
}

// plain is how a file is installed of which nothing else is said. Nothing is
// left to what the files of this tree happen to be.
func (s *shop) plain() *files.ContentFileInfo {
	return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o644, MTime: s.at}
}

// describe reads the package's description for one format.
func (s *shop) describe(name string, t target, work, format string) (*nfpm.Info, error) {
	known := map[string]string{
		"ARCH": t.nfpm, "VERSION": s.packageVersion(), "WORK": work,
		"PROGRAMS": filepath.Join(s.dist, "linux-"+t.name),
	}
	c, err := nfpm.ParseFileWithEnvMapping(name+".yaml", func(key string) string { return known[key] })
	if err != nil {
		return nil, fmt.Errorf("%s.yaml: %w", name, err)
	}
	info, err := c.Get(format)
	if err != nil {
		return nil, err
	}
	info.MTime = s.at
	manuals, err := s.manuals(name, work)
	if err != nil {
		return nil, err
	}
	info.Contents = append(info.Contents, manuals...)
	for _, f := range info.Contents {
		if f.FileInfo == nil {
			f.FileInfo = s.plain()
			if f.Type == files.TypeDir {
				f.FileInfo.Mode = 0o755
			}
		}
	}
	if name != "vitals-packages" {
		info.Scripts.PostInstall = filepath.Join(work, "postinst")
		info.Scripts.PreRemove = filepath.Join(work, "prerm")
		info.Scripts.PostRemove = filepath.Join(work, "postrm")
	}
	return info, nil
}

// prepare makes the files of a package that are not in this tree as they are.
func (s *shop) prepare(name, work string) error {
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	scripts, err := filepath.Glob("scripts/*")
	if err != nil {
		return err
	}
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			return err
		}
		own := bytes.ReplaceAll(text, []byte("@PACKAGE@"), []byte(name))
		if err := os.WriteFile(filepath.Join(work, filepath.Base(script)), own, 0o600); err != nil {
			return err
		}
	}
	changes := fmt.Sprintf("%s (%s) stable; urgency=medium\n\n  * https://github.com/rpicluster/vitals/blob/main/CHANGELOG.md\n\n -- The vitals authors <vitals@users.noreply.github.com>  %s\n",
		name, s.packageVersion(), s.at.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return s.compress(filepath.Join(work, "changelog.gz"), []byte(changes))
}

func (s *shop) compress(path string, text []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// archive writes the files of a package, without the directories that they are
// in, whose owners and modes are not for an archive to set.
func (s *shop) archive(contents files.Contents, out io.Writer) error {
	z := gzip.NewWriter(out)
	a := tar.NewWriter(z)
	for _, f := range contents {
		if f.IsDir() {
			continue
		}
		text, err := os.ReadFile(f.Source)
		if err != nil {
			return err
		}
		err = a.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Destination, "/"), Size: int64(len(text)),
			Mode: int64(f.FileInfo.Mode.Perm()), Uname: "root", Gname: "root", ModTime: s.at,
		})
		if err != nil {
			return err
		}
		if _, err := a.Write(text); err != nil {
			return err
		}
	}
	if err := a.Close(); err != nil {
		return err
	}
	return z.Close()
}
