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
)

// scripts holds the compiled scripts of a ledger.
type scripts struct {
	reserve, charge, touch, end, sweep, status, set *redis.Script
}

// newScripts puts common before each script.
func newScripts(common string) scripts {
	compile := func(source string) *redis.Script { return redis.NewScript(common + "\n" + source) }
	return scripts{
		reserve: compile(reserveSource), charge: compile(chargeSource), touch: compile(touchSource),
		end: compile(closeSource), sweep: compile(sweepSource), status: compile(statusSource), set: compile(setSource),
	}
}

// maxMoves is how often a script may tell that the account moved on before a call gives up: once because the day is
// another, and then only for settings that someone changes at the very same time.
const maxMoves = 10

// count runs one of the scripts that count, with the account's terms before args, and learns the terms anew as often as
// the script says that they have moved on.
func (l *Ledger) count(ctx context.Context, s *redis.Script, account string, args func(*terms) ([]any, error)) ([]string, error) {
	for range maxMoves {
		t := l.known(account)
		rest, err := args(t)
		if err != nil {
			return nil, err
		}
		all := append([]any{t.rev, t.day.ID, millis(t.day.Start), millis(t.day.End),
			t.next.ID, millis(t.next.Start), millis(t.next.End), t.until}, rest...)
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

// reserve runs reserve.lua: want more bytes for the pool where they fit, else need. It returns a *NoQuotaError that
// tells need, where not even those fit.
func (l *Ledger) reserve(ctx context.Context, account, id string, have totals, need, want int64) (totals, error) {
	var limit int64
	reply, err := l.count(ctx, l.scripts.reserve, account, func(t *terms) ([]any, error) {
		limit = t.limit
		return []any{id, have.granted, have.charged, need, want, t.limit, l.cfg.Lease.Milliseconds()}, t.err
	})
	if err != nil {
		return totals{}, fmt.Errorf("reserve quota of account %s: %w", account, err)
	}
	if reply[0] != "full" {
		return poolReply(reply)
	}
	available, err1 := strconv.ParseInt(reply[1], 10, 64)
	end, err2 := strconv.ParseInt(reply[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return totals{}, err
	}
	return totals{}, &NoQuotaError{Account: account, Need: need, Available: available, Limit: limit, Resets: time.UnixMilli(end).UTC()}
}

// charge runs charge.lua: books bytes that the pool holds as used. day is the one that they were counted on, after an
// error the one that they may have been counted on.
func (l *Ledger) charge(ctx context.Context, account, id string, have totals, bytes int64) (now totals, day string, err error) {
	reply, err := l.count(ctx, l.scripts.charge, account, func(t *terms) ([]any, error) {
		day = t.day.ID
		return []any{id, have.granted, have.charged, bytes, l.cfg.Lease.Milliseconds()}, nil
	})
	if err != nil {
		return totals{}, day, fmt.Errorf("charge quota of account %s: %w", account, err)
	}
	now, err = poolReply(reply)
	return now, day, err
}

// touch runs touch.lua: renews the lease, books the pool's total of waste and takes back bytes that it doesn't need.
func (l *Ledger) touch(ctx context.Context, account, id string, have totals, back, wasted int64) (totals, error) {
	reply, err := l.count(ctx, l.scripts.touch, account, func(*terms) ([]any, error) {
		return []any{id, have.granted, have.charged, back, wasted, l.cfg.Lease.Milliseconds()}, nil
	})
	if err != nil {
		return totals{}, fmt.Errorf("renew quota reservation of account %s: %w", account, err)
	}
	return poolReply(reply)
}

// end runs close.lua: ends the pool, of whose charges read bytes may have been read.
func (l *Ledger) end(ctx context.Context, account, id string, read, wasted int64, day, before string) error {
	_, err := l.count(ctx, l.scripts.end, account, func(*terms) ([]any, error) {
		return []any{id, read, wasted, day, before}, nil
	})
	if err != nil {
		return fmt.Errorf("settle quota of account %s (its reservation ends by itself within %s): %w", account, l.cfg.Lease, err)
	}
	return nil
}

func millis(t time.Time) int64 { return t.UnixMilli() }
