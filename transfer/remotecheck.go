package transfer

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
)

// RemoteCheck is what a remote tells of itself. Bytes are nil where it doesn't.
type RemoteCheck struct {
	Type            string           `json:"type"`
	Answers         bool             `json:"answers"`
	Milliseconds    int64            `json:"milliseconds"` // to open it and list its root
	Entries         int              `json:"entries"`      // in its root
	Hashes          []string         `json:"hashes"`
	KeepsModTime    bool             `json:"keeps_mtime"`
	CaseInsensitive bool             `json:"case_insensitive"`
	Deletes         string           `json:"deletes"` // conditionally, or after_a_look
	Trash           bool             `json:"trash"`   // it can be listed, purged and put back from here
	Total           *int64           `json:"total"`
	Used            *int64           `json:"used"`
	Free            *int64           `json:"free"`
	Trashed         *int64           `json:"trashed"`
	ByKind          map[string]int64 `json:"by_kind,omitempty"` // photos, backup, docs, mail
}

// CheckRemote opens a remote, lists its root and asks for its room. Some remotes wait minutes for a person's approval: ctx
// bounds it.
func (op Opener) CheckRemote(ctx context.Context, remote string) (RemoteCheck, error) {
	r := RemoteCheck{Hashes: []string{}}
	err := guarded(func() error { return r.ask(ctx, op, remote) })
	return r, err
}

func (r *RemoteCheck) ask(ctx context.Context, op Opener, remote string) error {
	began := time.Now()
	f, err := op.Remote(ctx, remote)
	if f != nil {
		// Nothing was written, so nothing can be lost by a shutdown that fails.
		defer shutdown(context.WithoutCancel(ctx), f)
	}
	if err != nil {
		return fmt.Errorf("open remote %s: %w", strings.TrimSuffix(remote, ":"), err)
	}
	entries, err := f.List(ctx, "")
	if err != nil {
		return fmt.Errorf("list remote %s: %w", strings.TrimSuffix(remote, ":"), err)
	}
	r.Answers, r.Entries, r.Milliseconds = true, len(entries), time.Since(began).Milliseconds()
	if info, _, _, _, err := fs.ConfigFs(remote); err == nil {
		r.Type = info.Name
	}
	for _, h := range f.Hashes().Array() {
		r.Hashes = append(r.Hashes, h.String())
	}
	r.KeepsModTime = f.Precision() != fs.ModTimeNotSupported
	r.CaseInsensitive = f.Features().CaseInsensitive
	r.Deletes = "after_a_look"
	if _, ok := f.(Deleter); ok {
		r.Deletes = "conditionally"
	}
	_, r.Trash = f.(Trash)
	r.askRoom(ctx, f)
	return nil
}

// askRoom asks for the room. Not knowing it is no failure of the check.
func (r *RemoteCheck) askRoom(ctx context.Context, f fs.Fs) {
	if teller, ok := f.(StorageTeller); ok {
		if room, err := teller.Storage(ctx); err == nil {
			free := max(0, room.Total-room.Used)
			r.Total, r.Used, r.Free, r.ByKind = &room.Total, &room.Used, &free, room.ByKind
			return
		}
	}
	if about := f.Features().About; about != nil {
		if usage, err := about(ctx); err == nil {
			r.Total, r.Used, r.Free, r.Trashed = usage.Total, usage.Used, usage.Free, usage.Trashed
		}
	}
}
