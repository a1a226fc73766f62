// Deploy reads what is in the repository's deploy/ as those programs do for
// which it is written, and prints it as JSON: a Dockerfile as BuildKit does, and
// Kubernetes' files as its API server does, which knows no other fields.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: deploy dockerfile|kubernetes FILE")
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var all any
	switch args[0] {
	case "dockerfile":
		all, err = dockerfile(text)
	case "kubernetes":
		all, err = kubernetes(text)
	default:
		err = fmt.Errorf("%s: what is that?", args[0])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", args[1], err)
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

type stage struct {
	Name, Base string
	Commands   []map[string]any
}

// dockerfile returns the stages of a Dockerfile of which BuildKit's linter has
// nothing to say.
func dockerfile(text []byte) (stages []stage, err error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var warnings []error
	for _, w := range parsed.Warnings {
		warnings = append(warnings, errors.New(w.Short))
	}
	lint := linter.New(&linter.Config{Warn: func(name, _, _, msg string, at []parser.Range) {
		warnings = append(warnings, fmt.Errorf("%v: %s: %s", at, name, msg))
	}})
	all, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		out := stage{Name: s.Name, Base: s.BaseName}
		for _, c := range s.Commands {
			fields := map[string]any{}
			data, err := json.Marshal(c)
			if err == nil {
				err = json.Unmarshal(data, &fields)
			}
			if err != nil {
				return nil, err
			}
			fields["Name"] = c.Name()
			out.Commands = append(out.Commands, fields)
		}
		stages = append(stages, out)
	}
	return stages, errors.Join(warnings...)
}

// kubernetes returns the objects of a file, each decoded as what it says to be.
func kubernetes(text []byte) (objects []any, err error) {
	for d := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := d.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		var kind struct{ APIVersion, Kind string }
		if err := strict.Unmarshal(document, &kind); err != nil {
			return nil, err
		}
		object, known := map[string]any{
			"apps/v1 DaemonSet": &appsv1.DaemonSet{}, "apps/v1 StatefulSet": &appsv1.StatefulSet{},
			"v1 Service": &corev1.Service{}, "v1 ConfigMap": &corev1.ConfigMap{}, "v1 Secret": &corev1.Secret{},
			"v1 Namespace": &corev1.Namespace{},
		}[kind.APIVersion+" "+kind.Kind]
		if !known {
			return nil, fmt.Errorf("no type for %s %s", kind.APIVersion, kind.Kind)
		}
		if err := strict.UnmarshalStrict(document, object); err != nil {
			return nil, fmt.Errorf("%s: %w", kind.Kind, err)
		}
		objects = append(objects, object)
	}
}
