package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rpicluster/vitals/internal/nodefile"
)

// A store is where the secrets of one [[secretstores.*]] table are.
type store struct {
	what string // for messages
	get  func(key string) (string, error)
}

// storeTable holds the options of every kind of store. No kind takes all.
type storeTable struct {
	ID      string `toml:"id"`
	Path    string `toml:"path"`
	Prefix  string `toml:"prefix"`
	Dynamic bool   `toml:"dynamic"` // Telegraf's; a reload reads all of them anew
}

// storeKinds are the kinds there are, with the directory that each reads unless
// another is named; "" is for none.
var storeKinds = map[string]string{"docker": "/run/secrets", "environment": "", "files": "", "systemd": "$CREDENTIALS_DIRECTORY"}

var (
	storeID   = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	reference = regexp.MustCompile(`@\{([A-Za-z0-9_]+):([A-Za-z0-9_]+)\}`)
	// unreadable is what looks like a reference and is none.
	unreadable = regexp.MustCompile(`@\{[^{}]*:[^{}]*\}`)
)

// stores reads the [[secretstores.*]] tables.
func (l *loader) stores() map[string]store {
	sections, err := l.file.Plugins("secretstores")
	l.fail(err)
	all := map[string]store{}
	for _, s := range sections {
		s.Take("labels")
		fallback, known := storeKinds[s.Name]
		if !known {
			l.fail(s.Errorf("", "vitals-agent has no such secret store; it has %s", strings.Join(slices.Sorted(maps.Keys(storeKinds)), ", ")))
			continue
		}
		t := storeTable{Path: fallback}
		l.fail(s.Decode(&t))
		_, twice := all[t.ID]
		switch {
		case t.ID == "":
			l.fail(s.Errorf("id", "is missing; a secret is written @{ID:KEY}"))
		case !storeID.MatchString(t.ID):
			l.fail(s.Errorf("id", "is made of letters, digits and underscores"))
		case twice:
			l.fail(s.Errorf("id", "%q is the id of two secret stores", t.ID))
		case s.Name == "environment":
			all[t.ID] = environmentStore(t)
		default:
			all[t.ID] = l.directoryStore(s, t)
		}
	}
	return all
}

func environmentStore(t storeTable) store {
	return store{"the environment", func(key string) (string, error) {
		value, ok := os.LookupEnv(t.Prefix + key)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", t.Prefix+key)
		}
		return value, nil
	}}
}

// directoryStore is a directory in which each secret is a file, as systemd and
// container runtimes pass them on.
func (l *loader) directoryStore(s *nodefile.Section, t storeTable) store {
	if t.Path == "$CREDENTIALS_DIRECTORY" {
		t.Path = os.Getenv("CREDENTIALS_DIRECTORY")
		if t.Path == "" {
			l.fail(s.Errorf("", "$CREDENTIALS_DIRECTORY is not set; pass the secrets on with LoadCredential= in the unit, or name their directory with path"))
		}
	} else if t.Path == "" {
		l.fail(s.Errorf("path", "is missing; name the directory in which each secret is a file"))
	}
	return store{t.Path, func(key string) (string, error) {
		data, err := os.ReadFile(filepath.Join(t.Path, t.Prefix+key))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("there is no file %s", filepath.Join(t.Path, t.Prefix+key))
		}
		return strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r"), err
	}}
}

// fillIn replaces the references to secrets in the options of a table.
func (l *loader) fillIn(s *nodefile.Section) {
	s.Rewrite(func(key, text string) string {
		if !strings.Contains(text, "@{") {
			return text
		}
		for _, wrong := range unreadable.FindAllString(text, -1) {
			if !reference.MatchString(wrong) {
				l.warn(s.Errorf(key, "%s is left as written: store and key of a secret are made of letters, digits and underscores", wrong))
			}
		}
		return reference.ReplaceAllStringFunc(text, func(ref string) string {
			m := reference.FindStringSubmatch(ref)
			value, err := l.secret(m[1], m[2])
			if err != nil {
				l.fail(s.Errorf(key, "the secret %s cannot be had: %v", ref, err))
				return ref
			}
			l.secrets = append(l.secrets, value)
			return value
		})
	})
}

func (l *loader) secret(id, key string) (string, error) {
	s, ok := l.storesByID[id]
	if ok {
		return s.get(key)
	}
	ids := slices.Sorted(maps.Keys(l.storesByID))
	text := fmt.Sprintf("there is no secret store with the id %q", id)
	if near := nodefile.Nearest(id, ids); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	} else if len(ids) > 0 {
		text += "; there are " + strings.Join(ids, ", ")
	} else {
		text += "; add one, such as [[secretstores.docker]] with id = \"" + id + "\""
	}
	return "", errors.New(text)
}

// shortest is the length from which secrets are blotted out: shorter ones are
// part of too many words.
const shortest = 4

// Redactor replaces the secrets of a configuration, in each form in which they
// may be quoted, by asterisks.
func Redactor(secrets []string) *strings.Replacer {
	forms := map[string]bool{}
	for _, s := range secrets {
		if len(s) < shortest {
			continue
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			for range 3 { // an error that quotes a value is quoted itself, in a log or as JSON
				forms[form] = true
				js, _ := json.Marshal(form) // no string fails
				forms[string(js[1:len(js)-1])] = true
				form = strconv.Quote(form)
				form = form[1 : len(form)-1]
			}
		}
	}
	var pairs []string
	for _, form := range slices.SortedFunc(maps.Keys(forms), func(a, b string) int { return len(b) - len(a) }) {
		pairs = append(pairs, form, "***")
	}
	return strings.NewReplacer(pairs...)
}
