package jobs

import (
	"context"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offload/transfer"
)

func TestWindow(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, zone) }
	for _, c := range []struct {
		window string
		now    time.Time
		next   time.Time // zero where open
	}{
		{"", at(1, 3, 0), time.Time{}},
		{"22:00-06:00", at(1, 23, 0), time.Time{}},
		{"22:00-06:00", at(1, 5, 59), time.Time{}},
		{"22:00-06:00", at(1, 6, 0), at(1, 22, 0)},
		{"22:00-06:00", at(1, 21, 59), at(1, 22, 0)},
		{"22:00-06:00", at(1, 22, 0), time.Time{}},
		{"08:00-17:30", at(1, 7, 0), at(1, 8, 0)},
		{"08:00-17:30", at(1, 17, 30), at(2, 8, 0)},
		{"08:00-17:30", at(28, 18, 0), at(29, 8, 0)}, // over the change to summer time
		{"02:15-02:45", at(29, 1, 0), at(29, 2, 15)}, // a time that this day doesn't have
	} {
		w, err := parseWindow(c.window)
		if err != nil {
			t.Fatalf("%s: %v", c.window, err)
		}
		if got := w.next(c.now); !got.Equal(c.next) {
			t.Errorf("%s at %v opens %v, want %v", c.window, c.now, got, c.next)
		}
	}
	for _, bad := range []string{"22:00", "25:00-06:00", "22:00-22:00", "a-b", "-", "22:00-06:00-07:00", "22-6", "٢٢:٠٠-٠٦:٠٠", "22:60-23:00", strings.Repeat("1", 1000)} {
		if _, err := parseWindow(bad); err == nil {
			t.Errorf("window %q was taken", bad)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("22:00-06:00", int64(0))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		w, err := parseWindow(s)
		if err != nil {
			return
		}
		now := time.Unix(unix%(1<<36), 0).UTC()
		next := w.next(now)
		if next.IsZero() {
			return
		}
		if !next.After(now) || next.Sub(now) > 24*time.Hour || !w.next(next).IsZero() {
			t.Fatalf("%q at %v opens %v", s, now, next)
		}
	})
}

func TestOrderMistakes(t *testing.T) {
	good := Order{Source: "a:", Dest: "b:", MaxDelete: -1}.WithDefaults()
	if err := good.Validate(); err != nil {
		t.Fatalf("a good order is refused: %v", err)
	}
	for name, spoil := range map[string]func(*Order){
		"source":             func(o *Order) { o.Source = "" },
		"destination":        func(o *Order) { o.Dest = "" },
		"account":            func(o *Order) { o.Account = "../x" },
		"account long":       func(o *Order) { o.Account = strings.Repeat("a", 65) },
		"account unicode":    func(o *Order) { o.Account = "jürgen" },
		"delete-source":      func(o *Order) { o.DeleteSource = "yes" },
		"min-grade":          func(o *Order) { o.MinGrade = transfer.GradeD },
		"conflict":           func(o *Order) { o.Conflict = "merge" },
		"order":              func(o *Order) { o.Options.Order = "random" },
		"priority":           func(o *Order) { o.Priority = "urgent" },
		"hold":               func(o *Order) { o.Hold = -1 },
		"hold long":          func(o *Order) { o.DeleteSource, o.Hold = transfer.DeleteVerified, math.MaxInt64 },
		"hold no deletion":   func(o *Order) { o.Hold = time.Hour },
		"purge-trash":        func(o *Order) { o.PurgeTrash = true },
		"delete-packages":    func(o *Order) { o.DeletePackages = true },
		"max-delete":         func(o *Order) { o.MaxDelete = -2 },
		"max-transfer":       func(o *Order) { o.MaxTransfer = -1 },
		"min-size":           func(o *Order) { o.MinSize = -1 },
		"max-size":           func(o *Order) { o.MaxSize = -1 },
		"min-size over max":  func(o *Order) { o.MinSize, o.MaxSize = 2, 1 },
		"min-age":            func(o *Order) { o.MinAge = -1 },
		"max-age":            func(o *Order) { o.MaxAge = -1 },
		"min-age over max":   func(o *Order) { o.MinAge, o.MaxAge = 2, 1 },
		"transfers":          func(o *Order) { o.Transfers = 1000 },
		"transfers negative": func(o *Order) { o.Transfers = -1 },
		"label":              func(o *Order) { o.Label = strings.Repeat("ä", 201) },
		"label control":      func(o *Order) { o.Label = "a\x1b[2J" },
		"window":             func(o *Order) { o.Window = "25:00-06:00" },
		"bwlimit":            func(o *Order) { o.BwLimit = "fast" },
		"include":            func(o *Order) { o.Include = []string{"{{"} },
	} {
		o := good
		spoil(&o)
		var oe *OrderError
		if err := o.Validate(); !errors.As(err, &oe) {
			t.Errorf("%s: %v", name, err)
		} else if field, _, _ := strings.Cut(name, " "); oe.Field != field || oe.Hint == "" || strings.Contains(oe.Error(), "\n") {
			t.Errorf("%s: field %q, hint %q, %q", name, oe.Field, oe.Hint, oe.Error())
		}
	}
}

func TestOrderMistakesStoreNothing(t *testing.T) {
	w := newWorld(t, "")
	w.tree(1, 1)
	for name, spoil := range map[string]func(*Order){
		"unknown remote":    func(o *Order) { o.Source = "nowhere:x" },
		"unknown backend":   func(o *Order) { o.Dest = ":nothing:x" },
		"source not there":  func(o *Order) { o.Source += "/missing" },
		"same place":        func(o *Order) { o.Dest = o.Source },
		"inside the source": func(o *Order) { o.Dest = o.Source + "/dir00/sub" },
		"bad grade":         func(o *Order) { o.MinGrade = "E" },
	} {
		o := w.order(transfer.DeleteVerified)
		spoil(&o)
		var oe *OrderError
		if _, err := w.svc.Enqueue(t.Context(), o); !errors.As(err, &oe) {
			t.Errorf("%s: %v", name, err)
		} else if oe.Hint == "" {
			t.Errorf("%s: no hint with %v", name, oe)
		}
		if _, err := w.svc.Plan(t.Context(), o, nil); !errors.As(err, &oe) {
			t.Errorf("plan with %s: %v", name, err)
		}
	}
	if keys := w.store.Client().Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("stored: %v", keys)
	}
}

func TestSlotsKeepToAFixedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2, time.Now)
		a, _ := s.Acquire(t.Context())
		b, _ := s.Acquire(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a third slot of two: %v", err)
		}
		a(true)
		a(true) // twice is once
		c, err := s.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.busy != 2 || s.limit != 2 {
			t.Fatalf("busy %d of %d", s.busy, s.limit)
		}
		b(false)
		c(false)
		if s.busy != 0 {
			t.Fatalf("busy %d", s.busy)
		}
	})
}

// simulate moves files through slots against a remote that takes latency for each and serves at most width at once
// (more only wait), refusing what comes above refuse at once. It returns the limit in the end.
func simulate(t *testing.T, files, width, refuse int, latency time.Duration) (limit int) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(0, time.Now)
		server := make(chan struct{}, width)
		done := make(chan struct{}, files)
		for range files {
			release, err := s.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			busy := s.busy
			s.mu.Unlock()
			go func() {
				if busy > refuse {
					release(true)
				} else {
					server <- struct{}{}
					<-time.After(latency)
					<-server
					release(false)
				}
				done <- struct{}{}
			}()
		}
		for range files {
			<-done
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		limit = s.limit
	})
	return limit
}

func TestSlotsAdapt(t *testing.T) {
	if n := simulate(t, 4000, 1000, 1000, 200*time.Millisecond); n < slotsMax*3/4 {
		t.Errorf("a fast remote is used with only %d at once", n)
	}
	if n := simulate(t, 4000, 6, 1000, 50*time.Millisecond); n > slotsMax*2/3 {
		t.Errorf("a remote that serves 6 at once is met with %d", n)
	}
	if n := simulate(t, 4000, 1000, 12, 200*time.Millisecond); n > 18 {
		t.Errorf("a remote that refuses more than 12 is met with %d", n)
	}
}

func TestBatchesSurviveStorage(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	entries := []transfer.Entry{
		{Path: "Übung/a\n\x01.txt", Source: "U\u0308bung/a\n\x01.txt", Size: -1, ModTime: time.Unix(1, 2).UTC(), ID: "FILE::x", ETag: "1a"},
		{Path: "b", Size: math.MaxInt64, Verdict: transfer.SetAside, Code: "name_collision", Reason: "why"},
	}
	dirs := []transfer.DirInfo{{Dir: "Übung", Source: 3, Dest: -1}}
	blob, err := c.packBatch(entries, dirs)
	if err != nil {
		t.Fatal(err)
	}
	gotEntries, gotDirs, err := c.unpackBatch(blob)
	if err != nil || !reflect.DeepEqual(gotEntries, entries) || !reflect.DeepEqual(gotDirs, dirs) {
		t.Errorf("%+v %+v %v", gotEntries, gotDirs, err)
	}
	for i := range blob {
		if _, _, err := c.unpackBatch(blob[:i]); err == nil {
			t.Errorf("a batch cut to %d of %d bytes was taken", i, len(blob))
		}
	}
	if _, err := c.unpackOutcomes(blob, 5); err == nil {
		t.Error("a batch was taken for outcomes")
	}
}

func TestInvalidUTF8SurvivesStorage(t *testing.T) {
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	e := transfer.Entry{Path: "a\ufffd", Source: "a\xff"}
	blob, err := c.packBatch([]transfer.Entry{e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := c.unpackBatch(blob)
	if err != nil || got[0].SourcePath() != "a\xff" {
		t.Fatalf("the source's spelling became %q, %v", got[0].SourcePath(), err)
	}
}
