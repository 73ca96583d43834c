package dropbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	"github.com/rclone/rclone/fs/fserrors"
	"golang.org/x/sync/errgroup"

	"offload/transfer"
)

const (
	commitMax   = 1000                  // files that Dropbox takes in one commit
	commitTries = 20                    // commits of one file before it is given up
	commitTime  = 10 * time.Minute      // longest wait for the answer to a commit
	gatherTime  = 20 * time.Millisecond // wait of the first file for others that are about to be ready
	looksAtOnce = 8                     // looks at files after a commit whose answer was lost
	turnTries   = 10                    // failures to get the turn before the waiting files are given up
)

// errClosed is what a commit gets when the remote is shut down.
var errClosed = errors.New("the remote is shut down")

// entry is an uploaded file that waits for its commit. Only the committer's goroutine touches the fields that change.
type entry struct {
	arg    *files.UploadSessionFinishArg
	sum    string       // content hash of what was sent
	alone  bool         // to be committed by itself: a commit was refused as a whole, perhaps for it
	unsure bool         // an earlier commit may have been carried out
	tries  int          // commits that failed
	due    time.Time    // not to be committed before
	left   atomic.Bool  // nobody wants it to be tried again
	done   chan outcome // of room for one
}

// outcome is what became of an entry.
type outcome struct {
	meta *files.FileMetadata
	err  error
}

func newEntry(arg *files.UploadSessionFinishArg, sum string) *entry {
	return &entry{arg: arg, sum: sum, done: make(chan outcome, 1)}
}

// committer holds the files of one login that wait for their commit. Its goroutine runs while there are any.
type committer struct {
	wg      sync.WaitGroup
	sending atomic.Int64 // uploads under way, those that wait for their commit included

	mu     sync.Mutex
	queue  []*entry
	stop   context.CancelCauseFunc // ends the goroutine; nil while it doesn't run
	closed bool
	wake   chan struct{} // of room for one: the queue has changed
}

// close gives up what waits and returns when the goroutine has ended.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	if c.stop != nil {
		c.stop(errClosed)
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// add puts an entry in the queue and sees to it that the goroutine runs. Its life is that of the login, not of the
// upload that happens to start it.
func (c *committer) add(e *entry, loop func(context.Context)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	c.queue = append(c.queue, e)
	if c.stop == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		c.stop = cancel
		c.wg.Go(func() {
			defer cancel(nil)
			loop(ctx)
		})
	}
	c.poke()
	return nil
}

// commit waits until the entry is committed. One that isn't sent yet is withdrawn when ctx ends; for one that is, the
// answer is awaited: nobody would know else whether the file is there.
func (l *login) commit(ctx context.Context, e *entry) (*files.FileMetadata, error) {
	c := &l.commits
	if err := c.add(e, l.commitLoop); err != nil {
		return nil, err
	}
	transfer.Idle(ctx)
	select {
	case o := <-e.done:
		return o.meta, o.err
	case <-ctx.Done():
	}
	e.left.Store(true)
	c.mu.Lock()
	i := slices.Index(c.queue, e)
	if i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		c.poke()
		return nil, context.Cause(ctx)
	}
	o := <-e.done
	if o.err != nil {
		return nil, context.Cause(ctx)
	}
	return o.meta, nil
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// commitLoop commits until nothing waits any more.
func (l *login) commitLoop(ctx context.Context) {
	c := &l.commits
	if int(c.sending.Load()) > c.waiting() {
		_ = transfer.Sleep(ctx, gatherTime)
	}
	for failed := 0; c.ready(ctx); {
		err := l.commitRound(ctx)
		if err == nil {
			failed = 0
			continue
		}
		if failed++; failed >= turnTries {
			c.fail(c.take(0), err)
			failed = 0
		} else {
			_ = transfer.Sleep(ctx, backoff(failed))
		}
	}
}

func (c *committer) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// ready waits until an entry is due. It returns false, and the goroutine must end, when nothing waits any more.
func (c *committer) ready(ctx context.Context) bool {
	for {
		c.mu.Lock()
		if ctx.Err() != nil {
			c.fail(c.queue, context.Cause(ctx))
			c.queue = nil
		}
		if len(c.queue) == 0 {
			c.stop = nil
			c.mu.Unlock()
			return false
		}
		first := c.queue[0].due
		for _, e := range c.queue {
			if e.due.Before(first) {
				first = e.due
			}
		}
		c.mu.Unlock()
		left := time.Until(first)
		if left <= 0 {
			return true
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-c.wake:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// take removes at most n due entries from the queue, or all entries for n = 0. An entry that goes alone is taken alone.
func (c *committer) take(n int) (batch []*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.queue = slices.DeleteFunc(c.queue, func(e *entry) bool {
		if n > 0 && (len(batch) == n || e.due.After(now) || len(batch) > 0 && (e.alone || batch[0].alone)) {
			return false
		}
		batch = append(batch, e)
		return true
	})
	return batch
}

// fail tells the entries' owners that nothing more is tried.
func (c *committer) fail(batch []*entry, err error) {
	for _, e := range batch {
		e.done <- outcome{err: err}
	}
}

// again puts an entry that wasn't committed back in the queue, unless it was tried too often or nobody waits for it.
func (c *committer) again(e *entry, after time.Duration, err error) {
	e.tries++
	switch {
	case e.left.Load():
		e.done <- outcome{err: context.Canceled}
		return
	case e.tries > commitTries:
		e.done <- outcome{err: err}
		return
	}
	e.due = time.Now().Add(after)
	c.mu.Lock()
	c.queue = append(c.queue, e)
	c.mu.Unlock()
	if e.left.Load() { // its owner left in the same moment, and may have looked for it before it was back
		c.withdraw(e)
	}
}

// withdraw takes an entry whose owner has left out of the queue, if the owner didn't.
func (c *committer) withdraw(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.queue, e); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
		e.done <- outcome{err: context.Canceled}
	}
}

// commitRound commits what waits, in the account's turn. An error says that the turn wasn't to be had.
func (l *login) commitRound(ctx context.Context) error {
	if err := l.obeyRest(ctx); err != nil {
		return nil // the end of ctx, which the loop sees
	}
	held, leave, err := l.fleet.Turn(ctx, l.commitLane())
	if err != nil {
		return fmt.Errorf("wait for the turn to commit: %w", err)
	}
	batch := l.commits.take(commitMax)
	if len(batch) == 0 {
		leave()
		return nil
	}
	res, err := l.finish(held, batch)
	leave()
	l.log.Debug("committed uploads", "files", len(batch), "error", err)
	l.settle(ctx, batch, res, err)
	return nil
}

// finish makes the call that commits a batch, once; again only where the access token was refused.
func (l *login) finish(ctx context.Context, batch []*entry) (*files.UploadSessionFinishBatchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	arg := &files.UploadSessionFinishBatchArg{}
	for _, e := range batch {
		arg.Entries = append(arg.Entries, e.arg)
	}
	res, err := l.files.UploadSessionFinishBatchV2Context(ctx, arg)
	for n := 0; judge(err) == vSignIn && n < renewalsMax; n++ {
		if err := l.renew(ctx, err); err != nil {
			return nil, &refusedError{err} // nothing was carried out
		}
		res, err = l.files.UploadSessionFinishBatchV2Context(ctx, arg)
	}
	err = plain(err)
	if err == nil && (res == nil || len(res.Entries) != len(batch)) {
		err = errors.New("the answer to a commit has another number of files")
	}
	return res, err
}

// refusedError is a failure before a commit was carried out.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// settle hands out what a commit answered.
func (l *login) settle(ctx context.Context, batch []*entry, res *files.UploadSessionFinishBatchResult, err error) {
	v := judge(err)
	switch {
	case is[*refusedError](err), v == vUnsure && err != nil && refreshRefused(err):
		l.commits.fail(batch, signInOr(err))
	case v == vDone:
		l.settleEach(ctx, batch, res.Entries)
	case v == vThrottled:
		l.pace.slow()
		l.askRest(ctx, err, 1+batch[0].tries)
		l.retry(batch, err)
	case v == vSignIn:
		l.commits.fail(batch, fmt.Errorf("%w: %w", transfer.ErrSignIn, err))
	case v == vRefused && strings.Contains(err.Error(), files.UploadSessionFinishErrorTooManyWriteOperations):
		l.retry(batch, err)
	case transfer.CallRefused(err), transfer.DropboxTeamLimit(err):
		l.commits.fail(batch, err) // it is about calls, not about one of the files
	case v == vRefused && len(batch) > 1:
		for _, e := range batch { // nothing was done, and one of them is the cause
			e.alone = true
			l.commits.again(e, 0, err)
		}
	case v == vRefused:
		l.commits.fail(batch, err)
	default:
		l.settleUnsure(ctx, batch, err)
	}
}

// signInOr makes an error of a refresh one of the sign-in, where no repetition mends it.
func signInOr(err error) error {
	if refreshRefused(err) && !errors.Is(err, transfer.ErrSignIn) {
		return fmt.Errorf("%w: %w", transfer.ErrSignIn, err)
	}
	return err
}

// retry puts entries that certainly weren't committed back in the queue.
func (l *login) retry(batch []*entry, err error) {
	for _, e := range batch {
		l.commits.again(e, backoff(e.tries+1), fmt.Errorf("%w: %w", transfer.ErrThrottled, err))
	}
}

// settleEach hands out the answers about single files.
func (l *login) settleEach(ctx context.Context, batch []*entry, answers []*files.UploadSessionFinishBatchResultEntry) {
	var unsure []*entry
	for i, e := range batch {
		a := answers[i]
		switch {
		case a != nil && a.Tag == files.UploadSessionFinishBatchResultEntrySuccess && a.Success != nil:
			e.done <- outcome{meta: a.Success}
		case a == nil || a.Failure == nil:
			e.unsure = true
			unsure = append(unsure, e)
		case isBusy(a.Failure):
			l.retry([]*entry{e}, errors.New(failureText(a.Failure)))
		case e.unsure && (a.Failure.LookupFailed != nil || isConflict(a.Failure)):
			unsure = append(unsure, e) // it may be our own earlier commit that stands in the way
		default:
			e.done <- outcome{err: failureOf(a.Failure)}
		}
	}
	l.settleUnsure(ctx, unsure, errSession)
}

// settleUnsure looks at files that may have been committed: those that are there are done, the others are tried again.
func (l *login) settleUnsure(ctx context.Context, batch []*entry, cause error) {
	var looks errgroup.Group
	looks.SetLimit(looksAtOnce)
	for _, e := range batch {
		e.unsure = true
		looks.Go(func() error {
			meta, err := l.look(ctx, e.arg.Commit.Path)
			switch {
			case err == nil && meta != nil && meta.ContentHash == e.sum:
				e.done <- outcome{meta: meta}
			case errors.Is(err, transfer.ErrSignIn):
				e.done <- outcome{err: err}
			case err == nil && meta != nil && e.arg.Commit.Mode.Tag == files.WriteModeAdd:
				e.done <- outcome{err: transfer.ErrTaken} // other content has the name: nothing is to be added there
			case errors.Is(cause, errSession) && err == nil:
				e.done <- outcome{err: errSession} // neither the file nor the upload is there: it must be sent anew
			default:
				l.commits.again(e, backoff(e.tries+1), cause)
			}
			return nil
		})
	}
	_ = looks.Wait() // the looks return no error
}

// isBusy tells whether a file wasn't committed because others were writing.
func isBusy(f *files.UploadSessionFinishError) bool {
	return f.Tag == files.UploadSessionFinishErrorTooManyWriteOperations ||
		f.Path != nil && f.Path.Tag == files.WriteErrorTooManyWriteOperations
}

func isConflict(f *files.UploadSessionFinishError) bool {
	return f.Path != nil && f.Path.Tag == files.WriteErrorConflict
}

// failureText names a failure as the service does: "path/conflict/file".
func failureText(f *files.UploadSessionFinishError) string {
	parts := []string{f.Tag}
	if f.LookupFailed != nil {
		parts = append(parts, f.LookupFailed.Tag)
	}
	if f.Path != nil {
		parts = append(parts, f.Path.Tag)
		if f.Path.Conflict != nil {
			parts = append(parts, f.Path.Conflict.Tag)
		}
	}
	return strings.Join(parts, "/")
}

// failureOf is the error for a file that Dropbox didn't commit.
func failureOf(f *files.UploadSessionFinishError) error {
	text := failureText(f)
	if f.LookupFailed != nil {
		return fmt.Errorf("%w (%s)", errSession, text)
	}
	if f.Path == nil {
		return errors.New("Dropbox didn't commit the file: " + text)
	}
	switch f.Path.Tag {
	case files.WriteErrorConflict:
		return transfer.ErrTaken
	case files.WriteErrorMalformedPath, files.WriteErrorDisallowedName:
		return fserrors.NoRetryError(errors.New("the name is disallowed at Dropbox: " + text))
	case files.WriteErrorNoWritePermission, files.WriteErrorTeamFolder, files.WriteErrorAccessRestricted,
		files.WriteErrorOperationSuppressed:
		return fserrors.NoRetryError(errors.New("Dropbox refuses the file: " + text))
	}
	return errors.New("Dropbox didn't commit the file: " + text) // "insufficient_space" is among these
}
