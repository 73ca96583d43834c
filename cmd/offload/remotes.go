package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rclone/rclone/fs/config"
	"github.com/urfave/cli/v2"

	"offload/jobs"
	"offload/remotes"
)

func (a *app) newRemotes() *cli.Command {
	return &cli.Command{
		Name: "remotes", Usage: "add clouds, sign in to them, look at them",
		Description: `Remotes that are added here are kept sealed in the store, for all workers. Those of an existing rclone.conf are used
as they are; where both have a name, the store's is used. Secrets are never printed, and none is taken from the
command line. docs/remotes.md says more.`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the remotes, their kinds, where they are kept, and how long a sign-in lasts",
				UsageText: "offload remotes list\noffload remotes list --rclone-config /etc/rclone.conf --json",
				Action:    func(c *cli.Context) error { return a.runRemotesList(c) },
			},
			a.newRemotesAdd(), a.newRemotesReconnect(),
			{
				Name: "check", Usage: "ask a remote: does it answer, what room has it, what can it do", ArgsUsage: "REMOTE",
				UsageText: "offload remotes check icloud\noffload remotes check dropbox:Backup --json",
				Action:    func(c *cli.Context) error { return a.runRemotesCheck(c) },
			},
			a.newRemotesRemove(), a.newRemotesImport(),
		},
	}
}

// remoteInfo is one line of `remotes list`.
type remoteInfo struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Where string `json:"where"` // store, rclone.conf or environment
	Waits int    `json:"jobs_waiting_for_sign_in,omitempty"`
	trustInfo
}

// signIn says how the sign-in stands. A job that found it refused knows better than the days that it should last.
func (r remoteInfo) signIn() string {
	name := printable(r.Name)
	if r.Waits > 0 {
		return "refused, " + count(int64(r.Waits), "job") + " waiting; `offload remotes reconnect " + name + "` signs in again"
	}
	return r.words(name)
}

// waitingJobs counts the jobs that wait for a sign-in, by remote.
func waitingJobs(ctx context.Context, p *parts) (map[string]int, error) {
	waits := map[string]int{}
	if p == nil {
		return waits, nil
	}
	err := eachJob(ctx, p, jobs.ListOptions{States: []jobs.State{jobs.Waiting}}, func(j jobs.Job) {
		if name := j.SignInRemote(); name != "" {
			waits[name]++
		}
	})
	return waits, err
}

// trustInfo is how long a sign-in is still trusted.
type trustInfo struct {
	TrustDays *int `json:"trust_days_left,omitempty"` // nil where it isn't known, or where there is no such thing
	TrustEnds bool `json:"trust_ends_soon,omitempty"` // sign in again now, while there is time
}

func trustOf(values map[string]string) trustInfo {
	days, known := remotes.TrustLeft(values, time.Now())
	if !known {
		return trustInfo{}
	}
	return trustInfo{&days, remotes.TrustEndsSoon(days)}
}

// words says it for people; "" where there is nothing to say.
func (t trustInfo) words(name string) string {
	again := "; `offload remotes reconnect " + name + "` signs in again"
	switch {
	case t.TrustDays == nil:
		return ""
	case *t.TrustDays == 0:
		return "the sign-in has ended" + again
	case t.TrustEnds:
		return "the sign-in ends in " + count(int64(*t.TrustDays), "day") + again
	}
	return "signed in for " + count(int64(*t.TrustDays), "more day")
}

func (a *app) runRemotesList(c *cli.Context) error {
	set, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer set.close()
	waits, err := waitingJobs(c.Context, set.p)
	if err != nil {
		return err
	}
	list := []remoteInfo{}
	for _, r := range config.GetRemotes() {
		where := r.Source
		if where != "environment" {
			where = set.conf.Where(r.Name)
		}
		list = append(list, remoteInfo{r.Name, r.Type, where, waits[r.Name], trustOf(set.conf.Values(r.Name))})
	}
	slices.SortFunc(list, func(a, b remoteInfo) int { return strings.Compare(a.Name, b.Name) })
	if hidden := set.conf.Hidden(); len(hidden) > 0 {
		a.note("rclone.conf has %s, too; the store's is used", printable(strings.Join(hidden, ", ")))
	}
	if c.Bool("json") {
		return writeJSON(a.out, list)
	}
	if len(list) == 0 {
		a.note("no remotes; `offload remotes add icloud` and `offload remotes add dropbox` make some")
		return nil
	}
	t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "REMOTE\tKIND\tWHERE\tSIGN-IN")
	for _, r := range list {
		fmt.Fprintf(t, "%s:\t%s\t%s\t%s\n", printable(r.Name), printable(r.Type), r.Where, r.signIn())
	}
	return t.Flush()
}
