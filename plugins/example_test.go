package plugins_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rpicluster/vitals/plugins"
)

// Tide is a collector with one option.
type Tide struct {
	Harbour string `toml:"harbour"`
}

// Gather adds one point. Without At it would get the time of its tick.
func (t *Tide) Gather(_ context.Context, b *plugins.Batch) error {
	b.Point("tide").Tag("harbour", t.Harbour).Float("metres", 1.25).Bool("rising", true).At(time.Unix(1700000000, 0))
	return nil
}

func Example() {
	description := plugins.Description{
		Name:         "tide",
		Description:  "Height of the water.",
		Measurements: []string{"tide"},
		New:          func() plugins.Collector { return &Tide{Harbour: "Hamburg"} },
	}
	fmt.Println(plugins.Check(description, []byte(`harbor = "Kiel"`)))
	// plugins.Serve(description) is all that its main has to do.

	var b plugins.Batch
	if err := description.New().Gather(context.Background(), &b); err != nil {
		fmt.Println(err)
	}
	fmt.Print(string(b.Bytes()))
	// Output:
	// [harbor: unknown option; did you mean "harbour"?]
	// tide,harbour=Hamburg metres=1.25,rising=true 1700000000000000000
}
