// Package proto is the contract between an agent and its plugins, for Go; the
// folder python holds it for Python.
package proto

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative collector.proto
//go:generate protoc --python_out=python collector.proto
