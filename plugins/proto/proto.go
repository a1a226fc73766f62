// Package proto is the contract between an agent and its plugins, for Go; the
// folder python holds it for Python.
package proto

//go:generate sh generate.sh
