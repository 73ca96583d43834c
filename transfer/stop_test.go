package transfer

import (
	"context"
	"testing"
	"time"
)

func TestCanEnd(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		size, n    int64
		took, left time.Duration
		want       bool
	}{
		{100 * mb, 50 * mb, 10 * time.Second, 8 * time.Second, false}, // ten seconds more
		{100 * mb, 70 * mb, 10 * time.Second, 8 * time.Second, true},  // four and a half
		{100 * mb, 58 * mb, 10 * time.Second, 8 * time.Second, false}, // it would be read, but not proved
		{100 * mb, 100 * mb, time.Hour, 0, true},                      // it is being proved
		{100 * mb, 0, 100 * time.Millisecond, 8 * time.Second, true},  // nobody knows yet
		{100 * mb, mb, 400 * time.Millisecond, 8 * time.Second, true}, // nor here
		{mb, 0, time.Second, 8 * time.Second, false},                  // it waits for its bandwidth
		{-1, 50 * mb, time.Hour, time.Second, true},                   // nobody knows how long it is
		{0, 0, time.Second, time.Second, true},
	} {
		if got := canEnd(c.size, c.n, c.took, c.left); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// A file that the scan has set aside, since another has its name, doesn't hide that other from a stop.
func TestFlightsOfOnePathAreApart(t *testing.T) {
	f := &flights{Watcher: blindWatcher{}, files: map[*flight]bool{}}
	ctx, cut := context.WithCancelCause(t.Context())
	leave := f.board("a", cut)
	f.board("a", func(error) {})()
	if f.cut(time.Now(), 0); context.Cause(ctx) != errCut {
		t.Error("the file goes on")
	}
	leave()
	if f.stalled(time.Now().Add(time.Hour)) != 0 {
		t.Error("a file is left")
	}
}

// A doubt that comes after the answer isn't told.
func TestADoubtComesTooLate(t *testing.T) {
	f, _ := oneFile(t, "offload-doubt", "content")
	p := NewPair(f, f, Options{})
	asked := time.Now()
	p.heard(t.Context(), SideDest, nil)
	if p.doubted(SideDest, asked); len(p.Outages()) != 0 {
		t.Errorf("told of %+v", p.Outages())
	}
	if p.doubted(SideDest, time.Now().Add(time.Second)); len(p.Outages()) != 1 {
		t.Error("not told")
	}
}
