package jobs

import "strings"

// edge is one allowed change of state.
type edge struct{ from, to State }

// transitions is the graph of docs/state-machine.md; a test compares the two. The scripts in lua/ make the changes, and
// ask no other.
func transitions() []edge {
	var all []edge
	add := func(from State, to ...State) {
		for _, t := range to {
			all = append(all, edge{from, t})
		}
	}
	add(Queued, Scanning, Waiting, Paused, FailedState, Canceled)
	add(Scanning, Transferring, Waiting, Paused, FailedState, Canceled)
	add(Transferring, Finishing, Waiting, Paused, FailedState, Canceled)
	add(Finishing, Completed, CompletedW, FailedState, Waiting, Paused, Canceled)
	add(Waiting, Queued, Scanning, Transferring, Finishing, Paused, Canceled)
	add(Paused, Queued, Scanning, Transferring, Finishing, Canceled)
	add(Completed, Transferring) // to purge the trash later than its order said
	add(CompletedW, Scanning, Transferring)
	add(FailedState, Scanning, Transferring)
	return all
}

// from returns the states from which a job may go to the given one, in the form that the scripts take.
func from(to State) string {
	var b strings.Builder
	b.WriteByte('|')
	for _, e := range transitions() {
		if e.to == to {
			b.WriteString(string(e.from) + "|")
		}
	}
	return b.String()
}

// openStates are those of jobs that haven't ended.
func openStates() []State {
	return []State{Queued, Scanning, Transferring, Finishing, Paused, Waiting}
}

// Runs tells whether workers may do something for a job in this state.
func (s State) Runs() bool {
	switch s {
	case Queued, Scanning, Transferring, Finishing:
		return true
	}
	return false
}
