package jobs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"offload/transfer"
)

// Bounds of a batch. The first ones of a job are small, so that every worker soon has something to do, and the others no
// larger than that the last ones don't keep one worker busy long after the rest.
const (
	batchFirst = 16
	batchFiles = 32
	batchBytes = 32 << 20
)

// scan finds what there is to do and stores it in batches as it goes.
func (w *worker) scan(ctx context.Context, u *unit) error {
	j, err := w.s.Get(ctx, u.job)
	if err != nil {
		return err
	}
	if waits, err := w.outsideWindow(ctx, u, j); waits || err != nil {
		return err
	}
	o, release, err := w.open(ctx, u, j)
	if err != nil {
		return w.openFailed(ctx, u, j, err)
	}
	defer release()
	u.follow(j, o.pair)
	scanning, end := u.whileRunning(ctx) // a listing may be broken off: what was found is stored, and passed over by the next scan
	defer end()
	planned, err := w.s.expected(ctx, j)
	if err != nil {
		return err
	}
	p := &planner{w: w, u: u, order: j.Order.Order, seen: map[[16]byte]struct{}{}, bins: map[int64]*bin{}, looks: j.looksOnly()}
	if err := p.resume(ctx); err != nil {
		return err
	}
	if j.Order.Kind != KindMove {
		return w.scanRecord(scanning, u, j, p)
	}
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		if j.Order.Deletes() && p.count == 0 { // once batches are stored, something may have been deleted
			_ = w.measure(scanning, u, o.pair, fieldBefore) // where no calls are left, the scan finds out too
		}
	}()
	defer func() { <-measured }()
	opt := transfer.ScanOptions{Ordered: j.Order.Order == transfer.OrderName, Patient: true, Files: planned.paths()}
	res, err := o.pair.Scan(scanning, opt, func(c transfer.Chunk) error {
		<-measured // beside the first listings; nothing may be deleted before
		if err := u.check(ctx); err != nil {
			return err
		}
		return p.take(ctx, planned.judge(c))
	})
	if err == nil {
		err = p.flush(ctx)
	}
	for _, e := range res.Errors { // a folder that no call was left for isn't one that can't be read
		if err == nil && errors.Is(e, transfer.ErrNoQuota) {
			err = e
		}
	}
	if err != nil {
		return w.scanFailed(ctx, u, j, err)
	}
	wrong := ""
	if !res.Complete {
		wrong = fmt.Sprintf("%d folders could not be read whole", res.ErrorCount)
		if len(res.Errors) > 0 {
			wrong += ", the first: " + transfer.WithoutQueries(res.Errors[0].Error())
		}
		w.log.Warn("scan incomplete", "job", u.job, "errors", res.ErrorCount, "first", wrong)
	}
	_, err = w.s.scripts.owned(ctx, "scan_done", u.hold, nil, u.fence, w.name, res.Excluded, res.ExcludedBytes, res.ErrorCount, wrong, p.count)
	return err
}

func (w *worker) scanFailed(ctx context.Context, u *unit, j Job, err error) error {
	switch {
	case errors.Is(err, transfer.ErrNoQuota): // failed makes the job wait
	case transfer.NotFound(err):
		return &finalError{fmt.Errorf("scan %s: %w", j.Source, err)}
	case transfer.SignInRefused(ctx, err) != "":
		return w.openFailed(ctx, u, j, err)
	}
	return fmt.Errorf("scan %s: %w", j.Source, err)
}

// planner sorts what a scan finds into batches.
type planner struct {
	w     *worker
	u     *unit
	order transfer.Order
	seen  map[[16]byte]struct{} // what an earlier scan of this job has stored, by hash of the source's path
	bins  map[int64]*bin
	looks bool  // the entries are looked at and not moved: their sizes don't count, and a folder shouldn't be cut up
	count int64 // batches stored
	found int64
}

// bin gathers entries of one kind until they make a batch.
type bin struct {
	entries []transfer.Entry
	bytes   int64
	dirs    []transfer.DirInfo
	order   int64
}

func pathHash(e transfer.Entry) [16]byte {
	sum := sha256.Sum256([]byte(e.SourcePath()))
	return [16]byte(sum[:16])
}

// resume notes the entries that an earlier scan of the job has stored, to pass over them.
func (p *planner) resume(ctx context.Context) error {
	return p.w.s.batches(ctx, p.u.job, func(b stored) error {
		p.count = b.number
		for _, e := range b.entries {
			p.seen[pathHash(e)] = struct{}{}
		}
		return nil
	})
}

// take adds a chunk to the batches, and stores those that are full.
func (p *planner) take(ctx context.Context, c transfer.Chunk) error {
	dir := transfer.DirInfo{Dir: c.SourceDir, Source: c.SourceCount, Dest: c.DestCount}
	for _, e := range c.Entries {
		if _, ok := p.seen[pathHash(e)]; ok {
			continue
		}
		p.found++
		key := p.key(e)
		b := p.bins[key]
		if b == nil {
			b = &bin{order: key}
			p.bins[key] = b
		}
		if len(b.entries) > 0 && !p.looks && b.bytes+max(e.Size, 0) > batchBytes {
			if err := p.store(ctx, b); err != nil {
				return err
			}
		}
		b.entries = append(b.entries, e)
		b.bytes += max(e.Size, 0)
		if n := len(b.dirs); n == 0 || b.dirs[n-1].Dir != dir.Dir {
			b.dirs = append(b.dirs, dir)
		}
		if len(b.entries) >= p.room() || !p.looks && b.bytes >= batchBytes {
			if err := p.store(ctx, b); err != nil {
				return err
			}
		}
	}
	p.u.watch.found(p.found)
	return nil
}

// room is how many files the next batch may hold.
func (p *planner) room() int {
	if p.looks {
		return scrubBatch
	}
	return int(min(batchFirst<<min(p.count/8, 8), batchFiles))
}

// key sorts an entry into a bin; batches of a lower key go first. Orders by size or age hold between bins, not within.
func (p *planner) key(e transfer.Entry) int64 {
	switch p.order {
	case transfer.OrderLargest:
		return -int64(bits.Len64(uint64(max(e.Size, 0))))
	case transfer.OrderOldest:
		return e.ModTime.Unix() / (30 * 24 * 3600)
	}
	return 0
}

func (p *planner) store(ctx context.Context, b *bin) error {
	blob, err := p.w.s.codec.packBatch(b.entries, b.dirs)
	if err != nil {
		return err
	}
	n := p.count + 1
	order := b.order
	if p.order == transfer.OrderFound || p.order == transfer.OrderName {
		order = n
	}
	got, state, err := p.w.s.scripts.verdict(ctx, "batch_add", p.u.job, []string{keysOf(p.u.job).batch(n)},
		p.u.fence, n, blob, order, len(b.entries), b.bytes)
	switch {
	case err != nil:
		return err
	case got == 0:
		return fmt.Errorf("store batch %d of job %s: %w", n, p.u.job, transfer.ErrFenced)
	case got != 1:
		return fmt.Errorf("store batch %d of job %s: it isn't the next one", n, p.u.job)
	}
	p.u.saw(state)
	p.count = n
	*b = bin{order: b.order}
	return p.w.s.feed(ctx, p.u.job)
}

// flush stores what is left.
func (p *planner) flush(ctx context.Context) error {
	var all error
	for _, b := range p.bins {
		if len(b.entries) > 0 {
			all = errors.Join(all, p.store(ctx, b))
		}
	}
	return all
}
