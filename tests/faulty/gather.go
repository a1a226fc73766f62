package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rpicluster/vitals/plugins/proto"
)

// gatherWrongly answers, if at all, with the line of an honest reply among
// others, so that it can be seen whether that has arrived.
func (f *faulty) gatherWrongly(word string, reply *proto.GatherReply) (*proto.GatherReply, error) {
	switch word {
	case "exit", "silent", "panic", "kill", "grandchild", "daemon", "leak":
		f.die(word)
	case "freeze", "loop", "fifo", "hang":
		f.hang(word)
	case "overrun":
		time.Sleep(2300 * time.Millisecond) // and the agent asks every 2 s
	case "skip":
		reply.Lines = nil
	case "child", "faraway":
		f.bear(word == "faraway")
	default:
		return f.answerWrongly(word, reply)
	}
	return reply, nil
}

// die ends the process, and leaves what it has started.
func (f *faulty) die(word string) {
	switch word {
	case "exit":
		os.Exit(3)
	case "silent":
		os.Exit(0)
	case "panic":
		go func() { panic("a collector's goroutine") }()
		select {}
	case "leak":
		for range 1 << 10 { // until the limit of its memory ends it
			f.kept = append(f.kept, bytes.Repeat([]byte{1}, 1<<20))
		}
	case "grandchild", "daemon":
		f.bear(word == "daemon")
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
}

// bear starts a process that holds the pipes of this one, and outlives it; far
// away is one in a session of its own.
func (f *faulty) bear(faraway bool) {
	child := exec.Command("sleep", "600")
	child.Stdout, child.Stderr = f.stdout, f.stderr
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: faraway}
	if err := child.Start(); err != nil {
		f.note("childless")
	}
}

// hang keeps the caller waiting, each way differently hard to end.
func (f *faulty) hang(word string) {
	switch word {
	case "freeze":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "loop":
		for n := 0; ; n++ {
			if n < 0 {
				return
			}
		}
	case "fifo": // as a device that never answers
		path := filepath.Join(f.dir, "fifo")
		_ = syscall.Mkfifo(path, 0o600)
		_, _ = os.ReadFile(path)
	}
	select {}
}

// answerWrongly answers what nobody can use.
func (f *faulty) answerWrongly(word string, reply *proto.GatherReply) (*proto.GatherReply, error) {
	good := string(reply.Lines)
	wrong := func(s string) (*proto.GatherReply, error) {
		reply.Lines = []byte(good + "no fields\n" + s + "\n")
		return reply, nil
	}
	switch word {
	case "huge":
		reply.Lines = append(reply.Lines, bytes.Repeat([]byte("junk v=1i\n"), 5<<20)...)
	case "long":
		return wrong("junk v=\"" + strings.Repeat("long ", 200<<10) + "\"")
	case "utf8":
		return wrong("junk,t=\xff\xfe v=\"\xc3(\"")
	case "nan":
		return wrong("junk v=NaN\njunk v=inf\njunk v=1e999")
	case "newline":
		return wrong("junk v=\"open\n")
	case "series":
		var lines strings.Builder
		for n := range 150_000 {
			fmt.Fprintf(&lines, "junk,n=%d v=1i\n", n)
		}
		reply.Lines = append(reply.Lines, lines.String()...)
	case "error":
		reply.Error = "\xff\xfe\x1b[2J"
	case "print":
		for range 3 {
			fmt.Println(strings.Repeat("printed ", 1<<17))
			write(1, strings.Repeat("written ", 1<<17)+"\n")
		}
	case "log":
		write(2, strings.Repeat("on and on and on\n", 100_000))
		write(2, strings.Repeat("\x00\x1b\xff\n", 10_000))
		write(2, `{"@message":5}`+"\n"+strings.Repeat(`{"@level":[1],"@message":"x"}`+"\n", 1000))
	}
	return reply, nil
}

// write goes past os.Stdout and os.Stderr, which are go-plugin's.
func write(fd int, text string) {
	for len(text) > 0 {
		n, err := syscall.Write(fd, []byte(text))
		if err != nil && err != syscall.EINTR {
			return
		}
		text = text[max(0, n):]
	}
}
