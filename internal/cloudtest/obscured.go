package cloudtest

import (
	"encoding/base64"
	"regexp"

	"github.com/rclone/rclone/fs/config/obscure"
)

// Obscured tells whether a text holds a secret in the form in which rclone keeps passwords in its configuration. That
// form differs each time, and anybody can read it.
func Obscured(text []byte, secret string) bool {
	n := base64.RawURLEncoding.EncodedLen(16 + len(secret)) // the block that makes it differ comes first
	for _, word := range regexp.MustCompile(`[A-Za-z0-9_-]{16,}`).FindAll(text, -1) {
		if len(word) > n+64 {
			continue // no word of a configuration
		}
		for i := 0; i+n <= len(word); i++ {
			if plain, err := obscure.Reveal(string(word[i : i+n])); err == nil && plain == secret {
				return true
			}
		}
	}
	return false
}
