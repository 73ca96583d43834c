package quota

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// The sources of the scripts. Each file's header tells its arguments and results.
var (
	//go:embed common.lua
	commonSource string
	//go:embed reserve.lua
	reserveSource string
	//go:embed charge.lua
	chargeSource string
	//go:embed touch.lua
	touchSource string
	//go:embed close.lua
	closeSource string
	//go:embed sweep.lua
	sweepSource string
	//go:embed status.lua
	statusSource string
	//go:embed set.lua
	setSource string
	//go:embed claim.lua
	claimSource string
	//go:embed unclaim.lua
	unclaimSource string
	//go:embed exhausted.lua
	exhaustedSource string
)

// scripts holds the compiled scripts of a ledger.
type scripts struct {
	reserve, charge, touch, end, sweep, status, set, claim, unclaim, exhausted *redis.Script
}

// newScripts puts common before each script.
func newScripts(common string) scripts {
	compile := func(source string) *redis.Script { return redis.NewScript(common + "\n" + source) }
	return scripts{
		reserve: compile(reserveSource), charge: compile(chargeSource), touch: compile(touchSource),
		end: compile(closeSource), sweep: compile(sweepSource), status: compile(statusSource), set: compile(setSource),
		claim: compile(claimSource), unclaim: compile(unclaimSource), exhausted: compile(exhaustedSource),
	}
}

// maxMoves is how often a script may tell that the account moved on before a call gives up: once because the day is
// another, and then only for settings that someone changes at the very same time.
const maxMoves = 10

// count runs one of the scripts that count, with the account's terms before args, and learns the terms anew as often as
// the script says that they have moved on.
func (l *Ledger) count(ctx context.Context, s *redis.Script, account string, args func(*terms) []any) ([]string, error) {
	for range maxMoves {
		t := l.known(account)
		all := append([]any{t.rev, t.day.ID, millis(t.day.Start), millis(t.day.End),
			t.next.ID, millis(t.next.Start), millis(t.next.End), t.until}, args(t)...)
		reply, err := s.Run(ctx, l.client, keys(account), all...).StringSlice()
		if err != nil {
			return nil, err
		}
		if reply[0] != "moved" {
			return reply, nil
		}
		if err := l.learn(ctx, account, reply); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("its settings change too fast: try again")
}

// totals are what a pool's record holds.
type totals struct{ granted, charged int64 }

// differsError says that a pool's record isn't what its owner believed: an earlier script ran though its answer was lost.
type differsError struct{ totals }

func (e *differsError) Error() string {
	return fmt.Sprintf("the reservation changed: %d bytes granted, %d charged", e.granted, e.charged)
}

// poolReply turns the answer of a script that works on one pool into its totals, or ErrLost or a *differsError.
func poolReply(reply []string) (totals, error) {
	if reply[0] == "lost" {
		return totals{}, ErrLost
	}
	granted, err1 := strconv.ParseInt(reply[1], 10, 64)
	charged, err2 := strconv.ParseInt(reply[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return totals{}, err
	}
	t := totals{granted, charged}
	if reply[0] == "differs" {
		return t, &differsError{t}
	}
	return t, nil
}

// order is what a pool asks reserve.lua for.
type order struct {
	need, want int64 // need bytes at least, want where they fit
	size       int64 // of the file that they are for
	claimant   string
}

// reserve runs reserve.lua. It returns a *NoQuotaError that tells need, where not even that fits.
func (l *Ledger) reserve(ctx context.Context, account, id string, have totals, o order) (totals, error) {
	var t terms
	reply, err := l.count(ctx, l.scripts.reserve, account, func(now *terms) []any {
		t = *now
		return []any{id, have.granted, have.charged, o.need, o.want, t.limit, l.cfg.Lease.Milliseconds(), o.claimant, o.size}
	})
	if err != nil {
		return totals{}, fmt.Errorf("reserve quota of %s: %w", title(account), err)
	}
	if reply[0] != "full" {
		return poolReply(reply)
	}
	if t.why != "" {
		return totals{}, &NoQuotaError{Subject: account, Need: o.need, Why: t.why}
	}
	available, err1 := strconv.ParseInt(reply[1], 10, 64)
	end, err2 := strconv.ParseInt(reply[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return totals{}, err
	}
	return totals{}, &NoQuotaError{Subject: account, Need: o.need, Available: available, Limit: t.limit, Resets: time.UnixMilli(end).UTC()}
}

// charge runs charge.lua: books bytes that the pool holds as used. day is the one that they were counted on, after an
// error the one that they may have been counted on.
func (l *Ledger) charge(ctx context.Context, account, id string, have totals, bytes int64) (now totals, day string, err error) {
	var limit int64
	reply, err := l.count(ctx, l.scripts.charge, account, func(t *terms) []any {
		day, limit = t.day.ID, t.limit
		return []any{id, have.granted, have.charged, bytes, l.cfg.Lease.Milliseconds(), t.limit}
	})
	if err != nil {
		return totals{}, day, fmt.Errorf("charge quota of %s: %w", title(account), err)
	}
	if reply[0] == "ok" && reply[3] != "0" {
		l.warnReached(account, reply[3], limit)
	}
	now, err = poolReply(reply)
	return now, day, err
}

// touch runs touch.lua: renews the lease, books the pool's total of waste and takes back bytes that it doesn't need.
// reading tells that bytes that were charged ahead have been read since the last call.
func (l *Ledger) touch(ctx context.Context, account, id string, have totals, back, wasted int64, reading bool) (totals, error) {
	reply, err := l.count(ctx, l.scripts.touch, account, func(*terms) []any {
		return []any{id, have.granted, have.charged, back, wasted, l.cfg.Lease.Milliseconds(), flag(reading)}
	})
	if err != nil {
		return totals{}, fmt.Errorf("renew quota reservation of %s: %w", title(account), err)
	}
	return poolReply(reply)
}

// ending is what close.lua is told of a pool.
type ending struct {
	read, wasted int64  // of its charges: bytes that may have been read, and those read in vain
	day, before  string // of its last charge, and the day of charges before that
	alive        bool   // its lease can't have ended: where it is gone all the same, Redis may have forgotten it
}

// end runs close.lua: ends the pool. What was read and Redis has forgotten is booked again.
func (l *Ledger) end(ctx context.Context, account, id string, e ending) error {
	reply, err := l.count(ctx, l.scripts.end, account, func(*terms) []any {
		return []any{id, e.read, e.wasted, e.day, e.before, flag(e.alive)}
	})
	if err != nil {
		return fmt.Errorf("settle quota of %s (its reservation ends by itself within %s): %w", title(account), l.cfg.Lease, err)
	}
	if reply[2] != "0" {
		l.cfg.Log.Warn("Redis had forgotten a quota reservation, as after a restart with an older append-only file: booked it again",
			"subject", account, "pool", id, "bytes", reply[2])
	}
	return nil
}

func millis(t time.Time) int64 { return t.UnixMilli() }

// flag is true or false as the scripts are told it.
func flag(b bool) string {
	if b {
		return "1"
	}
	return ""
}
