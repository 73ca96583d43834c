package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// asker calls the script of permits for one process and one set of subjects, as permits does.
type asker struct {
	w        *world
	name     string
	subjects string
	want     int
	files    int
	share    int
}

// ask tells that so many files are under way, and returns what the store answered.
func (a *asker) ask(t *testing.T, busy int, lease time.Duration) []int64 {
	t.Helper()
	keep := max(busy, min(a.files, a.share, a.want))
	res, err := script("fleet/permit").Run(t.Context(), a.w.store.Client(), []string{keyPermitLimits, keyPermits},
		a.name, a.subjects, keep, a.want, lease.Milliseconds(), a.w.calls.Add(1), 1000).Int64Slice()
	if err != nil {
		t.Fatal(err)
	}
	a.files, a.share = int(res[0]), int(res[1])
	return res
}

func (w *world) limitFiles(subject string, n int) {
	w.t.Helper()
	if err := w.svc.SetFileLimit(w.t.Context(), subject, n); err != nil {
		w.t.Fatal(err)
	}
}

// What the processes want is shared so that nobody could have more without another having less, who has no more.
func TestPermitsAreSharedFairly(t *testing.T) {
	type member struct {
		subjects string
		want     int
	}
	for name, c := range map[string]struct {
		limits  map[string]int
		members []member
		want    []int // -1 is one of the rest
	}{
		"alone":                  {map[string]int{"remote/x": 5}, []member{{"remote/x", 16}}, []int{5}},
		"enough for all":         {map[string]int{"remote/x": 50}, []member{{"remote/x", 16}, {"remote/x", 3}}, []int{16, 3}},
		"alike":                  {map[string]int{"remote/x": 6}, []member{{"remote/x", 16}, {"remote/x", 16}, {"remote/x", 16}}, []int{2, 2, 2}},
		"one wants little":       {map[string]int{"remote/x": 5}, []member{{"remote/x", 1}, {"remote/x", 16}}, []int{1, 4}},
		"one wants nothing":      {map[string]int{"remote/x": 5}, []member{{"remote/x", 0}, {"remote/x", 16}}, []int{0, 5}},
		"a second, lesser limit": {map[string]int{"remote/x": 10, "account/a": 2}, []member{{"account/a,remote/x", 16}, {"account/b,remote/x", 16}}, []int{2, 8}},
		"no limit on one":        {map[string]int{"remote/x": 3}, []member{{"remote/y", 16}, {"remote/x", 16}}, []int{-1, 3}},
		"a limit of 0 is none":   {map[string]int{"remote/x": 0, "remote/y": 4}, []member{{"remote/x", 16}, {"remote/x,remote/y", 9}}, []int{-1, 4}},
		"chain":                  {map[string]int{"remote/x": 4, "remote/y": 4}, []member{{"remote/x", 9}, {"remote/x,remote/y", 9}, {"remote/y", 9}}, []int{2, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				for subject, n := range c.limits {
					w.limitFiles(subject, n)
				}
				var all []*asker
				for i, m := range c.members {
					all = append(all, &asker{w: w, name: fmt.Sprintf("p%d", i), subjects: m.subjects, want: m.want})
				}
				for round := range 4 { // the first takes all; then each gives back what isn't its share
					for i, a := range all {
						a.ask(t, 0, time.Minute)
						if round == 3 && a.files != c.want[i] {
							t.Errorf("process %d has %d, want %d", i, a.files, c.want[i])
						}
					}
				}
			})
		})
	}
}

// Where there are fewer permits than processes, none goes without for ever.
func TestOddPermitsGoRound(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.limitFiles("remote/x", 1)
		all := []*asker{{w: w, name: "a", subjects: "remote/x", want: 4}, {w: w, name: "b", subjects: "remote/x", want: 4},
			{w: w, name: "c", subjects: "remote/x", want: 4}}
		had := map[string]bool{}
		until(t, "each had its turn", func() bool {
			n := 0
			for _, a := range all {
				a.ask(t, 0, time.Minute)
				had[a.name] = had[a.name] || a.files == 1
				n += a.files
			}
			if n > 1 {
				t.Fatalf("%d files at once, want 1", n)
			}
			return len(had) == 3 && had["a"] && had["b"] && had["c"]
		})
	})
}

// A call that was overtaken by a later one changes nothing: what it asked to keep may belong to another process by now.
func TestLatePermitCallIsRefused(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.limitFiles("remote/x", 5)
		ask := func(call, keep, want int) []int64 {
			res, err := script("fleet/permit").Run(t.Context(), w.store.Client(), []string{keyPermitLimits, keyPermits},
				"p", "remote/x", keep, want, 60_000, call, 1000).Int64Slice()
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		if got := ask(7, 0, 2); got[0] != 2 {
			t.Fatalf("granted %v", got)
		}
		for _, call := range []int{6, 7} {
			if got := ask(call, 5, 5); got[0] != -2 {
				t.Errorf("call %d after call 7: %v, want a refusal", call, got)
			}
		}
		if limits, err := w.svc.FileLimits(t.Context()); err != nil || len(limits) != 1 || limits[0].Held != 2 {
			t.Errorf("%+v, %v", limits, err)
		}
	})
}

// permitsOf runs the permits of one more process of the world until the test ends.
func (w *world) permitsOf(name string, store Store) *permits {
	p := w.svc.newPermits(name)
	if store != nil {
		p.client = store.Client()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	return p
}

// Nobody waits for a beat where there is room, neither the first file nor the next ones.
func TestPermitsAreHadAtOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.limitFiles("remote/x", 20)
		p := w.permitsOf("p", nil)
		began := time.Now()
		for range 20 {
			if _, err := p.take(t.Context(), "remote/x"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > beat*8/10 {
			t.Errorf("20 files waited %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := p.take(ctx, "remote/x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a 21st file of 20: %v", err)
		}
	})
}

// A file costs no call: 2,000 of them under a limit take about as many calls as there are beats.
func TestPermitsCostNoCallPerFile(t *testing.T) {
	w := newWorld(t, "")
	w.limitFiles("remote/x", 8)
	store := newMortal(w.store, 1<<40)
	p := w.permitsOf("p", store)
	began := time.Now()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 125 {
				free, err := p.take(t.Context(), "remote/x")
				if err != nil {
					t.Error(err)
					return
				}
				free()
			}
		})
	}
	all.Wait()
	if calls := 1<<40 - store.left.Load(); calls > 40+10*int64(time.Since(began)/beat+1) {
		t.Errorf("%d calls for 2000 files in %v", calls, time.Since(began))
	}
}

// Without the store nothing begins once the lease may have ended, and what waits ends with its context or its stop.
func TestPermitsEndWithTheirLease(t *testing.T) {
	w := newWorld(t, "")
	w.limitFiles("remote/x", 3)
	store := newMortal(w.store, 1<<40)
	p := w.svc.newPermits("p")
	p.client, p.lease, p.margin, p.beat = store.Client(), 600*time.Millisecond, 200*time.Millisecond, 50*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { p.run(ctx) })
	defer run.Wait()
	defer cancel()
	free, err := p.take(t.Context(), "remote/x")
	if err != nil {
		t.Fatal(err)
	}
	store.left.Store(0)
	until(t, "the lease has run out", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.sets["remote/x"].fresh(time.Now())
	})
	free() // though there is room in what was granted, nothing may begin
	waiting, stop := context.WithCancelCause(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, err := p.take(waiting, "remote/x")
		waits <- err
	}()
	until(t, "a file waits", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.sets["remote/x"].waiting) == 1
	})
	stop(transfer.ErrStop)
	if err := <-waits; !errors.Is(err, transfer.ErrStop) {
		t.Errorf("the file that waited: %v, want ErrStop", err)
	}
	store.left.Store(1 << 40)
	free, err = p.take(t.Context(), "remote/x")
	if err != nil {
		t.Fatal(err)
	}
	free()
}

func TestConfiguredLimitOfFiles(t *testing.T) {
	w := newWorld(t, "")
	w.svc.cfg.Transfers = map[string]int{"remote/x": 2, "account/anna": 7}
	list := func() string {
		t.Helper()
		all, err := w.svc.FileLimits(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v", all)
	}
	p := w.permitsOf("p", nil)
	for range 2 {
		if _, err := p.take(t.Context(), "remote/x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(); got != "[{Remote: Account:anna Files:7 Held:0 Set:false} {Remote:x Account: Files:2 Held:2 Set:false}]" {
		t.Error(got)
	}
	third := make(chan error, 1)
	go func() {
		_, err := p.take(t.Context(), "remote/x")
		third <- err
	}()
	w.limitFiles("remote/x", 3) // outranks the configuration, within two seconds
	if err := <-third; err != nil {
		t.Fatal(err)
	}
	if err := w.svc.ResetFileLimit(t.Context(), "remote/x"); err != nil {
		t.Fatal(err)
	}
	if got := list(); got != "[{Remote: Account:anna Files:7 Held:0 Set:false} {Remote:x Account: Files:2 Held:3 Set:false}]" {
		t.Error(got)
	}
	for _, bad := range []int{-1, MaxFiles + 1} {
		if err := w.svc.SetFileLimit(t.Context(), "remote/x", bad); err == nil {
			t.Errorf("a limit of %d was taken", bad)
		}
		if _, err := New(Config{Store: w.store, Ledger: w.ledger, Transfers: map[string]int{"remote/x": bad}}); err == nil {
			t.Errorf("a configured limit of %d was taken", bad)
		}
	}
}

func TestSubjectsOfAJob(t *testing.T) {
	for _, c := range []struct{ source, dest, want string }{
		{"icloud:Documents", "dropbox:x", "account/anna,remote/dropbox,remote/icloud"},
		{"dropbox:a", "dropbox:b", "account/anna,remote/dropbox"},
		{"/home/anna", "icloud:", "account/anna,remote/icloud"},
		{"a,opt=1:x", ":local:/y", "account/anna,remote/a"},
	} {
		if got := permitSubjects(Order{Source: c.source, Dest: c.dest, Account: "anna"}); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.source, c.dest, got, c.want)
		}
	}
}

// lag is a store whose answers come late, or not at all, when a test says so.
type lag struct {
	client redis.UniversalClient
	hold   atomic.Pointer[chan error] // what the next call answers is held until this tells what becomes of it
	held   chan struct{}              // a call has been carried out, and its answer is held
}

func newLag(s Store) *lag {
	l := &lag{held: make(chan struct{}, 1)}
	l.client, _ = s.MakeRedisClient().(redis.UniversalClient)
	l.client.AddHook(l)
	return l
}

// DialHook implements redis.Hook.
func (l *lag) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (l *lag) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if hold := l.hold.Load(); hold != nil && err == nil {
			l.held <- struct{}{}
			if err = <-*hold; err != nil {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (l *lag) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// While the store is asked, and when its answer got lost, no more files begin than it was told: it may have given the rest
// of what was granted before to others.
func TestNothingBeginsOnWhatMayHaveBeenGivenBack(t *testing.T) {
	for name, answer := range map[string]error{"the answer comes": nil, "the answer is lost": errDead} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.limitFiles("remote/x", 5)
			store := newLag(w.store)
			defer store.client.Close()
			p := w.svc.newPermits("p")
			p.client = store.client
			s := &permitSet{name: "remote/x"}
			p.sets["remote/x"] = s
			begin := func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return s.may(time.Now())
			}
			for range 5 {
				s.waiting = append(s.waiting, make(chan struct{}))
			}
			if err := p.ask(t.Context(), s); err != nil || s.busy != 5 || begin() {
				t.Fatalf("%d files begun of 5, %v", s.busy, err)
			}
			for range 3 {
				p.free(s)
			}
			hold := make(chan error)
			store.hold.Store(&hold)
			asked := make(chan error, 1)
			go func() { asked <- p.ask(t.Context(), s) }() // two are under way, and no more are wanted
			<-store.held
			if begin() {
				t.Error("a file began while the store was asked")
			}
			store.hold.Store(nil)
			hold <- answer
			if err := <-asked; !errors.Is(err, answer) {
				t.Fatal(err)
			}
			if begin() {
				t.Error("a file began on a permit that was given back")
			}
			if err := p.ask(t.Context(), s); err != nil || s.files != 2 {
				t.Errorf("%d files, %v", s.files, err)
			}
		})
	}
}
