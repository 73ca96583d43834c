package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"offload/internal/failpoint"
	"offload/manifest"
	"offload/transfer"
)

// Fields of a job that are about its manifest.
const (
	fieldManifest      = "manifest"       // what the job had done when its manifest was written: manifestStamp
	fieldManifestError = "manifest_error" // why it couldn't be written to the destination; "" where it was
)

// Times of writing manifests of jobs that have ended.
const (
	manifestSettle = 20 * time.Second // longer than a lease lasts: nobody works on the job any more
	manifestFirst  = 10 * time.Minute // between attempts at a destination that refuses; twice as long each time
	manifestLast   = 24 * time.Hour
	manifestTries  = 12
)

// manifestStamp is what a manifest depends on, in short: while it stays the same the manifest need not be written anew.
func manifestStamp(j Job) string {
	f := j.Files
	return fmt.Sprintf("%d %d %d %d %d %d %d", f.Found, f.Copied, f.Skipped, f.SetAside, f.Failed, f.Deleted, f.Purged)
}

// leavesManifest tells whether a job has done anything that a manifest is kept of.
func (j Job) leavesManifest() bool {
	return j.Order.Kind == KindMove && j.Files.Copied+j.Files.Deleted > 0
}

// manifestHeader is the first line of a job's manifest.
func manifestHeader(j Job) manifest.Header {
	return manifest.Header{Version: manifest.Version, Job: j.ID, Source: j.Source, Destination: j.Dest, Account: j.Account, Created: j.Created}
}

// manifest writes the job's manifest into the store and to the destination, as part of the finish. A destination that can't
// be written to doesn't hold the job up: that is noted, and tried again later.
func (w *worker) manifest(ctx context.Context, u *unit) error {
	j, err := w.s.get(ctx, u.job)
	if err != nil || !j.leavesManifest() {
		return err
	}
	// Should this process die, whoever looks after jobs sees to it once the job has ended.
	if err := w.s.oweManifest(ctx, j.ID, manifestFirst); err != nil {
		return err
	}
	err = w.keepManifest(ctx, j, func() error {
		if err := u.check(ctx); err != nil {
			return err
		}
		return u.held()
	})
	if err == nil || errors.Is(err, transfer.ErrFenced) || errors.Is(err, transfer.ErrStop) || ctx.Err() != nil {
		return err
	}
	var refused *manifestError
	if errors.As(err, &refused) {
		return nil // noted
	}
	return err
}

// manifestError is a failure to write a manifest to the destination; the store has it.
type manifestError struct{ err error }

func (e *manifestError) Error() string { return e.err.Error() }
func (e *manifestError) Unwrap() error { return e.err }

// keepManifest writes a job's manifest. A destination that refuses it is a *manifestError, and noted at the job; the job is
// left among those whose manifests are owed then.
func (w *worker) keepManifest(ctx context.Context, j Job, held func() error) error {
	o, release, openErr := w.pairs.get(ctx, j)
	if openErr == nil {
		defer release()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	info, err := w.writeAndPut(ctx, j, o, openErr, held)
	if info.gen == "" || err != nil && (ctx.Err() != nil || errors.Is(err, transfer.ErrFenced) || errors.Is(err, transfer.ErrStop)) {
		return err
	}
	k := keysOf(j.ID)
	p := w.s.client.Pipeline()
	p.HSet(ctx, k.job(), fieldManifest, manifestStamp(j))
	if err == nil {
		p.HSet(ctx, k.manifest(), "path", info.Path)
		p.HDel(ctx, k.manifest(), "tries")
		p.HDel(ctx, k.job(), fieldManifestError)
		p.ZRem(ctx, keyOwed, j.ID)
	} else {
		p.HIncrBy(ctx, k.manifest(), "tries", 1)
		p.HSet(ctx, k.job(), fieldManifestError, fmt.Sprintf("the manifest couldn't be written to %s, the store keeps it: %s", remoteOf(j.Dest),
			transfer.WithoutQueries(err.Error())))
		w.log.Warn("write a manifest to the destination", "job", j.ID, "error", err)
		err = &manifestError{err}
	}
	if _, perr := p.Exec(ctx); perr != nil {
		return fmt.Errorf("keep the manifest of job %s: %w", j.ID, perr)
	}
	return err
}

// writeAndPut writes a manifest into the store and, where the remotes could be opened, to the destination. What it returns has
// a generation where the store has it.
func (w *worker) writeAndPut(ctx context.Context, j Job, o *openJob, openErr error, held func() error) (ManifestInfo, error) {
	var file *os.File
	var drop func()
	if openErr == nil {
		file, drop, openErr = o.pair.Scratch()
	}
	if openErr != nil {
		info, err := w.s.writeManifest(ctx, manifestHeader(j), io.Discard, held, w.s.lineReader(ctx, j.ID))
		return info, errors.Join(err, openErr)
	}
	defer drop()
	info, err := w.s.writeManifest(ctx, manifestHeader(j), file, held, w.s.lineReader(ctx, j.ID))
	if err != nil {
		return info, err
	}
	failpoint.At("manifest stored")
	info.Path, err = o.pair.PutManifest(ctx, transfer.ManifestFile{Name: j.ID + manifest.Extension, Body: file, ModTime: j.Created, Held: held,
		Ours: func(r io.Reader) bool {
			h, _, err := manifest.Verify(r)
			return err == nil && h.Job == j.ID
		}})
	failpoint.At("manifest put")
	return info, err
}

// lineReader reads the lines of a job that the store has.
func (s *Service) lineReader(ctx context.Context, id string) func(func(manifest.Line) error) error {
	return func(yield func(manifest.Line) error) error {
		return s.batches(ctx, id, func(b stored) error {
			for i, e := range b.entries {
				if err := yield(lineOf(e, b.done[i])); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// manifestBeforeRemoval makes sure that the store has the manifest of a job that is about to be forgotten.
func (s *Service) manifestBeforeRemoval(ctx context.Context, j Job) error {
	if !j.leavesManifest() || j.manifest == manifestStamp(j) {
		return nil
	}
	_, err := s.writeManifest(ctx, manifestHeader(j), io.Discard, func() error { return context.Cause(ctx) }, s.lineReader(ctx, j.ID))
	return err
}

// oweManifest notes that a job's manifest is to be written, at the earliest after d.
func (s *Service) oweManifest(ctx context.Context, id string, d time.Duration) error {
	if err := s.times.set(ctx, keyOwed, id, d, 0); err != nil {
		return fmt.Errorf("note the manifest of job %s: %w", id, err)
	}
	return nil
}

// mindManifest is told of a job that rests: where it has ended and its manifest isn't that of its end, it is owed.
func (s *Service) mindManifest(ctx context.Context, j Job) error {
	if !j.State.Terminal() || !j.leavesManifest() || j.manifest == manifestStamp(j) {
		return nil
	}
	return s.oweManifest(ctx, j.ID, manifestSettle)
}

// owedManifests writes the manifests of jobs that have ended without one, or at a destination that refused it. One process
// of the pool does so.
func (w *worker) owedManifests(ctx context.Context) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	back := &backfill{s: w.s}
	for {
		if w.leads.Load() {
			if err := errors.Join(back.round(ctx), w.payManifests(ctx)); err != nil && ctx.Err() == nil && !w.away.Load() {
				w.log.Warn("write manifests", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// payManifests writes the manifests that are owed now.
func (w *worker) payManifests(ctx context.Context) error {
	ids, err := w.s.times.passed(ctx, keyOwed, 20, 0, 2*manifestLast)
	if err != nil {
		return fmt.Errorf("list the manifests that are owed: %w", err)
	}
	var all error
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil
		}
		all = errors.Join(all, w.payManifest(ctx, id))
	}
	return all
}

func (w *worker) payManifest(ctx context.Context, id string) error {
	j, err := w.s.get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return w.s.client.ZRem(ctx, keyOwed, id).Err()
	}
	if err != nil {
		return err
	}
	info, err := w.s.manifestInfo(ctx, id)
	if err != nil && !errors.Is(err, ErrNoManifest) {
		return err
	}
	switch done := j.manifest == manifestStamp(j); {
	case !j.leavesManifest(), done && info.Path != "", done && info.tries >= manifestTries:
		return w.s.client.ZRem(ctx, keyOwed, id).Err()
	case !j.State.Terminal():
		return w.s.oweManifest(ctx, id, manifestFirst) // its finish writes it; this is for the case that it can't
	}
	// The next attempt, should this one fail or this process die.
	if err := w.s.oweManifest(ctx, id, min(manifestFirst<<min(info.tries, 20), manifestLast)); err != nil {
		return err
	}
	err = w.keepManifest(ctx, j, func() error { return context.Cause(ctx) })
	var refused *manifestError
	if errors.As(err, &refused) || ctx.Err() != nil {
		return nil
	}
	return err
}

// backfill looks once over the jobs of earlier versions, which wrote no manifests.
type backfill struct {
	s      *Service
	cursor string
	done   bool
}

// keyBackfilled exists once every job of an earlier version has been looked at.
const keyBackfilled = "offload:manifests:backfilled"

func (b *backfill) round(ctx context.Context) error {
	if b.done {
		return nil
	}
	if b.cursor == "" {
		n, err := b.s.client.Exists(ctx, keyBackfilled).Result()
		if err != nil {
			return fmt.Errorf("look for jobs without a manifest: %w", err)
		}
		if b.done = n == 1; b.done {
			return nil
		}
	}
	ids, err := b.s.newest(ctx, b.cursor, 500)
	if err != nil {
		return err
	}
	jobs, err := b.s.readJobs(ctx, ids)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := b.s.mindManifest(ctx, j); err != nil {
			return err
		}
	}
	if len(ids) == 500 {
		b.cursor = ids[len(ids)-1]
		return nil
	}
	b.done = true
	return b.s.client.Set(ctx, keyBackfilled, 1, 0).Err()
}

// Record calls yield for each file of a job, in the order of the scan, until it returns an error. It holds few of them at a
// time. Of a job that was removed, it reads the manifest that the store has kept; where that has none either, the error is
// ErrNotFound and says where else to look.
func (s *Service) Record(ctx context.Context, id string, yield func(manifest.Line) error) (manifest.Header, error) {
	j, err := s.Get(ctx, id)
	if err == nil {
		return manifestHeader(j), s.lineReader(ctx, j.ID)(yield)
	}
	if !errors.Is(err, ErrNotFound) {
		return manifest.Header{}, err
	}
	info, merr := s.Manifest(ctx, id)
	if errors.Is(merr, ErrNotFound) || errors.Is(merr, ErrNoManifest) {
		return manifest.Header{}, fmt.Errorf("%w here, and no manifest of it; the destination may have one: `offload manifest import REMOTE` reads what lies in %s/ there",
			err, transfer.ManifestDir)
	}
	if merr != nil {
		return manifest.Header{}, merr
	}
	return info.Header, s.storedLines(ctx, info, yield)
}

// Manifest is what the store knows of a job's manifest. The beginning of an ID is enough; ErrNotFound and ErrNoManifest say
// that there is none.
func (s *Service) Manifest(ctx context.Context, id string) (ManifestInfo, error) {
	full, err := s.resolve(ctx, id)
	if err == nil {
		return s.manifestInfo(ctx, full)
	}
	if !errors.Is(err, ErrNotFound) {
		return ManifestInfo{}, err
	}
	if full, err = s.resolveManifest(ctx, id); err != nil {
		return ManifestInfo{}, err
	}
	info, err := s.manifestInfo(ctx, full)
	if errors.Is(err, ErrNoManifest) {
		return info, fmt.Errorf("job %s: %w", full, ErrNotFound)
	}
	return info, err
}

// WriteManifest writes a job's manifest to w as a file: that of now, where the job is still there.
func (s *Service) WriteManifest(ctx context.Context, id string, w io.Writer) (manifest.Summary, error) {
	var h manifest.Header
	var lines func(func(manifest.Line) error) error
	if j, err := s.Get(ctx, id); err == nil {
		h, lines = manifestHeader(j), s.lineReader(ctx, j.ID)
	} else if info, merr := s.Manifest(ctx, id); errors.Is(err, ErrNotFound) && merr == nil {
		h, lines = info.Header, func(yield func(manifest.Line) error) error { return s.storedLines(ctx, info, yield) }
	} else {
		return manifest.Summary{}, err
	}
	m, err := manifest.NewWriter(w, h)
	if err == nil {
		err = lines(m.Add)
	}
	if err != nil {
		return manifest.Summary{}, err
	}
	return m.Close()
}

// VerifyManifest reads a manifest of the store anew and compares it with the sum that was taken when it was written.
func (s *Service) VerifyManifest(ctx context.Context, id string) (ManifestInfo, error) {
	info, err := s.Manifest(ctx, id)
	if err != nil {
		return info, err
	}
	m, err := manifest.NewWriter(io.Discard, info.Header)
	if err == nil {
		err = s.storedLines(ctx, info, m.Add)
	}
	if err != nil {
		return info, err
	}
	sum, err := m.Close()
	if err == nil && sum != info.Summary {
		err = &manifest.BrokenError{Line: sum.Files + 2, What: "the store holds other lines than were written"}
	}
	return info, err
}

// ErrOtherManifest says that the store has another manifest of the same job.
var ErrOtherManifest = errors.New("the store has another manifest of this job, which stays")

// ImportManifest takes a manifest into the store, verified. One that is there already stays: made is false where it is the
// same, and ErrOtherManifest (wrapped) says that it differs, as it does while the job itself is in the store and has gone on.
func (s *Service) ImportManifest(ctx context.Context, file io.ReadSeeker) (info ManifestInfo, made bool, err error) {
	h, sum, err := verifyForeign(ctx, file) // whole, before anything is written
	if err != nil {
		return ManifestInfo{}, false, err
	}
	if id, err := s.resolveManifest(ctx, h.Job); err != nil || id != h.Job || len(id) != 26 {
		return ManifestInfo{}, false, &manifest.BrokenError{Line: 1, What: "its job has a strange ID"}
	}
	have, err := s.manifestInfo(ctx, h.Job)
	switch {
	case err == nil && have.Summary == sum:
		return have, false, nil
	case err == nil:
		return have, false, fmt.Errorf("job %s: %w", h.Job, ErrOtherManifest)
	case !errors.Is(err, ErrNoManifest):
		return have, false, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return have, false, fmt.Errorf("read manifest: %w", err)
	}
	r, err := manifest.NewReader(file)
	if err != nil {
		return have, false, err
	}
	info, err = s.writeManifest(ctx, h, io.Discard, func() error { return context.Cause(ctx) }, r.Each)
	return info, err == nil, err
}
