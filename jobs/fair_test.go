package jobs

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/quota"
	"offload/transfer"
)

// ringOf is a ring whose members always have something to claim.
type ringOf struct {
	*ring
	t *testing.T
}

func (w *world) ring() ringOf { return ringOf{w.svc.ring, w.t.(*testing.T)} }

func (r ringOf) join(account, job string) {
	r.t.Helper()
	if err := r.enter(r.t.Context(), "normal", account, job, 0); err != nil {
		r.t.Fatal(err)
	}
}

func (r ringOf) turn() turn {
	r.t.Helper()
	t, ok, err := r.next(r.t.Context(), "normal", turn{})
	if err != nil || !ok {
		r.t.Fatalf("turn: %v, %v", ok, err)
	}
	return t
}

func (r ringOf) end(t turn, bytes int64) {
	r.t.Helper()
	if err := r.count(r.t.Context(), &t, bytes); err != nil {
		r.t.Fatal(err)
	}
}

// serve gives n turns of so many bytes each and counts them by job and by account.
func (r ringOf) serve(n int, bytes func(turn) int64) map[string]int {
	r.t.Helper()
	got := map[string]int{}
	for range n {
		t := r.turn()
		got[t.job]++
		got[t.account]++
		r.end(t, bytes(t))
	}
	return got
}

func same(n int64) func(turn) int64 { return func(turn) int64 { return n } }

func near(t *testing.T, what string, got, want, within int) {
	t.Helper()
	if got < want-within || got > want+within {
		t.Errorf("%s: %d, want %d within %d", what, got, want, within)
	}
}

func TestRingSharesByAccountThenByJob(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		for i := range 10 {
			r.join("anna", fmt.Sprintf("a%d", i))
		}
		r.join("ben", "b")
		r.join("cleo", "c")
		got := r.serve(300, same(5<<20))
		for _, account := range []string{"anna", "ben", "cleo"} {
			near(t, "turns of "+account, got[account], 100, 2)
		}
		for i := range 10 {
			near(t, "turns of a job", got[fmt.Sprintf("a%d", i)], 10, 1)
		}
	})
}

// Shares are fair in bytes and not in turns: large units have fewer turns.
func TestRingCountsWork(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "large")
		r.join("ben", "small")
		got := r.serve(400, func(t turn) int64 {
			if t.job == "large" {
				return 31 << 20 // with the base 32 MiB
			}
			return 1 << 20 // 2 MiB
		})
		near(t, "work of the large ones", got["large"]*32, got["small"]*2, 64)
	})
}

// A member that comes late, or that was away for long, has its share from then on and no more.
func TestRingGivesNoCreditForHavingBeenIdle(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "a")
		r.join("ben", "b")
		r.serve(200, same(1<<20))
		vain := r.turn()
		for vain.job != "b" {
			vain = r.turn()
		}
		if _, _, err := r.next(t.Context(), "normal", vain); err != nil { // ben has nothing to claim
			t.Fatal(err)
		}
		if got := r.serve(200, same(1<<20)); got["b"] != 0 {
			t.Fatalf("a job out of the ring got %d turns", got["b"])
		}
		r.join("ben", "b")
		r.join("cleo", "new")
		r.join("anna", "a2")
		got := r.serve(300, same(1<<20))
		near(t, "turns of who stayed", got["anna"], 100, 4)
		near(t, "turns of who came back", got["ben"], 100, 4)
		near(t, "turns of the newcomer", got["cleo"], 100, 4)
		near(t, "turns of a new job beside an old one", got["a2"], 50, 4)
	})
}

// Leaving and coming back neither gains nor costs anything. Ben has one unit at a time, which takes as long as three of
// anna's: he leaves the ring when his turn comes meanwhile, and comes back when the unit has ended.
func TestRingRemembersWhoLeft(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "a")
		for _, c := range []struct {
			bytes int64 // of ben's units; anna's have none
			cost  int   // in units of hers
		}{{0, 1}, {7 << 20, 8}} {
			r.join("ben", "b")
			got, vain, busy, left := map[string]int{}, turn{}, turn{}, 0
			for range 900 {
				next, ok, err := r.next(t.Context(), "normal", vain)
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				if vain = (turn{}); next.job == "b" && busy.job != "" {
					vain = next
					continue
				}
				got[next.job]++
				if next.job == "b" {
					busy, left = next, 3
				} else if left--; left == 0 {
					r.end(busy, c.bytes)
					r.join("ben", "b")
					busy = turn{}
				}
			}
			want := got["a"] / max(c.cost, 3) // he can't have more than one in three
			near(t, fmt.Sprintf("turns of who left, at %d bytes each", c.bytes), got["b"], want, 1+want/25)
		}
	})
}

// Something is sent for a job between a turn that found nothing and its leaving: it stays.
func TestRingKeepsWhoWasFedMeanwhile(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "a")
		vain := r.turn()
		r.join("anna", "a")
		got, ok, err := r.next(t.Context(), "normal", vain)
		if err != nil || !ok || got.job != "a" {
			t.Fatalf("the job has left: %+v, %v, %v", got, ok, err)
		}
		for key, member := range map[string]string{"accounts": "anna", "jobs:anna": "a"} { // the turn in vain cost nothing
			if at := w.store.Client().ZScore(t.Context(), "offload:{fair:normal}:"+key, member).Val(); at != turnCost {
				t.Errorf("time of %s is %v, want one turn's %d", member, at, turnCost)
			}
		}
		if _, ok, err := r.next(t.Context(), "normal", got); err != nil || ok {
			t.Fatalf("the job stays though it has nothing: %v, %v", ok, err)
		}
		r.join("anna", "a")
		r.join("anna", "a2")
		if got := r.serve(10, same(0)); got["a"] != 5 {
			t.Errorf("turns in vain were charged: %v", got)
		}
	})
}

// A late unit's bytes are counted from when it began: who did one long thing while others did as much owes nothing.
func TestRingCountsALongTurnFromItsBeginning(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		r.join("anna", "film")
		film := r.turn()
		if _, ok, err := r.next(t.Context(), "normal", film); err != nil || ok {
			t.Fatal(ok, err)
		}
		r.join("ben", "b")
		r.serve(100, same(9<<20))
		r.end(film, 1000<<20)
		r.join("anna", "film")
		got := r.serve(100, same(9<<20))
		near(t, "turns after a long one", got["film"], 50, 3)
	})
}

func TestFiveThousandJobsDontDelayAnotherAccount(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		r := w.ring()
		for i := range 5000 {
			r.join("anna", fmt.Sprintf("a%04d", i))
		}
		r.serve(20, same(32<<20))
		r.join("ben", "first")
		if got := r.serve(2, same(1<<20)); got["first"] == 0 {
			t.Error("another account's first job wasn't among the next two")
		}
	})
}

// slot is a worker with one slot that the test moves on turn by turn.
type slot struct {
	*worker
	lane string
}

func (w *world) slot(lane Priority) slot {
	k := &worker{s: w.svc, opt: WorkerOptions{Grace: time.Second}, name: w.svc.self, log: w.log, stopping: make(chan struct{}),
		pairs: newPairs(w.svc, 4)}
	w.t.Cleanup(func() { k.pairs.close(context.Background()) })
	return slot{k, string(lane)}
}

// turns does n tickets.
func (s slot) turns(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := s.serve(t.Context(), s.lane, payload{}); err != nil {
			t.Fatal(err)
		}
	}
}

// copied returns how many files the jobs have copied.
func (w *world) copied(ids ...string) int {
	w.t.Helper()
	n := 0
	for _, id := range ids {
		j, err := w.svc.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatal(err)
		}
		n += int(j.Files.Copied)
	}
	return n
}

// into is an order to a destination of its own.
func (w *world) into(account, dest string, p Priority) Order {
	o := w.order(transfer.DeleteNever)
	o.Account, o.Dest, o.Priority = account, filepath.Join(w.dst, dest), p
	return o
}

func TestThreeAccountsShareOneSlot(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(400, 200)
		var anna []string
		for i := range 10 {
			anna = append(anna, w.enqueue(w.into("anna", fmt.Sprint("a", i), Normal)).ID)
		}
		ben := w.enqueue(w.into("ben", "b", Normal)).ID
		cleo := w.enqueue(w.into("cleo", "c", Normal)).ID
		s := w.slot(Normal)
		s.turns(t, 42)
		done := func(ids ...string) (n int) {
			for _, id := range ids {
				f := w.store.Client().HMGet(t.Context(), keysOf(id).job(), "batches", "open").Val()
				n += int(number(f[0].(string)) - number(f[1].(string)))
			}
			return n
		}
		// Ten of anna's 14 turns were scans, and one of each of the others.
		near(t, "batches of anna", done(anna...), 4, 1)
		near(t, "batches of ben", done(ben), 13, 1)
		near(t, "batches of cleo", done(cleo), 13, 1)
	})
}

func TestLateJobIsntHeldUpByAFullWindow(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(1600, 10)
		first := w.enqueue(w.into("anna", "first", Normal)).ID
		s := w.slot(Normal)
		s.turns(t, 1)
		if n := w.store.Client().ZCard(t.Context(), string(keysOf(first))+"fed").Val(); n < 30 {
			t.Fatalf("only %d units of the first job are in the queue", n)
		}
		w.src = t.TempDir()
		w.put("one", 10)
		late := w.enqueue(w.into("anna", "late", Normal)).ID
		s.turns(t, 8)
		if j, err := w.svc.Get(t.Context(), late); err != nil || j.State != Completed {
			t.Errorf("after eight turns the late job is %s, %v; %d files of the first are copied", j.State, err, w.copied(first))
		}
	})
}

func TestHighPriorityThatComesLastIsDoneFirst(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(100, 1000)
		var rest []string
		for i := range 3 {
			rest = append(rest, w.enqueue(w.into("anna", fmt.Sprint("low", i), Low)).ID, w.enqueue(w.into("ben", fmt.Sprint("normal", i), Normal)).ID)
		}
		high := w.enqueue(w.into("anna", "high", High)).ID
		w.worker(w.svc, WorkerOptions{Batches: 1})
		w.reach(high, Completed, CompletedW, FailedState)
		for _, id := range rest {
			w.reach(id, Completed, CompletedW, FailedState)
		}
		end := func(id string) time.Time { return *w.reach(id, Completed).Finished }
		begin := func(id string) time.Time { return *w.reach(id, Completed).Started }
		for i, id := range rest {
			if begin(id).Before(end(high)) {
				t.Errorf("job %d began at %v, before the high one had ended at %v", i, begin(id), end(high))
			}
			if i%2 == 0 && begin(id).Before(end(rest[1])) {
				t.Errorf("low job %d began before the normal ones had ended", i)
			}
		}
	})
}

// Two jobs of one account whose quota is enough for half of their files: each gets about half of it.
func TestTwoJobsShareAScarceQuota(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		const files, each = 400, 3000
		w.tree(files, each)
		limit := int64(files * each)
		if _, err := w.ledger.Set(t.Context(), "anna", quota.Change{Limit: &limit}); err != nil {
			t.Fatal(err)
		}
		a, b := w.enqueue(w.into("anna", "a", Normal)), w.enqueue(w.into("anna", "b", Normal))
		w.slot(Normal).turns(t, 2) // both are scanned before: who has nothing to move yet gets no credit for it
		w.worker(w.svc, WorkerOptions{Batches: 2})
		until(t, "the quota is used up", func() bool { return w.copied(a.ID, b.ID) == files })
		for _, id := range []string{a.ID, b.ID} {
			near(t, "files of a job in percent", 100*w.copied(id)/files, 50, 10)
		}
		if st, err := w.ledger.Status(t.Context(), "anna"); err != nil || st.Used > limit {
			t.Errorf("quota %+v, %v", st, err)
		}
	})
}

// Jobs that have ended or stand still leave the ring, and nothing of the ring stays behind.
func TestRingIsEmptyInTheEnd(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(40, 100)
		done := w.enqueue(w.into("anna", "done", Normal)).ID
		paused := w.enqueue(w.into("ben", "paused", Normal)).ID
		canceled := w.enqueue(w.into("cleo", "canceled", Normal)).ID
		if _, err := w.svc.Pause(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Cancel(t.Context(), canceled); err != nil {
			t.Fatal(err)
		}
		s := w.slot(Normal)
		s.turns(t, 10)
		if j := w.reach(done, Completed, Transferring); j.State != Completed || w.copied(paused, canceled) != 0 {
			t.Fatalf("%s, %+v", j.State, j.Files)
		}
		k := w.svc.ring.keys("normal")
		for _, key := range []string{k[0], k[3]} {
			if n := w.store.Client().Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%s is left", key)
			}
		}
		if _, err := w.svc.Resume(t.Context(), paused); err != nil {
			t.Fatal(err)
		}
		s.turns(t, 10)
		w.reach(paused, Completed)
	})
}

// A job's units are claimed in its order, each by one worker, and only where the job may go on.
func TestClaimNext(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, sc, c := t.Context(), w.svc.scripts, w.store.Client()
		w.tree(1, 1)
		j := w.enqueue(w.into("anna", "a", Normal))
		claim := func(lane Priority) hold {
			t.Helper()
			h, err := sc.claimNext(ctx, j.ID, string(lane), "w:x:1:y", leaseTime)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if h := claim(High); h.fence != "" {
			t.Errorf("%s was claimed in another lane", h.unit)
		}
		scan := claim(Normal)
		if scan.unit != unitScan {
			t.Fatalf("%+v, want the scan", scan)
		}
		for n := int64(1); n <= 12; n++ {
			if _, err := sc.owned(ctx, "batch_add", scan, []string{keysOf(j.ID).batch(n)}, scan.fence, n, "x", 20-n, 1, 1); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.svc.feed(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		// What doesn't run isn't claimed, nor is the finish before its time.
		fed := string(keysOf(j.ID)) + "fed"
		if err := c.ZAdd(ctx, fed, redis.Z{Score: 0, Member: unitFinish}).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.HSet(ctx, keysOf(j.ID).job(), "state", string(Paused)).Err(); err != nil {
			t.Fatal(err)
		}
		if h := claim(Normal); h.fence != "" {
			t.Errorf("%s of a paused job was claimed", h.unit)
		}
		if err := c.HSet(ctx, keysOf(j.ID).job(), "state", string(Transferring)).Err(); err != nil {
			t.Fatal(err)
		}
		for n := int64(12); n >= 1; n-- { // the order was given the other way round
			h := claim(Normal)
			if h.unit != batchUnit(n) {
				t.Fatalf("claimed %q, want %s", h.unit, batchUnit(n))
			}
			if _, err := sc.renew(ctx, h, leaseTime, ""); err != nil {
				t.Errorf("the claim of %s isn't good: %v", h.unit, err)
			}
		}
		if h := claim(Normal); h.fence != "" {
			t.Errorf("%s was claimed twice, or before its time", h.unit)
		}
	})
}

// A worker that dies between its turn and the claim, and a job of an earlier version, which doesn't name its account.
func TestUnusedTurnLosesNothing(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(40, 100)
		j := w.enqueue(w.into("anna", "a", Normal))
		w.ring().turn()
		if err := w.store.Client().HDel(t.Context(), keysOf(j.ID).job(), "account").Err(); err != nil {
			t.Fatal(err)
		}
		w.slot(Normal).turns(t, 10)
		w.reach(j.ID, Completed)
	})
}

// Without its ring a task is still good for its own unit.
func TestLostRingLosesNothing(t *testing.T) {
	w := newWorld(t, "")
	w.tree(60, 100)
	j := w.enqueue(w.into("anna", "a", Normal))
	if err := w.store.Client().Del(t.Context(), w.svc.ring.keys("normal")...).Err(); err != nil {
		t.Fatal(err)
	}
	w.worker(w.svc, WorkerOptions{Batches: 2})
	w.reach(j.ID, Completed)
}

// A task may be lost, or in the hands of a worker that does another unit with it: the unit is sent again.
func TestLostTasksAreSentAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(10, 100)
		ctx, c := t.Context(), w.store.Client()
		j := w.enqueue(w.into("anna", "a", Normal))
		pending := keyPending("normal")
		if n := c.LLen(ctx, pending).Val(); n != 1 {
			t.Fatalf("%d tasks, want 1: does asynq still keep them in %s?", n, pending)
		}
		old := redis.Z{Score: 1, Member: unitScan}
		sendAgain := func() int64 {
			t.Helper()
			if err := c.ZAdd(ctx, string(keysOf(j.ID))+"fed", old).Err(); err != nil {
				t.Fatal(err)
			}
			if err := w.svc.audit(ctx, j.ID); err != nil {
				t.Fatal(err)
			}
			return c.LLen(ctx, pending).Val()
		}
		if n := sendAgain(); n != 1 {
			t.Errorf("with its task in the queue, %d tasks, want 1", n)
		}
		if err := c.Rename(ctx, pending, strings.Replace(pending, "pending", "active", 1)).Err(); err != nil {
			t.Fatal(err)
		}
		if n := sendAgain(); n != 1 {
			t.Errorf("with its task in other hands, %d tasks, want 1", n)
		}
		if n := sendAgain(); n != 1 {
			t.Errorf("with another task in the queue, %d tasks, want 1", n)
		}
	})
}

// Four workers, of which some die with units and tasks in their hands: every file arrives, none is copied twice.
func TestNothingIsLostOrDoneTwice(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.tree(200, 2000)
		want := files(t, w.src)
		var ids []string
		for i, account := range []string{"anna", "anna", "ben", "cleo"} {
			p := []Priority{Normal, High, Normal, Low}[i]
			ids = append(ids, w.enqueue(w.into(account, fmt.Sprint(i), p)).ID)
		}
		dead := deadProcess(t)
		for range 4 {
			w.worker(w.service(nil), WorkerOptions{Batches: 2})
		}
		stolen := 0
		until(t, "dead workers have claimed units", func() bool {
			for i, id := range ids {
				h, err := w.svc.scripts.claimNext(t.Context(), id, string([]Priority{Normal, High, Normal, Low}[i]), dead, leaseTime)
				if err != nil {
					t.Fatal(err)
				}
				if h.fence != "" {
					stolen++
				}
			}
			return stolen >= 4
		})
		for i, id := range ids {
			j := w.reach(id, Completed, CompletedW, FailedState)
			if j.State != Completed || j.Files.Copied != 200 || j.Bytes.Wasted != 0 {
				t.Errorf("job %d: %s: %s, %+v, wasted %d", i, j.State, j.Error, j.Files, j.Bytes.Wasted)
			}
			if !maps.Equal(files(t, filepath.Join(w.dst, fmt.Sprint(i))), want) {
				t.Errorf("job %d: the destination isn't the source", i)
			}
		}
	})
}

// BenchmarkTurnOfAJob tells what the order costs a unit of work.
func BenchmarkTurnOfAJob(b *testing.B) {
	w := newWorld(b, "")
	for i := range 100 {
		if err := w.svc.ring.enter(b.Context(), "normal", fmt.Sprint("account", i%10), fmt.Sprint("job", i), 0); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		t, _, err := w.svc.ring.next(b.Context(), "normal", turn{})
		if err != nil {
			b.Fatal(err)
		}
		if err := w.svc.ring.count(b.Context(), &t, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
