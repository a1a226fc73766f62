package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
)

// A sequence number in a file of its own is one line that people can read,
// with the checksum of its digits:
//
//	┌──────────────────┐
//	│ 1729 crc32c=…⏎   │
//	└──────────────────┘
var errNumber = errors.New("not a number with its checksum")

func formatNumber(n uint64) []byte {
	digits := strconv.FormatUint(n, 10)
	return fmt.Appendf(nil, "%s crc32c=%08x\n", digits, crc32.Checksum([]byte(digits), castagnoli))
}

func parseNumber(b []byte) (uint64, error) {
	digits, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > maxSeq || string(formatNumber(n)) != string(b) {
		return 0, errNumber
	}
	return n, nil
}

func readNumber(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := parseNumber(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
