package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2/files"
)

// manuals are a package's manual pages, compressed as Debian's policy asks, and
// its completions for shells. The page of the node file is the agent's, for a file
// can be in one package only.
func (s *shop) manuals(name, work string) (all files.Contents, err error) {
	pages := []string{"../man/" + name + ".[0-9]"}
	if name == "vitals-agent" {
		pages = append(pages, "../man/vitals-node.toml.5")
	}
	for _, pattern := range pages {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, page := range found {
			text, err := os.ReadFile(page)
			if err != nil {
				return nil, err
			}
			compressed := filepath.Join(work, filepath.Base(page)+".gz")
			if err := s.compress(compressed, text); err != nil {
				return nil, err
			}
			section := strings.TrimPrefix(filepath.Ext(page), ".")
			all = append(all, &files.Content{Source: compressed, Destination: fmt.Sprintf("/usr/share/man/man%s/%s", section, filepath.Base(compressed))})
		}
	}
	for _, c := range []struct{ file, directory, packager string }{
		{"bash/" + name, "/usr/share/bash-completion/completions/", ""},
		{"fish/" + name + ".fish", "/usr/share/fish/vendor_completions.d/", ""},
		{"zsh/_" + name, "/usr/share/zsh/vendor-completions/", "deb"},
		{"zsh/_" + name, "/usr/share/zsh/site-functions/", "rpm"},
	} {
		path := filepath.Join("../completion", c.file)
		if _, err := os.Stat(path); err == nil {
			all = append(all, &files.Content{Source: path, Destination: c.directory + filepath.Base(path), Packager: c.packager})
		}
	}
	return all, nil
}
