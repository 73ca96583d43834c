package icloud

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"

	"offload/internal/failpoint"
	"offload/transfer"
)

// putBackTime bounds what follows on the removal of a folder, which goes on though its caller has given up.
const putBackTime = 5 * time.Minute

// Errors for what is never deleted.
var (
	errShared     = errors.New("it is shared: it isn't deleted from here")
	errNoVersion  = errors.New("its version isn't known: it isn't deleted without a condition")
	errNotTrashed = errors.New("the listing of the trash says that it lies elsewhere: it isn't touched")
	errNotPlain   = errors.New("it isn't a plain folder: it isn't deleted from here")
)

// Delete implements transfer.Deleter: the targets go to the trash, each in the version that is named.
func (f *Fs) Delete(ctx context.Context, targets []transfer.Target) []error {
	errs := make([]error, len(targets))
	ws := make([]*wish, len(targets))
	for i, t := range targets {
		o, _ := t.Object.(*Object)
		switch {
		case t.ID == "" || t.ETag == "":
			errs[i] = fserrors.NoRetryError(errNoVersion)
		case strings.Contains(t.ID, "SHARED"), o != nil && o.shared:
			errs[i] = fserrors.NoRetryError(errShared)
		case f.lane.sums.doubted(Ref{ID: t.ID, ETag: t.ETag}):
			errs[i] = transfer.ErrDoubted
		default:
			ws[i] = &wish{svc: f.svc, ref: Ref{ID: t.ID, ETag: t.ETag}, held: t.Held}
			if o != nil && o.ID() == t.ID {
				ws[i].parent = o.dirID
			}
		}
	}
	for i, err := range f.lane.do(ctx, ws) {
		if ws[i] != nil {
			errs[i] = err
		}
	}
	return errs
}

// Rmdir implements fs.Fs: the folder goes to the trash where it is empty. What appears in it at that very moment brings
// it back.
func (f *Fs) Rmdir(ctx context.Context, dir string) error {
	p := f.at(dir)
	if p == "" {
		return fserrors.NoRetryError(fmt.Errorf("remove the root of the drive: %w", errNotPlain))
	}
	head, items, in, err := f.listed(ctx, p)
	switch {
	case errors.Is(err, fs.ErrorIsFile):
		return fs.ErrorDirNotFound
	case err != nil:
		return err
	case in.ID == rootID || in.Type != "FOLDER" || head.Type != "" && head.Type != "FOLDER":
		return fserrors.NoRetryError(fmt.Errorf("remove folder %q: %w", p, errNotPlain))
	case in.shared || isShared(in.Item) || isShared(head):
		return fserrors.NoRetryError(fmt.Errorf("remove folder %q: %w", p, errShared))
	case len(items) > 0:
		return fs.ErrorDirectoryNotEmpty
	}
	w := &wish{svc: f.svc, ref: Ref{ID: in.ID, ETag: head.ETag}}
	if w.ref.ETag == "" {
		w.ref.ETag = in.ETag
	}
	if w.ref.ETag == "" {
		return fserrors.NoRetryError(fmt.Errorf("remove folder %q: %w", p, errNoVersion))
	}
	if up, err := f.find(ctx, parentOf(p)); err == nil {
		w.parent = up.ID
	}
	defer f.native.outdated()
	defer f.dirs.forget(p)
	if err := f.lane.do(ctx, []*wish{w})[0]; err != nil {
		if errors.Is(err, fs.ErrorObjectNotFound) {
			err = fs.ErrorDirNotFound
		}
		return err
	}
	failpoint.At("folder removed")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), putBackTime)
	defer cancel()
	return f.stayedEmpty(ctx, p, in.ID)
}

func parentOf(p string) string {
	parent, _ := splitPath(p)
	return parent
}

// stayedEmpty looks into a folder that has just gone to the trash, and puts it back unless it is empty for certain.
func (f *Fs) stayedEmpty(ctx context.Context, p, id string) error {
	n, err := f.leftIn(ctx, id)
	if err == nil && n == 0 {
		return nil
	}
	if perr := f.PutBack(ctx, []transfer.Trashed{{ID: id}})[0]; perr != nil {
		return fmt.Errorf("put back folder %q, which may not have been empty: %w", p, errors.Join(perr, err))
	}
	if err != nil {
		return fmt.Errorf("look into removed folder %q (it was put back): %w", p, unfound(err))
	}
	return fs.ErrorDirectoryNotEmpty
}

// leftIn is how many items a folder in the trash holds. Where it can't be listed there, the trash tells.
func (f *Fs) leftIn(ctx context.Context, id string) (int64, error) {
	l := f.look(ctx, id)
	if !errors.Is(l.Err, fs.ErrorDirNotFound) {
		return max(int64(len(l.Items)), l.Folder.Children), l.Err
	}
	there, err := f.inTrash(ctx)
	if err != nil {
		return 0, err
	}
	switch it, ok := there[id]; {
	case !ok:
		return 0, nil // somebody has emptied the trash: nothing can be put back
	case it.Children < 0:
		return 0, errors.New("the trash doesn't tell whether it is empty")
	default:
		return it.Children, nil
	}
}
