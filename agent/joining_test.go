package main

import (
	"strings"
	"testing"
)

// A code that was typed into the command line is not told once more.
func TestACodeIsNoArgument(t *testing.T) {
	for _, args := range [][]string{
		{"join", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "--pin", "sha256//x", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://10.7.0.1:8186", "--code=9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://10.7.0.1:8186", "--code", "9TRD-8WVB-K7QX-4M2P"},
		{"join", "https://9TRD-8WVB-K7QX-4M2P@10.7.0.1:8186"},
	} {
		_, _, err := call(t, args...)
		if err == nil || strings.Contains(err.Error(), "9TRD") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if _, _, err := call(t, "join", "https://10.7.0.1:8186", "9TRD-8WVB-K7QX-4M2P"); !strings.Contains(err.Error(), "--code-file") {
		t.Errorf("it does not say what to do: %v", err)
	}
	if _, _, err := call(t, "join"); err == nil || !strings.Contains(err.Error(), "URL is missing") {
		t.Errorf("%v", err)
	}
}
