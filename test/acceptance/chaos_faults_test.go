package acceptance

import (
	"net/http"
	"slices"
	"syscall"
	"time"
)

// frozenFor is how long a worker is stopped by SIGSTOP: much longer than its leases.
const frozenFor = 40 * time.Second

// deed is one kind of fault.
type deed struct {
	name string
	// do begins it, and tells whether it could be begun now. It counts a hit once it is seen to have struck.
	do func(c *chaos, d *deed) bool
	n  int // of it in each hand that is dealt
	// begun and hits are how often it began and how often it was seen to strike.
	begun, hits int
}

// deeds are all kinds of faults.
func deeds() []*deed {
	return []*deed{
		{name: "worker killed (SIGKILL)", do: killWorker, n: 2},
		{name: "worker frozen 40 s (SIGSTOP)", do: freezeWorker, n: 1},
		{name: "worker told to stop (SIGTERM)", do: stopWorker, n: 1},
		{name: "redis killed, 1-10 s", do: killRedis, n: 1},
		{name: "worker refused by redis, 5-40 s", do: func(c *chaos, d *deed) bool { return cutWorker(c, d, refused) }, n: 1},
		{name: "worker's packets swallowed, 5-40 s", do: func(c *chaos, d *deed) bool { return cutWorker(c, d, swallow) }, n: 1},
		{name: "job paused and resumed", do: pauseJob, n: 1},
		{name: "iCloud refuses half of all, 2-5 s", do: func(c *chaos, d *deed) bool {
			return c.throttle(d, http.StatusServiceUnavailable, icloudCalls())
		}, n: 1},
		{name: "Dropbox refuses half of all, 2-5 s", do: func(c *chaos, d *deed) bool {
			return c.throttle(d, http.StatusTooManyRequests, dropboxCalls())
		}, n: 1},
	}
}

// between is a random time between two.
func (c *chaos) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rnd.Int64N(int64(most-least)+1))
}

// pick chooses one of the workers that fit.
func (c *chaos) pick(fits func(*member) bool) *member {
	var fit []*member
	for _, m := range c.members {
		if fits(m) {
			fit = append(fit, m)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[c.rnd.IntN(len(fit))]
}

// hampered counts the workers that can't work now. Where two of them can't, the third is let alone.
func (c *chaos) hampered() (n int) {
	for _, m := range c.members {
		if m.frozen || m.cut || !m.up() {
			n++
		}
	}
	return n
}

// strike begins a fault: the next of the hand that can be begun now, and a new hand is dealt when all were.
func (c *chaos) strike() {
	if len(c.hand) == 0 {
		for _, d := range c.deeds {
			for range d.n {
				c.hand = append(c.hand, d)
			}
		}
		c.rnd.Shuffle(len(c.hand), func(i, j int) { c.hand[i], c.hand[j] = c.hand[j], c.hand[i] })
	}
	for i, d := range c.hand {
		if d.do(c, d) {
			d.begun++
			c.hand = slices.Delete(c.hand, i, i+1)
			return
		}
	}
}

// after does something later, and at once when the faults end.
func (c *chaos) after(d time.Duration, do func()) {
	c.ends = append(c.ends, ending{time.Now().Add(d), do})
}

// ending is what ends a fault.
type ending struct {
	at time.Time
	do func()
}

// finish ends the faults whose time has come, or all of them.
func (c *chaos) finish(all bool) {
	for i := 0; i < len(c.ends); {
		e := c.ends[i]
		if !all && time.Now().Before(e.at) {
			i++
			continue
		}
		c.ends = slices.Delete(c.ends, i, i+1)
		e.do()
	}
}

func killWorker(c *chaos, d *deed) bool {
	m := c.pick(func(m *member) bool { return m.up() && !m.frozen })
	if m == nil || c.hampered() > 1 {
		return false
	}
	m.expect = true
	m.proc.kill()
	if ws, ok := m.proc.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signal() == syscall.SIGKILL {
		d.hits++
	}
	c.say("killed %s", m.name)
	return true
}

func freezeWorker(c *chaos, d *deed) bool {
	m := c.pick(func(m *member) bool { return m.up() && !m.frozen && !m.cut })
	if m == nil || c.hampered() > 1 {
		return false
	}
	frozen := m.proc
	if frozen.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	m.frozen = true
	eventually(c.t, 10*time.Second, m.name+" to be frozen", m.stopped)
	began := time.Now()
	c.say("froze %s", m.name)
	c.after(frozenFor, func() {
		if time.Since(began) >= frozenFor/2 { // not where the faults ended just then
			d.hits++
		}
		m.frozen = false
		_ = frozen.cmd.Process.Signal(syscall.SIGCONT) // fails only where it has ended
		c.say("thawed %s", m.name)
	})
	return true
}

func stopWorker(c *chaos, d *deed) bool {
	m := c.pick(func(m *member) bool { return m.up() && !m.frozen && m.begun() })
	if m == nil || c.hampered() > 1 || m.proc.cmd.Process.Signal(syscall.SIGTERM) != nil {
		return false
	}
	m.told = time.Now()
	d.hits++ // that it stops in time is demanded elsewhere
	c.say("told %s to stop", m.name)
	return true
}

func killRedis(c *chaos, d *deed) bool {
	if c.redisDown {
		return false
	}
	c.redisServer.Kill()
	c.redisDown = true
	if !answers("unix", c.redisServer.Socket()) {
		d.hits++
	}
	down := c.between(time.Second, 10*time.Second)
	c.say("killed redis for %s", down.Round(time.Millisecond))
	c.after(down, func() {
		c.redisServer.Run()
		c.redisDown = false
		c.say("redis is back")
	})
	return true
}

func cutWorker(c *chaos, d *deed, how passage) bool {
	m := c.pick(func(m *member) bool { return m.up() && !m.frozen && !m.cut })
	if m == nil || c.hampered() > 1 {
		return false
	}
	m.cut = true
	m.gate.set(how)
	lasts := c.between(5*time.Second, 40*time.Second)
	late := c.rnd.IntN(2) == 0
	c.say("%s: %s for %s", d.name, m.name, lasts.Round(time.Millisecond))
	c.after(lasts, func() {
		if m.gate.reopen(late && how == swallow) > 0 {
			d.hits++
		}
		m.cut = false
		c.say("%s reaches redis again", m.name)
	})
	return true
}

// throttle has a cloud refuse half of the calls for a while.
func (c *chaos) throttle(d *deed, status int, calls []string) bool {
	f := c.refuse(status, 0.5, calls...)
	c.say("%s", d.name)
	c.after(c.between(2*time.Second, 5*time.Second), func() {
		f.remove()
		if f.Count() > 0 {
			d.hits++
		}
	})
	return true
}

func pauseJob(c *chaos, d *deed) bool {
	id := c.current.id
	state := c.state(id)
	if c.redisDown || (state != "transferring" && state != "scanning") {
		return false
	}
	if status, msg := c.try("jobs", "pause", id); status != 0 {
		c.say("pause ended with status %d: %s", status, msg)
		return false
	}
	if c.state(id) == "paused" {
		d.hits++
	}
	c.say("paused job %s", id)
	c.after(c.between(2*time.Second, 8*time.Second), func() { c.resume(id) })
	return true
}

// resume takes a paused job up again; while Redis is down it waits for that.
func (c *chaos) resume(id string) {
	if c.redisDown {
		c.after(time.Second, func() { c.resume(id) })
		return
	}
	if status, msg := c.try("jobs", "resume", id); status != 0 {
		c.t.Errorf("resume of job %s ended with status %d: %s", id, status, msg)
	}
	c.say("resumed job %s", id)
}
