package cloudtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	sessionLife    = 7 * 24 * time.Hour
	maxUploadBody  = 150 << 20
	maxBatchLength = 1000
)

// dropboxSession is an upload session.
type dropboxSession struct {
	mu       sync.Mutex // held while a body is read: a second append at the same time waits and finds its offset wrong
	begun    time.Time
	content  *contentWriter
	closed   bool
	finished bool
}

// sessionCursor says which session is meant and how much of it the client has sent.
type sessionCursor struct {
	SessionID string `json:"session_id"`
	Offset    int64  `json:"offset"`
}

// commitInfo says what becomes of an upload.
type commitInfo struct {
	Path           string          `json:"path"`
	Mode           writeMode       `json:"mode"`
	Autorename     bool            `json:"autorename"`
	ClientModified string          `json:"client_modified"`
	Mute           bool            `json:"mute"`
	PropertyGroups json.RawMessage `json:"property_groups"`
	StrictConflict bool            `json:"strict_conflict"`
}

// writeMode is "add", "overwrite" or "update" with a rev; JSON may give a union or only the tag.
type writeMode struct {
	Tag    string `json:".tag"`
	Update string `json:"update"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *writeMode) UnmarshalJSON(b []byte) error {
	type plain writeMode
	err := json.Unmarshal(b, &m.Tag)
	if err != nil {
		err = json.Unmarshal(b, (*plain)(m))
	}
	switch {
	case err != nil:
		return fmt.Errorf("read mode: %w", err)
	case m.Tag != "add" && m.Tag != "overwrite" && m.Tag != "update":
		return fmt.Errorf("mode: unknown tag %q", m.Tag)
	case m.Tag == "update" && m.Update == "":
		return errors.New("mode: update: missing rev")
	}
	return nil
}

// finishArg is one upload to be ended.
type finishArg struct {
	Cursor      sessionCursor `json:"cursor"`
	Commit      commitInfo    `json:"commit"`
	ContentHash string        `json:"content_hash"`
}

// readBody appends the body of a call and checks its size and its hash, where one was sent.
func readBody(c *dropboxCall, w *contentWriter, hash string) error {
	err := w.take(c.r.Body, maxUploadBody, hash)
	switch {
	case errors.Is(err, errTooLarge):
		return fail("payload_too_large")
	case errors.Is(err, errMismatch):
		return fail("content_hash_mismatch")
	case err != nil:
		panic(http.ErrAbortHandler) // the client is gone; nothing was kept
	}
	return nil
}

func (d *Dropbox) sessionStart(c *dropboxCall) (any, error) {
	var arg struct {
		Close       bool            `json:"close"`
		SessionType json.RawMessage `json:"session_type"`
		ContentHash string          `json:"content_hash"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	if strings.Contains(string(arg.SessionType), "concurrent") {
		return nil, badInput(c.route.path, "request body: session_type: concurrent sessions aren't played")
	}
	d.mu.Lock()
	s := &dropboxSession{begun: d.w.now(), content: newContentWriter(d.forget), closed: arg.Close}
	d.mu.Unlock()
	if err := readBody(c, s.content, arg.ContentHash); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.roomFor(s.content.blob.size); err != nil {
		return nil, err
	}
	d.serial++
	d.count.started++
	id := fmt.Sprintf("pid_upload_session:ABDd%012x", d.serial)
	d.sessions[id] = s
	return union{"session_id": id}, nil
}

// roomFor refuses bytes of a session where the account is full, if the service looks that early.
func (d *Dropbox) roomFor(size int64) error {
	if d.spaceEarly && d.used+size > d.space {
		return fail("insufficient_space")
	}
	return nil
}

// session finds a live session.
func (d *Dropbox) session(id string) *dropboxSession {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[id]
	if s != nil && d.w.now().Sub(s.begun) > sessionLife {
		delete(d.sessions, id)
		return nil
	}
	return s
}

// incorrect is the union for a wrong offset.
func (s *dropboxSession) incorrect() union {
	return union{".tag": "incorrect_offset", "correct_offset": s.content.blob.size}
}

func (d *Dropbox) sessionAppend(c *dropboxCall) (any, error) {
	var arg struct {
		Cursor      sessionCursor `json:"cursor"`
		Close       bool          `json:"close"`
		ContentHash string        `json:"content_hash"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	s := d.session(arg.Cursor.SessionID)
	if s == nil {
		return nil, fail("not_found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case arg.Cursor.Offset != s.content.blob.size:
		return nil, failWith(s.incorrect())
	case s.closed:
		return nil, fail("closed")
	}
	d.mu.Lock()
	err := d.roomFor(s.content.blob.size + max(c.r.ContentLength, 0))
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	before := s.content.snapshot()
	if err := readBody(c, s.content, arg.ContentHash); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.roomFor(s.content.blob.size); err != nil {
		*s.content = before
		return nil, err
	}
	s.closed = arg.Close
	return nil, nil
}

// lookupFailed tells why a session can't be finished; nil where it can. batch sessions must have been closed.
func (s *dropboxSession) lookupFailed(offset int64, batch bool) union {
	switch {
	case s == nil || s.finished:
		return nest("lookup_failed", "not_found")
	case offset != s.content.blob.size:
		return wrapTag("lookup_failed", s.incorrect())
	case batch && !s.closed:
		return nest("lookup_failed", "not_closed")
	}
	return nil
}

// finish ends one session. It returns the file, or the UploadSessionFinishError.
func (d *Dropbox) finish(arg finishArg, batch bool) (union, union) {
	s := d.session(arg.Cursor.SessionID)
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
	}
	if failed := s.lookupFailed(arg.Cursor.Offset, batch); failed != nil {
		return nil, failed
	}
	blob, meant := s.content.done()
	d.mu.Lock()
	defer d.mu.Unlock()
	file, refused := d.commit(arg.Commit, blob, meant)
	if refused != nil {
		return nil, wrapTag("path", refused)
	}
	s.finished, s.closed, s.content = true, true, &contentWriter{blob: dropboxBlob{size: blob.size}, stored: s.content.stored}
	d.count.finished++
	return file, nil
}

func (d *Dropbox) sessionFinish(c *dropboxCall) (any, error) {
	var arg finishArg
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	if s := d.session(arg.Cursor.SessionID); s != nil {
		s.mu.Lock()
		failed := s.lookupFailed(arg.Cursor.Offset, false)
		var err error
		if failed != nil {
			err = failWith(failed)
		} else {
			err = readBody(c, s.content, arg.ContentHash)
			arg.Cursor.Offset = s.content.blob.size
		}
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
	}
	d.committed()
	file, failed := d.finish(arg, false)
	if failed != nil {
		return nil, failWith(failed)
	}
	return file, nil
}

func (d *Dropbox) finishBatch(c *dropboxCall) (any, error) {
	var arg struct {
		Entries []finishArg `json:"entries"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	if len(arg.Entries) > maxBatchLength {
		return nil, badInput(c.route.path, "request body: entries: expected at most %d items, got %d", maxBatchLength, len(arg.Entries))
	}
	if !c.late {
		d.committed()
	}
	entries := []union{}
	for _, e := range arg.Entries {
		file, failed := union(nil), tag("too_many_write_operations")
		if !c.late {
			file, failed = d.finish(e, true)
		}
		if failed != nil {
			entries = append(entries, union{".tag": "failure", "failure": failed})
			continue
		}
		file[".tag"] = "success"
		entries = append(entries, file)
	}
	return union{"entries": entries}, nil
}

// committed counts a call that commits.
func (d *Dropbox) committed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count.commits++
}

func (d *Dropbox) uploadFile(c *dropboxCall) (any, error) {
	var arg struct {
		commitInfo
		ContentHash string `json:"content_hash"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	w := newContentWriter(d.forget)
	d.mu.Unlock()
	if err := readBody(c, w, arg.ContentHash); err != nil {
		return nil, err
	}
	d.committed()
	blob, meant := w.done()
	d.mu.Lock()
	defer d.mu.Unlock()
	file, refused := d.commit(arg.commitInfo, blob, meant)
	if refused != nil {
		return nil, failWith(union{".tag": "path", "reason": refused, "upload_session_id": "pid_upload_session:none"})
	}
	return file, nil
}

// commit makes content a file. It returns the file's metadata, or the WriteError.
func (d *Dropbox) commit(info commitInfo, blob *dropboxBlob, meant string) (union, union) {
	when := d.w.now()
	if info.ClientModified != "" {
		t, err := time.Parse("2006-01-02T15:04:05Z", info.ClientModified)
		if err != nil {
			return nil, tag("other")
		}
		when = t
	}
	p, refused := d.target(info.Path)
	if refused != nil {
		return nil, refused
	}
	p, same, refused := d.settle(p, info, blob)
	if refused != nil {
		return nil, refused
	}
	if same {
		return p.there.metadata(), nil
	}
	replaced := int64(0)
	if p.there != nil {
		replaced = p.there.file.blob.size
	}
	if d.used-replaced+blob.size > d.space {
		return nil, tag("insufficient_space")
	}
	n := d.write(p, blob, when)
	m := n.metadata()
	if meant != "" && d.hashes != HashStored {
		m["content_hash"] = meant
		if d.hashes == HashSentAlways {
			n.file.told = meant
		}
	}
	return m, nil
}

// settle applies the write mode: where the file goes, whether it is there already, or the WriteError.
func (d *Dropbox) settle(p place, info commitInfo, blob *dropboxBlob) (to place, same bool, refused union) {
	there := p.there
	if there == nil {
		if info.Mode.Tag == "update" && info.StrictConflict {
			return p, false, nest("conflict", "file")
		}
		return p, false, nil
	}
	mark := numbered
	if there.file != nil {
		equal := there.file.blob.hash == blob.hash && !info.StrictConflict
		matches := info.Mode.Tag == "update" && there.file.rev == info.Mode.Update
		switch {
		case equal || (info.Mode.Tag == "overwrite" || matches) && there.file.blob.hash == blob.hash:
			return p, true, nil
		case info.Mode.Tag == "overwrite" || matches:
			return p, false, nil
		case info.Mode.Tag == "update":
			mark = func(i int) string {
				if i == 1 {
					return " (conflicted copy)"
				}
				return fmt.Sprintf(" (conflicted copy %d)", i)
			}
		}
	}
	if info.Autorename {
		return d.free(p, mark), false, nil
	}
	return p, false, p.conflict()
}

// write puts content at a place, over what is there.
func (d *Dropbox) write(p place, blob *dropboxBlob, when time.Time) *dropboxNode {
	d.count.entries++
	file := &dropboxFile{blob: blob, rev: d.newRev(), clientModified: when, serverModified: d.w.now()}
	if n := p.there; n != nil {
		d.used += blob.size - n.file.blob.size
		n.file = file
		d.record(n.display())
		return n
	}
	n := &dropboxNode{id: d.newID(), file: file}
	d.attach(p.names, n)
	return n
}
