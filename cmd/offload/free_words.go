package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"offload/jobs"
	"offload/room"
	"offload/transfer"
)

// writeFreePlan shows what was chosen for a goal, with the line below it.
func writeFreePlan(w io.Writer, p room.Plan) {
	name := printable(remoteLabel(p.Goal.Remote))
	writeWrapped(w, "", fmt.Sprintf("%s: %s of %s free. The goal is %s free%s: %s missing.", name, freeWords(p.Free), size(p.Storage.Total),
		size(p.Need), goalNote(p.Goal), size(p.Missing)))
	fmt.Fprintln(w)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-10s %s\n", what, fmt.Sprintf(format, args...))
	}
	if p.Job == nil {
		line("choose", "nothing")
	} else if p.Last == nil {
		line("choose", "nothing: no file may be offloaded")
	} else {
		line("choose", "%s, %s, %s first", count(p.Chosen.Files, "file"), size(p.Chosen.Bytes), p.Goal.Order)
		line("up to", "%s", fileWords(*p.Last))
	}
	if p.Next != nil {
		line("----------", "the line: what follows stays")
		line("next", "%s", fileWords(*p.Next))
	}
	for _, code := range slices.Sorted(maps.Keys(p.Passed)) {
		n := p.Passed[code]
		line("passed by", "%s, %s: %s", count(n.Files, "file"), size(n.Bytes), passedWords(code))
	}
	if p.Job != nil {
		if p.Job.Excluded.Files > 0 {
			line("protected", "%s, %s by --keep-recent, --protect and the filters", count(p.Job.Excluded.Files, "file"), size(p.Job.Excluded.Bytes))
		}
		line("to", "%s, traffic at most %s", printable(p.Goal.To), size(p.Job.Traffic))
	}
	if p.InTrash.Bytes > 0 {
		line("in trash", "%s, %s that earlier jobs for room have deleted: they count until the trash is emptied", count(p.InTrash.Files, "file"), size(p.InTrash.Bytes))
	}
	if p.Job != nil && !p.Enough {
		fmt.Fprintln(w)
		writeWrapped(w, "", fmt.Sprintf("That isn't enough: all that may be chosen comes to %s less than is missing.", size(p.Missing-p.InTrash.Bytes-p.Chosen.Bytes)))
	}
	writeFreeTrash(w, p)
	if p.Job == nil {
		return
	}
	fmt.Fprintln(w)
	writePlanQuota(w, *p.Job)
	if !p.Job.Complete {
		fmt.Fprintln(w, "\nSome folders couldn't be listed, so this plan lacks their files.")
	}
	for _, warning := range p.Job.Warnings {
		writeWrapped(w, "", "Warning: "+oneLine(warning))
	}
}

// writeFreeTrash says what lies in the trash and that it may be in the way.
func writeFreeTrash(w io.Writer, p room.Plan) {
	if p.Trash == nil {
		return
	}
	if p.Trash.Bytes > 0 && p.Missing > 0 {
		fmt.Fprintln(w)
		text := fmt.Sprintf("The trash there holds %s (%s), which counts until it is emptied", count(p.Trash.Files, "item"), size(p.Trash.Bytes))
		if p.Trash.Bytes >= p.Missing {
			text += ": to empty Recently Deleted would be enough by itself"
		}
		writeWrapped(w, "", text+".")
	}
	if _, ok := p.AsFarAsPossible(); ok && !p.Goal.Purge {
		fmt.Fprintln(w)
		writeWrapped(w, "", "What is deleted goes to the trash there, and counts until that is emptied. `--purge-trash` removes from it what this job puts there, for good.")
	}
}

// freeWords is how much is free; an account may hold more than it may.
func freeWords(n int64) string {
	if n < 0 {
		return size(-n) + " more than all"
	}
	return size(n)
}

// purpose says in a line what a job is for, where its order says it; "" for others.
func purpose(job jobs.Job) string {
	switch g := job.Goal; {
	case g == nil && job.Plan == "":
		return ""
	case g == nil:
		return "by a plan: what that doesn't name isn't touched\n"
	case g.Backup > 0:
		return fmt.Sprintf("for room: a backup of %s is to fit %s\n", size(g.Backup), printable(remoteLabel(g.Remote)))
	case g.Percent > 0:
		return fmt.Sprintf("for room: %d%% of %s is to be free\n", g.Percent, printable(remoteLabel(g.Remote)))
	default:
		return fmt.Sprintf("for room: %s of %s are to be free\n", size(g.Free), printable(remoteLabel(g.Remote)))
	}
}

// goalNote says what a goal's number is made of.
func goalNote(g room.Goal) string {
	switch {
	case g.Backup > 0:
		return fmt.Sprintf(" (a backup of %s and 5%% to spare)", size(g.Backup))
	case g.Percent > 0:
		return fmt.Sprintf(" (%d%% of all)", g.Percent)
	}
	return ""
}

func fileWords(f room.File) string {
	day := "no date   "
	if !f.ModTime.IsZero() {
		day = f.ModTime.Local().Format(time.DateOnly)
	}
	return fmt.Sprintf("%s  %9s  %s", day, size(f.Size), shorten(f.Path, 60))
}

// passedWords says why files are never chosen.
func passedWords(code string) string {
	switch code {
	case "empty":
		return "empty, or of unknown length"
	case "earlier":
		return "tried in an earlier round, and kept"
	case transfer.CodePackage:
		return "packages by their names; --delete-packages takes them, too"
	case transfer.CodeShared:
		return "shared"
	case transfer.CodeNameRefused, transfer.CodeNameCollision:
		return "the destination can't hold the name"
	}
	return strings.ReplaceAll(code, "_", " ")
}

// report says how far the goal was reached, and returns the exit status as an error.
func (f *freeing) report(res room.Result, p room.Plan) error {
	code := freeStatus(res, f.last)
	if f.c.Bool("json") {
		doc := struct {
			room.Result
			Plan   *room.Plan `json:"plan,omitempty"`
			Purged []jobs.Job `json:"purged_before,omitempty"` // earlier jobs that have purged first what they deleted
		}{Result: res, Purged: f.purged}
		if p.Goal.Remote != "" {
			doc.Plan = &p
		}
		if err := writeJSON(f.a.out, doc); err != nil {
			return err
		}
		return status(code)
	}
	if p.Goal.Remote != "" && res.Why != "" {
		writeFreePlan(f.a.out, p)
		fmt.Fprintln(f.a.out)
	}
	for _, j := range f.purged {
		fmt.Fprintf(f.a.out, "Purged   job %s: %s, %s are gone from the trash\n", j.ID, count(j.Files.Purged, "file"), size(j.Bytes.Purged))
	}
	writeFreeResult(f.a.out, res, f.command())
	return status(code)
}

// command is the command line once more, with --purge-trash.
func (f *freeing) command() string {
	line := resumeCommand(f.c)
	if !f.c.Bool("purge-trash") {
		line += " --purge-trash"
	}
	return line
}

// freeStatus is the exit status of `free`.
func freeStatus(res room.Result, last jobs.Job) int {
	switch {
	case res.Reached && last.State == jobs.CompletedW:
		return exitWarnings
	case res.Reached:
		return exitDone
	case res.Why == room.WhyInterrupted:
		return exitInterrupted
	case res.Why == room.WhyWaits:
		return exitWaiting
	case res.Why == room.WhyJob:
		return exitFailed
	}
	return exitWarnings
}

// writeFreeResult says what was measured, and what is in the way.
func writeFreeResult(w io.Writer, res room.Result, again string) {
	name := printable(remoteLabel(res.Goal.Remote))
	for i, r := range res.Rounds {
		fmt.Fprintf(w, "Round %d  job %s: %s; %s, %s deleted; measured: %s\n", i+1, r.Job.ID, stateWords(r.Job), count(r.Job.Files.Deleted, "file"),
			size(r.Job.Bytes.Deleted), gainWords(r.Gained))
	}
	if len(res.Rounds) > 0 {
		fmt.Fprintln(w)
	}
	free := room.Free(res.After)
	head := fmt.Sprintf("%s: %s of %s free (goal %s)", name, freeWords(free), size(res.After.Total), size(res.Need))
	if res.Reached && len(res.Rounds) == 0 {
		writeWrapped(w, "", head+": the room is there. Nothing is to be offloaded.")
		return
	}
	if res.Reached {
		writeWrapped(w, "", head+": the room is there.")
		if res.InTrash.Bytes > 0 {
			writeWrapped(w, "", trashWords(res)+".")
		}
		return
	}
	writeWrapped(w, "", fmt.Sprintf("%s: %s are still missing.", head, size(res.Missing)))
	if text := whyWords(res, again); text != "" {
		writeWrapped(w, "", text)
	}
	for _, kind := range slices.Sorted(maps.Keys(res.Grew)) {
		writeWrapped(w, "", fmt.Sprintf("Meanwhile %s grew by %s.", printable(kind), size(res.Grew[kind])))
	}
}

func gainWords(n int64) string {
	if n < 0 {
		return size(-n) + " less free than before"
	}
	return size(n) + " freed"
}

func trashWords(res room.Result) string {
	return fmt.Sprintf("%s (%s) of what was deleted is only in the trash there", count(res.InTrash.Files, "file"), size(res.InTrash.Bytes))
}

// whyWords says why the goal isn't reached and what to do.
func whyWords(res room.Result, again string) string {
	switch res.Why {
	case room.WhyTrash:
		return fmt.Sprintf("%s, which counts until it is emptied. Empty Recently Deleted (in Files on the phone, or on icloud.com), or have it done: `%s`",
			trashWords(res), again)
	case room.WhyNothing:
		return "Nothing more may be chosen: protect less, keep less that is recent, or take more than this folder."
	case room.WhyNoGain:
		return "The last round freed nothing that could be measured: something else takes the room as fast, or the cloud counts later. Run the same command again in an hour."
	case room.WhyJob:
		return "The job of the last round didn't end well: `offload jobs list` shows it, and the same command goes on with what is left."
	case room.WhyWaits:
		j := res.Rounds[len(res.Rounds)-1].Job
		return fmt.Sprintf("Job %s is %s; the same command goes on with it.", j.ID, stateWords(j))
	case room.WhyInterrupted:
		return "It was interrupted; the same command goes on."
	case room.WhyRounds:
		return "There were as many rounds as there may be; the same command goes on."
	}
	return ""
}
