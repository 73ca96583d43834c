package pages

import (
	"fmt"
	"strings"
	"time"

	"offload/internal/human"
	"offload/jobs"
	"offload/transfer"
)

// optionWords say a job's options in words: what it does first, then what differs from the defaults.
func optionWords(j jobs.Job) []fact {
	o := j.Order.WithDefaults()
	all := []fact{{"Account", o.Account}, {"At the source", deleteWords(o)}}
	add := func(differs bool, name, format string, args ...any) {
		if differs {
			all = append(all, fact{name, fmt.Sprintf(format, args...)})
		}
	}
	if o.Deletes() {
		add(true, "Proof before a deletion", "at least %s", gradeWords(o.MinGrade))
		add(o.Hold > 0, "Hold", "%s between proof and deletion, in which the deletion can be called off", coarse(o.Hold))
		add(o.PurgeTrash, "Trash", "what this job deletes is removed from the source's trash, too")
		add(!o.PurgeTrash && j.Trash, "Trash", "what this job deletes stays in the source's trash until that is emptied")
		add(o.DeletePackages, "Packages", "Pages, Keynote and the like are deleted as well")
		add(o.MaxDelete >= 0, "Deletes at most", "%s", human.Count(o.MaxDelete, "file"))
	}
	all = append(all, fact{"Same name, other content", conflictWords(o.Conflict)})
	add(len(o.Include) > 0, "Only", "%s", strings.Join(o.Include, ", "))
	add(len(o.Exclude) > 0, "Not", "%s", strings.Join(o.Exclude, ", "))
	add(len(o.Filter) > 0, "Rules, the first that fits decides", "%s", strings.Join(o.Filter, ", "))
	add(len(o.ExcludeIfPresent) > 0, "No folders that hold", "%s", strings.Join(o.ExcludeIfPresent, ", "))
	add(len(o.FilesFrom) > 0, "Only these", "%s of a list", human.Count(int64(len(o.FilesFrom)), "path"))
	add(o.MinAge > 0, "Not younger than", "%s", longSpan(o.MinAge))
	add(o.MaxAge > 0, "Not older than", "%s", longSpan(o.MaxAge))
	add(!o.ModifiedTo.IsZero(), "Modified by", "%s", o.ModifiedTo.Format(dateForm))
	add(!o.ModifiedFrom.IsZero(), "Modified since", "%s", o.ModifiedFrom.Format(dateForm))
	add(o.MinSize > 0, "Not smaller than", "%s", human.Size(o.MinSize))
	add(o.MaxSize > 0, "Not larger than", "%s", human.Size(o.MaxSize))
	add(o.Order != transfer.OrderFound, "Order", "%s", orderWords(o.Order))
	add(o.MaxTransfer > 0, "Moves at most", "%s", human.Size(o.MaxTransfer))
	add(o.Priority != jobs.Normal, "Priority", "%s", string(o.Priority))
	add(o.Window != "", "Time of day", "%s, by the clock of the workers", o.Window)
	add(o.Transfers > 0, "Files at once", "%d in one worker", o.Transfers)
	add(j.BwLimit != "", "Bandwidth", "%s", bandwidthWords(j.BwLimit))
	return all
}

// dateForm is how a date that was ordered is written.
const dateForm = "2006-01-02 15:04 MST"

// longSpan is a duration that a person ordered.
func longSpan(d time.Duration) string { return human.Span(d, "\u00a0") }

func deleteWords(o jobs.Order) string {
	switch o.DeleteSource {
	case transfer.DeleteVerified:
		return "each file is deleted as soon as its copy is proved"
	case transfer.DeleteComplete:
		return "files are deleted when every file of the job is proved"
	}
	return "nothing is deleted"
}

func conflictWords(c transfer.Conflict) string {
	switch c {
	case transfer.ConflictSkip:
		return "the file stays at the source, nothing is copied"
	case transfer.ConflictOverwrite:
		return "what is at the destination is replaced"
	}
	return "both are kept; the new one gets a name of its own"
}

func orderWords(o transfer.Order) string {
	switch o {
	case transfer.OrderLargest:
		return "largest files first"
	case transfer.OrderOldest:
		return "oldest files first"
	case transfer.OrderName:
		return "by name"
	}
	return "as they are found"
}

// bandwidthWords say a limit in rclone's syntax, and what it is now.
func bandwidthWords(text string) string {
	b, err := transfer.ParseBandwidth(text)
	if err != nil || text == "" {
		return text
	}
	if rate := b.At(time.Now()); rate > 0 {
		return fmt.Sprintf("%s (%s/s now)", text, human.Size(rate))
	}
	return text + " (no limit now)"
}

// deletionWords sum up what was deleted and what wasn't.
func deletionWords(j jobs.Job) []string {
	if j.HoldCalledOff {
		return []string{"Its deletions were called off: every file that was still at the source stays there."}
	}
	if !deletes(j) {
		return nil
	}
	f, b := j.Files, j.Bytes
	var all []string
	if f.Deleted > 0 || j.HoldUntil == nil {
		all = append(all, fmt.Sprintf("%s, %s, %s deleted at the source.", human.Count(f.Deleted, "file"), human.Size(b.Deleted), pick(f.Deleted, "was", "were")))
	}
	if f.Purged > 0 {
		all = append(all, fmt.Sprintf("%s, %s, of them %s removed from the trash, too.", human.Count(f.Purged, "file"), human.Size(b.Purged), pick(f.Purged, "was", "were")))
	}
	if left := f.Deleted - f.Purged; left > 0 && j.Trash {
		all = append(all, fmt.Sprintf("%s still %s in the source's trash, where %s may count until it is emptied.", human.Count(left, "file"), pick(left, "lies", "lie"), pick(left, "it", "they")))
	}
	if j.HoldUntil != nil {
		what := "The deletion begins"
		if h := j.Held; h != nil {
			what = fmt.Sprintf("%s (%s) %s deleted at the source", human.Count(h.Files, "file"), human.Size(h.Bytes), pick(h.Files, "is", "are"))
		}
		all = append(all, fmt.Sprintf("%s on %s, each proved again before.", what, j.HoldUntil.Local().Format("2 January 2006, 15:04 MST")))
	}
	if kept := f.Copied + f.Skipped - f.Deleted; kept > 0 && j.State.Terminal() {
		all = append(all, fmt.Sprintf("%s at the destination %s kept at the source as well.", human.Count(kept, "file"), pick(kept, "was", "were")))
	}
	return all
}

// storageWords say what the job freed, as far as it was measured.
func storageWords(j jobs.Job) []string {
	s := j.Storage
	if s == nil {
		return nil
	}
	room := func(when string, st *transfer.Storage) string {
		text := fmt.Sprintf("%s: %s of %s used", when, human.Size(st.Used), human.Size(st.Total))
		if s.Before == nil || st == s.Before {
			return text
		}
		if d := s.Before.Used - st.Used; d >= 0 {
			return text + ", " + human.Size(d) + " freed"
		}
		return text + ", " + human.Size(st.Used-s.Before.Used) + " more than before"
	}
	var all []string
	if s.Before != nil {
		all = append(all, room("Before", s.Before))
	}
	if s.AfterTrash != nil && j.Order.PurgeTrash {
		all = append(all, room("After the deletions", s.AfterTrash))
	}
	if s.After != nil {
		all = append(all, room("At the end", s.After))
	}
	return all
}
