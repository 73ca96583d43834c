package jobs

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"offload/transfer"
)

// What begins while the store is silent may have to be done once more by another worker: nothing does, until the store is heard
// of again, the job is stopped or the unit is lost.
func TestNothingBeginsWhileTheStoreIsSilent(t *testing.T) {
	lost := errors.New("lost")
	for _, tt := range []struct {
		name  string
		after func(u *unit, cancel context.CancelCauseFunc) // five seconds of silence
		want  error
	}{
		{"heard again", func(u *unit, _ context.CancelCauseFunc) { u.renewed(time.Now()) }, nil},
		{"stopped", func(u *unit, _ context.CancelCauseFunc) { u.stop() }, transfer.ErrStop},
		{"lost", func(_ *unit, cancel context.CancelCauseFunc) { cancel(lost) }, lost},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				began := time.Now()
				u := (&worker{}).newUnit(hold{}, began)
				if err := u.check(ctx); err != nil || time.Since(began) != 0 {
					t.Fatalf("while the store is heard of: %v after %s", err, time.Since(began))
				}
				time.AfterFunc(time.Second, func() { // within a few beats nothing waits
					if err := u.check(ctx); err != nil {
						t.Errorf("after a second: %v", err)
					}
				})
				time.AfterFunc(5*time.Second, func() { tt.after(u, cancel) })
				<-time.After(quietAfter)
				err := u.check(ctx)
				if took := time.Since(began); !errors.Is(err, tt.want) || took < 5*time.Second || took > 6*time.Second {
					t.Errorf("%v after %s, want %v after five seconds", err, took, tt.want)
				}
			})
		})
	}
}
