package transfer

import (
	"strings"
	"testing"
	"time"
)

func TestRuleMayResume(t *testing.T) {
	md5 := "md5:" + strings.Repeat("a", 32)
	for name, c := range map[string]struct {
		m        mark
		packaged bool
		exact    bool
		of       traits
		want     bool
	}{
		"exact parts of a version with a mark":     {m: mark{size: 9, etag: "e"}, exact: true, want: true},
		"the source's own hash":                    {m: mark{size: 9, hash: md5}, want: true},
		"exact parts, and nothing but a time":      {m: mark{size: 9, mtime: time.Unix(5, 0)}, exact: true},
		"an etag, of a source that gives anything": {m: mark{size: 9, etag: "e"}},
		"nothing":                            {m: mark{size: 9}},
		"a package":                          {m: mark{size: 9, etag: "e"}, packaged: true, exact: true},
		"a package with a hash":              {m: mark{size: 9, hash: md5}, packaged: true},
		"an unknown size":                    {m: mark{size: -1, etag: "e", hash: md5}, exact: true},
		"an empty file":                      {m: mark{size: 0, etag: "e", hash: md5}, exact: true},
		"a hash that meets by chance":        {m: mark{size: 9, hash: "crc32:aaaaaaaa"}},
		"a hash that is an uploader's claim": {m: mark{size: 9, hash: md5}, of: traits{echoFrom: 5}},
	} {
		if got := ruleMayResume(c.m, c.packaged, c.exact, c.of); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestRulePartIsUsable(t *testing.T) {
	now := mark{size: 100, etag: "e"}
	for name, c := range map[string]struct {
		sent         mark
		hashed, held int64
		want         bool
	}{
		"as it was left":                   {sent: now, hashed: 10, held: 10, want: true},
		"more was sent than could be told": {sent: now, hashed: 10, held: 40, want: true},
		"all was sent":                     {sent: now, hashed: 10, held: 100, want: true},
		"less is there than was told":      {sent: now, hashed: 10, held: 9},
		"more than the file is there":      {sent: now, hashed: 10, held: 101},
		"another version":                  {sent: mark{size: 100, etag: "f"}, hashed: 10, held: 10},
		"another size":                     {sent: mark{size: 99, etag: "e"}, hashed: 10, held: 10},
		"no version":                       {sent: mark{size: 100}, hashed: 10, held: 10},
		"nothing was hashed":               {sent: now, hashed: 0, held: 10},
		"hashed to the end":                {sent: now, hashed: 100, held: 100},
	} {
		if got := rulePartIsUsable(c.sent, now, c.hashed, c.held); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Whatever stands in a stored part, reading it and going on from it ends in sums or in a refusal.
func FuzzStoredPart(f *testing.F) {
	s, err := newSums(nil, nil)
	if err != nil {
		f.Fatal(err)
	}
	s.keepStates()
	_, _ = s.Write(make([]byte, sumStep))
	state, _ := s.upTo(sumStep)
	whole := (&part{Part{"session", sumStep}, mark{size: 2 * sumStep, etag: "e"}, state}).String()
	f.Add(whole)
	f.Add(whole[:len(whole)-9])
	f.Add(strings.Replace(whole, `"h":{`, `"h":{"md5":"AAAA",`, 1))
	f.Add("")
	f.Add("null")
	f.Fuzz(func(t *testing.T, raw string) {
		p := parsePart(raw)
		if p == nil {
			return
		}
		if p.ID == "" || p.Offset <= 0 || p.state.at != p.Offset {
			t.Errorf("took %+v", p)
		}
		again := parsePart(p.String())
		if again == nil || again.Part != p.Part {
			t.Errorf("%q isn't read again", p)
		}
		s, _ := newSums(nil, nil)
		if s.restore(p.state) == nil {
			_, _ = s.Write([]byte("more"))
			_ = s.Sums()
		}
	})
}
