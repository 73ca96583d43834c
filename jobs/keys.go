package jobs

import "strconv"

// Keys that belong to no single job.
const (
	keyIndex   = "offload:jobs"        // zset of job IDs, all of score 0: ULIDs sort by time
	keyDue     = "offload:jobs:due"    // zset of job IDs by when somebody must look at them, see due.go
	keyLeader  = "offload:maintenance" // who looks after the jobs, under a lease
	keyWorkers = "offload:workers"     // zset of living workers by the ms until which they are believed to live
)

// jobKeys are the keys of one job. The hash tag keeps them in one slot of a Redis Cluster.
type jobKeys string

func keysOf(id string) jobKeys { return jobKeys("offload:{" + id + "}:") }

func (k jobKeys) job() string      { return string(k) + "job" }
func (k jobKeys) history() string  { return string(k) + "history" }
func (k jobKeys) live() string     { return string(k) + "live" }
func (k jobKeys) parked() string   { return string(k) + "parked" }
func (k jobKeys) crashes() string  { return string(k) + "crashes" }
func (k jobKeys) troubles() string { return string(k) + "troubles" }

// common are the keys that every script of a job takes, in the order of lua/prelude.lua.
func (k jobKeys) common() []string {
	s := string(k)
	return []string{s + "job", s + "ready", s + "fed", s + "lease", s + "att", s + "holder", s + "parked", s + "history",
		s + "order", s + "live"}
}

func (k jobKeys) batch(n int64) string    { return string(k) + "b:" + strconv.FormatInt(n, 10) }
func (k jobKeys) outcomes(n int64) string { return string(k) + "o:" + strconv.FormatInt(n, 10) }
func (k jobKeys) ended(n int64) string    { return string(k) + "f:" + strconv.FormatInt(n, 10) }

// Units of work of a job: "scan", "finish", and "b1", "b2"... for the batches.
const (
	unitScan   = "scan"
	unitFinish = "finish"
)

func batchUnit(n int64) string { return "b" + strconv.FormatInt(n, 10) }

// batchNumber returns the number of a batch unit, or false for any other.
func batchNumber(unit string) (int64, bool) {
	if len(unit) < 2 || unit[0] != 'b' {
		return 0, false
	}
	n, err := strconv.ParseInt(unit[1:], 10, 64)
	return n, err == nil && n > 0
}
