package transfer

import (
	"context"
	"testing"
)

// A slot is given back once, by whoever comes first: the destination that waits for its turn, or the end of the file.
func TestIdleGivesTheSlotBackOnce(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(ctx context.Context, w *work)
	}{
		{"the destination waits", func(ctx context.Context, _ *work) { Idle(ctx) }},
		{"it waits twice, and the file ends", func(ctx context.Context, w *work) { Idle(ctx); Idle(ctx); w.free(false) }},
		{"the file ends first", func(ctx context.Context, w *work) { w.free(false); Idle(ctx) }},
		{"it waits in a context of its own", func(ctx context.Context, _ *work) {
			inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
			defer cancel()
			Idle(inner)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := 0
			w := &work{release: func(bool) { given++ }}
			tt.do(w.idles(t.Context()), w)
			if given != 1 {
				t.Errorf("the slot was given back %d times", given)
			}
		})
	}
	Idle(t.Context()) // of whoever holds no slot: nothing happens
	w := &work{}
	Idle(w.idles(t.Context()))
}
