// Package quota counts traffic against monthly allowances. It knows accounts, plans (tiers), periods and the ledger,
// which lives in Redis and is changed by Lua scripts on Redis' own clock. It knows nothing of transfers and jobs.
//
// Guarantees, for every account and over all processes that share the Redis:
//
//   - used + reserved <= limit at every moment. (Where a limit is made smaller than what is used or reserved already,
//     nothing further is granted; what was granted before stays good.)
//   - Bytes are booked as used before they are read, so that a crash never counts less than what was moved.
//   - A crash wastes at most one quantum for each pool that was open, and its reservation is free again when the lease
//     ends.
//   - No period is opened twice, and no two periods of an account begin less than a month apart, whatever is done to
//     clocks, anchor days and time zones.
//
// The protocol: one unit of work opens a Pool. Pool.Reserve sets bytes aside for a file, Grant.Charge books them just
// before they are read, Grant.Settle says how many were read and how many of them in vain, Pool.Close gives back what
// is left. Redis is asked only when the pool runs dry: a small file costs a mutex and nothing else.
//
// In Redis a pool is one record with two totals that only the pool's owner moves: bytes granted and bytes charged. Each
// script is given the totals as the owner knows them, and does nothing but tell the true ones where they differ. A
// script that ran although its answer was lost can therefore be sent again without counting anything twice.
//
// When Redis is away, calls return its errors and nothing is granted; bytes charged ahead may still be read, since they
// are counted. When the record is gone because the lease ended, calls return ErrLost: the owner stops reading.
package quota
