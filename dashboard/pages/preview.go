package pages

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"offload/jobs"
	"offload/transfer"
)

const (
	// previewTime is how long making a preview may take.
	previewTime = time.Hour
	// previewLife is how long a preview is kept when it is done. A plan that is older says too little.
	previewLife = 30 * time.Minute
	// previewLeft is how long a preview is made that nobody asks for: its page does so every two seconds while it is open.
	previewLeft = 30 * time.Second
	// previewsMost bounds the previews that are kept, previewsAtOnce those that are made at a time, and previewsOfOne those of
	// one person.
	previewsMost   = 64
	previewsAtOnce = 4
	previewsOfOne  = 3
	// warningsMost bounds what a preview keeps of a plan's warnings.
	warningsMost = 50
)

// preview is what an order would do: a plan that is being made, or was.
type preview struct {
	ID    string
	By    string // who asked for it; nobody else sees it
	Order jobs.Order

	// What follows changes until Done; previews.get copies it.
	Begun time.Time
	Asked time.Time // when its page was last loaded
	Ended time.Time
	Found jobs.PlanCount // so far
	Plan  jobs.Plan
	Same  []jobs.Job // unfinished jobs that go the same way
	Err   error
	Done  bool

	end  context.CancelFunc
	left *time.Timer // ends it when nobody asks for it any more
}

// previews keeps the previews of this process, in memory: losing one costs a person another look.
type previews struct {
	plan func(ctx context.Context, o jobs.Order, progress func(jobs.Plan)) (jobs.Plan, error)
	same func(ctx context.Context, o jobs.Order) ([]jobs.Job, error)
	bg   *background
	log  *slog.Logger

	mu  sync.Mutex
	all map[string]*preview
}

func newPreviews(cfg Config, bg *background) *previews {
	v := &previews{bg: bg, log: cfg.Log, all: map[string]*preview{}}
	if cfg.Jobs != nil {
		v.plan, v.same = cfg.Jobs.Plan, cfg.Jobs.Same
	}
	return v
}

var (
	// errPreviews refuses a preview where too many are being made.
	errPreviews = errors.New("too many previews are being made at this moment")
	// errLeft and errGaveWay are why a preview was ended before it was done.
	errLeft    = errors.New("its page wasn't open any more, so this preview was ended")
	errGaveWay = errors.New("you began others, so this preview, your oldest, was ended")
)

// start begins to make a preview and returns its ID. The oldest of a person who has too many gives way to it.
func (v *previews) start(ctx context.Context, by string, o jobs.Order) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.prune()
	if own := v.running(by); len(own) >= previewsOfOne {
		v.breakOff(own[0], errGaveWay)
	}
	running := 0
	for _, p := range v.all {
		if !p.Done {
			running++
		}
	}
	if running >= previewsAtOnce || len(v.all) >= previewsMost {
		return "", errPreviews
	}
	now := time.Now()
	p := &preview{ID: rand.Text(), By: by, Order: o, Begun: now, Asked: now}
	p.left = time.AfterFunc(previewLeft, func() { v.leave(p) })
	p.end = v.bg.run(ctx, previewTime, func(ctx context.Context) { v.make(ctx, p) })
	if p.end == nil {
		p.left.Stop()
		return "", errPreviews
	}
	v.all[p.ID] = p
	return p.ID, nil
}

// running returns a person's previews that are being made, the oldest first. mu is held.
func (v *previews) running(by string) []*preview {
	var own []*preview
	for _, p := range v.all {
		if !p.Done && p.By == by {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b *preview) int { return a.Begun.Compare(b.Begun) })
	return own
}

// of returns copies of a person's previews that are being made, the oldest first. That doesn't count as asking for them.
func (v *previews) of(by string) []preview {
	v.mu.Lock()
	defer v.mu.Unlock()
	var own []preview
	for _, p := range v.running(by) {
		own = append(own, *p)
	}
	return own
}

// leave ends a preview that nobody has asked for in a while.
func (v *previews) leave(p *preview) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(p.Asked) >= previewLeft { // else it was asked for at the last moment
		v.breakOff(p, errLeft)
	}
}

// breakOff ends a preview that is being made. It is kept with the reason: its order needn't be written again. It counts as
// ended at once, also where a backend takes its time. mu is held.
func (v *previews) breakOff(p *preview, why error) {
	if p.Done {
		return
	}
	p.end()
	p.finish(jobs.Plan{}, nil, why)
}

// finish notes what became of a preview. The mutex of all previews is held.
func (p *preview) finish(plan jobs.Plan, same []jobs.Job, err error) {
	p.left.Stop()
	p.Plan, p.Same, p.Err, p.Done, p.Ended = plan, same, err, true, time.Now()
}

// prune forgets previews that are too old, and the oldest that are done where there are too many. mu is held.
func (v *previews) prune() {
	var oldest *preview
	for id, p := range v.all {
		switch {
		case !p.Done:
		case time.Since(p.Ended) > previewLife:
			delete(v.all, id)
		case oldest == nil || p.Ended.Before(oldest.Ended):
			oldest = p
		}
	}
	if len(v.all) >= previewsMost && oldest != nil {
		delete(v.all, oldest.ID)
	}
}

func (v *previews) make(ctx context.Context, p *preview) {
	plan, err := v.plan(ctx, p.Order, func(so jobs.Plan) {
		v.mu.Lock()
		defer v.mu.Unlock()
		p.Found = so.Files
	})
	var same []jobs.Job
	if err == nil {
		var asked error
		if same, asked = v.same(ctx, p.Order); asked != nil {
			v.log.Warn("look for jobs of the same way", "error", asked)
		}
	}
	if len(plan.Warnings) > warningsMost {
		plan.Warnings = append(plan.Warnings[:warningsMost:warningsMost], "and more")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !p.Done {
		p.finish(plan, same, err)
	}
}

// get returns a person's preview; false where there is none, or it is another's. One that is being made goes on for that.
func (v *previews) get(id, by string) (preview, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.prune()
	p := v.all[id]
	if p == nil || p.By != by {
		return preview{}, false
	}
	if !p.Done {
		p.Asked = time.Now()
		p.left.Reset(previewLeft)
	}
	return *p, true
}

// drop ends a person's preview and forgets it.
func (v *previews) drop(id, by string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.all[id]; p != nil && p.By == by {
		p.end()
		p.left.Stop()
		delete(v.all, id)
	}
}

// explainPreview says why a preview couldn't be made: with its field where it is a mistake in the order.
func explainPreview(ctx context.Context, err error) *jobs.OrderError {
	var wrong *jobs.OrderError
	if errors.As(err, &wrong) {
		return &jobs.OrderError{Field: wrong.Field, Value: wrong.Value, Hint: wrong.Hint, Err: errors.New(transfer.WithoutQueries(wrong.Err.Error()))}
	}
	hint := "Try again in a moment; the log of the dashboard says more."
	switch {
	case errors.Is(err, errLeft):
		hint = "Make it again, and leave its page open until it is done."
	case errors.Is(err, errGaveWay):
		hint = fmt.Sprintf("Make it again; at most %d of yours are made at a time.", previewsOfOne)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		hint = "Choose a smaller folder, or use the command line: offload plan."
	}
	if transfer.SignInRefused(ctx, err) != "" {
		hint = "Sign in to it again on the page Remotes."
	}
	return &jobs.OrderError{Field: "preview", Hint: hint, Err: errors.New(transfer.WithoutQueries(err.Error()))}
}
