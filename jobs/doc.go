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
// Maintenance looks at jobs that run before those that wait (due.go). A list by remote or by text looks at the jobs one by one
// and may end a page early (search.go). Overview counts by the index and reads the hundred jobs that matter most, and
// those that wait for a person beside them, in four calls of the store.
//
// # Files
//
// Outcomes are counted by kind (outcome, state of the source, code) in the same script that stores them, and each kind marks
// the batches that hold such files (kinds.go): groups of files, and pages of those that failed, need no look at the rest. A
// page is named by batch and place, and stays where it is while the job runs.
//
// # Manifests
//
// The finish writes the job's manifest, one line for each file, into the store and to the destination (manifest.go). A
// destination that refuses it costs the job a warning, no more: the job is owed its manifest, as one is that was canceled or
// failed, and the process that looks after jobs pays (owedManifests). In the store it lies in blocks beside the job and
// outlives it (manifeststore.go); Where searches the names in it, and reads all of them, packed: a million take some 60 ms
// (where.go).
//
// # Orders that are sent twice
//
// A key of the caller's reserves the ID of its job before the job is stored, so that whoever comes with the same key makes
// the same job (once.go).
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
