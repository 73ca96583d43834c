package dropbox

import (
	"context"
	"sync"
)

// oneCall is whether small files go with the very call that starts their upload. Dropbox documents that, but rclone does
// without it, so one file shows first that it arrives so; until then, and where it doesn't, files go as rclone sends them.
type oneCall struct {
	mu      sync.Mutex
	known   bool
	works   bool
	probing bool
}

// may tells whether a file may go so, and whether it is the one that shows it: learn must be called for that one.
func (o *oneCall) may() (yes, probe bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known {
		return o.works, false
	}
	probe = !o.probing
	o.probing = true
	return probe, probe
}

// learn notes how it went with the one. A caller that gave up has shown nothing.
func (o *oneCall) learn(ctx context.Context, arrived bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.probing = false
	if arrived || ctx.Err() == nil {
		o.known, o.works = true, arrived
	}
}
