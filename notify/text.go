package notify

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"offload/jobs"
	"offload/quota"
)

// texts writes messages.
type texts struct {
	link    string // of the dashboard, without a slash at the end; "" for none
	details bool
}

// Lengths of foreign texts in a message, in runes.
const (
	nameLength  = 60
	causeLength = 200
)

// item is one thing to say.
type item struct {
	kind jobs.NewsKind
	head string // one line: what has happened
	more string // what to do, and numbers; "" for nothing
	link string
}

// rank is the order of importance: what only a person can mend comes first.
func rank(k jobs.NewsKind) int {
	return slices.Index([]jobs.NewsKind{jobs.NewsScrub, jobs.NewsWaits, jobs.NewsFailed, jobs.NewsStore, jobs.NewsSignIn, jobs.NewsIdle, jobs.NewsSchedule, jobs.NewsWorker,
		jobs.NewsQuota, jobs.NewsWarnings, jobs.NewsFinished}, k)
}

// message puts news into one message of at most so many bytes. missed are news that weren't kept.
func (t texts) message(news []jobs.News, missed int64, room int) message {
	items := t.items(news)
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(rank(a.kind), rank(b.kind)) })
	rest := ""
	if missed > 0 {
		rest = fmt.Sprintf("%s more before these weren't kept: `offload jobs list` shows all jobs.", humanize.Comma(missed))
	}
	if len(items) == 1 && missed == 0 {
		return message{Title: items[0].head, Text: orDefault(body(items[0]), items[0].head)}
	}
	var b strings.Builder
	for i, it := range items {
		text := "- " + it.head + "\n"
		if it.more != "" {
			text += "  " + it.more + "\n"
		}
		if it.link != "" {
			text += "  " + it.link + "\n"
		}
		last := fmt.Sprintf("- and %d more: `offload jobs list`\n", len(items)-i)
		if b.Len()+len(text)+len(last)+len(rest) > room && i > 0 {
			b.WriteString(last)
			break
		}
		b.WriteString(text)
	}
	return message{Title: title(items), Text: strings.TrimSpace(b.String() + rest)}
}

func body(it item) string {
	return strings.TrimSpace(it.more + "\n" + it.link)
}

// title counts what a message holds.
func title(items []item) string {
	n := map[jobs.NewsKind]int{}
	for _, it := range items {
		n[it.kind]++
	}
	var parts []string
	say := func(what string, kinds ...jobs.NewsKind) {
		sum := 0
		for _, k := range kinds {
			sum += n[k]
		}
		if sum > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", sum, what))
		}
	}
	if w := n[jobs.NewsScrub]; w == 1 {
		parts = append(parts, "1 alarm")
	} else if w > 1 {
		parts = append(parts, fmt.Sprintf("%d alarms", w))
	}
	if w := n[jobs.NewsWaits]; w == 1 {
		parts = append(parts, "1 thing needs you")
	} else if w > 1 {
		parts = append(parts, fmt.Sprintf("%d things need you", w))
	}
	say("failed", jobs.NewsFailed)
	say("done with warnings", jobs.NewsWarnings)
	say("done", jobs.NewsFinished)
	if w := n[jobs.NewsStore] + n[jobs.NewsSignIn] + n[jobs.NewsIdle] + n[jobs.NewsSchedule] + n[jobs.NewsWorker] + n[jobs.NewsQuota]; w == 1 {
		parts = append(parts, "1 warning")
	} else if w > 1 {
		parts = append(parts, fmt.Sprintf("%d warnings", w))
	}
	return "offload: " + orDefault(strings.Join(parts, ", "), "news")
}

// items says each of the news once: jobs that wait for the same sign-in are one.
func (t texts) items(news []jobs.News) []item {
	waits := map[string]int{} // by what they wait for
	for _, n := range news {
		if n.Kind == jobs.NewsWaits && n.Job != nil {
			waits[t.waitsFor(n)]++
		}
	}
	var items []item
	for _, n := range news {
		switch {
		case rank(n.Kind) < 0: // of a newer version
		case n.Kind == jobs.NewsWaits && n.Job != nil:
			key := t.waitsFor(n)
			if waits[key] > 0 {
				items = append(items, t.waiting(n, waits[key]))
				waits[key] = 0
			}
		case n.Job != nil:
			items = append(items, t.ended(n))
		case n.Quota != nil:
			items = append(items, t.limit(n))
		default:
			if it := t.fleet(n); it.head != "" {
				items = append(items, it)
			}
		}
	}
	return items
}

// waitsFor is the same for jobs that wait for the same thing.
func (t texts) waitsFor(n jobs.News) string {
	j := n.Job
	_, dest := j.Remotes()
	switch {
	case j.Reason == jobs.ReasonSignIn && n.Remote != "":
		return "sign-in " + n.Remote
	case j.Reason == jobs.ReasonSpace && dest != "":
		return "space " + dest
	case j.Reason == jobs.ReasonQuota:
		return "quota " + j.Account
	}
	return j.ID
}

// waiting says what a number of jobs wait for; n is the first one's.
func (t texts) waiting(n jobs.News, count int) item {
	j := *n.Job
	who := t.name(j) + " waits"
	if count > 1 {
		who = humanize.Comma(int64(count)) + " jobs wait"
	}
	it := item{kind: n.Kind, link: t.job(j)}
	_, dest := j.Remotes()
	switch {
	case j.Reason == jobs.ReasonSignIn && n.Remote != "":
		it.head = fmt.Sprintf("Sign in to %s again: %s for it.", plain(n.Remote, nameLength)+":", who)
		it.more = "What to do: `offload remotes reconnect " + word(n.Remote) + "`. All goes on by itself then."
		it.link = t.path("remotes")
	case j.Reason == jobs.ReasonSignIn:
		it.head = "Sign in again: " + who + " for it."
		it.more = "What to do: `offload jobs show " + j.ID + "` says where."
	case j.Reason == jobs.ReasonSpace:
		it.head = fmt.Sprintf("%s is full: %s for space.", orDefault(plain(dest, nameLength), "The destination"), who)
		it.more = "What to do: make room there. It looks again by itself; `offload jobs resume " + j.ID + "` makes it look now."
	default:
		it.head = fmt.Sprintf("%s for more quota, and no new month brings enough.", who)
		it.more = "What to do: `" + quota.RaiseCommand(j.Account) + "`; `offload jobs show " + j.ID + "` says how much it needs."
	}
	return it
}

// ended says how a job ended.
func (t texts) ended(n jobs.News) item {
	j := *n.Job
	it := item{kind: n.Kind, link: t.job(j)}
	show := "`offload jobs show " + j.ID + "` says why."
	switch n.Kind {
	case jobs.NewsScrub:
		t.alarm(&it, j)
	case jobs.NewsFailed:
		it.head = t.headline(j, "failed.")
		it.more = numbers(j) + " " + show
		if t.details && j.Error != "" {
			it.more = "Why: " + plain(j.Error, causeLength) + ". " + it.more
		}
	case jobs.NewsWarnings:
		it.head = t.headline(j, "done with warnings.")
		var parts []string
		if j.Files.Failed > 0 {
			parts = append(parts, humanize.Comma(j.Files.Failed)+" failed")
		}
		if j.Files.SetAside > 0 {
			parts = append(parts, humanize.Comma(j.Files.SetAside)+" set aside")
		}
		if len(parts) > 0 {
			it.head = t.headline(j, "done with warnings, "+strings.Join(parts, ", ")+".")
		}
		if t.details && j.Error != "" {
			show = "Warning: " + plain(j.Error, causeLength) + ". " + show
		}
		if j.Files.Failed > 0 {
			show += " `offload jobs retry " + j.ID + "` tries the failed files again."
		}
		it.more = numbers(j) + " " + show
	default:
		it.head = t.headline(j, "done.")
		it.more = numbers(j)
	}
	return it
}

// alarm says what a scrub has found.
func (t texts) alarm(it *item, j jobs.Job) {
	var parts []string
	if n := j.Scrub.Missing; n > 0 {
		parts = append(parts, humanize.Comma(n)+" missing")
	}
	if n := j.Scrub.Different; n > 0 {
		parts = append(parts, humanize.Comma(n)+" different")
	}
	it.head = "Alarm: of " + files(j.Files.Found) + " that were offloaded, " + strings.Join(parts, ", ") + "."
	it.more = "What to do: `offload restore " + word(j.Of) + "` while they are still in the source's trash; else the destination's own version history and deleted files. `offload jobs show " +
		j.ID + "` lists them."
}

// numbers says what a job did: copied, proved, deleted, freed.
func numbers(j jobs.Job) string {
	f, b := j.Files, j.Bytes
	var parts []string
	if f.Copied == 0 && f.Skipped > 0 {
		parts = append(parts, files(f.Skipped)+" were there already")
	} else {
		parts = append(parts, fmt.Sprintf("%s copied (%s)", files(f.Copied), humanize.IBytes(uint64(max(b.Copied, 0)))))
	}
	if proved := j.Grades.A + j.Grades.B; proved > 0 {
		parts = append(parts, humanize.Comma(proved)+" proved")
	}
	if f.Deleted > 0 {
		parts = append(parts, humanize.Comma(f.Deleted)+" deleted at the source")
		freed := humanize.IBytes(uint64(max(b.Deleted, 0)))
		switch {
		case !j.Trash || f.Purged == f.Deleted:
			parts = append(parts, freed+" freed")
		case f.Purged > 0:
			parts = append(parts, fmt.Sprintf("%s freed, %s in its trash", humanize.IBytes(uint64(max(b.Purged, 0))),
				humanize.IBytes(uint64(max(b.Deleted-b.Purged, 0)))))
		default:
			parts = append(parts, freed+" in its trash: they are freed when that is emptied")
		}
	}
	return strings.Join(parts, ", ") + "."
}

func files(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return humanize.Comma(n) + " files"
}

// limit says that a limit is used to 80 or 100 %.
func (t texts) limit(n jobs.News) item {
	e := n.Quota
	it := item{kind: n.Kind, link: t.path("quota")}
	who, used, limit := "Account "+e.Subject, humanize.IBytes(uint64(max(e.Used, 0))), humanize.IBytes(uint64(max(e.Limit, 0)))
	if remote, m, ok := quota.ParseSubject(e.Subject); ok {
		who, used, limit = "Remote "+plain(remote, nameLength), m.Amount(e.Used), m.Rate(e.Limit)
	}
	anew := "when it begins anew"
	if n.Until != nil {
		anew = "on " + n.Until.Format("2 January at 15:04 MST")
	}
	if e.Percent >= 100 {
		it.head = fmt.Sprintf("%s has used up its allowance of %s.", who, limit)
		it.more = "Its jobs go on by themselves " + anew + ", or now with `" + quota.RaiseCommand(e.Subject) + "`."
		return it
	}
	it.head = fmt.Sprintf("%s has used %d %% of its allowance: %s of %s.", who, e.Percent, used, limit)
	it.more = "It begins anew " + orDefault(strings.TrimPrefix(anew, "when it begins anew"), "as `offload quota show` says") + "."
	return it
}

// fleet says what concerns no job.
func (t texts) fleet(n jobs.News) item {
	it := item{kind: n.Kind}
	switch n.Kind {
	case jobs.NewsSignIn:
		days := fmt.Sprintf("in %d days", n.Days)
		if n.Days <= 1 {
			days = "tomorrow"
		}
		it.head = fmt.Sprintf("The sign-in of %s: ends %s.", plain(n.Remote, nameLength), days)
		it.more = "What to do: `offload remotes reconnect " + word(n.Remote) + "`; jobs needn't wait then."
		it.link = t.path("remotes")
	case jobs.NewsIdle:
		it.head = fmt.Sprintf("Nothing has moved for %s, though %s should.", long(n.Span), counted(n.Jobs, "job"))
		it.more = "What to do: `offload jobs list` says what they wait for, `offload workers list` who could work on them."
		it.link = t.path("")
	case jobs.NewsSchedule:
		it.head = fmt.Sprintf("Schedule %s made no job: %s.", plain(n.Schedule, nameLength), strings.TrimSuffix(plain(n.Text, 300), "."))
		it.more = "What to do: `offload schedules show " + word(n.Schedule) + "`; `offload schedules run " + word(n.Schedule) + "` makes up for it."
		it.link = t.path("schedules")
	case jobs.NewsWorker:
		it.head = fmt.Sprintf("Worker %s has been silent since %s.", plain(n.Worker, nameLength), n.At.UTC().Format("2006-01-02 15:04 MST"))
		it.more = "Others go on with its work. Was it killed, or its machine cut off?"
		if n.Workers == 0 {
			it.more = "No other worker runs: `offload up` or `offload worker` starts one. Nothing is lost."
		}
		it.link = t.path("workers")
	case jobs.NewsStore:
		it.head = "The store has lost what was written last, up to " + long(n.Span) + "."
		it.more = "A failover or a power cut does that. No file is lost by it: jobs go on from what the store knows, and look before they copy."
	}
	return it
}

// long writes a span in its largest unit.
func long(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", max(1, int64(d.Round(time.Second)/time.Second)))
}

func counted(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return humanize.Comma(n) + " " + thing + "s"
}

// name is what a message calls a job: its label, and where it moves from and to.
func (t texts) name(j jobs.Job) string {
	source, dest := j.Remotes()
	if t.details {
		source, dest = j.Source, j.Dest
	}
	way := plain(orDefault(source, "a local folder"), nameLength) + " -> " + plain(orDefault(dest, "a local folder"), nameLength)
	if label := plain(j.Label, nameLength); label != "" {
		return label + " (" + way + ")"
	}
	return way
}

// headline says what became of a job.
func (t texts) headline(j jobs.Job, what string) string {
	return strings.TrimSuffix(t.name(j), ":") + ": " + what
}

// word is a name as a shell takes it.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.')
	}) {
		return "'" + strings.ReplaceAll(plain(s, nameLength), "'", `'\''`) + "'"
	}
	return s
}

func (t texts) job(j jobs.Job) string { return t.path("jobs/" + url.PathEscape(j.ID)) }

// path is the address of a page, "" where no dashboard is known.
func (t texts) path(page string) string {
	if t.link == "" {
		return ""
	}
	return t.link + "/" + page
}

func orDefault(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
