package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/quota/quotaform"
	"offload/transfer"
)

// newWorkers builds the commands about the workers of a pool.
func (a *app) newWorkers() *cli.Command {
	host := func() cli.Flag { return &cli.StringFlag{Name: "host", Usage: "all workers of host `NAME`"} }
	drain := `NAME is that of ` + "`offload workers list`" + `, its beginning, or the host where only one worker runs on it (a
container's ID).`
	return &cli.Command{
		Name: "workers", Usage: "look at the workers of the pool and steer them",
		Description: `A worker that ends properly leaves the list; one that wasn't heard of for 15 seconds is silent, and forgotten
after an hour. ` + "`offload run`" + ` is none of them.`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the workers, and the limits of files at once",
				UsageText: "offload workers list\noffload workers list --json",
				Action:    func(c *cli.Context) error { return a.runWorkersList(c) },
			},
			{
				Name: "drain", Usage: "let a worker take nothing new, so that it can be stopped without cutting a file", ArgsUsage: "[NAME]",
				Description: `Files that have begun end, however large they are; whatever else the worker has goes to the others at once. Then it
waits, drained, until it is stopped or resumed; a worker that is started again isn't drained.
` + drain,
				UsageText: "offload workers drain 3f2a9c0d1b7e --wait && docker stop 3f2a9c0d1b7e\noffload workers drain --host nas",
				Flags:     []cli.Flag{host(), &cli.BoolFlag{Name: "wait", Usage: "return when it has nothing in hand any more"}},
				Action:    func(c *cli.Context) error { return a.runWorkersDrain(c, (*jobs.Service).Drain) },
			},
			{
				Name: "resume", Usage: "let a drained worker go on", ArgsUsage: "[NAME]", Description: drain,
				UsageText: "offload workers resume 3f2a9c0d1b7e",
				Flags:     []cli.Flag{host()},
				Action:    func(c *cli.Context) error { return a.runWorkersDrain(c, (*jobs.Service).Undrain) },
			},
			a.newWorkersSet(),
		},
	}
}

func (a *app) newWorkersSet() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "limit how many files all workers together move at once, from and to a remote or for an account",
		Description: `Holds over all workers, ` + "`offload run`" + ` too, within two seconds; files that are under way then may end. It outranks
workers.files of the settings. What a killed worker was moving is free again after 15 seconds.`,
		UsageText: "offload workers set --remote icloud: --transfers 8\noffload workers set --account anna --transfers none\noffload workers set --remote icloud: --transfers default",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "remote", Usage: "`NAME` of the remote, such as icloud:"},
			&cli.StringFlag{Name: "account", Usage: "`NAME` of the account"},
			&cli.StringFlag{Name: "transfers", Usage: "`N` files at once; none is no limit, default that of the settings"},
		},
		Action: func(c *cli.Context) error { return a.runWorkersSet(c) },
	}
}

// workersDoc is the document of `workers list --json`.
type workersDoc struct {
	Workers []jobs.WorkerInfo `json:"workers"`
	Limits  []jobs.FileLimit  `json:"limits"`
}

func (a *app) runWorkersList(c *cli.Context) error {
	cfg, p, err := a.existing(c)
	if err != nil {
		return err
	}
	doc := workersDoc{Workers: []jobs.WorkerInfo{}, Limits: []jobs.FileLimit{}}
	if p != nil {
		defer p.closeLogged()
		if doc.Workers, err = p.jobs.Workers(c.Context); err != nil {
			return err
		}
		if doc.Limits, err = p.jobs.FileLimits(c.Context); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, doc)
	}
	if len(doc.Workers) == 0 {
		a.note("no worker is running; %s starts one", startWorker(cfg))
	} else if err := writeWorkers(a.out, doc.Workers, time.Now()); err != nil {
		return err
	}
	for _, l := range doc.Limits {
		fmt.Fprintln(a.out, fileLimitLine(l))
	}
	return nil
}

func writeWorkers(w io.Writer, all []jobs.WorkerInfo, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tHOST\tVERSION\tUP\tBATCHES\tFILES\tSTATE")
	names := map[string]int{}
	for _, i := range all {
		names[i.Name]++
	}
	for _, i := range all {
		name, up := i.Name, "-"
		if names[name] > 1 {
			name = i.ID // of two of one name, this tells them apart
		}
		if i.Started != nil {
			up = span(now.Sub(*i.Started))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\n", printable(name), printable(i.Host), printable(orDefault(i.Version, "-")), up,
			i.Busy, i.Batches, i.Files, workerWords(i, now))
	}
	return t.Flush()
}

// workerWords is a worker's state as people read it.
func workerWords(i jobs.WorkerInfo, now time.Time) string {
	if i.State == jobs.WorkerSilent {
		return "silent for " + span(now.Sub(i.Heard))
	}
	return string(i.State)
}

func fileLimitLine(l jobs.FileLimit) string {
	who := printable(l.Remote) + ":"
	if l.Account != "" {
		who = "account " + printable(l.Account)
	}
	if l.Files == 0 {
		return who + " has no limit of files at once"
	}
	return fmt.Sprintf("%s moves at most %d files at once over all workers; they have leave for %d now", who, l.Files, l.Held)
}

func (a *app) runWorkersDrain(c *cli.Context, act func(*jobs.Service, context.Context, string) error) error {
	name, byHost := c.Args().First(), c.IsSet("host")
	switch {
	case byHost && name != "":
		return usageError("name one worker, or all of a host with --host", "NAME and --host don't go together")
	case byHost:
		name = c.String("host")
	}
	if strings.TrimSpace(name) == "" {
		return usageError("`offload workers list` shows the names", "workers %s needs the NAME of a worker, or --host NAME", c.Command.Name)
	}
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	var all []jobs.WorkerInfo
	if p != nil {
		defer p.closeLogged()
		if all, err = p.jobs.Workers(c.Context); err != nil {
			return err
		}
	}
	found, err := jobs.FindWorkers(all, name, byHost)
	switch {
	case errors.Is(err, jobs.ErrManyWorkers):
		return usageError("give more of the name, or choose all of a host with --host", "%w", err)
	case err != nil:
		return usageError(workersHint(all), "%w", err)
	}
	var ids []string
	for _, i := range found {
		if err := act(p.jobs, c.Context, i.ID); err != nil && !errors.Is(err, jobs.ErrNoWorker) { // it has just ended: as good
			return err
		}
		ids = append(ids, i.ID)
	}
	return a.afterDrain(c, p, ids)
}

// workersHint names the workers that there are.
func workersHint(all []jobs.WorkerInfo) string {
	names := map[string]bool{}
	for _, i := range all {
		names[i.Name] = true
	}
	if len(names) == 0 {
		return "no worker is running"
	}
	return "the workers are " + strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// drainPoll is how often --wait looks.
const drainPoll = 300 * time.Millisecond

// afterDrain waits if that is asked for, and shows how the workers are then.
func (a *app) afterDrain(c *cli.Context, p *parts, ids []string) error {
	for {
		all, err := p.jobs.Workers(c.Context)
		if err != nil {
			return err
		}
		found := []jobs.WorkerInfo{}
		waits := false
		for _, i := range all {
			if slices.Contains(ids, i.ID) {
				found = append(found, i)
				waits = waits || i.State == jobs.WorkerDraining
			}
		}
		if waits && c.Bool("wait") {
			if err := transfer.Sleep(c.Context, drainPoll); err != nil {
				return err
			}
			continue
		}
		if c.Bool("json") {
			return writeJSON(a.out, found)
		}
		if len(found) == 0 {
			a.note("the worker has ended")
			return nil
		}
		return writeWorkers(a.out, found, time.Now())
	}
}

func (a *app) runWorkersSet(c *cli.Context) error {
	if err := notTogether(c, "remote", "account"); err != nil {
		return err
	}
	if !c.IsSet("remote") && !c.IsSet("account") {
		return usageError("add --remote NAME or --account NAME", "nothing is named to limit")
	}
	if !c.IsSet("transfers") {
		return usageError("add --transfers N", "there is nothing to set")
	}
	files, reset, err := quotaform.Files(c.String("transfers"), jobs.MaxFiles)
	if err != nil {
		return wrongFlag(err)
	}
	remote, err := remoteFlag(c)
	if err != nil {
		return err
	}
	subject := jobs.FilesOfRemote(remote)
	if c.IsSet("account") {
		account, err := accountFlag(c, "")
		if err != nil {
			return err
		}
		subject = jobs.FilesOfAccount(account)
	}
	set, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer set.close()
	if remote != "" && !reset { // what was set for a remote that was removed can still be taken away
		if err := checkRemoteKnown(remote); err != nil {
			return err
		}
	}
	if err := set.needStore(c.Context); err != nil {
		return err
	}
	if reset {
		err = set.p.jobs.ResetFileLimit(c.Context, subject)
	} else {
		err = set.p.jobs.SetFileLimit(c.Context, subject, files)
	}
	if err != nil {
		return err
	}
	return a.showFileLimit(c, set.p, jobs.FileLimit{Remote: remote, Account: c.String("account")})
}

// showFileLimit shows the limit of one remote or account as it is now; where there is none, the empty one.
func (a *app) showFileLimit(c *cli.Context, p *parts, of jobs.FileLimit) error {
	all, err := p.jobs.FileLimits(c.Context)
	if err != nil {
		return err
	}
	for _, l := range all {
		if l.Remote == of.Remote && l.Account == of.Account {
			of = l
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, of)
	}
	fmt.Fprintln(a.out, fileLimitLine(of))
	return nil
}

// fileLimits are the limits of files at once of the settings.
func fileLimits(cfg configs.Config) map[string]int {
	all := map[string]int{}
	for name, n := range cfg.Workers.Files.Remotes {
		all[jobs.FilesOfRemote(name)] = n
	}
	for name, n := range cfg.Workers.Files.Accounts {
		all[jobs.FilesOfAccount(name)] = n
	}
	return all
}
