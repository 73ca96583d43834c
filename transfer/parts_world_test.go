package transfer_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	rhash "github.com/rclone/rclone/fs/hash"

	"offload/transfer"
)

// parted is a source with one file, "big", that hands out parts of it. Its connections break by a plan.
type parted struct {
	fs.Fs                              // whatever else a remote does
	exact bool                         // it gives the part that was asked for or fails, and has an etag; else it has an MD5 and gives what it will
	plan  []int                        // bytes that each connection gives before it breaks; those after the last break no more
	whole bool                         // it ignores ranges and gives the whole
	reset bool                         // breaks are resets: nobody knows what was on its way
	shift []int64                      // bytes that each opening is off
	asked func(open int, offset int64) // called before each opening; open counts from 1
	packs bool                         // the file is a package now
	broke func()                       // called when a connection breaks
	late  bool                         // the file's last bytes come together with a reset
	sum   func() []byte                // its checksum; nil for none

	mu      sync.Mutex
	content []byte
	version int
	served  int64
	offsets []int64 // of the openings
}

var errReset = errors.New("connection reset by peer")

func (p *parted) Hashes() rhash.Set {
	if p.exact {
		return rhash.NewHashSet()
	}
	return rhash.NewHashSet(rhash.MD5)
}

func (p *parted) Features() *fs.Features {
	feat := *p.Fs.Features()
	feat.PutStream, feat.Move, feat.Copy, feat.ListR, feat.ListP, feat.Purge = nil, nil, nil, nil, nil, nil
	return &feat
}

// change gives the file another content.
func (p *parted) change(content []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.content, p.version = content, p.version+1
}

func (p *parted) now() *bigFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := md5.Sum(p.content)
	return &bigFile{p: p, size: int64(len(p.content)), md5: hex.EncodeToString(sum[:]), version: p.version}
}

func (p *parted) NewObject(_ context.Context, remote string) (fs.Object, error) {
	if remote != "big" || p.gone() {
		return nil, fs.ErrorObjectNotFound
	}
	if f := p.now(); !p.exact {
		return f, nil
	} else {
		return exactFile{f}, nil
	}
}

func (p *parted) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.content == nil
}

func (p *parted) List(ctx context.Context, _ string) (fs.DirEntries, error) {
	o, err := p.NewObject(ctx, "big")
	if err != nil {
		return nil, nil
	}
	return fs.DirEntries{o}, nil
}

func (p *parted) opened() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int64(nil), p.offsets...)
}

func (p *parted) gave() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.served
}

// bigFile is a version of the file. Like many a cloud it hands out the newest, whatever version it is of.
type bigFile struct {
	p       *parted
	size    int64
	md5     string
	version int
}

func (f *bigFile) Fs() fs.Info    { return f.p }
func (f *bigFile) String() string { return "big" }
func (f *bigFile) Remote() string { return "big" }
func (f *bigFile) ModTime(context.Context) time.Time {
	return day.Add(time.Duration(f.version) * time.Hour)
}
func (f *bigFile) Size() int64 {
	if f.p.packs {
		return -1
	}
	return f.size
}
func (f *bigFile) Storable() bool                              { return true }
func (f *bigFile) SetModTime(context.Context, time.Time) error { return fs.ErrorCantSetModTime }
func (f *bigFile) Update(context.Context, io.Reader, fs.ObjectInfo, ...fs.OpenOption) error {
	return fs.ErrorNotImplemented
}

func (f *bigFile) Hash(_ context.Context, t rhash.Type) (string, error) {
	if t != rhash.MD5 || f.p.exact {
		return "", rhash.ErrUnsupported
	}
	return f.md5, nil
}

func (f *bigFile) Remove(context.Context) error {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.content = nil
	return nil
}

func (f *bigFile) Open(_ context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	var from int64
	for _, o := range options {
		if r, ok := o.(*fs.RangeOption); ok {
			from = r.Start
		}
	}
	p := f.p
	p.mu.Lock()
	p.offsets = append(p.offsets, from)
	n := len(p.offsets)
	p.mu.Unlock()
	if p.asked != nil {
		p.asked(n, from)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := from
	if n <= len(p.shift) {
		at += p.shift[n-1]
	}
	if p.whole {
		at = 0
	}
	at = min(at, int64(len(p.content)))
	c := &conn{p: p, r: bytes.NewReader(p.content[at:]), left: -1}
	if n <= len(p.plan) {
		c.left = p.plan[n-1]
	}
	return c, nil
}

// exactFile is a bigFile with an etag, of a source that vouches for its parts.
type exactFile struct{ *bigFile }

func (f exactFile) ETag() string { return fmt.Sprint("v", f.version) }
func (f exactFile) ReadsParts()  {}
func (f exactFile) Checksum() hash.Hash {
	if f.p.sum == nil {
		return nil
	}
	return sha1.New()
}

func (f exactFile) Check(sum []byte) error {
	if f.p.sum != nil && !bytes.Equal(sum, f.p.sum()) {
		return errors.New("not what the source's checksum tells")
	}
	return nil
}

func (f exactFile) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	if len(options) > 0 && f.p.whole {
		f.p.mu.Lock()
		f.p.offsets = append(f.p.offsets, -1)
		f.p.mu.Unlock()
		return nil, fmt.Errorf("answered 200: %w", transfer.ErrNoParts)
	}
	return f.bigFile.Open(ctx, options...)
}

// Package implements transfer.Packaged.
func (f exactFile) Package() bool { return f.p.packs }

// conn is one connection.
type conn struct {
	p    *parted
	r    *bytes.Reader
	left int // bytes before it breaks; negative for never
}

func (c *conn) Read(b []byte) (int, error) {
	if c.left == 0 {
		if c.p.broke != nil {
			c.p.broke()
		}
		if c.p.reset {
			return 0, errReset
		}
		return 0, io.ErrUnexpectedEOF
	}
	if c.left > 0 {
		b = b[:min(len(b), c.left)]
	}
	n, err := c.r.Read(b)
	if c.left > 0 {
		c.left -= n
	}
	if c.p.late && n > 0 && c.r.Len() == 0 {
		err = errReset
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.p.served += int64(n)
	return n, err
}

func (c *conn) Close() error { return nil }

// keeper is a destination that goes on with uploads.
type keeper struct {
	fs.Fs
	chunk int64
	sent  func(part transfer.Part) error // called before each chunk is taken; an error of it breaks the upload
	stays bool                           // an upload stays known after its commit

	mu       sync.Mutex
	sessions map[string][]byte
	begun    int
	asked    int // calls of Held
	resumed  []int64
}

func newKeeper(f fs.Fs) *keeper {
	return &keeper{Fs: f, chunk: 1 << 20, sessions: map[string][]byte{}}
}

func (k *keeper) Features() *fs.Features {
	feat := *k.Fs.Features()
	feat.PutStream, feat.Move = nil, nil
	return &feat
}

func (k *keeper) ResumesFrom() int64 { return 2 << 20 }

func (k *keeper) Held(_ context.Context, p transfer.Part) (transfer.Part, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	s, ok := k.sessions[p.ID]
	if !ok {
		return p, fmt.Errorf("session %s: %w", p.ID, transfer.ErrPartLost)
	}
	p.Offset = int64(len(s))
	return p, nil
}

func (k *keeper) PutPart(ctx context.Context, in io.Reader, info fs.ObjectInfo, up transfer.PartUpload) (fs.Object, error) {
	p := up.Part
	k.mu.Lock()
	if p.ID == "" {
		k.begun++
		p.ID = fmt.Sprint("session", k.begun)
		k.sessions[p.ID] = nil
	} else {
		k.resumed = append(k.resumed, p.Offset)
	}
	k.mu.Unlock()
	buf := make([]byte, k.chunk)
	for p.Offset < info.Size() {
		n, err := io.ReadFull(in, buf[:min(k.chunk, info.Size()-p.Offset)])
		if err != nil {
			return nil, err
		}
		if k.sent != nil {
			if err := k.sent(p); err != nil {
				return nil, err
			}
		}
		k.mu.Lock()
		s, ok := k.sessions[p.ID]
		if ok && p.Offset+int64(n) > int64(len(s)) { // what it has it isn't sent again
			k.sessions[p.ID] = append(s, buf[int64(len(s))-p.Offset:n]...)
		}
		k.mu.Unlock()
		if !ok {
			return nil, transfer.ErrPartLost
		}
		p.Offset += int64(n)
		if err := up.Kept(p); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	content := k.sessions[p.ID]
	if !k.stays {
		delete(k.sessions, p.ID)
	}
	k.mu.Unlock()
	return k.Fs.Put(ctx, bytes.NewReader(content), info)
}
