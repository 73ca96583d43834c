package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server may keep half a file when its client dies. That half is nobody's proof: the whole file must arrive, under its
// own name or beside the half.
func TestHalfAnUploadThatTheServerKeptLosesNothing(t *testing.T) {
	t.Parallel()
	rnd := seeded(t)
	w := newWorld(t, func(dir string) {
		for i := range 4 {
			randomFile(t, rnd, filepath.Join(dir, fmt.Sprintf("film %d.mov", i)), 16<<20)
		}
	})
	slow := newProxy(t, w.webdav, 8<<20)
	c := cli{w: w, config: w.config("offload", slow.url)}
	order := []string{"run", "src:", "s3:" + bucket, "--delete-source", "verified"}

	p := c.start(order...)
	eventually(t, time.Minute, "a film to be amid its download", func() bool { return slow.midFile(2<<20) || !p.running() })
	p.kill()
	slow.setRate(0)
	if status := c.start(order...).status(t, limit()); status != 0 {
		t.Fatalf("the same command again: exit status %d, want 0", status)
	}
	j := c.only()
	if kept := c.sourceEmptied(j.ID); len(kept) > 0 {
		t.Errorf("kept at the source: %+v", kept)
	}
	records := decode[[]fileRecord](t, c.run(0, "jobs", "files", j.ID, "--json"))
	if len(records) != 4 {
		t.Errorf("the job tells of %d files, want 4", len(records))
	}
	for _, r := range records {
		dest := r.Path
		if r.Dest != "" {
			dest = r.Dest
		}
		a, errA := os.ReadFile(filepath.Join(w.keep, r.Path))
		b, errB := os.ReadFile(filepath.Join(w.dest, dest))
		if err := errors.Join(errA, errB); err != nil {
			t.Error(err)
		} else if !bytes.Equal(a, b) {
			t.Errorf("%q isn't whole at the destination, where the job says that it lies at %q", r.Path, dest)
		}
	}
}
