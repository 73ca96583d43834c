package transfer

import (
	"context"
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
