package main

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// components writes what a program was made from, as CycloneDX. It is read from
// the program, which knows what was linked into it.
func (s *shop) components(program string, t target) error {
	info, err := buildinfo.ReadFile(filepath.Join(s.dist, "linux-"+t.name, program))
	if err != nil {
		return err
	}
	main := module(cdx.ComponentTypeApplication, info.Main.Path, s.version)
	main.Name = program
	main.Licenses = &cdx.Licenses{{License: &cdx.License{ID: "MIT"}}}
	properties := []cdx.Property{}
	for _, setting := range info.Settings {
		properties = append(properties, cdx.Property{Name: "go:build:" + setting.Key, Value: setting.Value})
	}
	main.Properties = &properties

	parts := []cdx.Component{module(cdx.ComponentTypeLibrary, "std", info.GoVersion)}
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		parts = append(parts, module(cdx.ComponentTypeLibrary, d.Path, d.Version))
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: s.at.Format(time.RFC3339), Component: &main}
	bom.Components = &parts
	refs := []string{}
	for _, p := range parts {
		refs = append(refs, p.BOMRef)
	}
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return s.create(s.file(program, t, ".cdx.json"), func(f *os.File) error {
		return cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
	})
}

// module is a Go module, the standard library being one of them.
func module(kind cdx.ComponentType, path, version string) cdx.Component {
	if path == "std" {
		version = strings.TrimPrefix(version, "go")
	}
	url := "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
	return cdx.Component{Type: kind, BOMRef: url, Name: path, Version: version, PackageURL: url}
}
