package xtest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
)

// When says at which side of a call's effect a fault strikes.
type When int

// The sides.
const (
	Before When = iota // the call fails and has had no effect
	After              // the call has had its effect and its answer is lost
)

// Fault strikes call number N, counted from 1 over all the counters of a Script.
type Fault struct {
	N    int
	Op   string // strike the N-th call of this operation only; "" counts every call
	On   bool   // strike every later call too, as if the process or the network had died
	When When
	Err  error
	Do   func(path string) // run before the error; with a nil Err the call goes on after it
	Flip bool              // for uploads: one bit of what is stored is wrong
	Cut  int64             // for uploads: this many bytes are missing at the end of what is stored
}

// Script counts the calls to all remotes that share it and strikes where a Fault says so.
type Script struct {
	mu     sync.Mutex
	n      int
	byOp   map[string]int
	faults []Fault
	hits   int
	log    []string
}

// NewScript makes a script; without faults it only counts.
func NewScript(faults ...Fault) *Script { return &Script{byOp: map[string]int{}, faults: faults} }

// Calls is how many calls were made so far.
func (s *Script) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

// CallsOf is how many calls were made of one operation ("src.Open").
func (s *Script) CallsOf(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byOp[op]
}

// Hits is how many faults have struck.
func (s *Script) Hits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}

// Log is the calls in order, each "op path".
func (s *Script) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// call counts a call and returns the fault that strikes it, nil for none.
func (s *Script) call(op, path string) *Fault {
	s.mu.Lock()
	s.n++
	s.byOp[op]++
	s.log = append(s.log, op+" "+path)
	var hit *Fault
	for i := range s.faults {
		f := &s.faults[i]
		n := s.n
		if f.Op != "" {
			n = s.byOp[op]
		}
		if (f.Op == "" || f.Op == op) && (n == f.N || f.On && n > f.N) {
			s.hits++
			hit = f
			break
		}
	}
	s.mu.Unlock()
	if hit != nil && hit.Do != nil {
		hit.Do(path)
	}
	return hit
}

// do runs one call under the script.
func (s *Script) do(op, path string, effect func() error) error {
	f := s.call(op, path)
	if f != nil && f.When == Before && f.Err != nil {
		return f.Err
	}
	err := effect()
	if f != nil && f.When == After && f.Err != nil {
		return f.Err
	}
	return err
}

// FaultFs wraps a remote so that its calls are counted and fail by a script. Its optional features are those that the
// engine uses: Move, PutStream and UnWrap.
type FaultFs struct {
	fs.Fs
	NoHashes bool                                  // the remote has no hashes
	NoTimes  bool                                  // the remote keeps no modification times
	Lie      func(remote string, size int64) int64 // the size it reports; nil is the truth
	Claim    func(remote, hash string) string      // the hash it reports; nil is the truth

	name     string // "src" or "dst": the first half of operation names
	script   *Script
	features *fs.Features
}

// Wrap makes a FaultFs. Operations are named name.List, name.NewObject, name.Put, name.Move, name.Rmdir, name.Mkdir,
// and for objects name.Open, name.Read, name.Close, name.Hash, name.Update, name.Remove.
func Wrap(ctx context.Context, f fs.Fs, name string, s *Script) *FaultFs {
	w := &FaultFs{Fs: f, name: name, script: s}
	feat := *f.Features()
	base := feat
	feat.Purge, feat.Copy, feat.DirMove, feat.ListR, feat.ListP = nil, nil, nil, nil, nil
	feat.OpenWriterAt, feat.OpenChunkWriter, feat.PutUnchecked, feat.Shutdown = nil, nil, nil, nil
	feat.UnWrap = func() fs.Fs { return f }
	if base.Move != nil {
		feat.Move = func(ctx context.Context, o fs.Object, remote string) (out fs.Object, err error) {
			if fo, ok := o.(*object); ok {
				o = fo.Object
			}
			err = s.do(name+".Move", remote, func() (err error) { out, err = base.Move(ctx, o, remote); return err })
			return w.wrap(out), err
		}
	}
	if base.PutStream != nil {
		feat.PutStream = func(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
			return w.upload(ctx, "Put", in, info, func(in io.Reader) (fs.Object, error) { return base.PutStream(ctx, in, info, opts...) })
		}
	}
	w.features = &feat
	return w
}

// Features implements fs.Info.
func (w *FaultFs) Features() *fs.Features { return w.features }

// Hashes implements fs.Info.
func (w *FaultFs) Hashes() hash.Set {
	if w.NoHashes {
		return hash.NewHashSet()
	}
	return w.Fs.Hashes()
}

// Precision implements fs.Info.
func (w *FaultFs) Precision() time.Duration {
	if w.NoTimes {
		return fs.ModTimeNotSupported
	}
	return w.Fs.Precision()
}

// wrap makes an object of the wrapped remote one of w; nil stays nil.
func (w *FaultFs) wrap(o fs.Object) fs.Object {
	if o == nil {
		return nil
	}
	return &object{Object: o, f: w}
}

// List implements fs.Fs.
func (w *FaultFs) List(ctx context.Context, dir string) (entries fs.DirEntries, err error) {
	err = w.script.do(w.name+".List", dir, func() (err error) { entries, err = w.Fs.List(ctx, dir); return err })
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if o, ok := e.(fs.Object); ok {
			entries[i] = w.wrap(o)
		}
	}
	return entries, nil
}

// NewObject implements fs.Fs.
func (w *FaultFs) NewObject(ctx context.Context, remote string) (o fs.Object, err error) {
	err = w.script.do(w.name+".NewObject", remote, func() (err error) { o, err = w.Fs.NewObject(ctx, remote); return err })
	if err != nil {
		return nil, err
	}
	return w.wrap(o), nil
}

// Put implements fs.Fs.
func (w *FaultFs) Put(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) (fs.Object, error) {
	return w.upload(ctx, "Put", in, info, func(in io.Reader) (fs.Object, error) { return w.Fs.Put(ctx, in, info, opts...) })
}

// upload runs one upload under the script, storing damaged bytes where the fault says so.
func (w *FaultFs) upload(ctx context.Context, op string, in io.Reader, info fs.ObjectInfo,
	put func(io.Reader) (fs.Object, error)) (fs.Object, error) {
	f := w.script.call(w.name+"."+op, info.Remote())
	if f == nil {
		o, err := put(in)
		return w.wrap(o), err
	}
	if f.When == Before && f.Err != nil {
		return nil, f.Err
	}
	if f.Flip || f.Cut > 0 {
		data, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		in = damaged(data, f)
	}
	o, err := put(in)
	if f.When == After && f.Err != nil {
		return nil, f.Err
	}
	return w.wrap(o), err
}

// Mkdir implements fs.Fs.
func (w *FaultFs) Mkdir(ctx context.Context, dir string) error {
	return w.script.do(w.name+".Mkdir", dir, func() error { return w.Fs.Mkdir(ctx, dir) })
}

// Rmdir implements fs.Fs.
func (w *FaultFs) Rmdir(ctx context.Context, dir string) error {
	return w.script.do(w.name+".Rmdir", dir, func() error { return w.Fs.Rmdir(ctx, dir) })
}

// object is an object of a FaultFs.
type object struct {
	fs.Object
	f *FaultFs
}

// Fs implements fs.DirEntry.
func (o *object) Fs() fs.Info { return o.f }

// UnWrap implements fs.ObjectUnWrapper.
func (o *object) UnWrap() fs.Object { return o.Object }

// ID implements fs.IDer.
func (o *object) ID() string {
	if x, ok := o.Object.(fs.IDer); ok {
		return x.ID()
	}
	return ""
}

// Hash implements fs.ObjectInfo.
func (o *object) Hash(ctx context.Context, t hash.Type) (h string, err error) {
	if o.f.NoHashes {
		return "", hash.ErrUnsupported
	}
	err = o.f.script.do(o.f.name+".Hash", o.Remote(), func() (err error) { h, err = o.Object.Hash(ctx, t); return err })
	if o.f.Claim != nil {
		h = o.f.Claim(o.Remote(), h)
	}
	return h, err
}

// Size implements fs.DirEntry.
func (o *object) Size() int64 {
	if o.f.Lie != nil {
		return o.f.Lie(o.Remote(), o.Object.Size())
	}
	return o.Object.Size()
}

// Open implements fs.Object.
func (o *object) Open(ctx context.Context, opts ...fs.OpenOption) (in io.ReadCloser, err error) {
	err = o.f.script.do(o.f.name+".Open", o.Remote(), func() (err error) { in, err = o.Object.Open(ctx, opts...); return err })
	if err != nil {
		if in != nil {
			_ = in.Close()
		}
		return nil, err
	}
	return &reader{in: in, o: o}, nil
}

// Update implements fs.Object.
func (o *object) Update(ctx context.Context, in io.Reader, info fs.ObjectInfo, opts ...fs.OpenOption) error {
	_, err := o.f.upload(ctx, "Update", in, info, func(in io.Reader) (fs.Object, error) {
		return o.Object, o.Object.Update(ctx, in, info, opts...)
	})
	return err
}

// Remove implements fs.Object.
func (o *object) Remove(ctx context.Context) error {
	return o.f.script.do(o.f.name+".Remove", o.Remote(), func() error { return o.Object.Remove(ctx) })
}

// reader counts the reads of an open object.
type reader struct {
	in io.ReadCloser
	o  *object
}

func (r *reader) Read(p []byte) (n int, err error) {
	err = r.o.f.script.do(r.o.f.name+".Read", r.o.Remote(), func() (err error) { n, err = r.in.Read(p); return err })
	return n, err
}

func (r *reader) Close() error {
	return r.o.f.script.do(r.o.f.name+".Close", r.o.Remote(), r.in.Close)
}

// damaged is what a faulty upload stores instead of data.
func damaged(data []byte, f *Fault) io.Reader {
	data = bytes.Clone(data)
	if f.Flip && len(data) > 0 {
		data[len(data)/2] ^= 1
	}
	return bytes.NewReader(data[:max(int64(len(data))-f.Cut, 0)])
}
