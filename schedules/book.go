package schedules

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/internal/human"
	"offload/jobs"
)

// Bounds of what is kept.
const (
	schedulesMost = 10_000
	runsKept      = 100
	markLength    = 10 // of a definition or a fence: 50 bits
)

// Config of a book.
type Config struct {
	Client redis.UniversalClient
	Jobs   *jobs.Service
	// Room chooses what to offload for a goal: the order of the job, and false where nothing is to be done, with the reason
	// (room.Choose). Nil where no schedule can make room.
	Room func(ctx context.Context, g jobs.Goal, base jobs.Order) (o jobs.Order, ok bool, why string, err error)
	// Scrubs are the orders that look at what a job has offloaded, or with no ID at what all have. Defaults to those of Jobs.
	Scrubs func(ctx context.Context, id string, read bool) ([]jobs.Order, error)
	Log    *slog.Logger // Defaults to nothing.
}

// Book is all schedules of a store. Its methods may be called from any process.
type Book struct {
	cfg     Config
	client  redis.UniversalClient
	scripts *scripts
	log     *slog.Logger
}

// New returns a book. It starts nothing.
func New(cfg Config) *Book {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Scrubs == nil {
		cfg.Scrubs = cfg.Jobs.ScrubOrders
	}
	return &Book{cfg: cfg, client: cfg.Client, scripts: loadScripts(cfg.Client), log: cfg.Log}
}

// stored is what is kept of a definition.
type stored struct {
	Name    string     `json:"name"`
	When    When       `json:"when"`
	Order   jobs.Order `json:"order"`
	Created time.Time  `json:"created"`
	By      string     `json:"by,omitempty"`
}

// now is the time on the store's clock.
func (b *Book) now(ctx context.Context) (time.Time, error) {
	t, err := b.client.Time(ctx).Result()
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store for the time: %w", err)
	}
	return t.UTC(), nil
}

// Add stores a schedule. Adding the same again changes nothing; another one under the name of an old one is ErrExists, unless
// it is to replace that: then its runs stay, and whether it is paused. What it is to do is checked now, as far as it can be
// without making a job: a mistake is a *jobs.OrderError.
func (b *Book) Add(ctx context.Context, s Schedule, replace bool) (View, error) {
	s.When = s.When.WithDefaults()
	s.Order.Account = s.Account()
	if err := s.Validate(); err != nil {
		return View{}, err
	}
	if err := b.check(ctx, &s); err != nil {
		return View{}, err
	}
	now, err := b.now(ctx)
	if err != nil {
		return View{}, err
	}
	if had, err := b.Get(ctx, s.Account(), s.Name); err == nil {
		if same(had.Schedule, s) {
			return had, nil
		}
		if replace {
			s.Created = had.Created
		}
	} else if !errors.Is(err, ErrNotFound) {
		return View{}, err
	}
	if s.Created.IsZero() {
		s.Created = now
	}
	raw, err := json.Marshal(stored(s))
	if err != nil {
		return View{}, fmt.Errorf("store schedule %s: %w", s.Name, err)
	}
	next, err := s.When.Next(now, 1)
	if err != nil {
		return View{}, err
	}
	at := ""
	if len(next) > 0 {
		at = millis(next[0])
	}
	n, err := b.scripts.number(ctx, "put", []string{keyAll, keyDue, keyOf(s.ID())}, s.ID(), raw, mark(), at, schedulesMost, flag(replace))
	switch {
	case err != nil:
		return View{}, err
	case n == 0:
		return View{}, fmt.Errorf("schedule %s: %w", s.Name, ErrExists)
	case n < 0:
		return View{}, &jobs.OrderError{Field: "name", Value: s.Name, Err: fmt.Errorf("there are %d schedules already", schedulesMost), Hint: "remove some first"}
	}
	return b.Get(ctx, s.Account(), s.Name)
}

// check looks whether a schedule can do what it is to do, as things are now.
func (b *Book) check(ctx context.Context, s *Schedule) error {
	switch {
	case s.Kind() == Move:
		_, err := b.cfg.Jobs.Check(ctx, s.Order)
		return err
	case s.Kind() == Scrub && s.Order.Of != "":
		j, err := b.cfg.Jobs.Get(ctx, s.Order.Of)
		if errors.Is(err, jobs.ErrNotFound) {
			return &jobs.OrderError{Field: "scrub", Value: s.Order.Of, Err: errors.New("no such job"), Hint: "`offload jobs list` shows the jobs"}
		}
		s.Order.Of = j.ID
		return err
	}
	return nil
}

// same tells whether two definitions are one.
func same(a, b Schedule) bool {
	a.Created, a.By, b.Created, b.By = time.Time{}, "", time.Time{}, ""
	x, errX := json.Marshal(stored(a))
	y, errY := json.Marshal(stored(b))
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func mark() string { return rand.Text()[:markLength] }

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// Get returns a schedule, or ErrNotFound.
func (b *Book) Get(ctx context.Context, account, name string) (View, error) {
	views, err := b.views(ctx, []string{idOf(account, name)})
	if err != nil {
		return View{}, err
	}
	if len(views) == 0 {
		return View{}, fmt.Errorf("schedule %.80q: %w", name, ErrNotFound)
	}
	return views[0], nil
}

// List returns the schedules of an account, or of all where it is "", by account and name.
func (b *Book) List(ctx context.Context, account string) ([]View, error) {
	by := &redis.ZRangeBy{Min: "-", Max: "+"}
	if account != "" {
		by.Min, by.Max = "["+account+"/", "("+account+"0" // "0" comes after "/"
	}
	ids, err := b.client.ZRangeByLex(ctx, keyAll, by).Result()
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	all := []View{}
	for part := range slices.Chunk(ids, 500) {
		views, err := b.views(ctx, part)
		if err != nil {
			return nil, err
		}
		all = append(all, views...)
	}
	return all, nil
}

// views reads schedules; those that aren't there are left out.
func (b *Book) views(ctx context.Context, ids []string) ([]View, error) {
	p := b.client.Pipeline()
	fields, lasts := make([]*redis.MapStringStringCmd, len(ids)), make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		fields[i], lasts[i] = p.HGetAll(ctx, keyOf(id)), p.LIndex(ctx, keyRuns(id), 0)
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read schedules: %w", err)
	}
	var all []View
	for i, id := range ids {
		f := fields[i].Val()
		if f["def"] == "" {
			continue
		}
		v, err := viewOf(f, lasts[i].Val())
		if err != nil {
			return nil, fmt.Errorf("read schedule %s: %w", id, err)
		}
		v.LastJob = b.lastJob(ctx, f["last"])
		all = append(all, v)
	}
	return all, nil
}

func viewOf(f map[string]string, last string) (View, error) {
	s, err := parseStored(f["def"])
	if err != nil {
		return View{}, err
	}
	v := View{Schedule: s, Words: s.When.Words(), Does: s.Does(), Kind: s.Kind(), Paused: f["paused"] == "1", rev: f["rev"], ran: fromMillis(f["ran"])}
	if next := fromMillis(f["next"]); !next.IsZero() {
		if zone, err := readZone(s.When.Zone); err == nil {
			next = next.In(zone)
		}
		v.Next = &next
	}
	if v.Running, err = parseRun(f["run"]); err != nil {
		return View{}, err
	}
	v.Last, err = parseRun(last)
	return v, err
}

func parseStored(text string) (s Schedule, err error) {
	var d stored
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return s, fmt.Errorf("read a definition: %w", err)
	}
	return Schedule(d), nil
}

// parseRun reads a run; "" is none.
func parseRun(text string) (*Run, error) {
	if text == "" {
		return nil, nil
	}
	var r Run
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("read a run: %w", err)
	}
	return &r, nil
}

// lastJob is the state of the last job of a run, "" where there is none.
func (b *Book) lastJob(ctx context.Context, last string) jobs.State {
	r, err := parseRun(last)
	if err != nil || r == nil || len(r.Jobs) == 0 {
		return ""
	}
	j, err := b.cfg.Jobs.Get(ctx, r.Jobs[len(r.Jobs)-1])
	if err != nil {
		return ""
	}
	return j.State
}

// Runs returns the last runs of a schedule that ended, at most n of the 100 that are kept, newest first.
func (b *Book) Runs(ctx context.Context, account, name string, n int) ([]Run, error) {
	lines, err := b.client.LRange(ctx, keyRuns(idOf(account, name)), 0, int64(n)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("read the runs of schedule %s: %w", name, err)
	}
	all := []Run{}
	for _, line := range lines {
		r, err := parseRun(line)
		if err != nil {
			return nil, fmt.Errorf("read the runs of schedule %s: %w", name, err)
		}
		all = append(all, *r)
	}
	return all, nil
}

// Upcoming are the next n times that it is due, in its zone; none while it is paused.
func (v View) Upcoming(n int) []time.Time {
	if v.Next == nil {
		return nil
	}
	more, err := v.When.Next(*v.Next, n-1)
	if err != nil {
		return []time.Time{*v.Next}
	}
	return append([]time.Time{*v.Next}, more...)
}

// Remove forgets a schedule and its runs; its jobs stay.
func (b *Book) Remove(ctx context.Context, account, name string) error {
	id := idOf(account, name)
	n, err := b.scripts.number(ctx, "remove", []string{keyAll, keyDue, keyOpen, keyOf(id), keyRuns(id)}, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("schedule %.80q: %w", name, ErrNotFound)
	}
	return err
}

// Pause lets a schedule rest. A run that is under way goes on.
func (b *Book) Pause(ctx context.Context, account, name string) (View, error) {
	return b.steer(ctx, account, name, true)
}

// Resume lets a paused schedule go on with the next time that it is due; what it missed isn't made up for.
func (b *Book) Resume(ctx context.Context, account, name string) (View, error) {
	return b.steer(ctx, account, name, false)
}

func (b *Book) steer(ctx context.Context, account, name string, pause bool) (View, error) {
	for range 3 { // somebody may change the definition in between
		v, err := b.Get(ctx, account, name)
		if err != nil {
			return v, err
		}
		now, err := b.now(ctx)
		if err != nil {
			return v, err
		}
		next, err := nextOf(v, now)
		if err != nil {
			return v, err
		}
		n, err := b.scripts.number(ctx, "steer", []string{keyDue, keyOf(v.ID())}, v.ID(), v.rev, flag(pause), millis(next))
		if err != nil {
			return v, err
		}
		if n == 1 {
			return b.Get(ctx, account, name)
		}
	}
	return View{}, fmt.Errorf("schedule %.80q is being changed by somebody else: %w", name, ErrBusy)
}

// far is how far ahead of the store's clock a run can lie that was right when it was made: a clock that is put back by more
// was wrong by that.
const far = 25 * time.Hour

// nextOf is when a schedule is due after now; after its last run, too, where the clock was put back since.
func nextOf(v View, now time.Time) (time.Time, error) {
	if v.ran.After(now) && v.ran.Sub(now) < far {
		now = v.ran
	}
	next, err := v.When.Next(now, 1)
	if err != nil || len(next) == 0 {
		return time.Time{}, err
	}
	return next[0], nil
}

// goalWords says what a goal is: "keeps 20 GiB free in icloud:, offloading to dropbox:Archive".
func goalWords(g jobs.Goal) string {
	room := human.Size(g.Free) + " free"
	switch {
	case g.Percent > 0:
		room = strconv.Itoa(g.Percent) + "% free"
	case g.Backup > 0:
		room = "room for a backup of " + human.Size(g.Backup)
	}
	return "keeps " + room + " in " + strings.TrimSpace(g.Remote) + ", offloading to " + g.To
}
