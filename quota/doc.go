// Package quota counts traffic against allowances. It knows accounts, plans (tiers), limits of remotes, periods and the
// ledger, which lives in Redis and is changed by Lua scripts on Redis' own clock. It knows nothing of transfers and jobs.
//
// A subject is whatever has a limit: an account (bytes a month), and of each remote up to three: bytes a day, bytes a
// month, API calls a month (RemoteSubject). All are records of the same form. A transfer reserves in every subject that
// applies, the account first, and settles the earlier ones with 0 where one refuses.
//
// Guarantees, for every subject and over all processes that share the Redis:
//
//   - used + reserved <= limit at every moment. (Where a limit is made smaller than what is used or reserved already,
//     nothing further is granted; what was granted before stays good.)
//   - Bytes are booked as used before they are read, so that a crash never counts less than what was moved.
//   - A crash wastes at most one quantum (4 MiB; 16 calls) for each pool that was open, and its reservation is free again
//     when the lease ends. What a killed process had booked stays used, whether it was read or not.
//   - No period is opened twice, and no two periods of an account begin less than a month apart (those of a remote's days
//     less than 20 hours), whatever is done to clocks and anchor days. Another time zone shifts a beginning by 36 hours at most.
//
// The protocol: one unit of work opens a Pool. Pool.Reserve sets bytes aside for a file, Grant.Charge books them just
// before they are read, Grant.Settle says how many were read and how many of them in vain, Pool.Close gives back what
// is left. Redis is asked only when the pool runs dry: a small file costs a mutex and nothing else.
//
// In Redis a pool is one record with two totals that only the pool's owner moves: bytes granted and bytes charged. Each
// script is given the totals as the owner knows them, and does nothing but tell the true ones where they differ. A
// script that ran although its answer was lost can therefore be sent again without counting anything twice.
//
// A file that didn't fit claims its bytes (Ledger.Claim). In the period of its first refusal that changes nothing: smaller
// files go first. From the next one on, what it needs is kept back from all others, the oldest claims first, as far as
// they fit the period at all. A pool says by Claimant which claim is its own. Granting ends a claim, and so does a minute
// without renewal.
//
// When a charge reaches 80 or 100 % of a limit, an Event is stored, once in a period and for each limit; Exhausted stores
// the second one where a rest is left that nothing fits into. The same scripts keep the days: bytes, waste, and the time
// during which charges followed one another within half a minute.
//
// When Redis is away, calls return its errors and nothing is granted; bytes charged ahead may still be read, since they
// are counted. When the record is gone because the lease ended, calls return ErrLost: the owner stops reading.
//
// When Redis comes back with an older append-only file, each pool that lives meets a record that is older than it knows,
// or none, though its lease runs and none of the closed pools that Redis remembers (for an hour) is this one. It then
// books what was read beyond that and is lost: the unit of work begins again under a new reservation. So nothing that a
// living process knows of is ever forgotten. Until it has told, others may have been granted the same bytes: what was
// lost of the file, with appendfsync everysec a second's traffic, can be moved beyond the limit then, and is booked.
//
// An account that was removed (Ledger.Remove), or whose plan isn't configured any more, has a limit of 0 until a person
// opens it again: reservations are refused with a *NoQuotaError whose Why says so, and open pools of a removed one are
// lost. What it used stays counted.
package quota
