package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
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
		text("min-age", "only files at least `TIME` old, such as 30d"),
		text("max-age", "only files at most `TIME` old"),
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

// orderReader reads the flags of an order and keeps the first mistake.
type orderReader struct {
	c   *cli.Context
	err error
}

func (r *orderReader) fail(flag, hint string, err error) {
	if r.err == nil {
		r.err = usageError(hint, "--%s: %w", flag, err)
	}
}

// flagValues are the words that a flag knows; nil for a flag that takes other values.
func flagValues(flag string) []string {
	switch flag {
	case "delete-source":
		return words(transfer.DeleteNever, transfer.DeleteVerified, transfer.DeleteComplete)
	case "min-grade":
		return words(transfer.GradeA, transfer.GradeB, transfer.GradeC)
	case "conflict":
		return words(transfer.ConflictRename, transfer.ConflictSkip, transfer.ConflictOverwrite)
	case "order":
		return words(transfer.OrderLargest, transfer.OrderOldest, transfer.OrderName)
	case "priority":
		return words(jobs.High, jobs.Normal, jobs.Low)
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
	return nil
}

func words[T ~string](values ...T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// choice reads a flag that knows a few words.
func choice[T ~string](r *orderReader, flag string) T {
	if !r.c.IsSet(flag) {
		return ""
	}
	value, known := r.c.String(flag), flagValues(flag)
	if !slices.Contains(known, value) {
		r.fail(flag, "choose "+strings.Join(known, ", "), fmt.Errorf("unknown value %s", configs.Quote(value)))
	}
	return T(value)
}

func (r *orderReader) size(flag string) int64 {
	return parse(r, flag, "write a size like 500MiB or 5GiB", configs.ParseSize)
}

func (r *orderReader) duration(flag string) time.Duration {
	return parse(r, flag, "write a duration like 90m, 12h, 7d or 2w", configs.ParseDuration)
}

func (r *orderReader) count(flag string, min, max int64) int64 {
	return parse(r, flag, fmt.Sprintf("write a number from %d to %d", min, max),
		func(s string) (int64, error) { return configs.ParseCount(s, min, max) })
}

// parse reads a flag by a parser; a flag that isn't set is the zero value.
func parse[T any](r *orderReader, flag, hint string, parser func(string) (T, error)) (value T) {
	if !r.c.IsSet(flag) {
		return value
	}
	value, err := parser(r.c.String(flag))
	if err != nil {
		r.fail(flag, hint, err)
	}
	return value
}

// readOrder makes an order of SRC, DST and the flags. Whatever can be told to be wrong without opening the store or a
// remote is told here.
func (a *app) readOrder(c *cli.Context, cfg configs.Config) (jobs.Order, error) {
	r := &orderReader{c: c}
	o := jobs.Order{
		Account: cfg.Account,
		Options: transfer.Options{
			DeleteSource:   choice[transfer.DeletePolicy](r, "delete-source"),
			MinGrade:       choice[transfer.Grade](r, "min-grade"),
			Hold:           r.duration("hold"),
			PurgeTrash:     c.Bool("purge-trash"),
			DeletePackages: c.Bool("delete-packages"),
			Conflict:       choice[transfer.Conflict](r, "conflict"),
			Include:        c.StringSlice("include"),
			Exclude:        c.StringSlice("exclude"),
			MinAge:         r.duration("min-age"),
			MaxAge:         r.duration("max-age"),
			MinSize:        r.size("min-size"),
			MaxSize:        r.size("max-size"),
			Order:          choice[transfer.Order](r, "order"),
		},
		Priority:    choice[jobs.Priority](r, "priority"),
		MaxTransfer: r.size("max-transfer"),
		MaxDelete:   -1,
		BwLimit:     c.String("bwlimit"),
		Window:      c.String("window"),
		Transfers:   int(r.count("transfers", 0, configs.MaxTransfers)),
		Label:       c.String("label"),
	}
	if c.IsSet("account") {
		o.Account = c.String("account")
	}
	if c.IsSet("max-delete") {
		o.MaxDelete = r.count("max-delete", 0, math.MaxInt32)
	}
	r.checkText(o)
	r.checkTogether(o)
	if r.err != nil {
		return jobs.Order{}, r.err
	}
	var err error
	if c.IsSet("files-from") {
		if o.FilesFrom, err = a.readFilesFrom(c.String("files-from")); err != nil {
			return jobs.Order{}, err
		}
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
	o = o.WithDefaults()
	return o, o.Validate()
}

// checkText checks what Order.Validate can't see any more: flags that were given but are empty.
func (r *orderReader) checkText(o jobs.Order) {
	for _, flag := range []string{"bwlimit", "window", "account", "files-from"} {
		if r.c.IsSet(flag) && strings.TrimSpace(r.c.String(flag)) == "" {
			r.fail(flag, "give it a value, or leave it out", errors.New("is empty"))
		}
	}
	for flag, patterns := range map[string][]string{"include": o.Include, "exclude": o.Exclude} {
		if slices.Contains(patterns, "") {
			r.fail(flag, "write a pattern like *.jpg or /Photos/**", errors.New("the pattern is empty"))
		}
	}
}

// checkTogether refuses flags that contradict each other, or that would do nothing where someone counts on them.
func (r *orderReader) checkTogether(o jobs.Order) {
	needsDeletion := []string{"min-grade", "hold", "purge-trash", "delete-packages", "max-delete"}
	for _, flag := range needsDeletion {
		if r.c.IsSet(flag) && !o.Deletes() {
			r.fail(flag, "add --delete-source verified or --delete-source complete, or leave it out",
				errors.New("nothing is deleted without --delete-source"))
		}
	}
	if r.c.IsSet("min-size") && r.c.IsSet("max-size") && o.MinSize > o.MaxSize {
		r.fail("min-size", "make --min-size the smaller one", errors.New("is larger than --max-size, so no file matches"))
	}
	if r.c.IsSet("min-age") && r.c.IsSet("max-age") && o.MinAge > o.MaxAge {
		r.fail("min-age", "make --min-age the smaller one", errors.New("is larger than --max-age, so no file matches"))
	}
	if r.c.IsSet("files-from") && (len(o.Include) > 0 || len(o.Exclude) > 0) {
		r.fail("files-from", "leave out --include and --exclude", errors.New("names the files already, so patterns can't apply"))
	}
	zero := map[string]bool{"max-transfer": o.MaxTransfer == 0, "max-size": o.MaxSize == 0, "max-age": o.MaxAge == 0}
	for flag, isZero := range zero {
		if r.c.IsSet(flag) && isZero {
			r.fail(flag, "leave it out for no limit", errors.New("0 would move nothing"))
		}
	}
}
