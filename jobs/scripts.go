package jobs

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/transfer"
)

//go:embed lua
var luaFiles embed.FS

// script puts files of lua/ one behind the other into one script.
func script(names ...string) *redis.Script {
	var source []byte
	for _, name := range names {
		body, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the file is part of the program
		}
		source = append(source, body...)
	}
	return redis.NewScript(string(source))
}

// scripts are the state changes of a job, one Lua file each; the header of a file tells its arguments.
type scripts struct {
	client  redis.UniversalClient
	byName  map[string]*redis.Script
	version int // of the jobs that this program can work on
}

func loadScripts(client redis.UniversalClient) *scripts {
	files, err := luaFiles.ReadDir("lua")
	if err != nil {
		panic(err) // as for script
	}
	s := &scripts{client: client, byName: map[string]*redis.Script{}, version: jobVersion}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), ".lua"); ok {
			s.byName[name] = script("prelude", name)
		}
	}
	return s
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

// markLength is that of the mark of a claim: 40 bits, which have to differ only from those of claims of the same unit that
// a Redis has forgotten.
const markLength = 8

// hold is a unit that this worker has claimed.
type hold struct {
	job, unit, worker string
	fence             string   // number and mark, as "7.MARK"
	former            []string // fences of claims before it, the last few
	tail              *tail    // one for all copies of the hold
	crashes           string   // deaths of workers with this unit, see lua/audit.lua; "" for none
	deaths            int64    // of workers with any unit of the job, but for those that a file explains
}

// tail is the end of what a claim has recorded. Records of one claim are written one after the other.
type tail struct {
	count  int64
	last   string // record that is surely stored; "" for none
	broken bool   // it isn't known what of the record behind it is stored
}

// attempt is the number in the fence.
func (h hold) attempt() int64 {
	n, _, _ := strings.Cut(h.fence, ".")
	return number(n)
}

// owned runs a script that answers {1 or 0 (lost), state}; lost is transfer.ErrFenced.
func (s *scripts) owned(ctx context.Context, name string, h hold, more []string, args ...any) (State, error) {
	n, state, err := s.verdict(ctx, name, h.job, more, args...)
	if err == nil && n != 1 {
		err = fmt.Errorf("%s %s of job %s: %w", name, h.unit, h.job, transfer.ErrFenced)
	}
	return state, err
}

// claim gives a unit to the worker, if the attempt is still its number. Where it isn't, the hold has no fence.
func (s *scripts) claim(ctx context.Context, id, unit string, attempt int64, worker string, lease time.Duration) (hold, State, error) {
	return s.claimed(ctx, id, worker, unit, attempt, worker, lease.Milliseconds(), "")
}

// claimNext gives the worker the first unit that was sent and that nobody holds, of a job of that lane. Where there is
// none, the hold has no fence.
func (s *scripts) claimNext(ctx context.Context, id, lane, worker string, lease time.Duration) (hold, error) {
	h, _, err := s.claimed(ctx, id, worker, "", 0, worker, lease.Milliseconds(), lane)
	return h, err
}

func (s *scripts) claimed(ctx context.Context, id, worker string, args ...any) (hold, State, error) {
	res, err := s.run(ctx, "claim", id, []string{keysOf(id).crashes()}, append(args, s.version, rand.Text()[:markLength])...).StringSlice()
	if err != nil {
		return hold{}, "", fmt.Errorf("claim work of job %s: %w", id, err)
	}
	if len(res) != 6 {
		return hold{}, "", fmt.Errorf("claim work of job %s: unexpected answer %v", id, res)
	}
	return hold{job: id, unit: res[2], worker: worker, fence: res[0], former: strings.Fields(res[3]), tail: &tail{}, crashes: res[4],
		deaths: number(res[5])}, State(res[1]), nil
}

func (s *scripts) renew(ctx context.Context, h hold, lease time.Duration, live string) (State, error) {
	return s.owned(ctx, "renew", h, nil, h.unit, h.fence, lease.Milliseconds(), h.worker, live)
}

// giveBack says how a unit is returned unfinished.
type giveBack struct {
	parked   bool
	need     int64         // bytes that would let something of it go on; needTime where only time or a person can help
	patience time.Duration // how long the job doesn't wait though all is parked, since it may fit again soon
	wait     bool          // the whole job waits, at once
	reason   Reason
	until    time.Time // zero where nobody knows
	err      string
	served   bool // the unit was granted what the job had claimed for it
}

func (s *scripts) giveback(ctx context.Context, h hold, g giveBack) (State, error) {
	where := "ready"
	if g.parked {
		where = "parked"
	}
	return s.owned(ctx, "giveback", h, nil, h.unit, h.fence, h.worker, where, g.need, string(g.reason), millis(g.until), g.err, g.wait,
		g.patience.Milliseconds(), g.served)
}

// wake makes a job go on that waits for quota, or that has parked units; not where it was woken in vain a moment ago,
// unless that is to be overlooked.
func (s *scripts) wake(ctx context.Context, id, by string, anyway bool) error {
	_, _, err := s.verdict(ctx, "wake", id, nil, by, anyway)
	return err
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

// feed takes up to window units of the job that no task was sent for, and tells the queue that they go to and the job's
// account ("" for a job of an earlier version).
func (s *scripts) feed(ctx context.Context, id string, window int) (queue, account string, tasks []task, err error) {
	res, err := s.run(ctx, "feed", id, nil, window).StringSlice()
	if err != nil {
		return "", "", nil, fmt.Errorf("feed job %s: %w", id, err)
	}
	if len(res) < 2 {
		return "", "", nil, nil
	}
	tasks, err = parseTasks(res[2:])
	return res[0], res[1], tasks, err
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
	need       int64 // bytes that would let something go on; -1 where nothing is parked; needTime where no bytes would help
	owner      string
	ownerUntil time.Time
	lost       int64     // units taken back from workers that are gone
	now        time.Time // by the store's clock
	unit       string    // the parked one that needs least, "" for none
	claim      claim     // the unit that has waited longest for quota
	claimHeld  bool      // a worker holds that unit
	version    int       // that a worker needs
	fresh      bool      // the history has lines that may be news
	tasks      []task
}

// audit takes back what workers that are gone hold; dead are those known to be, alive those known not to be.
func (s *scripts) audit(ctx context.Context, id string, resend time.Duration, dead, alive []string) (audited, error) {
	args := []any{resend.Milliseconds(), len(dead)}
	for _, name := range slices.Concat(dead, alive) {
		args = append(args, name)
	}
	res, err := s.run(ctx, "audit", id, []string{keysOf(id).crashes()}, args...).StringSlice()
	if err != nil {
		return audited{}, fmt.Errorf("audit job %s: %w", id, err)
	}
	if len(res) < 14 {
		return audited{}, fmt.Errorf("audit job %s: unexpected answer %v", id, res)
	}
	a := audited{state: State(res[0]), reason: Reason(res[1]), until: fromMillis(res[2]), queue: res[3], need: -1,
		owner: res[5], ownerUntil: fromMillis(res[6]), lost: number(res[7]),
		now: fromMillis(res[8]), unit: res[9], claimHeld: res[11] == "1", version: versionNumber(res[12]), fresh: res[13] == "1"}
	if a.claim, err = parseClaim(res[10]); err != nil {
		return audited{}, fmt.Errorf("audit job %s: %w", id, err)
	}
	if res[4] != "" {
		need, err := strconv.ParseFloat(res[4], 64)
		if err != nil {
			return audited{}, fmt.Errorf("audit job %s: read need: %w", id, err)
		}
		a.need = int64(need)
	}
	a.tasks, err = parseTasks(res[14:])
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
