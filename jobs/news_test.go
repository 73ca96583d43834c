package jobs

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

func (w *world) listen(targets ...string) {
	w.t.Helper()
	if err := w.svc.Subscribe(w.t.Context(), targets); err != nil {
		w.t.Fatal(err)
	}
}

func take(target, mark string) NewsTake {
	return NewsTake{Target: target, Mark: mark, Hold: time.Minute, Most: 100}
}

func (w *world) claim(t NewsTake) NewsClaim {
	w.t.Helper()
	c, err := w.svc.ClaimNews(w.t.Context(), t)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) settle(t NewsTake, o NewsOutcome, last int64) {
	w.t.Helper()
	if ok, err := w.svc.SettleNews(w.t.Context(), t, o, last); err != nil || !ok {
		w.t.Fatalf("settled: %v, %v", ok, err)
	}
}

func (w *world) tell(ids ...string) {
	w.t.Helper()
	now, err := w.svc.now(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, id := range ids {
		if err := w.svc.AddNews(w.t.Context(), News{ID: id, Kind: NewsWorker, At: now}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func idsOf(c NewsClaim) string {
	var ids []string
	for _, n := range c.News {
		ids = append(ids, n.ID)
	}
	return strings.Join(ids, " ")
}

// TestNewsAreToldOnce: each target hears of each news once, in order, from its subscription on.
func TestNewsAreToldOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tell("before")
		w.listen("a")
		w.tell("one", "two", "one")
		w.listen("a", "b")
		w.tell("three", "two")
		a, b := take("a", "me"), take("b", "me")
		c := w.claim(a)
		if idsOf(c) != "one two three" || c.Missed != 0 {
			t.Errorf("a is told %q, %d missed", idsOf(c), c.Missed)
		}
		w.settle(a, NewsSent, c.News[1].Seq)
		if c := w.claim(a); idsOf(c) != "three" {
			t.Errorf("after two of three a is told %q", idsOf(c))
		} else {
			w.settle(a, NewsPassed, c.Last)
		}
		if c := w.claim(a); idsOf(c) != "" || c.Wait != 0 {
			t.Errorf("a is told %q again; wait %s", idsOf(c), c.Wait)
		}
		if c := w.claim(b); idsOf(c) != "three" {
			t.Errorf("b, that came later, is told %q", idsOf(c))
		}
		if c := w.claim(take("nobody", "me")); idsOf(c) != "" {
			t.Errorf("a target that never subscribed is told %q", idsOf(c))
		}
	})
}

// TestOldNewsAreForgotten: what was told longer ago than IDs are kept is news again, though no other news came meanwhile.
func TestOldNewsAreForgotten(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		now, err := w.svc.now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		told := func(id string, ago time.Duration) {
			t.Helper()
			z := redis.Z{Score: float64(now.Add(-ago).UnixMilli()), Member: id}
			if err := w.svc.client.ZAdd(t.Context(), keyNewsIDs, z).Err(); err != nil {
				t.Fatal(err)
			}
		}
		told("fresh", newsTime-time.Hour)
		told("old", newsTime+time.Hour)
		w.tell("fresh", "old", "old")
		if c := w.claim(take("a", "me")); idsOf(c) != "old" {
			t.Errorf("told is %q; want what was told long ago, once", idsOf(c))
		}
	})
}

// TestOneSenderHasTheNews: a claim has one holder until it is settled or has ended.
func TestOneSenderHasTheNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.tell("one")
		var mu sync.Mutex
		var all sync.WaitGroup
		holders := 0
		for i := range 8 {
			all.Go(func() {
				c, err := w.svc.ClaimNews(t.Context(), take("a", fmt.Sprint("sender", i)))
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				if len(c.News) > 0 {
					holders++
				} else if c.Wait <= 0 {
					t.Errorf("sender %d may ask again after %s", i, c.Wait)
				}
			})
		}
		all.Wait()
		if holders != 1 {
			t.Errorf("%d senders hold the same news", holders)
		}
	})
}

// TestDeadSenderLosesItsClaim: what a sender didn't settle goes to the next one, and the first can't settle any more.
func TestDeadSenderLosesItsClaim(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.tell("one")
		dead, heir := take("a", "dead"), take("a", "heir")
		dead.Hold, heir.Hold = 200*time.Millisecond, 200*time.Millisecond
		first := w.claim(dead)
		var c NewsClaim
		until(t, "the claim ends", func() bool { c = w.claim(heir); return len(c.News) > 0 })
		if idsOf(c) != "one" {
			t.Errorf("the heir is told %q", idsOf(c))
		}
		if ok, err := w.svc.SettleNews(t.Context(), dead, NewsSent, first.Last); ok || err != nil {
			t.Errorf("the dead one settles: %v, %v", ok, err)
		}
		w.settle(heir, NewsSent, c.Last)
	})
}

// TestKnownDeadSender: what a process of this machine held that is known to be dead is free at once, and so is its lead.
func TestKnownDeadSender(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := strings.Split(w.svc.Self(), ":")
		if len(p) != 4 || p[1] == "" {
			t.Skip("this machine doesn't tell who is dead")
		}
		p[2] = "4194999" // beyond the largest ID of a process
		dead := strings.Join(p, ":")
		w.listen("a")
		w.tell("one")
		w.claim(take("a", dead))
		if c := w.claim(take("a", "me")); idsOf(c) != "one" {
			t.Errorf("the heir of a dead sender is told %q, and waits %s", idsOf(c), c.Wait)
		}
		for _, name := range []string{dead, "me"} {
			if ok, err := w.svc.LeadNews(t.Context(), name, time.Minute); !ok || err != nil {
				t.Errorf("%s doesn't lead: %v", name, err)
			}
		}
	})
}

// TestMessagesKeepTheirDistance: the next claim comes after Every, and the first one when the news have gathered.
func TestMessagesKeepTheirDistance(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.tell("one")
		slow := take("a", "me")
		slow.Every, slow.Gather = time.Hour, time.Hour
		if c := w.claim(slow); len(c.News) > 0 || c.Wait < 59*time.Minute {
			t.Errorf("news that are new come at once: %q, wait %s", idsOf(c), c.Wait)
		}
		slow.Gather = 0
		c := w.claim(slow) // the first message doesn't wait
		if idsOf(c) != "one" {
			t.Fatalf("the first message holds %q", idsOf(c))
		}
		w.settle(slow, NewsSent, c.Last)
		w.tell("two", "three")
		if c := w.claim(slow); len(c.News) > 0 || c.Wait < 59*time.Minute {
			t.Errorf("a second message comes at once: %q, wait %s", idsOf(c), c.Wait)
		}
		now, err := w.svc.now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.svc.client.HSet(t.Context(), keyNewsTargets, "a:sent", now.Add(time.Hour).UnixMilli()).Err(); err != nil {
			t.Fatal(err)
		}
		if c := w.claim(slow); idsOf(c) != "two three" { // the clock was put back: nobody waits for it to come so far again
			t.Errorf("after a message of the future: %q, wait %s", idsOf(c), c.Wait)
		}
		slow.Every = 0
		if c := w.claim(slow); idsOf(c) != "two three" {
			t.Errorf("the digest holds %q", idsOf(c))
		}
	})
}

// TestFailingIsRemembered: how long messages fail outlives the sender, and a message that arrives ends it.
func TestFailingIsRemembered(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.tell("one")
		a := take("a", "me")
		c := w.claim(a)
		w.settle(a, NewsKept, 0)
		until(t, "failing counts", func() bool {
			c = w.claim(a)
			w.settle(a, NewsKept, 0)
			return c.Failing > 20*time.Millisecond
		})
		if idsOf(c) != "one" {
			t.Errorf("after a failure the news are %q", idsOf(c))
		}
		w.claim(a)
		w.settle(a, NewsSent, c.Last)
		w.tell("two")
		if c := w.claim(a); c.Failing != 0 {
			t.Errorf("failing for %s after a message that arrived", c.Failing)
		}
	})
}

// TestNewsAreBounded: what is kept doesn't grow without end, and what was dropped is counted.
func TestNewsAreBounded(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		for i := range 30 {
			now, _ := w.svc.now(t.Context())
			keys := []string{keyNewsLog, keyNewsIDs, keyNewsMeta, keyNewsTargets}
			if err := script("news/add").Run(t.Context(), w.svc.client, keys, fmt.Sprint("n", i), "{}", now.UnixMilli(), 10, 20, newsTime.Milliseconds()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for key, most := range map[string]int64{keyNewsLog: 10, keyNewsIDs: 20} {
			if n, err := w.svc.client.ZCard(t.Context(), key).Result(); err != nil || n != most {
				t.Errorf("%s holds %d, %v; want %d", key, n, err, most)
			}
		}
		if c := w.claim(take("a", "me")); len(c.News) != 10 || c.Missed != 20 {
			t.Errorf("%d news and %d missed; want 10 and 20", len(c.News), c.Missed)
		}
		// Nobody has asked for long: nothing is kept for them any more.
		if err := w.svc.client.HSet(t.Context(), keyNewsMeta, "seen", 1).Err(); err != nil {
			t.Fatal(err)
		}
		w.tell("nobody listens")
		if n, err := w.svc.client.Exists(t.Context(), keyNewsLog, keyNewsTargets).Result(); err != nil || n != 0 {
			t.Errorf("%d keys are kept for nobody, %v", n, err)
		}
	})
}

// TestForgottenTargetsGo: a target that nobody names any more isn't kept for ever.
func TestForgottenTargetsGo(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a", "b")
		if err := w.svc.client.HSet(t.Context(), keyNewsTargets, "a:seen", 1, "b:seen", 1).Err(); err != nil {
			t.Fatal(err)
		}
		w.listen("b")
		f, err := w.svc.client.HKeys(t.Context(), keyNewsTargets).Result()
		if err != nil || strings.Contains(strings.Join(f, " "), "a:") || len(f) != 2 {
			t.Errorf("kept are %v, %v", f, err)
		}
	})
}

// TestOneLeads: of two processes one watches and sends, and the other one after it.
func TestOneLeads(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		lease := time.Minute
		lead := func(name string) bool {
			ok, err := w.svc.LeadNews(t.Context(), name, lease)
			if err != nil {
				t.Fatal(err)
			}
			return ok
		}
		if !lead("a") || lead("b") || !lead("a") {
			t.Error("a doesn't lead alone")
		}
		if err := w.svc.YieldNews(t.Context(), "b"); err != nil || lead("b") {
			t.Errorf("b took the lead of a: %v", err)
		}
		if err := w.svc.YieldNews(t.Context(), "a"); err != nil || !lead("b") {
			t.Errorf("b doesn't get the lead that a gave back: %v", err)
		}
		if err := w.svc.client.PExpire(t.Context(), keyNewsLead, time.Hour).Err(); err != nil { // the clock was put back
			t.Fatal(err)
		}
		lease = 300 * time.Millisecond
		until(t, "the lead of a dead process ends", func() bool { return lead("c") })
	})
}

// TestJobsEndIsNews: the end of a job is noted once, with its numbers, whoever audits it how often.
func TestJobsEndIsNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		w.tree(3, 1000)
		j := w.enqueue(w.order(transfer.DeleteVerified))
		w.worker(w.svc, WorkerOptions{})
		w.reach(j.ID, Completed)
		a := take("a", "me")
		var c NewsClaim
		until(t, "the end is news", func() bool { c = w.claim(a); return len(c.News) > 0 })
		n := c.News[0]
		if len(c.News) != 1 || n.Kind != NewsFinished || n.Job == nil || n.Job.ID != j.ID || n.Job.Files.Copied != 3 || n.Job.Files.Deleted != 3 || n.Account != "default" {
			t.Errorf("the news are %+v", c.News)
		}
		w.settle(a, NewsSent, c.Last)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := w.svc.Announce(t.Context(), j.ID); err != nil {
					t.Error(err)
				}
				if err := w.svc.audit(t.Context(), j.ID); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// Where the note of what was told is lost, the news are known by their ID.
		if err := w.svc.client.HDel(t.Context(), keysOf(j.ID).job(), "told").Err(); err != nil {
			t.Fatal(err)
		}
		if err := w.svc.Announce(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if c := w.claim(a); len(c.News) > 0 {
			t.Errorf("told again: %+v", c.News)
		}
	})
}

// TestOldJobsAreNoNews: what happened before anybody listened isn't told when somebody does.
func TestOldJobsAreNoNews(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1, 10)
		j := w.enqueue(w.order(transfer.DeleteNever))
		stop := w.worker(w.svc, WorkerOptions{})
		w.reach(j.ID, Completed)
		stop()
		w.listen("a")
		if err := w.svc.audit(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if c := w.claim(take("a", "me")); len(c.News) > 0 {
			t.Errorf("told of a job of before: %+v", c.News)
		}
		if told, err := w.svc.client.HGet(t.Context(), keysOf(j.ID).job(), "told").Result(); err != nil || told == "0" {
			t.Errorf("it will be looked at for ever: told %q, %v", told, err)
		}
	})
}

// TestWaitsAreToldOnce: a job that waits, tries again by itself and waits on is told once; what a reset ends isn't told.
func TestWaitsAreToldOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		j := w.enqueue(w.order(transfer.DeleteNever))
		ctx, key := t.Context(), keysOf(j.ID)
		now, err := w.svc.now(ctx)
		if err != nil {
			t.Fatal(err)
		}
		at := now
		wait := func(reason Reason, until string, files int) {
			t.Helper()
			at = at.Add(time.Second)
			p := w.svc.client.Pipeline()
			p.HSet(ctx, key.job(), "state", "waiting", "reason", string(reason), "until", until, "copied", files)
			p.RPush(ctx, key.history(), fmt.Sprintf("%d|transferring|waiting|%s|w", at.UnixMilli(), reason))
			if _, err := p.Exec(ctx); err != nil {
				t.Fatal(err)
			}
			if err := w.svc.Announce(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
		}
		a := take("a", "me")
		expect := func(what string, want int) {
			t.Helper()
			c := w.claim(a)
			if len(c.News) != want {
				t.Errorf("%s: %d news; want %d", what, len(c.News), want)
			}
			if len(c.News) > 0 {
				w.settle(a, NewsSent, c.Last)
			}
		}
		later := millis(now.Add(time.Hour))
		wait(ReasonQuota, later, 0)
		expect("waits for the reset", 0)
		wait(ReasonSignIn, later, 0)
		expect("waits for a sign-in", 1)
		wait(ReasonSignIn, later, 0)
		expect("waits for the same sign-in", 0)
		wait(ReasonSignIn, later, 5)
		expect("waits again within the hour", 0)
		at = at.Add(2 * time.Hour)
		wait(ReasonSignIn, later, 5)
		expect("waits again after progress and an hour", 1)
		wait(ReasonSpace, later, 5)
		expect("waits for space", 1)
		wait(ReasonQuota, "", 5)
		expect("waits for quota without an end", 1)
		wait(ReasonHold, later, 5)
		expect("waits for its hold", 0)
	})
}

// TestAWaitThatBeginsMeanwhileIsTold: what changes while a job is read for news is left to the next look.
func TestAWaitThatBeginsMeanwhileIsTold(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.listen("a")
		j := w.enqueue(w.order(transfer.DeleteNever))
		ctx, key := t.Context(), keysOf(j.ID)
		now, err := w.svc.now(ctx)
		if err != nil {
			t.Fatal(err)
		}
		between := &meanwhile{after: 1, change: func() {
			p := w.store.Client().Pipeline()
			p.HSet(ctx, key.job(), "state", "waiting", "reason", string(ReasonSpace))
			p.RPush(ctx, key.history(), fmt.Sprintf("%d|transferring|waiting|%s|w", now.UnixMilli(), ReasonSpace))
			if _, err := p.Exec(ctx); err != nil {
				t.Error(err)
			}
		}}
		w.svc.client.AddHook(between)
		for range 2 {
			if err := w.svc.Announce(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
		}
		if !between.done {
			t.Fatal("nothing happened meanwhile")
		}
		if c := w.claim(take("a", "me")); len(c.News) != 1 || c.News[0].Kind != NewsWaits || c.News[0].Job.Reason != ReasonSpace {
			t.Errorf("the news are %+v", c.News)
		}
	})
}

// TestStillWaits: a wait that has ended needs no message.
func TestStillWaits(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j := w.enqueue(w.order(transfer.DeleteNever))
		n := News{Job: &Job{ID: j.ID, Reason: ReasonSpace}}
		check := func(what string, want bool) {
			t.Helper()
			if got, err := w.svc.StillWaits(t.Context(), n); got != want || err != nil {
				t.Errorf("%s: %v, %v", what, got, err)
			}
		}
		check("queued", false)
		if err := w.svc.client.HSet(t.Context(), keysOf(j.ID).job(), "state", "waiting", "reason", "space").Err(); err != nil {
			t.Fatal(err)
		}
		check("waits", true)
		n.Job.Reason = ReasonSignIn
		check("waits for something else", false)
		n.Job = &Job{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Reason: ReasonSpace}
		check("removed", false)
	})
}
