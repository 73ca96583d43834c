package store

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// snapshot is a compaction under way: the state at the moment when the current journal began, written down while
// commands go on. A key is written down before the first command changes it, so whatever the order, the snapshot holds
// what the key was at that moment. A crash at any point leaves the snapshot before and all journals since.
type snapshot struct {
	gen  uint32
	pos  int64 // the journal's position at that moment
	keys []string
	todo map[string]struct{} // not yet written down
	buf  []byte
	err  error
}

// compactionDue tells whether the journals have outgrown the snapshot.
func (e *engine) compactionDue() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.j.size.Load() + e.older
	return n > e.tune.compactMin && n > e.tune.compactRatio*e.base
}

func (e *engine) askCompaction() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// compactLoop compacts when asked to. After a failure it waits longer each time, up to a minute.
func (e *engine) compactLoop() {
	wait := time.Duration(0)
	for {
		select {
		case <-e.stop:
			return
		case <-e.wake:
		}
		err := e.compact()
		if err == nil {
			wait = 0
			continue
		}
		e.log.Warn("the store's journal could not be compacted; it is tried again", "error", err)
		wait = min(max(2*wait, time.Second), time.Minute)
		t := time.NewTimer(wait)
		select {
		case <-e.stop:
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// compact writes a snapshot and removes what it replaces.
func (e *engine) compact() error {
	s, err := e.beginSnapshot()
	if err != nil {
		return err
	}
	path := filepath.Join(e.dir, genName(snapshotPrefix, s.gen))
	size, err := e.writeSnapshot(s, path+tempSuffix)
	if err == nil {
		err = os.Rename(path+tempSuffix, path)
	}
	if err == nil {
		err = syncDir(e.dir)
	}
	if err != nil {
		removeQuietly(path + tempSuffix)
	}
	e.endSnapshot(s, size, err == nil)
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	e.log.Debug("the store's journal was compacted", "file", path, "bytes", size)
	if f, err := readFolder(e.dir); err == nil {
		_ = f.removeBefore(s.gen) // what stays is removed at the next start
	}
	return nil
}

// endSnapshot goes back to work without a snapshot under way. Now and then it also makes the keyspace anew.
func (e *engine) endSnapshot(s *snapshot, size int64, whole bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snap == s {
		e.snap, e.ks.before = nil, nil
	}
	if !whole {
		return
	}
	e.base, e.older = size, 0
	e.j.mended(s.pos)
	if e.ks.writes > e.tune.renewWrites && !e.j.failed.Load() {
		e.renew()
	}
}

// beginSnapshot begins a new journal and notes which keys there are.
func (e *engine) beginSnapshot() (*snapshot, error) {
	if !e.j.broken.Load() {
		if err := e.j.commit(e.j.position()); err != nil {
			return nil, err
		}
		_ = e.j.sync() // most of it without holding up commands
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	size := e.j.size.Load()
	pos := e.j.position()
	if err := e.j.rotate(); err != nil {
		return nil, err
	}
	e.older += size
	s := &snapshot{gen: e.j.gen, pos: pos, keys: e.ks.db.Keys()}
	s.todo = make(map[string]struct{}, len(s.keys))
	for _, k := range s.keys {
		s.todo[k] = struct{}{}
	}
	e.snap = s
	e.ks.before = func(keys []string, all bool) {
		if all {
			keys = s.keys
		}
		for _, k := range keys {
			s.write(e.ks, k)
		}
	}
	return s, nil
}

// write writes a key down unless that was done before. The caller holds the engine's lock.
func (s *snapshot) write(ks *keyspace, key string) {
	if _, ok := s.todo[key]; !ok || s.err != nil {
		return
	}
	delete(s.todo, key)
	s.buf, s.err = ks.dump(s.buf, key)
}

// writeSnapshot writes all keys down, a slice of time after the other, and returns the file's size once it is synced.
func (e *engine) writeSnapshot(s *snapshot, path string) (int64, error) {
	f, err := e.j.create(path)
	if err != nil {
		return 0, err
	}
	at := &appender{f: f}
	w := bufio.NewWriterSize(at, 1<<20)
	_, err = w.Write(header(s.gen))
	for more := true; more && err == nil; {
		var b []byte
		if b, more, err = e.snapshotSlice(s); err == nil {
			_, err = w.Write(b)
		}
		runtime.Gosched()
	}
	if err == nil {
		_, err = w.Write(appendFrame(nil, record{})) // an empty record tells that it's whole
	}
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return at.off, err
}

// snapshotSlice returns what was written down since the last call, and whether there is more to come.
func (e *engine) snapshotSlice(s *snapshot) ([]byte, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snap != s {
		return nil, false, fmt.Errorf("the data was loaded again meanwhile")
	}
	if e.closing {
		return nil, false, fmt.Errorf("the store is being closed")
	}
	begun := time.Now()
	for len(s.keys) > 0 && s.err == nil && time.Since(begun) < e.tune.slice && len(s.buf) < 4<<20 {
		s.write(e.ks, s.keys[0])
		s.keys = s.keys[1:]
	}
	b := s.buf
	s.buf = nil
	return b, len(s.keys) > 0, s.err
}

// appender writes to the end of a file.
type appender struct {
	f   file
	off int64
}

var _ io.Writer = (*appender)(nil)

func (a *appender) Write(b []byte) (int, error) {
	n, err := a.f.WriteAt(b, a.off)
	a.off += int64(n)
	return n, err
}
