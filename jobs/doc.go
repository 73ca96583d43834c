// Package jobs is the queue: jobs, their states, and the service that the command line, the API and the pages share.
//
// # Guarantees
//
// A job that Enqueue returned is stored, and stays so whatever process is killed. A unit of a job is worked on by one
// worker at a time, as far as anybody can tell; where two believe they hold it, the fencing number lets only the later
// one store anything. Everything that a unit does may happen again after a crash, and is made for that: entries that
// have their outcome are passed over, and the engine looks before it copies and proves before it deletes.
//
// # Leases
//
// A unit's lease is leaseTime (15 s), renewed every beat (1 s). The holder's context is canceled with cause
// transfer.ErrFenced when a renewal is refused, and leaseMargin (3 s) before the lease ends when renewals don't come
// through. The lease is our own: asynq's takes one to two minutes to notice that a worker is gone.
//
// # Deaths
//
// A batch that workers died with is done with more care, and a file that they seem to die of is set apart; see quarantine.go
// and docs/state-machine.md. A batch that nobody died with costs no call more for it.
//
// # Queue
//
// asynq is fed a window of tasks per job; the rest waits in the job's own keys. Waiting and pausing hold no task and no
// worker. The job's state is the truth, the queue is only a way to tell workers that there is something to do: a task
// that was lost is sent again by maintenance, one too many finds nothing to do.
//
// # Order
//
// The lanes high, normal and low are served strictly one after the other. Within a lane a task is a ticket: whoever takes
// it asks the lane's ring whose turn it is, first among the accounts, then among the account's jobs, and claims the first
// unit of that job. Turns are shared by work (bytes, and a base for each unit), see lua/fair/prelude.lua. What is lost of
// a ring costs fairness for a while and nothing else. A lane's queue holds a thousand tickets or so, however many jobs
// wait: the ring notes how many more are owed (tickets.go).
//
// # Sharing
//
// A worker whose batches only wait for each other hands some back when another worker has room (share.go).
//
// # Lists
//
// A list by account or state goes by an index for each account (index.go), which follows a job's state a moment later.
// Maintenance looks at jobs that run before those that wait (due.go).
//
// # Bandwidth
//
// A job's --bwlimit and the fleet's limit hold over all workers: each process takes slices of a tenth of a second from a
// bucket in the store, see lua/fleet/pace.lua. Without the store each process keeps to the limit alone.
//
// # Files at once
//
// How many files all processes together move from and to a remote, or for an account, is limited by permits, which each
// process leases in bulk, see permits and lua/fleet/permit.lua. What is leased never comes to more than the limit, shares
// are fair, and a lease ends as a unit's does: the share of a killed process is free after 15 seconds. A process that was
// frozen for longer than its leases last begins nothing on what it held, and its files in flight are cut with their units
// as soon as it goes on. Limits hold loosely in two cases: files that are under way when a limit is lowered may end, and a
// store that has lost its last second may lease for a while what is leased already.
//
// # Workers
//
// A worker of the pool reports itself each beat. Drain asks it to take nothing new: each time it works at the queue is a
// shift with a server of its own, which ends; files that have begun end without a grace, the rest of their batches is
// handed back, and a task that was taken in that moment goes back as it is.
package jobs
