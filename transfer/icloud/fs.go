package icloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// Fs is iCloud Drive below a root folder.
type Fs struct {
	name     string // of the remote, as rclone's configuration has it
	root     string // from the root of the drive, without slashes around it
	svc      service
	lane     *lane
	features *fs.Features
	now      func() time.Time
	native   native

	dirs  dirs
	looks sharing[Listing]

	trashLooks sharing[[]Trashed]
}

// Open opens a remote of rclone's type iclouddrive, as fs.NewFs does. iCloud Photos is rclone's own backend, unchanged.
func (c *Clouds) Open(ctx context.Context, remote string) (fs.Fs, error) {
	info, name, root, m, err := fs.ConfigFs(remote)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if of, _ := m.Get("service"); of == "photos" || info.Name != "iclouddrive" {
		return fs.NewFs(ctx, remote)
	}
	key := name
	if over := info.Options.Overridden(m); len(over) > 0 {
		sum := sha256.Sum256([]byte(over.String()))
		key += "{" + hex.EncodeToString(sum[:4]) + "}" // another account, perhaps
	}
	account, err := c.account(ctx, key, m)
	if err != nil {
		return nil, err
	}
	f := newFs(name, root, account, c.lanes.of(name, c.opt))
	f.native.remote, f.native.mark, f.now = norm.NFC.String(remote), transfer.CallMark(ctx), c.opt.Now
	return f.open(ctx)
}

// newFs makes an Fs that has asked nothing yet.
func newFs(name, root string, svc service, l *lane) *Fs {
	f := &Fs{name: name, root: strings.Trim(path.Clean("/"+root), "/"), svc: svc, lane: l, now: time.Now}
	f.native.remote = name + ":" + norm.NFC.String(f.root)
	f.features = (&fs.Features{CaseInsensitive: true, CanHaveEmptyDirectories: true}).Fill(context.Background(), f)
	return f
}

// open looks at the root. A root that is a file opens its folder, with fs.ErrorIsFile; one that isn't there opens as it
// is, to be made or to be found missing later.
func (f *Fs) open(ctx context.Context) (fs.Fs, error) {
	_, err := f.find(ctx, f.root)
	switch {
	case err == nil, errors.Is(err, fs.ErrorDirNotFound):
		return f, nil
	case errors.Is(err, fs.ErrorIsFile):
		f.root, _ = splitPath(f.root)
		return f, fs.ErrorIsFile
	}
	return nil, fmt.Errorf("look up %q: %w", f.root, err)
}

// at is a path from the root of the drive.
func (f *Fs) at(remote string) string {
	remote = strings.Trim(remote, "/")
	switch {
	case f.root == "":
		return remote
	case remote == "":
		return f.root
	}
	return f.root + "/" + remote
}

// Name implements fs.Info.
func (f *Fs) Name() string { return f.name }

// Root implements fs.Info.
func (f *Fs) Root() string { return f.root }

// String implements fs.Info.
func (f *Fs) String() string { return "iCloud Drive " + f.name + ":" + f.root }

// Precision implements fs.Info: of the times that can be written.
func (f *Fs) Precision() time.Duration { return time.Second }

// Hashes implements fs.Info: iCloud tells none.
func (f *Fs) Hashes() hash.Set { return hash.NewHashSet() }

// Features implements fs.Info.
func (f *Fs) Features() *fs.Features { return f.features }

// List implements fs.Fs. Paths below dir are spelled as the server spells them, which is decomposed.
func (f *Fs) List(ctx context.Context, dir string) (fs.DirEntries, error) {
	_, items, in, err := f.listed(ctx, f.at(dir))
	if err != nil {
		if errors.Is(err, fs.ErrorIsFile) {
			err = fs.ErrorDirNotFound
		}
		return nil, err
	}
	entries := make(fs.DirEntries, 0, len(items))
	for _, it := range items {
		remote := it.Name
		if dir != "" {
			remote = dir + "/" + it.Name
		}
		if it.Folder() {
			entries = append(entries, fs.NewDir(remote, it.ModTime).SetID(it.ID))
		} else {
			entries = append(entries, f.object(remote, it, in))
		}
	}
	return entries, nil
}

// NewObject implements fs.Fs. It lists the folder anew; calls for files of one folder share a listing.
func (f *Fs) NewObject(ctx context.Context, remote string) (fs.Object, error) {
	dir, name := splitPath(f.at(remote))
	if name == "" {
		return nil, fs.ErrorIsDir
	}
	_, items, in, err := f.listed(ctx, dir)
	switch {
	case errors.Is(err, fs.ErrorDirNotFound), errors.Is(err, fs.ErrorIsFile):
		return nil, fs.ErrorObjectNotFound
	case err != nil:
		return nil, err
	}
	it, ok, isDir, err := pick(items, name, false)
	switch {
	case err != nil:
		return nil, err
	case isDir && !ok:
		return nil, fs.ErrorIsDir
	case !ok:
		return nil, fs.ErrorObjectNotFound
	}
	return f.object(remote, it, in), nil
}

// object makes the object of a listed file.
func (f *Fs) object(remote string, it Item, in folder) *Object {
	return &Object{fs: f, remote: remote, item: it, dirID: in.ID, shared: isShared(it) || in.shared}
}

// isShared tells whether an item is shared, by what it says of itself.
func isShared(it Item) bool { return it.Shared || strings.Contains(it.ID, "SHARED") }

// Mkdir implements fs.Fs.
func (f *Fs) Mkdir(ctx context.Context, dir string) error {
	if _, _, _, err := f.listed(ctx, f.at(dir)); !errors.Is(err, fs.ErrorDirNotFound) {
		return err
	}
	defer f.dirs.forget(f.at(dir))
	return f.native.write(ctx, f.svc, func(ctx context.Context, n fs.Fs) error { return n.Mkdir(ctx, norm.NFC.String(dir)) })
}

// Put implements fs.Fs: rclone's own backend writes.
func (f *Fs) Put(ctx context.Context, in io.Reader, src fs.ObjectInfo, options ...fs.OpenOption) (fs.Object, error) {
	remote := src.Remote()
	info := fs.NewOverrideRemote(src, norm.NFC.String(remote))
	if dir, _ := splitPath(f.at(remote)); dir != "" {
		if _, err := f.find(ctx, dir); errors.Is(err, fs.ErrorDirNotFound) {
			if err := f.lane.exclusive(ctx, func(ctx context.Context) error { return f.makeFolders(ctx, dir) }); err != nil {
				return nil, err
			}
		}
	}
	err := f.native.write(ctx, f.svc, func(ctx context.Context, n fs.Fs) error {
		// rclone's Put moves a file of that name to the trash: one that has come since the engine's look stays.
		switch _, err := n.NewObject(ctx, info.Remote()); {
		case err == nil:
			return transfer.ErrTaken
		case !errors.Is(err, fs.ErrorObjectNotFound) && !errors.Is(err, fs.ErrorDirNotFound):
			return err
		}
		_, err := n.Put(ctx, in, info, options...)
		return err
	})
	if err != nil {
		return nil, err
	}
	o, err := f.written(ctx, remote)
	if err != nil {
		return nil, err
	}
	return f.spell(ctx, o), nil
}

// written looks up what was just written.
func (f *Fs) written(ctx context.Context, remote string) (*Object, error) {
	o, err := f.NewObject(ctx, remote)
	if err != nil {
		return nil, fmt.Errorf("look at what was written: %w", err)
	}
	return o.(*Object), nil
}

// About implements fs.Abouter.
func (f *Fs) About(ctx context.Context) (*fs.Usage, error) {
	s, err := f.svc.Storage(ctx)
	if err != nil {
		return nil, err
	}
	return &fs.Usage{Total: new(s.Total), Used: new(s.Used), Free: new(max(s.Total-s.Used, 0))}, nil
}

// Storage implements transfer.StorageTeller.
func (f *Fs) Storage(ctx context.Context) (transfer.Storage, error) { return f.svc.Storage(ctx) }

// DirCacheFlush implements fs.DirCacheFlusher.
func (f *Fs) DirCacheFlush() {
	f.dirs.forget("")
	f.native.outdated()
}

// PacesItself implements transfer.Paced.
func (f *Fs) PacesItself() {}

// RemovesOnlyEmpty implements transfer.EmptyRemover.
func (f *Fs) RemovesOnlyEmpty() {}

// Shutdown implements fs.Shutdowner. The account stays open for others.
func (f *Fs) Shutdown(ctx context.Context) error { return f.native.shutdown(ctx) }

var (
	_ fs.Fs                  = (*Fs)(nil)
	_ fs.Abouter             = (*Fs)(nil)
	_ fs.DirCacheFlusher     = (*Fs)(nil)
	_ fs.Shutdowner          = (*Fs)(nil)
	_ transfer.Deleter       = (*Fs)(nil)
	_ transfer.Trash         = (*Fs)(nil)
	_ transfer.StorageTeller = (*Fs)(nil)
	_ transfer.Paced         = (*Fs)(nil)
	_ transfer.EmptyRemover  = (*Fs)(nil)
)
