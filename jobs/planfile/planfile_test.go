package planfile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/leaktest"
	"offload/jobs"
	"offload/transfer"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

func made() time.Time { return time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC) }

// plan is an order between two folders, with three files, and its text.
func plan(t testing.TB) (jobs.Order, []byte) {
	t.Helper()
	files, err := jobs.NewPlanned()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []jobs.PlannedFile{
		{Entry: transfer.Entry{Path: "a/ü.txt", Size: 5, ModTime: made(), ID: "1", ETag: "x"}, Seen: transfer.Seen{State: transfer.SeenNothing}},
		{Entry: transfer.Entry{Path: "b", Size: 7}, Seen: transfer.Seen{State: transfer.SeenFile, Size: 7}},
		{Entry: transfer.Entry{Path: ".DS_Store", Size: 1, Verdict: transfer.SetAside, Code: transfer.CodeNameRefused, Reason: "why"}},
	} {
		if err := files.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	o := jobs.Order{Source: "/src", Dest: "/dst", MaxDelete: -1, Account: "anna", Goal: &jobs.Goal{Remote: "/src", To: "/dst", Free: 5},
		Options: transfer.Options{DeleteSource: transfer.DeleteVerified, MinAge: time.Hour}}.WithDefaults().WithPlan(files)
	var b bytes.Buffer
	if err := Write(&b, made(), o, files); err != nil {
		t.Fatal(err)
	}
	return o, b.Bytes()
}

func packed(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	o, text := plan(t)
	for name, b := range map[string][]byte{"plain": text, "packed": packed(t, text)} {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !p.Made.Equal(made()) || p.Order.Plan != o.Plan || p.Order.Planned.Files != 2 || p.Order.Account != "anna" || p.Order.MinAge != time.Hour ||
			p.Order.DeleteSource != transfer.DeleteVerified || p.Order.MaxDelete != -1 || p.Order.Goal == nil || p.Order.Goal.Free != 5 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestWhatIsNoPlanIsRefused(t *testing.T) {
	_, text := plan(t)
	s := string(text)
	lines := strings.SplitAfter(s, "\n")
	edit := func(old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q isn't in the plan:\n%s", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	for name, bad := range map[string]string{
		"nothing": "", "an empty line": "\n", "no JSON": "hello\n", "another JSON": "{}\n", "a list": "[1]\n", "gzip of nothing": string(packed(t, nil)),
		"broken gzip": "\x1f\x8bgarbage", "cut gzip": string(packed(t, text))[:100],
		"another version": edit(`"offload_plan":1`, `"offload_plan":2`), "another file": edit("a/ü.txt", "a/y.txt"), "another size": edit(`"size":5`, `"size":6`),
		"another order": edit("verified", "complete"), "a line less": lines[0] + lines[2] + lines[3] + lines[4], "lines swapped": lines[0] + lines[2] + lines[1] + lines[3] + lines[4],
		"a line twice": lines[0] + lines[1] + s[len(lines[0]):], "no end": strings.Join(lines[:4], ""), "half an end": s[:len(s)-1], "more behind": s + s,
		"out of the source": edit("a/ü.txt", "../x"), "absolute": edit("a/ü.txt", "/x"), "unknown field": edit(`"path"`, `"paths"`), "unknown word": edit(`"nothing"`, `"maybe"`),
		"no remote": edit("/src", "nowhere:"), "negative size": edit(`"size":5`, `"size":-2`), "a huge line": lines[0] + `{"path":"` + strings.Repeat("x", 2<<20) + "\"}\n",
	} {
		if p, err := Read(strings.NewReader(bad)); !errors.Is(err, ErrNoPlan) {
			t.Errorf("%s: read as %+v, %v", name, p.Order.Planned, err)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%s: the error isn't a line: %s", name, err)
		}
	}
}

// Only what says how a plan is done may be told anew.
func TestOptionsBesideAPlan(t *testing.T) {
	o, text := plan(t)
	p, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, value, wrong string }{
		{"label", "x", ""}, {"bwlimit", "2M", ""}, {"priority", "high", ""}, {"window", "22:00-06:00", ""}, {"transfers", "3", ""},
		{"account", "anna", ""}, {"delete-source", "verified", ""}, {"conflict", "rename", ""}, {"min-age", "60m", ""},
		{"account", "berta", "account"}, {"delete-source", "never", "delete-source"}, {"delete-source", "complete", "delete-source"}, {"conflict", "overwrite", "conflict"},
		{"min-age", "2h", "min-age"}, {"purge-trash", "true", "purge-trash"}, {"include", "*.jpg", "include"}, {"min-grade", "C", "min-grade"}, {"max-delete", "1", "max-delete"},
		{"source", "/other", "source"}, {"destination", "/other", "destination"}, {"bwlimit", "fast", "bwlimit"},
	} {
		got, err := p.With(map[string][]string{tt.name: {tt.value}})
		var wrong *jobs.OrderError
		switch {
		case tt.wrong == "" && (err != nil || got.Plan != o.Plan || got.Planned == nil || got.Goal == nil):
			t.Errorf("%s %s: %+v, %v", tt.name, tt.value, got, err)
		case tt.wrong != "" && (!errors.As(err, &wrong) || wrong.Field != tt.wrong):
			t.Errorf("%s %s: %v", tt.name, tt.value, err)
		}
	}
}

// What couldn't be read again isn't written.
func TestWriteRefusesWhatReadWould(t *testing.T) {
	o, _ := plan(t)
	o.Source = "relative/path"
	var wrong *jobs.OrderError
	if err := Write(&bytes.Buffer{}, made(), o, o.Planned); !errors.As(err, &wrong) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	_, text := plan(f)
	f.Add(text)
	f.Add(packed(f, text))
	f.Add([]byte("{\"offload_plan\":1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := Write(&again, p.Made, p.Order, p.Order.Planned); err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		err = p.Order.Planned.Each(func(e jobs.PlannedFile) error {
			if e.Verdict == transfer.Pending && (filepath.IsAbs(e.Path) || strings.HasPrefix(e.Path, "..")) {
				t.Fatalf("a path out of the source: %q", e.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// The goal of a plan is shown as a command: one that isn't that of its order, or is no goal, is refused.
func TestAForeignGoalIsRefused(t *testing.T) {
	o, _ := plan(t)
	for _, g := range []jobs.Goal{{Remote: "/elsewhere", To: "/dst", Free: 5}, {Remote: "/src", To: "/elsewhere", Free: 5}, {Remote: "/src", To: "/dst", Free: 5, Order: "largest; rm -rf ~"}} {
		o.Goal = &g
		var b bytes.Buffer
		if err := Write(&b, made(), o, o.Planned); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&b); !errors.Is(err, ErrNoPlan) {
			t.Errorf("%+v: %v", g, err)
		}
	}
}
