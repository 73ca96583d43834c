package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/rclone/rclone/backend/alias"
	"github.com/rclone/rclone/fs"

	"offload/transfer"
	"offload/transfer/xtest"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/in", "b", "ab"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "link")); err != nil {
		t.Skipf("this system makes no symbolic links: %v", err)
	}
	at := func(p string) string { return filepath.Join(dir, p) }
	for _, c := range []struct {
		name, src, dst, field string
	}{
		{"apart", at("a"), at("b"), ""},
		{"a prefix is no folder", at("a"), at("ab"), ""},
		{"destination to be made", at("a"), at("new/deep"), ""},
		{"same", at("a"), at("a"), "destination"},
		{"destination in source", at("a"), at("a/in"), "destination"},
		{"source in destination", at("a/in"), at("a"), "destination"},
		{"by a link", at("a"), at("link"), "destination"},
		{"by a link, to be made", at("a"), at("link/new"), "destination"},
		{"by another name", at("a"), ":local:" + at("a/in"), "destination"},
		{"by an alias", at("a"), ":alias,remote=" + at("a") + ":in", "destination"},
		{"no source", at("missing"), at("b"), "source"},
		{"memory apart", ":memory:check-one", ":memory:check-two", "source"},
		{"memory in itself", ":memory:check-one", ":memory:check-one/in", "destination"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			p, err := transfer.Open(ctx, c.src, c.dst, verified)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close(ctx)
			wantField(t, p.Check(ctx), c.field)
		})
	}
}

func wantField(t *testing.T, err error, field string) {
	t.Helper()
	var ce *transfer.CheckError
	switch {
	case field == "" && err != nil:
		t.Errorf("refused: %v", err)
	case field != "" && (!errors.As(err, &ce) || ce.Field != field || ce.Hint == ""):
		t.Errorf("error %#v, want one about %s with a hint", err, field)
	}
}

// namedFs has another name, as a remote of a configuration has.
type namedFs struct {
	*xtest.FaultFs
	name string
}

func (f namedFs) Name() string { return f.name }
func (f namedFs) Root() string { return "" }

func TestCheckRefusesUploadsThatAreNotAwaited(t *testing.T) {
	ctx := context.Background()
	for mode, field := range map[string]string{"async": "destination", "sync": "", "": ""} {
		t.Setenv("RCLONE_CONFIG_OFFLOADCHECK_TYPE", "memory")
		t.Setenv("RCLONE_CONFIG_OFFLOADCHECK_BATCH_MODE", mode)
		dst := namedFs{xtest.Wrap(ctx, newRemote(t, "memory"), "dst", xtest.NewScript()), "offloadcheck"}
		p := transfer.NewPair(newRemote(t, "local"), dst, transfer.Options{})
		wantField(t, p.Check(ctx), field)
	}
}

func TestCheckNamesTheSideThatDoesNotAnswer(t *testing.T) {
	ctx := context.Background()
	for _, side := range []string{"source", "destination"} {
		src, dst := xtest.NewScript(), xtest.NewScript()
		broken := map[string]*xtest.Script{"source": src, "destination": dst}
		*broken[side] = *xtest.NewScript(xtest.Fault{N: 1, On: true, Err: fs.ErrorPermissionDenied})
		p := transfer.NewPair(xtest.Wrap(ctx, newRemote(t, "local"), "src", src), xtest.Wrap(ctx, newRemote(t, "local"), "dst", dst), verified)
		wantField(t, p.Check(ctx), side)
	}
}

// A trash that can't be emptied is said before anything is moved, not after.
func TestPurgingIsRefusedWhereThereIsNoTrash(t *testing.T) {
	p, err := transfer.Open(t.Context(), t.TempDir(), t.TempDir(),
		transfer.Options{DeleteSource: transfer.DeleteVerified, PurgeTrash: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	wantField(t, p.Check(t.Context()), "purge-trash")
}

// One busy moment of a remote is no reason to refuse a job.
func TestCheckAsksABusyRemoteAgain(t *testing.T) {
	ctx := context.Background()
	for _, side := range []string{"source", "destination"} {
		src, dst := xtest.NewScript(), xtest.NewScript()
		busy := map[string]*xtest.Script{"source": src, "destination": dst}[side]
		*busy = *xtest.NewScript(xtest.Fault{N: 1, Err: errors.New("503 Service Unavailable")})
		p := transfer.NewPair(xtest.Wrap(ctx, newRemote(t, "local"), "src", src), xtest.Wrap(ctx, newRemote(t, "local"), "dst", dst), verified)
		if err := p.NoWaiting(nil).Check(ctx); err != nil {
			t.Errorf("%s: %v", side, err)
		}
		if busy.Hits() != 1 || busy.Calls() != 2 {
			t.Errorf("%s: %d refusals in %d listings, want 1 in 2", side, busy.Hits(), busy.Calls())
		}
	}
}
