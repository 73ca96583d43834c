package main

import (
	"context"
	"errors"
	"os"
	"sync"
)

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// untilSignal returns a context that ends at the first signal, so that every command can be interrupted while it waits
// for a store or a remote. Some calls of remotes don't look at their context: the second signal ends the process. The
// returned function stops the watching, without ending the context; it may be called more than once.
func (a *app) untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-a.signals:
			cancel(errInterrupted)
		case <-quit:
			return
		}
		select {
		case <-a.signals:
			a.exit(exitInterrupted)
		case <-quit:
		}
	}()
	return ctx, sync.OnceFunc(func() { close(quit); <-done })
}

// takeSignals hands the signals to a command that handles them in its own way from here on. It returns errInterrupted
// where one has come already.
func (a *app) takeSignals(ctx context.Context) (<-chan os.Signal, error) {
	a.stopWatching()
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return nil, errInterrupted
	}
	return a.signals, nil
}
