package transfer

import (
	"testing"
	"time"

	"github.com/rclone/rclone/fs/hash"
)

func TestRuleReturnOnlyRecorded(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := Entry{Path: "f", ID: "FILE::1", Size: 10, ModTime: at}
	ours := Trashed{ID: "FILE::1", ETag: "x", Size: 10, ModTime: at}
	for name, c := range map[string]struct {
		item Trashed
		e    Entry
		want bool
	}{
		"ours":                 {ours, e, true},
		"another ID":           {Trashed{ID: "FILE::2", Size: 10, ModTime: at}, e, false},
		"edited, other length": {Trashed{ID: "FILE::1", Size: 11, ModTime: at}, e, false},
		"edited, other time":   {Trashed{ID: "FILE::1", Size: 10, ModTime: at.Add(time.Hour)}, e, false},
		"no ID was recorded":   {Trashed{Size: 10, ModTime: at}, Entry{Path: "f", Size: 10, ModTime: at}, false},
		"the trash says less":  {Trashed{ID: "FILE::1", Size: -1}, e, true},
	} {
		if _, ok := ruleReturnOnlyRecorded(c.e, map[string]Trashed{c.item.ID: c.item}); ok != c.want {
			t.Errorf("%s: %v", name, ok)
		}
	}
}

func TestRuleNothingIsReplaced(t *testing.T) {
	for _, c := range []Conflict{ConflictOverwrite, ConflictRename, ConflictSkip, ""} {
		if got := ruleNothingIsReplaced(Options{Conflict: c}).Conflict; got != ConflictRename {
			t.Errorf("%q becomes %q", c, got)
		}
	}
}

func TestRuleCopyIsAsRecorded(t *testing.T) {
	e := Entry{Path: "f", Size: 10, Hash: "sha256:ab"}
	for name, c := range map[string]struct {
		e    Entry
		size int64
		t    hash.Type
		sum  string
		want bool
	}{
		"the same":          {e, 10, hash.SHA256, "ab", true},
		"another sum":       {e, 10, hash.SHA256, "cd", false},
		"another length":    {e, 11, hash.SHA256, "ab", false},
		"sum not known":     {e, 10, hash.SHA256, "", true},
		"length not known":  {e, -1, hash.SHA256, "ab", true},
		"none was recorded": {Entry{Path: "f", Size: 10}, 10, hash.None, "", true},
		"of another type":   {e, 10, hash.MD5, "cd", true},
	} {
		if got := ruleCopyIsAsRecorded(c.e, c.size, c.t, c.sum); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
