package icloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"
	"golang.org/x/text/unicode/norm"

	"offload/transfer"
)

// trashSends is how often an item is sent out of the trash whose answer was lost and which is still in it.
const trashSends = 3

// ListTrash implements transfer.Trash: the whole trash of the account.
func (f *Fs) ListTrash(ctx context.Context, yield func(transfer.Trashed) error) error {
	items, err := f.svc.ListTrash(ctx)
	if err != nil {
		return fmt.Errorf("list trash: %w", err)
	}
	for _, it := range items {
		t := transfer.Trashed{ID: it.ID, ETag: it.ETag, Path: f.below(it.RestorePath), Size: it.Size, ModTime: it.ModTime}
		if err := yield(t); err != nil {
			return err
		}
	}
	return nil
}

// below makes a path from the root of the drive one from the root of f; "" where it lies elsewhere.
func (f *Fs) below(p string) string {
	p = strings.Trim(p, "/")
	if f.root == "" {
		return p
	}
	parts, root := strings.Split(p, "/"), strings.Split(f.root, "/")
	if len(parts) <= len(root) {
		return ""
	}
	for i, name := range root {
		if !strings.EqualFold(norm.NFC.String(name), norm.NFC.String(parts[i])) {
			return ""
		}
	}
	return strings.Join(parts[len(root):], "/")
}

// Purge implements transfer.Trash: only what is in the trash now, under the given ID, is removed for good.
func (f *Fs) Purge(ctx context.Context, items []transfer.Trashed) []error {
	return f.fromTrash(ctx, "remove from trash", items, func(ctx context.Context, refs []Ref) []error {
		if err := f.lane.stopped(); err != nil { // what lies there by mistake can still be put back
			return slices.Repeat([]error{err}, len(refs))
		}
		return f.svc.Purge(ctx, refs)
	})
}

// PutBack implements transfer.Trash.
func (f *Fs) PutBack(ctx context.Context, items []transfer.Trashed) []error {
	defer f.DirCacheFlush()
	return f.fromTrash(ctx, "put back", items, f.svc.PutBack)
}

// fromTrash carries out a call for items of the trash, in the lane and in groups. What to send is read off a fresh
// listing of the trash, never off what the caller remembers: the same call would remove live items as well.
func (f *Fs) fromTrash(ctx context.Context, what string, items []transfer.Trashed, call func(context.Context, []Ref) []error) []error {
	errs := make([]error, len(items))
	todo := make([]int, len(items))
	for i := range items {
		todo[i], errs[i] = i, errUnsure
	}
	size := trashMax
	err := f.lane.exclusive(ctx, func(ctx context.Context) error {
		for n := 1; len(todo) > 0; n++ {
			there, err := f.inTrash(ctx)
			if err != nil {
				return err
			}
			todo = sendable(items, todo, there, n == 1, errs)
			if len(todo) == 0 || n > trashSends {
				return nil // what is still there keeps its error
			}
			var alone bool
			if todo, alone, err = f.callInGroups(ctx, items, todo, size, there, call, errs); err != nil {
				return err
			}
			if alone {
				size = 1
			}
		}
		return nil
	})
	for i := range errs {
		switch {
		case err != nil && errors.Is(errs[i], errUnsure):
			errs[i] = fmt.Errorf("%s: %w", what, err)
		case errs[i] != nil:
			errs[i] = fmt.Errorf("%s: %w", what, errs[i])
		}
	}
	return errs
}

// inTrash lists the trash by ID.
func (f *Fs) inTrash(ctx context.Context) (map[string]Trashed, error) {
	list, err := f.trashLooks.get(ctx, "", f.svc.ListTrash)
	if err != nil {
		return nil, fmt.Errorf("list trash: %w", err)
	}
	there := make(map[string]Trashed, len(list))
	for _, it := range list {
		if it.ID != "" {
			there[it.ID] = it
		}
	}
	return there, nil
}

// sendable keeps those of todo that may be sent. In the first listing an item that isn't in the trash is not found; in a
// later one it has left by the call whose answer was lost.
func sendable(items []transfer.Trashed, todo []int, there map[string]Trashed, first bool, errs []error) []int {
	var keep []int
	seen := map[string]bool{}
	for _, i := range todo {
		it, ok := there[items[i].ID]
		switch {
		case !ok && first:
			errs[i] = fs.ErrorObjectNotFound
		case !ok:
			errs[i] = nil
		case isShared(it.Item):
			errs[i] = fserrors.NoRetryError(errShared)
		case it.ParentID != "" && !inTrash(it.Item):
			errs[i] = fserrors.NoRetryError(errNotTrashed)
		case it.ETag == "":
			errs[i] = fserrors.NoRetryError(errNoVersion)
		case items[i].ETag != "" && items[i].ETag != it.ETag:
			errs[i] = transfer.ErrChanged // it was put back and deleted anew since
		case seen[it.ID]:
			errs[i] = fs.ErrorObjectNotFound // named twice
		default:
			seen[it.ID] = true
			keep = append(keep, i)
		}
	}
	return keep
}

// callInGroups sends each item once, size of them in a call, and returns those whose answer was lost. alone says that the
// server seems not to take several items in one call.
func (f *Fs) callInGroups(ctx context.Context, items []transfer.Trashed, todo []int, size int, there map[string]Trashed,
	call func(context.Context, []Ref) []error, errs []error) (unsure []int, alone bool, err error) {
	for len(todo) > 0 {
		group := todo[:min(len(todo), size)]
		todo = todo[len(group):]
		if err := f.lane.paced(ctx); err != nil {
			return nil, alone, err
		}
		refs := make([]Ref, len(group))
		for n, i := range group {
			refs[n] = Ref{ID: items[i].ID, ETag: there[items[i].ID].ETag}
		}
		got := call(ctx, refs)
		mixed := oneByOne(got)
		alone = alone || mixed
		for n, i := range group {
			errs[i] = errUnsure
			if len(got) == len(group) {
				errs[i] = got[n]
			}
			switch {
			case refusedWhole(errs[i]):
				unsure, alone = append(unsure, i), true
			case errors.Is(errs[i], errUnsure), mixed && unhandled(errs[i]):
				unsure = append(unsure, i)
			}
		}
		if alone {
			size = 1
		}
	}
	return unsure, alone, nil
}
