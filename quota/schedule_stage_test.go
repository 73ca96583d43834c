package quota

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"offload/internal/redistest"
)

// Limits of a schedule.
const (
	stageSeats = 6  // processes
	maxCrashes = 12 // of them, or a large file would never end
)

// stage is what the schedules of one lane share: a redis-server and the links that the processes of a schedule use.
type stage struct {
	server  *redistest.Server
	gate    sync.RWMutex // held for reading while a link is dialed, for writing while the server is away
	links   []*link
	eye     *redis.Client // the auditor's link, which nothing disturbs; the clock is set through it too
	scripts scripts
	audit   *redis.Script
}

// link is the connection of one process to Redis.
type link struct {
	client *redis.Client
	owner  atomic.Pointer[actor]
}

var (
	errGone  = errors.New("the process is gone")
	errAudit = errors.New("broken promise")
)

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{server: redistest.StartServer(t), scripts: movableScripts(t), audit: redis.NewScript(auditSource)}
	socket := s.server.Socket()
	s.eye = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: 3, PoolSize: 2})
	t.Cleanup(func() { _ = s.eye.Close() })
	for range stageSeats {
		l := &link{}
		l.client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1, PoolSize: 2,
			Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				// Nobody reaches a restarted server before its clock is set again.
				s.gate.RLock()
				defer s.gate.RUnlock()
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}})
		l.client.AddHook(l)
		t.Cleanup(func() { _ = l.client.Close() })
		s.links = append(s.links, l)
	}
	return s
}

func (l *link) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *link) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return l.through(func() error { return next(ctx, cmd) }, cmd)
	}
}

func (l *link) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return l.through(func() error { return next(ctx, cmds) }, cmds...)
	}
}

// through makes one call to Redis: others may do their steps before it, and it may fail or kill its process.
func (l *link) through(call func() error, cmds ...redis.Cmder) error {
	a := l.owner.Load()
	if a == nil || a.calling { // the second is a connection's greeting
		return call()
	}
	a.calling = true
	defer func() { a.calling = false }()
	lose := func(err error) error {
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
		return err
	}
	f := noFault
	if !a.again {
		f = a.beforeCall()
	}
	a.again = false
	if a.dead {
		return lose(errGone)
	}
	if f == loseRequest {
		a.failed++
		return lose(errLink)
	}
	err := call()
	if redis.HasErrorPrefix(err, "NOSCRIPT") { // the same step goes on with the whole script
		a.again = true
		return err
	}
	a.afterCall(f, len(cmds) == 1 && a.w.stage.asks(cmds[0]))
	if a.dead {
		return lose(errGone)
	}
	if f == loseAnswer {
		return lose(errLink)
	}
	return err
}

// fault is what goes wrong with a call.
type fault int

const (
	noFault fault = iota
	loseRequest
	loseAnswer
	dieAfter
)

// actor is one process of a schedule, or its agitator. It is one goroutine, be it a free one or a coroutine that runs
// only while the others stand still.
type actor struct {
	w      *world
	name   string
	rnd    *rand.Rand
	seat   *link
	ledger *Ledger
	smooth bool // its calls never fail

	yield    func(struct{}) bool // of a coroutine
	resume   func() (struct{}, bool)
	stop     func()
	ready    func() bool // what it waits for, called with the world's lock held; nil while it works
	again    bool        // the next call belongs to the last step
	calling  bool        // a call to Redis is under way
	dead     bool        // the process is gone: it reads nothing and Redis hears nothing of it
	answered int         // calls whose answer came
	failed   int         // those that got none
	starts   map[string]int64
}

// pause lets others do their steps.
func (a *actor) pause() {
	if a.yield == nil {
		runtime.Gosched()
	} else if !a.yield(struct{}{}) {
		a.dead = true
	}
}

// await parks the actor until ready, and returns false where the schedule is over.
func (a *actor) await(ready func() bool) bool {
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	a.ready = ready
	for !ready() && !w.over {
		if a.yield == nil {
			w.cond.Wait()
			continue
		}
		w.mu.Unlock()
		a.pause()
		w.mu.Lock()
	}
	a.ready = nil
	return !w.over
}

func (a *actor) beforeCall() fault {
	if a.dead {
		return noFault
	}
	a.pause()
	w := a.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		a.dead = true
	}
	if a.dead || a.smooth {
		return noFault
	}
	if w.down > 0 {
		w.down--
		w.hits.down++
		return loseRequest
	}
	if !w.rough {
		return noFault
	}
	n := a.rnd.IntN(1000)
	if n < 16 && w.hits.crashes >= maxCrashes {
		return noFault
	}
	switch {
	case n < 8:
		a.die("before a call")
	case n < 16:
		return dieAfter
	case n < 28:
		w.hits.links++
		w.notef("%s: a request is lost", a.name)
		return loseRequest
	case n < 40:
		w.hits.answers++
		w.notef("%s: an answer is lost", a.name)
		return loseAnswer
	}
	return noFault
}

// asks tells whether a call only asks for the status, so that there is nothing to audit.
func (s *stage) asks(cmd redis.Cmder) bool {
	args := cmd.Args()
	return len(args) > 1 && args[0] == "evalsha" && args[1] == s.scripts.status.Hash()
}

func (a *actor) afterCall(f fault, asked bool) {
	if a.yield != nil && !asked {
		a.w.look(a)
	}
	switch f {
	case dieAfter:
		a.w.mu.Lock()
		a.die("after a call")
		a.w.mu.Unlock()
	case loseAnswer:
		a.failed++
	default:
		a.answered++
	}
}

// die ends the process here. The world's lock is held.
func (a *actor) die(where string) {
	a.dead = true
	a.w.hits.crashes++
	a.w.notef("%s dies %s", a.name, where)
}

// mayDie ends the process once in a while.
func (a *actor) mayDie(where string) bool {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	if a.w.over {
		a.dead = true
	}
	if !a.dead && a.w.rough && !a.smooth && a.rnd.IntN(150) == 0 && a.w.hits.crashes < maxCrashes {
		a.die(where)
	}
	return a.dead
}

// born gives the actor a ledger of its own, as a new process has.
func (a *actor) born() {
	a.dead = false
	a.seat.owner.Store(nil)
	l, err := New(a.seat.client, a.w.cfg)
	if err != nil {
		a.w.fail(err)
		return
	}
	l.scripts = a.w.stage.scripts
	a.ledger = l
	a.seat.owner.Store(a)
}

// begin starts the actor's work, as a goroutine where the schedule runs freely.
func (a *actor) begin(work func(*actor), free bool, group *sync.WaitGroup) {
	if free {
		group.Go(func() { work(a) })
		return
	}
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		a.yield = yield
		if yield(struct{}{}) {
			work(a)
		}
	})
	a.resume()
}

func (s scripts) all() []*redis.Script {
	return []*redis.Script{s.reserve, s.charge, s.touch, s.end, s.sweep, s.status, s.set, s.claim, s.unclaim, s.exhausted}
}
