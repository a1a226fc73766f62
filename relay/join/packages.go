package join

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// sumsName is the file with the packages' checksums, as sha256sum writes it.
const sumsName = "SHA256SUMS"

// packageName is the name of a package; the parts are program, version,
// architecture and kind.
var packageName = regexp.MustCompile(`^(vitals-agent|vitals-relay)_([0-9A-Za-z][0-9A-Za-z.+~-]*)_([a-z0-9]+)\.(deb|rpm|tar\.gz)$`)

// index is what /packages/ answers.
type index struct {
	// Version is the newest of the agent; empty: there is none.
	Version  string `json:"version"`
	Packages []pack `json:"packages"`
}

// pack is one package.
type pack struct {
	Name    string `json:"name"`
	Program string `json:"program"`
	Arch    string `json:"arch"`
	Kind    string `json:"kind"`
	Version string `json:"version"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

// packages are the files of a directory that nodes may have.
type packages struct {
	directory string

	mu   sync.Mutex
	sums map[string]summed // of files without a checksum of their maker's
}

// summed is the checksum of a file as it was.
type summed struct {
	size    int64
	changed time.Time
	sum     string
}

// index looks at the directory. The newest packages are first. A directory that
// is not there has none.
func (p *packages) index() (index, error) {
	list := index{Packages: []pack{}}
	entries, err := os.ReadDir(p.directory)
	if errors.Is(err, fs.ErrNotExist) || p.directory == "" {
		return list, nil
	}
	if err != nil {
		return list, fmt.Errorf("look for packages: %w", err)
	}
	made, err := p.made()
	if err != nil {
		return list, err
	}
	for _, e := range entries {
		parts := packageName.FindStringSubmatch(e.Name())
		info, err := os.Stat(filepath.Join(p.directory, e.Name()))
		if parts == nil || err != nil || !info.Mode().IsRegular() {
			continue
		}
		one := pack{Name: e.Name(), Program: parts[1], Version: parts[2], Arch: parts[3], Kind: parts[4], Bytes: info.Size(), SHA256: made[e.Name()]}
		if one.SHA256 == "" {
			if one.SHA256, err = p.sum(e.Name(), info); err != nil {
				return list, err
			}
		}
		list.Packages = append(list.Packages, one)
	}
	slices.SortStableFunc(list.Packages, func(a, b pack) int {
		return cmp.Or(compareVersions(b.Version, a.Version), strings.Compare(a.Name, b.Name))
	})
	if i := slices.IndexFunc(list.Packages, func(o pack) bool { return o.Program == "vitals-agent" }); i >= 0 {
		list.Version = "v" + list.Packages[i].Version
	}
	return list, nil
}

// made are the checksums that came with the packages: a package that was damaged
// since does not get a new one.
func (p *packages) made() (map[string]string, error) {
	f, err := p.open(sumsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the packages' checksums: %w", err)
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, name, _ := strings.Cut(lines.Text(), " ")
		name = filepath.Base(strings.TrimLeft(name, " *"))
		if raw, err := hex.DecodeString(sum); err == nil && len(raw) == sha256.Size {
			sums[name] = strings.ToLower(sum)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the packages' checksums: %w", err)
	}
	return sums, nil
}

// open opens a file of the directory. What is none, such as a pipe, is an error
// rather than waited for.
func (p *packages) open(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(p.directory, name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sum is the checksum of a file, computed anew when the file has changed.
func (p *packages) sum(name string, info fs.FileInfo) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sums[name]; s.sum != "" && s.size == info.Size() && s.changed.Equal(info.ModTime()) {
		return s.sum, nil
	}
	f, err := p.open(name)
	if err != nil {
		return "", fmt.Errorf("read the package: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read the package: %w", err)
	}
	if p.sums == nil {
		p.sums = map[string]summed{}
	}
	s := summed{info.Size(), info.ModTime(), hex.EncodeToString(sum.Sum(nil))}
	p.sums[name] = s
	return s.sum, nil
}

// Version is that of the newest agent that machines get which join; empty: the
// relay has none for them.
func (h *Handler) Version() (string, error) {
	list, err := h.packages.index()
	return list.Version, err
}

// look is the index, or the answer that there is none.
func (h *Handler) look(w http.ResponseWriter) (index, bool) {
	list, err := h.packages.index()
	if err != nil {
		h.config.Logger.Error("the packages for nodes cannot be read", "error", err)
		refuse(w, http.StatusInternalServerError, "unavailable", "the relay cannot read its packages; its log says why")
	}
	return list, err == nil
}

func (h *Handler) serveIndex(w http.ResponseWriter, _ *http.Request) {
	if list, ok := h.look(w); ok {
		respond(w, http.StatusOK, list)
	}
}

func (h *Handler) serveSums(w http.ResponseWriter, _ *http.Request) {
	list, ok := h.look(w)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, one := range list.Packages {
		fmt.Fprintf(w, "%s  %s\n", one.SHA256, one.Name)
	}
}

// servePackage serves a file of the index.
func (h *Handler) servePackage(w http.ResponseWriter, r *http.Request) {
	list, ok := h.look(w)
	if !ok {
		return
	}
	name := r.PathValue("name")
	if !slices.ContainsFunc(list.Packages, func(o pack) bool { return o.Name == name }) {
		http.Error(w, "there is no such package; "+PackagesPath+" lists those that there are", http.StatusNotFound)
		return
	}
	f, err := h.packages.open(name)
	if err != nil {
		h.config.Logger.Error("a package cannot be read", "error", err)
		http.Error(w, "the package cannot be read; the relay's log says why", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, "the package cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(&patient{w, http.NewResponseController(w), h.config.Silence}, r, "", info.ModTime(), f)
}

// patient gives every part of an answer its time, so that a slow network gets a
// large one and a client that has gone to sleep does not hold it for ever.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	silence time.Duration
}

// Write implements http.ResponseWriter.
func (p *patient) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		_ = p.control.SetWriteDeadline(time.Now().Add(p.silence)) // where there is none, as in tests, nothing is waited for
		var done int
		done, err = p.ResponseWriter.Write(b[:min(len(b), 16<<10)])
		n, b = n+done, b[done:]
	}
	return n, err
}
