package jobs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"offload/transfer"
)

// played is a job whose work is done by hand.
type played struct {
	*world
	id string
}

// play enqueues a job whose scan has found so many files, in batches of so many.
func (w *world) play(files, perBatch int, name func(i int) string) played {
	w.t.Helper()
	j := w.enqueue(w.order(transfer.DeleteVerified))
	p := played{w, j.ID}
	h := w.steal(j.ID, unitScan, w.svc.self)
	ctx, k := w.t.Context(), keysOf(j.ID)
	batch := int64(0)
	for i := 0; i < files; {
		var entries []transfer.Entry
		for ; len(entries) < perBatch && i < files; i++ {
			entries = append(entries, transfer.Entry{Path: name(i), Size: int64(i + 1), ModTime: time.Unix(1.7e9+int64(i), 0).UTC()})
		}
		blob, err := w.svc.codec.packBatch(entries, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		batch++
		if _, err := w.svc.scripts.owned(ctx, "batch_add", h, []string{k.batch(batch)}, h.fence, batch, blob, batch, len(entries), 0); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := w.svc.scripts.owned(ctx, "scan_done", h, nil, h.fence, w.svc.self, 0, 0, 0, "", batch); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// claim takes the next unit; its fence is "" where there is none.
func (p played) claim() hold {
	p.t.Helper()
	if err := p.svc.feed(p.t.Context(), p.id); err != nil {
		p.t.Fatal(err)
	}
	h, err := p.svc.scripts.claimNext(p.t.Context(), p.id, string(Normal), p.svc.self, time.Hour)
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p played) journal(h hold, batch int64) *journal {
	p.t.Helper()
	b, err := p.svc.load(p.t.Context(), p.id, batch)
	if err != nil {
		p.t.Fatal(err)
	}
	return newJournal(p.svc, h, batch, b.entries, b.done, func(State) {})
}

func (p played) record(jr *journal, i int, o transfer.Outcome) {
	p.t.Helper()
	if err := jr.Record(p.t.Context(), i, o); err != nil {
		p.t.Fatal(err)
	}
}

// endBatch ends a batch all of whose files have an outcome.
func (p played) endBatch(h hold, jr *journal) {
	p.t.Helper()
	p.pack("batch_done", h, jr, h.unit, h.fence, p.svc.self)
}

// compact stores what the finish has changed in a batch.
func (p played) compact(h hold, jr *journal) {
	p.t.Helper()
	p.pack("compact", h, jr, h.unit, h.fence)
}

func (p played) pack(script string, h hold, jr *journal, args ...any) {
	p.t.Helper()
	blob, err := p.svc.codec.packOutcomes(jr.outcomes())
	if err != nil {
		p.t.Fatal(err)
	}
	k := keysOf(p.id)
	if _, err := p.svc.scripts.owned(p.t.Context(), script, h, []string{k.outcomes(jr.batch), k.ended(jr.batch)}, append(args, blob, jr.tail.last)...); err != nil {
		p.t.Fatal(err)
	}
}

// all are the files of the job that a query chooses, found by looking at each.
func (p played) all(q FileQuery) []FileRecord {
	p.t.Helper()
	var found []FileRecord
	err := p.svc.batches(p.t.Context(), p.id, func(b stored) error {
		for i, e := range b.entries {
			r := fileRecord(e, b.done[i])
			if q.FileFilter.chooses(r) && (q.Code == "" || r.Code == q.Code) && newNeedle(q.Search).in(r.Path) {
				found = append(found, r)
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// pages are the files that a query chooses, page by page.
func (p played) pages(q FileQuery) []FileRecord {
	p.t.Helper()
	var found []FileRecord
	for n := 0; ; n++ {
		page, err := p.svc.FilePage(p.t.Context(), p.id, q)
		if err != nil {
			p.t.Fatal(err)
		}
		if page.Files == nil || len(page.Files) > max(q.Limit, 1) && q.Limit > 0 || n > 10_000 {
			p.t.Fatalf("page %d has %d files, want %d at most", n, len(page.Files), q.Limit)
		}
		found = append(found, page.Files...)
		if q.Cursor = page.Next; page.Next == "" {
			return found
		}
	}
}

// agree demands that the quick ways say what the slow ones do.
func (p played) agree(t testing.TB, when string) {
	t.Helper()
	quick, err := p.svc.Troubles(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := p.svc.slowTroubles(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	bare := func(all []Trouble) (text []string) {
		for _, g := range all {
			if g.Example.Path == "" || g.Example.Code != g.Code || g.Example.Result != g.Result || g.Remedy == "" {
				t.Fatalf("%s: a group without a fitting example: %+v", when, g)
			}
			text = append(text, fmt.Sprint(g.Result, g.Code, g.Files, g.Bytes))
		}
		return text
	}
	if !slices.Equal(bare(quick), bare(slow)) {
		t.Fatalf("%s: groups %v, want %v", when, bare(quick), bare(slow))
	}
}
