package jobs

import (
	"testing"

	"offload/transfer"
)

// waitFor puts a job that nobody works on into waiting, as a worker does that finds a reason for it.
func (w *world) waitFor(id string, reason Reason) {
	w.t.Helper()
	if err := w.svc.client.HSet(w.t.Context(), keysOf(id).job(), "state", string(Waiting), "reason", string(reason)).Err(); err != nil {
		w.t.Fatal(err)
	}
}

func TestSignedInWakesTheJobsOfThatRemote(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.put("a.bin", 10)
		rename := func(id, source, dest string) {
			w.t.Helper()
			// Only the names matter here: the remotes of the order can't be opened in this test.
			raw := `{"source":"` + source + `","destination":"` + dest + `","account":"default","delete_source":"never"}`
			if err := w.svc.client.HSet(t.Context(), keysOf(id).job(), "order", raw).Err(); err != nil {
				t.Fatal(err)
			}
		}
		tests := []struct {
			source, dest string
			reason       Reason
			woken        bool
		}{
			{"icloud:Documents", "dropbox:", ReasonSignIn, true},
			{"nas:", "icloud,service=drive:x", ReasonSignIn, true},
			{"icloud2:", "dropbox:icloud:", ReasonSignIn, false},
			{"/home/icloud:x", "dropbox:", ReasonSignIn, false},
			{":icloud:", "dropbox:", ReasonSignIn, false},
			{"icloud:", "dropbox:", ReasonQuota, false},
			{"icloud:", "dropbox:", ReasonSpace, false},
		}
		ids := make([]string, len(tests))
		for i, tt := range tests {
			ids[i] = w.enqueue(w.order(transfer.DeleteNever)).ID
			w.waitFor(ids[i], tt.reason)
			rename(ids[i], tt.source, tt.dest)
		}
		open, err := w.svc.Unfinished(t.Context(), "icloud")
		if err != nil || len(open) != 4 {
			t.Errorf("%d unfinished jobs use icloud, %v; want 4", len(open), err)
		}
		n, err := w.svc.SignedIn(t.Context(), "icloud")
		if err != nil || n != 2 {
			t.Errorf("woke %d, %v; want 2", n, err)
		}
		for i, tt := range tests {
			j, err := w.svc.Get(t.Context(), ids[i])
			if err != nil {
				t.Fatal(err)
			}
			if got := j.State != Waiting; got != tt.woken {
				t.Errorf("%s -> %s waiting for %s is %s", tt.source, tt.dest, tt.reason, j.State)
			}
		}
		if n, err := w.svc.SignedIn(t.Context(), ""); n != 0 || err != nil {
			t.Errorf("a sign-in to nothing woke %d, %v", n, err)
		}
	})
}

func TestSameFindsUnfinishedJobsOfTheSameWay(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		w.put("a.bin", 10)
		order := w.order(transfer.DeleteNever)
		if same, err := w.svc.Same(t.Context(), order); err != nil || len(same) != 0 {
			t.Errorf("before any job: %d, %v", len(same), err)
		}
		open, done := w.enqueue(order), w.enqueue(order)
		if _, err := w.svc.Cancel(t.Context(), done.ID); err != nil {
			t.Fatal(err)
		}
		other := order
		other.Account = "another"
		w.enqueue(other)
		same, err := w.svc.Same(t.Context(), order)
		if err != nil || len(same) != 1 || same[0].ID != open.ID {
			t.Errorf("found %d jobs, %v; want the one that is open", len(same), err)
		}
	})
}
