package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/live"
	"offload/internal/jobstest"
	"offload/jobs"
	"offload/schedules"
	"offload/transfer"
)

// failing is a job that fails and stays in the list. Nothing is wrong with its order: the next one of it may be done.
func (w *world) failing(change func(*jobs.Order)) jobs.Job {
	w.t.Helper()
	j := w.order(change)
	if err := os.Rename(w.src, w.src+".away"); err != nil {
		w.t.Fatal(err)
	}
	stop := w.worker()
	j = w.reach(j.ID, jobs.FailedState, jobs.CompletedW)
	stop()
	if err := os.Rename(w.src+".away", w.src); err != nil {
		w.t.Fatal(err)
	}
	return j
}

// fresh forgets what is kept for a few seconds.
func (w *world) fresh() {
	w.pages.pasts.dropAll()
	w.pages.completed.dropAll()
}

// What failed leaves Home when somebody has seen it, or the same was ordered again and done; the job still tells it.
func TestHomeForgetsWhatWasSeenOrRedone(t *testing.T) {
	w := newWorld(t)
	w.put(10, "a.txt")
	label := func(name string) func(*jobs.Order) { return func(o *jobs.Order) { o.Label = name } }
	j := w.failing(label("First try"))
	home := func() string {
		t.Helper()
		_, page := w.get("/")
		return page
	}
	// The list of jobs follows their states a moment later.
	stands := func(want bool, texts ...string) {
		t.Helper()
		jobstest.Until(t, fmt.Sprintf("attention to be needed: %v, and %q", want, texts), func() bool {
			w.fresh()
			page := home()
			return strings.Contains(page, "Needs attention") == want && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(page, text) })
		})
	}
	stands(true, "First try")
	page := home()
	end := fmt.Sprint(j.Finished.UnixMilli())
	holds(t, page, "Needs attention", "First try", `action="/jobs/`+j.ID+`/seen"`, `value="`+end+`"`)
	if v := w.as(guard.Person{Name: "ben", Role: guard.Viewer}); true {
		_, page := v.get("/")
		holds(t, page, "Needs attention")
		lacks(t, page, "/seen")
	}
	for _, bad := range []url.Values{{}, {"end": {"x"}}, {"end": {"-1"}}} {
		if code, _ := w.post("/jobs/"+j.ID+"/seen", bad); code != http.StatusBadRequest {
			t.Errorf("%v: %d", bad, code)
		}
	}
	if code, to := w.post("/jobs/"+j.ID+"/seen", url.Values{"end": {"17"}}); code != http.StatusSeeOther || to != "/?note=unseen" {
		t.Errorf("another end: %d %s", code, to)
	}
	stands(true)
	if code, to := w.post("/jobs/"+j.ID+"/seen", url.Values{"end": {end}}); code != http.StatusSeeOther || to != "/?note=seen" {
		t.Errorf("%d %s", code, to)
	}
	lacks(t, home(), "Needs attention") // at once
	_, page = w.get("/jobs/" + j.ID)
	holds(t, page, "First try", "Retry")

	// Retried in vain it stands there again.
	if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.src, w.src+".away"); err != nil {
		t.Fatal(err)
	}
	stop := w.worker()
	w.reach(j.ID, jobs.FailedState, jobs.CompletedW)
	stop()
	if err := os.Rename(w.src+".away", w.src); err != nil {
		t.Fatal(err)
	}
	stands(true, "First try")

	// A job between other paths changes nothing of that; the same order does, when it is done.
	stop = w.worker()
	defer stop()
	other := w.order(func(o *jobs.Order) { o.Dest, o.DeleteSource = filepath.Join(t.TempDir(), "dst"), transfer.DeleteNever })
	w.reach(other.ID, jobs.Completed)
	stands(true, "First try", other.ID)
	again := w.order(label("Second try"))
	w.reach(again.ID, jobs.Completed)
	stands(false)
}

// An alarm of a scrub leaves only by hand, or when a later scrub of the same job finds all there.
func TestScrubAlarmIsSeenByHand(t *testing.T) {
	end := time.Now()
	alarm := jobs.Job{ID: "01B", Kind: jobs.KindScrub, Of: "01A", Source: "dropbox:", State: jobs.CompletedW, Scrub: &jobs.ScrubResult{Missing: 2}, Finished: &end}
	if all := scrubAlarms(past{scrubs: []jobs.Job{alarm}}); len(all) != 1 || all[0].Seen != "01B" || all[0].End != end.UnixMilli() {
		t.Errorf("%+v", all)
	}
	alarm.Seen = true
	if all := scrubAlarms(past{scrubs: []jobs.Job{alarm}}); len(all) != 0 {
		t.Errorf("though it was seen: %+v", all)
	}
}

// Each remote that a person is needed for has its entry, whoever else waits.
func TestAttentionOfStalledJobs(t *testing.T) {
	s := &live.Snapshot{}
	for i := range 3 {
		s.Stalled = append(s.Stalled, jobs.Job{ID: fmt.Sprint("01S", i), State: jobs.Waiting, Reason: jobs.ReasonSpace, Dest: fmt.Sprint("dropbox:Backup/", i)},
			jobs.Job{ID: fmt.Sprint("01I", i), State: jobs.Waiting, Reason: jobs.ReasonSignIn, Source: "icloud:", Dest: "dropbox:", Error: "icloud: sign in again"})
	}
	s.Waiting = map[jobs.Reason]int64{jobs.ReasonSignIn: 300}
	all := bare(t).attention(t.Context(), s, past{}, nil)
	if len(all) != 2 || all[0].Link != "/remotes/icloud/sign-in" || !strings.Contains(all[0].Text, "300 jobs wait for it") ||
		!strings.Contains(all[1].Text, "no room at dropbox:. 3 jobs") || all[1].Link != "/jobs/01S0" {
		t.Errorf("%+v", all)
	}
}

// The gauge of a cloud says what is free and what a backup needs, or who knows.
func TestNeedOfBackup(t *testing.T) {
	const gib = 1 << 30
	kinds := func(backup int64) map[string]int64 { return map[string]int64{"photos": gib, "backup": backup} }
	for _, c := range []struct {
		kinds   map[string]int64
		planned int64
		want    []string
	}{
		{nil, 8 * gib, nil},
		{kinds(0), 0, []string{"3.0 GiB is free", "isn't known here", "offload free icloud: --for-backup 8GB", "offload doctor"}},
		{kinds(2 * gib), 0, []string{"3.0 GiB is free", "take 2.0 GiB", "offload doctor"}},
		{kinds(2 * gib), 2 * gib, []string{"backup of 2.0 GiB", "5% to spare", "3.0 GiB is free."}},
		{kinds(0), 8 * gib, []string{"backup of 8.0 GiB", "3.0 GiB is free, so 5.4 GiB is missing."}},
	} {
		got := needOf("icloud", transfer.Storage{Total: 5 * gib, Used: 2 * gib, ByKind: c.kinds}, c.planned)
		if len(c.want) == 0 && got != "" {
			t.Errorf("%q", got)
		}
		for _, want := range c.want {
			if !strings.Contains(strings.ReplaceAll(got, "\u00a0", " "), want) {
				t.Errorf("%+v: %q lacks %q", c, got, want)
			}
		}
	}
}

// The size of a backup is taken from the schedule that keeps room for it, unless that is paused.
func TestBackupsPlanned(t *testing.T) {
	w := newWorld(t)
	goal := jobs.Goal{Remote: "icloud:", To: "dropbox:Archive", Backup: 8 << 30}
	_, err := w.pages.cfg.Schedules.Add(t.Context(), schedules.Schedule{Name: "room", When: schedules.When{Cron: "0 3 * * *", Zone: "UTC"}, Order: jobs.Order{Goal: &goal}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.pages.backupsPlanned(t.Context()); got["icloud"] != 8<<30 {
		t.Errorf("%v", got)
	}
}
