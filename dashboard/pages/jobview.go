package pages

import (
	"fmt"
	"strings"
	"time"

	"offload/internal/human"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
)

// jobView is a job as cards and pages show it.
type jobView struct {
	jobs.Progress
	Forecast *quota.Forecast // nil where it isn't known
	Idle     bool            // no worker of the pool is at work
	Unseen   bool            // nothing is known of the workers
	Now      time.Time
}

// bar is one of a job's three bars.
type bar struct {
	Name   string
	Kind   string // a class: "", "good", "gone"
	Done   int64
	Whole  int64 // at least 1
	Open   bool  // more may be found, so Whole isn't known
	Figure string
}

// Percent is how far the bar is, rounded down.
func (b bar) Percent() int {
	return min(100, int(float64(b.Done)/float64(b.Whole)*100))
}

// Settled counts the files that nothing more will become of, but for their deletion.
func (v jobView) Settled() int64 {
	f := v.Job.Files
	return f.Copied + f.Skipped + f.SetAside + f.Failed + f.Excluded
}

// Found counts the files as far as they are known.
func (v jobView) Found() int64 { return max(v.Job.Files.Found, v.Scanned) }

// Percent is how much of the bytes were moved.
func (v jobView) Percent() int { return v.copied().Percent() }

// Bars are what was copied, proved and deleted: the three are never merged.
func (v jobView) Bars() []bar {
	f, g := v.Job.Files, v.Job.Grades
	open := !v.Job.ScanComplete && !v.Job.State.Terminal()
	proved := g.A + g.B + g.C
	toProve := max(f.Found-f.SetAside-f.Failed-f.Excluded, proved)
	files := func(name, kind string, n int64) bar {
		figure := fmt.Sprintf("%s of %s", human.Number(n), human.Count(toProve, "file"))
		if open && toProve == 0 {
			figure = "nothing found yet"
		} else if open {
			figure += " so far"
		}
		return bar{name, kind, n, max(toProve, 1), open, figure}
	}
	all := []bar{v.copied(), files("Proved", "good", proved)}
	if v.Job.DeleteSource != transfer.DeleteNever && v.Job.DeleteSource != "" {
		all = append(all, files("Deleted", "gone", min(f.Deleted, toProve)))
	}
	return all
}

func (v jobView) copied() bar {
	open := !v.Job.ScanComplete && !v.Job.State.Terminal()
	moved, whole := v.Job.Bytes.Copied+v.Moving, v.ToMove()
	figure := fmt.Sprintf("%s of %s", human.Size(moved), human.Size(whole))
	if open && whole == 0 {
		figure = "nothing found yet"
	} else if open {
		figure += " so far"
	}
	done := moved
	if whole == 0 && v.Job.State == jobs.Completed { // nothing was to be copied
		done = 1
	}
	return bar{"Copied", "", min(done, max(whole, 1)), max(whole, 1), open, figure}
}

// Average is the bytes a second since the job began, its waits included; 0 where that says nothing.
func (v jobView) Average() float64 {
	if v.Job.Started == nil {
		return 0
	}
	end := v.Now
	if v.Job.Finished != nil {
		end = *v.Job.Finished
	}
	if d := end.Sub(*v.Job.Started).Seconds(); d >= 1 {
		return float64(v.Job.Bytes.Copied+v.Moving) / d
	}
	return 0
}

// For says how long the job has been about what it is about: "Running for 3 m", "Finished in 12 m".
func (v jobView) For() string {
	j := v.Job
	since := func(words string, t *time.Time) string {
		if t == nil {
			return ""
		}
		return words + " " + coarse(v.Now.Sub(*t))
	}
	took := func(words string) string {
		if j.Started == nil || j.Finished == nil {
			return ""
		}
		return words + " " + coarse(j.Finished.Sub(*j.Started))
	}
	switch j.State {
	case jobs.Queued:
		return since("Queued for", &j.Created)
	case jobs.Completed, jobs.CompletedW:
		return took("Finished in")
	case jobs.FailedState:
		return took("Failed after")
	case jobs.Canceled:
		return took("Canceled after")
	case jobs.Paused, jobs.Waiting:
		return since("Begun", j.Started) + beforeIf(j.Started)
	}
	return since("Running for", j.Started)
}

func beforeIf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " ago"
}

// End says when the job will have ended, as far as that can be told: waits for quota and the window are taken into account.
func (v jobView) End() string {
	j, f := v.Job, v.Forecast
	if j.State.Terminal() || j.State == jobs.Paused {
		return ""
	}
	left, known := v.Left()
	if known && j.Order.Window == "" && (f == nil || f.Fits && f.WaitUntil == nil) {
		if left > 24*time.Hour {
			return fmt.Sprintf("About %s left, done about %s", coarse(left), v.Now.Add(left).Local().Format("2 January"))
		}
		if left < time.Minute {
			return "Less than a minute left"
		}
		at := v.Now.Add(left).Local()
		text := at.Format("15:04 MST")
		if at.Format(time.DateOnly) != v.Now.Local().Format(time.DateOnly) {
			text = at.Format("2 January, 15:04 MST")
		}
		return fmt.Sprintf("About %s left, done at about %s", coarse(left), text)
	}
	if f == nil || j.Retrying != nil && v.Rate < 1 {
		return "" // while files fail and nothing moves there is no pace to tell it by
	}
	end := f.End()
	switch {
	case f.Bytes == 0 && !f.AtLeast:
		return "" // nothing is left to be moved: what remains is deletion, which has no pace
	case end == "not known yet":
		return "How long it takes isn't known yet"
	case end == "never":
		return "It never ends with this quota"
	case f.WaitUntil != nil:
		return fmt.Sprintf("Ends %s, the waits for quota counted", end)
	}
	return "Ends " + end
}

// settles is how long a job may run before it is worth a word that no worker tells of it.
const settles = 15 * time.Second

// Still says why nothing moves when nothing moves: one sentence for each reason, the most important first.
func (v jobView) Still() []string {
	j := v.Job
	if j.State.Terminal() {
		return nil
	}
	var why []string
	if j.State == jobs.Waiting || j.State == jobs.Paused {
		why = append(why, v.waits())
	}
	if j.State == jobs.Waiting && j.Error != "" && !v.Stuck() {
		why = append(why, sentenceOf(j.Error))
	}
	for _, o := range j.Outages {
		why = append(why, fmt.Sprintf("%s hasn't answered since %s (%s). It is asked again until it does.",
			human.Printable(o.Remote), o.Since.Local().Format("15:04 MST"), human.Printable(o.Why)))
	}
	if r := j.Retrying; r != nil {
		why = append(why, human.TriedAgain(r.Files, r.Path, r.Attempt, r.Of, r.Why))
	}
	if (j.State == jobs.Queued || j.State.Runs()) && v.Workers == 0 {
		switch {
		case v.Unseen:
		case v.Idle:
			why = append(why, "No worker is running. Start one with `offload worker`, or `offload up`.")
		case j.State == jobs.Queued:
			why = append(why, "The workers are busy with other jobs; it takes its turn.")
		case len(why) == 0 && j.Started != nil && v.Now.Sub(*j.Started) > settles:
			why = append(why, "No worker is at it just now; it takes its turn.")
		}
	}
	if j.State == jobs.Transferring && v.Workers > 0 && len(why) == 0 {
		why = append(why, v.idle()...)
	}
	return why
}

// Times without a byte read that are worth a word.
const (
	quiet   = 10 * time.Second
	stalled = 30 * time.Second // of files under way: a destination may be busy for a while with what it was sent
)

// idle says why the workers of a job that moves files read nothing; nothing where they do.
func (v jobView) idle() []string {
	switch {
	case v.Quiet < quiet:
		return nil
	case len(v.Current) == 0:
		return []string{"No bytes were read in the last seconds: files are being looked up, proved or deleted."}
	case v.Held && v.Limit > 0:
		return []string{fmt.Sprintf("The bandwidth limit of %s/s holds it up: bytes are read as soon as it lets them through.", human.Size(v.Limit))}
	case v.Quiet < stalled:
		return nil
	}
	return []string{fmt.Sprintf("No bytes of the files on the way were read for %s: the source doesn't send, or the destination is still busy with what it was sent.",
		coarse(v.Quiet))}
}

// ForecastWords is the forecast in words, where waits are ahead or something will never be moved: else End says all of it,
// and by the rate of now.
func (v jobView) ForecastWords() string {
	f := v.Forecast
	if f == nil || v.Job.State.Terminal() || v.Job.State == jobs.Paused || f.Bytes == 0 && f.TooLarge == 0 {
		return ""
	}
	if f.WaitUntil == nil && f.TooLarge == 0 && f.Periods != 0 && f.Closed == "" {
		return ""
	}
	return f.Sentence()
}

// Stuck tells whether the job waits for quota that no month to come gives it: only a larger plan helps.
func (v jobView) Stuck() bool {
	f := v.Forecast
	if f == nil || v.Job.State != jobs.Waiting || v.Job.Reason != jobs.ReasonQuota {
		return false
	}
	return f.Bytes > 0 && f.Periods == 0 || f.Bytes == 0 && f.TooLarge > 0
}

// waits says what a waiting or paused job waits for, and until when.
func (v jobView) waits() string {
	j, help := v.Job, strings.TrimSuffix(stateHelp(v.Job), ".")
	if v.Stuck() {
		return "What is left needs more traffic than any month allows: it goes on only with a larger plan."
	}
	if j.Until == nil || j.State == jobs.Paused {
		return help + "."
	}
	at := fmt.Sprintf("%s (%s)", j.Until.Local().Format("2 January, 15:04 MST"), strings.TrimSuffix(fromNow(j.Until), "."))
	if j.Reason == jobs.ReasonSignIn || j.Reason == jobs.ReasonSpace {
		return help + ". It looks again on " + at + "."
	}
	if j.Error != "" { // which says more of it
		return help + "."
	}
	return help + ". That is on " + at + "."
}

// sentenceOf makes a sentence for people of an error's text.
func sentenceOf(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return ""
	}
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "!") && !strings.HasSuffix(s, "?") {
		s += "."
	}
	return upper(human.Printable(s))
}

// Proofs says what was proved, strongest first.
func (v jobView) Proofs() []string {
	g := v.Job.Grades
	var all []string
	for _, p := range []struct {
		n     int64
		grade transfer.Grade
	}{{g.A, transfer.GradeA}, {g.B, transfer.GradeB}, {g.C, transfer.GradeC}, {g.D, transfer.GradeD}} {
		if p.n > 0 {
			all = append(all, human.Count(p.n, "file")+": "+gradeWords(p.grade))
		}
	}
	return all
}

// gradeWords say what a grade proves.
func gradeWords(g transfer.Grade) string {
	switch g {
	case transfer.GradeA:
		return "verified by content hash (grade A)"
	case transfer.GradeB:
		return "read back and equal (grade B)"
	case transfer.GradeC:
		return "size and time match, the content wasn't compared (grade C)"
	case transfer.GradeD:
		return "not proved (grade D)"
	}
	return "nothing proved"
}
