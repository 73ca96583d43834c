package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// Scrub looks whether the files of a batch lie at the pair's source as an earlier job proved them there: by the hash in
// Entry.Hash, or by size and time where none was recorded. What is intact is Skipped, with the grade that this look is
// worth; what isn't has failed with CodeScrubMissing or CodeScrubDiffers, and what couldn't be told with any other code.
// Folders are listed once. A file is read, and counted, where the remote tells no hash of that type, or with read in any
// case. Nothing is written, changed or deleted anywhere.
func (p *Pair) Scrub(ctx context.Context, b Batch, env Env, read bool) (Report, error) {
	b = confined(b)
	r := newRun(p, b, env.withDefaults(), copyable)
	r.types = recordedTypes(b.Entries)
	r.dst = newLookup(p.Dest, p.destEye, nil, nil) // nobody looks there
	s := &scrub{read: read, strays: map[int64][]fs.Object{}, sizes: map[int64]bool{}, mine: map[string]bool{}}
	r.src = s.lookup(r)
	return r.each(ctx, s.look)
}

// scrub is what the files of one call of Scrub share.
type scrub struct {
	read  bool
	sizes map[int64]bool  // of the recorded files
	mine  map[string]bool // their keys
	key   func(path string) string

	mu     sync.Mutex
	strays map[int64][]fs.Object // by size: files in the folders that were listed and that nobody asked for
}

// recordedTypes are the hash types that the record of entries is in.
func recordedTypes(entries []Entry) []hash.Type {
	set := hash.NewHashSet()
	for _, e := range entries {
		if t, _ := splitHash(e.Hash); t != hash.None {
			set.Add(t)
		}
	}
	return set.Array()
}

// lookup lists each folder of which more than one file is asked for.
func (s *scrub) lookup(r *run) *lookup {
	var paths []string
	held := map[string]int{}
	for i, e := range r.batch.Entries {
		if !r.closed[i] && e.Verdict == Pending {
			paths = append(paths, e.SourcePath())
			held[dirOf(e.SourcePath())] = 0 // nobody knows how many there are: a listing is the cheaper guess
			s.sizes[e.Size] = true
		}
	}
	l := newLookup(r.p.Source, r.p.sourceEye, paths, held)
	l.other, s.key = s.stray, l.key
	for _, p := range paths {
		s.mine[l.key(p)] = true
	}
	return l
}

// stray notes a file that a listing shows and that nobody asked for: one of those may have been moved there.
func (s *scrub) stray(o fs.Object) {
	if s.sizes[o.Size()] && !s.mine[s.key(o.Remote())] && !o.Fs().Features().SlowHash {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.strays[o.Size()] = append(s.strays[o.Size()], o)
	}
}

// look brings one entry to its outcome.
func (s *scrub) look(w *work, ctx context.Context) error {
	if w.e.Verdict != Pending {
		return w.r.record(ctx, w.i, Outcome{Result: w.e.Verdict, Code: w.e.Code, Reason: w.e.Reason})
	}
	return w.tries(ctx, func(ctx context.Context, attempt int) error {
		read := false // then there is nothing more to ask
		o, err := s.verdict(ctx, w, attempt > 1, &read)
		if err == nil && o.Result == Failed && !read && attempt == 1 && w.r.src.lists(w.e.SourcePath()) {
			// A listing says something bad: an alarm is worth one more call.
			o, err = s.verdict(ctx, w, true, &read)
		}
		if err != nil {
			return err
		}
		return w.r.record(ctx, w.i, o)
	})
}

// verdict looks at one file, and says whether it had to be read.
func (s *scrub) verdict(ctx context.Context, w *work, fresh bool, read *bool) (Outcome, error) {
	o, _, err := w.r.src.find(ctx, w.e.SourcePath(), fresh)
	switch {
	case errors.Is(err, fs.ErrorIsDir), errors.Is(err, fs.ErrorNotAFile):
		return w.scrubbed(CodeScrubMissing, "a folder has its name now"), nil
	case err != nil:
		return Outcome{}, sourceErr("look at offloaded file", err)
	case o == nil:
		what := "it isn't there any more"
		if at := s.elsewhere(ctx, w.e); at != "" {
			what += fmt.Sprintf("; %q has the same content", at)
		}
		return w.scrubbed(CodeScrubMissing, what), nil
	}
	if want := w.e.Size; !w.e.Package && want >= 0 && o.Size() >= 0 && o.Size() != want {
		return w.scrubbed(CodeScrubDiffers, fmt.Sprintf("it has %d bytes, %d were proved", o.Size(), want)), nil
	}
	return s.compare(ctx, w, o, read)
}

// compare holds the content of a file that is there against the record.
func (s *scrub) compare(ctx context.Context, w *work, o fs.Object, read *bool) (Outcome, error) {
	t, sum := splitHash(w.e.Hash)
	intact := Outcome{Result: Skipped, Hash: w.e.Hash, Wasted: w.wasted}
	if t == hash.None {
		switch {
		case w.e.Hash != "" || w.e.Package:
			return w.scrubbed(CodeScrubUnknown, "no hash was recorded that this program knows"), nil
		case !w.e.ModTime.IsZero() && o.Fs().Precision() != fs.ModTimeNotSupported && !w.sameTimeAt(ctx, o):
			return w.scrubbed(CodeScrubDiffers, "it has another time, and no hash was recorded"), nil
		}
		intact.Grade = GradeC
		return intact, nil
	}
	got, grade := "", GradeA
	if !s.read && o.Fs().Hashes().Contains(t) {
		h, err := hashOf(ctx, o, t, traits{}) // what the uploader claimed was compared with the bytes when it was uploaded
		if err != nil {
			return Outcome{}, sourceErr("read hash", err)
		}
		got = h
	}
	if got == "" {
		var err error
		if got, err = w.readHash(ctx, o, t); err != nil {
			return Outcome{}, err
		}
		grade, *read = GradeB, true
	}
	if got != sum {
		return w.scrubbed(CodeScrubDiffers, "its content is another than was proved"), nil
	}
	intact.Grade = grade
	return intact, nil
}

// readHash reads a file whole, metered like a copy, and returns its hash.
func (w *work) readHash(ctx context.Context, o fs.Object, t hash.Type) (sum string, err error) {
	m := markOf(ctx, o)
	err = w.metered(ctx, o.Size(), 0, func(grant Grant) (used, vain int64, err error) {
		read, err := w.readSource(ctx, o, m, grant)
		if err != nil {
			return read.drawn, read.drawn, err
		}
		sum = read.sums[t]
		return read.drawn, read.lost, nil
	})
	return sum, err
}

// sameTimeAt tells whether a file has the recorded time, as exactly as its remote keeps it.
func (w *work) sameTimeAt(ctx context.Context, o fs.Object) bool {
	window := fs.GetModifyWindow(ctx, o.Fs())
	return o.ModTime(ctx).Sub(w.e.ModTime).Abs() <= window
}

// elsewhere is the path of a file with the recorded content among those that the listings so far have shown; "" for none.
func (s *scrub) elsewhere(ctx context.Context, e Entry) string {
	t, sum := splitHash(e.Hash)
	if t == hash.None {
		return ""
	}
	s.mu.Lock()
	same := s.strays[e.Size]
	s.mu.Unlock()
	for _, o := range same {
		if h, err := hashOf(ctx, o, t, traits{}); err == nil && h == sum {
			return o.Remote()
		}
	}
	return ""
}

// scrubbed is the outcome of a file that isn't known to be intact.
func (w *work) scrubbed(code, what string) Outcome {
	o := w.failed(code, remoteName(w.r.p.Source), what)
	o.Source = "" // nothing is said of where it came from
	o.Hash = w.e.Hash
	return o
}

// CheckScrub tells whether a scrub of the pair's source can start: it answers, or says for certain that there is nothing.
// Its error is a *CheckError, or the cause of a done ctx.
func (p *Pair) CheckScrub(ctx context.Context) error {
	err := p.listRoot(ctx, p.Source)
	switch {
	case err == nil, errors.Is(err, fs.ErrorDirNotFound): // all is missing then, and that is what the scrub is to tell
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &CheckError{Field: SideSource, Hint: hintFor(ctx, remoteName(p.Source), err), Err: fmt.Errorf("list %s: %w", remoteName(p.Source), err)}
}
