package tests

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// workload is what the test looks at of a DaemonSet, a StatefulSet or a Service.
type workload struct {
	Kind     string
	Metadata struct{ Name, Namespace string }
	Spec     struct {
		ServiceName string
		Selector    map[string]any
		Ports       []struct {
			Port       int
			TargetPort any
		}
		Template struct {
			Metadata struct{ Labels map[string]any }
			Spec     struct {
				Containers []pod
				Volumes    []volume
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } }
	}
}

type volume struct {
	Name   string
	Secret *struct {
		SecretName string
		Items      []struct{ Key, Path string }
	}
}

type pod struct {
	Name, Image string
	Command     []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct{ SecretKeyRef struct{ Name, Key string } }
	}
	Ports []struct {
		Name          string
		ContainerPort int
	}
	ReadinessProbe  struct{ HTTPGet struct{ Path, Scheme string } }
	LivenessProbe   struct{ Exec struct{ Command []string } }
	VolumeMounts    []struct{ Name, MountPath string }
	SecurityContext struct{ ReadOnlyRootFilesystem bool }
	Resources       struct{ Requests, Limits map[string]string }
}

// variables are those that a node file takes from the environment.
func variables(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)(:-[^}]*)?\}`).FindAllStringSubmatch(string(text), -1) {
		all[m[1]] = all[m[1]] || m[2] == ""
	}
	return all
}

func TestKubernetesRunsTheImages(t *testing.T) {
	images := readImages(t)
	var relay, agent []workload
	readDeploy(t, "kubernetes", "kubernetes/relay.yaml", &relay)
	readDeploy(t, "kubernetes", "kubernetes/agent.yaml", &agent)
	if len(relay) != 3 || len(agent) != 1 {
		t.Fatalf("%d and %d objects", len(relay), len(agent))
	}
	namespace, service, set, daemons := relay[0], relay[1], relay[2], agent[0]
	for _, w := range []workload{service, set, daemons} {
		if w.Metadata.Namespace != namespace.Metadata.Name {
			t.Errorf("%s is in %q", w.Kind, w.Metadata.Namespace)
		}
	}
	if set.Spec.ServiceName != service.Metadata.Name || !maps.Equal(service.Spec.Selector, set.Spec.Template.Metadata.Labels) {
		t.Errorf("the service %q selects %v, and the relay of %q is %v", service.Metadata.Name, service.Spec.Selector, set.Spec.ServiceName, set.Spec.Template.Metadata.Labels)
	}
	r, a := set.Spec.Template.Spec.Containers[0], daemons.Spec.Template.Spec.Containers[0]
	f := func(name string, p pod, w workload) {
		t.Helper()
		im := images[strings.TrimPrefix(name, "vitals-")]
		if p.Name != name || p.Image != name+":latest" || len(p.Command) > 0 || !p.SecurityContext.ReadOnlyRootFilesystem {
			t.Errorf("%s is %+v", name, p)
		}
		if !slices.Equal(p.LivenessProbe.Exec.Command, im.health[1:]) {
			t.Errorf("%s lives if %q, in the image %q", name, p.LivenessProbe.Exec.Command, im.health)
		}
		mounted := map[string]bool{}
		for _, v := range p.VolumeMounts {
			mounted[v.MountPath] = true
			if !slices.ContainsFunc(w.Spec.Template.Spec.Volumes, func(own volume) bool { return own.Name == v.Name }) && !(len(w.Spec.VolumeClaimTemplates) == 1 && w.Spec.VolumeClaimTemplates[0].Metadata.Name == v.Name) {
				t.Errorf("%s mounts %s, which there is not", name, v.Name)
			}
		}
		for _, where := range append([]string{im.env["RUNTIME_DIRECTORY"]}, im.volumes...) {
			if !mounted[where] {
				t.Errorf("%s: nothing is mounted at %s", name, where)
			}
		}
		wanted := variables(t, im.copies["/etc/vitals/node.toml"])
		for _, e := range p.Env {
			if _, known := wanted[e.Name]; !known {
				t.Errorf("%s: its node file does not look at %s", name, e.Name)
			}
			delete(wanted, e.Name)
		}
		if slices.Contains(slices.Collect(maps.Values(wanted)), true) {
			t.Errorf("%s: its node file needs %v", name, wanted)
		}
		if p.Resources.Requests["memory"] == "" || p.Resources.Limits["memory"] == "" {
			t.Errorf("%s may take what it wants: %+v", name, p.Resources)
		}
	}
	f("vitals-relay", r, set)
	f("vitals-agent", a, daemons)
	if images["relay"].ports[0] != "8186" || r.Ports[0].ContainerPort != 8186 || service.Spec.Ports[0].Port != 8186 || service.Spec.Ports[0].TargetPort != r.Ports[0].Name {
		t.Errorf("ports %v, %+v, %+v", images["relay"].ports, r.Ports, service.Spec.Ports)
	}
	if g := r.ReadinessProbe.HTTPGet; g.Path != "/ready" || g.Scheme != "HTTPS" {
		t.Errorf("it is ready when %+v", g)
	}
	if want := "https://" + service.Metadata.Name + "." + namespace.Metadata.Name + ".svc:8186"; a.Env[0].Value != want {
		t.Errorf("agents write to %s, and the relay is %s", a.Env[0].Value, want)
	}
	requireSecret(t, daemons, a)
}

// requireSecret looks whether what kubectl makes by the comment in agent.yaml is
// what the pod asks for, and the token is where the node file looks for it.
func requireSecret(t *testing.T, w workload, p pod) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy/kubernetes/agent.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(w.Spec.Template.Spec.Volumes, func(v volume) bool { return v.Secret != nil })
	secret := w.Spec.Template.Spec.Volumes[i]
	where := ""
	for _, v := range p.VolumeMounts {
		if v.Name == secret.Name {
			where = filepath.Join(v.MountPath, secret.Secret.Items[0].Path)
		}
	}
	node, err := os.ReadFile(filepath.Join(root, "deploy/docker/agent.toml"))
	if err != nil || where != "/run/secrets/vitals_token" || !strings.Contains(string(node), "@{docker:vitals_token}") {
		t.Errorf("the token is in %s: %v", where, err)
	}
	command := "create secret generic " + secret.Secret.SecretName
	for _, key := range []string{p.Env[1].ValueFrom.SecretKeyRef.Key, secret.Secret.Items[0].Key} {
		if !regexp.MustCompile(`--from-(literal|file)=` + key + `=`).Match(text) {
			t.Errorf("no key %s is made", key)
		}
	}
	if !strings.Contains(string(text), command) || p.Env[1].ValueFrom.SecretKeyRef.Name != secret.Secret.SecretName {
		t.Errorf("no secret %s is made", secret.Secret.SecretName)
	}
}

// TestOperatingRunsTheImages compares the commands for Docker that are to be
// pasted with what the images have.
func TestOperatingRunsTheImages(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`docker run (?:.*\\\n)+.*`).FindAllString(string(text), -1)
	if len(commands) != 2 {
		t.Fatalf("%d commands", len(commands))
	}
	images := readImages(t)
	for _, command := range commands {
		words := strings.Fields(strings.ReplaceAll(command, "\\\n", " "))
		im := images[strings.TrimPrefix(words[len(words)-1], "vitals-")]
		wanted := variables(t, im.copies["/etc/vitals/node.toml"])
		places := append([]string{im.env["RUNTIME_DIRECTORY"], "/host", "/run/secrets/vitals_token"}, im.volumes...)
		for i, word := range words[:len(words)-1] {
			next := words[i+1]
			switch word {
			case "-v":
				if at := strings.Split(next, ":")[1]; !slices.Contains(places, at) {
					t.Errorf("%s is mounted", at)
				}
			case "--tmpfs":
				if own := strings.ReplaceAll(im.user, ":", ",gid="); next != im.env["RUNTIME_DIRECTORY"]+":mode=0700,uid="+own {
					t.Errorf("--tmpfs %s, and the user is %s", next, im.user)
				}
			case "-e":
				name, _, _ := strings.Cut(next, "=")
				if _, known := wanted[name]; !known {
					t.Errorf("-e %s: the node file does not look at it", name)
				}
				delete(wanted, name)
			}
		}
		if slices.Contains(slices.Collect(maps.Values(wanted)), true) || !strings.Contains(command, "-v "+words[len(words)-1]+":"+im.volumes[0]) {
			t.Errorf("missing: %v, or the volume\n%s", wanted, command)
		}
	}
	for key, value := range images["agent"].env {
		if strings.HasPrefix(key, "HOST_") && (!strings.Contains(string(text), "`"+key+"`") || !strings.HasPrefix(value, "/host")) {
			t.Errorf("%s=%s is not told of", key, value)
		}
	}
}
