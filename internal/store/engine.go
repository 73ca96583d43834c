package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

const misconf = "MISCONF the store's journal can't be written, so this wasn't accepted for sure; " +
	"free space on its disk, and see the log of the process that owns the store"

// engine carries out commands one at a time and journals what they change. The process that owns the folder has one.
type engine struct {
	dir   string
	log   *slog.Logger
	table map[string]*spec
	j     *journal
	clock func() time.Time
	tune  tuning

	mu      sync.Mutex // guards everything below; taken before the journal's locks
	ks      *keyspace
	lua     *scripting
	subs    *pubsub
	effects [][]string // writes of the command under way
	crashed bool       // the data was left in the middle of a command
	conns   map[*conn]struct{}
	closing bool
	snap    *snapshot // under way
	base    int64     // bytes of the newest snapshot
	older   int64     // bytes of journals that it doesn't cover, but for the current one

	stop chan struct{}
	wake chan struct{} // asks for a compaction
	wg   sync.WaitGroup
}

// tuning holds numbers that tests make smaller or larger.
type tuning struct {
	compactMin   int64         // bytes of journal below which nothing is compacted
	compactRatio int64         // the journals may be this many times the snapshot
	slice        time.Duration // how long a compaction holds up commands at a time
	syncEvery    time.Duration
	renewWrites  int64         // writes after which a compaction also makes the keyspace anew
	greet        time.Duration // how long the end waits for a client that is just greeting
}

func defaultTuning() tuning {
	return tuning{compactMin: 16 << 20, compactRatio: 4, slice: 2 * time.Millisecond, syncEvery: time.Second,
		renewWrites: 4 << 20, greet: 500 * time.Millisecond}
}

// openEngine loads the folder, which the caller has locked, and begins to work.
func openEngine(dir string, fsyncAlways bool, log *slog.Logger, create filesystem, tune tuning) (*engine, error) {
	e := &engine{
		dir: dir, log: log, table: commandTable(), clock: time.Now, tune: tune,
		j:     &journal{dir: dir, always: fsyncAlways, create: create, log: log},
		conns: map[*conn]struct{}{},
		stop:  make(chan struct{}), wake: make(chan struct{}, 1),
	}
	l, err := load(dir, e.table, log)
	if err != nil {
		return nil, err
	}
	if err := openJournal(l, e.j); err != nil {
		l.ks.close()
		return nil, err
	}
	e.ks, e.base, e.older = l.ks, l.snapSize, l.oldSize
	e.subs = newPubsub()
	e.lua = newScripting(e.fromScript)
	e.wg.Go(e.keep)
	e.wg.Go(e.compactLoop)
	return e, nil
}

// keep syncs the journal and deletes expired keys once a second.
func (e *engine) keep() {
	t := time.NewTicker(e.tune.syncEvery)
	defer t.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-t.C:
		}
		e.mu.Lock()
		e.begin()
		pos := e.end()
		e.mu.Unlock()
		_ = e.j.commit(pos) // the journal logs it and tries again
		_ = e.j.sync()
		if e.j.broken.Load() || e.compactionDue() {
			e.askCompaction()
		}
	}
}

// reply is one answer in a connection's buffer.
type reply struct {
	start int   // where it begins
	pos   int64 // what has to be in the journal before it may be sent
	wrote bool  // it acknowledges a write
}

// exec carries out a command of a connection and leaves the reply in the connection's buffer.
func (e *engine) exec(c *conn, args []string) {
	args[0] = strings.ToUpper(args[0])
	e.mu.Lock()
	defer e.mu.Unlock()
	r := reply{start: c.out.Len()}
	e.begin()
	func() {
		defer e.recovered(c, r.start)
		e.dispatch(c, args)
		c.peer.Flush()
	}()
	r.wrote = len(e.effects) > 0
	r.pos = e.end()
	if len(c.replies) == 0 && strings.HasSuffix(args[0], "SUBSCRIBE") {
		c.q.send(c.out.Bytes()) // before the first message, which another connection may send right now
		c.out.Reset()
		return
	}
	c.replies = append(c.replies, r)
	if e.crashed {
		e.renew()
	}
}

// recovered answers for a command that miniredis panicked on. Its data may be half changed and its lock taken, so the
// keyspace is made anew from the journal, which doesn't hold the command.
func (e *engine) recovered(c *conn, start int) {
	p := recover()
	if p == nil {
		return
	}
	e.log.Error("the embedded store failed in a command", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	e.crashed = true
	c.resetPeer()
	c.out.Truncate(start)
	c.out.WriteString("-ERR the embedded store failed in this command; its log tells more\r\n")
}

// begin sets the clock and deletes what has expired.
func (e *engine) begin() {
	e.effects = e.effects[:0]
	e.ks.setNow(e.clock().UnixNano())
	for {
		key, ok := e.ks.expired()
		if !ok {
			return
		}
		args := []string{"DEL", key}
		e.ks.run(e.ks.discard, e.table["DEL"], args)
		e.ks.discard.Flush()
		e.ks.sink.Reset()
		e.effects = append(e.effects, args)
	}
}

// end journals the effects as one record and returns the position the reply has to wait for.
func (e *engine) end() int64 {
	if e.crashed || len(e.effects) == 0 {
		return e.j.position()
	}
	return e.j.append(record{now: e.ks.now, cmds: e.effects})
}

// dispatch carries out a command that isn't part of a script.
func (e *engine) dispatch(c *conn, args []string) {
	if msg := refusal(e.table, args[0], args); msg != "" {
		c.peer.WriteError(msg)
		return
	}
	s := e.table[args[0]]
	if s.kind == control {
		e.control(c, args)
		return
	}
	if c.subscribed() && !c.peer.Resp3 && args[0] != "PING" {
		c.peer.WriteError("ERR only SUBSCRIBE, UNSUBSCRIBE, PSUBSCRIBE, PUNSUBSCRIBE, PING and QUIT are allowed here")
		return
	}
	if s.kind == write && !e.writable() {
		c.peer.WriteError(misconf)
		return
	}
	start := c.out.Len()
	e.ks.run(c.peer, s, args)
	if s.kind == write {
		c.peer.Flush()
		if !s.noop(c.out.Bytes()[start:]) {
			e.effects = append(e.effects, args)
		}
	}
}

// fromScript carries out a command that a script calls, with the reply in RESP2.
func (e *engine) fromScript(args []string, readOnly bool, out *bytes.Buffer, peer *server.Peer) {
	args[0] = strings.ToUpper(args[0])
	if msg := refusal(e.table, args[0], args); msg != "" {
		out.WriteString("-" + msg + "\r\n")
		return
	}
	s := e.table[args[0]]
	switch {
	case e.crashed:
		out.WriteString("-ERR the embedded store failed in this script\r\n")
		return
	case args[0] == "PUBLISH" && len(args) == 3:
		out.WriteString(":" + strconv.Itoa(e.subs.publish(args[1], args[2])) + "\r\n")
		return
	case s.kind == control:
		out.WriteString("-ERR This Redis command is not allowed from script\r\n")
		return
	case s.kind == write && readOnly:
		out.WriteString("-ERR Write commands are not allowed from read-only scripts.\r\n")
		return
	}
	defer func() {
		if p := recover(); p != nil { // the Lua machine would turn it into an error and go on
			e.crashed = true
			e.log.Error("the embedded store failed in a script", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out.Reset()
			out.WriteString("-ERR the embedded store failed in this script\r\n")
		}
	}()
	e.ks.run(peer, s, args)
	peer.Flush()
	if s.kind == write && !s.noop(out.Bytes()) {
		e.effects = append(e.effects, args)
	}
}

// writable tells whether the journal takes writes; after a failure it first tries to write what is left over.
func (e *engine) writable() bool {
	return !e.j.failed.Load() || e.j.commit(e.j.position()) == nil
}

// settle waits until a connection's replies may be sent. Where the journal failed, those that acknowledge a write that
// isn't in it are replaced by an error; answers to reads are not worth refusing.
func (e *engine) settle(c *conn) {
	if len(c.replies) == 0 {
		return
	}
	last := c.replies[len(c.replies)-1]
	if err := e.j.commit(last.pos); err != nil {
		durable := e.j.durable.Load()
		var out bytes.Buffer
		for i, r := range c.replies {
			end := c.out.Len()
			if i+1 < len(c.replies) {
				end = c.replies[i+1].start
			}
			if r.wrote && r.pos > durable {
				out.WriteString("-" + misconf + "\r\n")
			} else {
				out.Write(c.out.Bytes()[r.start:end])
			}
		}
		c.out.Reset()
		c.out.Write(out.Bytes())
	}
	c.replies = c.replies[:0]
}

// renew makes the keyspace anew from the folder: after a panic, and to free what miniredis remembers of keys that are
// gone. The caller holds the lock, so commands wait meanwhile. Where that fails the process can't go on.
func (e *engine) renew() {
	begun := time.Now()
	err := e.j.commit(e.j.position())
	if err != nil && !e.crashed {
		return // another time
	}
	var l *loaded
	if err == nil {
		e.snap = nil // its temporary file is removed
		l, err = load(e.dir, e.table, e.log)
	}
	if err != nil {
		if !e.crashed {
			e.log.Warn("the store's data could not be loaded again", "error", err)
			return
		}
		panic(fmt.Sprintf("the embedded store in %s failed in a command and can't be loaded again: %v", e.dir, err))
	}
	if !e.crashed {
		e.ks.close() // a crashed one holds its own lock; the garbage collector takes it
	}
	e.ks, e.crashed = l.ks, false
	e.log.Info("the store's data was loaded again", "took", time.Since(begun).Round(time.Millisecond))
}

// close ends all connections after the command they are at, and writes and syncs the journal.
func (e *engine) close() error {
	e.mu.Lock()
	e.closing = true
	for c := range e.conns {
		c.hurry()
	}
	e.mu.Unlock()
	close(e.stop)
	e.wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lua.close()
	err := e.j.close()
	e.ks.close()
	if err != nil && !errors.Is(err, errSyncFailed) {
		err = fmt.Errorf("end the journal: %w", err)
	}
	return err
}
