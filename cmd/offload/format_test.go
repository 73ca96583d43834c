package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"offload/jobs"
	"offload/transfer"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"Größe.txt": "Größe.txt", "Cafe\u0301": "Cafe\u0301", "旅行": "旅行", "a\x1b[2Jb": `a\x1b[2Jb`, "a\nb": `a\nb`,
		"a\u202eb": `a\u202eb`, "\xff": `\xff`, "": "", "👩\u200d👩": "👩\u200d👩",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		count(1, "file"): "1 file", count(1204, "file"): "1,204 files", count(2, "entry"): "2 entries", count(0, "file"): "0 files",
		size(0): "0 B", size(1536): "1.5 KiB", size(-1): "unlimited",
		span(0): "0s", span(12 * time.Second): "12s", span(65 * time.Minute): "1h 5m", span(74 * time.Hour): "3d 2h", span(24 * time.Hour): "1d",
		span(time.Hour + 5*time.Second):      "1h",
		shorten("/a/very/long/path.txt", 12): ".../path.txt", shorten("short", 12): "short",
		shellQuote("a b"): "'a b'", shellQuote("a'b"): `'a'\''b'`, shellQuote("/x:y"): "/x:y", shellQuote(""): "''", shellQuote("$(x)"): "'$(x)'",
	} {
		if got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	}
}

func TestProgressLine(t *testing.T) {
	p := jobs.Progress{
		Job: jobs.Job{
			State: jobs.Transferring, ScanComplete: true,
			Files: jobs.Files{Found: 100, Copied: 40, Skipped: 20, Failed: 1}, Bytes: jobs.Bytes{Found: 100 << 20, Copied: 39 << 20},
		},
		Rate: 1 << 20, Pace: 1 << 20, Moving: 1 << 20, Current: []string{"a.jpg", "b.jpg", "c.jpg", "d.jpg"}, Workers: 2,
	}
	want := "61 of 100 files, 40 MiB of 100 MiB, 1.0 MiB/s, 40s left, 2 workers | a.jpg, b.jpg, c.jpg and 1 more"
	if got := progressLine(p, 160); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	p.Job.Retrying = &jobs.Retrying{Files: 1, Path: "e\x1b.jpg", Attempt: 3, Of: 8, Why: "destination: \x1b"}
	if got := progressLine(p, 160); !strings.Contains(got, `, 1 file failed and is tried again (3rd of 8 tries): e\x1b.jpg: destination: \x1b | a.jpg`) {
		t.Errorf("while a file is tried again: %q", got)
	}
	p.Job.ScanComplete, p.Job.State, p.Scanned = false, jobs.Waiting, 250
	p.Job.Reason = jobs.ReasonSpace
	if got := progressLine(p, 160); !strings.Contains(got, "of 250 files found so far") || strings.Contains(got, "left") || !strings.Contains(got, "waiting for space") {
		t.Errorf("while scanning and waiting: %q", got)
	}
	if got := progressLine(jobs.Progress{}, 160); !strings.Contains(got, "0 of 0 files") {
		t.Errorf("at the very beginning: %q", got)
	}
}

// TestBarsEndCleanly draws bars into a buffer: they must not outlive close, nor swallow messages.
func TestBarsEndCleanly(t *testing.T) {
	var out bytes.Buffer
	messages := &switchWriter{w: &out}
	b := newBars(messages, true)
	progress := jobs.Progress{Job: jobs.Job{State: jobs.Transferring, Files: jobs.Files{Found: 3, Copied: 2}, Bytes: jobs.Bytes{Found: 30, Copied: 20}}}
	for range 3 {
		b.show(progress)
	}
	progress.Job.ScanComplete, progress.Job.Files.Copied, progress.Job.Grades.A, progress.Job.Bytes.Copied = true, 3, 3, 30
	b.show(progress)
	b.close()
	if _, err := messages.Write([]byte("after\n")); err != nil || !strings.HasSuffix(out.String(), "after\n") {
		t.Errorf("a message after the bars is lost: %q, %v", out.String(), err)
	}
	for _, want := range []string{"copied", "proved", "deleted"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no bar %q in %q", want, out.String())
		}
	}
}

func TestTally(t *testing.T) {
	tl := &tally{deletes: true}
	add := func(path string, r transfer.Result, s transfer.SourceState, code string) {
		if err := tl.add(jobs.FileRecord{Path: path, Size: 10, Result: r, Source: s, Code: code, Reason: "because of " + code}); err != nil {
			t.Fatal(err)
		}
	}
	add("ok", transfer.Copied, transfer.Deleted, "")
	add("purged", transfer.Copied, transfer.Purged, "")
	for _, name := range []string{"1", "2", "3", "4"} {
		add(name, transfer.Failed, transfer.Kept, "corrupt")
	}
	add("pair", transfer.SetAside, transfer.Kept, "name_collision")
	add("held", transfer.Copied, transfer.Kept, "changed")
	var out bytes.Buffer
	writeGroups(&out, "Failed:", tl.failed)
	want := "\nFailed:\n  4 files, 40 B (corrupt)\n    1\n    2\n    3\n    and 1 more\n    why: because of corrupt\n"
	if out.String() != want {
		t.Errorf("got %q; want %q", out.String(), want)
	}
	if len(tl.aside) != 1 || len(tl.kept) != 1 || tl.kept[0].examples[0] != "held" || len(tl.skipped) != 0 {
		t.Errorf("set aside %v, kept %v, skipped %v", tl.aside, tl.kept, tl.skipped)
	}
}

// TestSignals ends a command that waits for the network at the first signal, and the process at the second.
func TestSignals(t *testing.T) {
	signals := make(chan os.Signal)
	exits := make(chan int, 1)
	a := &app{signals: signals, exit: func(code int) { exits <- code }}
	ctx, stop := a.untilSignal(t.Context())
	a.stopWatching = stop
	signals <- os.Interrupt
	<-ctx.Done()
	if _, err := a.takeSignals(ctx); err == nil {
		t.Error("a signal that came already is forgotten")
	}
	ctx, stop = a.untilSignal(t.Context())
	signals <- os.Interrupt
	signals <- os.Interrupt
	if code := <-exits; code != exitInterrupted || ctx.Err() == nil {
		t.Errorf("the second signal ends the process with %d", code)
	}
	stop()
	ctx, a.stopWatching = a.untilSignal(t.Context())
	if got, err := a.takeSignals(ctx); err != nil || got != (<-chan os.Signal)(signals) || ctx.Err() != nil {
		t.Errorf("the signals aren't handed over: %v", err)
	}
}
