package transfer

import (
	"context"
	"fmt"
)

// TrashSum is what lies in a remote's trash.
type TrashSum struct {
	Items, Bytes int64
	Untold       int64 // items whose size the trash doesn't tell: they aren't in Bytes
}

// SumTrash opens a remote and adds up what lies in its trash; ok is false where it has none that can be seen from here.
// Nothing is changed.
func (op Opener) SumTrash(ctx context.Context, remote string) (sum TrashSum, ok bool, err error) {
	err = guarded(func() error {
		f, err := op.Remote(ctx, remote)
		if f != nil {
			defer shutdown(context.WithoutCancel(ctx), f)
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", bare(remote), err)
		}
		trash, has := f.(Trash)
		if ok = has; !has {
			return nil
		}
		sum, err = sumOf(ctx, trash)
		return err
	})
	return sum, ok, err
}

// sumOf adds up what lies in a trash.
func sumOf(ctx context.Context, trash Trash) (sum TrashSum, err error) {
	err = trash.ListTrash(ctx, func(t Trashed) error {
		sum.Items++
		if t.Size < 0 {
			sum.Untold++
		} else {
			sum.Bytes += t.Size
		}
		return nil
	})
	return sum, err
}

// itemsOf lists a trash by the IDs of its items.
func itemsOf(ctx context.Context, trash Trash) (map[string]Trashed, error) {
	items := map[string]Trashed{}
	err := trash.ListTrash(ctx, func(t Trashed) error {
		items[t.ID] = t
		return nil
	})
	return items, err
}
