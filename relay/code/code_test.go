package code

import (
	"regexp"
	"strings"
	"testing"
)

func TestCodesAreReadHoweverTheyAreTyped(t *testing.T) {
	made := New(4)
	if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(made) {
		t.Fatalf("%q", made)
	}
	want, ok := Sum(made, 4)
	if !ok {
		t.Fatal("it cannot be read")
	}
	f := func(text string) {
		t.Helper()
		if got, ok := Sum(text, 4); !ok || got != want {
			t.Errorf("%q is another code", text)
		}
	}
	f(strings.ToLower(made))
	f(strings.ReplaceAll(made, "-", ""))
	f("  " + strings.ReplaceAll(made, "-", " ") + "\r\n")
	f(strings.NewReplacer("0", "o", "1", "l").Replace(made))
	f(strings.NewReplacer("0", "O", "1", "I").Replace(made))
}

func TestWhatIsNoCode(t *testing.T) {
	for _, text := range []string{"", "-", "K7QX", "K7QX-4M2P-9TRD-8WV", "K7QX-4M2P-9TRD-8WVBB", "K7QX-4M2P-9TRD-8WVU", "K7QX-4M2P-9TRD-8WV!", "K7QX-4M2P-é9TR-8WV", strings.Repeat("A", 300)} {
		if _, ok := Sum(text, 4); ok {
			t.Errorf("%q passes for a code", text)
		}
	}
}

// Every character is as likely as every other.
func TestCodesUseTheWholeAlphabet(t *testing.T) {
	seen := map[rune]bool{}
	for range 200 {
		for _, r := range New(4) {
			seen[r] = true
		}
	}
	if len(seen) != len(alphabet)+1 { // and the dash
		t.Errorf("%d different characters", len(seen))
	}
}

func FuzzSum(f *testing.F) {
	f.Add("K7QX-4M2P-9TRD-8WVB")
	f.Add("k7qx 4m2p\n9trd8wvb")
	f.Add("ı\u017f\u212a")
	f.Fuzz(func(t *testing.T, text string) {
		sum, ok := Sum(text, 4)
		if again, okAgain := Sum(strings.ToLower(text), 4); ok && strings.ToLower(text) == strings.ToLower(strings.ToUpper(text)) && (!okAgain || sum != again) {
			t.Errorf("%q is another code in small letters", text)
		}
	})
}
