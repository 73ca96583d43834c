package transfer

import (
	"context"
	"net/http"
	"time"
)

// NoWaiting makes the pair's retries follow each other at once; waits are told to seen, where it is given.
func (p *Pair) NoWaiting(seen func(time.Duration)) *Pair {
	p.engine.retry.sleep = func(ctx context.Context, d time.Duration) error {
		if seen != nil {
			seen(d)
		}
		return context.Cause(ctx)
	}
	return p
}

// SyncsBy has files and folders written to the disk by a function of the test's.
func (p *Pair) SyncsBy(sync func(name string) error) *Pair {
	p.engine.syncPath = sync
	return p
}

// SpoolIn sets the folder for files that must be whole before they are sent.
func (p *Pair) SpoolIn(dir string) *Pair {
	p.engine.spool = dir
	return p
}

// Attempts sets how often an entry is tried.
func (p *Pair) Attempts(n int) *Pair {
	p.engine.retry.attempts = n
	return p
}

// PartialNameOf is the partial name of a target in the hands of an owner.
func PartialNameOf(target, owner string) string { return partialName(target, owner) }

// WaitsForSpace tells whether a failed upload makes the job wait for room at the destination.
func WaitsForSpace(err error) bool {
	return classify(context.Background(), destErr("upload file", err)) == classSpace
}

// SpoolError is how a full disk of this machine is told.
func SpoolError(err error) error { return &spoolError{err} }

// SectionsOf names the sections of rclone's configuration whose limits of calls hold for a remote.
func SectionsOf(remote string) []string { return sectionsOf(remote) }

// CountsCall tells whether a request is one of those that a limit of calls is about.
func CountsCall(r *http.Request) bool { return counts(r) }

// HookFor is rclone's hook for a gate.
func HookFor(g CallGate) func(*http.Request) (int, error) { return (&CallHook{gate: g}).ask }

// OnTheWay is how much of a source may be on its way where a download is broken off.
func OnTheWay() int64 { return onTheWay() }
