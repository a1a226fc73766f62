package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// deployReader builds the program of tests/deploy, from its own module.
var deployReader = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(root, "bin", "deploy-reader")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = filepath.Join(root, "tests", "deploy")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build in tests/deploy: %w\n%s", err, out)
	}
	return path, nil
})

// readDeploy decodes a file below deploy/ as those programs read it for which
// it is written.
func readDeploy(t *testing.T, kind, file string, v any) {
	t.Helper()
	reader, err := deployReader()
	if err != nil {
		t.Fatal(err)
	}
	var complaint bytes.Buffer
	cmd := exec.Command(reader, kind, filepath.Join(root, "deploy", file))
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", file, err, complaint.String())
	}
}

// image is what a stage of the Dockerfile promises.
type image struct {
	copies      map[string]string // what is copied, by where it is
	env         map[string]string
	user        string
	directories map[string]bool // made by WORKDIR; true: they are the user's
	volumes     []string
	ports       []string
	health      []string
	entrypoint  []string
}

func readImages(t *testing.T) map[string]*image {
	t.Helper()
	var stages []struct {
		Name, Base string
		Commands   []struct {
			Name           string
			SourcePaths    []string
			DestPath       string
			Env            []struct{ Key, Value string }
			User, Path     string
			Volumes, Ports []string
			Health         struct{ Test []string }
			CmdLine        []string
			PrependShell   bool
			Chown, Chmod   string
		}
	}
	readDeploy(t, "dockerfile", "docker/Dockerfile", &stages)
	images := map[string]*image{}
	for _, s := range stages {
		if s.Base != "scratch" {
			t.Errorf("%s is made from %s", s.Name, s.Base)
		}
		im := &image{copies: map[string]string{}, env: map[string]string{}, directories: map[string]bool{}}
		for _, c := range s.Commands {
			switch c.Name {
			case "ARG":
			case "COPY":
				im.copies[c.DestPath] = c.SourcePaths[0]
			case "ENV":
				for _, e := range c.Env {
					im.env[e.Key] = e.Value
				}
			case "USER":
				im.user = c.User
			case "WORKDIR":
				im.directories[c.Path] = im.user != ""
			case "VOLUME":
				im.volumes = append(im.volumes, c.Volumes...)
			case "EXPOSE":
				im.ports = append(im.ports, c.Ports...)
			case "HEALTHCHECK":
				im.health = c.Health.Test
			case "ENTRYPOINT":
				im.entrypoint = c.CmdLine
				if c.PrependShell {
					t.Errorf("%s needs a shell", s.Name)
				}
			default:
				t.Fatalf("%s: this test does not know %s", s.Name, c.Name)
			}
		}
		images[s.Name] = im
	}
	return images
}

func TestDockerfileTakesWhatMakeDistLeaves(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, "deploy/docker/Dockerfile.dockerignore"))
	if err != nil || !strings.HasPrefix(string(ignored), "*\n") {
		t.Fatalf("%v\n%s", err, ignored)
	}
	for name, im := range readImages(t) {
		for _, platform := range [][2]string{{"amd64", ""}, {"arm64", ""}, {"arm", "v6"}} {
			for at, from := range im.copies {
				from = strings.NewReplacer("${TARGETARCH}", platform[0], "${TARGETVARIANT}", platform[1]).Replace(from)
				if target, isProgram := strings.CutPrefix(from, "dist/linux-"); isProgram {
					if target != platform[0]+platform[1]+"/vitals-"+name || at != "/usr/bin/vitals-"+name {
						t.Errorf("%s is copied to %s", from, at)
					}
					if !strings.Contains(string(makefile), platform[0]+platform[1]) {
						t.Errorf("make dist does not make %s", from)
					}
				} else if _, err := os.Stat(filepath.Join(root, from)); err != nil {
					t.Error(err)
				}
				if !slices.ContainsFunc(strings.Split(string(ignored), "\n"), func(line string) bool {
					pattern, kept := strings.CutPrefix(line, "!")
					match, _ := filepath.Match(pattern, from)
					return kept && match
				}) {
					t.Errorf("Dockerfile.dockerignore leaves out %s", from)
				}
			}
		}
	}
}

// imageRun is a program in what its image has, and nothing else.
type imageRun struct {
	m     *machine
	name  string
	image *image
	dir   string // its root
	env   []string
	p     *process
}

// contain makes the tree of an image, with the mount points that a run of it
// gets. What of the image is on the disk belongs to root, as in the real one.
func (m *machine) contain(name string, im *image, env ...string) *imageRun {
	c := &imageRun{m: m, name: name, image: im, dir: m.path(name), env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	for _, dir := range []string{"proc", "sys", "dev", "etc", "host", "run/secrets"} {
		m.must("mkdir", "-p", filepath.Join(c.dir, dir))
	}
	for at, from := range im.copies {
		if strings.HasPrefix(from, "dist/") {
			from = "bin/" + filepath.Base(from)
		}
		m.must("install", "-D", "-m", fmt.Sprintf("%o", m.mode(filepath.Join(root, from))), filepath.Join(root, from), filepath.Join(c.dir, at))
	}
	for at, own := range im.directories {
		m.must("mkdir", "-p", filepath.Join(c.dir, at))
		if own {
			m.must("chown", im.user, filepath.Join(c.dir, at))
		}
	}
	for key, value := range im.env {
		c.env = append(c.env, key+"="+value)
	}
	for _, v := range im.volumes {
		// A new volume has what the image has there, and its owner.
		m.must("cp", "-a", filepath.Join(c.dir, v), m.path(name+"-volume"))
	}
	m.file(name+"-token", "")
	c.env = append(c.env, env...)
	return c
}

func (m *machine) mode(path string) fs.FileMode {
	info, err := os.Stat(path)
	if err != nil {
		m.t.Fatal(err)
	}
	return info.Mode().Perm()
}

// start is docker run --read-only --cap-drop ALL --security-opt no-new-privileges
// -v /:/host:ro --tmpfs /run/vitals, in a network that is with's or a new one.
func (c *imageRun) start(with *imageRun) {
	name := c.m.file("hostname", "pi-7\n")
	user, group, _ := strings.Cut(c.image.user, ":")
	c.m.must("chmod", "644", name)
	script := fmt.Sprintf(`set -e
hostname 0123456789ab
mount --make-rprivate /
mount --bind %[1]s %[1]s
mount --rbind / %[1]s/host
mount --bind %[2]s %[1]s/host/etc/hostname
mount -o remount,bind,ro %[1]s/host
mount -t proc proc %[1]s/proc
mount -t sysfs -o ro sys %[1]s/sys
mount -t tmpfs dev %[1]s/dev
touch %[1]s/dev/null
mount --bind /dev/null %[1]s/dev/null
mount -t tmpfs -o mode=0700,uid=%[4]s,gid=%[5]s run %[1]s/run/vitals
mount --bind %[1]s-volume %[1]s%[3]s
touch %[1]s/run/secrets/vitals_token
mount --bind %[1]s-token %[1]s/run/secrets/vitals_token
mount -o remount,bind,ro %[1]s
ip link set lo up
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid env -i "$@"`, c.dir, name, c.image.volumes[0], user, group)
	args := slices.Concat([]string{"unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child=TERM"}, []string{"sh", "-c", script, "sh"}, c.env,
		[]string{"chroot", "--userspec=" + c.image.user, "--groups=", c.dir}, c.image.entrypoint)
	network := []string{"unshare", "--net"}
	if with != nil {
		network = []string{"nsenter", "--net=/proc/" + with.pid() + "/ns/net"}
	}
	args = append(network, args...)
	c.p = c.m.start(args[0], args[1:]...)
}

// pid is of the first process in the container, as the host sees it.
func (c *imageRun) pid() string {
	c.m.t.Helper()
	var child string
	eventually(c.m.t, 30*time.Second, func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", c.p.cmd.Process.Pid))
		if child = strings.TrimSpace(string(text)); err != nil || child == "" {
			return c.name + " has not begun"
		}
		if exe, _ := os.Readlink("/proc/" + child + "/exe"); exe != c.dir+c.image.entrypoint[0] && exe != c.image.entrypoint[0] {
			return c.name + " is not up: " + exe
		}
		return ""
	})
	return child
}

// exec is docker exec.
func (c *imageRun) exec(args ...string) (stdout string, code int) {
	c.m.t.Helper()
	user, group, _ := strings.Cut(c.image.user, ":")
	all := slices.Concat([]string{"--target", c.pid(), "--mount", "--uts", "--pid", "--net", "--root", "--setuid", user, "--setgid", group, "--"}, args)
	cmd := c.m.command("nsenter", all...)
	cmd.Env = c.env
	stdout, stderr, code := run(c.m.t, cmd)
	if code != 0 {
		stdout += stderr
	}
	return stdout, code
}

// healthy waits until the health check of the image says so.
func (c *imageRun) healthy() {
	c.m.t.Helper()
	eventually(c.m.t, 60*time.Second, func() string {
		if out, code := c.exec(c.image.health[1:]...); code != 0 {
			return c.name + ": " + out
		}
		return ""
	})
}

// stop is docker stop.
func (c *imageRun) stop() {
	c.m.t.Helper()
	pid, err := strconv.Atoi(c.pid())
	if err != nil {
		c.m.t.Fatal(err)
	}
	c.m.must("kill", "-TERM", strconv.Itoa(pid))
	select {
	case <-c.p.done:
	case <-time.After(60 * time.Second):
		c.m.t.Fatalf("%s does not end", c.name)
	}
	if code := c.p.cmd.ProcessState.ExitCode(); code != 0 {
		c.m.t.Errorf("%s ended with exit code %d", c.name, code)
	}
}
