package transfer

import "context"

// CalledOff is what the outcome of a proved file becomes when its deletion at source is called off.
func (o Outcome) CalledOff(path, source string) Outcome {
	o.Source, o.Code = Kept, CodeHoldCalledOff
	o.Reason = sentence(CodeHoldCalledOff, source, path, "its deletion was called off")
	return o
}

// KeepProved settles the entries whose deletion was asked for by a run that ended then, after the deletions were called
// off: those that are gone are recorded as deleted, the others as kept. It deletes nothing.
func (p *Pair) KeepProved(ctx context.Context, b Batch, env Env) (Report, error) {
	doubtful := func(_ Entry, o Outcome) bool { return o.Source == Deleting }
	return newRun(p, b, env.withDefaults(), doubtful).each(ctx, func(w *work, ctx context.Context) error {
		return w.tries(ctx, func(ctx context.Context, _ int) error { return w.settle(ctx) })
	})
}

// settle records what became of a file whose deletion was asked for before the deletions were called off.
func (w *work) settle(ctx context.Context) error {
	src, _, err := w.r.src.find(ctx, w.e.SourcePath(), true)
	if err != nil {
		return sourceErr("look at source file", err)
	}
	if src == nil {
		return w.deleted(ctx, w.done)
	}
	return w.r.record(ctx, w.i, w.done.CalledOff(w.e.Path, remoteName(w.r.p.Source)))
}
