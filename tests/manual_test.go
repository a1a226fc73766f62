package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// helpOf is what a program says when it is asked for help, with that of each
// of its commands, and the commands and flags that it names.
func helpOf(t *testing.T, program string) (commands, flags []string) {
	t.Helper()
	ask := func(args ...string) string {
		out, err := exec.Command(filepath.Join(root, "bin", program), append(args, "--help")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v --help: %v\n%s", program, args, err, out)
		}
		return string(out)
	}
	text := ask()
	_, list, found := strings.Cut(text, "\nCommands:\n")
	if !found {
		_, list, _ = strings.Cut(text, "\nUsage:\n")
	}
	list, _, _ = strings.Cut(list, "\n\n")
	// The words of a command are in small letters, what follows it is not.
	words := regexp.MustCompile(`(?m)^  (?:` + program + ` )?([a-z]+(?: [a-z]+)?)(?:$| [\[A-Z-]|  )`)
	for _, m := range words.FindAllStringSubmatch(list, -1) {
		commands = append(commands, m[1])
		text += ask(strings.Fields(m[1])...)
	}
	for _, m := range regexp.MustCompile(`(?:^|[\s\[])--([a-z][a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(flags, m[1]) && m[1] != "data-binary" { // curl's
			flags = append(flags, m[1])
		}
	}
	if len(commands) < 10 || len(flags) < 5 {
		t.Fatalf("%s: only these commands and flags: %v %v", program, commands, flags)
	}
	return commands, flags
}

func TestManPagesNameEveryCommandAndFlag(t *testing.T) {
	for _, program := range []string{"vitals-agent", "vitals-relay"} {
		commands, flags := helpOf(t, program)
		page := filepath.Join(root, "deploy/man", program+".1")
		plain, err := exec.Command("groff", "-man", "-Tascii", "-P-cbou", page).Output()
		if err != nil {
			t.Fatalf("groff: %v", err)
		}
		text := strings.Join(strings.Fields(string(plain)), " ")
		for _, c := range commands {
			if !strings.Contains(text, " "+c+" ") {
				t.Errorf("%s does not name the command %s", page, c)
			}
		}
		for _, f := range flags {
			if !regexp.MustCompile(`--` + f + `\b`).MatchString(text) {
				t.Errorf("%s does not name the flag --%s", page, f)
			}
		}
	}
}

func TestManPagesAreSoundRoff(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "deploy/man/*.[15]"))
	if err != nil || len(pages) != 3 {
		t.Fatalf("%v: %v", pages, err)
	}
	for _, page := range pages {
		if out, err := exec.Command("groff", "-man", "-ww", "-z", "-Tutf8", page).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
}

// completed is what a shell offers where the last of words is being typed.
type completed func(t *testing.T, program string, words ...string) []string

func bashOffers(t *testing.T, program string, words ...string) []string {
	t.Helper()
	script := fmt.Sprintf(`. %s/deploy/completion/bash/%s
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _%s; printf '%%s\n' "${COMPREPLY[@]}"`,
		root, program, strings.ReplaceAll(program, "-", "_"))
	return offers(t, exec.Command("bash", append([]string{"--norc", "-c", script, "bash", program}, words...)...))
}

func fishOffers(t *testing.T, program string, words ...string) []string {
	t.Helper()
	script := fmt.Sprintf("source %s/deploy/completion/fish/%s.fish; complete -C %q", root, program, program+" "+strings.Join(words, " "))
	cmd := exec.Command("fish", "--no-config", "-c", script)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	return offers(t, cmd)
}

// zshOffers stands in for the functions of zsh that show what may follow.
func zshOffers(t *testing.T, program string, words ...string) []string {
	t.Helper()
	script := fmt.Sprintf(`_describe() { [[ $1 == -o ]] && shift; print -rl -- "${(@P)2%%%%:*}" }
_files() { print -rl -- *(N) }
_message() { : }
compadd() { print -rl -- "$@" }
words=("$@"); CURRENT=$#; PREFIX=$words[CURRENT]
complete_it() { . %s/deploy/completion/zsh/_%s }
complete_it`, root, program)
	return offers(t, exec.Command("zsh", append([]string{"-f", "-c", script, "zsh", program}, words...)...))
}

// offers are the words that a shell has printed, without what they are for.
func offers(t *testing.T, cmd *exec.Cmd) (words []string) {
	t.Helper()
	cmd.Dir = filepath.Join(root, "deploy", "grafana")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if _, ended := err.(*exec.ExitError); stderr.Len() > 0 || err != nil && !ended {
		t.Fatalf("%s: %v\n%s", cmd.Args[0], err, stderr.String())
	}
	for line := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		words = append(words, word)
	}
	return words
}

func TestShellsCompleteEveryCommandAndFlag(t *testing.T) {
	shells := map[string]completed{"bash": bashOffers, "zsh": zshOffers, "fish": fishOffers}
	for shell, offered := range shells {
		for _, program := range []string{"vitals-agent", "vitals-relay"} {
			t.Run(shell+"/"+program, func(t *testing.T) {
				t.Parallel()
				commands, flags := helpOf(t, program)
				first := offered(t, program, "")
				var seen []string
				seen = append(seen, offered(t, program, "--")...)
				for _, c := range commands {
					words := strings.Fields(c)
					if !slices.Contains(first, words[0]) {
						t.Errorf("%s is not offered: %q", words[0], first)
					}
					if second := offered(t, program, words[0], ""); len(words) > 1 && !slices.Contains(second, words[1]) {
						t.Errorf("%s is not offered after %s: %q", words[1], words[0], second)
					}
					seen = append(seen, offered(t, program, append(words, "--")...)...)
				}
				for _, f := range flags {
					if !slices.Contains(seen, "--"+f) {
						t.Errorf("--%s is offered nowhere", f)
					}
				}
			})
		}
	}
}

func TestShellsKnowWhatFollows(t *testing.T) {
	for shell, offered := range map[string]completed{"bash": bashOffers, "zsh": zshOffers, "fish": fishOffers} {
		t.Run(shell, func(t *testing.T) {
			f := func(program, typed, want string) {
				t.Helper()
				if got := offered(t, program, strings.Split(typed, " ")...); !slices.Contains(got, want) {
					t.Errorf("%s %s: %q is not among %q", program, typed, want, got)
				}
			}
			f("vitals-agent", "--config ", "fleet.json")
			f("vitals-agent", "--config node.toml plugins ", "check")
			f("vitals-agent", "plugins check ", "fleet.json")
			f("vitals-agent", "--watch-config ", "poll")
			f("vitals-relay", "token create --role ", "admin")
			f("vitals-relay", "--log-level debug alerts ", "silence")
			f("vitals-relay", "nodes ", "show")
			f("vitals-relay", "nodes --", "--watch")
			if got := offered(t, "vitals-relay", "token", "create", "--role", "read", "--"); !slices.Contains(got, "--node") {
				t.Errorf("no flags after a value: %q", got)
			}
			if got := offered(t, "vitals-relay", "status", "--"); slices.Contains(got, "--node") {
				t.Errorf("status is offered a flag of token create: %q", got)
			}
		})
	}
}
