package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

func TestParseCrashes(t *testing.T) {
	for text, want := range map[string][]crash{
		"":             nil,
		"4:1":          {{"4", 1}},
		"4:1 9:3":      {{"4", 1}, {"9", 3}},
		"4 :1 9:3 x:y": {{"9", 3}},
		"4:-1 5:0":     nil,
	} {
		got := parseCrashes(text)
		got = slices.DeleteFunc(got, func(c crash) bool { return c.fence == "" })
		if !slices.Equal(got, want) {
			t.Errorf("%q is read as %v, want %v", text, got, want)
		}
	}
}

func FuzzParseCrashes(f *testing.F) {
	f.Add("4:1 9:3", "b1/3", "4:p 9:a")
	f.Fuzz(func(t *testing.T, crashes, name, marks string) {
		all := parseCrashes(crashes)
		for _, c := range all {
			if c.death <= 0 {
				t.Errorf("%q has a death %d", crashes, c.death)
			}
		}
		s := parseSuspicion("b1", map[string]string{name: marks}, all)
		for i, hows := range s {
			if len(hows) == 0 || len(hows) > len(all) {
				t.Errorf("entry %d is suspected by %v of %v", i, hows, all)
			}
		}
		if n := strangers(all, 100); n < 0 || n > maxOthers {
			t.Errorf("%d strangers", n)
		}
	})
}

func TestWhoIsGuilty(t *testing.T) {
	three := []crash{{"2", 1}, {"4", 2}, {"6", 3}}
	for _, c := range []struct {
		name    string
		marks   map[string]string
		crashes []crash
		deaths  int64
		guilty  bool
	}{
		{"begun at the second and alone at the third", map[string]string{"4": "p", "6": "a"}, three, 3, true},
		{"two deaths", map[string]string{"4": "p", "2": "a"}, three[:2], 2, false},
		{"never alone", map[string]string{"4": "p", "6": "p"}, three, 3, false},
		{"alone, but begun at no other death", map[string]string{"6": "a"}, three, 3, false},
		{"tried beside others", map[string]string{"4": "p", "6": "t"}, three, 3, false},
		{"tried beside others three times", map[string]string{"4": "t", "6": "t", "2": "t"}, three, 3, true},
		{"something else kills as well", map[string]string{"4": "p", "6": "a"}, three, 4, false},
		{"something else killed before", map[string]string{"4": "p", "6": "a"}, []crash{{"2", 7}, {"4", 8}, {"6", 9}}, 9, false},
		{"something else that is explained killed before", map[string]string{"4": "p", "6": "a"}, []crash{{"2", 7}, {"4", 8}, {"6", 9}}, 3, true},
		{"alone twice though something else kills", map[string]string{"4": "a", "6": "a"}, three, 4, true},
		{"alone five times where everything is killed", map[string]string{"2": "a", "4": "a", "6": "a", "8": "a", "9": "a"}, three, 90, false},
		{"alone six times where everything is killed", map[string]string{"2": "a", "4": "a", "6": "a", "8": "a", "9": "a", "10": "a"}, three, 90, true},
	} {
		if got := (suspicion{7: c.marks}).guilty(7, c.crashes, c.deaths); got != c.guilty {
			t.Errorf("%s: guilty %v", c.name, got)
		}
	}
	s := parseSuspicion("b1", map[string]string{"b1/3": "2:p 5:a 6:a", "b12/3": "2:p", "b1": "2:1", "#": "3", "b1/x": "2:p"}, three)
	if want := (suspicion{3: {"2": "p", "6": "a"}}); fmt.Sprint(s) != fmt.Sprint(want) {
		t.Errorf("read %v, want %v: only what was begun at a death counts", s, want)
	}
}

// crashesOf is what is counted against a unit.
func (w *world) crashesOf(id, unit string) []crash {
	w.t.Helper()
	text, err := w.store.Client().HGet(w.t.Context(), keysOf(id).crashes(), unit).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		w.t.Fatal(err)
	}
	return parseCrashes(text)
}

// lapse ends the lease of a unit, and has the loss noticed.
func (w *world) lapse(id, unit string) {
	w.t.Helper()
	if err := w.store.Client().ZAdd(w.t.Context(), string(keysOf(id))+"lease", redis.Z{Score: 1, Member: unit}).Err(); err != nil {
		w.t.Fatal(err)
	}
	w.audit(id)
}

func (w *world) audit(id string) {
	w.t.Helper()
	if err := w.svc.audit(w.t.Context(), id); err != nil {
		w.t.Fatal(err)
	}
}

// What isn't known for a death is counted for none.
func TestOnlyDeathsAreCounted(t *testing.T) {
	const elsewhere = "far:boot:1:"
	for _, c := range []struct {
		name string
		lose func(t *testing.T, w *world, id string)
		want int
	}{
		{"dead on this machine", func(t *testing.T, w *world, id string) {
			w.steal(id, unitScan, deadProcess(t))
			w.audit(id)
		}, 1},
		{"silent elsewhere", func(_ *testing.T, w *world, id string) {
			w.steal(id, unitScan, elsewhere+"x")
			w.lapse(id, unitScan)
		}, 1},
		{"silent on this machine, but alive", func(t *testing.T, w *world, id string) {
			p := strings.Split(processName(), ":")
			if p[1] == "" {
				t.Skip("this system doesn't tell the set of its process IDs")
			}
			w.steal(id, unitScan, strings.Join([]string{p[0], p[1], "1", "x"}, ":"))
			w.lapse(id, unitScan)
		}, 0},
		{"its own", func(_ *testing.T, w *world, id string) {
			w.steal(id, unitScan, w.svc.self)
			w.lapse(id, unitScan)
		}, 0},
		{"handed back", func(t *testing.T, w *world, id string) {
			if _, err := w.svc.scripts.giveback(t.Context(), w.steal(id, unitScan, elsewhere+"x"), giveBack{}); err != nil {
				t.Fatal(err)
			}
			w.audit(id)
		}, 0},
		{"silent elsewhere, but back", func(t *testing.T, w *world, id string) {
			h := w.steal(id, unitScan, elsewhere+"x")
			w.lapse(id, unitScan)
			late := &worker{s: w.svc, log: w.log}
			late.pardons.add(h)
			late.pardon(t.Context())
		}, 0},
		{"back before anybody noticed", func(t *testing.T, w *world, id string) {
			late := &worker{s: w.svc, log: w.log}
			late.pardons.add(w.steal(id, unitScan, elsewhere+"x"))
			late.pardon(t.Context())
			if n := w.store.Client().ZCard(t.Context(), string(keysOf(id))+"lease").Val(); n != 0 {
				t.Errorf("%d leases are left: the unit wasn't handed back", n)
			}
			w.audit(id)
		}, 0},
		{"in the foreground", func(t *testing.T, w *world, id string) {
			if err := w.store.Client().HSet(t.Context(), keysOf(id).job(), "queue", foregroundQueue(id)).Err(); err != nil {
				t.Fatal(err)
			}
			w.steal(id, unitScan, elsewhere+"x")
			w.lapse(id, unitScan)
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				j := w.enqueue(w.order(transfer.DeleteNever))
				c.lose(t, w, j.ID)
				if got := w.crashesOf(j.ID, unitScan); len(got) != c.want {
					t.Errorf("counted %v, want %d", got, c.want)
				}
			})
		})
	}
}

// What is said by a worker whose store doesn't answer is said later.
func TestPardonIsSaidAgain(t *testing.T) {
	w := newWorld(t, "")
	j := w.enqueue(w.order(transfer.DeleteNever))
	h := w.steal(j.ID, unitScan, "far:boot:1:x")
	w.lapse(j.ID, unitScan)
	late := &worker{s: w.svc, log: w.log}
	late.pardons.add(h)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	late.pardon(gone)
	if got := w.crashesOf(j.ID, unitScan); len(got) != 1 {
		t.Fatalf("counted %v", got)
	}
	late.pardon(t.Context())
	if got := w.crashesOf(j.ID, unitScan); len(got) != 0 {
		t.Errorf("counted %v after the second try", got)
	}
}

// A scan that ends its workers ends the job, unless it gets further from one to the next; a retry counts anew.
func TestScanThatKillsWorkersFailsTheJob(t *testing.T) {
	for _, progress := range []bool{false, true} {
		t.Run(fmt.Sprintf("progress %v", progress), func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				w.tree(3, 10)
				j := w.enqueue(w.order(transfer.DeleteNever))
				for i := range maxUnitEnd {
					w.steal(j.ID, unitScan, fmt.Sprintf("far:boot:1:%d", i))
					w.lapse(j.ID, unitScan)
					if progress {
						if err := w.store.Client().HSet(t.Context(), keysOf(j.ID).job(), "deleted", i).Err(); err != nil {
							t.Fatal(err)
						}
					}
				}
				w.worker(w.svc, WorkerOptions{})
				got := w.reach(j.ID, FailedState, Completed)
				if want := map[bool]State{false: FailedState, true: Completed}[progress]; got.State != want {
					t.Fatalf("the job is %s (%s), want %s", got.State, got.Error, want)
				}
				if progress {
					return
				}
				if !strings.Contains(got.Error, "8 workers in a row died in the scan") {
					t.Errorf("the job says %q", got.Error)
				}
				if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
				if got = w.reach(j.ID, FailedState, Completed); got.State != Completed {
					t.Errorf("retried, the job is %s: %s", got.State, got.Error)
				}
			})
		})
	}
}

// scanned makes a job with one batch of which three workers have died, each with the same file in hand, the last time alone.
func (w *world) killedThrice(files int) Job {
	w.t.Helper()
	w.tree(files, 100)
	j := w.enqueue(w.order(transfer.DeleteVerified))
	first := &worker{s: w.svc, log: w.log, name: w.svc.self, pairs: newPairs(w.svc, 0)}
	defer first.pairs.close(w.t.Context())
	h := w.steal(j.ID, unitScan, w.svc.self)
	if err := first.scan(w.t.Context(), first.newUnit(h, time.Now())); err != nil {
		w.t.Fatal(err)
	}
	for i, how := range []string{"", amongAll, aloneTrial} {
		h := w.steal(j.ID, "b1", fmt.Sprintf("far:boot:1:%d", i))
		if how != "" {
			if err := w.svc.scripts.begin(w.t.Context(), h, 1, how); err != nil {
				w.t.Fatal(err)
			}
		}
		w.lapse(j.ID, "b1")
	}
	return j
}

func TestQuarantinedFileIsKeptAndRetried(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j := w.killedThrice(6)
		want := files(t, w.src)
		w.worker(w.svc, WorkerOptions{})
		got := w.reach(j.ID, Completed, CompletedW, FailedState)
		if got.State != CompletedW || got.Files.Copied != 5 || got.Files.Failed != 1 {
			t.Fatalf("%s, %+v: %s", got.State, got.Files, got.Error)
		}
		err := w.svc.Files(t.Context(), j.ID, FileFilter{Results: []transfer.Result{transfer.Failed}}, func(r FileRecord) error {
			if r.Code != transfer.CodeKilledWorker || r.Source != transfer.Kept || !strings.Contains(r.Reason, "3 processes that worked on it died") ||
				!strings.Contains(r.Reason, transfer.Remedy(transfer.CodeKilledWorker)) {
				t.Errorf("the file is %+v", r)
			}
			if _, ok := files(t, w.src)[r.Path]; !ok {
				t.Errorf("%s isn't at the source any more", r.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Retry(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		if got = w.reach(j.ID, Completed, CompletedW, FailedState); got.State != Completed || !maps.Equal(files(t, w.dst), want) {
			t.Errorf("retried: %s, %+v", got.State, got.Files)
		}
		if got := w.crashesOf(j.ID, "b1"); len(got) != 0 {
			t.Errorf("%v is still counted", got)
		}
	})
}

// A death that is explained by one file counts against no other batch.
func TestExplainedDeathsAreForgottenEverywhere(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j := w.killedThrice(3)
		ctx, k := t.Context(), keysOf(j.ID).crashes()
		if err := w.store.Client().HSet(ctx, k, "b2", "3:1 9:2 12:7", "b3", "4:3", "b2/5", "3:p", "scan", "2:1").Err(); err != nil {
			t.Fatal(err)
		}
		h := w.steal(j.ID, "b1", w.svc.self)
		if _, err := w.svc.scripts.owned(ctx, "anew", h, []string{k}, h.unit, h.fence); err != nil {
			t.Fatal(err)
		}
		left := w.store.Client().HGetAll(ctx, k).Val()
		maps.DeleteFunc(left, func(name, _ string) bool { return name[0] == '@' })
		if want := map[string]string{"#": "3", "=": "2", "b2": "12:7", "b2/5": "3:p", "scan": "2:1"}; !maps.Equal(left, want) {
			t.Errorf("left %v, want %v", left, want)
		}
	})
}

// A batch that nobody died with costs no call more; one that a worker died with is marked, and a lost one isn't.
func TestMarksOfEntries(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		j := w.killedThrice(4)
		h := w.steal(j.ID, "b1", "far:boot:1:9")
		if h.deaths != 3 || // all of them unexplained
			len(parseCrashes(h.crashes)) != 3 {
			t.Errorf("the claim tells of %q and %d deaths", h.crashes, h.deaths)
		}
		ctx := t.Context()
		for _, how := range []string{aloneTrial, inTrial} { // the later word stands
			if err := w.svc.scripts.begin(ctx, h, 2, how); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.store.Client().HGet(ctx, keysOf(j.ID).crashes(), "b1/2").Val(); got != h.fence+":t" {
			t.Errorf("marked %q", got)
		}
		w.lapse(j.ID, "b1")
		before := w.dump(j.ID)
		if err := w.svc.scripts.begin(ctx, h, 3, amongAll); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("a late worker marks: %v", err)
		}
		if _, err := w.svc.scripts.owned(ctx, "anew", h, []string{keysOf(j.ID).crashes()}, h.unit, h.fence); !errors.Is(err, transfer.ErrFenced) {
			t.Errorf("a late worker clears: %v", err)
		}
		if after := w.dump(j.ID); !maps.Equal(before, after) {
			t.Errorf("a late worker changed the store:\n%v\n%v", before, after)
		}
	})
}
