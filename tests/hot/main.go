// Vitals-plugin-hot says which version of it runs. What else it does is chosen
// by the linker, for a program that is to be replaced by others like it.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"

	"github.com/rpicluster/vitals/plugins"
)

var (
	version = "1"
	does    = "" // "exit": end before the handshake; "fail": fail at every reading; "invent": new series
)

type hot struct{}

// Gather tells the version.
func (hot) Gather(_ context.Context, b *plugins.Batch) error {
	if does == "fail" {
		return errors.New("nothing to be read")
	}
	b.Point("hot").String("version", version)
	if does == "invent" {
		for range 5 {
			b.Point("hot").Tag("id", rand.Text()).String("version", version)
		}
	}
	return nil
}

func main() {
	if does == "exit" {
		os.Exit(3)
	}
	plugins.Serve(plugins.Description{
		Name: "hot", Version: version, Description: "The version that runs.", Measurements: []string{"hot"},
		New: func() plugins.Collector { return hot{} },
	})
}
