package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// randomOutcome is one of those that the engine reaches.
func randomOutcome() transfer.Outcome {
	return []transfer.Outcome{
		{Result: transfer.Copied, Source: transfer.Kept, Grade: transfer.GradeA, Bytes: 3},
		{Result: transfer.Copied, Source: transfer.Deleted, Grade: transfer.GradeA, Bytes: 3},
		{Result: transfer.Copied, Source: transfer.Kept, Grade: transfer.GradeC, Code: transfer.CodeWeakProof, Reason: "weak"},
		{Result: transfer.Copied, Source: transfer.Kept, Grade: transfer.GradeA, Code: transfer.CodeDeleteFailed, Reason: "no"},
		{Result: transfer.Skipped, Source: transfer.Kept},
		{Result: transfer.SetAside, Source: transfer.Kept, Code: transfer.CodeNameRefused, Reason: "name"},
		{Result: transfer.SetAside, Source: transfer.Kept, Code: transfer.CodeMaxTransfer, Reason: "max"},
		{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeGaveUp, Reason: "gave up", Wasted: 7},
		{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeCorrupt, Reason: "corrupt"},
	}[rand.IntN(9)]
}

func randomQuery() FileQuery {
	pick := func(all ...string) string { return all[rand.IntN(len(all))] }
	q := FileQuery{Search: pick("", "", "", "DIR1", "ü", "nowhere", "<b>", "7"), Limit: 1 + rand.IntN(30),
		Code: pick("", "", transfer.CodeGaveUp, transfer.CodeWeakProof, "unknown")}
	if rand.IntN(2) == 0 {
		q.Results = []transfer.Result{transfer.Result(pick("copied", "failed", "set_aside", "", "excluded"))}
	}
	if rand.IntN(3) == 0 {
		q.Source = []transfer.SourceState{transfer.SourceState(pick("kept", "deleted", ""))}
	}
	return q
}

func oddName(i int) string { return fmt.Sprintf("dir%d/<b>Über %03d.txt", i%5, i) }

// While batches are worked on, lost, taken up again, ended, changed by the finish and retried, groups and pages say at every
// step what looking at each file says.
func TestGroupsAndPagesFollowTheFiles(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.play(70, 8, oddName)
		check := func(when string) {
			t.Helper()
			p.agree(t, when)
			for range 3 {
				q := randomQuery()
				if got, want := p.pages(q), p.all(q); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s: %+v: %d files, want %d", when, q, len(got), len(want))
				}
			}
		}
		for round := range 3 {
			check("at the beginning")
			for {
				h := p.claim()
				n, isBatch := batchNumber(h.unit)
				if !isBatch {
					p.endByHand(h)
					break
				}
				p.someWork(h, n)
				check("after a batch")
			}
			check("at the end")
			if _, err := p.svc.Retry(t.Context(), p.id); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			check("after a retry")
		}
	})
}

// someWork gives files of a batch outcomes: of some twice, in several claims where the first is lost.
func (p played) someWork(h hold, n int64) {
	p.t.Helper()
	jr := p.journal(h, n)
	if rand.IntN(3) == 0 {
		for i := range jr.cur[:rand.IntN(len(jr.cur))] {
			p.record(jr, i, randomOutcome())
		}
		// The worker is lost: another one goes on.
		if _, err := p.svc.scripts.giveback(p.t.Context(), h, giveBack{}); err != nil {
			p.t.Fatal(err)
		}
		return
	}
	for i, o := range jr.outcomes() {
		if o.Result == transfer.Pending || rand.IntN(4) == 0 {
			p.record(jr, i, randomOutcome())
		}
	}
	p.endBatch(h, jr)
}

// endByHand ends a job whose finish is held, which changes some outcomes.
func (p played) endByHand(h hold) {
	p.t.Helper()
	jr := p.journal(h, 2)
	for i, o := range jr.outcomes() {
		if o.Result == transfer.Copied {
			o.Source, o.Code = transfer.Purged, ""
			p.record(jr, i, o)
		}
	}
	p.record(jr, 0, transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeDestGone})
	p.compact(h, jr)
	if _, err := p.svc.scripts.transition(p.t.Context(), p.id, from(CompletedW), string(CompletedW), p.svc.self, "", h); err != nil {
		p.t.Fatal(err)
	}
}

// A record that is sent twice, since its answer was lost, counts once.
func TestGroupsCountARecordOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.play(8, 8, oddName)
		h := p.claim()
		jr := p.journal(h, 1)
		o := transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeGaveUp}
		p.record(jr, 0, o)
		jr.tail.count-- // the same number again
		p.record(jr, 0, o)
		g, err := p.svc.Troubles(t.Context(), p.id)
		if err != nil || len(g) != 1 || g[0].Files != 1 || g[0].Bytes != 1 || g[0].Source != transfer.Kept {
			t.Errorf("%+v, %v", g, err)
		}
		p.agree(t, "after the same record twice")
	})
}

// A retry takes the marks of what is done again away: a search for failed files doesn't look where there were some.
func TestRetryTakesMarksAway(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.play(16, 8, oddName)
		lost := transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeGaveUp}
		for h := p.claim(); ; h = p.claim() {
			n, isBatch := batchNumber(h.unit)
			if !isBatch {
				p.endByHand(h)
				break
			}
			jr := p.journal(h, n)
			for i := range jr.outcomes() {
				p.record(jr, i, transfer.Outcome{Result: transfer.Copied, Source: transfer.Kept})
			}
			p.record(jr, 3, lost)
			p.endBatch(h, jr)
		}
		marked := func(o transfer.Outcome) (n int) {
			t.Helper()
			all, err := w.svc.marksOf(t.Context(), p.id, map[kind]bool{kindOf(o): true})
			if err != nil {
				t.Fatal(err)
			}
			for at, ok := all[0].next(0); ok; at, ok = all[0].next(at + 1) {
				n++
			}
			return n
		}
		if n := marked(lost); n != 2 {
			t.Fatalf("%d batches are marked, want 2", n)
		}
		if _, err := w.svc.Retry(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		kept := marked(transfer.Outcome{Result: transfer.Copied, Source: transfer.Kept})
		if n := marked(lost); n != 0 || kept == 0 {
			t.Errorf("%d batches are marked as failed, %d as copied", n, kept)
		}
	})
}

// A job that an earlier version has worked on has no counts by kind: its files are counted one by one, and that is kept until
// something changes. From the next record on pages are right as well.
func TestGroupsOfAnEarlierVersion(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.play(40, 8, oddName)
		ctx, k := t.Context(), keysOf(p.id)
		for range 3 {
			h := p.claim()
			n, _ := batchNumber(h.unit)
			jr := p.journal(h, n)
			for i := range jr.outcomes() {
				p.record(jr, i, randomOutcome())
			}
			p.record(jr, 0, transfer.Outcome{Result: transfer.Failed, Source: transfer.Kept, Code: transfer.CodeGaveUp})
			p.endBatch(h, jr)
		}
		for name := range w.store.Client().HGetAll(ctx, k.job()).Val() {
			if strings.HasPrefix(name, kindFiles) || strings.HasPrefix(name, kindBytes) {
				w.store.Client().HDel(ctx, k.job(), name)
			}
		}
		w.store.Client().Del(ctx, w.store.Client().Keys(ctx, string(k)+"k:*").Val()...)
		p.agree(t, "an earlier version's")
		if w.store.Client().Exists(ctx, k.troubles()).Val() != 1 {
			t.Error("the groups weren't kept")
		}
		q := FileQuery{Code: transfer.CodeGaveUp, Limit: 4}
		if got, want := p.pages(q), p.all(q); !reflect.DeepEqual(got, want) || len(got) < 3 {
			t.Errorf("%d files, want %d", len(got), len(want))
		}
		if _, err := p.svc.Cancel(ctx, p.id); err != nil {
			t.Fatal(err)
		}
		p.agree(t, "after it was canceled")
		// What was counted holds no longer than the job looks the same.
		stale := `{"of":"another look","at":"2026-01-01T00:00:00Z","groups":[{"outcome":"failed","code":"corrupt","files":99}]}`
		if err := w.store.Client().Set(ctx, k.troubles(), stale, 0).Err(); err != nil {
			t.Fatal(err)
		}
		p.agree(t, "where other groups were kept")
		if err := p.svc.Remove(ctx, p.id); err != nil {
			t.Fatal(err)
		}
		if left := w.store.Client().Keys(ctx, string(k)+"*").Val(); len(left) > len(w.manifestKeys(p.id)) { // that stays
			t.Errorf("left of a removed job: %v", left)
		}
	})
}

// A job that two versions have worked on is counted one by one, too, where the earlier one has changed nothing but codes.
func TestGroupsOfMixedVersions(t *testing.T) {
	for code, counter := range map[string]string{transfer.CodeDeleteFailed: "undeleted", transfer.CodeNotPurged: "not_purged"} {
		t.Run(code, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world) {
				p := w.play(8, 8, oddName)
				ctx, k, c := t.Context(), keysOf(p.id), w.store.Client()
				jr := p.journal(p.claim(), 1)
				o := transfer.Outcome{Result: transfer.Copied, Source: transfer.Kept}
				for i := range 3 {
					p.record(jr, i, o)
				}
				o.Code, o.Reason = code, "no"
				for i := range 2 {
					raw, err := json.Marshal(o)
					if err != nil {
						t.Fatal(err)
					}
					if err := c.HSet(ctx, k.outcomes(1), i, raw).Err(); err != nil {
						t.Fatal(err)
					}
					if err := c.HIncrBy(ctx, k.job(), counter, 1).Err(); err != nil {
						t.Fatal(err)
					}
					c.Del(ctx, k.troubles()) // of a job that hasn't ended they are kept for a minute
					g, err := p.svc.Troubles(ctx, p.id)
					if err != nil || len(g) != 1 || g[0].Code != code || g[0].Files != int64(i+1) {
						t.Errorf("%d files of %s: %+v, %v", i+1, code, g, err)
					}
				}
				if err := c.HSet(ctx, k.job(), "state", string(Canceled)).Err(); err != nil {
					t.Fatal(err)
				}
				if err := c.HIncrBy(ctx, k.job(), counter, 1).Err(); err != nil {
					t.Fatal(err)
				}
				raw, err := json.Marshal(o)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.HSet(ctx, k.outcomes(1), 2, raw).Err(); err != nil {
					t.Fatal(err)
				}
				p.agree(t, "after one more, of a job that has ended")
			})
		})
	}
}

// meanwhile lets something happen between two commands of the next pipeline.
type meanwhile struct {
	after  int // so many commands
	change func()
	done   bool
}

func (m *meanwhile) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (m *meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (m *meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if m.done {
			return next(ctx, cmds)
		}
		m.done = true
		first := next(ctx, cmds[:m.after])
		m.change()
		return cmp.Or(first, next(ctx, cmds[m.after:]))
	}
}

// A batch that ends while it is read isn't taken for one that nothing has become of.
func TestABatchThatEndsMeanwhile(t *testing.T) {
	for _, after := range []int{1, 2} {
		eachStore(t, func(t *testing.T, w *world) {
			p := w.play(3, 8, oddName)
			h := p.claim()
			jr := p.journal(h, 1)
			for i := range 3 {
				p.record(jr, i, transfer.Outcome{Result: transfer.Copied, Source: transfer.Kept})
			}
			between := &meanwhile{after: after, change: func() { p.endBatch(h, jr) }}
			w.svc.client.AddHook(between)
			b, err := w.svc.load(t.Context(), p.id, 1)
			if err != nil || !between.done {
				t.Fatalf("%v, ended %v", err, between.done)
			}
			for i, o := range b.done {
				if o.Result != transfer.Copied {
					t.Errorf("ended after %d commands: file %d is %q", after, i, o.Result)
				}
			}
		})
	}
}

// Nothing is left of a removed job but its manifest, marks of kinds included.
func TestRemoveTakesTheMarks(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		p := w.play(8, 8, oddName)
		h := p.claim()
		jr := p.journal(h, 1)
		p.record(jr, 0, randomOutcome())
		p.record(jr, 0, randomOutcome()) // what was counted and isn't any more
		if _, err := p.svc.Cancel(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		if err := p.svc.Remove(t.Context(), p.id); err != nil {
			t.Fatal(err)
		}
		k := keysOf(p.id)
		left := slices.DeleteFunc(w.store.Client().Keys(t.Context(), string(k)+"*").Val(), func(key string) bool {
			rest := strings.TrimPrefix(key, string(k))
			return key == k.manifest() || strings.HasPrefix(rest, "ml:") || strings.HasPrefix(rest, "mn:")
		})
		if len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// A page names where the next one begins, and it begins there also when outcomes have changed meanwhile.
func TestFilePagesStay(t *testing.T) {
	w := newWorld(t, "")
	p := w.play(30, 8, oddName)
	first, err := p.svc.FilePage(t.Context(), p.id, FileQuery{Limit: 11})
	if err != nil || len(first.Files) != 11 || first.Next != "2.3" {
		t.Fatalf("%d files, next %q, %v", len(first.Files), first.Next, err)
	}
	h := p.claim()
	jr := p.journal(h, 1)
	for i := range jr.outcomes() {
		p.record(jr, i, randomOutcome())
	}
	p.endBatch(h, jr)
	second, err := p.svc.FilePage(t.Context(), p.id, FileQuery{Limit: 100, Cursor: first.Next})
	if err != nil || len(second.Files) != 19 || second.Next != "" || second.Files[0].Path != oddName(11) {
		t.Errorf("%d files, next %q, %v", len(second.Files), second.Next, err)
	}
	if all, err := p.svc.FilePage(t.Context(), p.id, FileQuery{}); err != nil || len(all.Files) != 30 {
		t.Errorf("%d files, %v", len(all.Files), err)
	}
}

func TestFileQueriesThatMakeNoSense(t *testing.T) {
	w := newWorld(t, "")
	p := w.play(3, 8, oddName)
	for _, cursor := range []string{"x", "1", "1.", ".1", "0.0", "-1.0", "1.-1", "01.0", "1.0.0", "1.0 ", "99999999999999999999.0", "1.99999999999"} {
		var oe *OrderError
		if _, err := p.svc.FilePage(t.Context(), p.id, FileQuery{Cursor: cursor}); !errors.As(err, &oe) || oe.Field != "cursor" || oe.Hint == "" {
			t.Errorf("cursor %q: %v", cursor, err)
		}
	}
	var oe *OrderError
	if _, err := p.svc.FilePage(t.Context(), p.id, FileQuery{Search: strings.Repeat("ü", 1001)}); !errors.As(err, &oe) || oe.Field != "search" {
		t.Errorf("a long search: %v", err)
	}
	for _, q := range []FileQuery{{Limit: -5}, {Limit: 1 << 40}, {Search: "\xff\x00"}, {Cursor: "900.4"}, {FileFilter: FileFilter{Results: []transfer.Result{"unknown"}}}} {
		if _, err := p.svc.FilePage(t.Context(), p.id, q); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, id := range []string{"", "nobody", "../../x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
		_, err1 := p.svc.FilePage(t.Context(), id, FileQuery{})
		_, err2 := p.svc.Troubles(t.Context(), id)
		if !errors.Is(err1, ErrNotFound) || !errors.Is(err2, ErrNotFound) {
			t.Errorf("job %q: %v, %v", id, err1, err2)
		}
	}
}

// What may be in a batch by its JSON is found in it: the quick look never passes over a file.
func FuzzNeedle(f *testing.F) {
	for _, s := range []string{"a/b.txt", "<b>\u2028", "Ü/ß\u0301", "\\u003c\"", "K\u212a", "\xff\n\t"} {
		f.Add(s, s[:len(s)/2])
	}
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.close)
	f.Fuzz(func(t *testing.T, path, part string) {
		blob, err := c.packBatch([]transfer.Entry{{Path: path}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		entries, _, err := c.unpackBatch(blob)
		if err != nil {
			t.Fatal(err)
		}
		n := newNeedle(part)
		if may, err := c.mayHold(blob, n); err != nil || !may && n.in(entries[0].Path) {
			t.Errorf("%q is in %q, but not in the batch: %v", part, path, err)
		}
	})
}

func FuzzFilePlace(f *testing.F) {
	for _, s := range []string{"", "1.0", "12.31", "x", "1.00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parseFilePlace(s); err == nil && s != "" && p.String() != s {
			t.Errorf("%q reads as %s", s, p)
		}
	})
}

func TestMarks(t *testing.T) {
	m := marks{0, 0b01000000}.join(marks{0b01000001, 0, 0, 1})
	var all []int64
	for n := int64(0); ; n++ {
		next, ok := m.next(n)
		if !ok {
			break
		}
		n = next
		all = append(all, n)
	}
	if !slices.Equal(all, []int64{1, 7, 9, 31}) {
		t.Errorf("batches %v", all)
	}
	if _, ok := (marks)(nil).next(1); ok {
		t.Error("no marks have a batch")
	}
}
