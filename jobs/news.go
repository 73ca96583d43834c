package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/failpoint"
	"offload/quota"
)

// NewsKind says what people are told of.
type NewsKind string

// The kinds. docs/messages.md explains them.
const (
	NewsFinished NewsKind = "finished" // a job completed
	NewsWarnings NewsKind = "warnings" // a job completed with warnings
	NewsFailed   NewsKind = "failed"   // a job failed
	NewsWaits    NewsKind = "waits"    // a job waits for a person
	NewsQuota    NewsKind = "quota"    // a limit is used to 80 or 100 %
	NewsSignIn   NewsKind = "sign_in"  // a sign-in ends soon
	NewsIdle     NewsKind = "idle"     // nothing has moved for days though there is work
	NewsWorker   NewsKind = "worker"   // a worker ended without a word
	NewsStore    NewsKind = "store"    // the store has lost what was written last
	NewsScrub    NewsKind = "scrub"    // offloaded files aren't at the destination any more as they were proved
	NewsSchedule NewsKind = "schedule" // a run of a schedule made no job though it should have
)

// News is something that a person may want to be told. Which fields are set depends on the kind.
type News struct {
	ID      string        `json:"id"` // two with the same are the same news
	Seq     int64         `json:"-"`  // grows with each news that is kept
	Kind    NewsKind      `json:"kind"`
	At      time.Time     `json:"at"`
	Urgent  bool          `json:"urgent,omitempty"`  // it is told at once, however short ago the last message was
	Account string        `json:"account,omitempty"` // "" for what concerns all
	Job     *Job          `json:"job,omitempty"`     // as it was when the news was noted
	Quota   *quota.Event  `json:"quota,omitempty"`
	Until   *time.Time    `json:"until,omitempty"` // when that limit begins anew, in its own time zone
	Remote  string        `json:"remote,omitempty"`
	Worker  string        `json:"worker,omitempty"`
	Busy    int           `json:"busy,omitempty"`    // units that the worker had in hand
	Workers int           `json:"workers,omitempty"` // that still run
	Days    int           `json:"days,omitempty"`
	Jobs    int64         `json:"jobs,omitempty"` // that nothing moves of
	Span    time.Duration `json:"span,omitempty"` // of what the store has lost, at most
	// Schedule is the name of a schedule, Text what became of its run.
	Schedule string `json:"schedule,omitempty"`
	Text     string `json:"text,omitempty"`
}

// Keys of the news, in one slot.
const (
	keyNewsLog     = "offload:{news}:log"
	keyNewsIDs     = "offload:{news}:ids"
	keyNewsMeta    = "offload:{news}:meta"
	keyNewsTargets = "offload:{news}:targets"
	keyNewsLead    = "offload:{news}:lead"
)

// What is kept of the news.
const (
	newsKept    = 5_000
	newsIDsKept = 50_000
	newsTime    = 8 * 24 * time.Hour
	newsKnown   = 2 * time.Second // how long it is taken for known that somebody listens
	waitAgain   = time.Hour       // between two news of the same wait of a job, at least
)

// news is what a service keeps of the news in memory.
type news struct {
	mu    sync.Mutex
	since int64 // ms of the first subscription; 0 where nobody listens
	asked time.Time
	beats int64 // of the store, as last counted by this process, and when
	beat  time.Time
	began time.Time // when this process began to watch
}

// newsSince is when somebody began to listen, 0 for nobody.
func (s *Service) newsSince(ctx context.Context) (int64, error) {
	s.news.mu.Lock()
	since, asked := s.news.since, s.news.asked
	s.news.mu.Unlock()
	// That nobody listens is asked each time: what an audit isn't told of would never be told, as a job that has ended isn't
	// looked at again.
	if since != 0 && time.Since(asked) < newsKnown {
		return since, nil
	}
	asked = time.Now()
	text, err := s.client.HGet(ctx, keyNewsMeta, "since").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("ask who listens to news: %w", err)
	}
	s.news.mu.Lock()
	s.news.since, s.news.asked = number(text), asked
	s.news.mu.Unlock()
	return number(text), nil
}

// AddNews keeps news for those who have subscribed. The same news again, and news of before anybody listened, are passed
// over.
func (s *Service) AddNews(ctx context.Context, n News) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note news %s: %w", n.ID, err)
	}
	keys := []string{keyNewsLog, keyNewsIDs, keyNewsMeta, keyNewsTargets}
	err = script("news/add").Run(ctx, s.client, keys, n.ID, raw, n.At.UnixMilli(), newsKept, newsIDsKept, newsTime.Milliseconds()).Err()
	if err != nil {
		return fmt.Errorf("note news %s: %w", n.ID, err)
	}
	return nil
}

// Announce makes news of what the history of a job holds that wasn't made news of before. Audits call it; whoever removes
// a job or ends right after it should, too. It may be called at any time, by several at once.
func (s *Service) Announce(ctx context.Context, id string) error {
	since, err := s.newsSince(ctx)
	if err != nil || since == 0 {
		return err
	}
	p := s.client.Pipeline()
	// The history first: of a wait whose line is seen the state is seen, too. The other way round a wait that begins between
	// the two would count as one that has ended, and never be told.
	lines := p.LRange(ctx, keysOf(id).history(), 0, -1)
	fields := p.HGetAll(ctx, keysOf(id).job())
	if _, err := p.Exec(ctx); err != nil {
		return fmt.Errorf("announce job %s: %w", id, err)
	}
	f, all := fields.Val(), lines.Val()
	if f["state"] == "" || number(f["told"]) >= int64(len(all)) {
		return nil
	}
	j, err := jobOf(id, f)
	if err != nil {
		return err
	}
	wait := ""
	for i := int(number(f["told"])); i < len(all); i++ {
		e, ok := parseHistory(all[i])
		if !ok || e.At.UnixMilli() < since {
			continue
		}
		kind := newsOf(e)
		if kind == NewsWaits {
			if i != len(all)-1 || !j.needsPerson() {
				continue
			}
			if wait = waitMark(j, e.At); !anotherWait(f["told_wait"], wait) {
				wait = ""
				continue
			}
		}
		if kind == "" {
			continue
		}
		alarm := kind == NewsWarnings && j.Scrub != nil && j.Scrub.Alarming()
		if alarm {
			kind = NewsScrub
		}
		n := News{ID: fmt.Sprintf("job/%s/%d", id, i), Kind: kind, At: e.At, Urgent: alarm, Account: j.Account, Job: &j, Remote: j.SignInRemote()}
		if err := s.AddNews(ctx, n); err != nil {
			return err
		}
	}
	failpoint.At("announced")
	_, err = s.scripts.run(ctx, "told", id, nil, len(all), wait).Result()
	if err != nil {
		return fmt.Errorf("announce job %s: %w", id, err)
	}
	return nil
}

// newsOf is the kind of news that a change of state is, "" for none. What a person did isn't news to people.
func newsOf(e HistoryEvent) NewsKind {
	switch e.To {
	case Completed:
		return NewsFinished
	case CompletedW:
		return NewsWarnings
	case FailedState:
		return NewsFailed
	case Waiting:
		return NewsWaits
	}
	return ""
}

// needsPerson tells whether a job waits for something that only a person can do. A wait for quota without an end is one: no
// reset would help.
func (j Job) needsPerson() bool {
	return j.State == Waiting && (one(j.Reason, ReasonSignIn, ReasonSpace) || j.Reason == ReasonQuota && j.Until == nil)
}

// StillWaits tells whether a job waits for a person as the news say.
func (s *Service) StillWaits(ctx context.Context, n News) (bool, error) {
	if n.Job == nil {
		return false, nil
	}
	j, err := s.get(ctx, n.Job.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return j.needsPerson() && j.Reason == n.Job.Reason, err
}

// Remotes are what people call a job's source and destination: the names of the remotes, without paths; "" for a folder
// of the worker's machine.
func (j Job) Remotes() (source, dest string) {
	name := func(path string) string {
		if r := remoteOf(path); r != path || strings.HasSuffix(r, ":") {
			return r
		}
		return ""
	}
	return name(j.Source), name(j.Dest)
}

// waitMark is "reason|progress|ms" of a wait.
func waitMark(j Job, at time.Time) string {
	f := j.Files
	return fmt.Sprintf("%s|%d.%d.%d.%d.%d|%d", j.Reason, f.Copied, f.Skipped, f.SetAside, f.Failed, f.Deleted, at.UnixMilli())
}

// anotherWait tells whether a wait is worth telling after the last one that was told: jobs that wait try again by
// themselves, and wait on. It is where the reason is another, or something was moved since and an hour has passed.
func anotherWait(before, now string) bool {
	b, n := strings.Split(before, "|"), strings.Split(now, "|")
	if len(b) != 3 || len(n) != 3 || b[0] != n[0] {
		return true
	}
	return b[1] != n[1] && fromMillis(n[2]).Sub(fromMillis(b[2])) >= waitAgain
}

// Subscribe makes the targets of messages known. A new one hears of what happens from now on.
func (s *Service) Subscribe(ctx context.Context, targets []string) error {
	args := []any{newsTime.Milliseconds()}
	for _, t := range targets {
		args = append(args, t)
	}
	if err := script("news/subscribe").Run(ctx, s.client, []string{keyNewsMeta, keyNewsTargets}, args...).Err(); err != nil {
		return fmt.Errorf("subscribe to news: %w", err)
	}
	return nil
}

// Self names this process, as LeadNews and ClaimNews should know it: what a dead process held is free at once then, where
// that can be told.
func (s *Service) Self() string { return s.self }

// LeadNews tells whether the process of that name is the one that watches for news and sends messages now. The lead lasts
// for the given time, and goes to another process then.
func (s *Service) LeadNews(ctx context.Context, name string, lease time.Duration) (bool, error) {
	won, err := s.client.SetNX(ctx, keyNewsLead, name, lease).Result()
	if err != nil || won {
		return won, wrap("ask for the lead of messages", err)
	}
	who, err := s.client.Get(ctx, keyNewsLead).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err == nil && who != name && knownDead(who) {
		return true, wrap("take over the lead of messages", s.client.Set(ctx, keyNewsLead, name, lease).Err())
	}
	if err == nil && who != name {
		// A lead of before the store's clock was put back lasts longer than any.
		left, e := s.client.PTTL(ctx, keyNewsLead).Result()
		if err = e; err == nil && left > lease {
			err = s.client.PExpire(ctx, keyNewsLead, lease).Err()
		}
	}
	if err != nil || who != name {
		return false, wrap("ask for the lead of messages", err)
	}
	// Two who lead for a moment do no harm: news are noted once, and a claim has one holder.
	return true, wrap("keep the lead of messages", s.client.PExpire(ctx, keyNewsLead, lease).Err())
}

// YieldNews gives the lead back at the end of the process.
func (s *Service) YieldNews(ctx context.Context, name string) error {
	who, err := s.client.Get(ctx, keyNewsLead).Result()
	if errors.Is(err, redis.Nil) || err == nil && who != name {
		return nil
	}
	if err == nil {
		err = s.client.Del(ctx, keyNewsLead).Err()
	}
	return wrap("give back the lead of messages", err)
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// NewsTake says which news a sender wants.
type NewsTake struct {
	Target string
	Mark   string        // no other process has it: Self
	Hold   time.Duration // how long nobody else gets them
	Every  time.Duration // between two messages, at least
	Gather time.Duration // age of the oldest news, at least
	Most   int
}

// NewsClaim is what a sender got.
type NewsClaim struct {
	News    []News        // oldest first; where there are none, nothing was claimed
	Last    int64         // up to where it is
	Missed  int64         // news before these that were too many, or too old, to be kept
	Failing time.Duration // for how long messages to the target have failed
	Wait    time.Duration // until there may be something; 0 where that isn't known
}

// ClaimNews gives a sender the news that a target wasn't told yet. Nobody else gets them until the sender settles the
// claim or it ends: a sender that dies between its message and the settling has them sent once more, never not at all.
func (s *Service) ClaimNews(ctx context.Context, t NewsTake) (NewsClaim, error) {
	res, err := s.claimNews(ctx, t, "")
	if err == nil && res[3] != "" && knownDead(res[3]) {
		res, err = s.claimNews(ctx, t, res[3])
	}
	if err != nil {
		return NewsClaim{}, fmt.Errorf("claim news for %s: %w", t.Target, err)
	}
	c := NewsClaim{Wait: max(0, time.Duration(number(res[0]))*time.Millisecond), Failing: time.Duration(number(res[2])) * time.Millisecond}
	done := number(res[1])
	for _, entry := range res[4:] {
		seq, rest, _ := strings.Cut(entry, "|")
		_, raw, _ := strings.Cut(rest, "|")
		n := News{}                                             // without a kind nobody wants it
		if err := json.Unmarshal([]byte(raw), &n); err != nil { // of a newer version perhaps: it mustn't stop the others
			s.log.Warn("read news", "seq", seq, "error", err)
		}
		n.Seq = number(seq)
		if len(c.News) == 0 {
			c.Missed = n.Seq - done - 1
		}
		c.News, c.Last = append(c.News, n), n.Seq
	}
	return c, nil
}

func (s *Service) claimNews(ctx context.Context, t NewsTake, dead string) ([]string, error) {
	res, err := script("news/claim").Run(ctx, s.client, []string{keyNewsLog, keyNewsTargets}, t.Target, t.Mark, t.Hold.Milliseconds(),
		t.Every.Milliseconds(), t.Gather.Milliseconds(), t.Most, dead).StringSlice()
	if err == nil && len(res) < 4 {
		err = fmt.Errorf("unexpected answer %v", res)
	}
	return res, err
}

// NewsOutcome says what became of a claim.
type NewsOutcome string

// The outcomes of a claim.
const (
	NewsSent   NewsOutcome = "sent"
	NewsPassed NewsOutcome = "passed" // done with, without a message
	NewsKept   NewsOutcome = "failed" // to be tried again
)

// SettleNews ends a claim. It is false where the claim has ended before and may be another's.
func (s *Service) SettleNews(ctx context.Context, t NewsTake, o NewsOutcome, last int64) (bool, error) {
	n, err := script("news/settle").Run(ctx, s.client, []string{keyNewsTargets}, t.Target, t.Mark, string(o), strconv.FormatInt(last, 10)).Int()
	if err != nil {
		return false, fmt.Errorf("settle the news of %s: %w", t.Target, err)
	}
	return n == 1, nil
}
