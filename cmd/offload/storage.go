package main

import (
	"fmt"
	"io"
	"strings"

	"offload/jobs"
	"offload/transfer"
)

// writeStorage says what the job freed at the source, as far as it was measured, and what lies in the trash there.
func writeStorage(w io.Writer, job jobs.Job) {
	lines := storageLines(job)
	if len(lines) > 0 {
		fmt.Fprintf(w, "\n  %s\n", strings.Join(lines, "\n  "))
	}
}

// storageLines are the lines of writeStorage.
func storageLines(job jobs.Job) []string {
	name := remoteLabel(job.Source)
	var lines []string
	line := func(when, format string, args ...any) {
		lines = append(lines, printable(name)+" "+when+"  "+fmt.Sprintf(format, args...))
	}
	s := job.Storage
	if s == nil {
		s = &jobs.JobStorage{}
	}
	if s.Before != nil {
		line("before     ", "%s", roomOf(*s.Before))
	}
	if s.AfterTrash != nil && job.Order.PurgeTrash {
		line("after trash", "%s%s", roomOf(*s.AfterTrash), freedSince(s.Before, *s.AfterTrash))
	}
	if s.After != nil {
		line("now        ", "%s%s", roomOf(*s.After), freedSince(s.Before, *s.After))
	}
	if text := trashLine(job, s); text != "" {
		lines = append(lines, text)
	}
	return lines
}

func roomOf(s transfer.Storage) string { return size(s.Used) + " of " + size(s.Total) + " used" }

// freedSince compares two measurements. Others may write to the account meanwhile: it says no more than what was measured.
func freedSince(before *transfer.Storage, now transfer.Storage) string {
	switch {
	case before == nil:
		return ""
	case now.Used <= before.Used:
		return ": " + size(before.Used-now.Used) + " freed"
	}
	return ": " + size(now.Used-before.Used) + " more than before"
}

// trashLine says what lies in the source's trash by the job's doing. Whether that still counts is said only where it was
// measured.
func trashLine(job jobs.Job, s *jobs.JobStorage) string {
	n, bytes := job.Files.Deleted-job.Files.Purged, job.Bytes.Deleted-job.Bytes.Purged
	if !job.Trash || n <= 0 {
		return ""
	}
	lie, counts := "lie", ""
	if n == 1 {
		lie = "lies"
	}
	if s.Before != nil && s.After != nil && s.Before.Used-s.After.Used < job.Bytes.Deleted/2 && bytes > job.Bytes.Deleted/2 {
		counts = ", which counts until it is emptied"
	}
	remedy := "use --purge-trash, or empty Recently Deleted"
	if job.Order.PurgeTrash {
		remedy = "empty Recently Deleted by hand"
	}
	return fmt.Sprintf("%s (%s) %s in the trash there%s: %s", count(n, "file"), size(bytes), lie, counts, remedy)
}

// remoteLabel is a remote without path and without the parameters of a connection string, which may be secrets.
func remoteLabel(path string) string {
	if i := strings.IndexAny(path, ":,/"); i > 0 && path[i] != '/' {
		return path[:i]
	}
	return "source"
}
