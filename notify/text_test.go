package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"offload/jobs"
	"offload/quota"
)

const jobID = "01M825NTEQK6XMVPYHQVB65AQE"

func job(change func(*jobs.Job)) *jobs.Job {
	j := &jobs.Job{ID: jobID, Account: "anna", Source: "icloud:Tax 2020/secret", Dest: "dropbox:Backup", Error: "can't read Tax 2020/divorce.pdf",
		Files: jobs.Files{Found: 1210, Copied: 1204, Deleted: 1204}, Bytes: jobs.Bytes{Copied: 38 << 30, Deleted: 38 << 30}, Grades: jobs.Grades{A: 1200, B: 4}}
	if change != nil {
		change(j)
	}
	return j
}

// TestTexts holds the words of every kind of news. What has happened stands first, then numbers and what to do.
func TestTexts(t *testing.T) {
	reset := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		news  jobs.News
		title string
		text  string
	}{
		"finished": {jobs.News{Kind: jobs.NewsFinished, Job: job(nil)}, "icloud: -> dropbox: done.",
			"1,204 files copied (38 GiB), 1,204 proved, 1,204 deleted at the source, 38 GiB freed."},
		"finished, label": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) { j.Label = "Photos" })}, "Photos (icloud: -> dropbox:): done.", "1,204 files"},
		"one file": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) {
			j.Files, j.Grades, j.Bytes = jobs.Files{Copied: 1}, jobs.Grades{A: 1}, jobs.Bytes{Copied: 512}
		})}, "done", "1 file copied (512 B), 1 proved."},
		"in the trash": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) { j.Trash = true })}, "done",
			"1,204 deleted at the source, 38 GiB in its trash: they are freed when that is emptied."},
		"purged in part": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) {
			j.Trash, j.Files.Purged, j.Bytes.Purged = true, 1000, 30<<30
		})}, "done", "30 GiB freed, 8.0 GiB in its trash."},
		"all there": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) {
			j.Files, j.Grades, j.Bytes = jobs.Files{Skipped: 7}, jobs.Grades{}, jobs.Bytes{}
		})}, "done", "7 files were there already."},
		"local": {jobs.News{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) { j.Source, j.Dest = "/home/anna/secret", `nas,user="x":films` })},
			"a local folder -> nas: done.", "copied"},
		"warnings": {jobs.News{Kind: jobs.NewsWarnings, Job: job(func(j *jobs.Job) { j.Files.Failed, j.Files.SetAside = 3, 2 })},
			"icloud: -> dropbox: done with warnings, 3 failed, 2 set aside.",
			"`offload jobs show " + jobID + "` says why. `offload jobs retry " + jobID + "` tries the failed files again."},
		"failed": {jobs.News{Kind: jobs.NewsFailed, Job: job(nil)}, "icloud: -> dropbox: failed.", "`offload jobs show " + jobID + "` says why."},
		"sign-in": {jobs.News{Kind: jobs.NewsWaits, Remote: "icloud", Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonSignIn })},
			"Sign in to icloud: again: icloud: -> dropbox: waits for it.", "What to do: `offload remotes reconnect icloud`."},
		"sign-in, strange name": {jobs.News{Kind: jobs.NewsWaits, Remote: "my cloud; rm -rf /", Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonSignIn })},
			"Sign in to my cloud; rm -rf /: again", "`offload remotes reconnect 'my cloud; rm -rf /'`"},
		"space": {jobs.News{Kind: jobs.NewsWaits, Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonSpace })},
			"dropbox: is full: icloud: -> dropbox: waits for space.", "`offload jobs resume " + jobID + "` makes it look now."},
		"quota for ever": {jobs.News{Kind: jobs.NewsWaits, Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonQuota })},
			"icloud: -> dropbox: waits for more quota, and no new month brings enough.", "`offload quota set --account anna --plan PLAN`"},
		"80 %": {jobs.News{Kind: jobs.NewsQuota, Until: &reset, Quota: &quota.Event{Subject: "anna", Percent: 80, Used: 4 << 30, Limit: 5 << 30}},
			"Account anna has used 80 % of its allowance: 4.0 GiB of 5.0 GiB.", "It begins anew on 1 December at 00:00 UTC."},
		"100 %": {jobs.News{Kind: jobs.NewsQuota, Until: &reset, Quota: &quota.Event{Subject: "anna", Percent: 100, Used: 5 << 30, Limit: 5 << 30}},
			"Account anna has used up its allowance of 5.0 GiB.", "Its jobs go on by themselves on 1 December at 00:00 UTC, or now with `offload quota set --account anna --plan PLAN`."},
		"100 %, no date": {jobs.News{Kind: jobs.NewsQuota, Quota: &quota.Event{Subject: quota.RemoteSubject("gdrive", quota.PerDay), Percent: 100, Used: 5 << 30, Limit: 5 << 30}},
			"Remote gdrive has used up its allowance of 5.0 GiB", "Its jobs go on by themselves when it begins anew"},
		"80 %, no date": {jobs.News{Kind: jobs.NewsQuota, Quota: &quota.Event{Subject: "anna", Percent: 80, Used: 4 << 30, Limit: 5 << 30}},
			"80 %", "It begins anew as `offload quota show` says."},
		"trust":       {jobs.News{Kind: jobs.NewsSignIn, Remote: "icloud", Days: 7}, "The sign-in of icloud: ends in 7 days.", "`offload remotes reconnect icloud`"},
		"trust, last": {jobs.News{Kind: jobs.NewsSignIn, Remote: "icloud", Days: 1}, "The sign-in of icloud: ends tomorrow.", "reconnect"},
		"idle":        {jobs.News{Kind: jobs.NewsIdle, Jobs: 4, Span: 75 * time.Hour}, "Nothing has moved for 3 days, though 4 jobs should.", "`offload jobs list`"},
		"worker":      {jobs.News{Kind: jobs.NewsWorker, Worker: "h/12", Workers: 2, At: reset}, "Worker h/12 has been silent since 2026-12-01 00:00 UTC.", "Others go on"},
		"last worker": {jobs.News{Kind: jobs.NewsWorker, Worker: "h/12", At: reset}, "Worker h/12", "No other worker runs"},
		"store":       {jobs.News{Kind: jobs.NewsStore, Span: 31 * time.Second}, "The store has lost what was written last, up to 31 seconds.", "No file is lost"},
	}
	kinds := map[jobs.NewsKind]bool{}
	for name, tt := range tests {
		kinds[tt.news.Kind] = true
		t.Run(name, func(t *testing.T) {
			m := texts{}.message([]jobs.News{tt.news}, 0, 1800)
			if !strings.Contains(m.Title, tt.title) || !strings.Contains(m.Text, tt.text) {
				t.Errorf("got %q\n%q\nwant %q\n%q", m.Title, m.Text, tt.title, tt.text)
			}
			for _, secret := range []string{"Tax", "secret", "divorce", "Backup", "films", "user="} {
				if strings.Contains(m.Title+m.Text, secret) {
					t.Errorf("holds %q: %+v", secret, m)
				}
			}
			if strings.ContainsAny(m.Title, "\r\n") {
				t.Errorf("the title has two lines: %q", m.Title)
			}
			for line := range strings.Lines(m.Text) {
				if len(line) > 500 {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
		})
	}
	for _, kind := range []jobs.NewsKind{jobs.NewsFinished, jobs.NewsWarnings, jobs.NewsFailed, jobs.NewsWaits, jobs.NewsQuota, jobs.NewsSignIn,
		jobs.NewsIdle, jobs.NewsWorker, jobs.NewsStore} {
		if !kinds[kind] || rank(kind) < 0 {
			t.Errorf("nothing is said of %s", kind)
		}
	}
}

// TestDetails: paths and causes stand in a message where that was asked for.
func TestDetails(t *testing.T) {
	m := texts{details: true}.message([]jobs.News{{Kind: jobs.NewsFailed, Job: job(nil)}}, 0, 1800)
	if !strings.Contains(m.Title, "icloud:Tax 2020/secret -> dropbox:Backup: failed.") || !strings.Contains(m.Text, "Why: can't read Tax 2020/divorce.pdf") {
		t.Errorf("got %+v", m)
	}
}

// TestLinks lead to the page of what is spoken of.
func TestLinks(t *testing.T) {
	tx := texts{link: "https://o.example/x"}
	for _, tt := range []struct {
		news jobs.News
		want string
	}{
		{jobs.News{Kind: jobs.NewsFinished, Job: job(nil)}, "https://o.example/x/jobs/" + jobID},
		{jobs.News{Kind: jobs.NewsWaits, Remote: "icloud", Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonSignIn })}, "https://o.example/x/remotes"},
		{jobs.News{Kind: jobs.NewsQuota, Quota: &quota.Event{Subject: "anna", Percent: 80}}, "https://o.example/x/quota"},
		{jobs.News{Kind: jobs.NewsWorker}, "https://o.example/x/workers"},
	} {
		if m := tx.message([]jobs.News{tt.news}, 0, 1800); !strings.HasSuffix(m.Text, "\n"+tt.want) {
			t.Errorf("%s ends in %q; want the link %s", tt.news.Kind, m.Text, tt.want)
		}
	}
}

// TestDigestText: what only a person can mend comes first, all fits its service, and nothing is left out without a word.
func TestDigestText(t *testing.T) {
	var news []jobs.News
	for i := range 300 {
		j := job(func(j *jobs.Job) { j.ID, j.Label = fmt.Sprint("J", i), strings.Repeat("é", i%90) })
		news = append(news, jobs.News{Kind: jobs.NewsFinished, Job: j})
	}
	news = append(news, jobs.News{Kind: jobs.NewsFailed, Job: job(nil)},
		jobs.News{Kind: jobs.NewsWaits, Remote: "icloud", Job: job(func(j *jobs.Job) { j.State, j.Reason = jobs.Waiting, jobs.ReasonSignIn })},
		jobs.News{Kind: jobs.NewsStore, Span: time.Minute})
	for _, room := range []int{1000, 1800} {
		m := texts{}.message(news, 12345, room)
		if len(m.Text) > room || !utf8.ValidString(m.Text) {
			t.Errorf("%d bytes in a room of %d", len(m.Text), room)
		}
		if m.Title != "offload: 1 thing needs you, 1 failed, 300 done, 1 warning" {
			t.Errorf("the title is %q", m.Title)
		}
		first, second := strings.Index(m.Text, "- Sign in"), strings.Index(m.Text, " failed.")
		if first != 0 || second < first || !strings.Contains(m.Text, " more: `offload jobs list`") || !strings.Contains(m.Text, "12,345 more before these") {
			t.Errorf("the digest is\n%s", m.Text)
		}
	}
	if m := (texts{}).message(nil, 7, 1800); !strings.Contains(m.Text, "7 more before these") {
		t.Errorf("where nothing was kept: %+v", m)
	}
}

// TestForeignTextIsPlain: nothing that a cloud or a user names calls people in a chat, or makes a second line.
func TestForeignTextIsPlain(t *testing.T) {
	for _, label := range []string{"@everyone", "<!channel>", "<@123>", "a\nSubject: b", "\x1b[31m", "`rm`", "\u202egpj", strings.Repeat("x", 1000), "\xff\xfe"} {
		m := texts{}.message([]jobs.News{{Kind: jobs.NewsFinished, Job: job(func(j *jobs.Job) { j.Label = label })}}, 0, 1800)
		if strings.ContainsAny(m.Title, "\r\n\x1b@<\u202e") || len(m.Title) > 400 || !utf8.ValidString(m.Title) {
			t.Errorf("%q becomes %q", label, m.Title)
		}
	}
}

// FuzzPlain: whatever comes in, one valid line of bounded length comes out.
func FuzzPlain(f *testing.F) {
	f.Add("a <b> @c\n`d`", 20)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = 4 + max(0, most%200)
		got := plain(s, most)
		if strings.ContainsAny(got, "\r\n\t<>@`") || utf8.RuneCountInString(got) > most || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q", s, got)
		}
	})
}

// FuzzMask: no error repeats a part of the address, however it is written there.
func FuzzMask(f *testing.F) {
	f.Add("slack://hook:AAAA-BBBB@webhook?x=hunter2", "Post \"https://hooks.slack.com/AAAA/BBBB\": refused hunter2")
	f.Add("smtp://a:p%40ss@h/?from=b", "535 wrong p@ss for a")
	f.Fuzz(func(t *testing.T, address, text string) {
		got := strings.ToLower(maskError(fmt.Errorf("%s", text), address).Error())
		for _, s := range secretsOf(address) {
			if utf8.ValidString(s) && strings.Trim(s, "*()aders") != "" && len(s) >= secretLength && strings.Contains(got, strings.ToLower(s)) {
				t.Errorf("%q is left of %q in %q", s, address, got)
			}
		}
	})
}
