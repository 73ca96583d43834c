package transfer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
	"github.com/rclone/rclone/fs/fserrors"
)

var errScanFault = errors.New("injected fault")

func scanTrees(fold bool) (src, dst *scanFake) {
	src = newScanFake("src", false, "a", "b", "d/c", "d/e/f", "D/c", "D/g", "h/i", "j/k/l", "j/k/m")
	dst = newScanFake("dst", fold, "a", "d/c", "d/e/x", "j/k/l")
	return src, dst
}

// Safety rule 10: whichever listing fails, the scan isn't complete, says so, and hands out nothing twice; what it hands
// out is either as in a scan without failures or left for the batch to look at.
func TestRuleCompleteOnlyWhenWhole(t *testing.T) {
	src, dst := scanTrees(true)
	whole, err := scanAll(t, NewPair(src, dst, Options{}), ScanOptions{Ordered: true})
	if err != nil || !whole.res.Complete {
		t.Fatalf("without faults: %+v, %v", whole.res, err)
	}
	for _, kind := range []error{fserrors.NoRetryError(errScanFault), fs.ErrorDirNotFound} {
		for _, side := range []string{SideSource, SideDest} {
			calls := len(src.calls)
			if side == SideDest {
				calls = len(dst.calls)
			}
			for n := 1; n <= calls; n++ {
				scanWithFault(t, whole.lines(), kind, side, n)
			}
		}
	}
}

func scanWithFault(t *testing.T, whole []string, kind error, side string, n int) {
	src, dst := scanTrees(true)
	used := false
	fail := func(call int, _ string) error {
		if call == n {
			used = true
			return kind
		}
		return nil
	}
	if side == SideSource {
		src.fail = fail
	} else {
		dst.fail = fail
	}
	got, err := scanAll(t, NewPair(src, dst, Options{}), ScanOptions{Ordered: true})
	if !used {
		t.Fatalf("%s call %d: the fault wasn't met", side, n)
	}
	if side == SideDest && errors.Is(kind, fs.ErrorDirNotFound) {
		if err != nil || !got.res.Complete {
			t.Errorf("a missing destination folder: %+v, %v; want a complete scan", got.res, err)
		}
		return
	}
	if side == SideSource && n == 1 {
		if !errors.Is(err, kind) {
			t.Errorf("source root: got error %v, want %v", err, kind)
		}
		return
	}
	if err != nil || got.res.Complete || got.res.ErrorCount == 0 || !errors.Is(got.res.Errors[0], kind) {
		t.Errorf("%s call %d: got %+v, %v; want an incomplete scan", side, n, got.res, err)
	}
	if got.res.Errors[0].Side != side {
		t.Errorf("the error is said to be the %s's", got.res.Errors[0].Side)
	}
	for _, line := range got.lines() {
		path, ok := strings.CutSuffix(line, " new")
		if ok && !slices.ContainsFunc(whole, func(l string) bool { return strings.HasPrefix(l, strings.Fields(path)[0]+" ") }) {
			t.Errorf("%s call %d: %q was not found without the fault", side, n, line)
		}
		if ok && slices.ContainsFunc(whole, func(l string) bool { return strings.HasPrefix(l, path+" there") }) {
			t.Errorf("%s call %d: %q is said to be new, but is at the destination", side, n, line)
		}
	}
}

// Passing failures are tried again, three times in all, waiting as long as the remote asks.
func TestScanRetries(t *testing.T) {
	tests := []struct {
		name     string
		fail     func(call int) error
		complete bool
		calls    int
		atLeast  time.Duration
	}{
		{"once", failUntil(2, fserrors.RetryError(errScanFault)), true, 2, 0},
		{"twice", failUntil(3, fserrors.RetryError(errScanFault)), true, 3, 0},
		{"always", failUntil(99, fserrors.RetryError(errScanFault)), false, 3, 0},
		{"final", failUntil(99, fserrors.NoRetryError(errScanFault)), false, 1, 0},
		{"asked to wait", func(call int) error {
			if call == 1 {
				return fserrors.NewErrorRetryAfter(2 * time.Minute)
			}
			return nil
		}, true, 2, 2 * time.Minute},
		{"asked to wait for too long", func(call int) error { return fserrors.NewErrorRetryAfter(time.Hour) }, false, 1, 0},
		{"panics", func(int) error { panic("backend out of order") }, false, 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := newScanFake("src", false, "d/x")
				calls := 0
				src.fail = func(_ int, what string) error {
					if what != "list d" {
						return nil
					}
					calls++
					return tt.fail(calls)
				}
				start := time.Now()
				got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
				if err != nil || got.res.Complete != tt.complete || calls != tt.calls {
					t.Errorf("got %+v, %v after %d calls", got.res, err, calls)
				}
				if wait := time.Since(start); wait < tt.atLeast {
					t.Errorf("waited %v, want at least %v", wait, tt.atLeast)
				}
			})
		})
	}
}

func failUntil(n int, err error) func(int) error {
	return func(call int) error {
		if call < n {
			return err
		}
		return nil
	}
}

// A wait for another try ends with the context.
func TestScanRetryCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		src := newScanFake("src", false, "d/x")
		src.fail = func(_ int, what string) error {
			if what == "list d" {
				time.AfterFunc(time.Second, cancel)
				return fserrors.NewErrorRetryAfter(5 * time.Minute)
			}
			return nil
		}
		start := time.Now()
		_, err := NewPair(src, newScanFake("dst", false), Options{}).Scan(ctx, ScanOptions{}, func(Chunk) error { return nil })
		if !errors.Is(err, context.Canceled) || time.Since(start) > 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A refused sign-in ends the scan: every other folder would meet it too.
func TestScanSignIn(t *testing.T) {
	for _, fault := range []error{errors.New("HTTP error 401: invalid_grant"), fserrors.FatalError(errScanFault)} {
		src := newScanFake("src", false, "a/x", "b/x", "c/x")
		src.fail = func(_ int, what string) error {
			if what == "list a" {
				return fault
			}
			return nil
		}
		got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{Ordered: true})
		if !errors.Is(err, fault) || got.res.Complete || len(src.calls) != 2 {
			t.Errorf("got %v after %q", err, src.calls)
		}
		if side := SignInRefused(t.Context(), err); strings.Contains(fault.Error(), "401") && side != SideSource {
			t.Errorf("the sign-in refused is said to be of %q", side)
		}
	}
}

// The local backend reports a folder that it may not read as an empty one, and only counts an error.
func TestScanHiddenFailure(t *testing.T) {
	src := newScanFake("src", false, "a/x", "b/y")
	hide := &scanHiding{scanFake: src, dir: "a"}
	got, err := scanAll(t, NewPair(hide, newScanFake("dst", false), Options{}), ScanOptions{Ordered: true})
	if err != nil || got.res.Complete || got.res.ErrorCount != 1 || !errors.Is(got.res.Errors[0], errScanFault) {
		t.Errorf("got %+v, %v; want an incomplete scan", got.res, err)
	}
	scanDiff(t, "entries", got.lines(), []string{"b/y new"})
}

// scanHiding lists one folder as empty and counts an error in rclone's statistics.
type scanHiding struct {
	*scanFake
	dir string
}

func (h *scanHiding) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	if dir == h.dir {
		_ = accounting.Stats(ctx).Error(errScanFault)
		return nil, nil
	}
	return h.scanFake.List(ctx, dir)
}

// Only the first hundred errors are kept.
func TestScanManyErrors(t *testing.T) {
	src := newScanFake("src", false, "z")
	for i := range maxScanErrors + 50 {
		src.add(strings.Repeat("d", i+1) + "/x")
	}
	src.fail = func(_ int, what string) error {
		if what == "list " {
			return nil
		}
		return fserrors.NoRetryError(errScanFault)
	}
	got, err := scanAll(t, NewPair(src, newScanFake("dst", false), Options{}), ScanOptions{})
	if err != nil || len(got.res.Errors) != maxScanErrors || got.res.ErrorCount != maxScanErrors+50 {
		t.Errorf("kept %d of %d errors, %v", len(got.res.Errors), got.res.ErrorCount, err)
	}
	if text := got.res.Errors[0].Error(); !strings.Contains(text, "source") || !strings.Contains(text, `"d`) {
		t.Errorf("the error doesn't name side and folder: %s", text)
	}
}
