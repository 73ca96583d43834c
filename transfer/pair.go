package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fspath"
)

// Pair is one source and one destination, opened, with the options of a job. It may be used by several goroutines.
type Pair struct {
	Source fs.Fs
	Dest   fs.Fs
	Opt    Options

	// sourceEye and destEye are what fresh looks go through: instances of their own where that is worth it (traits.eye),
	// else Source and Dest. An instance that has written nothing answers from no memory of its own, and rclone's pacers,
	// a hundred calls a second for each instance of most backends, don't make looks and moves wait for each other.
	sourceEye, destEye fs.Fs

	engine engine // what batches share: retry policy, probes, who doesn't answer (batch.go)
}

// NewPair joins two open remotes. It owns them from then on: Close shuts both down.
func NewPair(source, dest fs.Fs, opt Options) *Pair {
	p := &Pair{Source: source, Dest: dest, sourceEye: source, destEye: dest, Opt: opt.WithDefaults()}
	for i := range p.engine.silences {
		p.engine.silences[i].busy = make(chan struct{}, 1)
	}
	return p
}

// of is the remote of a side; the source where an error names none.
func (p *Pair) of(side string) fs.Fs {
	if side == SideDest {
		return p.Dest
	}
	return p.Source
}

// PacesItself tells whether both remotes find out by themselves how many calls at once they bear.
func (p *Pair) PacesItself() bool { return pacesItself(p.Source) && pacesItself(p.Dest) }

func pacesItself(f fs.Fs) bool {
	_, ok := f.(Paced)
	return ok
}

// onlyFile narrows the options to the file that a source names. Like rclone, it takes no other filter beside it.
func onlyFile(source string, opt Options) (Options, error) {
	f, err := newFilter(opt, time.Now())
	if err != nil {
		return opt, err
	}
	if !f.InActive() || len(opt.ExcludeIfPresent) > 0 {
		return opt, &FilterError{Field: "source", Value: source, Err: errors.New("is a single file: filters can't be used with it")}
	}
	_, leaf, err := fspath.Split(source)
	if err != nil {
		return opt, fmt.Errorf("open source %s: %w", source, err)
	}
	opt.FilesFrom = []string{leaf}
	return opt, nil
}

// Close frees what the remotes hold (Dropbox's batcher, for one). The pair can't be used afterwards.
func (p *Pair) Close(ctx context.Context) {
	for _, pair := range [][2]fs.Fs{{p.Source, p.sourceEye}, {p.Dest, p.destEye}} {
		shutdown(ctx, pair[0])
		if pair[1] != pair[0] {
			shutdown(ctx, pair[1])
		}
	}
}

func shutdown(ctx context.Context, f fs.Fs) {
	if f == nil {
		return
	}
	if do := f.Features().Shutdown; do != nil {
		// A failed shutdown leaves nothing that a caller could mend: every upload has been awaited before.
		_ = do(ctx)
	}
}
