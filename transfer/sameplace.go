package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"
	"golang.org/x/text/unicode/norm"
)

// probe is the answer to whether source and destination are one place under two names.
type probe struct {
	mu   sync.Mutex
	done bool
	same bool
}

// ruleSourceIsNotDestination: a file that is "already at the destination" may be the source file itself, seen by another
// name (one account configured twice, a mounted cloud, a link): to delete it would delete the only copy. Files that
// this program copied can't be: their name was free at the destination while the source file existed.
func (w *work) ruleSourceIsNotDestination(ctx context.Context, src fs.Object, o Outcome) (code string, err error) {
	target := o.Dest
	if target == "" {
		target = w.e.DestPath()
	}
	dst, _, err := w.r.dst.find(ctx, target, true)
	if err != nil {
		return "", destErr("look at destination file", err)
	}
	if dst == nil || sameFile(src, dst) {
		return CodeSamePlace, nil
	}
	same, err := w.r.p.samePlace(ctx, dirOf(w.e.SourcePath()), dirOf(target))
	if err != nil {
		return "", err
	}
	if same {
		return CodeSamePlace, nil
	}
	return "", nil
}

// sameFile tells whether two objects are one file, by the disk, by the remote's own identifiers, or since one remote has them at
// one place. Wrappers are taken off: a union shows the files of its upstreams, and its own root says nothing of where they lie.
func sameFile(a, b fs.Object) bool {
	if idOf(a) != "" && idOf(a) == idOf(b) {
		return true
	}
	a, b = fs.UnWrapObject(a), fs.UnWrapObject(b)
	if a.Fs().Features().IsLocal && b.Fs().Features().IsLocal {
		x, err := os.Stat(localPath(a))
		if err != nil {
			return true
		}
		y, err := os.Stat(localPath(b))
		return err != nil || os.SameFile(x, y)
	}
	if idOf(a) != "" && idOf(a) == idOf(b) {
		return true
	}
	return plainName(a.Fs()) == plainName(b.Fs()) && placeOf(a) == placeOf(b)
}

// placeOf is the path of a file from the top of its remote.
func placeOf(o fs.Object) string {
	p := norm.NFC.String(path.Join(o.Fs().Root(), o.Remote()))
	if o.Fs().Features().CaseInsensitive {
		p = foldName(p)
	}
	return strings.Trim(p, "/")
}

func localPath(o fs.Object) string {
	return filepath.Join(o.Fs().Root(), filepath.FromSlash(o.Remote()))
}

// probeName is the same for every process that works on this pair, so that one which was killed leaves at most one.
func (p *Pair) probeName() string {
	sum := sha256.Sum256([]byte(remoteName(p.Source) + "\x00" + remoteName(p.Dest)))
	return ".offload-probe-" + hex.EncodeToString(sum[:8]) + PartialSuffix
}

// probeAtRoot tells whether files can lie at both roots: above the buckets of an object store they can't.
func (p *Pair) probeAtRoot() bool {
	for _, f := range []fs.Fs{p.Source, p.Dest} {
		if f.Features().BucketBased && f.Root() == "" {
			return false
		}
	}
	return true
}

// removeProbe removes what a killed process may have left.
func (p *Pair) removeProbe(ctx context.Context) {
	if !p.probeAtRoot() || p.Source.Features().IsLocal && p.Dest.Features().IsLocal {
		return
	}
	if o, err := p.Dest.NewObject(ctx, p.probeName()); err == nil {
		_ = o.Remove(ctx) // one that stays does no harm: scans pass over it
	}
}

// samePlace writes a small file at the destination, once for a pair, and looks whether it appears at the source.
func (p *Pair) samePlace(ctx context.Context, srcDir, dstDir string) (bool, error) {
	pr := &p.engine.probe
	pr.mu.Lock()
	defer pr.mu.Unlock()
	if pr.done {
		return pr.same, nil
	}
	if p.Source.Features().IsLocal && p.Dest.Features().IsLocal {
		pr.done = true // sameFile has told, file by file
		return false, nil
	}
	if p.probeAtRoot() {
		srcDir, dstDir = "", ""
	}
	name := p.probeName()
	text := "offload looks whether its source and its destination are one place. This file can be deleted.\n"
	info := object.NewStaticObjectInfo(path.Join(dstDir, name), time.Now(), int64(len(text)), true, nil, nil)
	o, err := p.Dest.Put(ctx, strings.NewReader(text), info)
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
		defer cancel()
		if o == nil {
			o, _ = p.Dest.NewObject(ctx, info.Remote())
		}
		if o != nil {
			_ = o.Remove(ctx) // one that stays does no harm: scans pass over it
		}
	}()
	if err != nil {
		return false, destErr("write probe", err)
	}
	seen, err := newLookup(p.Source, p.sourceEye, nil, nil).ask(ctx, path.Join(srcDir, name))
	if err != nil {
		return false, sourceErr("look for probe", err)
	}
	pr.done, pr.same = true, seen != nil
	return pr.same, nil
}
