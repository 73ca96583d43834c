package transfer

import (
	"strings"
	"testing"
)

// The source of a file that kills is kept; what was proved of one whose deletion had begun is proved still.
func TestKilledWorkerKeepsTheSource(t *testing.T) {
	e := Entry{Path: "a/film.mov", Size: 7}
	for name, c := range map[string]struct {
		was  Outcome
		want Outcome
	}{
		"not copied":      {Outcome{Wasted: 3}, Outcome{Result: Failed, Source: Kept, Wasted: 3, Code: CodeKilledWorker}},
		"amid a deletion": {Outcome{Result: Copied, Grade: GradeA, Source: Deleting, Hash: "x"}, Outcome{Result: Copied, Grade: GradeA, Source: Kept, Hash: "x", Code: CodeDeleteFailed}},
	} {
		got := KilledWorker(e, c.was, "icloud:", 3)
		if !strings.Contains(got.Reason, e.Path) || !strings.Contains(got.Reason, "3 processes") || !strings.Contains(got.Reason, Remedy(got.Code)) {
			t.Errorf("%s: the reason is %q", name, got.Reason)
		}
		if !got.Final() {
			t.Errorf("%s: it would be tried again", name)
		}
		got.Reason = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if again := c.want.Again(); again.Final() {
			t.Errorf("%s: a retry leaves it as it is", name)
		}
	}
}
