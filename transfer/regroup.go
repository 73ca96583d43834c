package transfer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
)

// regroup answers fresh looks at the files of one folder. While one look is under way the next ones gather, and where
// several have, one listing answers them all: it begins after each of them was asked, so it is as fresh as a look at
// each file alone. Most of rclone's backends pace themselves to a hundred calls a second, so calls are what counts.
type regroup struct {
	mu    sync.Mutex
	busy  bool
	queue []*asked

	coming int           // files of the batch in this folder that haven't asked yet and still may
	all    chan struct{} // closed when none is coming any more
}

// arrived notes that one of the files that were coming has asked, or never will.
func (g *regroup) arrived() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.coming--; g.coming == 0 {
		close(g.all)
	}
}

// gather waits for those who are on their way, where calls are dear.
func (l *lookup) gather(ctx context.Context, g *regroup) {
	if !l.gathers {
		return
	}
	enough := time.NewTimer(gatherTime)
	defer enough.Stop()
	select {
	case <-g.all:
	case <-enough.C:
	case <-ctx.Done():
	}
}

type asked struct {
	path string
	done chan struct{}
	o    fs.Object
	at   time.Time
	err  error
}

// gatherTime is how long a fresh look waits for others of its folder that are still on their way to theirs.
const gatherTime = 500 * time.Millisecond

// regroupMax is the largest folder, in files, that is listed again for a few of them: one page at most remotes.
const regroupMax = 1000

// look asks for path in the company of others. The asking goes on for them when ctx is done: it ends with the run.
func (l *lookup) look(ctx context.Context, d *listing, p string) *asked {
	a := &asked{path: p, done: make(chan struct{})}
	g := &d.fresh
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, a)
	if !g.busy {
		g.busy = true
		l.asking.Go(func() { l.answer(l.life(ctx), d) })
	}
	return a
}

// answer waits for what was seen.
func (a *asked) answer(ctx context.Context) (fs.Object, time.Time, error) {
	select {
	case <-a.done:
		return a.o, a.at, a.err
	case <-ctx.Done():
		return nil, time.Time{}, context.Cause(ctx)
	}
}

// answer serves the queue of a folder until it is empty.
func (l *lookup) answer(ctx context.Context, d *listing) {
	g := &d.fresh
	for {
		l.gather(ctx, g)
		g.mu.Lock()
		todo := g.queue
		g.queue = nil
		if len(todo) == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		l.serve(ctx, todo)
	}
}

// serve answers those who wait.
func (l *lookup) serve(ctx context.Context, todo []*asked) {
	served := 0
	defer func() { // a bug in a backend must not leave anybody waiting
		if p := recover(); p != nil {
			for _, a := range todo[served:] {
				a.o, a.err = nil, fmt.Errorf("look at %s: a bug was hit: %v", a.path, p)
				close(a.done)
			}
		}
	}()
	at := time.Now()
	objs := l.relist(ctx, todo)
	for _, a := range todo {
		a.at = at
		if a.o = objs.at(l.key(a.path), a.path); a.o == nil {
			// Alone in the queue, or not in the listing: the remote is asked for this one file. A listing may lag behind,
			// and nothing is concluded from its silence.
			a.at = time.Now()
			a.o, a.err = l.ask(ctx, a.path)
		}
		served++
		close(a.done)
	}
}

// relist lists the folder anew for those who wait, where that saves calls.
func (l *lookup) relist(ctx context.Context, todo []*asked) sighted {
	if len(todo) < 2 && !l.traits.looksByListing {
		return nil
	}
	want := make(map[string]bool, len(todo))
	for _, a := range todo {
		want[l.key(a.path)] = true
	}
	// Where the listing fails, each is asked for alone, and meets the error there if it lasts.
	objs, _ := l.list(ctx, l.eye, dirOf(todo[0].path), want)
	return objs
}
