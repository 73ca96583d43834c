package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Times of permits.
const (
	permitAgain  = 200 * time.Millisecond // whoever waits for what others have yet to give back asks again after this
	permitRotate = 5 * time.Second        // where there are fewer permits than processes, they go round this often
	permitCall   = 2 * time.Second        // how long the store may take to answer
)

// permits hold how many files all processes together move at once from or to a remote, or for an account. A process leases
// permits in bulk from the store (lua/fleet/permit.lua), so that a file costs no call: it asks for more when files wait for
// them, and renews, and gives back what it has too much of, each beat. A lease is as long as that of a unit: what a killed
// process held is free after it, and a process that was frozen, or that the store doesn't answer, begins nothing from
// leaseMargin before its end on, when its units stop too.
//
// Without a limit a process asks once a beat whether there is one now, while it moves files.
type permits struct {
	client        redis.UniversalClient
	log           *slog.Logger
	script        *redis.Script
	holder        string
	defaults      []any // subject and limit, by turns
	lease, margin time.Duration
	beat, again   time.Duration
	rotate        time.Duration
	kick          chan struct{} // something is to be asked at once

	mu   sync.Mutex
	sets map[string]*permitSet
	call int64 // number of the last call: one that comes late is known by it
	away bool  // the store didn't answer the last one
}

// permitSet is what this process holds for one set of subjects: those of the jobs between the same remotes for one account.
// A file takes one permit of the set, which counts for each of its subjects: so nobody waits for one while having another.
type permitSet struct {
	name    string
	until   time.Time // what follows is good until then; the zero time is never
	limited bool
	files   int // that may be under way at once
	share   int // of that; beyond it nothing new begins, since others wait
	least   int // the least of the limits
	asking  bool
	kept    int // what the call under way has promised to need at most
	wanted  int // what it asked for
	next    time.Time
	busy    int
	waiting []chan struct{}
}

// newPermits returns the permits of a process; run must be running while they are used.
func (s *Service) newPermits(holder string) *permits {
	p := &permits{client: s.client, log: s.log, script: script("fleet/permit"), holder: holder,
		lease: leaseTime, margin: leaseMargin, beat: beat, again: permitAgain, rotate: permitRotate, kick: make(chan struct{}, 1), sets: map[string]*permitSet{}}
	for _, subject := range slices.Sorted(maps.Keys(s.cfg.Transfers)) {
		p.defaults = append(p.defaults, subject, s.cfg.Transfers[subject])
	}
	return p
}

// permitSubjects names the set of subjects that limit the files of a job.
func permitSubjects(o Order) string {
	all := []string{FilesOfAccount(o.Account)}
	for _, path := range []string{o.Source, o.Dest} {
		if remote := nameOfRemote(path); remote != "" {
			all = append(all, FilesOfRemote(remote))
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// run asks the store for what files wait for, renews what is held, and gives back the rest, until ctx is done. What is held
// then is given back: no file is under way any more.
func (p *permits) run(ctx context.Context) {
	tick := time.NewTicker(p.again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			p.end(context.WithoutCancel(ctx))
			return
		case <-p.kick:
		case <-tick.C:
		}
		for _, s := range p.due(time.Now()) {
			if err := p.ask(ctx, s); err != nil {
				p.missing(ctx, err)
				break // the others would wait as long in vain
			}
		}
	}
}

// end gives everything back. Where the store doesn't answer, the leases end by themselves.
func (p *permits) end(ctx context.Context) {
	p.mu.Lock()
	var held []*permitSet
	for _, s := range p.sets {
		if s.limited {
			held = append(held, s)
		}
	}
	p.mu.Unlock()
	for _, s := range held {
		if err := p.ask(ctx, s); err != nil {
			p.log.Debug("give permits back", "subjects", s.name, "error", err)
			return
		}
	}
}

// due are the sets to ask for now.
func (p *permits) due(now time.Time) []*permitSet {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*permitSet
	for _, s := range p.sets {
		if s.idle() && (!s.limited || s.files == 0) {
			// Nothing to renew: the next file asks whether there is a limit by then.
			if !now.Before(s.next) {
				s.until = time.Time{}
			}
			continue
		}
		if !now.Before(s.next) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *permitSet) int { return a.next.Compare(b.next) }) // none is forgotten where the store is slow
	return all
}

func (s *permitSet) idle() bool { return s.busy == 0 && len(s.waiting) == 0 }

// ask tells the store what is under way and what is wanted, and takes what it grants.
func (p *permits) ask(ctx context.Context, s *permitSet) error {
	p.mu.Lock()
	asked := time.Now()
	want := s.busy + len(s.waiting)
	keep := s.busy
	if s.limited && s.fresh(asked) {
		keep = max(keep, min(s.files, s.share, want))
	}
	p.call++
	s.asking, s.kept, s.wanted, s.next = true, keep, want, asked.Add(p.beat)
	args := append([]any{p.holder, s.name, keep, want, p.lease.Milliseconds(), p.call, p.rotate.Milliseconds()}, p.defaults...)
	p.mu.Unlock()

	call, cancel := context.WithTimeout(ctx, permitCall)
	res, err := p.script.Run(call, p.client, []string{keyPermitLimits, keyPermits}, args...).Int64Slice()
	cancel()
	if err == nil && (len(res) != 3 || res[0] == -2) {
		err = fmt.Errorf("unexpected answer %v", res)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.asking = false
	if err != nil {
		s.files = min(s.files, keep) // it may have reached the store, which may have given the rest away
		return fmt.Errorf("ask for permits: %w", err)
	}
	p.away = false
	s.until = asked.Add(p.lease - p.margin)
	s.limited = res[0] >= 0
	s.files, s.share, s.least = int(res[0]), int(res[1]), int(res[2])
	s.pass(time.Now())
	switch {
	case s.wants() || s.gives(): // more came, or has ended, while the call was under way
		p.hurry(s)
	case len(s.waiting) > 0 && s.busy < s.share: // the others have yet to give it back
		s.next = asked.Add(p.again)
	}
	return nil
}

// missing notes that the store didn't answer, and says so once.
func (p *permits) missing(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.away && ctx.Err() == nil {
		p.log.Warn("the store doesn't answer: soon no new file begins", "error", err)
	}
	p.away = true
}

// fresh tells whether what is known still holds, by both clocks, as for unit.held.
func (s *permitSet) fresh(now time.Time) bool {
	return now.Before(s.until) && now.Round(0).Before(s.until.Round(0))
}

// may tells whether one more file may begin.
func (s *permitSet) may(now time.Time) bool {
	if !s.fresh(now) || !s.limited {
		return s.fresh(now)
	}
	most := min(s.files, s.share)
	if s.asking {
		most = min(most, s.kept)
	}
	return s.busy < most
}

// gives tells whether the process holds what others wait for and what it doesn't need any more.
func (s *permitSet) gives() bool { return s.limited && s.files > max(s.busy, s.share) }

// wants tells whether more files wait than were asked for, and more may be had.
func (s *permitSet) wants() bool {
	return len(s.waiting) > 0 && s.busy+len(s.waiting) > s.wanted && s.wanted < s.least
}

// pass lets files that wait begin, first come first served; the caller holds mu.
func (s *permitSet) pass(now time.Time) {
	for len(s.waiting) > 0 && s.may(now) {
		s.busy++
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
}

// hurry makes run ask for the set at once; the caller holds mu.
func (p *permits) hurry(s *permitSet) {
	s.next = time.Time{}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// take waits for a permit of the set.
func (p *permits) take(ctx context.Context, name string) (release func(), err error) {
	p.mu.Lock()
	s := p.sets[name]
	if s == nil {
		s = &permitSet{name: name}
		p.sets[name] = s
	}
	now := time.Now()
	if len(s.waiting) == 0 && s.may(now) {
		s.busy++
		p.mu.Unlock()
		return sync.OnceFunc(func() { p.free(s) }), nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	if !s.asking && (!s.fresh(now) || s.wants()) {
		p.hurry(s)
	}
	p.mu.Unlock()
	select {
	case <-turn:
		return sync.OnceFunc(func() { p.free(s) }), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // it was given in the same moment: pass it on
		s.busy--
		s.pass(time.Now())
	}
	return nil, context.Cause(ctx)
}

// free gives a permit back to those of this process who wait, or to the other processes where they do.
func (p *permits) free(s *permitSet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.busy--
	s.pass(time.Now())
	if s.gives() && !s.asking {
		p.hurry(s)
	}
}

// jobSlots are the slots of a job's files in this process: its own limit, and after it a permit of the fleet. Waiting for
// a permit keeps back the files of this job alone.
type jobSlots struct {
	own    *slots
	rank   int64    // among the batches of the job here
	fleet  *permits // nil is no limit
	permit string   // the set of subjects
}

// slots are those of a job, for the files of a batch of it. The batch that was begun first goes first: of several batches
// those that are begun last can be left to other workers, whole.
func (w *worker) slots(u *unit, o *openJob) jobSlots {
	return jobSlots{own: o.slots, rank: u.rank, fleet: w.permits, permit: permitSubjects(o.order)}
}

// Acquire implements transfer.Slots.
func (s jobSlots) Acquire(ctx context.Context) (func(bool), error) {
	release, err := s.own.acquire(ctx, s.rank)
	if err != nil {
		return nil, err
	}
	if s.fleet == nil {
		return release, nil
	}
	back, err := s.fleet.take(ctx, s.permit)
	if err != nil {
		release(false)
		return nil, err
	}
	return func(throttled bool) {
		back()
		release(throttled)
	}, nil
}

// Keys of the permits, in one slot: a permit counts for several subjects.
const (
	keyPermitLimits = "offload:fleet:{permits}:limits" // hash of subject -> files at once, as set by command
	keyPermits      = "offload:fleet:{permits}:held"   // hash of who may move how many, see lua/fleet/permit.lua
)

// MaxFiles is the largest number of files at once that a limit can name.
const MaxFiles = 10_000

// The kinds of subjects that files at once are limited for.
const (
	remoteKind  = "remote/"
	accountKind = "account/"
)

// FilesOfRemote names the files from and to a remote, for Config.Transfers and SetTransfers.
func FilesOfRemote(remote string) string { return remoteKind + remote }

// FilesOfAccount names the files of an account's jobs.
func FilesOfAccount(account string) string { return accountKind + account }

// FileLimit is how many files all workers together move at once from and to a remote, or for an account.
type FileLimit struct {
	Remote  string `json:"remote,omitempty"`
	Account string `json:"account,omitempty"`
	Files   int    `json:"files"` // 0 is no limit, where a command has taken away that of the settings
	Held    int    `json:"held"`  // how many the workers have leave for now
	Set     bool   `json:"set"`   // by command; else it is of the settings
}

// SetFileLimit limits how many files of a subject all workers together move at once; 0 is no limit. It outranks the
// configuration, and holds within two seconds; files under way then may end.
func (s *Service) SetFileLimit(ctx context.Context, subject string, files int) error {
	if files < 0 || files > MaxFiles {
		return fmt.Errorf("limit %s: %d isn't a number from 0 to %d", subject, files, MaxFiles)
	}
	if err := s.client.HSet(ctx, keyPermitLimits, subject, files).Err(); err != nil {
		return fmt.Errorf("limit %s: %w", subject, err)
	}
	return nil
}

// ResetFileLimit takes away what SetFileLimit has set: the configuration holds again.
func (s *Service) ResetFileLimit(ctx context.Context, subject string) error {
	if err := s.client.HDel(ctx, keyPermitLimits, subject).Err(); err != nil {
		return fmt.Errorf("limit %s: %w", subject, err)
	}
	return nil
}

// FileLimits returns the limits that are set or configured, accounts first, by name.
func (s *Service) FileLimits(ctx context.Context) ([]FileLimit, error) {
	set, err := s.client.HGetAll(ctx, keyPermitLimits).Result()
	if err != nil {
		return nil, fmt.Errorf("read the limits of files at once: %w", err)
	}
	held, err := s.client.HGetAll(ctx, keyPermits).Result()
	if err != nil {
		return nil, fmt.Errorf("read who moves files: %w", err)
	}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("ask the store for the time: %w", err)
	}
	files := map[string]int{}
	for subject, n := range s.cfg.Transfers {
		files[subject] = n
	}
	for subject, n := range set {
		files[subject] = int(number(n))
	}
	all := []FileLimit{}
	for _, subject := range slices.Sorted(maps.Keys(files)) {
		_, byCommand := set[subject]
		l := FileLimit{Files: files[subject], Set: byCommand, Held: heldOf(subject, held, now)}
		if remote, ok := strings.CutPrefix(subject, remoteKind); ok {
			l.Remote = remote
		} else {
			l.Account = strings.TrimPrefix(subject, accountKind)
		}
		all = append(all, l)
	}
	return all, nil
}

// heldOf counts the permits of a subject whose lease hasn't ended.
func heldOf(subject string, held map[string]string, now time.Time) int {
	n := 0
	for who, what := range held {
		_, subjects, _ := strings.Cut(who, "|")
		p := strings.Split(what, "|") // as permit.lua writes it
		if len(p) == 4 && slices.Contains(strings.Split(subjects, ","), subject) && fromMillis(p[2]).After(now) {
			n += int(number(p[0]))
		}
	}
	return n
}

// errFileLimit is a limit of the configuration that can't hold.
var errFileLimit = errors.New("isn't a limit of files at once")

// checkFileLimits refuses limits that can't be meant.
func checkFileLimits(limits map[string]int) error {
	for _, subject := range slices.Sorted(maps.Keys(limits)) {
		if n := limits[subject]; n < 0 || n > MaxFiles || strings.ContainsRune(subject, ',') {
			return fmt.Errorf("%d for %q: %w", n, subject, errFileLimit)
		}
	}
	return nil
}
