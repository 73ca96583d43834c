package main

import (
	"fmt"
	"io"

	"offload/jobs"
	"offload/transfer"
)

// backFrom counts where the files of a restore came from.
type backFrom struct {
	trash, copied jobs.PlanCount
	known         int64 // files that were known by size and time, since nothing was read of them: from the trash, or there already
}

func (b *backFrom) add(r jobs.FileRecord) {
	n := &b.copied
	if r.Code == transfer.CodeFromTrash {
		n = &b.trash
	}
	if r.Result == transfer.Copied {
		n.Files++
		n.Bytes += max(r.Size, 0)
	}
	if r.Grade == transfer.GradeC && (n == &b.trash || r.Result == transfer.Skipped) {
		b.known++
	}
}

// writeBack says how many files a restore has brought back, and where they came from.
func writeBack(w io.Writer, job jobs.Job, b backFrom, took string) {
	fmt.Fprintf(w, "  %-10s %s%s\n", "back", count(job.Files.Copied, "file"), took)
	if b.trash.Files > 0 {
		fmt.Fprintf(w, "  %-10s %s from the trash, %s: put back as they were, without traffic\n", "", count(b.trash.Files, "file"), size(b.trash.Bytes))
	}
	if b.copied.Files > 0 {
		fmt.Fprintf(w, "  %-10s %s from the destination, %s\n", "", count(b.copied.Files, "file"), size(b.copied.Bytes))
	}
	if n := job.Files.Skipped; n > 0 {
		fmt.Fprintf(w, "  %-10s %s already there\n", "skipped", count(n, "file"))
	}
}

// groupTitles are the titles above the files of a job that failed or were set aside: what that means depends on its kind.
func groupTitles(job jobs.Job) (failed, aside string) {
	switch job.Kind {
	case jobs.KindScrub:
		return "Not as it was proved, or not looked at:", "Set aside (not looked at):"
	case jobs.KindRestore:
		at := printable(job.Source)
		return "Failed (not brought back; what is at " + at + " stays there):", "Set aside (not brought back; the copy stays at " + at + "):"
	}
	return "Failed (still at the source):", "Set aside (never copied, never deleted):"
}
