package main

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/jobs"
	"offload/transfer"
)

func TestSpoolIsMadeAndTidied(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "spool")
	now := time.Now()
	if err := makeSpool(dir, now); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	for name, age := range map[string]time.Duration{
		"offload-spool-1": 25 * time.Hour, "offload-spool-2": 23 * time.Hour, "somebody's": 100 * time.Hour,
	} {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "offload-spool-dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makeSpool(dir, now); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"offload-spool-2", "offload-spool-dir", "somebody's"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

func TestStorageLines(t *testing.T) {
	room := func(used int64) *transfer.Storage { return &transfer.Storage{Total: 5 << 30, Used: used} }
	const gib = 1 << 30
	order := func(purge bool) jobs.Order {
		return jobs.Order{Options: transfer.Options{DeleteSource: transfer.DeleteVerified, PurgeTrash: purge}}
	}
	deleted := jobs.Files{Found: 3, Copied: 3, Deleted: 3}
	for name, c := range map[string]struct {
		job  jobs.Job
		want []string
		not  []string
	}{
		"nothing measured": {job: jobs.Job{Source: "/home", Order: order(false)}},
		"purged": {
			job: jobs.Job{Source: "icloud:Docs", Trash: true, Order: order(true), Files: jobs.Files{Deleted: 3, Purged: 3},
				Bytes:   jobs.Bytes{Deleted: 3 * gib, Purged: 3 * gib},
				Storage: &jobs.JobStorage{Before: room(4 * gib), AfterTrash: room(4 * gib), After: room(gib)}},
			want: []string{"icloud before       4.0 GiB of 5.0 GiB used", "icloud after trash  4.0 GiB of 5.0 GiB used: 0 B freed",
				"icloud now          1.0 GiB of 5.0 GiB used: 3.0 GiB freed"},
			not: []string{"in the trash there"},
		},
		"in the trash, which counts": {
			job: jobs.Job{Source: "icloud:", Trash: true, Order: order(false), Files: deleted, Bytes: jobs.Bytes{Deleted: 3 * gib},
				Storage: &jobs.JobStorage{Before: room(4 * gib), AfterTrash: room(4 * gib), After: room(4 * gib)}},
			want: []string{"icloud now          4.0 GiB of 5.0 GiB used: 0 B freed",
				"3 files (3.0 GiB) lie in the trash there, which counts until it is emptied: use --purge-trash, or empty Recently Deleted"},
			not: []string{"after trash"},
		},
		"in the trash, which was not measured": {
			job:  jobs.Job{Source: "icloud:", Trash: true, Order: order(false), Files: jobs.Files{Deleted: 1}, Bytes: jobs.Bytes{Deleted: 10}},
			want: []string{"1 file (10 B) lies in the trash there: use --purge-trash"},
			not:  []string{"counts", "freed"},
		},
		"in the trash, which doesn't count": {
			job: jobs.Job{Source: "icloud:", Trash: true, Order: order(false), Files: deleted, Bytes: jobs.Bytes{Deleted: 3 * gib},
				Storage: &jobs.JobStorage{Before: room(4 * gib), AfterTrash: room(gib), After: room(gib)}},
			want: []string{"3.0 GiB freed", "in the trash there: "},
			not:  []string{"counts"},
		},
		"no trash, and somebody else wrote": {
			job: jobs.Job{Source: "icloud,password=secret:x", Order: order(false), Files: deleted, Bytes: jobs.Bytes{Deleted: 10},
				Storage: &jobs.JobStorage{Before: room(gib), After: room(2 * gib)}},
			want: []string{"1.0 GiB more than before"},
			not:  []string{"trash", "secret"},
		},
	} {
		text := strings.Join(storageLines(c.job), "\n")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q isn't in\n%s", name, want, text)
			}
		}
		for _, not := range c.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q is in\n%s", name, not, text)
			}
		}
		if len(c.want) == 0 && text != "" {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestFileLineMarksPackages(t *testing.T) {
	var b bytes.Buffer
	out := bufio.NewWriter(&b)
	r := jobs.FileRecord{Path: "a.pages", Dest: "a.pages.zip", Result: transfer.Copied, Package: true, Evidence: "match"}
	if err := (&app{}).fileLine(out)(r); err != nil {
		t.Fatal(err)
	}
	if err := fileJSON(out)(r); err != nil {
		t.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a.pages -> a.pages.zip  [package, as a zip]\n", `"package":true`, `"evidence":"match"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q isn't in %q", want, b.String())
		}
	}
}
