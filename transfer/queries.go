package transfer

import (
	"regexp"
	"strings"
	"sync"
)

// queryOf finds addresses with a query.
var queryOf = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(https?://[^\s"'<>?]*)\?[^\s"'<>]+`)
})

// WithoutQueries takes the queries off the addresses in a text. Errors of the network quote the address of the call, and a
// signed one opens a file to whoever reads it.
func WithoutQueries(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "?") {
		return text
	}
	return queryOf().ReplaceAllString(text, "$1?...")
}
