package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/room"
	"offload/schedules"
	"offload/schedules/scheduleform"
)

func (a *app) newSchedules() *cli.Command {
	one := func(name, usage, description string, action func(*cli.Context, *parts, string, string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: "NAME", Description: description,
			UsageText: "offload schedules " + name + " nightly",
			Flags:     []cli.Flag{scheduleAccountFlag()},
			Action:    func(c *cli.Context) error { return a.withSchedule(c, action) },
		}
	}
	return &cli.Command{
		Name: "schedules", Usage: "make jobs by the clock",
		Description: `A schedule makes its job each time that it is due, once, by whichever worker runs (offload worker, offload up). A run is
skipped while the job of the run before hasn't ended. Where no worker ran for a while, the last run that was missed is made
up for, once. It moves files (SRC DST), keeps room (--free), or scrubs (--scrub). docs/schedules.md says more.`,
		Subcommands: []*cli.Command{
			a.newSchedulesAdd(),
			{
				Name: "list", Usage: "list the schedules: when each runs next, and how its last run went",
				UsageText: "offload schedules list\noffload schedules list --account anna --json",
				Flags:     []cli.Flag{scheduleAccountFlag()},
				Action:    func(c *cli.Context) error { return a.runSchedulesList(c) },
			},
			one("show", "show what a schedule does, its next five runs and its last ones", "", a.runSchedulesShow),
			one("run", "run a schedule now, once, beside its times", `Makes the job and says which; a worker does it. Where the job of the last run hasn't ended, none is made, and the exit
status is 4.`, a.runSchedulesRun),
			one("pause", "let a schedule rest; a job that it made goes on", "", a.runSchedulesPause),
			one("resume", "let a paused schedule go on; what it missed isn't made up for", "", a.runSchedulesResume),
			one("remove", "forget a schedule; the jobs that it made stay", "", a.runSchedulesRemove),
		},
	}
}

func scheduleAccountFlag() cli.Flag {
	return &cli.StringFlag{Name: "account", Usage: "`NAME` of the account whose schedule it is; default \"default\""}
}

func (a *app) newSchedulesAdd() *cli.Command {
	text := func(name, usage string) cli.Flag { return &cli.StringFlag{Name: name, Usage: usage} }
	flags := []cli.Flag{
		text("every", "run every `PERIOD`: day, week, month"),
		text("at", "`TIME` of the day; default 03:00"),
		text("on", "`DAY`: of the week (mon, or mon,thu; default mon), or of the month (1 to 31, or last; default 1)"),
		text("cron", "`LINE` of cron's in place of these: minute, hour, day of month, month, day of week"),
		text("zone", "time `ZONE`, such as Europe/Berlin; default that of the account's quota, which is UTC where the settings don't say otherwise"),
		text("free", "keep room in `REMOTE`: offload what is needed for it, and nothing where there is enough"),
		text("to", "with --free: where the files go, `DST` such as dropbox:Archive"),
		text("target", "with --free: `SIZE` that is to be free"),
		text("until", "with --free: `PART` of the whole that is to be free, such as 40%free"),
		text("for-backup", "with --free: `SIZE` of the next device backup; 5% more is kept free"),
		text("keep-recent", "with --free: keep what is younger than `TIME`, such as 90d"),
		&cli.StringSliceFlag{Name: "protect", Usage: "with --free: never choose files that match `PATTERN` (may be repeated)"},
		text("scrub", "look whether what `JOB` offloaded is still at the destination; all takes every job"),
		&cli.BoolFlag{Name: "replace", Usage: "give a schedule of that name another definition; its runs stay"},
	}
	return &cli.Command{
		Name: "add", Usage: "make a schedule, and show when it will run", ArgsUsage: "NAME [SRC] [DST]",
		Description: `Give SRC and DST for a job like that of ` + "`offload run`" + `, or --free, or --scrub; and when it runs: --every or --cron. The
options of a job are those of its jobs. Prints the next five runs, in the schedule's time zone: look at them.
A time that the clock jumps over in spring is run at the jump, one that comes twice in autumn the first time. Every month
on the 31st is the last day of each month.`,
		UsageText: `offload schedules add nightly icloud: dropbox:Backup --every day --at 03:00 --zone Europe/Berlin --delete-source verified
offload schedules add keep-room --free icloud: --to dropbox:Archive --target 20GiB --every day
offload schedules add check --scrub all --every month --on last
offload schedules add office /srv/data nas:data --cron "30 18 * * 1-5"`,
		Flags:  append(flags, orderFlags()...),
		Action: func(c *cli.Context) error { return a.runSchedulesAdd(c) },
	}
}

// schedules are the schedules of the store.
func (p *parts) schedules() *schedules.Book {
	return schedules.New(schedules.Config{Client: p.store.Client(), Jobs: p.jobs, Log: p.log,
		Room: func(ctx context.Context, g jobs.Goal, base jobs.Order) (jobs.Order, bool, string, error) {
			plan, err := room.Choose(ctx, p.jobs, g, base)
			var none *room.NoStorageError
			if errors.As(err, &none) { // a remote that can't be measured isn't tried again
				err = &jobs.OrderError{Field: "free", Value: g.Remote, Err: none, Hint: "choose a remote that tells how much room there is"}
			}
			if err != nil {
				return jobs.Order{}, false, "", err
			}
			if plan.Missing > 0 && plan.InTrash.Bytes >= plan.Missing {
				return jobs.Order{}, false, "earlier jobs have left as much in the trash as is missing: `offload free --purge-trash` makes room of it", nil
			}
			if plan.Missing > 0 && !plan.Enough {
				return jobs.Order{}, false, "", &jobs.OrderError{Field: "free", Value: g.Remote,
					Err:  fmt.Errorf("%s are missing, and all that may be offloaded comes to %s: nothing was moved", size(plan.Missing), size(plan.Chosen.Bytes)),
					Hint: "`offload free` shows what takes the room; a smaller target can be kept"}
			}
			o, ok := plan.Order()
			return o, ok, "there is room enough", nil
		}})
}

// schedulesEnd is how long schedules may keep a process that ends.
const schedulesEnd = 5 * time.Second

// startSchedules makes jobs by the clock until ctx is done or stop is called.
func (p *parts) startSchedules(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.schedules().NewRunner().Run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(schedulesEnd):
			p.log.Warn("a run of a schedule was under way as the program ended; another process goes on with it")
		}
	}
}

// checkSchedule refuses what can't be the name of a schedule.
func checkSchedule(name string) error {
	if err := schedules.CheckName(name); err != nil {
		return usageError("use 1 to 64 of a-z, 0-9, dot, dash and underscore; `offload schedules list` shows the schedules", "%s is no name of a schedule", configs.Quote(name))
	}
	return nil
}

// withSchedule checks the name before anything is opened and runs the action.
func (a *app) withSchedule(c *cli.Context, action func(*cli.Context, *parts, string, string) error) error {
	name := c.Args().First()
	if err := checkSchedule(name); err != nil {
		return err
	}
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	account, err := accountFlag(c, orDefault(cfg.Account, jobs.DefaultAccount))
	if err != nil {
		return err
	}
	var p *parts
	switch {
	case cfg.Redis == "" && !exists(storeDir(cfg)):
		return unknownSchedule(name, account)
	case c.Command.Name == "run": // it makes a job of remotes
		_, p, err = a.openRemotes(c.Context, cfg, log)
	default:
		p, err = open(c.Context, cfg, log)
	}
	if err != nil {
		return err
	}
	defer p.closeLogged()
	err = action(c, p, account, name)
	switch {
	case errors.Is(err, schedules.ErrNotFound):
		return unknownSchedule(name, account)
	case errors.Is(err, schedules.ErrBusy):
		return failure("`offload schedules show "+name+"` shows it", err)
	}
	return err
}

func unknownSchedule(name, account string) error {
	of := ""
	if account != jobs.DefaultAccount {
		of = " of account " + account
	}
	return usageError("`offload schedules list` shows the schedules", "there is no schedule %s%s", name, of)
}

// scheduleValues are the fields of a schedule that the command line names. What files-from names isn't read yet.
func scheduleValues(c *cli.Context, cfg configs.Config) map[string][]string {
	values := given(c)
	for _, name := range slices.Concat(scheduleform.WhenNames(), scheduleform.WhatNames()) {
		switch {
		case !c.IsSet(name):
		case name == orderform.Protect:
			values[name] = c.StringSlice(name)
		default:
			values[name] = []string{c.String(name)}
		}
	}
	if !c.IsSet(orderform.Account) && cfg.Account != "" {
		values[orderform.Account] = []string{cfg.Account}
	}
	values[scheduleform.Name] = []string{c.Args().First()}
	return values
}

// readSchedule makes a schedule of the command line. Whatever can be told to be wrong without opening the store or a remote is
// told here; paths of this machine are made whole.
func (a *app) readSchedule(c *cli.Context, cfg configs.Config, zone string) (schedules.Schedule, error) {
	values := scheduleValues(c, cfg)
	for i, field := range []string{orderform.Source, orderform.Dest} {
		text := c.Args().Get(i + 1)
		if text == "" {
			continue
		}
		path, err := remotePath(field, text)
		if err != nil {
			return schedules.Schedule{}, err
		}
		values[field] = []string{path}
	}
	for _, field := range []string{scheduleform.Free, scheduleform.To} {
		if text := c.String(field); text != "" {
			path, err := remotePath(field, text)
			if err != nil {
				return schedules.Schedule{}, err
			}
			values[field] = []string{path}
		}
	}
	if list := values[orderform.FilesFrom]; len(list) > 0 {
		paths, err := a.readFilesFrom(list[0])
		if err != nil {
			return schedules.Schedule{}, err
		}
		values[orderform.FilesFrom] = paths
	}
	s, wrong := scheduleform.Parse(values, zone)
	if len(wrong) == 0 {
		return s, nil
	}
	e := wrong[0]
	switch e.Field {
	case scheduleform.Name:
		return s, checkSchedule(c.Args().First())
	case "what", "when":
		return s, usageError(e.Hint+"; `offload schedules add --help` shows examples", "schedule %s: %w", s.Name, e.Err)
	case orderform.Source, orderform.Dest:
		return s, usageError(e.Hint, "%s: %w", e.Field, e.Err)
	}
	if e.Value != "" {
		return s, usageError(e.Hint, "--%s: %s %w", e.Field, configs.Quote(e.Value), e.Err)
	}
	return s, usageError(e.Hint, "--%s: %w", e.Field, e.Err)
}

func (a *app) runSchedulesAdd(c *cli.Context) error {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return err
	}
	conf, p, err := a.setUpRemotes(c.Context, cfg, log)
	if err != nil {
		return err
	}
	if p == nil { // a mistake makes no store
		if _, err := a.readSchedule(c, cfg, "UTC"); err != nil {
			return err
		}
		if p, err = a.openStore(c.Context, conf, cfg, log); err != nil {
			return err
		}
	}
	defer p.closeLogged()
	account, err := accountFlag(c, orDefault(cfg.Account, jobs.DefaultAccount))
	if err != nil {
		return err
	}
	st, err := p.ledger.Status(c.Context, account)
	if err != nil {
		return fmt.Errorf("read the time zone of account %s: %w", account, err)
	}
	s, err := a.readSchedule(c, cfg, orDefault(st.TimeZone, "UTC"))
	if err != nil {
		return err
	}
	v, err := p.schedules().Add(c.Context, s, c.Bool("replace"))
	if errors.Is(err, schedules.ErrExists) {
		return usageError("choose another name, or add --replace to give it this definition", "there is a schedule %s already: %s", s.Name, "`offload schedules show "+s.Name+"` shows it")
	}
	if err != nil {
		return err
	}
	if n, err := p.jobs.WorkersRunning(c.Context); err == nil && n == 0 {
		a.note("no worker is running: schedules run while %s does", startWorker(cfg))
	}
	if !c.IsSet(scheduleform.Zone) && otherZone(v.When.Zone) {
		a.note("its times are those of %s, the time zone of the account's quota, which isn't this machine's; --zone names another one", v.When.Zone)
	}
	if c.Bool("json") {
		return writeJSON(a.out, scheduleform.Of(v, nil))
	}
	fmt.Fprintf(a.out, "%s %s, %s\n", v.Name, printable(v.Does), v.Words)
	writeUpcoming(a.out, v)
	return nil
}

// otherZone tells whether the clock of this machine shows another time than that of a zone.
func otherZone(name string) bool {
	zone, err := time.LoadLocation(name)
	if err != nil {
		return false
	}
	now := time.Now()
	_, there := now.In(zone).Zone()
	_, here := now.Local().Zone()
	return there != here
}

// writeUpcoming writes the next runs of a schedule in its zone.
func writeUpcoming(w io.Writer, v schedules.View) {
	all := v.Upcoming(5)
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "next runs:")
	for _, t := range all {
		fmt.Fprintf(w, "  %s\n", runTime(t, v.When.Zone))
	}
}

// runTime is a time of a run in its schedule's zone: "Mon 2026-03-30 03:00 CEST".
func runTime(t time.Time, zone string) string {
	if z, err := time.LoadLocation(zone); err == nil {
		t = t.In(z)
	}
	return t.Format("Mon 2006-01-02 15:04 MST")
}

func (a *app) runSchedulesList(c *cli.Context) error {
	account, err := accountFlag(c, "")
	if err != nil {
		return err
	}
	cfg, p, err := a.existing(c)
	if err != nil {
		return err
	}
	var list []schedules.View
	if p != nil {
		defer p.closeLogged()
		if list, err = p.schedules().List(c.Context, account); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		all := []scheduleform.Document{}
		for _, v := range list {
			all = append(all, scheduleform.Of(v, nil))
		}
		return writeJSON(a.out, all)
	}
	if len(list) == 0 {
		a.note("no schedules; `offload schedules add` makes one")
		return nil
	}
	if err := writeSchedules(a.out, list); err != nil {
		return err
	}
	if n, err := p.jobs.WorkersRunning(c.Context); err == nil && n == 0 {
		a.note("no worker is running: schedules run while %s does", startWorker(cfg))
	}
	return nil
}

func writeSchedules(w io.Writer, list []schedules.View) error {
	accounts := slices.ContainsFunc(list, func(v schedules.View) bool { return v.Account() != jobs.DefaultAccount })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tWHEN\tNEXT\tLAST\tDOES")
	for _, v := range list {
		name := v.Name
		if accounts {
			name = v.ID()
		}
		next := "never"
		switch {
		case v.Paused:
			next = "paused"
		case v.Next != nil:
			next = runTime(*v.Next, v.When.Zone)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", name, v.Words, next, lastWords(v), shorten(v.Does, 60))
	}
	return t.Flush()
}

// lastWords says how the last run of a schedule went, in a few words.
func lastWords(v schedules.View) string {
	switch {
	case v.Running != nil:
		return "being begun"
	case v.Last == nil:
		return "-"
	}
	when := runTime(v.Last.Due, v.When.Zone)
	if v.Last.Result == schedules.Made && v.LastJob != "" {
		return when + ": " + strings.ReplaceAll(string(v.LastJob), "_", " ")
	}
	return when + ": " + v.Last.Words()
}

func (a *app) runSchedulesShow(c *cli.Context, p *parts, account, name string) error {
	book := p.schedules()
	v, err := book.Get(c.Context, account, name)
	if err != nil {
		return err
	}
	runs, err := book.Runs(c.Context, account, name, 10)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, scheduleform.Of(v, runs))
	}
	w := a.out
	fmt.Fprintf(w, "%s %s, %s\n", v.Name, printable(v.Does), v.Words)
	options := scheduleform.Of(v, nil).Options
	for _, name := range slices.Concat(scheduleform.WhatNames(), orderform.OptionNames()) {
		if text := options[name]; len(text) > 0 && name != orderform.FilesFrom {
			fmt.Fprintf(w, "  %-16s %s\n", name, printable(strings.Join(text, " ")))
		}
	}
	if n := len(options[orderform.FilesFrom]); n > 0 {
		fmt.Fprintf(w, "  %-16s %s\n", orderform.FilesFrom, count(int64(n), "path"))
	}
	if v.Paused {
		fmt.Fprintf(w, "paused; `offload schedules resume %s` lets it go on\n", v.Name)
	}
	writeUpcoming(w, v)
	if v.Running != nil {
		fmt.Fprintf(w, "the run of %s is being begun\n", runTime(v.Running.Due, v.When.Zone))
	}
	if len(runs) > 0 {
		fmt.Fprintln(w, "last runs:")
	}
	for i, r := range runs {
		fmt.Fprintf(w, "  %s  %s", runTime(r.Due, v.When.Zone), r.Words())
		if i == 0 && r.Result == schedules.Made && v.LastJob != "" {
			fmt.Fprintf(w, " (%s)", strings.ReplaceAll(string(v.LastJob), "_", " "))
		}
		fmt.Fprintln(w, runDetail(r))
	}
	return nil
}

// runDetail is the rest of what there is to say of a run.
func runDetail(r schedules.Run) string {
	text := ""
	if len(r.Jobs) > 0 {
		text += " " + strings.Join(r.Jobs[:min(3, len(r.Jobs))], " ")
		if more := len(r.Jobs) - 3; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	switch r.Trigger {
	case schedules.CatchUp:
		if r.Result != schedules.Missed {
			text += fmt.Sprintf("; made up for at %s", moment(r.Began))
		}
	case schedules.ByHand:
		text += "; by hand"
		if r.By != "" {
			text += " (" + printable(r.By) + ")"
		}
	}
	if r.Missed > 0 {
		text += fmt.Sprintf("; %s before it missed", count(int64(r.Missed), "run"))
	}
	if r.Reason != "" {
		text += ": " + printable(r.Reason)
	}
	return text
}

func (a *app) runSchedulesRun(c *cli.Context, p *parts, account, name string) error {
	run, err := p.schedules().RunNow(c.Context, account, name, "")
	if err != nil {
		return err
	}
	if n, err := p.jobs.WorkersRunning(c.Context); err == nil && n == 0 && len(run.Jobs) > 0 {
		a.note("no worker is running; the job begins with %s", startWorker(p.cfg))
	}
	if c.Bool("json") {
		if err := writeJSON(a.out, scheduleform.Plain(run)); err != nil {
			return err
		}
	}
	switch run.Result {
	case schedules.Failed:
		if c.Bool("json") {
			return status(exitFailed)
		}
		return failure("`offload schedules show "+name+"` shows what it is to do", fmt.Errorf("schedule %s made no job: %s", name, run.Reason))
	case schedules.Skipped:
		a.note("no job was made: %s", printable(run.Reason))
		return status(exitWaiting)
	case schedules.Nothing:
		a.note("nothing to do: %s", printable(run.Reason))
	default:
		if !c.Bool("json") {
			for _, id := range run.Jobs {
				fmt.Fprintln(a.out, id)
			}
		}
	}
	return nil
}

func (a *app) runSchedulesPause(c *cli.Context, p *parts, account, name string) error {
	v, err := p.schedules().Pause(c.Context, account, name)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, scheduleform.Of(v, nil))
	}
	fmt.Fprintf(a.out, "%s is paused; a job that it made goes on\n", v.Name)
	return nil
}

func (a *app) runSchedulesResume(c *cli.Context, p *parts, account, name string) error {
	v, err := p.schedules().Resume(c.Context, account, name)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, scheduleform.Of(v, nil))
	}
	fmt.Fprintf(a.out, "%s goes on, %s\n", v.Name, v.Words)
	writeUpcoming(a.out, v)
	return nil
}

func (a *app) runSchedulesRemove(c *cli.Context, p *parts, account, name string) error {
	v, err := p.schedules().Get(c.Context, account, name)
	if err != nil {
		return err
	}
	if err := p.schedules().Remove(c.Context, account, name); err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(a.out, scheduleform.Of(v, nil))
	}
	fmt.Fprintf(a.out, "%s is removed; the jobs that it made stay\n", v.Name)
	return nil
}
