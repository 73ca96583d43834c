package transfer

import (
	"strings"
	"testing"
)

func TestWithoutQueries(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"plain? yes", "plain? yes"},
		{`Get "https://cvws.icloud-content.com/B/x/a.txt?o=secret&e=1": EOF`, `Get "https://cvws.icloud-content.com/B/x/a.txt?...": EOF`},
		{"HTTP://a.b/?x=1 and https://c.d/?y=2, too", "HTTP://a.b/?... and https://c.d/?... too"},
		{"https://a.b/c is fine?", "https://a.b/c is fine?"},
	} {
		if got := WithoutQueries(tt.text); got != tt.want {
			t.Errorf("%q became %q, want %q", tt.text, got, tt.want)
		}
	}
}

// The record of a file holds no signed address.
func TestReasonsHoldNoSignedAddress(t *testing.T) {
	got := sentence(CodeSourceGone, "photos:", "a.jpg", `open source file: Get "https://x.y/z?o=secret": EOF`)
	if strings.Contains(got, "secret") || !strings.Contains(got, "https://x.y/z") {
		t.Errorf("the reason is %q", got)
	}
}
