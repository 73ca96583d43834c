package jobs

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"offload/transfer"
)

// Others are let in beside a trial that takes long, though the store didn't answer at first. A file that begins only after
// that, since it had to wait for a slot, isn't said to be alone.
func TestWhatIsSaidOfATrialThatTakesLong(t *testing.T) {
	for _, c := range []struct {
		name  string
		late  bool // it begins after the others were let in
		fails int  // answers that the store owes
		want  []string
	}{
		{"begun", false, 0, []string{aloneTrial, inTrial}},
		{"begun, without the store", false, 3, []string{aloneTrial, inTrial}},
		{"not begun", true, 0, []string{inTrial}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &worker{log: slog.New(slog.DiscardHandler)}
				var said []string
				fails := c.fails
				tr := &trial{how: aloneTrial, note: func(_ context.Context, how string) error {
					if how == inTrial && fails > 0 {
						fails--
						return errors.New("no answer")
					}
					said = append(said, how)
					return nil
				}}
				if alone, err := w.gate.alone(t.Context(), t.Context()); !alone || err != nil {
					t.Fatalf("alone: %v, %v", alone, err)
				}
				if !c.late {
					if err := tr.begin(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				w.letIn(t.Context(), tr)
				if took := time.Since(began); took < aloneTime || took > aloneTime+time.Duration(c.fails)*beat || !w.gate.pass() {
					t.Errorf("the gate wasn't opened, or after %v", took)
				}
				if c.late {
					if err := tr.begin(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(said, c.want) {
					t.Errorf("said %v, want %v", said, c.want)
				}
			})
		})
	}
}

// A unit that waits for another one's trial, which may last for hours, is handed back as soon as nothing new may begin.
func TestNothingWaitsForATrialAfterADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &worker{log: slog.New(slog.DiscardHandler)}
		if alone, err := w.gate.alone(t.Context(), t.Context()); !alone || err != nil {
			t.Fatalf("alone: %v, %v", alone, err)
		}
		for _, wait := range []func(*unit) error{
			func(u *unit) error { return w.do(t.Context(), u) },
			func(u *unit) error {
				_, _, err := w.try(t.Context(), u, nil, 0, aloneWait, transfer.Batch{}, transfer.Env{})
				return err
			},
		} {
			u := w.newUnit(hold{unit: unitScan}, time.Now())
			time.AfterFunc(time.Second, u.end)
			began := time.Now()
			if err := wait(u); !errors.Is(err, transfer.ErrStop) || time.Since(began) != time.Second {
				t.Errorf("waited for %v: %v", time.Since(began), err)
			}
		}
	})
}
