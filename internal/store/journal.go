package store

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// journal appends records to the newest journal file. A record is first added to a buffer, under the engine's lock and
// so in the order of execution; commit then writes whatever has gathered, for all connections at once.
//
// After a failed write the buffer is kept, and the next commit tries the same bytes at the same place again, so the
// file never has a hole. After a failed sync the kernel may have dropped pages that it reports as written: nothing in
// that file is relied on any more, and only a new snapshot (see compact.go) makes the store accept writes again.
type journal struct {
	dir    string
	always bool // sync before replies
	create filesystem
	log    *slog.Logger

	mu       sync.Mutex // guards buf and appended
	buf      []byte
	appended int64 // bytes ever added to buf

	io      sync.Mutex // guards everything below; taken before mu
	f       file
	gen     uint32
	off     int64  // where the next record goes: all before it is written
	pending []byte // taken out of buf, not yet written

	size    atomic.Int64 // off, to be read without the lock
	durable atomic.Int64 // of appended: as safe as the mode promises
	dirty   atomic.Bool  // written but not synced
	failed  atomic.Bool  // the last commit failed
	broken  atomic.Bool  // the last sync failed
}

// append adds a record and returns the position that commit has to reach before the command may be answered.
func (j *journal) append(r record) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.buf)
	j.buf = appendFrame(j.buf, r)
	j.appended += int64(len(j.buf) - before)
	return j.appended
}

// commit returns when everything up to the position is written, and synced where the mode is "always". Its error means
// that the record may or may not be in the journal; it is kept and tried again.
func (j *journal) commit(pos int64) error {
	if j.durable.Load() >= pos {
		return nil
	}
	j.io.Lock()
	defer j.io.Unlock()
	if j.durable.Load() >= pos { // another connection has done it meanwhile
		return nil
	}
	return j.flush()
}

// flush writes what has gathered. The caller holds io.
func (j *journal) flush() error {
	if j.broken.Load() {
		return errSyncFailed
	}
	upTo := j.take()
	if err := j.write(); err != nil {
		if !j.failed.Swap(true) {
			j.log.Error("the store's journal can't be written; writes are refused until it can",
				"file", j.path(), "error", err)
		}
		return fmt.Errorf("write %s: %w", j.path(), err)
	}
	j.dirty.Store(true)
	if j.always {
		if err := j.syncLocked(); err != nil {
			return err
		}
	}
	j.durable.Store(upTo)
	if j.failed.Swap(false) {
		j.log.Info("the store's journal can be written again", "file", j.path())
	}
	return nil
}

// take moves the buffer into pending and returns the position that pending reaches.
func (j *journal) take() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.pending) == 0 {
		j.pending, j.buf = j.buf, j.pending[:0]
	} else {
		j.pending = append(j.pending, j.buf...)
		j.buf = j.buf[:0]
	}
	return j.appended
}

func (j *journal) write() error {
	if len(j.pending) == 0 {
		return nil
	}
	if _, err := j.f.WriteAt(j.pending, j.off); err != nil {
		// Part of it may be there. Without the cut that part would be a torn tail at the next start, which is no harm.
		_ = j.f.Truncate(j.off)
		return err
	}
	j.off += int64(len(j.pending))
	j.size.Store(j.off)
	if cap(j.pending) > 4<<20 { // after a burst
		j.pending = nil
	}
	j.pending = j.pending[:0]
	return nil
}

// sync makes what is written durable. It holds no lock while it waits for the disk.
func (j *journal) sync() error {
	if !j.dirty.Swap(false) {
		return nil
	}
	j.io.Lock()
	f := j.f
	j.io.Unlock()
	err := f.Sync()
	if err == nil {
		return nil
	}
	j.io.Lock()
	defer j.io.Unlock()
	if f != j.f { // a compaction has synced and closed it meanwhile
		return nil
	}
	j.markBroken(err)
	return err
}

func (j *journal) syncLocked() error {
	j.dirty.Store(false)
	if err := j.f.Sync(); err != nil {
		j.markBroken(err)
		return err
	}
	return nil
}

func (j *journal) markBroken(err error) {
	j.broken.Store(true)
	j.failed.Store(true)
	j.log.Error("the store's journal can't be synced; writes are refused until its data is written to a new file",
		"file", j.path(), "error", err)
}

// rotate ends the current file and begins the next generation. The caller holds the engine's lock, so that no record
// falls in between.
func (j *journal) rotate() error {
	j.io.Lock()
	defer j.io.Unlock()
	if j.broken.Load() {
		// The snapshot that follows holds what the buffers hold, and nobody was told that it's safe.
		j.take()
		j.pending = nil
	} else {
		if err := j.flush(); err != nil {
			return err
		}
		if err := j.syncLocked(); err != nil { // the next file must not survive a power cut that this one's end doesn't
			return err
		}
	}
	return j.begin(j.gen + 1)
}

// begin creates the journal of a generation and makes it the current one.
func (j *journal) begin(gen uint32) error {
	path := filepath.Join(j.dir, genName(journalPrefix, gen))
	f, err := j.create(path)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(header(gen), 0); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		f.Close()
		removeQuietly(path)
		return fmt.Errorf("begin %s: %w", path, err)
	}
	if j.f != nil {
		j.f.Close() // synced before
	}
	j.f, j.gen, j.off = f, gen, headerSize
	j.size.Store(j.off)
	j.dirty.Store(false)
	return nil
}

// mended tells the journal that a snapshot now holds everything up to the position.
func (j *journal) mended(pos int64) {
	j.io.Lock()
	defer j.io.Unlock()
	if j.broken.Swap(false) {
		j.failed.Store(false)
		j.durable.Store(max(pos, j.durable.Load()))
		j.log.Info("the store's data is safe in a new file; writes are accepted again", "file", j.path())
	}
}

func (j *journal) position() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.appended
}

func (j *journal) path() string { return filepath.Join(j.dir, genName(journalPrefix, j.gen)) }

// close writes and syncs what is left.
func (j *journal) close() error {
	j.io.Lock()
	defer j.io.Unlock()
	err := j.flush()
	if err == nil {
		err = j.syncLocked()
	}
	if cerr := j.f.Close(); err == nil {
		err = cerr
	}
	return err
}
