package acceptance

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// job is what `jobs show ID --json` says, as far as these tests ask.
type job struct {
	ID     string     `json:"id"`
	State  string     `json:"state"`
	Reason string     `json:"reason"`
	Until  *time.Time `json:"until"`
	Error  string     `json:"error"`
	Files  struct {
		Found, Copied, Skipped, Excluded, Failed, Deleted int64
		SetAside                                          int64 `json:"set_aside"`
	} `json:"files"`
	Bytes struct {
		Found, Copied, Wasted, Deleted int64
	} `json:"bytes"`
	Outages []struct {
		Remote string    `json:"remote"`
		Since  time.Time `json:"since"`
		Why    string    `json:"why"`
	} `json:"outages"`
}

// ended tells whether nothing will become of the job by itself any more.
func (j job) ended() bool {
	switch j.State {
	case "completed", "completed_with_warnings", "failed", "canceled":
		return true
	}
	return false
}

// fileRecord is one file of `jobs files ID --json`.
type fileRecord struct {
	Path    string `json:"path"`
	Dest    string `json:"destination"`
	Outcome string `json:"outcome"`
	Source  string `json:"source"`
	Grade   string `json:"grade"`
	Code    string `json:"code"`
}

// quota is what `quota show --json` says.
type quota struct {
	Limit, Used, Reserved, Wasted, Available int64
}

// cli runs commands of the program on one store and one configuration.
type cli struct {
	w      *world
	redis  string // "" is the embedded store
	config string
}

// command prepares a call of the program.
func (c cli) command(args ...string) *exec.Cmd {
	args = append(args, "--rclone-config", c.config, "--data", c.w.data)
	if c.redis != "" {
		args = append(args, "--redis", c.redis)
	}
	cmd := exec.Command(offloadBinary(c.w.t), args...)
	cmd.Env, cmd.Dir = c.w.env(), c.w.dir
	return cmd
}

// start runs a command in the background.
func (c cli) start(args ...string) *process {
	c.w.t.Helper()
	return start(c.w.t, "offload "+strings.Join(args, " "), c.command(args...))
}

// run runs a command, demands the exit status and returns its standard output.
func (c cli) run(status int, args ...string) string {
	c.w.t.Helper()
	cmd := c.command(args...)
	dieWithParent(cmd)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	_ = cmd.Run() // the status is what is compared
	if got := cmd.ProcessState.ExitCode(); got != status {
		c.w.t.Fatalf("offload %s: exit status %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), got, status, &out, &msg)
	}
	return out.String()
}

// show returns the job as the program tells it.
func (c cli) show(id string) job {
	c.w.t.Helper()
	return decode[job](c.w.t, c.run(0, "jobs", "show", id, "--json"))
}

// only returns the one job that the store must hold.
func (c cli) only() job {
	c.w.t.Helper()
	jobs := decode[[]job](c.w.t, c.run(0, "jobs", "list", "--json"))
	if len(jobs) != 1 {
		c.w.t.Fatalf("the store holds %d jobs, want one: a restart must go on with the first", len(jobs))
	}
	return c.show(jobs[0].ID)
}

// quota returns the account's quota.
func (c cli) quota() quota {
	c.w.t.Helper()
	return c.quotaOf("default")
}

// quotaOf returns the quota of an account.
func (c cli) quotaOf(account string) quota {
	c.w.t.Helper()
	return decode[quota](c.w.t, c.run(0, "quota", "show", "--account", account, "--json"))
}

// await polls a job until ok says true.
func (c cli) await(id, what string, limit time.Duration, ok func(job) bool) job {
	c.w.t.Helper()
	var last job
	defer func() {
		if c.w.t.Failed() {
			c.w.t.Logf("the job was last seen as %+v", last)
		}
	}()
	eventually(c.w.t, limit, what, func() bool {
		last = c.show(id)
		return ok(last)
	})
	return last
}

// sourceEmptied demands that the source holds nothing but the files that the job says it kept, and returns those.
func (c cli) sourceEmptied(id string) []fileRecord {
	c.w.t.Helper()
	records := decode[[]fileRecord](c.w.t, c.run(0, "jobs", "files", id, "--json"))
	kept := map[string]bool{}
	var list []fileRecord
	for _, r := range records {
		if r.Source != "deleted" && r.Source != "purged" {
			kept[r.Path] = true
			list = append(list, r)
		}
	}
	for name := range files(c.w.t, c.w.source) {
		if !kept[name] {
			c.w.t.Errorf("%q is still at the source, and the job doesn't say why", name)
		}
	}
	return list
}

// decode reads one JSON document and refuses anything behind it.
func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	dec := json.NewDecoder(strings.NewReader(text))
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("not the JSON that was asked for: %v\n%s", err, text)
	}
	if dec.More() {
		t.Fatalf("more than one JSON document on standard output:\n%s", text)
	}
	return v
}
