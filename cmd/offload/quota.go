package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs/config"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/quota"
)

// newQuota builds the commands about what accounts and remotes may move.
func (a *app) newQuota() *cli.Command {
	return &cli.Command{
		Name: "quota", Usage: "look at and change what accounts and remotes may move",
		Description: `An account may move so many bytes a month. A remote can have limits of its own, which all jobs share: bytes a day,
bytes a month, API calls a month. A file moves only where every limit that applies has room for it; a job that reaches
one waits and goes on by itself. docs/quota.md says what counts.`,
		Subcommands: []*cli.Command{a.newQuotaShow(), a.newQuotaSet(), a.newQuotaRemove(), a.newQuotaHistory(), a.newQuotaForecast()},
	}
}

const accountHint = "use up to 64 of a-z 0-9 . _ -"

// accountFlag reads --account; fallback where it isn't given.
func accountFlag(c *cli.Context, fallback string) (string, error) {
	if !c.IsSet("account") {
		return fallback, nil
	}
	if err := configs.CheckAccount(c.String("account")); err != nil {
		return "", usageError(accountHint, "--account: %w", err)
	}
	return c.String("account"), nil
}

// remoteFlag reads --remote, "" where it isn't given. The colon of a path may stay on the name.
func remoteFlag(c *cli.Context) (string, error) {
	if !c.IsSet("remote") {
		return "", nil
	}
	name := strings.TrimSuffix(c.String("remote"), ":")
	if err := configs.CheckRemote(name); err != nil {
		return "", usageError("write it as `offload remotes list` does: gdrive:", "--remote: %w", err)
	}
	return name, nil
}

// notTogether refuses flags of which only one can be meant.
func notTogether(c *cli.Context, first string, others ...string) error {
	for _, other := range others {
		if c.IsSet(first) && c.IsSet(other) {
			return usageError("give one of them, or run two commands", "--%s and --%s don't go together", first, other)
		}
	}
	return nil
}

// subjectsOf are the limits that a remote can have, in the order in which they are shown.
func subjectsOf(remote string) []string {
	var all []string
	for _, m := range quota.Measures() {
		all = append(all, quota.RemoteSubject(remote, m))
	}
	return all
}

// knownAccount tells whether an account has settings, traffic or jobs.
func knownAccount(ctx context.Context, p *parts, account string) (bool, error) {
	names, err := p.ledger.Accounts(ctx)
	if err != nil {
		return false, fmt.Errorf("list the accounts: %w", err)
	}
	if slices.Contains(names, account) {
		return true, nil
	}
	st, err := p.ledger.Status(ctx, account)
	if err != nil || st.Removed {
		return st.Removed, err
	}
	page, _, err := p.jobs.List(ctx, jobs.ListOptions{Account: account, Limit: 1})
	if err != nil {
		return false, fmt.Errorf("look for jobs of account %s: %w", account, err)
	}
	return len(page) > 0, nil
}

// checkRemoteKnown refuses a limit for a remote that there isn't, which would never apply.
func checkRemoteKnown(name string) error {
	remotes := config.GetRemotes()
	if slices.ContainsFunc(remotes, func(r config.Remote) bool { return r.Name == name }) {
		return nil
	}
	return unknownRemote("--remote", name, remotes)
}
