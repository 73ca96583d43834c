package icloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"github.com/rclone/rclone/fs/hash"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// tokenLife is how long the token of a Resolve may wait for its Open: its URL expires.
const tokenLife = time.Minute

// Object is a file of iCloud Drive, in the version that a listing showed.
type Object struct {
	fs     *Fs
	remote string
	item   Item
	dirID  string // of the folder in whose listing it was
	shared bool   // it or a folder above it is shared
	pack   bool   // it is known to be a package

	mu        sync.Mutex
	kept      offer     // of the last Resolve, for the next Open
	keptAt    time.Time // zero where there is none
	signature string    // as the first download offered had it
	evidence  string
}

// offer is what the service answers when it is asked for a download.
type offer struct {
	Token
	empty bool // it has nothing to download
}

// Fs implements fs.Object.
func (o *Object) Fs() fs.Info { return o.fs }

// String implements fs.Object.
func (o *Object) String() string {
	if o == nil {
		return "<nil>"
	}
	return o.remote
}

// Remote implements fs.Object.
func (o *Object) Remote() string { return o.remote }

// ModTime implements fs.Object.
func (o *Object) ModTime(context.Context) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.item.ModTime
}

// Size implements fs.Object: as listed, -1 where the listing has none and for packages, whose listed length isn't that
// of what is handed out.
func (o *Object) Size() int64 {
	if o.pack {
		return -1
	}
	return o.seen().Size
}

// seen is the version that the object stands for.
func (o *Object) seen() Item {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.item
}

// Hash implements fs.Object: iCloud tells none.
func (o *Object) Hash(context.Context, hash.Type) (string, error) { return "", hash.ErrUnsupported }

// Storable implements fs.Object.
func (o *Object) Storable() bool { return true }

// SetModTime implements fs.Object.
func (o *Object) SetModTime(context.Context, time.Time) error { return fs.ErrorCantSetModTime }

// ID implements fs.IDer.
func (o *Object) ID() string { return o.seen().ID }

// ETag implements transfer.ETagger.
func (o *Object) ETag() string { return o.seen().ETag }

// Package implements transfer.Packaged. It is known after Resolve only.
func (o *Object) Package() bool { return o.pack }

// KeepReason implements transfer.Keeper.
func (o *Object) KeepReason() (code, what string) {
	switch {
	case o.shared:
		return transfer.CodeShared, "it is shared by somebody else or with somebody else"
	case o.pack:
		return transfer.CodePackage, "it is a package, which iCloud packs anew for each download"
	}
	return "", ""
}

// Resolve implements transfer.Resolver.
func (o *Object) Resolve(ctx context.Context) (fs.Object, error) {
	got, err := o.ask(ctx)
	if err != nil {
		return nil, err
	}
	is := o
	if got.Package && !o.pack {
		is = &Object{fs: o.fs, remote: o.remote, item: o.seen(), dirID: o.dirID, shared: o.shared, pack: true}
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	is.kept, is.keptAt = got, o.fs.now()
	return is, nil
}

// ask asks for the download. An empty file has none: the server refuses it, which is believed only where the listing
// says that it is empty.
func (o *Object) ask(ctx context.Context) (offer, error) {
	it := o.seen()
	tok, err := o.fs.svc.Token(ctx, it.ID)
	switch {
	case err == nil:
		return offer{Token: tok}, nil
	case it.Size == 0 && !o.pack && nothingOffered(err):
		return offer{empty: true}, nil
	case o.shared && nothingOffered(err): // below the root of a share only its owner can read by these calls
		return offer{}, fserrors.NoRetryError(fmt.Errorf("iCloud doesn't hand out here what somebody else shares (a copy in a folder of your own it does): %w", err))
	}
	return offer{}, fmt.Errorf("ask for download: %w", err)
}

// takeKept returns the offer of the last Resolve where it is fresh. It is given once.
func (o *Object) takeKept() (offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	got, at := o.kept, o.keptAt
	o.kept, o.keptAt = offer{}, time.Time{}
	return got, !at.IsZero() && o.fs.now().Sub(at) < tokenLife
}

// Open implements fs.Object. A package that wasn't resolved as one answers transfer.ErrPackage.
func (o *Object) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	part := inPart(options)
	switch {
	case part && o.pack:
		return nil, fserrors.NoRetryError(errors.New("open package: it can only be read from its beginning to its end"))
	case o.pack:
		options = nil
	default:
		fs.FixRangeOption(options, o.Size())
	}
	got, kept := o.takeKept()
	if !kept {
		var err error
		if got, err = o.ask(ctx); err != nil {
			return nil, err
		}
	}
	body, err := o.download(ctx, got, part, options)
	if err != nil && kept && ctx.Err() == nil && !isOurs(err) {
		if got, err = o.ask(ctx); err != nil { // the kept one may have expired
			return nil, err
		}
		body, err = o.download(ctx, got, part, options)
	}
	return body, err
}

// download opens what was offered, unless it isn't what the caller believes to read.
func (o *Object) download(ctx context.Context, got offer, part bool, options []fs.OpenOption) (io.ReadCloser, error) {
	switch {
	case got.empty:
		return io.NopCloser(bytes.NewReader(nil)), nil
	case got.Package != o.pack && got.Package:
		return nil, transfer.ErrPackage
	case got.Package != o.pack:
		return nil, fmt.Errorf("open package: it is a file now: %w", transfer.ErrChanged)
	}
	o.mu.Lock()
	first := o.signature
	if first == "" {
		o.signature = got.Signature
	}
	o.evidence = ""
	o.mu.Unlock()
	if part && first != "" && got.Signature != first {
		return nil, fmt.Errorf("open file in part: %w", transfer.ErrChanged) // never two versions in one
	}
	body, err := o.fs.svc.Download(ctx, got.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if part || got.Package || got.Signature == "" {
		return body, nil
	}
	it := o.seen()
	of := Ref{ID: it.ID, ETag: it.ETag}
	return newWitness(body, got.Signature, func(said, sum string) error {
		o.witnessed(said)
		return o.fs.lane.sums.told(of, said, sum)
	}), nil
}

// isOurs tells whether an error of download isn't the server's.
func isOurs(err error) bool {
	return errors.Is(err, transfer.ErrPackage) || errors.Is(err, transfer.ErrChanged)
}

// inPart tells whether less than the whole may be asked for.
func inPart(options []fs.OpenOption) bool {
	for _, opt := range options {
		switch x := opt.(type) {
		case *fs.RangeOption:
			if x.Start != 0 || x.End >= 0 {
				return true
			}
		case *fs.SeekOption:
			if x.Offset != 0 {
				return true
			}
		}
	}
	return false
}

// nothingOffered tells whether the server refused a download as it does for empty files.
func nothingOffered(err error) bool {
	var se *statusError
	return errors.As(err, &se) && se.status == http.StatusBadRequest
}

// witnessed takes what the source's checksum said of a whole reading.
func (o *Object) witnessed(said string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.evidence = said
}

// Evidence implements transfer.Evidence.
func (o *Object) Evidence() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.evidence
}

// Remove implements fs.Object: this version goes to the trash, another one stays.
func (o *Object) Remove(ctx context.Context) error {
	it := o.seen()
	t := transfer.Target{Path: o.remote, ID: it.ID, ETag: it.ETag, Size: it.Size, ModTime: it.ModTime, Object: o}
	return o.fs.Delete(ctx, []transfer.Target{t})[0]
}

// Update implements fs.Object: rclone's own backend writes.
func (o *Object) Update(ctx context.Context, in io.Reader, src fs.ObjectInfo, options ...fs.OpenOption) error {
	if o.shared {
		return fserrors.NoRetryError(errShared)
	}
	remote := norm.NFC.String(o.remote)
	// It moves the old version to the trash: not while the lane watches what is gone.
	err := o.fs.lane.exclusive(ctx, func(ctx context.Context) error {
		return o.fs.native.write(ctx, o.fs.svc, func(ctx context.Context, n fs.Fs) error {
			old, err := n.NewObject(ctx, remote)
			if err != nil {
				return err
			}
			return old.Update(ctx, in, fs.NewOverrideRemote(src, remote), options...)
		})
	})
	if err != nil {
		return err
	}
	now, err := o.fs.written(ctx, o.remote)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.item, o.dirID = now.item, now.dirID
	o.kept, o.keptAt, o.signature, o.evidence = offer{}, time.Time{}, "", ""
	return nil
}

var (
	_ fs.Object         = (*Object)(nil)
	_ fs.IDer           = (*Object)(nil)
	_ transfer.ETagger  = (*Object)(nil)
	_ transfer.Keeper   = (*Object)(nil)
	_ transfer.Resolver = (*Object)(nil)
	_ transfer.Packaged = (*Object)(nil)
	_ transfer.Evidence = (*Object)(nil)
)
