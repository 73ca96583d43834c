package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// The files of a plan lie beside the job, in parts of their own keys, written before the job is: create.lua makes them stay.
// What a crash in between leaves is gone after plannedKept.
const plannedKept = 24 * time.Hour

// fieldPlanned of a job's hash holds how many parts its plan has.
const fieldPlanned = "planned"

func (k jobKeys) planned(n int) string { return fmt.Sprintf("%sp:%d", string(k), n) }

// plannedKeys are the keys of so many parts.
func (k jobKeys) plannedKeys(parts int64) []string {
	keys := make([]string, parts)
	for i := range keys {
		keys[i] = k.planned(i + 1)
	}
	return keys
}

// storePlanned stores the files of a plan, for a job that is to be created right after it. A part that is there already was
// stored by another call for the same job.
func (s *Service) storePlanned(ctx context.Context, id string, p *Planned) (keys []string, err error) {
	if p == nil {
		return nil, nil
	}
	keys = keysOf(id).plannedKeys(int64(len(p.parts)))
	for i, part := range p.parts {
		err := s.client.SetArgs(ctx, keys[i], part, redis.SetArgs{Mode: "NX", TTL: plannedKept}).Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("store the plan of job %s: %w", id, err)
		}
	}
	return keys, nil
}

// errPlanLost says that a job's plan can't be read whole. Without it nothing may be touched.
var errPlanLost = errors.New("the store has lost its plan: make a new plan, and a new job of that")

// Planned returns the files of a job's plan, nil where it has none.
func (s *Service) Planned(ctx context.Context, id string) (*Planned, error) {
	j, err := s.Get(ctx, id)
	if err != nil || j.Order.Plan == "" {
		return nil, err
	}
	return s.loadPlanned(ctx, j, func(PlannedFile) {})
}

// loadPlanned reads a job's plan and calls take for each file of it. What it was told counts only where there is no error.
func (s *Service) loadPlanned(ctx context.Context, j Job, take func(PlannedFile)) (*Planned, error) {
	text, err := s.client.HGet(ctx, keysOf(j.ID).job(), fieldPlanned).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read the plan of job %s: %w", j.ID, err)
	}
	p := &Planned{}
	for _, key := range keysOf(j.ID).plannedKeys(number(text)) {
		part, err := s.client.Get(ctx, key).Bytes()
		if errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("job %s: %w", j.ID, errPlanLost)
		}
		if err != nil {
			return nil, fmt.Errorf("read the plan of job %s: %w", j.ID, err)
		}
		p.parts = append(p.parts, part)
	}
	sum := sha256.New()
	err = p.EachLine(func(line []byte) error {
		_, _ = sum.Write(line) // a hash takes everything
		var f PlannedFile
		if err := f.UnmarshalJSON(line); err != nil {
			return err
		}
		if p.Lines++; f.Verdict == transfer.Pending {
			p.Files++
			p.Bytes += max(f.Size, 0)
		}
		take(f)
		return nil
	})
	if p.digest = hex.EncodeToString(sum.Sum(nil)); err != nil || p.digest != j.Order.Plan {
		return nil, fmt.Errorf("job %s: %w", j.ID, errors.Join(errPlanLost, err))
	}
	return p, nil
}

// expected are the files of a job's plan by path, for its scan. Nil is no plan.
type expected map[string]expectedFile

// expectedFile is what a scan compares of a planned file: a million of them are held at once.
type expectedFile struct {
	size             int64
	mtime            time.Time
	id, etag, source string
	there            transfer.Seen
}

func (f expectedFile) entry(path string) transfer.Entry {
	return transfer.Entry{Path: path, Source: f.source, Size: f.size, ModTime: f.mtime, ID: f.id, ETag: f.etag}
}

// expected reads the plan of a job.
func (s *Service) expected(ctx context.Context, j Job) (expected, error) {
	if j.Order.Plan == "" {
		if j.Order.Goal != nil {
			return nil, &finalError{fmt.Errorf("job %s: %w", j.ID, errPlanLost)}
		}
		return nil, nil
	}
	x := expected{}
	_, err := s.loadPlanned(ctx, j, func(f PlannedFile) {
		if f.Verdict == transfer.Pending {
			x[f.Path] = expectedFile{f.Size, f.ModTime, f.ID, f.ETag, f.Source, f.Seen}
		}
	})
	if err == nil && len(x) == 0 { // nothing to look for would be everything
		err = fmt.Errorf("job %s: %w", j.ID, errPlanLost)
	}
	if errors.Is(err, errPlanLost) {
		return nil, &finalError{err}
	}
	return x, err
}

// paths are the files to look for; nil is all.
func (x expected) paths() []string {
	if x == nil {
		return nil
	}
	paths := make([]string, 0, len(x))
	for p := range x {
		paths = append(paths, p)
	}
	return paths
}

// judge sets aside what has drifted since the plan was made (safety rule 15).
func (x expected) judge(c transfer.Chunk) transfer.Chunk {
	if x == nil {
		return c
	}
	for i, e := range c.Entries {
		f, ok := x[e.Path]
		if !ok { // nothing else was looked for
			c.Entries[i].Verdict, c.Entries[i].Code, c.Entries[i].Reason = transfer.SetAside, transfer.CodeDrifted, "the plan doesn't name it"
			continue
		}
		c.Entries[i] = transfer.Planned(f.entry(e.Path), f.there, e, c.Seen[i])
	}
	return c
}
