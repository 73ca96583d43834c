package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/notify"
	"offload/room"
	"offload/transfer"
)

func (a *app) newFree() *cli.Command {
	return &cli.Command{
		Name: "free", Usage: "choose what to offload until so much is free, and do it", ArgsUsage: "REMOTE",
		Description: `Measures the storage behind REMOTE, chooses files until as much is free as is asked for, shows the plan, and after a yes
(or with --yes) copies them to the destination of --to, proves each and deletes it at REMOTE. Then it measures again, and
goes on until the room is there or it can say why not. One of --target, --until and --for-backup says how much.

At iCloud what was deleted counts until it leaves the trash: --purge-trash removes there what this command's jobs deleted,
once each copy is proved again, and nothing else. Without it the room may only be there when you empty Recently Deleted.

Never chosen are files that couldn't be deleted by proof: empty ones, what is shared, packages (Pages, Keynote...)
without --delete-packages, names that the destination refuses. --keep-recent and --protect keep what you choose. Where all
that may be chosen isn't enough, nothing is done unless you type yes to that, or say --yes --as-far-as-possible.
Nobody is asked where stdin is no terminal: without --yes the plan is shown and nothing is done (exit status 2).

Exit status 3 also says that the room isn't there yet: the last lines tell why, and what to do.`,
		UsageText: `offload free icloud: --for-backup 12GiB --to dropbox:Archive --purge-trash
offload free icloud:Documents --target 20GiB --to dropbox:Archive --keep-recent 90d --protect '/Work/**'
offload free icloud: --until 40%free --to nas:icloud --order largest --purge-trash --yes --json
offload free icloud: --target 20GiB --to dropbox:Archive --plan-file plan.jsonl   # look at it, then: offload run --plan-file plan.jsonl`,
		Flags:  freeFlags(),
		Action: func(c *cli.Context) error { return a.runFree(c) },
	}
}

// freeFlags are those of a job, with an order of choosing in place of that of moving.
func freeFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "to", Usage: "where the files go, `DST` such as dropbox:Archive"},
		&cli.StringFlag{Name: "target", Usage: "until `SIZE` is free, such as 20GiB"},
		&cli.StringFlag{Name: "until", Usage: "until so much of the whole is free, such as `40%free`"},
		&cli.StringFlag{Name: "for-backup", Usage: "until a device backup of `SIZE` fits, with 5% to spare: what the phone tells of its next backup"},
		&cli.StringFlag{Name: "order", Usage: "`WHICH` files first: oldest (default), largest, fewest (the smallest number of files)"},
		&cli.StringFlag{Name: "keep-recent", Usage: "keep what is younger than `TIME`, such as 90d"},
		&cli.StringSliceFlag{Name: "protect", Usage: "keep what matches `PATTERN` in any case (rclone's syntax; may be repeated)"},
		&cli.StringFlag{Name: "patience", Usage: "wait at most `TIME` for the cloud to count what was deleted; default 90s"},
		&cli.BoolFlag{Name: "yes", Usage: "don't ask"},
		&cli.BoolFlag{Name: "as-far-as-possible", Usage: "with --yes: offload what may be offloaded even where all of it isn't enough"},
		&cli.BoolFlag{Name: "detach", Usage: "only accept the job of the first round and print its ID; a worker does it"},
		&cli.StringFlag{Name: planFileFlag, Usage: "write the plan to `FILE` and do nothing else"},
	}
	for _, f := range orderFlags() {
		if n := f.Names()[0]; n != orderform.Order && n != orderform.DeleteSource {
			flags = append(flags, f)
		}
	}
	return flags
}

// readGoal reads how much is to be free, and the options of the jobs for it.
func (a *app) readGoal(c *cli.Context, cfg configs.Config) (g room.Goal, base jobs.Order, err error) {
	if !c.IsSet("to") {
		return g, base, usageError("name where the files go, such as --to dropbox:Archive", "--to is missing")
	}
	values := map[string][]string{}
	for _, name := range []string{orderform.Target, orderform.Until, orderform.ForBackup, orderform.KeepRecent, orderform.Order} {
		if c.IsSet(name) {
			values[name] = []string{c.String(name)}
		}
	}
	if c.IsSet(orderform.Protect) {
		values[orderform.Protect] = c.StringSlice(orderform.Protect)
	}
	g, wrong := orderform.ParseGoal(values)
	if len(wrong) > 0 {
		return g, base, usageError(wrong[0].Hint, "--%s: %w", wrong[0].Field, wrong[0].Err)
	}
	if g.Remote, err = remotePath("source", c.Args().Get(0)); err != nil {
		return g, base, err
	}
	if g.To, err = remotePath("destination", c.String("to")); err != nil {
		return g, base, err
	}
	if err := checkPaths(g.Remote, g.To); err != nil {
		return g, base, err
	}
	base, err = a.readOptions(c, cfg, func(values map[string][]string) {
		delete(values, orderform.Order) // another one is meant
		values[orderform.DeleteSource] = []string{string(transfer.DeleteVerified)}
	})
	return g, base, err
}

func (a *app) runFree(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	var g room.Goal
	var base jobs.Order
	patience := room.DefaultPatience()
	p, err := a.openWith(c, cfg, log, func() (err error) {
		if c.IsSet("patience") {
			if patience.All, err = configs.ParseDuration(c.String("patience")); err != nil {
				return usageError("write a duration like 90s or 10m", "--patience: %w", err)
			}
		}
		g, base, err = a.readGoal(c, cfg)
		return err
	})
	if err != nil {
		return err
	}
	defer p.closeLogged()
	if err := p.checkStore(c.Context); err != nil {
		return err
	}
	f := &freeing{a: a, c: c, p: p}
	ctx, end := context.WithCancelCause(c.Context)
	defer end(nil)
	f.interrupt = end
	f.rounds = &room.Rounds{Service: p.jobs, Goal: g, Base: base, Runner: f, Patience: patience, Partial: c.Bool("as-far-as-possible")}
	var none *room.NoStorageError
	if err := f.run(ctx); errors.As(err, &none) {
		return usageError("free works with iCloud Drive and with remotes that `rclone about` can ask; without, choose by age and size: `offload run SRC DST --delete-source verified --min-age 1y`",
			"%s doesn't tell how much room there is", printable(remoteLabel(none.Remote)))
	} else if err != nil {
		return err
	}
	return nil
}

// freeing is one run of `offload free`.
type freeing struct {
	a         *app
	c         *cli.Context
	p         *parts
	rounds    *room.Rounds
	sender    *notify.Sender
	last      jobs.Job
	purged    []jobs.Job // earlier ones that have purged what they deleted
	ask       *prompter  // once it was needed
	interrupt context.CancelCauseFunc
}

func (f *freeing) run(ctx context.Context) error {
	a, c := f.a, f.c
	before, found, err := f.interruptedJob(ctx)
	if err != nil {
		return err
	}
	if found && !c.Bool("detach") && !c.IsSet(planFileFlag) {
		a.note("going on with job %s of %s (%s), which was confirmed then", before.ID, moment(before.Created), stateWords(before))
		return f.work(ctx, func() (room.Result, error) { return f.rounds.GoOn(ctx, before) })
	}
	plan, err := f.rounds.Plan(ctx, a.foundSoFar())
	if err == nil && plan.Missing > 0 && plan.Goal.Purge && !c.Bool("detach") && !c.IsSet(planFileFlag) {
		plan, err = f.purgeEarlier(ctx, plan)
	}
	if err != nil {
		return err
	}
	order, any := plan.AsFarAsPossible()
	if any && !plan.Enough && c.Bool("yes") && !f.rounds.Partial {
		a.note("nothing was done: add --as-far-as-possible to offload what there is all the same")
		any = false
	}
	switch {
	case c.IsSet(planFileFlag):
		return f.save(plan)
	case !any:
		return f.report(f.rounds.Begin(plan), plan)
	}
	if !c.Bool("json") || !c.Bool("yes") {
		writeFreePlan(a.err, plan)
	}
	if err := f.confirm(ctx, plan); err != nil {
		return err
	}
	f.rounds.Partial = f.rounds.Partial || !plan.Enough // the yes was for that
	if c.Bool("detach") {
		return f.detach(ctx, order)
	}
	return f.work(ctx, func() (room.Result, error) { return f.rounds.Do(ctx, plan) })
}

// interruptedJob finds the job of an earlier run for the same goal that hasn't ended.
func (f *freeing) interruptedJob(ctx context.Context) (jobs.Job, bool, error) {
	order, err := f.rounds.Order()
	if err != nil {
		return jobs.Job{}, false, err
	}
	j, found, err := f.p.jobs.FindInterrupted(ctx, order)
	if err != nil && !errors.Is(err, jobs.ErrRunning) {
		return j, false, fmt.Errorf("look for an interrupted job: %w", err)
	}
	return j, found, err
}

// confirm asks whether to do the plan.
func (f *freeing) confirm(ctx context.Context, p room.Plan) error {
	sure, err := f.agrees(ctx, fmt.Sprintf("Offload %s (%s), and delete at %s what is proved to have arrived?", count(p.Chosen.Files, "file"), size(p.Chosen.Bytes),
		printable(remoteLabel(p.Goal.Remote))))
	if err == nil && !sure {
		err = usageError("type yes in full to do it", "nothing was done")
	}
	return err
}

// agrees asks for a yes, unless --yes has said it.
func (f *freeing) agrees(ctx context.Context, question string) (bool, error) {
	if f.c.Bool("yes") {
		return true, nil
	}
	if f.ask == nil {
		f.ask = f.a.newPrompter()
	}
	if !f.ask.asks() {
		return false, usageError("add --yes to do it, or --plan-file FILE to keep the plan", "nobody is here to say yes; nothing was done")
	}
	text, err := f.ask.line(ctx, "\n"+question+" Type yes: ")
	return strings.ToLower(strings.TrimSpace(text)) == "yes", err
}

// detach accepts the job of a plan.
func (f *freeing) detach(ctx context.Context, order jobs.Order) error {
	job, err := f.p.jobs.Enqueue(ctx, order)
	if err != nil {
		return err
	}
	f.a.note("job %s is accepted; measure again when it has ended: the same command plans what is missing then", job.ID)
	return f.a.accepted(ctx, f.p, f.c.Bool("json"), job)
}

// work does the rounds and reports them.
func (f *freeing) work(ctx context.Context, do func() (room.Result, error)) (err error) {
	if f.sender, err = f.p.sender(ctx); err != nil {
		return err
	}
	stopMessages := f.p.run(ctx, f.sender)
	res, err := do()
	stopMessages()
	if f.last.ID != "" {
		f.p.tellLast(ctx, f.sender, f.last)
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		err = errInterrupted
	}
	if err != nil {
		return failure("run the same command again to go on; nothing is lost", err)
	}
	return f.report(res, room.Plan{})
}

// Run implements room.Runner.
func (f *freeing) Run(ctx context.Context, o jobs.Order) (jobs.Job, bool, error) {
	job, err := f.p.jobs.EnqueueForeground(ctx, o)
	if err != nil {
		return job, false, err
	}
	return f.follow(ctx, job)
}

// GoOn implements room.Runner.
func (f *freeing) GoOn(ctx context.Context, job jobs.Job) (jobs.Job, bool, error) {
	if job.State == jobs.Paused || job.State == jobs.Waiting {
		var err error
		if job, err = f.p.jobs.Resume(ctx, job.ID); err != nil {
			return job, false, err
		}
	}
	return f.follow(ctx, job)
}

// Tell implements room.Runner.
func (f *freeing) Tell(what string) { f.a.note("%s", what) }

func (f *freeing) follow(ctx context.Context, job jobs.Job) (jobs.Job, bool, error) {
	job, interrupted, err := f.a.work(ctx, f.p, job)
	f.last = job
	// The signals were the job's; from here on they end what comes between two jobs.
	watched, stop := f.a.untilSignal(ctx)
	f.a.stopWatching = stop
	context.AfterFunc(watched, func() { f.interrupt(context.Cause(watched)) })
	return job, interrupted && !job.State.Terminal(), err
}
