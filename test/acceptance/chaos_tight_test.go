package acceptance

import "time"

// tightJob is a job beside the large one whose account has quota for half of its files, and gets the rest later.
type tightJob struct {
	run    *chaos
	job    *chaosJob
	wakes  time.Duration // when the quota is raised, after the start of the run
	waited time.Time     // when it was first seen to wait for quota
	raised bool
}

// tightFiles is how many files it has.
const tightFiles = 80

func (j *tightJob) begin() {
	c := j.run
	j.job = c.prepare("tight", "tight", c.sizes(tightFiles, 0))
	c.allow("tight", j.job.bytes/2)
	c.enqueue(j.job)
}

// follow waits until the job has waited for a while, raises the quota, and audits the job when it has ended.
func (j *tightJob) follow() {
	c := j.run
	if j.job.ended || c.redisDown {
		return
	}
	state := c.state(j.job.id)
	switch {
	case j.waited.IsZero():
		if state == "waiting" && c.reason(j.job.id) == "quota" {
			j.waited = time.Now()
			c.say("the tight job waits for quota")
		} else if over(state) {
			c.t.Errorf("the tight job ended as %s on half of the quota that it needs", state)
			c.audit(j.job)
		}
	case !j.raised:
		if time.Since(j.waited) > 10*time.Second && (time.Since(c.began) > j.wakes || !c.calm.IsZero()) {
			c.allow("tight", 3*j.job.bytes) // what is lost to faults counts
			j.raised = true
			c.say("the tight job's quota was raised")
		}
	case over(state):
		c.audit(j.job)
	}
}

func (j *tightJob) ended() bool { return j.job.ended }

// reason is what a job waits for, as the store has it.
func (c *chaos) reason(id string) string {
	s, err := c.store.text("HGET", "offload:{"+id+"}:job", "reason")
	if err != nil {
		return ""
	}
	return s
}
