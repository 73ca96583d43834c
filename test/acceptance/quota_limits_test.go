package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// waiting is what `jobs show ID --json` says of a job that waits.
type waiting struct {
	State  string     `json:"state"`
	Reason string     `json:"reason"`
	Error  string     `json:"error"`
	Until  *time.Time `json:"until"`
}

// uploadCalls is how many calls the played Dropbox got that its data transport limit counts.
func (c *clouds) uploadCalls() (n int) {
	for _, name := range []string{"upload", "upload_session_start", "append_v2", "finish", "finish_batch_v2"} {
		n += c.play.Calls("dropbox:" + name)
	}
	return n
}

// saysWhy demands that a job waits for quota and that its text names all of these.
func (c cli) saysWhy(id string, words ...string) {
	c.w.t.Helper()
	w := decode[waiting](c.w.t, c.run(0, "jobs", "show", id, "--json"))
	for _, word := range words {
		if !strings.Contains(w.Error, word) {
			c.w.t.Errorf("the job waits because %q, which doesn't speak of %q", w.Error, word)
		}
	}
}

func TestARemotesCallsAreNeverMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	const allowed = 40
	c := newClouds(t, cloudtest.Options{})
	c.redis = c.w.redis()
	s := newStock(c)
	s.fill("Docs", 120, 6)
	c.run(0, "quota", "set", "--remote", "dropbox", "--calls-per-month", fmt.Sprint(allowed))
	for range 2 {
		c.start("worker", "--transfers", "4")
	}
	seen := watch(t, c.redis, "remote/dropbox/calls")
	id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
	c.waits(id)
	// What workers had set aside and didn't need they give back, and the job goes on with it, until too few calls are left
	// to end a file with.
	eventually(t, limit(), "all calls but the last 7 to be made", func() bool {
		return c.uploadCalls() > allowed-8 && c.show(id).State == "waiting"
	})

	calls, all := c.uploadCalls(), seen()
	used, reserved, err := openLedger(t, c.redis).counts("remote/dropbox/calls")
	t.Logf("%d upload calls of %d, %d booked, %d reserved, at most %d; %d files moved", calls, allowed, used, reserved, all.most, c.arrived())
	if err != nil || all.err != nil {
		t.Fatal(err, all.err)
	}
	if calls > allowed || int64(calls) > used || all.most > allowed {
		t.Errorf("%d upload calls were made, at most %d booked or reserved; %d are allowed", calls, all.most, allowed)
	}
	c.saysWhy(id, "dropbox", "call")
	s.nothingLost(t)
	for range 5 {
		if j := c.show(id); j.State != "waiting" {
			t.Fatalf("the job went on as %s before it was allowed to", j.State)
		}
	}
	if more := c.uploadCalls(); more != calls {
		t.Errorf("%d upload calls were made while the job waited", more-calls)
	}

	c.run(0, "quota", "set", "--remote", "dropbox", "--calls-per-month", "unlimited")
	if j := c.await(id, "the job to go on and end", limit(), job.ended); j.State != "completed" {
		t.Errorf("the job is %s (%s), want completed", j.State, j.Error)
	}
	s.moved(t)
}

func TestARemotesDailyLimitHoldsForSourceAndDestination(t *testing.T) {
	t.Parallel()
	for _, remote := range []string{"icloud", "dropbox"} {
		t.Run(remote, func(t *testing.T) {
			t.Parallel()
			const allowance = 2 << 20
			c := newClouds(t, cloudtest.Options{})
			c.redis = c.w.redis()
			s := newStock(c)
			for i := range 60 {
				s.put(fmt.Sprintf("Docs/folder %d/file %02d.bin", i%4, i), 100_000+i*100)
			}
			c.run(0, "quota", "set", "--remote", remote, "--per-day", "2MiB")
			for range 2 {
				c.start("worker")
			}
			seen := watch(t, c.redis, "remote/"+remote+"/day")
			id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
			j := c.waits(id)

			all, served := seen(), c.play.Served("icloud:content")
			t.Logf("%d bytes served of %d, at most %d used and reserved", served, allowance, all.most)
			if all.err != nil || all.most > allowance || served > allowance || served < allowance*9/10 {
				t.Errorf("%d bytes came through the remote, at most %d used and reserved, of %d (%v)", served, all.most, allowance, all.err)
			}
			if time.Until(*j.Until) > 24*time.Hour {
				t.Errorf("the job waits until %s, want the next midnight", j.Until)
			}
			c.saysWhy(id, remote, "a day")
			// The account has enough: its counts go on beside.
			if q := c.quota(); q.Used < served || q.Reserved != 0 {
				t.Errorf("the account's quota is %+v, and %d bytes were moved", q, served)
			}
			s.nothingLost(t)

			c.run(0, "quota", "set", "--remote", remote, "--per-day", "1GiB")
			if j := c.await(id, "the job to go on and end", limit(), job.ended); j.State != "completed" {
				t.Errorf("the job is %s (%s), want completed", j.State, j.Error)
			}
			s.moved(t)
		})
	}
}
