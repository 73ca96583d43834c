package jobs

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// Deeds come back newest first, page by page, each once, with the time of the store's clock.
func TestAuditLog(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx, began := t.Context(), time.Now()
		if got, next, err := w.svc.AuditLog(ctx, "", 0); err != nil || got == nil || len(got) != 0 || next != "" {
			t.Fatalf("nothing was done: %v, %q, %v", got, next, err)
		}
		for i := range 25 {
			if err := w.svc.Audit(ctx, Deed{Who: "anna", Action: "job paused", Subject: fmt.Sprint("job", i), Detail: "by hand"}); err != nil {
				t.Fatal(err)
			}
		}
		n, cursor, pages := 25, "", 0
		for {
			page, next, err := w.svc.AuditLog(ctx, cursor, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				n--
				want := Deed{ID: d.ID, At: d.At, Who: "anna", Action: "job paused", Subject: fmt.Sprint("job", n), Detail: "by hand"}
				if d != want || d.ID == "" || d.At.Sub(began).Abs() > time.Minute {
					t.Errorf("deed %+v, want %+v", d, want)
				}
			}
			pages++
			if cursor = next; next == "" {
				break
			}
			// What is done meanwhile doesn't move the pages.
			if err := w.svc.Audit(ctx, Deed{Who: "ben"}); err != nil {
				t.Fatal(err)
			}
		}
		if n != 0 || pages != 3 {
			t.Errorf("%d deeds are missing after %d pages", n, pages)
		}
		for _, bad := range []string{"x", "-1", "1-", "99999999999999999999", "0", "01", " 1", "1\n", "+inf", "(1", "1.5"} {
			var oe *OrderError
			if _, _, err := w.svc.AuditLog(ctx, bad, 10); !errors.As(err, &oe) || oe.Field != "cursor" {
				t.Errorf("cursor %q: %v", bad, err)
			}
		}
	})
}

// The record is bounded, in number and in size.
func TestAuditLogIsBounded(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		d := Deed{Who: "a\nb\x00" + strings.Repeat("ü", 300), Action: "x", Subject: "\xff", Detail: strings.Repeat("d", 1<<20)}
		if err := w.svc.Audit(ctx, d); err != nil {
			t.Fatal(err)
		}
		got, _, err := w.svc.AuditLog(ctx, "", 5000)
		if err != nil || len(got) != 1 || len(got[0].Who) > deedWord || !utf8.ValidString(got[0].Who) || !strings.HasPrefix(got[0].Who, "a b") ||
			len(got[0].Detail) != deedDetail || got[0].Subject != "\ufffd" {
			t.Errorf("%.300v, %v", got, err)
		}
		p := w.store.Client().Pipeline()
		for i := range deedsKept { // as if so many were done before
			p.ZAdd(ctx, keyDeeds, redis.Z{Score: float64(i - deedsKept), Member: fmt.Sprintf("%d 1 {}", i-deedsKept)})
		}
		if _, err := p.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := w.svc.Audit(ctx, Deed{Who: "ben"}); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.store.Client().ZCard(ctx, keyDeeds).Val(); n != deedsKept {
			t.Errorf("%d deeds are kept, want %d", n, deedsKept)
		}
		if got, _, err := w.svc.AuditLog(ctx, "", 4); err != nil || len(got) != 4 || got[2].Who != "ben" || !strings.HasPrefix(got[3].Who, "a b") {
			t.Errorf("the newest: %.300v, %v", got, err)
		}
	})
}

// The history of a job names the person who did something, and this process where nobody is known.
func TestHistoryNamesThePerson(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world) {
		ctx := By(t.Context(), "Anna | Müller\n")
		j, err := w.svc.Enqueue(ctx, w.order(transfer.DeleteNever))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Pause(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Resume(By(ctx, "ben"), j.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := w.svc.Cancel(By(ctx, ""), j.ID); err != nil {
			t.Fatal(err)
		}
		h, err := w.svc.History(t.Context(), j.ID)
		var who []string
		for _, e := range h {
			who = append(who, e.By)
		}
		if want := fmt.Sprint([]string{"Anna | Müller", "Anna | Müller", "ben", w.svc.self}); err != nil || fmt.Sprint(who) != want {
			t.Errorf("by %v, %v; want %s", who, err, want)
		}
	})
}
