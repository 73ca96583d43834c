package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"offload/jobs"
)

// rig is a store, a service and senders, in a bubble of synctest.
type rig struct {
	t     *testing.T
	store *memory
	post  *post
	log   *lines
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) { test(&rig{t, newMemory(), &post{}, &lines{}}) })
}

func address(name string) string { return "ntfy://127.0.0.1:1/" + name }

func target(name string) Target { return Target{Name: name, Address: address(name)} }

func (r *rig) sender(targets ...Target) *Sender {
	r.t.Helper()
	s, err := New(Config{Targets: targets, Store: r.store, Every: 10 * time.Minute, Log: slog.New(slog.NewTextHandler(r.log, nil)), Deliver: r.post.deliver})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Subscribe(r.t.Context()); err != nil && !r.store.away {
		r.t.Fatal(err)
	}
	return s
}

// start runs a sender until stop is called or the test ends.
func (r *rig) start(s *Sender) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	r.t.Cleanup(stop)
	return stop
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func done(id string) jobs.News {
	return jobs.News{ID: id, Kind: jobs.NewsFinished, Account: "default", Job: &jobs.Job{ID: id, Source: "icloud:", Dest: "dropbox:x", Label: id}}
}

func waits(id, remote string) jobs.News {
	return jobs.News{ID: id, Kind: jobs.NewsWaits, Remote: remote,
		Job: &jobs.Job{ID: id, Source: remote + ":", Dest: "dropbox:", State: jobs.Waiting, Reason: jobs.ReasonSignIn}}
}

// TestDigest: what happens at once is one message, and so is all that happens in the ten minutes after it.
func TestDigest(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start(r.sender(target("a")))
		pass(time.Minute)
		r.store.add(done("one"))
		pass(2 * time.Second)
		r.store.add(done("two"))
		pass(20 * time.Second)
		first := r.post.taken()
		if len(first) != 1 || !strings.Contains(first[0].text, "one (") || !strings.Contains(first[0].text, "two (") {
			t.Fatalf("what happened at once: %+v", first)
		}
		for i := range 50 {
			r.store.add(done(fmt.Sprintf("later%d", i)))
			pass(9 * time.Second)
		}
		if early := r.post.taken(); len(early) > 0 {
			t.Errorf("a second message within ten minutes: %+v", early)
		}
		pass(10 * time.Minute)
		second := r.post.taken()
		if len(second) != 1 || second[0].at.Sub(first[0].at) < 10*time.Minute || !strings.Contains(second[0].title, "50 done") {
			t.Errorf("the digest: %+v", second)
		}
		pass(time.Hour)
		if more := r.post.taken(); len(more) > 0 {
			t.Errorf("told again: %+v", more)
		}
	})
}

// TestTwoSenders: of two processes one sends, and the other one takes over when it dies without a word.
func TestTwoSenders(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.sender(target("a")), r.sender(target("a"))
		stopA := r.start(a)
		r.start(b)
		for i := range 20 {
			r.store.add(done(fmt.Sprint("n", i)))
			pass(7 * time.Minute)
		}
		all := ""
		for _, m := range r.post.taken() {
			all += m.title + m.text
		}
		stopA()
		r.store.mu.Lock()
		r.store.leader, r.store.until = "dead", time.Now().Add(leadTime) // killed: it gave nothing back
		r.store.mu.Unlock()
		r.store.add(done("n20"))
		pass(20 * time.Minute)
		for _, m := range r.post.taken() {
			all += m.title + m.text
		}
		for i := range 21 {
			if n := strings.Count(all, fmt.Sprintf("n%d (", i)); n != 1 {
				t.Errorf("n%d was told %d times", i, n)
			}
		}
	})
}

// TestBothLead: two that both believe they lead send nothing twice.
func TestBothLead(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.sender(target("a")), r.sender(target("a"))
		r.store.add(done("one"))
		var all sync.WaitGroup
		for _, s := range []*Sender{a, b} {
			all.Go(func() {
				if err := s.tell(t.Context(), s.lanes[0], 0, 0); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if m := r.post.taken(); len(m) != 1 {
			t.Errorf("%d messages", len(m))
		}
	})
}

// TestTargetsAreIndependent: one that is down and one that hangs keep nobody else waiting, and get all of it later.
func TestTargetsAreIndependent(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.post.set(map[string]bool{address("down"): true}, map[string]bool{address("hangs"): true})
		r.start(r.sender(target("down"), target("hangs"), target("up")))
		r.store.add(done("one"))
		pass(30 * time.Second)
		if m := r.post.taken(); len(m) != 1 || m[0].address != address("up") {
			t.Errorf("after 30 s: %+v", m)
		}
		pass(3 * time.Hour)
		r.store.add(done("two"))
		r.post.set(nil, nil)
		pass(2 * time.Hour)
		got := map[string]string{}
		for _, m := range r.post.taken() {
			got[m.address] += m.title + m.text
		}
		for _, name := range []string{"down", "hangs"} {
			if all := got[address(name)]; strings.Count(all, "one (") != 1 || strings.Count(all, "two (") != 1 {
				t.Errorf("%s was told %q", name, all)
			}
		}
	})
}

// TestRetriesBackOff: a service that is down is asked less and less often, and given up after a day; what comes then is
// tried anew.
func TestRetriesBackOff(t *testing.T) {
	inBubble(t, func(r *rig) {
		var mu sync.Mutex
		calls := 0
		s := r.sender(target("a"))
		down := true
		s.cfg.Deliver = func(ctx context.Context, address, title, text string) error {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if down {
				return fmt.Errorf("503")
			}
			return r.post.deliver(ctx, address, title, text)
		}
		r.start(s)
		r.store.add(done("old"))
		pass(time.Hour)
		mu.Lock()
		if calls < 4 || calls > 8 {
			t.Errorf("%d calls in the first hour", calls)
		}
		mu.Unlock()
		pass(26 * time.Hour)
		if !strings.Contains(r.log.String(), "given up after a day") {
			t.Error("nothing is said of what was given up")
		}
		r.store.add(done("new"))
		mu.Lock()
		down = false
		if calls > 45 {
			t.Errorf("%d calls in a day", calls)
		}
		mu.Unlock()
		pass(3 * time.Hour)
		m := r.post.taken()
		if len(m) != 1 || !strings.Contains(m[0].title, "new (") || strings.Contains(m[0].title+m[0].text, "old (") {
			t.Errorf("after the day: %+v", m)
		}
	})
}

// TestSettlingFails: a message that arrived isn't sent again since the store was away for a moment.
func TestSettlingFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.sender(target("a"))
		r.start(s)
		r.store.mu.Lock()
		r.store.deaf = true
		r.store.mu.Unlock()
		r.store.add(done("one"))
		pass(10 * time.Minute)
		r.store.mu.Lock()
		r.store.deaf = false
		r.store.mu.Unlock()
		r.store.add(done("two"))
		pass(30 * time.Minute)
		all := ""
		for _, m := range r.post.taken() {
			all += m.title + m.text
		}
		if strings.Count(all, "one (") != 1 || strings.Count(all, "two (") != 1 {
			t.Errorf("told %q", all)
		}
	})
}

// TestStoreAway: a store that comes late or goes away costs nothing but time.
func TestStoreAway(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.store.away = true
		r.start(r.sender(target("a")))
		pass(time.Hour)
		r.store.mu.Lock()
		r.store.away = false
		r.store.mu.Unlock()
		pass(time.Minute)
		r.store.add(done("one"))
		pass(time.Minute)
		if m := r.post.taken(); len(m) != 1 {
			t.Errorf("after the store came back: %+v", m)
		}
	})
}

// TestFilters: a target is told what it asked for, of whom it asked for.
func TestFilters(t *testing.T) {
	anna := done("anna's")
	anna.Account = "anna"
	failed := done("broken")
	failed.Kind = jobs.NewsFailed
	fleet := jobs.News{ID: "w", Kind: jobs.NewsWorker, Worker: "h/1"}
	later := jobs.News{ID: "?", Kind: "of a newer version"}
	inBubble(t, func(r *rig) {
		all, some, hers := target("all"), target("some"), target("hers")
		some.Events, hers.Accounts = []jobs.NewsKind{jobs.NewsFailed, jobs.NewsWorker}, []string{"anna"}
		r.start(r.sender(all, some, hers))
		for _, n := range []jobs.News{anna, failed, fleet, later} {
			r.store.add(n)
		}
		pass(time.Minute)
		got := map[string]string{}
		for _, m := range r.post.taken() {
			got[m.address] = m.title + "\n" + m.text
		}
		for name, want := range map[string][3]bool{"all": {true, true, true}, "some": {false, true, true}, "hers": {true, false, false}} {
			for i, text := range []string{"anna's", "broken", "h/1"} {
				if strings.Contains(got[address(name)], text) != want[i] {
					t.Errorf("%s is told of %s: %v", name, text, !want[i])
				}
			}
		}
		// What isn't for a target keeps nothing back, and costs no message.
		r.store.add(later)
		pass(time.Hour)
		r.store.add(failed)
		pass(time.Minute)
		if m := r.post.taken(); len(m) != 2 {
			t.Errorf("after news for nobody: %+v", m)
		}
	})
}

// TestWaitsThatEnded: what was mended before the message needs none, and one job is said once.
func TestWaitsThatEnded(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.store.gone["mended"] = true
		r.start(r.sender(target("a")))
		r.store.add(waits("mended", "icloud"))
		pass(time.Minute)
		if m := r.post.taken(); len(m) > 0 {
			t.Errorf("told of what was mended: %+v", m)
		}
		for _, id := range []string{"j1", "j2", "j1"} {
			r.store.add(waits(id, "icloud"))
		}
		pass(time.Minute)
		if m := r.post.taken(); len(m) != 1 || !strings.Contains(m[0].title, "Sign in to icloud: again: 2 jobs wait") {
			t.Errorf("two jobs wait: %+v", m)
		}
	})
}

// TestFlush: a process that ends says what it has to say, unless another one goes on.
func TestFlush(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.sender(target("a"), target("b"))
		stop := r.start(s)
		r.store.add(done("one"))
		pass(time.Minute)
		r.post.taken()
		r.store.add(done("two"))
		stop()
		s.Flush(t.Context())
		if m := r.post.taken(); len(m) != 2 || !strings.Contains(m[0].title, "two (") {
			t.Errorf("at the end: %+v", m)
		}
		r.store.add(done("three"))
		r.store.leader, r.store.until = "another", time.Now().Add(time.Minute)
		s.Flush(t.Context())
		if m := r.post.taken(); len(m) > 0 {
			t.Errorf("beside another sender: %+v", m)
		}
	})
}

// TestMessageOnItsWay: a stop lets it arrive, and it isn't sent again.
func TestMessageOnItsWay(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.sender(target("a"))
		s.cfg.Deliver = func(ctx context.Context, address, title, text string) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(3 * time.Second):
			}
			return r.post.deliver(ctx, address, title, text)
		}
		stop := r.start(s)
		r.store.add(done("one"))
		pass(11 * time.Second)
		for len(r.post.taken()) == 0 && r.store.targets["a"].mark == "" {
			pass(time.Second)
		}
		stop()
		if r.store.targets["a"].at != 1 || r.store.leader != "" {
			t.Errorf("after the stop: %+v, led by %q", r.store.targets["a"], r.store.leader)
		}
	})
}

// TestWatches: the leader looks for news as often as is said, and one that fails stops nothing.
func TestWatches(t *testing.T) {
	inBubble(t, func(r *rig) {
		var often, seldom int
		s := r.sender(target("a"))
		s.cfg.Watches = []Watch{
			{What: "often", Every: time.Minute, Look: func(context.Context) error { often++; return errAway }},
			{What: "seldom", Every: time.Hour, Look: func(context.Context) error { seldom++; return nil }}}
		r.start(s)
		pass(time.Hour + time.Minute)
		if often < 55 || often > 62 || seldom != 2 {
			t.Errorf("looked %d and %d times in an hour", often, seldom)
		}
	})
}

// TestStoreThatLostEverything: its loss is told, though it knew no targets any more; nobody looks for news before it does.
func TestStoreThatLostEverything(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.sender(target("a"))
		lost, looks := false, 0
		s.cfg.Watches = []Watch{{What: "the store", Every: 30 * time.Second, Look: func(context.Context) error {
			looks++
			if lost {
				lost = false
				r.store.add(jobs.News{ID: "store/1", Kind: jobs.NewsStore, Span: time.Minute})
			}
			return nil
		}}}
		r.start(s)
		pass(10 * time.Minute)
		r.store.mu.Lock()
		r.store.log, r.store.targets, r.store.leader = nil, map[string]*place{}, ""
		lost, r.store.closed = true, true
		before := looks
		r.store.mu.Unlock()
		pass(5 * time.Minute)
		if looks != before {
			t.Error("looked for news that nobody would have been told")
		}
		r.store.mu.Lock()
		r.store.closed = false
		r.store.mu.Unlock()
		pass(time.Minute)
		if m := r.post.taken(); len(m) != 1 || !strings.Contains(strings.ToLower(m[0].title), "store") {
			t.Errorf("told of the loss: %+v", m)
		}
	})
}

// TestPartOfATargetIsDown: who took a message doesn't get it again since others of the same target didn't.
func TestPartOfATargetIsDown(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := r.sender(target("a"))
		s.cfg.Deliver = func(ctx context.Context, address, title, text string) error {
			if err := r.post.deliver(ctx, address, title, text); err != nil {
				return err
			}
			return partlyError{errors.New("chat not found")}
		}
		r.start(s)
		r.store.add(done("one"))
		pass(3 * time.Hour)
		if m := r.post.taken(); len(m) != 1 {
			t.Errorf("%d messages of the same news", len(m))
		}
		if log := r.log.String(); !strings.Contains(log, "level=WARN") || !strings.Contains(log, "only some of a target") || !strings.Contains(log, "chat not found") {
			t.Errorf("the log says %q", log)
		}
		if rep := s.Test(t.Context(), []Target{target("a")}, "h"); len(rep) != 1 || rep[0].Sent || rep[0].Error != "chat not found" {
			t.Errorf("the test says %+v", rep)
		}
	})
}

// TestAlarmIsToldAtOnce: what a scrub has found doesn't wait for the ten minutes between two messages.
func TestAlarmIsToldAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start(r.sender(target("a")))
		pass(time.Minute)
		r.store.add(done("one"))
		pass(20 * time.Second)
		if first := r.post.taken(); len(first) != 1 {
			t.Fatalf("%+v", first)
		}
		r.store.add(done("two"))
		pass(2 * time.Minute)
		if early := r.post.taken(); len(early) > 0 {
			t.Fatalf("before its time: %+v", early)
		}
		alarm := done("scrub")
		alarm.Kind, alarm.Urgent = jobs.NewsScrub, true
		alarm.Job.Kind, alarm.Job.Of, alarm.Job.Files.Found, alarm.Job.Scrub = jobs.KindScrub, jobID, 2000, &jobs.ScrubResult{Intact: 1997, Missing: 2, Different: 1}
		r.store.add(alarm)
		pass(time.Minute)
		told := r.post.taken()
		if len(told) != 1 || !strings.Contains(told[0].title, "1 alarm") || !strings.Contains(told[0].text, "of 2,000 files that were offloaded, 2 missing, 1 different") ||
			!strings.Contains(told[0].text, "`offload restore "+jobID+"`") {
			t.Fatalf("%+v", told)
		}
		if strings.Index(told[0].text, "Alarm") > strings.Index(told[0].text, "two") {
			t.Errorf("the alarm comes after what is done: %s", told[0].text)
		}
	})
}
