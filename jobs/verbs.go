package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Verb is something that a person does to a job.
type Verb string

// The verbs.
const (
	VerbPause  Verb = "pause"
	VerbResume Verb = "resume"
	VerbCancel Verb = "cancel"
	VerbRetry  Verb = "retry"
	VerbRemove Verb = "remove"
)

// Verbs returns all of them, in the order in which people are told them.
func Verbs() []Verb { return []Verb{VerbPause, VerbResume, VerbCancel, VerbRetry, VerbRemove} }

// Done is the verb's participle: "paused".
func (v Verb) Done() string {
	switch v {
	case VerbCancel:
		return "canceled"
	case VerbRetry:
		return "retried"
	}
	return strings.TrimSuffix(string(v), "e") + "ed"
}

// States are those in which a job can have it done.
func (v Verb) States() []State {
	working := []State{Queued, Scanning, Transferring, Finishing, Waiting}
	switch v {
	case VerbPause:
		return working
	case VerbResume:
		return []State{Paused, Waiting}
	case VerbCancel:
		return append(working, Paused)
	case VerbRetry:
		return []State{CompletedW, FailedState}
	case VerbRemove:
		return []State{Completed, CompletedW, FailedState, Canceled}
	}
	return nil
}

// Chosen are the states that a selection of jobs without states means.
func (v Verb) Chosen() []State {
	if v == VerbResume {
		// What waits goes on by itself; a refused sign-in that is tried again and again may lengthen a lock-out.
		return []State{Paused}
	}
	return v.States()
}

// Allows tells whether a job in this state can have it done.
func (v Verb) Allows(s State) bool { return slices.Contains(v.States(), s) }

// Do does the verb to a job and returns the job as it is then; a job that was removed as it was.
func (s *Service) Do(ctx context.Context, v Verb, id string) (Job, error) {
	switch v {
	case VerbPause:
		return s.Pause(ctx, id)
	case VerbResume:
		return s.Resume(ctx, id)
	case VerbCancel:
		return s.Cancel(ctx, id)
	case VerbRetry:
		return s.Retry(ctx, id)
	case VerbRemove:
		j, err := s.Get(ctx, id)
		if err != nil {
			return j, err
		}
		return j, s.Remove(ctx, j.ID)
	}
	return Job{}, fmt.Errorf("there is nothing called %q that can be done to a job", v)
}
