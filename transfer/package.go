package transfer

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
)

// spooled is the zip of a package, whole on this machine: the bytes that everything after it is compared with (safety
// rule 5). It stands in for the source file, with its real length.
type spooled struct {
	fs.Object // the package itself
	file      *os.File
	size      int64 // bytes
	mark      mark  // the version of the package that it is
}

// Size implements fs.Object.
func (s *spooled) Size() int64 { return s.size }

// Open implements fs.Object.
func (s *spooled) Open(context.Context, ...fs.OpenOption) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file, 0, s.size)), nil
}

// isPackage tells whether an object is known to be a package.
func isPackage(o fs.Object) bool {
	p, ok := o.(Packaged)
	return ok && p.Package()
}

// evidenceOf is what the source's own checksum said of the last reading of o, "" for nothing.
func evidenceOf(o fs.Object) string {
	if e, ok := o.(Evidence); ok {
		return e.Evidence()
	}
	return ""
}

// packageSuffixes are the names that packages usually have. They only save an attempt: what a file is the source tells
// when it is opened.
func packageSuffixes() []string {
	return []string{".pages", ".numbers", ".key", ".band", ".logicx", ".rtfd", ".imovielibrary", ".theater", ".graffle",
		".omnifocus", ".photoslibrary", ".app", ".bundle", ".playground", ".xcodeproj", ".garageband", ".pxm", ".oo3"}
}

// resolved asks the source what an object is, where its name or an earlier attempt says that it may be a package.
func (w *work) resolved(ctx context.Context, src fs.Object) (fs.Object, error) {
	r, ok := src.(Resolver)
	if !ok || !w.packed && !slices.Contains(packageSuffixes(), strings.ToLower(path.Ext(src.Remote()))) {
		return src, nil
	}
	o, err := r.Resolve(ctx)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, sourceErr("ask for source file", err)
	}
	return o, nil
}

// packageName is where the zip of a package goes. Pages, Numbers and Keynote open such a zip under the document's own
// name; anything else has to be unpacked first, and its name says so.
func packageName(p string) string {
	if slices.Contains([]string{".pages", ".numbers", ".key"}, strings.ToLower(path.Ext(p))) {
		return p
	}
	return p + ".zip"
}

// movePackage brings a package to the destination as one zip and proves that. m is the mark of the package as listed.
func (w *work) movePackage(ctx context.Context, src fs.Object, m mark) (Outcome, error) {
	w.dropPart() // what was a file may be a package now
	if w.pack == nil || !w.pack.mark.same(m) {
		w.dropPack()
		pack, err := w.spoolPackage(ctx, src, m)
		if err != nil {
			return Outcome{}, err
		}
		w.pack = pack
	}
	pl, err := w.place(ctx, packageName(w.e.DestPath()), m, true, func(dst fs.Object, target string) (Outcome, error) {
		return w.existingPackage(ctx, dst, target, m)
	})
	if err != nil {
		return Outcome{}, err
	}
	o := pl.outcome
	if o.Result == Pending {
		if err := w.r.p.checkRoom(ctx, w.pack.size); err != nil {
			return Outcome{}, err
		}
		// The traffic was paid when the package was spooled.
		if o, _, _, err = w.sendAndProve(ctx, w.pack, m, pl, freeGrant{}); err != nil {
			return Outcome{}, err
		}
	}
	o.Package = true
	return o, nil
}

// spoolPackage reads a package whole, metered as it comes, and tests the zip.
func (w *work) spoolPackage(ctx context.Context, src fs.Object, m mark) (*spooled, error) {
	if err := w.spoolRoom(); err != nil {
		return nil, err
	}
	var pack *spooled
	err := w.metered(ctx, -1, 0, func(grant Grant) (used, vain int64, err error) {
		if pack, used, err = w.readPackage(ctx, src, m, grant); err != nil {
			vain = used
		}
		return used, vain, err
	})
	if err != nil {
		pack.drop()
		return nil, err
	}
	return pack, nil
}

func (w *work) readPackage(ctx context.Context, src fs.Object, m mark, grant Grant) (_ *spooled, used int64, err error) {
	mr, in, err := w.openMetered(ctx, reading{src: src, mark: m, size: -1}, grant)
	if err != nil {
		return nil, 0, err
	}
	f, n, err := w.spool(mr)
	_ = in.Close() // all that was wanted has been read
	_, readErr := mr.state()
	used, _ = mr.drawn()
	if readErr != nil {
		err = readErr // the cause of whatever the spooling says
	}
	if err != nil {
		if f != nil {
			dropSpool(f)
		}
		return nil, used, err
	}
	pack := &spooled{Object: src, file: f, size: n, mark: m}
	if _, err := zipContent(f, n); err != nil {
		pack.drop()
		return nil, used, sourceErr("test the package's zip", err)
	}
	return pack, used, nil
}

func (s *spooled) drop() {
	if s != nil {
		dropSpool(s.file)
	}
}

func (w *work) dropPack() {
	w.pack.drop()
	w.pack = nil
}

// zipContent reads a zip whole, checks every sum in it and returns what it holds: name, length and CRC of each file, in
// order of names. Two zips of one package have the same content, though not the same bytes.
func zipContent(f io.ReaderAt, size int64) ([]string, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, fmt.Errorf("read zip: %w", err)
	}
	var content []string
	for _, e := range z.File {
		if e.FileInfo().IsDir() {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return nil, fmt.Errorf("read zip: %s: %w", e.Name, err)
		}
		n, err := io.Copy(io.Discard, r) // checks the CRC at the end
		_ = r.Close()
		if err != nil {
			return nil, fmt.Errorf("read zip: %s: %w", e.Name, err)
		}
		content = append(content, fmt.Sprintf("%s\x00%d\x00%08x", e.Name, n, e.CRC32))
	}
	slices.Sort(content)
	return content, nil
}

// existingPackage compares a zip at the destination with the one that was spooled: by its hash, else by what both hold.
func (w *work) existingPackage(ctx context.Context, dst fs.Object, target string, m mark) (Outcome, error) {
	o := Outcome{Result: Skipped, Source: Kept, Wasted: w.wasted, SourceMark: m.String(), Package: true}
	if target != w.e.DestPath() {
		o.Dest = target
	}
	if g, proof, err := w.sentBefore(ctx, dst, target, m); err != nil || g != "" {
		o.Result, o.Grade, o.Hash, o.Bytes = Copied, g, proof, w.sent.n
		return o, err
	}
	same, sum, err := w.sameZip(ctx, dst)
	if err != nil || !same {
		return Outcome{}, err
	}
	o.Grade, o.Hash = GradeB, sum
	return o, nil
}

// sameZip reads a file of the destination back and tells whether it is a zip that holds what the spooled one holds. sum
// is its own hash, by which it is known again before a deletion.
func (w *work) sameZip(ctx context.Context, dst fs.Object) (same bool, sum string, err error) {
	in, err := dst.Open(ctx)
	if err != nil {
		return false, "", destErr("read copy back", err)
	}
	h, err := newHasher(w.r.types)
	if err != nil {
		_ = in.Close()
		return false, "", err
	}
	f, n, err := w.spool(io.TeeReader(cancelable(ctx, in), h))
	_ = in.Close() // all that was wanted has been read
	if err != nil {
		return false, "", destErr("read copy back", err)
	}
	defer dropSpool(f)
	theirs, err := zipContent(f, n)
	if err != nil {
		return false, "", nil // no zip, or a broken one: another file
	}
	ours, err := zipContent(w.pack.file, w.pack.size)
	if err != nil {
		return false, "", fmt.Errorf("read spool file: %w", err)
	}
	if !slices.Equal(ours, theirs) {
		return false, "", nil
	}
	sums := h.Sums()
	for _, t := range w.r.types {
		told, err := hashOf(ctx, dst, t, w.r.dst.traits)
		if err != nil {
			return false, "", destErr("read hash", err)
		}
		if told != "" {
			return told == sums[t], hashName(t, told), nil
		}
	}
	return true, hashName(readBackType(), sums[readBackType()]), nil
}
