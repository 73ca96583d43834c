package remotes

import (
	"strings"
	"testing"
)

// TestReadToken understands what people paste.
func TestReadToken(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":      `{"access_token":"planted","token_type":"bearer","expiry":"0001-01-01T00:00:00Z"}`,
		"authorize": "Paste the following into your remote machine --->\n{\"access_token\":\"planted\",\"token_type\":\"bearer\"}\n<---End paste\n",
		"bare":      "  sl.planted-access-token_x  ",
	} {
		got, err := ReadToken(text)
		if err != nil || !strings.Contains(got, "planted") || !strings.HasPrefix(got, "{") || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, text := range []string{"", "short", "two words here", "{}", `{"access_token":""}`, "{not json}", "Grüße an alle"} {
		if got, err := ReadToken(text); err == nil {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}
