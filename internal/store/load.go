package store

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// errSyncFailed is the state of a journal after a failed sync.
var errSyncFailed = errors.New("the disk failed to sync the journal")

// loaded is the state that the folder's files hold.
type loaded struct {
	ks       *keyspace
	gen      uint32 // of the newest journal, 0 where there is none
	end      int64  // of its last good record
	snapSize int64  // bytes
	oldSize  int64  // bytes of the journals between the snapshot and the newest
}

// load replays the folder into a new keyspace. A record that is cut off or damaged at the very end of the newest journal
// was never answered, or not yet synced when the power failed: it is left out, and end tells where it begins. Damage
// anywhere else is an error.
func load(dir string, table map[string]*spec, log *slog.Logger) (*loaded, error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	snap, journals, err := f.plan()
	if err != nil {
		return nil, err
	}
	ks, err := newKeyspace(table)
	if err != nil {
		return nil, err
	}
	l := &loaded{ks: ks}
	if snap > 0 {
		path := filepath.Join(dir, genName(snapshotPrefix, snap))
		var whole bool
		if l.snapSize, whole, err = replayFile(path, snap, ks); err == nil && !whole {
			err = &damage{path, l.snapSize, errShort}
		}
		if err != nil {
			ks.close()
			return nil, err
		}
	}
	for i, gen := range journals {
		path := filepath.Join(dir, genName(journalPrefix, gen))
		end, _, err := replayFile(path, gen, ks)
		if err != nil && i == len(journals)-1 {
			end, err = tornTail(err, log)
		}
		if err != nil {
			ks.close()
			return nil, err
		}
		l.oldSize += l.end
		l.gen, l.end = gen, end
	}
	return l, nil
}

// damage says where a file stops being readable.
type damage struct {
	path   string
	offset int64
	err    error
}

func (d *damage) Error() string {
	if d.offset < headerSize || strings.HasPrefix(filepath.Base(d.path), snapshotPrefix) {
		return fmt.Sprintf("file %s is damaged at byte %d: %v; put the folder back from a backup, or move it away to begin "+
			"with an empty store", d.path, d.offset, d.err)
	}
	return fmt.Sprintf("file %s is damaged at byte %d: %v; put the folder back from a backup, or, to go on without what "+
		"that file holds from there on, keep a copy of the folder, cut the file with `truncate -s %d %s`, "+
		"and remove the journals with a higher number", d.path, d.offset, d.err, d.offset, d.path)
}

func (d *damage) Unwrap() error { return d.err }

// replayFile carries out a file's records. It returns where the last one ends, and whether that is the empty one that
// ends a snapshot. Its error is a *damage, or the reason why the file couldn't be read.
func replayFile(path string, gen uint32, ks *keyspace) (end int64, whole bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	rd := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, headerSize)
	n, err := io.ReadFull(rd, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, false, err
	}
	if err := checkHeader(head[:n], gen); err != nil {
		return 0, false, &damage{path, 0, err}
	}
	off := int64(headerSize)
	var buf []byte
	for {
		payload, frame, err := readFrame(rd, &buf, info.Size()-off)
		if err == io.EOF {
			return off, whole, nil
		}
		if err != nil {
			return 0, false, &damage{path, off, err}
		}
		r, err := decodeRecord(payload)
		if err == nil {
			err = ks.replay(r)
		}
		if err != nil {
			return 0, false, &damage{path, off, err}
		}
		off += frame
		whole = len(r.cmds) == 0
	}
}

// readFrame returns the next payload, which is good until the next call, and the size of its frame; io.EOF at the end.
func readFrame(rd *bufio.Reader, buf *[]byte, left int64) ([]byte, int64, error) {
	head, err := rd.Peek(frameHeader)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return nil, 0, io.EOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	size, err := frameSize(head)
	if err != nil {
		return nil, 0, err
	}
	if size > left {
		return nil, 0, errShort
	}
	if int64(cap(*buf)) < size {
		*buf = make([]byte, size)
	}
	b := (*buf)[:size]
	if _, err := io.ReadFull(rd, b); err != nil {
		return nil, 0, err
	}
	payload, err := checkFrame(b)
	return payload, size, err
}

// tornTail decides about damage in the newest journal: what was being written when the process or the machine ended
// stands at the very end, with no whole record behind it.
func tornTail(err error, log *slog.Logger) (int64, error) {
	var d *damage
	if !errors.As(err, &d) || !(errors.Is(d.err, errShort) || errors.Is(d.err, errBad)) {
		return 0, err
	}
	b, rerr := os.ReadFile(d.path)
	if rerr != nil {
		return 0, rerr
	}
	if recordBehind(b[d.offset:]) {
		return 0, err
	}
	log.Warn("the end of the store's journal is cut off; what was being written when the program or the machine ended "+
		"is dropped", "file", d.path, "offset", d.offset, "bytes", int64(len(b))-d.offset)
	return d.offset, nil
}

// recordBehind tells whether a whole record begins anywhere behind the first byte.
func recordBehind(b []byte) bool {
	for {
		b = b[min(1, len(b)):]
		i := bytes.Index(b, []byte{marker0, marker1})
		if i < 0 {
			return false
		}
		b = b[i:]
		if _, err := checkFrame(b); err == nil {
			return true
		}
	}
}

// openJournal opens the newest journal for appending, cut to its good part, or begins the first.
func openJournal(l *loaded, j *journal) error {
	if l.gen == 0 {
		return j.begin(1)
	}
	j.gen = l.gen
	f, err := os.OpenFile(j.path(), os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	j.off = max(l.end, headerSize)
	if err = f.Truncate(l.end); err == nil && l.end < headerSize { // killed while it was made
		_, err = f.WriteAt(header(l.gen), 0)
	}
	if err == nil {
		err = f.Sync() // a reader of the state must not see what a power cut can still take back
	}
	if err != nil {
		f.Close()
		return err
	}
	j.f = f
	j.size.Store(j.off)
	return nil
}

func removeQuietly(path string) {
	_ = os.Remove(path) // left over, it is removed at the next start
}
