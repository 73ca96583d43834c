package acceptance

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// wallClock is the time of day of a process, which the test moves: a library that is preloaded into it.
type wallClock struct {
	t       testing.TB
	library string
	file    string
	ahead   time.Duration
}

// newWallClock builds the library. Without a C compiler, which the race detector needs as well, the test is skipped.
func newWallClock(t testing.TB) *wallClock {
	t.Helper()
	cc := tool(t, "cc", "OFFLOAD_TEST_CC")
	dir := t.TempDir()
	c := &wallClock{t: t, library: filepath.Join(dir, "clock.so"), file: filepath.Join(dir, "offset")}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-O2", "-o", c.library, filepath.Join("testdata", "clock.c")).CombinedOutput(); err != nil {
		t.Fatalf("build the clock: %v\n%s", err, out)
	}
	c.move(0)
	return c
}

// environ is what a process needs to live by this clock.
func (c *wallClock) environ() []string {
	return []string{"LD_PRELOAD=" + c.library, "CLOCK_OFFSET=" + c.file}
}

// now is the time by this clock.
func (c *wallClock) now() time.Time { return time.Now().Add(c.ahead) }

// move puts the clock forward.
func (c *wallClock) move(d time.Duration) {
	c.t.Helper()
	c.ahead += d.Truncate(time.Second)
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	// Eight bytes are written at once: who looks sees the old offset or the new one.
	if _, err := f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(c.ahead/time.Second)), 0); err != nil {
		c.t.Fatal(err)
	}
}

func TestAJobThatNeedsThreePeriodsEndsInTheThird(t *testing.T) {
	t.Parallel()
	const allowance = 8 << 20
	clock := newWallClock(t)
	c := newClouds(t, cloudtest.Options{})
	c.redis = c.w.redis(clock.environ()...)
	s := newStock(c)
	for i := range 55 { // two whole allowances and a half
		s.put(fmt.Sprintf("Docs/folder %d/file %02d.bin", i%4, i), 200_000+(i*7919)%400_000)
	}
	var total int64
	for _, p := range s.all() {
		total += p.size
	}
	if total <= 2*allowance || total >= 3*allowance-allowance/20 {
		t.Fatalf("%d bytes don't take three periods", total)
	}
	c.run(0, "quota", "set", "--account", "default", "--limit", "8MiB")
	for range 2 {
		c.start("worker")
	}
	id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))

	before := int64(0)
	for period := 1; ; period++ {
		var until time.Time
		j := c.await(id, fmt.Sprintf("the job to come to the end of period %d", period), limit(), func(j job) bool {
			waits := j.State == "waiting" && j.Until != nil && j.Until.After(clock.now())
			if waits {
				until = *j.Until
			}
			return waits || j.ended()
		})
		served := c.play.Served("icloud:content")
		q := c.quota()
		t.Logf("period %d: %s %s, %d bytes served, quota %+v, until %s", period, j.State, j.Reason, served-before, q, until)
		if n := served - before; n > allowance || n > q.Used {
			t.Errorf("period %d: the source served %d bytes of an allowance of %d, and %d are booked", period, n, allowance, q.Used)
		}
		before = served
		s.nothingLost(t)
		if j.ended() {
			if period != 3 || j.State != "completed" {
				t.Errorf("the job is %s (%s) in period %d, want it completed in the third", j.State, j.Error, period)
			}
			break
		}
		if period == 3 || j.Reason != "quota" {
			t.Fatalf("the job waits in period %d: %+v", period, j)
		}
		if q.Used < allowance*9/10 {
			t.Errorf("the job waits for period %d with %d of %d bytes used", period+1, q.Used, allowance)
		}
		clock.move(until.Sub(clock.now()) + time.Hour)
	}
	s.moved(t)
	if before > total {
		t.Errorf("the source served %d bytes for files of %d", before, total)
	}
}
