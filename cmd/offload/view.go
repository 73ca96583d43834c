package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"offload/jobs"
)

// view shows the progress of one job. Its methods are called by one goroutine.
type view interface {
	show(jobs.Progress)
	close() // leaves the last state on the screen
}

// newView returns bars in a terminal and plain lines on stderr elsewhere.
func (a *app) newView(deletes bool) view {
	if a.terminal {
		return newBars(a.messages, deletes)
	}
	return &lines{out: a.err, last: time.Now()}
}

// done counts the files that nothing more will become of, but for their deletion.
func done(f jobs.Files) int64 { return f.Copied + f.Skipped + f.SetAside + f.Failed }

// eta is the time that the rest takes at the present rate, "" where that can't be told.
func eta(p jobs.Progress) string {
	left, known := p.Left()
	switch {
	case !known:
		return ""
	case left >= 30*24*time.Hour:
		return "more than a month left"
	}
	return span(left) + " left"
}

// progressLine sums up a job in one line: files, bytes, rate, time left, and what is being copied.
func progressLine(p jobs.Progress, width int) string {
	f := p.Job.Files
	found := ""
	if !p.Job.ScanComplete {
		found = " found so far"
	}
	parts := []string{
		fmt.Sprintf("%d of %d files%s", done(f), max(f.Found, p.Scanned), found),
		fmt.Sprintf("%s of %s", size(p.Job.Bytes.Copied+p.Moving), size(p.Job.Bytes.Found)),
	}
	if p.Rate >= 1 {
		parts = append(parts, size(int64(p.Rate))+"/s")
	}
	if left := eta(p); left != "" {
		parts = append(parts, left)
	}
	if p.Workers > 1 {
		parts = append(parts, count(int64(p.Workers), "worker"))
	}
	switch p.Job.State {
	case jobs.Transferring, jobs.Scanning:
	default:
		parts = append(parts, stateWords(p.Job))
	}
	parts = append(parts, troubleWords(p.Job)...)
	if f.Purged > 0 && p.Job.State == jobs.Finishing {
		parts = append(parts, fmt.Sprintf("%d of %d purged from the trash", f.Purged, f.Deleted))
	}
	line := strings.Join(parts, ", ")
	if len(p.Current) > 0 {
		names := make([]string, min(3, len(p.Current)))
		for i := range names {
			names[i] = shorten(p.Current[i], max(20, (width-len(line))/len(names)-2))
		}
		line += " | " + strings.Join(names, ", ")
		if more := len(p.Current) - len(names); more > 0 {
			line += fmt.Sprintf(" and %d more", more)
		}
	}
	return line
}

// lines prints a line now and then.
type lines struct {
	out  io.Writer
	last time.Time
	text string
}

// lineEvery is how often a line is printed where there are no bars.
const lineEvery = 5 * time.Second

func (l *lines) show(p jobs.Progress) {
	if time.Since(l.last) < lineEvery {
		return
	}
	l.last = time.Now()
	if text := progressLine(p, 160); text != l.text {
		l.text = text
		fmt.Fprintf(l.out, "offload: %s\n", text)
	}
}

func (l *lines) close() {}

// bars draws what was copied, proved and deleted, each on its own: the three are never merged.
type bars struct {
	messages *switchWriter
	before   io.Writer
	progress *mpb.Progress
	copied   *mpb.Bar
	proved   *mpb.Bar
	deleted  *mpb.Bar // nil where nothing is to be deleted
	line     *mpb.Bar
	text     atomic.Pointer[string]
}

func newBars(messages *switchWriter, deletes bool) *bars {
	b := &bars{messages: messages}
	empty := ""
	b.text.Store(&empty)
	b.before = messages.swap(io.Discard)
	b.progress = mpb.New(mpb.WithOutput(b.before), mpb.WithWidth(60), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())
	messages.swap(b.progress)
	b.copied = b.bar("copied ", decor.Any(func(s decor.Statistics) string { return size(s.Current) + " / " + size(s.Total) }))
	b.proved = b.bar("proved ", decor.CountersNoUnit("%d / %d files"))
	if deletes {
		b.deleted = b.bar("deleted", decor.CountersNoUnit("%d / %d files"))
	}
	b.line = b.progress.New(0, mpb.NopStyle(), mpb.BarFillerTrim(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return *b.text.Load() })))
	return b
}

func (b *bars) bar(name string, counters decor.Decorator) *mpb.Bar {
	return b.progress.New(0, mpb.BarStyle(), mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.Name("  "), counters))
}

func (b *bars) show(p jobs.Progress) {
	f := p.Job.Files
	g := p.Job.Grades
	set := func(bar *mpb.Bar, current, total int64) {
		// One more than the current value keeps a bar open while more may be found.
		if !p.Job.ScanComplete || total == 0 {
			total = max(total, current+1)
		}
		bar.SetTotal(total, false)
		bar.SetCurrent(min(current, total))
	}
	toProve := f.Found - f.SetAside - f.Failed
	set(b.copied, p.Job.Bytes.Copied+p.Moving, p.ToMove())
	set(b.proved, g.A+g.B+g.C, toProve)
	if b.deleted != nil {
		set(b.deleted, f.Deleted, toProve)
	}
	text := progressLine(p, 100)
	b.text.Store(&text)
}

func (b *bars) close() {
	empty := ""
	b.text.Store(&empty)
	for _, bar := range []*mpb.Bar{b.copied, b.proved, b.deleted} {
		if bar != nil {
			bar.Abort(false)
		}
	}
	b.line.Abort(true)
	b.progress.Wait()
	b.messages.swap(b.before)
}
