package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/rpicluster/vitals/agent/collect"
	"github.com/rpicluster/vitals/agent/config"
	"github.com/rpicluster/vitals/agent/trust"
)

const listHelp = `Lists every collector that is built in and every file in the plugin directories:
where it is from, whether the agent may run it and, if not, why and which command
mends that; the inputs that use it, and how they are doing if an agent runs here.

  --config FILE    the node file; without it that of the agent that runs
  --json           the same and more, for programs
`

// pluginList is every collector that there is.
type pluginList struct {
	AgentRuns bool `json:"agent_runs"`
	// Unasked says why there are no states.
	Unasked string `json:"not_asked,omitempty"`
	// Unread says why the node file could not be read, whose rules may differ
	// from the defaults that are shown.
	Unread     string            `json:"not_read,omitempty"`
	Collectors []listedCollector `json:"collectors"`
}

// listedCollector is one that is built in, or the file of a drop-in.
type listedCollector struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	BuiltIn bool     `json:"built_in"`
	Path    string   `json:"path,omitempty"`
	SHA256  string   `json:"sha256,omitempty"`
	// Usable says whether the agent uses it for [[inputs.NAME]]; if not, Reason
	// says why and Remedy, if there is one, what to run.
	Usable bool          `json:"usable"`
	Reason string        `json:"reason,omitempty"`
	Remedy string        `json:"remedy,omitempty"`
	Inputs []listedInput `json:"inputs"`
}

// listedInput is an input that uses a collector.
type listedInput struct {
	ID    string `json:"id"`
	State string `json:"state,omitempty"` // empty: no agent runs
	PID   int    `json:"pid,omitempty"`
}

// listPlugins prints what collectors there are.
func listPlugins(ctx context.Context, f *flags, stdout, _ io.Writer) error {
	running, asked := askStatus(ctx)
	if asked == nil && f.sources.Empty() {
		f.sources = running.Sources
	}
	rules, inputs, err := listSources(f)
	if err != nil && !f.sources.Empty() {
		return err
	}
	l := pluginList{AgentRuns: asked == nil, Collectors: append(listBuiltIn(), listDropIns(rules)...)}
	if err != nil {
		l.Unread = err.Error()
	}
	if l.AgentRuns {
		inputs = running.Inputs
	} else {
		l.Unasked = asked.Error()
	}
	l.use(inputs)
	if f.json {
		return writeJSON(stdout, l)
	}
	return l.print(stdout)
}

// listSources reads the node file: where drop-ins are, and which inputs there
// would be.
func listSources(f *flags) (trust.Rules, []collect.Status, error) {
	agent, err := agentTable(f)
	var inputs []collect.Status
	if c, _ := config.Read(config.Find(f.sources), config.Options{Builtins: ownCollectors(), NoOutputs: true}); c != nil {
		for _, in := range c.Inputs {
			inputs = append(inputs, collect.Status{ID: in.ID, Name: in.Name})
		}
	}
	return agent.Trust, inputs, err
}

func listBuiltIn() []listedCollector {
	var all []listedCollector
	for _, d := range ownCollectors() {
		all = append(all, listedCollector{Name: d.Name, Aliases: d.Aliases, BuiltIn: true, Usable: true})
	}
	slices.SortFunc(all, func(a, b listedCollector) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func listDropIns(rules trust.Rules) []listedCollector {
	var all []listedCollector
	for _, found := range rules.List() {
		l := listedCollector{Name: found.Name, Path: found.Path, SHA256: found.SHA256, Usable: true}
		_, builtIn := builtinCollector(found.Name)
		switch {
		case found.Err != nil:
			l.Usable, l.Reason = false, found.Err.Error()
			if refusal, ok := errors.AsType[*trust.Refusal](found.Err); ok {
				l.Remedy = refusal.Remedy
				l.Reason = strings.TrimSuffix(l.Reason, "; run: "+l.Remedy)
			}
		case builtIn:
			l.Usable, l.Reason = false, "the built-in collector of this name is used"
		case found.Shadowed != "":
			l.Usable, l.Reason = false, found.Shadowed+" is used"
		}
		all = append(all, l)
	}
	return all
}

// use adds to each collector the inputs that use it, or would if it may be run.
func (l *pluginList) use(inputs []collect.Status) {
	for i := range l.Collectors {
		l.Collectors[i].Inputs = []listedInput{}
	}
	for _, in := range inputs {
		// What is built in comes first, and then the directories in their order.
		i := slices.IndexFunc(l.Collectors, func(c listedCollector) bool {
			return c.Name == in.Name || slices.Contains(c.Aliases, in.Name)
		})
		if i >= 0 {
			c := &l.Collectors[i]
			c.Inputs = append(c.Inputs, listedInput{ID: in.ID, State: in.State, PID: in.PID})
		}
	}
}

func (l *pluginList) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "COLLECTOR\tMAY RUN\tINPUT\tSTATE\tPROCESS\tFROM")
	for _, c := range l.Collectors {
		for _, row := range c.rows() {
			fmt.Fprintln(t, strings.Join(row, "\t"))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, l.remarks())
	return err
}

// rows are those of the table: one for each input, and one if there is none.
func (c *listedCollector) rows() [][]string {
	name := shown(strings.Join(append([]string{c.Name}, c.Aliases...), ", "))
	may, from := "yes", shown(cmp.Or(c.Path, "built in"))
	if !c.Usable {
		may = "no"
	}
	rows := make([][]string, 0, len(c.Inputs))
	for _, in := range c.Inputs {
		process := "-"
		if in.PID > 0 {
			process = fmt.Sprint(in.PID)
		}
		rows = append(rows, []string{name, may, in.ID, cmp.Or(in.State, "-"), process, from})
	}
	if len(rows) == 0 {
		rows = append(rows, []string{name, may, "-", "-", "-", from})
	}
	return rows
}

// remarks are what does not fit into a table.
func (l *pluginList) remarks() string {
	var b strings.Builder
	for _, c := range l.Collectors {
		if c.Reason != "" {
			fmt.Fprintf(&b, "\n%s is not used: %s\n", shown(c.Path), shown(strings.TrimPrefix(c.Reason, c.Path+" ")))
		}
		if c.Remedy != "" {
			fmt.Fprintf(&b, "  to mend that: %s\n", shown(c.Remedy))
		}
	}
	if l.Unread != "" {
		fmt.Fprintf(&b, "\nThis goes by the defaults of plugin_directory and plugin_policy, which are not those of the agent if its node file says otherwise: %s\n", shown(l.Unread))
	}
	if !l.AgentRuns {
		fmt.Fprintf(&b, "\nThere are no states: %s\n", l.Unasked)
	}
	return b.String()
}

// shown is text that others may have chosen, such as a file's name, fit for a
// terminal and for one line: what moves the cursor is written as Go writes it.
func shown(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// shownWriter writes text of which others may have chosen a part.
type shownWriter struct{ to io.Writer }

// Write writes p fit for a terminal.
func (w shownWriter) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.to, shownLines(string(p)))
	return len(p), err
}

// shownJSON is JSON fit for a terminal: of what moves the cursor it escapes by
// itself no more than it has to.
func shownJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r >= 0x7f && r < 0xa0 {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// shownLines is shown of each line.
func shownLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = shown(lines[i])
	}
	return strings.Join(lines, "\n")
}
