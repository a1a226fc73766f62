// Command counter counts how often it is told to, in the way that its first
// argument names, and notes in the file of the second what it prints. Beside it
// are the same in sh and in Python.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type counter struct {
	mode string
	note *os.File
	n    int
}

func (c *counter) say() {
	c.n++
	line := fmt.Sprintf("counter,by=go,signal=%s n=%di,text=\"row one\nrow \\\"%d\\\", größe = \\\\ 日本 \" %d\n", c.mode, c.n, c.n, time.Now().UnixNano())
	fmt.Fprint(c.note, line)
	fmt.Print(line)
}

func main() {
	note, err := os.Create(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "E! "+err.Error())
		os.Exit(1)
	}
	c := &counter{mode: os.Args[1], note: note}
	told := make(chan os.Signal, 1)
	switch c.mode {
	case "none":
		for ; ; time.Sleep(400 * time.Millisecond) {
			c.say()
		}
	case "STDIN":
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			c.say()
		}
		return
	case "SIGHUP":
		signal.Notify(told, syscall.SIGHUP)
	case "SIGUSR1":
		signal.Notify(told, syscall.SIGUSR1)
	case "SIGUSR2":
		signal.Notify(told, syscall.SIGUSR2)
	}
	for range told {
		c.say()
	}
}
