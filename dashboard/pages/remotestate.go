package pages

import (
	"context"
	"time"

	"offload/transfer"
)

// RemoteState is what is known of a remote from when it was last looked at.
type RemoteState struct {
	Name     string // without colon
	Kind     string // rclone's name of the kind: "iclouddrive", "dropbox"
	Days     int    // of trust that are left; 0 is none
	DaysTold bool   // Days is known
	Soon     bool   // a person should sign in again
	Storage  *transfer.Storage
	Seen     time.Time // when it was looked at
}

// RemoteStates returns what is known of the remotes; it asks no cloud.
func (p *Pages) RemoteStates(ctx context.Context) []RemoteState {
	if p.cfg.RemoteStates == nil {
		return nil
	}
	return p.cfg.RemoteStates(ctx)
}
