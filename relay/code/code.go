// Package code makes the codes that people read from one screen and type into
// another, and reads what they have typed.
package code

import (
	"crypto/rand"
	"crypto/sha256"
	"strings"
)

// alphabet is Crockford's base32, which leaves out what is easily mistaken.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// groupLength is how many characters there are between two dashes.
const groupLength = 4

// New makes a code of so many groups, such as K7QX-4M2P. Each group has 20
// random bits.
func New(groups int) string {
	b := make([]byte, groups*groupLength)
	rand.Read(b) // ends the program rather than fail
	var text strings.Builder
	for i, c := range b {
		if i > 0 && i%groupLength == 0 {
			text.WriteByte('-')
		}
		text.WriteByte(alphabet[c%byte(len(alphabet))])
	}
	return text.String()
}

// Sum is the SHA-256 of a code of so many groups, however it was typed: case,
// dashes and spaces do not matter, and O, I and L are 0 and 1. What can be no
// such code is not ok.
func Sum(text string, groups int) (sum [sha256.Size]byte, ok bool) {
	if len(text) > 256 {
		return sum, false
	}
	code := strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ', '\t', '\r', '\n':
			return -1
		case 'O':
			return '0'
		case 'I', 'L':
			return '1'
		}
		return r
	}, strings.ToUpper(text))
	if len(code) != groups*groupLength || strings.Trim(code, alphabet) != "" {
		return sum, false
	}
	return sha256.Sum256([]byte(code)), true
}
