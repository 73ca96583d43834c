package jobs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"offload/quota"
)

// Times of watching for news that no job makes.
const (
	quotaNewsOld   = 7 * 24 * time.Hour // less than IDs are kept
	quotaNewsFresh = 10 * time.Minute   // older ones were noted before, as a rule
	workerGone     = 2 * time.Minute    // a worker that was silent for so long isn't coming back
	idleSettles    = 30 * time.Minute   // after the start: a machine that was off has to have a chance to go on
)

// WatchStore makes news of it when the store has lost what was written last: a counter in it that goes back.
func (s *Service) WatchStore(ctx context.Context) error {
	now := time.Now()
	n, err := s.client.HIncrBy(ctx, keyNewsMeta, "beats", 1).Result()
	if err != nil {
		return fmt.Errorf("look whether the store is whole: %w", err)
	}
	s.news.mu.Lock()
	before, at := s.news.beats, s.news.beat
	s.news.beats, s.news.beat = n, now
	s.news.mu.Unlock()
	if before == 0 || n > before {
		return nil
	}
	clock, err := s.now(ctx)
	if err != nil {
		return err
	}
	return s.AddNews(ctx, News{ID: "store/" + millis(clock), Kind: NewsStore, At: clock, Span: now.Sub(at)})
}

// WatchQuota makes news of the limits that were used to 80 or 100 %.
func (s *Service) WatchQuota(ctx context.Context) error {
	since, err := s.newsSince(ctx)
	if err != nil || since == 0 {
		return err
	}
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	accounts, err := s.cfg.Ledger.Accounts(ctx)
	if err != nil {
		return err
	}
	remotes, err := s.cfg.Ledger.RemoteSubjects(ctx)
	if err != nil {
		return err
	}
	for _, subject := range append(accounts, remotes...) {
		events, err := s.cfg.Ledger.Events(ctx, subject)
		if err != nil {
			return err
		}
		for _, e := range events {
			if e.At.UnixMilli() < since || now.Sub(e.At) > quotaNewsOld {
				continue
			}
			n := News{ID: fmt.Sprintf("quota/%s/%s/%d", subject, e.Period, e.Percent), Kind: NewsQuota, At: e.At, Quota: &e}
			if remote, _, ok := quota.ParseSubject(subject); ok {
				n.Remote = remote
			} else {
				n.Account = subject
			}
			if now.Sub(e.At) < quotaNewsFresh {
				n.Until = s.periodEnd(ctx, e)
			}
			if err := s.AddNews(ctx, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// periodEnd is when the period of an event ends, in the subject's time zone; nil where that can't be told.
func (s *Service) periodEnd(ctx context.Context, e quota.Event) *time.Time {
	st, err := s.cfg.Ledger.Status(ctx, e.Subject)
	if err != nil || st.Period.ID != e.Period {
		return nil
	}
	end := st.Period.End
	if loc, err := time.LoadLocation(st.TimeZone); err == nil {
		end = end.In(loc)
	}
	return &end
}

// WatchWorkers makes news of workers that ended without a word: killed, cut off from the store, or their machine gone.
func (s *Service) WatchWorkers(ctx context.Context) error {
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	all, err := s.Workers(ctx)
	if err != nil {
		return err
	}
	living := 0
	for _, w := range all {
		if w.State != WorkerSilent {
			living++
		}
	}
	for _, w := range all {
		if w.State != WorkerSilent || now.Sub(w.Heard) < workerGone {
			continue
		}
		n := News{ID: "worker/" + w.ID, Kind: NewsWorker, At: w.Heard.Add(workerGone), Worker: w.Name, Busy: w.Busy, Workers: living}
		if err := s.AddNews(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// WatchIdle makes news of it when nothing has moved for so long though there are jobs that should. Those that wait for
// quota, a window or a hold aren't among them: they say when they go on.
func (s *Service) WatchIdle(ctx context.Context, after time.Duration) error {
	if s.news.sinceBegan() < idleSettles {
		return nil
	}
	o, err := s.Overview(ctx)
	if err != nil {
		return err
	}
	now, err := s.now(ctx)
	if err != nil {
		return err
	}
	f, err := s.client.HMGet(ctx, keyNewsMeta, "idle_mark", "idle_since").Result()
	if err != nil {
		return fmt.Errorf("look whether anything moves: %w", err)
	}
	mark, _ := f[0].(string)
	since, _ := f[1].(string)
	stuck, moves := stuckJobs(o), progressMark(o)
	if stuck == 0 || moves != mark || since == "" {
		if err := s.client.HSet(ctx, keyNewsMeta, "idle_mark", moves, "idle_since", now.UnixMilli()).Err(); err != nil {
			return fmt.Errorf("note that something moves: %w", err)
		}
		return nil
	}
	idle := now.Sub(fromMillis(since))
	if idle < after {
		return nil
	}
	times := int(idle / after)
	return s.AddNews(ctx, News{ID: fmt.Sprintf("idle/%s/%d", since, times), Kind: NewsIdle, At: now, Jobs: stuck,
		Days: int(idle / (24 * time.Hour)), Span: idle})
}

// sinceBegan is for how long this process has watched.
func (n *news) sinceBegan() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.began.IsZero() {
		n.began = time.Now()
	}
	return time.Since(n.began)
}

// stuckJobs are the jobs that could move, or that wait for a person.
func stuckJobs(o Overview) int64 {
	return o.Counts[Queued] + o.Counts[Scanning] + o.Counts[Transferring] + o.Counts[Finishing] +
		o.Waiting[ReasonSignIn] + o.Waiting[ReasonSpace]
}

// progressMark is another one as soon as anything has moved.
func progressMark(o Overview) string {
	var b strings.Builder
	for _, st := range []State{Completed, CompletedW, FailedState, Canceled} {
		fmt.Fprintf(&b, "%d ", o.Counts[st])
	}
	var files, bytes int64
	for _, p := range o.Live {
		f := p.Job.Files
		files += f.Found + f.Copied + f.Skipped + f.SetAside + f.Failed + f.Deleted + f.Purged
		bytes += p.Moving + p.Scanned + p.Job.Bytes.Copied
	}
	fmt.Fprintf(&b, "%d %d", files, bytes)
	return b.String()
}

// signInDays are how many days before its end a sign-in is news.
func signInDays() []int { return []int{1, 7} }

// SignInEnds makes news of a remote whose sign-in ends in so many days, where these are few.
func (s *Service) SignInEnds(ctx context.Context, remote string, days int) error {
	if days <= 0 {
		return nil // jobs that need it wait for it, and that is news
	}
	for _, limit := range signInDays() {
		if days > limit {
			continue
		}
		now, err := s.now(ctx)
		if err != nil {
			return err
		}
		id := fmt.Sprintf("sign_in/%s/%d", remote, limit)
		return s.AddNews(ctx, News{ID: id, Kind: NewsSignIn, At: now, Remote: remote, Days: days})
	}
	return nil
}
