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

// load reads a batch. A batch that is missing is redis.Nil (wrapped).
func (s *Service) load(ctx context.Context, id string, n int64) (stored, error) {
	k := keysOf(id)
	p := s.client.Pipeline()
	blob, ended, open := p.Get(ctx, k.batch(n)), p.Get(ctx, k.ended(n)), p.HGetAll(ctx, k.outcomes(n))
	if _, err := p.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
	}
	raw, err := blob.Bytes()
	if err != nil {
		return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
	}
	b := stored{number: n}
	if b.entries, b.dirs, err = s.codec.unpackBatch(raw); err != nil {
		return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
	}
	b.done = make([]transfer.Outcome, len(b.entries))
	if raw, err := ended.Bytes(); err == nil {
		b.ended = true
		if b.done, err = s.codec.unpackOutcomes(raw, len(b.entries)); err != nil {
			return stored{}, fmt.Errorf("read batch %d of job %s: %w", n, id, err)
		}
	}
	for index, text := range open.Val() {
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

// Files calls yield for each file of the job in the order of the scan, until it returns an error.
func (s *Service) Files(ctx context.Context, id string, f FileFilter, yield func(FileRecord) error) error {
	j, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.batches(ctx, j.ID, func(b stored) error {
		for i, e := range b.entries {
			if r := fileRecord(e, b.done[i]); f.chooses(r) {
				if err := yield(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
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
