package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

// Times of the bandwidth limits.
const (
	paceBurst = 250 * time.Millisecond // what wasn't used may be caught up with by so much
	paceSlice = 100 * time.Millisecond // a process takes so much of the bandwidth at once
	paceAhead = time.Second            // nobody waits longer than this for bytes that were promised under an old limit
	paceAgain = 400 * time.Millisecond // whoever finds too many waiting before him asks again after this, and up to as much more
	paceKnown = time.Second            // a limit is read again after this
	paceCall  = time.Second            // how long the store may take to answer
	paceAlone = 5 * time.Second        // without the store, a process keeps to the limit alone for so long
	pacePiece = paceBurst              // a file gets no more at once than comes in this: progress is seen, and two limits in turn cost no time
)

// paceFirst is how many bytes a file gets at once while it isn't known yet how low the limit is.
const paceFirst = 4 << 10

// paceMost bounds a slice of a very high bandwidth, in bytes.
const paceMost = 8 << 20

// bandwidthOff is the bandwidth that isn't limited.
const bandwidthOff = "off"

// pacer keeps one job in one worker to its own bandwidth and to that of the fleet.
type pacer struct{ lines []*line }

// wait is asked before n bytes are read. It answers how many of them may be, once they may: all, or a piece that all limits
// let through in pacePiece.
func (p *pacer) wait(ctx context.Context, n int64) (int64, error) {
	for _, l := range p.lines {
		n = l.piece(n)
	}
	for _, l := range p.lines {
		if err := l.wait(ctx, n); err != nil {
			return 0, fmt.Errorf("wait for %s: %w", l.name, err)
		}
	}
	return n, nil
}

// line is a limited bandwidth that several processes share. Whoever moves bytes in this process takes his turn at it, so
// that the store is asked once for a slice and not for each read.
type line struct {
	name  string // for messages
	log   *slog.Logger
	read  func(ctx context.Context) (string, error)                                  // the limit as it is set now
	take  func(ctx context.Context, cost time.Duration) (bool, time.Duration, error) // asks all processes' bucket for a slice
	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error
	turn  chan struct{} // holds a token while somebody has the turn; those who wait get it in their order
	once  atomic.Int64  // how many bytes a file gets at once; 0 until the limit was asked for

	// What follows belongs to whoever has the turn.
	asked time.Time // when the limit was last read
	text  string
	band  transfer.Bandwidth
	rate  int64     // bytes a second that the slice was taken at
	left  int64     // bytes of the slice
	away  bool      // the store didn't answer
	until time.Time // when it is asked again
	alone gcra
}

// wait returns when n bytes may be read. A limit that changes meanwhile holds from the next slice on.
func (l *line) wait(ctx context.Context, n int64) error {
	for n > 0 {
		select {
		case l.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		got, err := l.grant(ctx, n)
		<-l.turn
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

// piece is how many of n bytes a file gets at once.
func (l *line) piece(n int64) int64 { return min(n, cmp.Or(l.once.Load(), paceFirst)) }

// grant returns how many of n bytes may be read now, 0 where it must be asked again. The caller has the turn.
func (l *line) grant(ctx context.Context, n int64) (int64, error) {
	now := l.now()
	l.refresh(ctx, now)
	rate := l.band.At(now)
	if rate != l.rate {
		l.rate, l.left = rate, 0
	}
	if rate == 0 {
		l.once.Store(math.MaxInt64)
		return n, nil
	}
	l.once.Store(max(int64(float64(rate)*pacePiece.Seconds()), 1))
	if l.left == 0 {
		slice := min(max(int64(float64(rate)*paceSlice.Seconds()), 1), paceMost)
		got, wait, err := l.ask(ctx, time.Duration(float64(slice)/float64(rate)*float64(time.Second)))
		if err != nil {
			return 0, err
		}
		if !got {
			wait += paceAgain + rand.N(paceAgain)
		}
		if wait > 0 {
			if err := l.sleep(ctx, wait); err != nil {
				return 0, err
			}
		}
		if !got {
			return 0, nil
		}
		l.left = slice
	}
	step := min(n, l.left)
	l.left -= step
	return step, nil
}

// refresh reads the limit when what is known of it is old. Where that fails the known one stays.
func (l *line) refresh(ctx context.Context, now time.Time) {
	if !l.asked.IsZero() && now.Sub(l.asked) < paceKnown {
		return
	}
	if l.away && now.Before(l.until) {
		return
	}
	call, cancel := context.WithTimeout(ctx, paceCall)
	defer cancel()
	text, err := l.read(call)
	if err != nil {
		l.missing(ctx, now, err)
		return
	}
	l.back()
	l.asked = now
	if text == l.text {
		return
	}
	band, err := transfer.ParseBandwidth(text)
	if err != nil { // of a newer version of this program, perhaps
		l.log.Warn("read a bandwidth; the one before stays", "limit", l.name, "bandwidth", text, "error", err)
	} else {
		l.band = band
	}
	l.text = text
}

// ask takes a slice from the bucket of all processes, or from one of this process alone while the store is away.
func (l *line) ask(ctx context.Context, cost time.Duration) (bool, time.Duration, error) {
	now := l.now()
	if !l.away || !now.Before(l.until) {
		call, cancel := context.WithTimeout(ctx, paceCall)
		got, wait, err := l.take(call, cost)
		cancel()
		if ctx.Err() != nil {
			return false, 0, context.Cause(ctx)
		}
		if err == nil {
			l.back()
			return got, wait, nil
		}
		l.missing(ctx, now, err)
	}
	got, wait := l.alone.take(now, cost)
	return got, wait, nil
}

// missing notes that the store didn't answer, and says so once.
func (l *line) missing(ctx context.Context, now time.Time, err error) {
	if ctx.Err() != nil {
		return
	}
	if !l.away {
		l.log.Warn("the store doesn't answer: this process keeps to the limit alone", "limit", l.name, "error", err)
	}
	l.away, l.until = true, now.Add(paceAlone)
}

func (l *line) back() {
	if l.away {
		l.away = false
		l.log.Info("the store answers again: the limit holds over all workers", "limit", l.name)
	}
}

// gcra is the bucket of lua/fleet/pace.lua for one process: until when the bandwidth is given away.
type gcra struct{ till time.Time }

func (g *gcra) take(now time.Time, cost time.Duration) (bool, time.Duration) {
	if early := now.Add(-paceBurst); g.till.Before(early) {
		g.till = early
	}
	if ahead := g.till.Sub(now); ahead > paceAhead {
		return false, ahead - paceAhead
	}
	g.till = g.till.Add(cost)
	return true, max(0, g.till.Sub(now))
}

// bandwidths makes the lines of a service: one for the fleet, one for each job that is open.
type bandwidths struct {
	client redis.UniversalClient
	log    *slog.Logger
	script *redis.Script
	std    string // what holds for the fleet where nothing was set by command
	fleet  *line  // of all jobs of this process
}

// keyBandwidth is the bucket of the fleet; keyFleetBandwidth is what was set by command.
const (
	keyBandwidth      = "offload:fleet:{bw}"
	keyFleetBandwidth = "offload:fleet:{bw}:set"
)

func (k jobKeys) bandwidth() string { return string(k) + "bw" }

const fieldBandwidth = "bwlimit"

func newBandwidths(client redis.UniversalClient, log *slog.Logger, std string) (*bandwidths, error) {
	band, err := transfer.ParseBandwidth(std)
	if err != nil {
		return nil, fmt.Errorf("the bandwidth %q of all jobs: %w", std, err)
	}
	b := &bandwidths{client: client, log: log, script: script("fleet/pace"), std: std}
	b.fleet = b.line("the bandwidth of all jobs", keyBandwidth, std, band, b.set)
	return b, nil
}

// line returns a line with a bucket of that key, and the limit that holds until the store was asked.
func (b *bandwidths) line(name, bucket, text string, band transfer.Bandwidth, read func(context.Context) (string, error)) *line {
	take := func(ctx context.Context, cost time.Duration) (bool, time.Duration, error) {
		res, err := b.script.Run(ctx, b.client, []string{bucket}, cost.Microseconds(), paceBurst.Microseconds(),
			paceAhead.Microseconds()).Int64Slice()
		if err != nil {
			return false, 0, fmt.Errorf("take bandwidth: %w", err)
		}
		if len(res) != 2 {
			return false, 0, fmt.Errorf("take bandwidth: unexpected answer %v", res)
		}
		return res[0] == 1, time.Duration(res[1]) * time.Microsecond, nil
	}
	return &line{name: name, log: b.log, read: read, take: take, now: time.Now, sleep: transfer.Sleep, turn: make(chan struct{}, 1),
		text: text, band: band}
}

// set reads the fleet's bandwidth.
func (b *bandwidths) set(ctx context.Context) (string, error) {
	text, err := b.client.Get(ctx, keyFleetBandwidth).Result()
	if errors.Is(err, redis.Nil) {
		return b.std, nil
	}
	if err != nil {
		return "", fmt.Errorf("read the bandwidth of all jobs: %w", err)
	}
	return text, nil
}

// pacer returns what keeps a job in this process to its bandwidth and the fleet's.
func (b *bandwidths) pacer(j Job) (*pacer, error) {
	band, err := transfer.ParseBandwidth(j.BwLimit)
	if err != nil {
		return nil, fmt.Errorf("read --bwlimit: %w", err)
	}
	k := keysOf(j.ID)
	own := b.line("the job's bandwidth", k.bandwidth(), j.BwLimit, band, func(ctx context.Context) (string, error) {
		text, err := b.client.HGet(ctx, k.job(), fieldBandwidth).Result()
		if errors.Is(err, redis.Nil) {
			return j.Order.BwLimit, nil
		}
		if err != nil {
			return "", fmt.Errorf("read the bandwidth of job %s: %w", j.ID, err)
		}
		return text, nil
	})
	return &pacer{lines: []*line{own, b.fleet}}, nil
}

// checkBandwidth refuses what isn't a bandwidth, as an *OrderError.
func checkBandwidth(spec string) error {
	if _, err := transfer.ParseBandwidth(spec); err != nil {
		return &OrderError{Field: "bwlimit", Value: spec, Hint: bandwidthHint, Err: err}
	}
	return nil
}

const bandwidthHint = `give bytes a second such as 2M, or a timetable such as "08:00,512k 23:00,off"`

// SetBandwidth limits what all jobs of all workers together move a second, in the syntax of --bwlimit, "off" for no limit;
// it outranks the configuration. With "" the configuration holds again. It takes effect within two seconds, also in the
// middle of a file. A mistake is an *OrderError.
func (s *Service) SetBandwidth(ctx context.Context, spec string) error {
	if err := checkBandwidth(spec); err != nil {
		return err
	}
	var err error
	if spec == "" {
		err = s.client.Del(ctx, keyFleetBandwidth).Err()
	} else {
		err = s.client.Set(ctx, keyFleetBandwidth, spec, 0).Err()
	}
	if err != nil {
		return fmt.Errorf("set the bandwidth of all jobs: %w", err)
	}
	return nil
}

// Bandwidth returns the limit of all jobs of all workers together, as it was set or configured; "" is none.
func (s *Service) Bandwidth(ctx context.Context) (string, error) {
	text, err := s.bands.set(ctx)
	return limitText(text), err
}

// limitText is a bandwidth as people see it: "" for none.
func limitText(spec string) string {
	if spec == bandwidthOff {
		return ""
	}
	return spec
}

// SetJobBandwidth changes the --bwlimit of a job that hasn't ended, "off" for no limit. With "" the order's holds again.
// It takes effect within two seconds, also in the middle of a file. A mistake is an *OrderError; a job that has ended is
// ErrState.
func (s *Service) SetJobBandwidth(ctx context.Context, id, spec string) (Job, error) {
	if err := checkBandwidth(spec); err != nil {
		return Job{}, err
	}
	id, err := s.resolve(ctx, id)
	if err != nil {
		return Job{}, err
	}
	n, state, err := s.scripts.verdict(ctx, "bandwidth", id, nil, spec)
	switch {
	case err != nil:
		return Job{}, err
	case state == "":
		return Job{}, fmt.Errorf("job %s: %w", id, ErrNotFound)
	case n != 1:
		return Job{}, fmt.Errorf("job %s is %s: %w", id, state, ErrState)
	}
	return s.Get(ctx, id)
}
