package pages

import (
	"strings"
	"testing"
	"time"

	"offload/dashboard/live"
	"offload/jobs"
	"offload/quota"
)

func TestHeadline(t *testing.T) {
	type counts = map[jobs.State]int64
	worker := []jobs.WorkerInfo{{State: jobs.WorkerIdle}}
	for _, c := range []struct {
		name    string
		counts  counts
		waiting map[jobs.Reason]int64
		workers []jobs.WorkerInfo
		needs   int
		stuck   int64
		want    string
		kind    string
	}{
		{"nothing", nil, nil, nil, 0, 0, "Nothing has been offloaded yet.", "still"},
		{"no worker", counts{jobs.Queued: 2}, nil, nil, 0, 0, "2 jobs can't go on: no worker is running.", "bad"},
		{"silent worker", counts{jobs.Transferring: 1}, nil, []jobs.WorkerInfo{{State: jobs.WorkerSilent}}, 0, 0, "1 job can't go on: no worker is running.", "bad"},
		{"running", counts{jobs.Transferring: 1, jobs.Scanning: 1}, nil, worker, 0, 0, "2 jobs are running.", "run"},
		{"sign-in", counts{jobs.Waiting: 1}, map[jobs.Reason]int64{jobs.ReasonSignIn: 1}, worker, 1, 0, "1 job needs you.", "person"},
		{"sign-in and running", counts{jobs.Waiting: 1, jobs.Transferring: 1}, map[jobs.Reason]int64{jobs.ReasonSpace: 1}, worker, 1, 0, "1 job needs you, and 1 job is running.", "person"},
		{"stuck", counts{jobs.Waiting: 1}, map[jobs.Reason]int64{jobs.ReasonQuota: 1}, worker, 1, 1, "1 job needs you.", "person"},
		{"quota", counts{jobs.Waiting: 2}, map[jobs.Reason]int64{jobs.ReasonQuota: 2}, worker, 0, 0, "2 jobs wait for quota; nothing is to be done.", "wait"},
		{"mixed", counts{jobs.Waiting: 2}, map[jobs.Reason]int64{jobs.ReasonQuota: 1, jobs.ReasonHold: 1}, worker, 0, 0, "2 jobs wait and will go on by themselves.", "wait"},
		{"queued", counts{jobs.Queued: 1}, nil, worker, 0, 0, "1 job will begin as soon as a worker has room.", "wait"},
		{"paused", counts{jobs.Paused: 1, jobs.Completed: 5}, nil, worker, 0, 0, "1 job is paused; nothing else is to be done.", "still"},
		{"done", counts{jobs.Completed: 5}, nil, nil, 0, 0, "Everything that was ordered is done.", "good"},
		{"done with failures", counts{jobs.CompletedW: 5}, nil, nil, 1, 0, "Nothing is running, and something wants a look.", "warn"},
	} {
		s := &live.Snapshot{Overview: jobs.Overview{Counts: c.counts, Waiting: c.waiting, Workers: c.workers}}
		if got := head(s, past{}, make([]attention, c.needs), c.stuck); got.Text != c.want || got.Kind != c.kind {
			t.Errorf("%s: %q (%s), want %q (%s)", c.name, got.Text, got.Kind, c.want, c.kind)
		}
	}
}

func TestWhenAJobEnds(t *testing.T) {
	now := time.Now()
	reset := now.AddDate(0, 0, 8)
	moving := func(change func(v *jobView)) jobView {
		v := jobView{Now: now, Progress: jobs.Progress{Pace: 1 << 20, Workers: 1, Job: jobs.Job{State: jobs.Transferring, ScanComplete: true,
			Files: jobs.Files{Found: 10, Copied: 5}, Bytes: jobs.Bytes{Found: 7200 << 20}}}}
		change(&v)
		return v
	}
	for _, c := range []struct {
		name string
		v    jobView
		want string
	}{
		{"by its pace", moving(func(*jobView) {}), "About 2\u00a0h left, done at about "},
		{"soon", moving(func(v *jobView) { v.Pace = 1 << 30 }), "Less than a minute left"},
		{"in days", moving(func(v *jobView) { v.Pace = 20 << 10 }), "About 4\u00a0d 6\u00a0h left, done about "},
		{"no faster than its limit", moving(func(v *jobView) { v.Limit = 512 << 10 }), "About 4\u00a0h left, done at about "},
		{"slower than its limit", moving(func(v *jobView) { v.Limit = 2 << 20 }), "About 2\u00a0h left, done at about "},
		{"not known yet", moving(func(v *jobView) {
			v.Rate, v.Pace, v.Forecast = 5<<10, 0, &quota.Forecast{Bytes: 5, Periods: 1, Fits: true}
		}), "How long it takes isn't known yet"},
		{"ended", moving(func(v *jobView) { v.Job.State = jobs.Completed }), ""},
		{"after a reset", moving(func(v *jobView) {
			v.Forecast = &quota.Forecast{Bytes: 5, Periods: 2, WaitUntil: &reset, Ends: &reset, At: now, TimeZone: "UTC"}
		}), "the waits for quota counted"},
		{"never", moving(func(v *jobView) { v.Forecast = &quota.Forecast{Bytes: 5} }), "It never ends with this quota"},
		{"in a window", moving(func(v *jobView) { v.Job.Order.Window = "22:00-06:00" }), ""},
	} {
		if got := c.v.End(); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What is said of a job that moves files and reads nothing: the limit is blamed where files wait for it, and files are said to
// be looked up, proved or deleted only while none is on the way.
func TestWhyAJobReadsNothing(t *testing.T) {
	const limited, other, stall = "The bandwidth limit of 40 KiB/s holds it up", "looked up, proved or deleted", "were read for 2\u00a0m: the source doesn't send"
	film := []string{"film.mov (3%)"}
	for _, c := range []struct {
		name string
		p    jobs.Progress
		want string // "" for no word
	}{
		{"it reads", jobs.Progress{Rate: 1 << 20, Current: film}, ""},
		{"it reads slowly", jobs.Progress{Current: film, Quiet: 9 * time.Second, Limit: 40 << 10, Held: true}, ""},
		{"held up by the limit", jobs.Progress{Current: film, Quiet: 10 * time.Second, Limit: 40 << 10, Held: true}, limited},
		{"for long", jobs.Progress{Current: film, Quiet: time.Hour, Limit: 40 << 10, Held: true}, limited},
		{"a limit that nothing waits for", jobs.Progress{Current: film, Quiet: 20 * time.Second, Limit: 40 << 10}, ""},
		{"a stall under a limit", jobs.Progress{Current: film, Quiet: 2 * time.Minute, Limit: 40 << 10}, stall},
		{"a file that is being sent", jobs.Progress{Current: film, Quiet: 20 * time.Second}, ""},
		{"a stall", jobs.Progress{Current: film, Quiet: 2 * time.Minute}, stall},
		{"between files", jobs.Progress{Quiet: 3 * time.Second}, ""},
		{"no file is on the way", jobs.Progress{Quiet: 10 * time.Second}, other},
		{"nor under a limit", jobs.Progress{Quiet: 10 * time.Second, Limit: 40 << 10}, other},
		{"no worker", jobs.Progress{Workers: -1, Quiet: time.Hour}, ""},
	} {
		c.p.Workers++
		c.p.Job = jobs.Job{State: jobs.Transferring, ScanComplete: true}
		said := strings.Join(jobView{Now: time.Now(), Progress: c.p}.Still(), " ")
		if c.want == "" && said != "" || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", c.name, said, c.want)
		}
	}
}

// A job that no month carries needs a person, and isn't said to go on by itself.
func TestStuckJob(t *testing.T) {
	waits := jobs.Job{State: jobs.Waiting, Reason: jobs.ReasonQuota, Label: "Film"}
	for _, c := range []struct {
		f    *quota.Forecast
		want bool
	}{{nil, false}, {&quota.Forecast{Bytes: 5, Periods: 2}, false}, {&quota.Forecast{Bytes: 5}, true}, {&quota.Forecast{TooLarge: 1}, true}, {&quota.Forecast{Bytes: 5, Periods: 1, TooLarge: 1}, false}} {
		v := jobView{Progress: jobs.Progress{Job: waits}, Forecast: c.f}
		if v.Stuck() != c.want {
			t.Errorf("%+v: stuck %v", c.f, v.Stuck())
		}
		if said := strings.Join(v.Still(), " "); strings.Contains(said, "by itself") == c.want {
			t.Errorf("%+v: says %q", c.f, said)
		}
	}
	stuck := []jobView{{Progress: jobs.Progress{Job: waits}, Forecast: &quota.Forecast{TooLarge: 1, Largest: 5}}}
	all := bare(t).attention(t.Context(), &live.Snapshot{}, past{failed: []jobs.Job{{ID: "x", Label: "Old", Files: jobs.Files{Failed: 3}}}}, stuck)
	if len(all) != 2 || all[0].Action != "Change the plan" || !strings.Contains(all[1].Text, `3 files of "Old" failed`) {
		t.Errorf("attention: %+v", all)
	}
}

// Commands within sentences are code, and nothing in a sentence is markup.
func TestCommandsAreCode(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		"Start one with `offload up`.": "Start one with <code>offload up</code>.",
		"`a` or `b`":                   "<code>a</code> or <code>b</code>",
		"one ` alone":                  "one ` alone",
		"`a` and ` alone":              "<code>a</code> and ` alone",
		"`<script>` of \"me\" & <b>":   "<code>&lt;script&gt;</code> of &#34;me&#34; &amp; &lt;b&gt;",
	} {
		if got := string(coded(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
