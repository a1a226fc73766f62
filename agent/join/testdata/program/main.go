// Program stands in for vitals-agent: it says which version it is, and whether
// what it gathers is stored.
package main

import (
	"fmt"
	"os"
)

var version, broken string

func main() {
	if len(os.Args) > 1 && os.Args[1] == "version" {
		fmt.Println("vitals-agent", version)
		return
	}
	if broken != "" {
		fmt.Fprintln(os.Stderr, broken)
		os.Exit(1)
	}
}
