package icloud

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fserrors"

	"offload/transfer"
)

// canaryLooks is how often what should be gone is looked for.
const canaryLooks = 3

// errStillThere is the answer for an item that the server said it had moved to the trash.
var errStillThere = errors.New("iCloud said that it was moved to the trash, but it is still there")

// locate finds out where items lie of which that isn't known, and leaves out those that needn't be sent.
func locate(ctx context.Context, svc service, group []*wish) []*wish {
	var ids []string
	for _, w := range group {
		if w.parent == "" {
			ids = append(ids, w.ref.ID)
		}
	}
	if len(ids) == 0 {
		return group
	}
	items, errs := svc.Details(ctx, ids)
	var found []*wish
	n := 0
	for _, w := range group {
		if w.parent == "" {
			if w.err = errShort; n < len(items) && n < len(errs) {
				w.parent, w.err = items[n].ParentID, whereabouts(items[n], errs[n], w.ref)
			}
			if n++; w.err == nil && w.parent == "" {
				w.err = fmt.Errorf("look at item: %w: it has no folder", errShort)
			}
			if w.err != nil {
				continue
			}
		}
		found = append(found, w)
	}
	return found
}

// whereabouts tells whether an item is still there in the version that is meant: nil, fs.ErrorObjectNotFound where it is
// gone or in the trash, transfer.ErrChanged.
func whereabouts(it Item, err error, ref Ref) error {
	switch {
	case errors.Is(err, fs.ErrorObjectNotFound):
		return fs.ErrorObjectNotFound
	case err != nil:
		return fmt.Errorf("look at item: %w", err)
	case inTrash(it):
		return fs.ErrorObjectNotFound
	case isShared(it):
		return fserrors.NoRetryError(errShared)
	case it.ETag != ref.ETag:
		return transfer.ErrChanged
	}
	return nil
}

// inTrash tells whether an item says that it lies in the trash.
func inTrash(it Item) bool { return strings.HasSuffix(it.ParentID, "TRASH_ROOT") }

// contents lists the folders that hold the items of a group: by folder, then by the ID of what is in it.
func contents(ctx context.Context, svc service, group []*wish) (map[string]map[string]Item, error) {
	found := map[string]map[string]Item{}
	var ids []string
	for _, w := range group {
		if _, ok := found[w.parent]; !ok {
			found[w.parent] = map[string]Item{}
			ids = append(ids, w.parent)
		}
	}
	listings := svc.List(ctx, ids)
	if len(listings) != len(ids) {
		return nil, errShort
	}
	for i, l := range listings {
		if l.Err != nil {
			return nil, fmt.Errorf("list folder of item: %w", unfound(l.Err))
		}
		for _, it := range l.Items {
			found[ids[i]][it.ID] = it
		}
	}
	return found, nil
}

// unfound takes the meaning off "not found": that one thing can't be found doesn't mean that another is gone.
func unfound(err error) error {
	if errors.Is(err, fs.ErrorDirNotFound) || errors.Is(err, fs.ErrorObjectNotFound) {
		return errors.New(err.Error())
	}
	return err
}

// settle finds out what became of items whose answer was lost. It returns those that are still there unchanged, to be
// sent again; the others have their result.
func settle(ctx context.Context, svc service, unsure []*wish) []*wish {
	if len(unsure) == 0 {
		return nil
	}
	held, err := contents(ctx, svc, unsure)
	if err != nil {
		for _, w := range unsure {
			w.err = fmt.Errorf("%w; %w", errUnsure, err)
		}
		return nil
	}
	var again, away []*wish
	var ids []string
	for _, w := range unsure {
		it, there := held[w.parent][w.ref.ID]
		switch {
		case there && it.ETag == w.ref.ETag:
			again = append(again, w)
		case there:
			w.err = transfer.ErrChanged
		default:
			away = append(away, w)
			ids = append(ids, w.ref.ID)
		}
	}
	if len(away) == 0 {
		return again
	}
	items, errs := svc.Details(ctx, ids)
	for i, w := range away {
		if i >= len(items) || i >= len(errs) {
			continue // still unsure
		}
		switch {
		case errors.Is(errs[i], fs.ErrorObjectNotFound), errs[i] == nil && inTrash(items[i]):
			w.err = nil
		case errs[i] == nil && items[i].ParentID != "" && items[i].ParentID != w.parent:
			w.err = transfer.ErrChanged // moved elsewhere by somebody else
		case errs[i] != nil:
			w.err = fmt.Errorf("%w; look at item: %w", errUnsure, errs[i])
		}
	}
	return again
}

// confirm compares what the folders hold after a first deletion with what they held before. Where more is gone than was
// asked for, or what was asked for is still there, this process deletes nothing more on this account.
func (l *lane) confirm(ctx context.Context, svc service, group []*wish, before map[string]map[string]Item) {
	var gone []*wish
	asked := map[string]bool{}
	for _, w := range group {
		asked[w.ref.ID] = true
		if w.err == nil && w.sent {
			gone = append(gone, w)
		}
	}
	if len(gone) == 0 {
		return // it has shown nothing: the next one is a first one again
	}
	var after map[string]map[string]Item
	var still []*wish
	for n := 1; n <= canaryLooks; n++ {
		var err error
		if after, err = contents(ctx, svc, gone); err != nil {
			l.log.WarnContext(ctx, "a first deletion couldn't be confirmed; the next one is watched again", "remote", l.name, "error", err)
			return
		}
		if still = thereStill(gone, after); len(still) == 0 || n == canaryLooks || transfer.Sleep(ctx, l.lookAgain) != nil {
			break
		}
	}
	still, lags := surely(ctx, svc, still)
	for _, w := range still {
		w.err = errStillThere
	}
	lost, err := vanished(ctx, svc, before, after, asked)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what was still there may be gone by now
	}
	switch {
	case err != nil:
		l.log.WarnContext(ctx, "a first deletion couldn't be watched to its end; the next one is watched again", "remote", l.name, "error", err)
	case len(still) > 0:
		l.trip(ctx, fmt.Sprintf("%d of %d items were still there after iCloud said that they were moved to the trash", len(still), len(gone)))
	case lags && len(lost) == 0:
		l.log.InfoContext(ctx, "the listing lags behind a first deletion; the next one is watched again", "remote", l.name)
	case len(lost) > 0:
		l.trip(ctx, fmt.Sprintf("%d items that nobody asked to delete were gone after it, the first named %q; look in iCloud's trash", len(lost), lost[0].Name))
	default:
		l.mu.Lock()
		l.trusted = true
		l.mu.Unlock()
	}
}

// surely leaves those of the items still listed that don't say themselves that they are in the trash. lags tells that some
// did: listings lag behind.
func surely(ctx context.Context, svc service, still []*wish) (there []*wish, lags bool) {
	if len(still) == 0 {
		return nil, false
	}
	ids := make([]string, len(still))
	for i, w := range still {
		ids[i] = w.ref.ID
	}
	items, errs := svc.Details(ctx, ids)
	for i, w := range still {
		if i < len(items) && i < len(errs) && errs[i] == nil && inTrash(items[i]) {
			lags = true
			continue
		}
		there = append(there, w)
	}
	return there, lags
}

func thereStill(gone []*wish, now map[string]map[string]Item) (still []*wish) {
	for _, w := range gone {
		if _, there := now[w.parent][w.ref.ID]; there {
			still = append(still, w)
		}
	}
	return still
}

// vanished returns what was there before and isn't any more without having been asked for. What was only moved to
// another folder meanwhile doesn't count. The error says that nobody knows.
func vanished(ctx context.Context, svc service, before, after map[string]map[string]Item, asked map[string]bool) ([]Item, error) {
	var lost []Item
	var ids []string
	for dir, now := range after {
		for id, it := range before[dir] {
			if _, there := now[id]; !there && !asked[id] {
				lost = append(lost, it)
				ids = append(ids, id)
			}
		}
	}
	if len(lost) == 0 {
		return nil, nil
	}
	items, errs := svc.Details(ctx, ids)
	var gone, unknown []Item
	for i, it := range lost {
		switch {
		case i >= len(items) || i >= len(errs):
			unknown = append(unknown, it)
		case errors.Is(errs[i], fs.ErrorObjectNotFound), errs[i] == nil && inTrash(items[i]):
			gone = append(gone, it)
		case errs[i] != nil || items[i].ParentID == "" || items[i].ParentID == it.ParentID:
			unknown = append(unknown, it)
		}
	}
	if len(unknown) == 0 || len(gone) > 0 {
		return gone, nil
	}
	return amongTrash(ctx, svc, unknown)
}

// amongTrash returns those of the items that lie in the trash.
func amongTrash(ctx context.Context, svc service, items []Item) ([]Item, error) {
	trash, err := svc.ListTrash(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for what is gone: %w", err)
	}
	in := map[string]bool{}
	for _, it := range trash {
		in[it.ID] = true
	}
	var gone []Item
	for _, it := range items {
		if in[it.ID] {
			gone = append(gone, it)
		}
	}
	return gone, nil
}

// trip stops all deletions on this account until the process is started again.
func (l *lane) trip(ctx context.Context, why string) {
	l.log.ErrorContext(ctx, "deletions are stopped until offload is started again", "remote", l.name, "why", why)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tripped = fserrors.NoRetryError(fmt.Errorf("deletions on %s are stopped until offload is started again: at the first one %s", l.name, why))
}

// stopped is the error of a lane that was stopped by trip, nil where it wasn't.
func (l *lane) stopped() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tripped
}
