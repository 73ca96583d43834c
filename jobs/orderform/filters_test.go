package orderform

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/jobs"
	"offload/transfer"
)

// A preset is only a name for rules: they are what is stored, and they say what they choose.
func TestPresets(t *testing.T) {
	parsed := func(values map[string][]string) jobs.Order {
		t.Helper()
		values[Source], values[Dest] = []string{"/a"}, []string{"/b"}
		o, wrong := Parse(values)
		if len(wrong) > 0 {
			t.Fatalf("%v: %v", values, wrong)
		}
		if err := transfer.CheckFilters(o.Options); err != nil {
			t.Fatal(err)
		}
		return o
	}
	o := parsed(map[string][]string{Preset: {"photos", "videos", "photos"}, Include: {"*.x"}})
	if len(o.Include) != 3 || o.Include[0] != "*.x" || !strings.Contains(o.Include[1], "|heic|") || !strings.Contains(o.Include[2], "|mp4|") {
		t.Errorf("include %q", o.Include)
	}
	again, wrong := Parse(Values(o))
	if len(wrong) > 0 || !reflect.DeepEqual(o, again) {
		t.Errorf("got %+v, %v", again, wrong)
	}
	if o := parsed(map[string][]string{Preset: {"large-old"}}); o.MinSize != 100<<20 || o.MinAge != 365*24*time.Hour || o.Include != nil {
		t.Errorf("large-old: %+v", o)
	}
	if o := parsed(map[string][]string{Preset: {"large-old"}, MinSize: {"1GiB"}, MinAge: {"2020-01-01"}}); o.MinSize != 1<<30 || o.MinAge != 0 || o.ModifiedTo.IsZero() {
		t.Errorf("what is given outranks the preset: %+v", o)
	}
	for _, p := range presets() { // an extension that is in two of them would be moved by a choice that nobody meant
		for _, e := range strings.Split(p.extensions, "|") {
			if e != strings.ToLower(e) || strings.ContainsAny(e, ".*() ") || e == "" && p.extensions != "" {
				t.Errorf("%s: extension %q", p.name, e)
			}
			for _, q := range presets() {
				if e != "" && q.name != p.name && slices.Contains(strings.Split(q.extensions, "|"), e) {
					t.Errorf("%s is in %s and in %s", e, p.name, q.name)
				}
			}
		}
	}
}

func TestDates(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Local
	time.Local = berlin
	defer func() { time.Local = at }()
	for text, want := range map[string]string{"2024-01-31": "2024-01-30T23:00:00Z", "2024-07-31 12:00:00": "2024-07-31T10:00:00Z",
		"2024-07-31T12:00:00": "2024-07-31T10:00:00Z", "2024-07-31T12:00:00+05:00": "2024-07-31T07:00:00Z", "31.1.2024": "", "2024": "", "2024-02-30": "", "7d": ""} {
		got, ok := parseDate(text)
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v, %v; want %s", text, got, ok, want)
		}
	}
}

func TestReadRules(t *testing.T) {
	got, err := ReadRules(strings.NewReader("\ufeff# photos\r\n  + *.jpg  \r\n\r\n; no\n- *\n!"))
	if want := []string{"+ *.jpg", "- *", "!"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{"": "no rule", "# x\n": "no rule", "a\nb\xff": "line 2", strings.Repeat("x\n", 1<<20): "1 MiB"} {
		if _, err := ReadRules(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	if paths, err := ReadPaths(strings.NewReader("\ufeffa b\r\n")); err != nil || !slices.Equal(paths, []string{"a b"}) {
		t.Errorf("%q, %v", paths, err)
	}
}

func FuzzReadRules(f *testing.F) {
	f.Add("+ *.jpg\n- *")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ReadRules(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := ReadRules(strings.NewReader(strings.Join(rules, "\n")))
		if err != nil || !slices.Equal(rules, again) {
			t.Errorf("%q becomes %q, %v", rules, again, err)
		}
	})
}
