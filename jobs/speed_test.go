package jobs

import (
	"context"
	"encoding/json"
	"testing"
	"time"
)

// moves plays what a unit reads, second by second, and shows what is told of it.
type moves struct {
	t     *testing.T
	w     *watcher
	now   time.Time
	job   Job
	fleet string
}

func newMoves(t *testing.T, size int64, limit string) *moves {
	m := &moves{t: t, now: time.Unix(1_800_000_000, 0), job: Job{State: Transferring, ScanComplete: true, BwLimit: limit,
		Files: Files{Found: 1}, Bytes: Bytes{Found: size}}}
	m.w = newWatcher(m.now)
	m.w.Start("film", size, 0)
	return m
}

// after reads n bytes, and returns what is told when a report is made a while later.
func (m *moves) after(d time.Duration, n int64) Progress {
	m.t.Helper()
	if n > 0 {
		m.w.Read("film", n)
	}
	m.now = m.now.Add(d)
	raw, err := m.w.report(m.now)
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := progressOf(m.job, map[string]string{"worker/1": raw}, m.fleet, m.now)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// within tells whether a is within a factor of b.
func within(a, b, factor float64) bool { return a <= b*factor && b <= a*factor }

// However the bytes come, the speed and the time left are near the truth once they are told at all.
func TestSpeedAndTimeLeft(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for name, c := range map[string]struct {
		limit   string
		n       int64 // bytes that come at once
		every   int   // in so many seconds
		now     float64
		left    float64 // factors that they may be away from the truth by
		settled int     // from this second on
	}{
		"steady":                      {"", 4 * mib, 1, 1.01, 1.01, 6},
		"slow and steady":             {"20k", 20 * kib, 1, 1.01, 1.01, 6},
		"bursts of 1 MiB at 40 KiB/s": {"", mib, 26, 2.1, 1.5, 120},
		"the same, and the limit":     {"40k", mib, 26, 2.1, 1.5, 120},
		"bursts of 1 MiB at 20 KiB/s": {"", mib, 52, 5, 1.8, 240},
		"with pauses of ten seconds":  {"", 100 * mib, 11, 1.7, 1.3, 60},
		"pieces of eight seconds":     {"40k", 320 * kib, 8, 1.5, 1.2, 60},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMoves(t, c.n*1000, c.limit)
			rate := float64(c.n) / float64(c.every)
			for s := 1; s <= 10*c.every+c.settled; s++ {
				n := int64(0)
				if s%c.every == 0 {
					n = c.n
				}
				p := m.after(time.Second, n)
				left, known := p.Left()
				if time.Duration(s)*time.Second < speedKnown && known {
					t.Fatalf("after %d s it claims to know that %v are left", s, left)
				}
				if s < c.settled {
					continue
				}
				truth := float64(c.n*1000-p.Moving) / rate
				if !known || !within(left.Seconds(), truth, c.left) {
					t.Fatalf("after %d s: %v left (%v), want about %.0f s", s, left, known, truth)
				}
				if !within(p.Rate, rate, c.now) {
					t.Fatalf("after %d s: %.0f bytes a second, want about %.0f", s, p.Rate, rate)
				}
			}
		})
	}
}

// The speed doesn't depend on how often it is asked for.
func TestSpeedIsTheSameHoweverOftenItIsReported(t *testing.T) {
	often, seldom := newMoves(t, 1<<30, ""), newMoves(t, 1<<30, "")
	var a, b Progress
	for range 30 {
		for range 20 {
			a = often.after(100*time.Millisecond, 50<<10)
		}
		b = seldom.after(2*time.Second, 1000<<10)
	}
	if !within(a.Rate, b.Rate, 1.001) || !within(a.Pace, b.Pace, 1.001) || !within(a.Rate, 500<<10, 1.001) {
		t.Errorf("%.0f and %.0f bytes a second, paces %.0f and %.0f", a.Rate, b.Rate, a.Pace, b.Pace)
	}
}

// Of a job that has just begun nothing is claimed, nor of one whose files stall: instead of hours, days and weeks that grow by
// the second it says that nothing is read, and it knows again soon after bytes come.
func TestTimeLeftIsNotGuessed(t *testing.T) {
	const rate = 1 << 20
	m := newMoves(t, 1000*rate, "")
	for range 60 {
		m.after(time.Second, rate)
	}
	last := time.Duration(0)
	for s := 1; s <= 300; s++ {
		p := m.after(time.Second, 0)
		if p.Quiet != time.Duration(s)*time.Second {
			t.Fatalf("after %d s without a byte it is idle for %v", s, p.Quiet)
		}
		left, known := p.Left()
		if over := p.Quiet >= speedOver; known == over || over && p.Rate != 0 {
			t.Fatalf("after %d s without a byte: %v left (%v) at %.0f bytes a second", s, left, known, p.Rate)
		}
		last = max(last, left)
	}
	if last > time.Hour { // the truth before was a quarter of an hour
		t.Errorf("it claimed that %v are left", last)
	}
	p := m.after(time.Second, rate)
	if _, known := p.Left(); !known || p.Quiet != 0 || p.Rate < 1 {
		t.Errorf("when it goes on: %+v", p)
	}

	looks := newMoves(t, 1000*rate, "")
	looks.w.begun = false // files are looked up at the destination first
	for range 60 {
		p = looks.after(time.Second, 0)
	}
	looks.w.Start("film", 1000*rate, 0)
	for range 6 {
		p = looks.after(time.Second, rate)
	}
	if left, known := p.Left(); !known || left > 20*time.Minute {
		t.Errorf("the time before the first file counts: %v left (%v)", left, known)
	}
}

// The limit of all jobs counts as the job's own does, and what is left goes no faster.
func TestTimeLeftKeepsToTheLimit(t *testing.T) {
	for _, c := range []struct {
		own, fleet string
		limit      int64
	}{{"", "", 0}, {"1M", "", 1 << 20}, {"", "1M", 1 << 20}, {"1M", "2M", 1 << 20}, {"2M", "1M", 1 << 20}, {"off", "off", 0}, {"warp 9", "1M", 1 << 20}} {
		m := newMoves(t, 1000<<20, c.own)
		m.fleet = c.fleet
		var p Progress
		for range 100 { // as fast as before the limit was set
			p = m.after(time.Second, 4<<20)
		}
		want := 150.0
		if c.limit > 0 {
			want = 600
		}
		if left, known := p.Left(); p.Limit != c.limit || !known || !within(left.Seconds(), want, 1.01) {
			t.Errorf("%q and %q: limit %d, %v left (%v), want %.0f s", c.own, c.fleet, p.Limit, left, known, want)
		}
	}
}

// Whoever waits for bandwidth is told of, and only then.
func TestFilesThatWaitForBandwidthAreTold(t *testing.T) {
	m := newMoves(t, 1<<30, "1k")
	pace := m.w.paced(func(_ context.Context, n int64) (int64, error) {
		if p := m.after(time.Second, 0); !p.Held {
			t.Error("a file waits for bandwidth and nobody is told")
		}
		return n / 2, nil
	})
	if n, err := pace(t.Context(), 10); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if p := m.after(time.Second, 5); p.Held {
		t.Error("no file waits for bandwidth any more")
	}
}

// A batch begins with what the one before it of the same job knew, if that isn't long ago; two that run at once don't both.
func TestBatchesHandTheirSpeedOn(t *testing.T) {
	o := &openJob{}
	begin := func(m *moves) func() {
		m.w.speeds.moved = time.Now()
		return o.speeds(m.w)
	}
	first := newMoves(t, 1<<30, "")
	first.now = time.Now()
	first.w = newWatcher(first.now)
	end := begin(first)
	first.w.Start("film", 1<<30, 0)
	for range 30 {
		first.after(time.Second, 1<<20)
	}
	end()
	second, third := newWatcher(first.now), newWatcher(first.now)
	o.speeds(second)
	o.speeds(third)
	for _, c := range []struct {
		w    *watcher
		want bool
	}{{second, true}, {third, false}} {
		raw, err := c.w.report(first.now.Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var r liveReport
		if err := json.Unmarshal([]byte(raw), &r); err != nil || (r.Steady > 0) != c.want || (r.Seen > 0) != c.want {
			t.Errorf("%s, %v", raw, err)
		}
	}
	var l speedsLeft
	l.last = &speeds{moved: first.now}
	if _, ok := l.take(first.now.Add(2 * speedOver)); ok {
		t.Error("what is long over counts")
	}
}
