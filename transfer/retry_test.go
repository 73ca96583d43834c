package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/lib/pacer"
)

func TestClassify(t *testing.T) {
	text := func(s string) error { return fmt.Errorf("upload dir/401 unauthorized.txt: %w", errors.New(s)) }
	for _, c := range []struct {
		err  error
		want class
	}{
		{sourceErr("read", io.ErrUnexpectedEOF), classRetry},
		{destErr("put", text("unknown trouble")), classRetry},
		{sourceErr("open", text("RootURL not set")), classRetry},
		{destErr("put", errMismatch), classRetry},
		{destErr("put", fserrors.NoRetryError(errors.New("disallowed name"))), classFinal},
		{sourceErr("open", &os.PathError{Op: "open", Path: "401 unauthorized", Err: syscall.EACCES}), classFinal},
		{destErr("put", fs.ErrorFileNameTooLong), classFinal},
		{destErr("put", text("HTTP error 401 (401 Unauthorized) returned body")), classSignIn},
		{sourceErr("list", text("oauth2: \"invalid_grant\" \"token revoked\"")), classSignIn},
		{sourceErr("open", text("trust token expired, please reauth")), classSignIn},
		{sourceErr("open", text("403 Forbidden")), classForbidden},
		{destErr("put", fserrors.FatalError(text("path/insufficient_space/"))), classSpace},
		{destErr("put", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}), classSpace},
		{destErr("put", text("googleapi: Error 403: storageQuotaExceeded")), classSpace},
		{destErr("put", text("Quota exceeded for quota metric 'Queries' and limit 'Queries per minute'")), classRetry},
		{destErr("put", text("507 Insufficient Storage")), classSpace},
		{sourceErr("read", &os.PathError{Op: "read", Path: "x", Err: syscall.ENOSPC}), classRetry},
		{destErr("put", pacer.RetryAfterError(errors.New("403 Forbidden: slow"), time.Second)), classRetry},
		{destErr("put", text("too_many_write_operations")), classRetry},
		{fmt.Errorf("reserve: %w", ErrNoQuota), classQuota},
		{portErr("record", ErrFenced), classFatal},
		{portErr("record", errors.New("redis is gone")), classFatal},
	} {
		if got := classify(context.Background(), c.err); got != c.want {
			t.Errorf("classify(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := classify(ctx, io.EOF); got != classFatal {
		t.Errorf("a done context is class %d", got)
	}
}

func TestFinalCodeHasARemedy(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errMismatch, CodeCorrupt}, {errTorn, CodeSourceChanged}, {fs.ErrorCantUploadEmptyFiles, CodeEmptyRefused},
		{syscall.EFBIG, CodeTooLarge}, {syscall.ENAMETOOLONG, CodeNameRefused}, {fs.ErrorPermissionDenied, CodeRefused},
		{fserrors.NoRetryError(errors.New("name is disallowed - not uploading")), CodeNameRefused},
		{errors.New("who knows"), CodeGaveUp},
	} {
		got := finalCode(destErr("put", c.err))
		if got != c.want || Remedy(got) == "" {
			t.Errorf("finalCode(%v) = %q (%q), want %q", c.err, got, Remedy(got), c.want)
		}
	}
}

func TestWaitsGrowAndHonourTheRemote(t *testing.T) {
	p := policy{}.withDefaults()
	for n := 1; n <= 40; n++ {
		most := min(p.base<<min(n-1, 20), p.cap)
		if d := p.wait(n, io.EOF); d < most/2 || d > most {
			t.Errorf("wait after attempt %d is %v, want %v to %v", n, d, most/2, most)
		}
	}
	for _, err := range []error{
		pacer.RetryAfterError(io.EOF, 5*time.Minute), fserrors.NewErrorRetryAfter(5 * time.Minute),
	} {
		if d := p.wait(1, destErr("put", err)); d < 299*time.Second {
			t.Errorf("waited %v where 5 minutes were asked for", d)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrStop)
	if err := Sleep(ctx, time.Hour); !errors.Is(err, ErrStop) {
		t.Errorf("sleep ended with %v", err)
	}
}

func TestWorthListing(t *testing.T) {
	for _, c := range []struct {
		wanted, held int
		known        bool
		of           traits
		want         bool
	}{
		{1, 1, true, traits{}, false}, {2, 2, true, traits{}, true}, {2, 0, false, traits{}, false},
		{2, 600, true, traits{}, false}, {500, maxListed, true, traits{}, true}, {500, maxListed + 1, true, traits{}, false},
		{2, -1, true, traits{}, false}, {2, 0, false, traits{looksByListing: true}, true}, {1, 1, true, traits{looksByListing: true}, true},
	} {
		if got := worthListing(c.wanted, c.held, c.known, c.of); got != c.want {
			t.Errorf("worthListing(%d, %d, %v, %+v) = %v", c.wanted, c.held, c.known, c.of, got)
		}
	}
}
