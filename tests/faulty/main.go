// Command vitals-plugin-faulty is a collector for tests that does wrong what
// it is told to, when it is told to.
//
// It lives in a directory that FAULTY names. A file in start there tells what
// its next start does wrong, one in gather its next reading; it removes the
// file, says so in did, and obeys. Files are called NUMBER-WORD and taken in
// order. Without one it answers a line with the tick that it was asked for.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/rpicluster/vitals/plugins"
	"github.com/rpicluster/vitals/plugins/proto"
)

type faulty struct {
	plugin.NetRPCUnsupportedPlugin
	proto.UnimplementedCollectorServer
	dir  string
	name string
	kept [][]byte // by a leak

	stdout, stderr *os.File // go-plugin replaces the variables
}

func main() {
	f := &faulty{dir: os.Getenv("FAULTY"), stdout: os.Stdout, stderr: os.Stderr}
	if f.dir == "" {
		fmt.Fprintln(os.Stderr, "FAULTY names no directory")
		os.Exit(2)
	}
	f.name = filepath.Base(f.dir)
	f.alone()
	f.note("start")
	if word := f.told("start"); word != "" {
		f.startWrongly(word)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugins.Handshake(),
		Plugins:         plugin.PluginSet{plugins.DispenseName: f},
		GRPCServer:      plugin.DefaultGRPCServer,
		Logger:          hclog.NewNullLogger(),
	})
}

// alone takes a lock for as long as this process lives, and tells if another
// process of the same plugin lives too.
func (f *faulty) alone() {
	lock, err := os.OpenFile(filepath.Join(f.dir, "lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		f.note("twice")
	}
}

// note appends to did: when, in which process, and what.
func (f *faulty) note(what string) {
	did, err := os.OpenFile(filepath.Join(f.dir, "did"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer did.Close()
	fmt.Fprintf(did, "%d %d %s\n", time.Now().UnixNano(), os.Getpid(), what)
}

// told takes the next word for an occasion, if there is one.
func (f *faulty) told(occasion string) string {
	files, _ := os.ReadDir(filepath.Join(f.dir, occasion))
	for _, file := range files {
		if os.Remove(filepath.Join(f.dir, occasion, file.Name())) != nil {
			continue
		}
		_, word, _ := strings.Cut(file.Name(), "-")
		f.note(word)
		return word
	}
	return ""
}

func (f *faulty) startWrongly(word string) {
	switch word {
	case "hang":
		select {}
	case "half":
		fmt.Print("1|1|unix|")
		select {}
	case "garbage":
		fmt.Println("Hello, I am a plugin.")
	case "late":
		time.Sleep(2 * time.Second)
	case "toolate":
		time.Sleep(12 * time.Second)
	case "exit":
		os.Exit(1)
	case "silent":
		os.Exit(0)
	case "nowhere":
		fmt.Println("1|1|unix|/nowhere/at/all|grpc|")
		select {}
	}
}

// Describe implements the service.
func (f *faulty) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeReply, error) {
	return &proto.DescribeReply{Collectors: []*proto.CollectorDescription{{Name: f.name}}}, nil
}

// Configure implements the service.
func (f *faulty) Configure(context.Context, *proto.ConfigureRequest) (*proto.ConfigureReply, error) {
	return &proto.ConfigureReply{}, nil
}

// Gather implements the service.
func (f *faulty) Gather(_ context.Context, r *proto.GatherRequest) (*proto.GatherReply, error) {
	reply := &proto.GatherReply{Lines: fmt.Appendf(nil, "faulty,input=%s tick=%di,pid=%di\n", f.name, r.TickUnixNano, os.Getpid())}
	if word := f.told("gather"); word != "" {
		return f.gatherWrongly(word, reply)
	}
	return reply, nil
}

// GRPCServer registers the service.
func (f *faulty) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	proto.RegisterCollectorServer(s, f)
	return nil
}

// GRPCClient is for hosts.
func (f *faulty) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}
