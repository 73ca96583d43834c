package jobs

import (
	"context"
	"embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// scripts are the state changes of a job, one Lua file each; the header of a file tells its arguments.
type scripts struct {
	client redis.UniversalClient
	byName map[string]*redis.Script
}

func loadScripts(client redis.UniversalClient) (*scripts, error) {
	prelude, err := luaFiles.ReadFile("lua/prelude.lua")
	if err != nil {
		return nil, fmt.Errorf("read the scripts: %w", err)
	}
	s := &scripts{client: client, byName: map[string]*redis.Script{}}
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		return nil, fmt.Errorf("read the scripts: %w", err)
	}
	for _, f := range files {
		body, err := luaFiles.ReadFile("lua/" + f.Name())
		if err != nil {
			return nil, fmt.Errorf("read the scripts: %w", err)
		}
		name := f.Name()[:len(f.Name())-len(".lua")]
		s.byName[name] = redis.NewScript(string(prelude) + string(body))
	}
	return s, nil
}

func (s *scripts) run(ctx context.Context, name, id string, more []string, args ...any) *redis.Cmd {
	return s.byName[name].Run(ctx, s.client, append(keysOf(id).common(), more...), args...)
}

// verdict runs a script that answers {number, state}.
func (s *scripts) verdict(ctx context.Context, name, id string, more []string, args ...any) (int64, State, error) {
	res, err := s.run(ctx, name, id, more, args...).Slice()
	if err != nil {
		return 0, "", fmt.Errorf("%s job %s: %w", name, id, err)
	}
	if len(res) != 2 {
		return 0, "", fmt.Errorf("%s job %s: unexpected answer %v", name, id, res)
	}
	n, err := strconv.ParseInt(fmt.Sprint(res[0]), 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("%s job %s: unexpected answer %v", name, id, res)
	}
	return n, State(fmt.Sprint(res[1])), nil
}

// hold is a unit that this worker has claimed.
type hold struct {
	job, unit, worker string
	fence             string
}

// owned runs a script that answers {1 or 0 (lost), state}; lost is transfer.ErrFenced.
func (s *scripts) owned(ctx context.Context, name string, h hold, more []string, args ...any) (State, error) {
	n, state, err := s.verdict(ctx, name, h.job, more, args...)
	if err == nil && n != 1 {
		err = fmt.Errorf("%s %s of job %s: %w", name, h.unit, h.job, transfer.ErrFenced)
	}
	return state, err
}

func (s *scripts) claim(ctx context.Context, id, unit string, attempt int64, worker string, lease time.Duration) (hold, State, error) {
	fence, state, err := s.verdict(ctx, "claim", id, nil, unit, attempt, worker, lease.Milliseconds())
	if err != nil {
		return hold{}, "", err
	}
	h := hold{job: id, unit: unit, worker: worker}
	if fence != 0 {
		h.fence = strconv.FormatInt(fence, 10)
	}
	return h, state, nil
}

func (s *scripts) renew(ctx context.Context, h hold, lease time.Duration, live string) (State, error) {
	return s.owned(ctx, "renew", h, nil, h.unit, h.fence, lease.Milliseconds(), h.worker, live)
}

// giveBack says how a unit is returned unfinished.
type giveBack struct {
	parked bool
	need   int64 // bytes that would let something of it go on
	wait   bool  // the whole job waits, at once
	reason Reason
	until  time.Time // zero where nobody knows
	err    string
}

func (s *scripts) giveback(ctx context.Context, h hold, g giveBack) (State, error) {
	where, wait := "ready", "0"
	if g.parked {
		where = "parked"
	}
	if g.wait {
		wait = "1"
	}
	return s.owned(ctx, "giveback", h, nil, h.unit, h.fence, h.worker, where, g.need, string(g.reason), millis(g.until), g.err, wait)
}

// transition changes the state of a job from outside; h is the unit that must be held, if any.
func (s *scripts) transition(ctx context.Context, id string, allowed string, to, by, errText string, h hold) (State, error) {
	n, state, err := s.verdict(ctx, "transition", id, nil, allowed, to, by, errText, h.unit, h.fence)
	switch {
	case err != nil:
		return "", err
	case state == "":
		return "", fmt.Errorf("job %s: %w", id, ErrNotFound)
	case n == -1:
		return state, fmt.Errorf("%s of job %s: %w", h.unit, id, transfer.ErrFenced)
	case n == 0:
		return state, fmt.Errorf("job %s is %s: %w", id, state, ErrState)
	}
	return state, nil
}

// task is one thing to be sent to the queue.
type task struct {
	unit    string
	attempt int64
}

// feed takes up to window units of the job that no task was sent for, and tells the queue that they go to.
func (s *scripts) feed(ctx context.Context, id string, window int) (queue string, tasks []task, err error) {
	res, err := s.run(ctx, "feed", id, nil, window).StringSlice()
	if err != nil {
		return "", nil, fmt.Errorf("feed job %s: %w", id, err)
	}
	if len(res) == 0 {
		return "", nil, nil
	}
	tasks, err = parseTasks(res[1:])
	return res[0], tasks, err
}

func parseTasks(pairs []string) ([]task, error) {
	var tasks []task
	for i := 0; i+1 < len(pairs); i += 2 {
		n, err := strconv.ParseInt(pairs[i+1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read attempt of %s: %w", pairs[i], err)
		}
		tasks = append(tasks, task{pairs[i], n})
	}
	return tasks, nil
}

// audited is what an audit of a job found.
type audited struct {
	state      State
	reason     Reason
	until      time.Time
	queue      string
	need       int64 // smallest parked need in bytes; -1 where nothing is parked
	owner      string
	ownerUntil time.Time
	lost       int64 // units taken back from workers that are gone
	tasks      []task
}

func (s *scripts) audit(ctx context.Context, id string, resend time.Duration, dead []string) (audited, error) {
	args := []any{resend.Milliseconds()}
	for _, d := range dead {
		args = append(args, d)
	}
	res, err := s.run(ctx, "audit", id, nil, args...).StringSlice()
	if err != nil {
		return audited{}, fmt.Errorf("audit job %s: %w", id, err)
	}
	if len(res) < 8 {
		return audited{}, fmt.Errorf("audit job %s: unexpected answer %v", id, res)
	}
	a := audited{state: State(res[0]), reason: Reason(res[1]), until: fromMillis(res[2]), queue: res[3], need: -1,
		owner: res[5], ownerUntil: fromMillis(res[6]), lost: number(res[7])}
	if res[4] != "" {
		need, err := strconv.ParseFloat(res[4], 64)
		if err != nil {
			return audited{}, fmt.Errorf("audit job %s: read need: %w", id, err)
		}
		a.need = int64(need)
	}
	a.tasks, err = parseTasks(res[8:])
	return a, err
}

// millis is a time as the scripts keep it: ms since 1970 UTC, "" for the zero time.
func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

func fromMillis(s string) time.Time {
	n := number(s)
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// number reads a counter; a missing one is 0.
func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
