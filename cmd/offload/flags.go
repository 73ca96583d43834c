package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

// orderFlags are the options of a job; run, enqueue and plan know the same ones.
func orderFlags() []cli.Flag {
	text := func(name, usage string) cli.Flag { return &cli.StringFlag{Name: name, Usage: usage} }
	yes := func(name, usage string) cli.Flag { return &cli.BoolFlag{Name: name, Usage: usage} }
	return []cli.Flag{
		text("account", "`NAME` of the account that pays the traffic; default \"default\""),
		text("delete-source", "`WHEN` to delete at the source: never (default), verified (each file once proved), complete (only when all are proved)"),
		text("min-grade", "weakest `GRADE` of proof that allows a deletion: A (hash), B (hash or read back; default), C (size and time)"),
		text("hold", "wait `TIME` between proof and deletion, such as 7d"),
		yes("purge-trash", "at the end, remove from the source's trash for good what this job put there, and nothing else"),
		yes("delete-packages", "delete packages (Pages, Keynote...) at the source, too"),
		text("conflict", "`WHAT` to do where the destination holds other content under a name: rename (default: keep both), skip, overwrite"),
		&cli.StringSliceFlag{Name: "include", Usage: "only files that match `PATTERN` (rclone's syntax; may be repeated)"},
		&cli.StringSliceFlag{Name: "exclude", Usage: "no files that match `PATTERN` (rclone's syntax; may be repeated)"},
		&cli.StringSliceFlag{Name: "filter", Usage: "`RULE` of rclone's: \"+ PATTERN\" or \"- PATTERN\"; the first rule that matches decides (may be repeated)"},
		&cli.StringSliceFlag{Name: "filter-from", Usage: "rules of --filter from `FILE`, one a line; - is stdin"},
		&cli.StringSliceFlag{Name: "include-from", Usage: "patterns of --include from `FILE`, one a line; - is stdin"},
		&cli.StringSliceFlag{Name: "exclude-from", Usage: "patterns of --exclude from `FILE`, one a line; - is stdin"},
		&cli.StringSliceFlag{Name: "exclude-if-present", Usage: "no folders that hold a file called `NAME` (may be repeated)"},
		&cli.StringSliceFlag{Name: "preset", Usage: "add the rules of `NAME`: photos, videos, documents, large-old (may be repeated: any of them); `offload plan` shows them"},
		text("min-age", "only files at least `TIME` old, such as 30d, or modified by a date such as 2024-01-31"),
		text("max-age", "only files at most `TIME` old, or modified since a date"),
		text("min-size", "only files of at least `SIZE`, such as 10MiB"),
		text("max-size", "only files of at most `SIZE`"),
		text("files-from", "only the paths in `FILE`, one a line; - is stdin"),
		text("order", "`WHICH` files first: largest, oldest, name; default as they are found"),
		text("max-transfer", "read at most `SIZE` in all"),
		text("max-delete", "delete at most `N` files"),
		text("priority", "`LANE` of the job: high, normal (default), low"),
		text("bwlimit", "at most `RATE` bytes a second over all workers of the job, rclone's syntax: 2M, or a timetable"),
		text("window", "work only in this part of the day, such as `22:00-06:00`"),
		text("transfers", "`N` files at once in one worker; 0 (default) adapts"),
		text("label", "free `TEXT` to find the job by"),
	}
}

// withPlanFile are the flags of a command that applies plans, or writes them.
func withPlanFile(usage string) []cli.Flag {
	return append(orderFlags(), &cli.StringFlag{Name: planFileFlag, Usage: usage})
}

// flagValues are the words that a flag knows; nil for a flag that takes other values.
func flagValues(flag string) []string {
	switch flag {
	case "state":
		return words(jobs.Queued, jobs.Scanning, jobs.Transferring, jobs.Finishing, jobs.Paused, jobs.Waiting,
			jobs.Completed, jobs.CompletedW, jobs.FailedState, jobs.Canceled)
	case "outcome":
		return append(words(transfer.Copied, transfer.Skipped, transfer.SetAside, transfer.Excluded, transfer.Failed), outcomePending)
	case "source":
		return words(transfer.Kept, transfer.Deleting, transfer.Deleted, transfer.Purging, transfer.Purged)
	case "log-level":
		return []string{"debug", "info", "warn", "error"}
	case "log-format":
		return []string{"text", "json"}
	}
	return orderform.Words(flag)
}

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// given are the options of a job that the command line names, as orderform reads them. What files-from names isn't read yet.
func given(c *cli.Context) map[string][]string {
	values := map[string][]string{}
	for _, name := range orderform.OptionNames() {
		switch {
		case !c.IsSet(name):
		case slices.Contains(severalTimes(), name):
			values[name] = c.StringSlice(name)
		case name == orderform.PurgeTrash, name == orderform.DeletePackages:
			values[name] = []string{strconv.FormatBool(c.Bool(name))}
		default:
			values[name] = []string{c.String(name)}
		}
	}
	return values
}

// severalTimes are the options that may be given several times.
func severalTimes() []string {
	return []string{orderform.Include, orderform.Exclude, orderform.Filter, orderform.ExcludeMarked, orderform.Preset}
}

// readRules adds to the options what their files hold: the rules are kept, not the names of the files. As with rclone, those of
// the command line come first.
func (a *app) readRules(c *cli.Context, values map[string][]string) error {
	names := []string{orderform.Include, orderform.Exclude, orderform.Filter}
	taken := c.String(orderform.FilesFrom) == "-"
	for _, name := range names { // before any is read
		for _, file := range c.StringSlice(name + "-from") {
			if file == "-" && taken {
				return usageError("read one of them from a file", "--%s-from: stdin can be read once", name)
			}
			taken = taken || file == "-"
		}
	}
	for _, name := range names {
		for _, file := range c.StringSlice(name + "-from") {
			rules, err := readLines(a.in, name+"-from", file, orderform.ReadRules, "write one pattern a line")
			if err != nil {
				return err
			}
			values[name] = append(slices.Clone(values[name]), rules...)
		}
	}
	return nil
}

// readOrder makes an order of SRC, DST and the flags. Whatever can be told to be wrong without opening the store or a
// remote is told here.
func (a *app) readOrder(c *cli.Context, cfg configs.Config) (jobs.Order, error) {
	if c.IsSet(planFileFlag) && c.Command.Name != "plan" {
		return a.readPlanFile(c)
	}
	if missing := []string{"SRC", "DST"}[min(c.NArg(), 2):]; len(missing) > 0 {
		return jobs.Order{}, usageError("usage: offload "+c.Command.Name+" SRC DST", "%s needs %s", c.Command.Name, strings.Join(missing, " and "))
	}
	o, err := a.readOptions(c, cfg, func(map[string][]string) {})
	if err != nil {
		return jobs.Order{}, err
	}
	if o.Source, err = remotePath("source", c.Args().Get(0)); err != nil {
		return jobs.Order{}, err
	}
	if o.Dest, err = remotePath("destination", c.Args().Get(1)); err != nil {
		return jobs.Order{}, err
	}
	if err := checkPaths(o.Source, o.Dest); err != nil {
		return jobs.Order{}, err
	}
	return o, o.Validate()
}

// readOptions makes an order of the flags, without source and destination. What they say may be changed before it is read.
func (a *app) readOptions(c *cli.Context, cfg configs.Config, change func(values map[string][]string)) (jobs.Order, error) {
	values := given(c)
	if !c.IsSet(orderform.Account) && cfg.Account != "" {
		values[orderform.Account] = []string{cfg.Account}
	}
	change(values)
	list := values[orderform.FilesFrom]
	if len(list) > 0 && strings.TrimSpace(list[0]) == "" {
		return jobs.Order{}, usageError("give it a value, or leave it out", "--files-from: is empty")
	}
	if len(list) > 0 {
		values[orderform.FilesFrom] = []string{"read below"} // stdin isn't read for a command line that is wrong
	}
	if err := a.readRules(c, values); err != nil {
		return jobs.Order{}, err
	}
	o, wrong := orderform.ParseOptions(values)
	if len(wrong) > 0 {
		return jobs.Order{}, usageError(wrong[0].Hint, "--%s: %w", wrong[0].Field, wrong[0].Err)
	}
	var err error
	if len(list) > 0 {
		o.FilesFrom, err = a.readFilesFrom(list[0])
	}
	return o, err
}
