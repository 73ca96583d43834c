package transfer

import (
	"testing"
	"time"
)

func TestRuleSourceAsPlanned(t *testing.T) {
	at := time.Unix(1.7e9, 0).UTC()
	planned := Entry{Path: "a", Size: 5, ModTime: at, ID: "1", ETag: "x", There: &Seen{State: SeenNothing}}
	same := mark{size: 5, mtime: at, id: "1", etag: "x"}
	for name, c := range map[string]struct {
		change func(*Entry, *mark)
		want   string
	}{
		"the same":          {func(*Entry, *mark) {}, ""},
		"another length":    {func(_ *Entry, m *mark) { m.size = 6 }, CodeDrifted},
		"another time":      {func(_ *Entry, m *mark) { m.mtime = at.Add(time.Nanosecond) }, CodeDrifted},
		"another ID":        {func(_ *Entry, m *mark) { m.id = "2" }, CodeDrifted},
		"another etag":      {func(_ *Entry, m *mark) { m.etag = "y" }, CodeDrifted},
		"no etag now":       {func(_ *Entry, m *mark) { m.etag = "" }, ""},
		"no time then":      {func(e *Entry, _ *mark) { e.ModTime = time.Time{} }, ""},
		"a package by now":  {func(_ *Entry, m *mark) { m.size = -1 }, ""},
		"without a plan":    {func(e *Entry, m *mark) { e.There = nil; m.etag, m.size = "y", 7 }, ""},
		"an unknown length": {func(e *Entry, _ *mark) { e.Size = -1 }, ""},
	} {
		e, m := planned, same
		c.change(&e, &m)
		if got := ruleSourceAsPlanned(e, m); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRuleDestAsPlanned(t *testing.T) {
	at := time.Unix(1.7e9, 0).UTC()
	nothing, file := Seen{State: SeenNothing}, Seen{State: SeenFile, Size: 5, ModTime: at}
	for name, c := range map[string]struct {
		then *Seen
		now  Seen
		want string
	}{
		"nothing still":  {&nothing, nothing, ""},
		"the same file":  {&file, file, ""},
		"taken since":    {&nothing, file, CodeDrifted},
		"gone since":     {&file, nothing, CodeDrifted},
		"another length": {&file, Seen{State: SeenFile, Size: 6, ModTime: at}, CodeDrifted},
		"another time":   {&file, Seen{State: SeenFile, Size: 5, ModTime: at.Add(1)}, CodeDrifted},
		"no time now":    {&file, Seen{State: SeenFile, Size: 5}, ""},
		"not known then": {&Seen{}, file, ""},
		"not known now":  {&nothing, Seen{}, ""},
		"without a plan": {nil, file, ""},
	} {
		if got := ruleDestAsPlanned(Entry{There: c.then}, c.now); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
