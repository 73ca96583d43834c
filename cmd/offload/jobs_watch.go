package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
)

// runJobsWatch shows the progress of a job until it ends or waits, or a signal comes. While the store is away it goes on
// watching: the job does so, too.
func (a *app) runJobsWatch(c *cli.Context, p *parts, id string) error {
	job, err := p.jobs.Get(c.Context, id)
	if err != nil {
		return err
	}
	watch := live.New(p.jobs, nil, p.log).Watch(job.ID)
	defer watch.Close()
	view, away := a.newView(job.Order.Deletes()), false
	var seq uint64
	for !settled(job) {
		v := watch.After(c.Context, seq)
		if v == nil {
			break
		}
		seq = v.Seq
		switch {
		case errors.Is(v.Err, jobs.ErrNotFound):
			view.close()
			return fmt.Errorf("follow job %s: %w", job.ID, v.Err)
		case v.Err != nil && !away:
			a.note("the store doesn't answer; the job goes on as soon as it does, and so does this")
		case v.Err == nil:
			job = v.Job
			view.show(v.Progress)
		}
		away = v.Err != nil
	}
	view.close()
	interrupted := errors.Is(context.Cause(c.Context), errInterrupted)
	if c.Bool("json") {
		err = writeJSON(a.out, job)
	} else {
		err = a.writeSummary(context.WithoutCancel(c.Context), p, job)
	}
	switch {
	case err != nil:
		return err
	case interrupted:
		return status(exitInterrupted)
	}
	return status(statusOf(job))
}

// settled tells whether nothing will happen to the job until a person or a later time acts on it.
func settled(job jobs.Job) bool {
	return job.State.Terminal() || job.State == jobs.Paused || job.State == jobs.Waiting
}

// watched refuses what --watch can't show: jobs that have ended.
func watched(c *cli.Context, o jobs.ListOptions) error {
	if i := slices.IndexFunc(o.States, jobs.State.Terminal); i >= 0 {
		return usageError("leave out --watch", "--watch shows jobs that haven't ended, and --state asks for %s", o.States[i])
	}
	if c.IsSet("limit") || c.Bool("all") {
		return usageError("leave it out", "--watch shows at most 100 jobs, and knows neither --limit nor --all")
	}
	return nil
}

// runJobsListWatch shows the jobs that haven't ended until a signal comes.
func (a *app) runJobsListWatch(c *cli.Context, p *parts, o jobs.ListOptions) error {
	var show func(*live.Snapshot) error
	switch {
	case c.Bool("json"):
		show = func(s *live.Snapshot) error {
			d := s.Document()
			d.Live = slices.DeleteFunc(d.Live, func(j live.LiveJob) bool { return !shown(j.Job, o) })
			return writeJSON(a.out, d)
		}
	case a.terminal:
		screen := &screen{out: a.out}
		show = func(s *live.Snapshot) error {
			width, height, err := term.GetSize(int(os.Stdout.Fd()))
			if err != nil {
				width, height = 120, 40
			}
			return screen.paint(watchLines(s, o, height-1), width)
		}
	default:
		show = a.changedLines(o)
	}
	hub := live.New(p.jobs, p.ledger, p.log)
	for seq := uint64(0); ; {
		s := hub.After(c.Context, seq)
		if s == nil {
			return status(exitInterrupted)
		}
		seq = s.Seq
		if err := show(s); err != nil {
			return err
		}
	}
}

// shown tells whether the options choose a job.
func shown(j jobs.Job, o jobs.ListOptions) bool {
	return (len(o.States) == 0 || slices.Contains(o.States, j.State)) && (o.Account == "" || j.Account == o.Account)
}

// watchLines are the lines of a screen of so many: a sentence, how the accounts stand, and the jobs.
func watchLines(s *live.Snapshot, o jobs.ListOptions, height int) []string {
	lines := []string{watchHead(s)}
	for _, st := range s.Quotas {
		if st.Limit >= 0 && (o.Account == "" || st.Account == o.Account) {
			lines = append(lines, quotaShort(st))
		}
	}
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tFROM -> TO\tFILES\tBYTES\tRATE\tLEFT")
	n := 0
	for _, p := range s.Live {
		if j := p.Job; shown(j, o) {
			n++
			rate := "-"
			if p.Rate >= 1 {
				rate = size(int64(p.Rate)) + "/s"
			}
			fmt.Fprintf(t, "%s\t%s\t%s -> %s\t%d/%d\t%s/%s\t%s\t%s\n", j.ID, stateWords(j), shorten(j.Source, 30), shorten(j.Dest, 30), done(j.Files),
				max(j.Files.Found, p.Scanned), size(j.Bytes.Copied+p.Moving), size(j.Bytes.Found), rate, orDefault(strings.TrimSuffix(eta(p), " left"), "-"))
		}
	}
	if err := t.Flush(); err != nil || n == 0 { // a builder doesn't fail
		return append(lines, "", "No job is like that now; `offload jobs list` shows those that have ended, too.")
	}
	lines = append(append(lines, ""), strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")...)
	if more := len(lines) - max(height, 5); more > 0 {
		lines = append(lines[:len(lines)-more-1], fmt.Sprintf("and %d more", more+1))
	}
	return lines
}

// watchHead says in one line what is going on.
func watchHead(s *live.Snapshot) string {
	running := s.Counts[jobs.Scanning] + s.Counts[jobs.Transferring] + s.Counts[jobs.Finishing]
	text := fmt.Sprintf("%s: %d running, %d queued, %d waiting, %d paused; %s", s.At.Local().Format("15:04:05"), running, s.Counts[jobs.Queued],
		s.Counts[jobs.Waiting], s.Counts[jobs.Paused], count(int64(len(s.Workers)), "worker"))
	if s.Err != nil {
		text += "; the store doesn't answer, this is of the last time"
	}
	return text
}

// quotaShort says in one line how an account stands.
func quotaShort(st quota.Status) string {
	return fmt.Sprintf("account %s: %s of %s used, %s left until %s", st.Account, size(st.Used), size(st.Limit), size(st.Available), dayIn(st.Period.End, st.TimeZone))
}

// changedLines prints a line for each job that changed, every few seconds: for what is no terminal.
func (a *app) changedLines(o jobs.ListOptions) func(*live.Snapshot) error {
	before, last := map[string]string{}, time.Time{}
	return func(s *live.Snapshot) error {
		if time.Since(last) < lineEvery {
			return nil
		}
		last = time.Now()
		now := map[string]string{}
		for _, p := range s.Live {
			if !shown(p.Job, o) {
				continue
			}
			text := fmt.Sprintf("%s %s: %s", p.Job.ID, stateWords(p.Job), progressLine(p, 160))
			if now[p.Job.ID] = text; before[p.Job.ID] == text {
				continue
			}
			if _, err := fmt.Fprintln(a.out, text); err != nil {
				return err
			}
		}
		for id := range before {
			if now[id] != "" {
				continue
			}
			if _, err := fmt.Fprintf(a.out, "%s isn't among them any more; `offload jobs show %s` says what became of it\n", id, id); err != nil {
				return err
			}
		}
		before = now
		return nil
	}
}

// screen paints lines over those of before.
type screen struct {
	out   io.Writer
	lines int // on the screen now
}

// paint shows lines, cut to the width: one that was broken would shift all others.
func (s *screen) paint(lines []string, width int) error {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r", s.lines)
	}
	for _, line := range lines {
		if r := []rune(line); len(r) > width && width > 0 {
			line = string(r[:width])
		}
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.lines = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
}
