package quota

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Abandon closes the subject's pools whose ID was given with this beginning, without waiting for their leases: for
// whoever knows that their owners are gone or have lost the work. What they charged stays used, the rest is free. An
// owner that lives after all meets ErrLost at its next Charge.
func (l *Ledger) Abandon(ctx context.Context, account, begin string) error {
	if err := checkSubject(account); err != nil {
		return err
	}
	k := keys(account)
	ids, err := l.client.ZRange(ctx, k[2], 0, -1).Result()
	if err != nil {
		return fmt.Errorf("list quota reservations of %s: %w", title(account), err)
	}
	var over []redis.Z
	for _, id := range ids {
		if strings.HasPrefix(id, begin) {
			over = append(over, redis.Z{Member: id}) // a lease that ended in 1970
		}
	}
	if len(over) == 0 {
		return nil
	}
	if err := l.client.ZAddXX(ctx, k[2], over...).Err(); err != nil {
		return fmt.Errorf("end quota reservations of %s: %w", title(account), err)
	}
	if err := l.scripts.sweep.Run(ctx, l.client, k, l.cfg.Lease.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("sweep quota reservations of %s: %w", title(account), err)
	}
	return nil
}
