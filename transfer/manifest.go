package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"github.com/rclone/rclone/fs/object"
)

// manifestNames is how many names are tried for a manifest where others stand in the way.
const manifestNames = 9

// ManifestFile is a manifest that is to be kept at the destination.
type ManifestFile struct {
	Name    string    // in ManifestDir; where something else has it a number is put in: "JOB.2.manifest.gz"
	Body    *os.File  // the whole of it, in a file of its own
	ModTime time.Time // that it is to have
	// Ours tells whether a whole file is an earlier manifest of the same job: it may be replaced. It reads it to its end.
	Ours func(io.Reader) bool
	// Held is asked just before anything is written or removed, as Env.Held.
	Held func() error
}

// PutManifest keeps a manifest at the destination and proves it there, by the destination's hash or by reading it back. It
// returns its path. What stands in its place and isn't this job's stays; the manifest takes another name then. It may be
// called again: what is there already isn't sent again. An error of the destination says on which side it is (SignInRefused).
func (p *Pair) PutManifest(ctx context.Context, m ManifestFile) (string, error) {
	k := &manifestKeeper{p: p, m: m, types: proofTypes(p.Dest)}
	if err := k.sumUp(); err != nil {
		return "", err
	}
	at := ""
	err := p.engine.retry.withDefaults().try(ctx, func() (err error) {
		at, err = k.keep(ctx)
		return err
	})
	return at, err
}

// manifestKeeper keeps one manifest.
type manifestKeeper struct {
	p     *Pair
	m     ManifestFile
	types []hash.Type
	sums  map[hash.Type]string
	size  int64
}

// sumUp takes the sums that the copy is proved by.
func (k *manifestKeeper) sumUp() error {
	h, err := newHasher(k.types)
	if err != nil {
		return err
	}
	if _, err := k.m.Body.Seek(0, io.SeekStart); err != nil {
		return &spoolError{fmt.Errorf("read manifest: %w", err)}
	}
	if k.size, err = io.Copy(h, k.m.Body); err != nil {
		return &spoolError{fmt.Errorf("read manifest: %w", err)}
	}
	k.sums = h.Sums()
	return nil
}

// keep puts the manifest where it is, or under the first name that is free or its own.
func (k *manifestKeeper) keep(ctx context.Context) (string, error) {
	for n := 1; n <= manifestNames; n++ {
		name := path.Join(ManifestDir, numbered(k.m.Name, n))
		there, err := k.look(ctx, name)
		if errors.Is(err, fs.ErrorIsDir) || errors.Is(err, fs.ErrorNotAFile) {
			continue
		}
		if err != nil {
			return "", destErr("look for the manifest", err)
		}
		if there != nil {
			err := k.prove(ctx, there)
			if err == nil {
				return name, nil
			}
			if !isMismatch(err) {
				return "", err
			}
			earlier, beginning, err := k.isOurs(ctx, there)
			if err != nil {
				return "", err
			}
			if !ruleManifestIsOurs(earlier, beginning) {
				continue
			}
		}
		return name, k.put(ctx, name, there)
	}
	return "", fmt.Errorf("keep the manifest: %d names beginning with %s are taken by other files", manifestNames, path.Join(ManifestDir, k.m.Name))
}

// numbered is a name with a number before its extension; the first has none.
func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	stem, ext, _ := strings.Cut(name, ".")
	return fmt.Sprintf("%s.%d.%s", stem, n, ext)
}

// look finds a file of the destination anew; nil where there is none.
func (k *manifestKeeper) look(ctx context.Context, name string) (fs.Object, error) {
	o, err := k.p.destEye.NewObject(ctx, name)
	if isNotFound(err) {
		return nil, nil
	}
	return o, err
}

// prove compares a file of the destination with the manifest; other content is errMismatch (wrapped).
func (k *manifestKeeper) prove(ctx context.Context, o fs.Object) error {
	if o.Size() >= 0 && o.Size() != k.size {
		return destErr("compare manifest", errMismatch)
	}
	for _, t := range k.types {
		h, err := hashOf(ctx, o, t, traits{}) // an upload of ours carries no claim that could be echoed
		if err != nil {
			return destErr("read hash", err)
		}
		if h == "" {
			continue
		}
		if h != k.sums[t] {
			return destErr("compare manifest", errMismatch)
		}
		return nil
	}
	sum, n, err := readBack(ctx, o)
	if err != nil {
		return destErr("read manifest back", err)
	}
	if sum != k.sums[readBackType()] || n != k.size {
		return destErr("compare manifest", errMismatch)
	}
	return nil
}

// isOurs reads a file that stands in the manifest's place: is it an earlier manifest of the job, or the beginning of this one,
// which an upload left that was cut off?
func (k *manifestKeeper) isOurs(ctx context.Context, o fs.Object) (earlier, beginning bool, err error) {
	read := func(do func(io.Reader)) error {
		in, err := o.Open(ctx)
		if err != nil {
			return destErr("read manifest", err)
		}
		failed := &lastError{r: cancelable(ctx, in)}
		do(failed)
		_ = in.Close() // all that was wanted has been read
		if failed.err != nil && !errors.Is(failed.err, io.EOF) {
			return destErr("read manifest", failed.err)
		}
		return nil
	}
	if err := read(func(r io.Reader) { earlier = k.m.Ours(r) }); err != nil || earlier {
		return earlier, false, err
	}
	err = read(func(r io.Reader) { beginning = isBeginning(r, io.NewSectionReader(k.m.Body, 0, k.size)) })
	return false, beginning, err
}

// lastError remembers how a reading ended.
type lastError struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (l *lastError) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.err = err
	return n, err
}

// isBeginning tells whether a reader holds nothing but the beginning of another.
func isBeginning(part, whole io.Reader) bool {
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := io.ReadFull(part, a)
		if m, _ := io.ReadFull(whole, b[:n]); m != n || !bytes.Equal(a[:n], b[:n]) {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}

// put writes the manifest to a name that is free, or in the place of what is ours, and proves it.
func (k *manifestKeeper) put(ctx context.Context, name string, over fs.Object) error {
	if err := k.p.checkRoom(ctx, k.size); err != nil {
		return err
	}
	if err := k.m.Held(); err != nil {
		return portErr("write the manifest", err)
	}
	var put fs.Object
	var err error
	if feat := k.p.Dest.Features(); feat.PartialUploads && feat.Move != nil {
		put, err = k.putPartial(ctx, name, over)
	} else {
		put, err = k.send(ctx, name, over)
	}
	if err != nil {
		return err
	}
	o, err := k.look(ctx, name)
	if err == nil && o == nil {
		err = errNotArrived
	}
	if err != nil {
		return destErr("look for the manifest", err)
	}
	err = k.prove(ctx, o)
	if isMismatch(err) && ruleRemoveOnlyOurs(markOf(ctx, put), markOf(ctx, o)) && k.m.Held() == nil {
		if rerr := o.Remove(ctx); rerr != nil {
			err = errors.Join(err, destErr("remove a bad manifest", rerr))
		}
	}
	return err
}

// send uploads to a name, or over what is there.
func (k *manifestKeeper) send(ctx context.Context, name string, over fs.Object) (fs.Object, error) {
	info := object.NewStaticObjectInfo(name, k.m.ModTime, k.size, true, nil, k.p.Source)
	in := cancelable(ctx, io.NewSectionReader(k.m.Body, 0, k.size))
	if over != nil {
		return over, destErr("write the manifest", over.Update(ctx, in, info))
	}
	o, err := k.p.Dest.Put(ctx, in, info)
	return o, destErr("write the manifest", err)
}

// putPartial uploads to a partial name, proves that, and gives it the real name. In that moment what stands there is still
// what was found there.
func (k *manifestKeeper) putPartial(ctx context.Context, name string, over fs.Object) (fs.Object, error) {
	partial := name + PartialSuffix
	if left, err := k.look(ctx, partial); err == nil && left != nil {
		_ = left.Remove(ctx) // of a process that was killed: only manifests of this job have this name
	}
	o, err := k.send(ctx, partial, nil)
	if err == nil {
		err = k.prove(ctx, o)
	}
	if err == nil {
		o, err = k.takeName(ctx, o, name, over)
	}
	if err != nil {
		clean, done := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer done()
		if left, lerr := k.look(clean, partial); lerr == nil && left != nil {
			_ = left.Remove(clean) // one that stays is removed at the next attempt; a scan passes over it
		}
		return nil, err
	}
	return o, nil
}

func (k *manifestKeeper) takeName(ctx context.Context, o fs.Object, name string, over fs.Object) (fs.Object, error) {
	now, err := k.look(ctx, name)
	if err != nil {
		return nil, destErr("look for the manifest", err)
	}
	if now != nil && (over == nil || !ruleRemoveOnlyOurs(markOf(ctx, over), markOf(ctx, now))) {
		return nil, destErr("rename the manifest", ErrTaken)
	}
	if err := k.m.Held(); err != nil {
		return nil, portErr("rename the manifest", err)
	}
	if now != nil && !k.p.Dest.Features().IsLocal { // a disk replaces it in one step
		if err := now.Remove(ctx); err != nil {
			return nil, destErr("remove the earlier manifest", err)
		}
	}
	moved, err := k.p.Dest.Features().Move(ctx, o, name)
	return moved, destErr("rename the manifest", err)
}

// Scratch makes a file in the spool folder for what is to be sent; drop must be called when it isn't needed any more.
func (p *Pair) Scratch() (f *os.File, drop func(), err error) {
	f, err = os.CreateTemp(p.engine.spool, "offload-spool-")
	if err != nil {
		return nil, nil, spoolFailed(p.engine.spool, "make spool file", err)
	}
	_ = os.Remove(f.Name()) // Windows keeps it until it is dropped
	return f, func() { dropSpool(f) }, nil
}
