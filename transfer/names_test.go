package transfer

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rclone/rclone/lib/encoder"
	"golang.org/x/text/unicode/norm"
)

func TestNameKey(t *testing.T) {
	dropbox := rulesOf(newScanFake(":dropbox", true))
	if dropbox.enc == nil || dropbox.refuse == nil {
		t.Fatal("Dropbox' encoding and refusals weren't found")
	}
	plain, fold := nameRules{}, nameRules{fold: true}
	tests := []struct {
		a, b  string
		rules nameRules
		same  bool
	}{
		{"a", "a", plain, true},
		{"a", "A", plain, false},
		{nfcE, nfdE, plain, true},
		{"a", "A", fold, true},
		{nfcE, "E\u0301", fold, true},
		{"straße", "STRASSE", fold, false}, // simple folding only
		{"ß", "ẞ", fold, true},
		{"Σ", "ς", fold, true},
		{"K", "\u212a", fold, true}, // the Kelvin sign
		{"ſ", "S", fold, true},
		{"h\u0331", "H\u0331", fold, true},
		{"\u1e96", "H\u0331", fold, true},      // composed in lower case only
		{"\u1fb3", "\u0391\u0345", fold, true}, // alpha with iota subscript
		{"I", "ı", fold, false},
		{"a ", "a␠", dropbox, false}, // the encoding keeps them apart
		{`a\b`, "a＼b", dropbox, false},
		{"a ", "A ", dropbox, true},
		{"\u2126", "\u03a9", plain, true}, // Ohm sign and omega are canonically one
	}
	for _, tt := range tests {
		if got := tt.rules.key(tt.a) == tt.rules.key(tt.b); got != tt.same {
			t.Errorf("%q and %q: same=%t, want %t (%q, %q)", tt.a, tt.b, got, tt.same, tt.rules.key(tt.a), tt.rules.key(tt.b))
		}
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		backend, name string
		refused       bool
	}{
		{"dropbox", "desktop.ini", true},
		{"dropbox", "Thumbs.DB", true},
		{"dropbox", ".DS_Store", true},
		{"dropbox", "icon\r", true},
		{"dropbox", ".dropbox", true},
		{"dropbox", ".dropbox.ATTR", true},
		{"dropbox", "desktop.ini.txt", false},
		{"dropbox", "Icon", false},
		{"dropbox", strings.Repeat("é", 255), false},
		{"dropbox", strings.Repeat("é", 256), true},
		{"local", strings.Repeat("x", 255), false},
		{"local", strings.Repeat("x", 256), true},
		{"local", strings.Repeat("é", 128), true},
		{"local", ".DS_Store", false},
	}
	for _, tt := range tests {
		if why := refusals()[tt.backend](tt.name); (why != "") != tt.refused {
			t.Errorf("%s %q: %q, want refused=%t", tt.backend, tt.name, why, tt.refused)
		}
	}
}

func TestSafeName(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../..", "/", "/etc/passwd", "a/b", "\xff", "\xff/..", "a\x00b"} {
		if got := safeName(name); unsafeName(got) != "" {
			t.Errorf("%q is shown as %q: %s", name, got, unsafeName(got))
		}
	}
	for _, name := range []string{"a", "..a", "...", "a\nb", "C:", `..\x`, "~"} {
		if why := unsafeName(name); why != "" {
			t.Errorf("%q: %s", name, why)
		}
	}
}

// FuzzNameKey holds that the key is a fixed point, is one for all spellings of a name, and never joins what strings
// that differ in more than case and normalisation.
func FuzzNameKey(f *testing.F) {
	for _, s := range []string{"a", "É", nfdE, "\u0345", "ΐ", "ﬃ", "İ", "\u1e9b\u0323", "각", "\xff", "K", "ᾳ", "ǰ", "\u0345\u0301"} {
		f.Add(s)
	}
	var mask encoder.MultiEncoder
	if err := mask.Set("Slash,BackSlash,Del,RightSpace,InvalidUtf8,Dot"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, rules := range []nameRules{{}, {fold: true}, {enc: &mask}, {fold: true, enc: &mask}} {
			key := rules.key(s)
			if key != rules.key(norm.NFD.String(s)) || key != rules.key(norm.NFC.String(s)) {
				t.Errorf("%q: the key depends on the normalisation (%+v)", s, rules)
			}
			if rules.enc == nil && utf8.ValidString(s) && rules.key(key) != key {
				t.Errorf("%q: key %q has key %q", s, key, rules.key(key))
			}
			if rules.enc == nil && rules.fold && utf8.ValidString(s) && !strings.EqualFold(norm.NFD.String(s), key) {
				t.Errorf("%q: key %q differs in more than case", s, key)
			}
		}
	})
}
