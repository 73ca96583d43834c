package pages

import (
	"strings"

	"offload/internal/human"
	"offload/jobs"
)

// stateWord names a job's state, with what it waits for.
func stateWord(j jobs.Job) string {
	switch j.State {
	case jobs.Transferring:
		return "Copying"
	case jobs.Waiting:
		return waitWord(j.Reason)
	}
	return upper(human.Printable(strings.ReplaceAll(string(j.State), "_", " ")))
}

func waitWord(r jobs.Reason) string {
	words := map[jobs.Reason]string{
		jobs.ReasonQuota:  "Waiting for quota",
		jobs.ReasonWindow: "Waiting for its time of day",
		jobs.ReasonSignIn: "Waiting for a sign-in",
		jobs.ReasonSpace:  "Waiting for space",
		jobs.ReasonHold:   "Holding before the deletion",
	}
	if w := words[r]; w != "" {
		return w
	}
	return "Waiting"
}

// stateKind sorts states into the few that look different: "run", "wait", "person" (it needs one), "still", "good", "warn" and "bad".
func stateKind(j jobs.Job) string {
	switch j.State {
	case jobs.Scanning, jobs.Transferring, jobs.Finishing:
		return "run"
	case jobs.Waiting:
		if j.Reason == jobs.ReasonSignIn || j.Reason == jobs.ReasonSpace {
			return "person"
		}
		return "wait"
	case jobs.Completed:
		return "good"
	case jobs.CompletedW:
		return "warn"
	case jobs.FailedState:
		return "bad"
	case jobs.Queued:
		return "wait"
	}
	return "still"
}

// stateHelp says in one sentence what a state means.
func stateHelp(j jobs.Job) string {
	if j.State == jobs.Waiting {
		switch j.Reason {
		case jobs.ReasonQuota:
			return "The month's traffic is used up; it goes on by itself when the quota resets or a larger plan is set."
		case jobs.ReasonWindow:
			return "It moves files only at the time of day that it was ordered for, and goes on by itself then."
		case jobs.ReasonSignIn:
			return "A cloud asks for a new sign-in; it goes on by itself as soon as somebody has signed in."
		case jobs.ReasonSpace:
			return "The destination is full; it looks again from time to time and goes on by itself when there is room."
		case jobs.ReasonHold:
			return "Everything is copied and proved; the source is deleted when the time to call that off is over."
		}
		return "It waits, and goes on by itself."
	}
	if help := helpOfKind(j); help != "" {
		return help
	}
	return map[jobs.State]string{
		jobs.Queued:       "It is accepted and begins when a worker has room.",
		jobs.Scanning:     "The source is being listed and compared with the destination.",
		jobs.Transferring: "Files are being copied and proved.",
		jobs.Finishing:    "Everything is copied; the last deletions and checks are made.",
		jobs.Paused:       "Somebody has paused it; it goes on when somebody resumes it.",
		jobs.Completed:    "Every file is where it should be.",
		jobs.CompletedW:   "It has ended, and some files need a look: they failed, were set aside, or were kept at the source.",
		jobs.FailedState:  "It has ended before its time; nothing that wasn't proved was deleted.",
		jobs.Canceled:     "Somebody has ended it; what was moved stays moved.",
	}[j.State]
}

// helpOfKind says what a state means of a restore or a scrub, which delete nothing; "" where it is as of any job.
func helpOfKind(j jobs.Job) string {
	switch j.Kind {
	case jobs.KindRestore:
		return map[jobs.State]string{
			jobs.Scanning:     "The record of the job that offloaded the files is being read.",
			jobs.Transferring: "Files are being brought back and proved.",
			jobs.Finishing:    "Everything is brought back; the last checks are made.",
			jobs.Completed:    "Every file is back where it was.",
			jobs.CompletedW:   "It has ended, and some files need a look: they weren't brought back, or came back beside others.",
			jobs.FailedState:  "It has ended before its time. Nothing was replaced or deleted; what wasn't brought back still lies where it was offloaded to.",
			jobs.Canceled:     "Somebody has ended it; what was brought back stays.",
		}[j.State]
	case jobs.KindScrub:
		return map[jobs.State]string{
			jobs.Scanning:     "The record of the job that offloaded the files is being read.",
			jobs.Transferring: "The offloaded files are being looked at.",
			jobs.Finishing:    "Everything is looked at; it is about to end.",
			jobs.Completed:    "Every offloaded file is there as it was proved.",
			jobs.CompletedW:   "It has ended, and some files need a look: they aren't as they were proved, or couldn't be looked at.",
			jobs.FailedState:  "It has ended before its time. Nothing was changed.",
			jobs.Canceled:     "Somebody has ended it. Nothing was changed.",
		}[j.State]
	}
	return ""
}
