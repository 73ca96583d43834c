package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// stored is a batch with what has become of its entries.
type stored struct {
	number  int64
	entries []transfer.Entry
	dirs    []transfer.DirInfo
	done    []transfer.Outcome // of the length of entries
	ended   bool
}

// packed is a batch as it lies in the store.
type packed struct {
	number      int64
	blob, ended []byte
	hasEnded    bool
	open        map[string]string
}

// load reads a batch. A batch that is missing is redis.Nil (wrapped).
func (s *Service) load(ctx context.Context, id string, n int64) (stored, error) {
	all, err := s.fetch(ctx, id, []int64{n})
	if err != nil {
		return stored{}, err
	}
	return s.unpack(id, all[0])
}

// fetch reads batches in one call. A batch that is missing is redis.Nil (wrapped).
func (s *Service) fetch(ctx context.Context, id string, numbers []int64) ([]packed, error) {
	k, p := keysOf(id), s.client.Pipeline()
	blobs, ended, open := make([]*redis.StringCmd, len(numbers)), make([]*redis.StringCmd, len(numbers)), make([]*redis.MapStringStringCmd, len(numbers))
	for i, n := range numbers {
		// What is open comes before what has ended: a batch that ends between the two is seen twice then. The other way
		// round it would be seen not at all, and look untouched.
		open[i], blobs[i], ended[i] = p.HGetAll(ctx, k.outcomes(n)), p.Get(ctx, k.batch(n)), p.Get(ctx, k.ended(n))
	}
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read batches of job %s: %w", id, err)
	}
	all := make([]packed, len(numbers))
	for i, n := range numbers {
		raw, err := blobs[i].Bytes()
		if err != nil {
			return nil, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
		}
		all[i] = packed{number: n, blob: raw, open: open[i].Val()}
		if raw, err := ended[i].Bytes(); err == nil {
			all[i].ended, all[i].hasEnded = raw, true
		}
	}
	return all, nil
}

func (s *Service) unpack(id string, raw packed) (stored, error) {
	b, n := stored{number: raw.number, ended: raw.hasEnded}, raw.number
	var err error
	if b.entries, b.dirs, err = s.codec.unpackBatch(raw.blob); err != nil {
		return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
	}
	b.done = make([]transfer.Outcome, len(b.entries))
	if b.ended {
		if b.done, err = s.codec.unpackOutcomes(raw.ended, len(b.entries)); err != nil {
			return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
		}
	}
	for index, text := range raw.open {
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(b.done) {
			return stored{}, fmt.Errorf("read batch %d of job %s: strange index %q", n, id, index)
		}
		if err := json.Unmarshal([]byte(text), &b.done[i]); err != nil {
			return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
		}
	}
	return b, nil
}

// batches calls yield for every batch of a job in order.
func (s *Service) batches(ctx context.Context, id string, yield func(stored) error) error {
	count, err := s.client.HGet(ctx, keysOf(id).job(), "batches").Int64()
	if err != nil {
		return fmt.Errorf("read job %s: %w", id, err)
	}
	for n := int64(1); n <= count; n++ {
		b, err := s.load(ctx, id, n)
		if err != nil {
			return err
		}
		if err := yield(b); err != nil {
			return err
		}
	}
	return nil
}

// FileFilter chooses files of a job.
type FileFilter struct {
	Results []transfer.Result // empty is all
	Source  []transfer.SourceState
}

func (f FileFilter) chooses(r FileRecord) bool {
	return (len(f.Results) == 0 || one(r.Result, f.Results...)) && (len(f.Source) == 0 || one(r.Source, f.Source...))
}

// Files calls yield for each file of the job in the order of the scan, until it returns an error. It holds few of them at a
// time, however many there are.
func (s *Service) Files(ctx context.Context, id string, f FileFilter, yield func(FileRecord) error) error {
	id, err := s.resolve(ctx, id)
	if err != nil {
		return err
	}
	v, err := s.viewFiles(ctx, id, FileQuery{FileFilter: f})
	if err != nil {
		return err
	}
	for !v.ended() {
		if err := v.chunk(ctx, func(_ filePlace, r FileRecord) error { return yield(r) }); err != nil {
			return err
		}
	}
	return nil
}

func fileRecord(e transfer.Entry, o transfer.Outcome) FileRecord {
	r := FileRecord{Path: e.Path, Size: e.Size, Result: o.Result, Source: o.Source, Grade: o.Grade, Hash: o.Hash,
		Package: o.Package, Evidence: o.Evidence, Code: o.Code, Reason: o.Reason}
	if dest := o.Dest; dest != "" || e.Dest != "" {
		if dest == "" {
			dest = e.Dest
		}
		r.Dest = dest
	}
	if !e.ModTime.IsZero() {
		r.ModTime = &e.ModTime
	}
	if !o.At.IsZero() {
		r.At = &o.At
	}
	return r
}
