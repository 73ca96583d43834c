// Package deeds puts into words what people do, for the record of it: the pages and the API say the same of the same.
package deeds

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"offload/dashboard/guard"
	"offload/internal/human"
	"offload/jobs"
	"offload/quota"
	"offload/quota/quotaform"
	"offload/schedules"
)

// ToJob is what was done to a job, as a participle: "paused", "hold kept".
func ToJob(ctx context.Context, done string, j jobs.Job) {
	guard.Did(ctx, "job "+done, j.ID, j.Source+" to "+j.Dest)
}

// JobBandwidth is a change of what a job may move a second, "" for what was ordered.
func JobBandwidth(ctx context.Context, id, spec string) {
	guard.Did(ctx, "job bandwidth set", id, cmp.Or(spec, "as ordered"))
}

// JobSeen is what somebody has seen: how a job ended.
func JobSeen(ctx context.Context, j jobs.Job) {
	ToJob(ctx, "marked as seen ("+strings.ReplaceAll(string(j.State), "_", " ")+")", j)
}

// Restored is a job that brings back what another has deleted.
func Restored(ctx context.Context, j jobs.Job) { guard.Did(ctx, "job restored", j.Of, "by job "+j.ID) }

// Scrubbed is a job that looks after what another has offloaded.
func Scrubbed(ctx context.Context, j jobs.Job) { guard.Did(ctx, "job scrubbed", j.Of, "by job "+j.ID) }

// Quota is a change of an account.
func Quota(ctx context.Context, account string, c quota.Change) {
	guard.Did(ctx, "quota set", account, change(c))
}

// RemoteLimit is a change of a limit of a remote.
func RemoteLimit(ctx context.Context, remote string, m quotaform.Measure, c quota.Change) {
	text := change(c)
	if m.Measure == quota.Calls && c.Limit != nil && *c.Limit >= 0 {
		text = human.Count(*c.Limit, "call")
	}
	guard.Did(ctx, "remote limit set", remote, m.Name+" "+text)
}

// Bandwidth is a change of what all jobs together may move a second.
func Bandwidth(ctx context.Context, spec string) {
	guard.Did(ctx, "bandwidth set", "all jobs", cmp.Or(spec, toSettings))
}

// Files is a change of how many files are moved at once, 0 for as many as help; of is "account bob" or "icloud:".
func Files(ctx context.Context, of string, files int, reset bool) {
	text := fmt.Sprint("at most ", files)
	switch {
	case reset:
		text = toSettings
	case files == 0:
		text = "no limit"
	}
	guard.Did(ctx, "files at once set", of, text)
}

// ToWorker is what was done to a worker.
func ToWorker(ctx context.Context, done, id string) { guard.Did(ctx, "worker "+done, id, "") }

// ToSchedule is what was done to a schedule.
func ToSchedule(ctx context.Context, done string, v schedules.View) {
	guard.Did(ctx, "schedule "+done, v.ID(), strings.Trim(v.Does+", "+v.Words, ", "))
}

const toSettings = "back to the settings"

func change(c quota.Change) string {
	if c.Reset {
		return toSettings
	}
	var parts []string
	add := func(format string, arg any) { parts = append(parts, fmt.Sprintf(format, arg)) }
	if c.Plan != nil {
		add("plan %s", *c.Plan)
	}
	if c.Limit != nil {
		add("limit %s", human.Size(*c.Limit))
	}
	if c.AnchorDay != nil {
		add("anchor day %d", *c.AnchorDay)
	}
	if c.TimeZone != nil {
		add("time zone %s", *c.TimeZone)
	}
	return strings.Join(parts, ", ")
}
