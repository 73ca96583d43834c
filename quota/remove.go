package quota

import (
	"context"
	"strconv"
)

// Remove closes an account: nothing more is granted to it, and pools that are open are lost, until Set gives it a plan
// or a limit again. What it used stays counted, so that it never gains a free month by it. Whether there is such an
// account the ledger can't tell: one that has jobs may never have moved anything.
func (l *Ledger) Remove(ctx context.Context, account string) error {
	if _, _, remote := ParseSubject(account); remote {
		return inputError("account", strconv.Quote(account), "set its limit to unlimited, or reset it", "is a limit of a remote")
	}
	_, err := l.update(ctx, account, func(a state) (state, error) {
		a.removed = true
		return a, nil
	})
	return err
}
