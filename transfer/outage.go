package transfer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
)

const (
	// askTime bounds one question.
	askTime = 30 * time.Second
	// askSoon is when a remote that hasn't answered the question yet is told people of: backends try for long themselves.
	askSoon = 3 * time.Second
	// askFresh is how long an answer holds for those who fail meanwhile, but for the last attempt at a file.
	askFresh = 2 * time.Second
	// outageTurn is how long a batch waits for a remote before it makes room for the batches of other jobs. It takes its
	// turn again after them.
	outageTurn = time.Minute
)

// errSilent says that a remote hasn't answered for a whole turn: the entry stays pending, and nothing new is started.
var errSilent = errors.New("the remote doesn't answer")

// Outage is a remote that doesn't answer, and is asked again until it does.
type Outage struct {
	Side  string    // SideSource or SideDest
	Since time.Time // when that was found out
	Why   string    // the cause, one line without addresses' parameters
}

// Outages tells which sides of the pair don't answer now.
func (p *Pair) Outages() []Outage {
	var all []Outage
	for _, side := range []string{SideSource, SideDest} {
		if o, ok := p.engine.silence(side).now(); ok {
			o.Side = side
			all = append(all, o)
		}
	}
	return all
}

// silence is what is known about whether a side answers. All who wait for it share one question at a time: whoever holds
// busy asks, and the others wait for that or for what the question brought.
type silence struct {
	busy chan struct{} // holds one: whoever is asking

	mu       sync.Mutex
	since    time.Time // when it was first found silent, zero while it answers
	why      string
	tries    int       // questions in vain in a row
	next     time.Time // no question before this
	answered time.Time // when it answered last
	ended    time.Time // when it last answered after a silence
}

func (e *engine) silence(side string) *silence {
	if side == SideDest {
		return &e.silences[1]
	}
	return &e.silences[0]
}

// now is the outage that lasts at present.
func (s *silence) now() (Outage, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Outage{Since: s.since, Why: s.why}, !s.since.IsZero()
}

// known tells whether it answers, as seen since a time, and whether a silence has ended since another.
func (s *silence) known(since, from time.Time) (answers, was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since.IsZero() && !s.answered.Before(since), s.ended.After(from)
}

// await returns once the side answers; was tells whether it hadn't at any time since from, so that nothing else is to
// blame for what failed since then. An answer that was given to somebody else counts, if it is no older than fresh. It
// returns the cause of a done ctx.
//
// It asks for the listing of the root: what a refused sign-in, a full quota or a missing folder answers is an answer.
func (p *Pair) await(ctx context.Context, side string, from time.Time, fresh time.Duration) (was bool, err error) {
	if p.of(side).Features().IsLocal {
		return false, nil // a disk that fails is none that comes back
	}
	s := p.engine.silence(side)
	came := time.Now()
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	for {
		answers, was := s.known(came.Add(-fresh), from)
		if answers {
			return was, nil
		}
		if d := s.pause(); d > 0 {
			if err := p.engine.retry.withDefaults().sleep(ctx, d); err != nil {
				return was, err
			}
		}
		err := p.ask(ctx, side)
		if ctx.Err() != nil {
			return was, context.Cause(ctx)
		}
		p.heard(ctx, side, err)
	}
}

// pause is how long to wait before the next question.
func (s *silence) pause() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries == 0 {
		return 0
	}
	return max(time.Until(s.next), 0)
}

// ask lists the root of a side. Nil is any answer.
func (p *Pair) ask(ctx context.Context, side string) error {
	asking, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	asked := time.Now()
	doubt := time.AfterFunc(askSoon, func() { p.doubted(side, asked) })
	defer doubt.Stop()
	err := guarded(func() error { return listSome(asking, p.of(side)) })
	if err != nil && asking.Err() != nil {
		return context.DeadlineExceeded
	}
	if Unreachable(ctx, wrapSide(side, "list the root", err)) {
		return err
	}
	return nil
}

// errListed ends a listing of which a page has come.
var errListed = errors.New("a page is enough")

// listSome lists the root, and no more of it than its first page where it comes in pages: the whole of a large folder may
// take longer than any question, which would then never be answered.
func listSome(ctx context.Context, f fs.Fs) error {
	pages := f.Features().ListP
	if pages == nil {
		_, err := f.List(ctx, "")
		return err
	}
	var came atomic.Bool
	err := pages(ctx, "", func(fs.DirEntries) error {
		came.Store(true)
		return errListed
	})
	if came.Load() {
		return nil
	}
	return err
}

// doubted notes that a question wasn't answered soon, unless it just was.
func (p *Pair) doubted(side string, asked time.Time) {
	s := p.engine.silence(side)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() && s.answered.Before(asked) {
		s.since, s.why = time.Now().Add(-askSoon), "no answer yet"
	}
}

// heard notes what a question has brought.
func (p *Pair) heard(ctx context.Context, side string, err error) {
	s, policy, now := p.engine.silence(side), p.engine.retry.withDefaults(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	remote := remoteName(p.of(side))
	if err == nil {
		if s.tries > 0 {
			slog.InfoContext(ctx, "remote answers again", "remote", remote, "after", now.Sub(s.since).Round(time.Second))
			s.ended = now
		}
		s.since, s.why, s.tries, s.answered = time.Time{}, "", 0, now
		return
	}
	if s.since.IsZero() {
		s.since = now
	}
	s.why = WhySilent(err)
	if s.tries == 0 {
		slog.WarnContext(ctx, "remote doesn't answer; trying again until it does", "remote", remote, "error", s.why)
	}
	s.tries++
	s.next = now.Add(policy.wait(s.tries, err))
}

// WhySilent is what is told people of why a remote doesn't answer.
func WhySilent(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &dns):
		return "its address can't be found: is this machine online?"
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return truncate(WithoutQueries(err.Error()), 120)
}

// Unreachable tells whether an error of a remote (of Open, Scan or a call) looks as if the remote, or the network before
// it, didn't answer or asked for patience: it will pass, and is no fault of a file or of the settings.
func Unreachable(ctx context.Context, err error) bool {
	if err == nil || classify(ctx, err) != classRetry || errors.Is(err, errMismatch) || errors.Is(err, errTorn) {
		return false
	}
	var local *spoolError
	if errors.As(err, &local) || isBrief(err) {
		return false
	}
	var wire net.Error
	for _, e := range []error{io.ErrUnexpectedEOF, io.EOF, context.DeadlineExceeded, syscall.ECONNREFUSED, syscall.ECONNRESET,
		syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	text := causeText(err)
	return errors.As(err, &wire) || isThrottled(err, text) || fserrors.ShouldRetry(err) || hasAny(text, silentPhrases())
}

// silentPhrases are in errors of which a backend kept no more than the text.
func silentPhrases() []string {
	return []string{
		"connection refused", "connection reset", "no such host", "i/o timeout", "timed out", "network is unreachable",
		"no route to host", "server misbehaving", "temporary failure in name resolution", "tls handshake timeout",
		"500 internal server error", "502 bad gateway", "504 gateway timeout", "error 500", "error 502", "error 504",
		"status code: 500", "status code: 502", "status code: 503", "status code: 504",
		"statuscode: 500", "statuscode: 502", "statuscode: 503", "statuscode: 504", "server closed idle connection",
	}
}
