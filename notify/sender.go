package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"offload/internal/failpoint"
	"offload/jobs"
)

// Store is what a sender needs of *jobs.Service; each method may be called again after an error.
type Store interface {
	Subscribe(ctx context.Context, targets []string) error
	LeadNews(ctx context.Context, name string, lease time.Duration) (bool, error)
	YieldNews(ctx context.Context, name string) error
	ClaimNews(ctx context.Context, t jobs.NewsTake) (jobs.NewsClaim, error)
	SettleNews(ctx context.Context, t jobs.NewsTake, o jobs.NewsOutcome, last int64) (bool, error)
	StillWaits(ctx context.Context, n jobs.News) (bool, error)
}

// Target is one place that messages go to.
type Target struct {
	Name     string
	Address  string          // in the form of its service; secret
	Events   []jobs.NewsKind // Defaults to all.
	Accounts []string        // Defaults to all, and what concerns no account.
}

// Service is the service that the target's address names.
func (t Target) Service() string { return serviceOf(t.Address) }

// wants tells whether news are for the target.
func (t Target) wants(n jobs.News) bool {
	return rank(n.Kind) >= 0 && (len(t.Events) == 0 || slices.Contains(t.Events, n.Kind)) &&
		(len(t.Accounts) == 0 || slices.Contains(t.Accounts, n.Account))
}

// Config of a Sender.
type Config struct {
	Targets []Target
	Store   Store
	Name    string  // of this process, as the store knows it. Defaults to one that nobody else has.
	Watches []Watch // for news that no job makes
	Every   time.Duration
	Link    string
	Details bool
	Log     *slog.Logger // Defaults to nothing.
	// Deliver sends a message. Defaults to the library. A partlyError isn't tried again.
	Deliver func(ctx context.Context, address, title, text string) error
}

// Watch looks for news once in a while, in the one process that leads.
type Watch struct {
	What  string // for the log
	Every time.Duration
	Look  func(context.Context) error
}

// Times of a sender.
const (
	pollEvery  = 5 * time.Second
	leadTime   = 30 * time.Second
	holdTime   = 2 * time.Minute  // of a claim: longer than a message takes
	gatherTime = 10 * time.Second // what happens at once comes in one message
	retryFirst = time.Minute
	retryMost  = time.Hour
	giveUp     = 24 * time.Hour
	atOnce     = 1000 // news in one claim
	settleTime = 10 * time.Second
)

// Sender tells the targets what happens.
type Sender struct {
	cfg   Config
	name  string // of this process
	texts texts
	lanes []*lane
}

// lane is the way to one target. One goroutine at a time uses it.
type lane struct {
	Target
	turn  sync.Mutex
	next  time.Time // when to try again
	pause time.Duration
	done  int64 // up to where it was told by this process, should the store not have learned that
}

// New checks the targets and returns a sender. It makes no call.
func New(cfg Config) (*Sender, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Deliver == nil {
		cfg.Deliver = func(ctx context.Context, address, title, text string) error {
			return deliver(ctx, address, message{Title: title, Text: text})
		}
	}
	s := &Sender{cfg: cfg, name: orDefault(cfg.Name, rand.Text()), texts: texts{link: strings.TrimRight(cfg.Link, "/"), details: cfg.Details}}
	var errs []error
	for _, t := range cfg.Targets {
		if err := check(t.Address); err != nil {
			errs = append(errs, &TargetError{Target: t.Name, Service: t.Service(), Err: err})
		}
		s.lanes = append(s.lanes, &lane{Target: t})
	}
	return s, errors.Join(errs...)
}

// TargetError says that a target can't be used.
type TargetError struct {
	Target, Service string
	Err             error // without secrets
}

func (e *TargetError) Error() string {
	return fmt.Sprintf("message target %s: its address isn't a whole one of %s: %v", e.Target, orDefault(e.Service, "any service"), e.Err)
}

// Unwrap returns the cause.
func (e *TargetError) Unwrap() error { return e.Err }

// Subscribe makes the targets known, so that what happens from now on is kept for them.
func (s *Sender) Subscribe(ctx context.Context) error {
	names := make([]string, len(s.lanes))
	for i, l := range s.lanes {
		names[i] = l.Name
	}
	return s.cfg.Store.Subscribe(ctx, names)
}

// Run watches and sends until ctx is done, as long as this process leads. A message that is on its way may end.
func (s *Sender) Run(ctx context.Context) {
	if len(s.lanes) == 0 {
		return
	}
	var rest sync.WaitGroup
	defer rest.Wait()
	leading := make(chan struct{}, 1) // holds a token while this process leads
	for _, l := range s.lanes {
		rest.Go(func() { s.serve(ctx, l, leading) })
	}
	s.lead(ctx, leading)
}

// lead asks for the lead again and again, and watches while it is had.
func (s *Sender) lead(ctx context.Context, leading chan struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		defer cancel()
		s.warn(after, "give back the lead of messages", s.cfg.Store.YieldNews(after, s.name))
	}()
	last := make([]time.Time, len(s.cfg.Watches))
	for {
		leads, err := s.cfg.Store.LeadNews(ctx, s.name, leadTime)
		s.warn(ctx, "ask for the lead of messages", err)
		looks := leads
		if leads {
			// Each time: a store that lost everything knows no targets either, and keeps no news for them. Nobody looks before
			// they are known again: what is found, above all that loss, would be told to nobody.
			err = s.Subscribe(ctx)
			s.warn(ctx, "subscribe to news", err)
			looks = err == nil
		}
		setToken(leading, leads)
		for i, w := range s.cfg.Watches {
			if looks && ctx.Err() == nil && time.Since(last[i]) >= w.Every {
				last[i] = time.Now()
				s.warn(ctx, "look for news: "+w.What, w.Look(ctx))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// setToken puts a token into a channel or takes it out.
func setToken(c chan struct{}, there bool) {
	if there {
		select {
		case c <- struct{}{}:
		default:
		}
		return
	}
	select {
	case <-c:
	default:
	}
}

func (s *Sender) warn(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn(what, "error", err)
	}
}

// serve sends to one target while this process leads.
func (s *Sender) serve(ctx context.Context, l *lane, leading chan struct{}) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if len(leading) > 0 {
			s.warn(ctx, "send messages to "+l.Name, s.tell(ctx, l, s.cfg.Every, gatherTime))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Flush sends at once what the targets weren't told yet, for a process that ends. Where another one leads, it is left to
// that. Failures are logged, and whoever comes next tries again.
func (s *Sender) Flush(ctx context.Context) {
	leads, err := s.cfg.Store.LeadNews(ctx, s.name, leadTime)
	s.warn(ctx, "ask for the lead of messages", err)
	if !leads {
		return
	}
	var all sync.WaitGroup
	for _, l := range s.lanes {
		all.Go(func() { s.warn(ctx, "send messages to "+l.Name, s.tell(ctx, l, 0, 0)) })
	}
	all.Wait()
	s.warn(ctx, "give back the lead of messages", s.cfg.Store.YieldNews(ctx, s.name))
}

// tell sends a target what it wasn't told yet, if its time has come.
func (s *Sender) tell(ctx context.Context, l *lane, every, gather time.Duration) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	if time.Now().Before(l.next) && gather > 0 {
		return nil
	}
	take := jobs.NewsTake{Target: l.Name, Mark: s.name, Hold: holdTime, Every: every, Gather: gather, Most: atOnce}
	c, err := s.cfg.Store.ClaimNews(ctx, take)
	if err != nil || len(c.News) == 0 {
		l.next = time.Now().Add(min(c.Wait, urgentLook)) // something urgent may come meanwhile
		return err
	}
	if c.Last == l.done { // told, but the store didn't hear of it
		return s.told(ctx, l, take, c.Last)
	}
	wanted := s.wanted(ctx, l, c.News)
	if len(wanted) == 0 && c.Missed == 0 {
		return s.settle(ctx, take, jobs.NewsPassed, c.Last)
	}
	m := s.texts.message(wanted, c.Missed, room(l.Service()))
	failpoint.At("telling")
	// A message that is on its way isn't cut off by a stop: whether it had arrived couldn't be told.
	err = s.cfg.Deliver(context.WithoutCancel(ctx), l.Address, m.Title, m.Text)
	if part := (partlyError{}); errors.As(err, &part) {
		s.cfg.Log.Warn("a message reached only some of a target", "target", l.Name, "service", l.Service(), "error", err)
	} else if err != nil {
		return s.failed(ctx, l, take, c, err)
	}
	failpoint.At("told")
	l.next, l.pause = time.Time{}, 0
	s.cfg.Log.Info("sent a message", "target", l.Name, "news", len(wanted))
	return s.told(ctx, l, take, c.Last)
}

// urgentLook is how often a target is looked at whose time for a message hasn't come: urgent news don't wait for it.
const urgentLook = 10 * time.Second

// told notes up to where a target was told: in memory until the store knows it. No longer than that: a store that has lost
// its last second gives the same numbers to other news.
func (s *Sender) told(ctx context.Context, l *lane, take jobs.NewsTake, last int64) error {
	l.done = last
	err := s.settle(ctx, take, jobs.NewsSent, last)
	if err == nil {
		l.done = 0
	}
	return err
}

// wanted are the news that are for a target and still true.
func (s *Sender) wanted(ctx context.Context, l *lane, news []jobs.News) []jobs.News {
	var all []jobs.News
	for _, n := range news {
		if !l.wants(n) || n.Seq <= l.done {
			continue
		}
		if n.Kind == jobs.NewsWaits {
			// Where that can't be told, it is said: better once too often.
			if waits, err := s.cfg.Store.StillWaits(ctx, n); err == nil && !waits {
				continue
			}
			all = slices.DeleteFunc(all, func(o jobs.News) bool {
				return o.Kind == n.Kind && o.Job != nil && n.Job != nil && o.Job.ID == n.Job.ID
			})
		}
		all = append(all, n)
	}
	return all
}

// failed notes that a message didn't arrive. News that failed for a day are given up.
func (s *Sender) failed(ctx context.Context, l *lane, take jobs.NewsTake, c jobs.NewsClaim, cause error) error {
	l.pause = min(max(2*l.pause, retryFirst), retryMost)
	l.next = time.Now().Add(l.pause)
	old := int64(0)
	given := 0
	if c.Failing >= giveUp {
		for _, n := range c.News {
			if time.Since(n.At) >= giveUp {
				old, given = n.Seq, given+1
			}
		}
	}
	s.cfg.Log.Warn("a message couldn't be sent", "target", l.Name, "service", l.Service(), "error", cause, "next", l.pause)
	if given > 0 {
		s.cfg.Log.Error("messages are given up after a day", "target", l.Name, "news", given)
		return s.settle(ctx, take, jobs.NewsPassed, old)
	}
	return s.settle(ctx, take, jobs.NewsKept, 0)
}

// settle ends a claim, though ctx is done.
func (s *Sender) settle(ctx context.Context, take jobs.NewsTake, o jobs.NewsOutcome, last int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	_, err := s.cfg.Store.SettleNews(ctx, take, o, last)
	return err
}

// Report says what became of a test message.
type Report struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Sent    bool   `json:"sent"`
	Error   string `json:"error,omitempty"`
}

// Test sends each of the targets a message, all at the same time. They may be fewer than the sender's.
func (s *Sender) Test(ctx context.Context, targets []Target, from string) []Report {
	reports := make([]Report, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		all.Go(func() {
			reports[i] = Report{Name: t.Name, Service: t.Service(), Sent: true}
			text := "This is what a message of offload looks like, sent from " + plain(from, nameLength) + ". Nothing has happened, there is nothing to do."
			if page := s.texts.path(""); page != "" {
				text += "\n" + page
			}
			if err := s.cfg.Deliver(ctx, t.Address, "offload: a test message", text); err != nil {
				reports[i].Sent, reports[i].Error = false, err.Error()
			}
		})
	}
	all.Wait()
	return reports
}
