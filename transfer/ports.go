package transfer

import (
	"context"
	"errors"
	"time"
)

// Errors that a port may return and that the engine acts on.
var (
	// ErrNoQuota says that the bytes asked for don't fit the allowance now: the entry stays pending.
	ErrNoQuota = errors.New("quota doesn't allow it now")
	// ErrCapped says that a limit of the job's own is reached: the entry is set aside, with code max_transfer.
	ErrCapped = errors.New("the job may move no more")
	// ErrFenced says that the work belongs to another worker now: stop at once, change nothing more.
	ErrFenced = errors.New("this work was taken over by another worker")
	// ErrStop says that the job was paused or canceled: start nothing new.
	ErrStop = errors.New("the job was stopped")
)

// Meter counts traffic against an allowance. It is called from several goroutines.
type Meter interface {
	// Reserve sets size bytes aside before a file starts. It returns ErrNoQuota (wrapped) where they don't fit, having
	// reserved nothing.
	Reserve(ctx context.Context, size int64) (Grant, error)
}

// Grant is a reservation for one attempt at one file. It is used by one goroutine.
type Grant interface {
	// Charge books n bytes; it is called before they are read from the source, so that a crash never counts less than
	// what was moved. It returns ErrNoQuota when more is asked for than was reserved and no more is to be had.
	Charge(ctx context.Context, n int64) error
	// Settle ends the reservation: used bytes were read (at most what was charged), wasted of them in vain. What was
	// reserved beyond that is free again. It must be called once, also after a failure; it works though ctx is done.
	Settle(ctx context.Context, used, wasted int64) error
}

// Journal records outcomes durably. It is called from several goroutines.
type Journal interface {
	// Record stores what became of entry i of the batch and returns when it will survive a crash of this process.
	// It returns ErrFenced, having stored nothing, when the batch belongs to another worker now.
	Record(ctx context.Context, i int, o Outcome) error
}

// Slots limits how many files are moved at once. Acquire blocks until a slot is free or ctx is done; release must be
// called once with what the attempt met, so that the limit can adapt: rise while it helps, halve when throttled.
type Slots interface {
	Acquire(ctx context.Context) (release func(throttled bool), err error)
}

// Watcher is told of progress as it happens. Its methods return at once and are called from several goroutines.
type Watcher interface {
	// A copy begins of a file of size bytes, of which so many were read before.
	Start(path string, size, before int64)
	Read(path string, n int64) // n more bytes of it were read
	Done(path string)          // it has ended, one way or the other
	// An attempt at the file failed and another follows. The zero Again says that none does any more.
	Again(path string, a Again)
}

// Again is what is told of a file between two attempts.
type Again struct {
	Attempt int    // the one that follows, from 2
	Of      int    // as many are made at most, as far as that is known by the error
	Why     string // what the last one failed of: one line, masked as an Outcome.Reason is, and short
}

// Env is what a batch runs in.
type Env struct {
	Meter   Meter
	Journal Journal
	Slots   Slots
	Watcher Watcher
	// Pace returns when more bytes may be read from the source, and how many: at least one of the n that are asked for.
	// Defaults to all of them, at once.
	Pace func(ctx context.Context, n int64) (int64, error)
	// Stopped is asked before each entry; an error ends the batch after the entries that have begun.
	Stopped func(ctx context.Context) error
	// Begin is told of entry i of the batch before any work on it; its error ends the batch, and the entry isn't begun. It
	// is called from several goroutines. Defaults to nothing.
	Begin func(ctx context.Context, i int) error
	// Stopping is closed when nothing new is to begin: what only waits ends then. Nil never is.
	Stopping <-chan struct{}
	// Grace tells, when Stopping is closed, how long files that have begun may go on. Those that can't end in it, at the
	// speed that was measured, end at once and stay pending. 0, and nil, let all go on.
	Grace func() time.Duration
	// Held is asked just before anything is deleted at the source or removed at the destination. It answers ErrFenced
	// when the work may belong to another worker by now, as after a process was frozen and goes on; it asks nobody, so
	// that no time passes between it and the deletion. Defaults to yes.
	Held func() error
	// Owner marks this claim of the batch in the names of partial uploads, so that a worker which was frozen and goes on
	// can't write into the upload of the one that took its place. Former are the owners of earlier claims: what they
	// left is removed.
	Owner  string
	Former []string
}
