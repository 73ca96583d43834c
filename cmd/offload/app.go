package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

// app is the program with everything that it takes from and gives to its surroundings, so that tests can run whole
// command lines in one process.
type app struct {
	in       io.Reader
	out, err io.Writer
	terminal bool // out and err are terminals: bars are drawn
	lookup   func(string) (string, bool)
	signals  <-chan os.Signal // interrupt and terminate; the first stops softly, the second at once
	exit     func(int)        // ends the process, for a second signal in a call that can't be stopped

	messages     *switchWriter // err, once run has begun
	stopWatching func()        // ends the watch for signals that run begins
}

// run executes one command line and returns the exit status. It writes at most one error line and one hint line.
func (a *app) run(ctx context.Context, args []string) int {
	if a.messages == nil {
		a.messages = &switchWriter{w: a.err}
		a.err = a.messages
	}
	root := a.commands()
	if len(args) == 0 {
		a.writeRootHelp(root)
		return exitDone
	}
	if args[0] == completeCommand {
		a.complete(root, args[1:])
		return exitDone
	}
	v, err := understand(root, args)
	if err != nil {
		return a.report(err)
	}
	if v.help {
		a.writeHelp(root, v)
		return exitDone
	}
	ctx, a.stopWatching = a.untilSignal(ctx)
	defer a.stopWatching()
	err = root.RunContext(ctx, v.argv)
	var s statusError
	if err != nil && !errors.As(err, &s) && errors.Is(context.Cause(ctx), errInterrupted) {
		err = &hintError{err: errInterrupted, hint: "`offload jobs list` shows what was accepted; the same command can be run again"}
	}
	return a.report(err)
}

// report says what went wrong, with one hint, and returns the exit status.
func (a *app) report(err error) int {
	var s statusError
	if err == nil {
		return exitDone
	}
	if errors.As(err, &s) {
		return int(s)
	}
	code, message, hint := explain(err)
	fmt.Fprintf(a.err, "offload: %s\nhint: %s\n", message, hint)
	return code
}

// note writes a message for people to stderr.
func (a *app) note(format string, args ...any) {
	fmt.Fprintf(a.err, "offload: "+format+"\n", args...)
}

// commands builds the tree of commands. Flags and help are handled by argv.go and help.go; urfave/cli parses values and
// calls the action.
func (a *app) commands() *cli.App {
	root := &cli.App{
		Name:                      "offload",
		HelpName:                  "offload",
		Usage:                     "move files out of a full cloud, prove that each arrived, and only then delete it there",
		Flags:                     globalFlags(),
		HideHelp:                  true,
		HideVersion:               true,
		DisableSliceFlagSeparator: true, // patterns hold commas: *.{jpg,png}
		Writer:                    a.out,
		ErrWriter:                 a.err,
		ExitErrHandler:            func(*cli.Context, error) {}, // only main exits
		Commands: []*cli.Command{
			a.newRun(), a.newEnqueue(), a.newPlan(), a.newFree(), a.newDoctor(), a.newRestore(), a.newScrub(), a.newWhere(), a.newJobs(), a.newSchedules(), a.newManifest(), a.newQuota(), a.newRemotes(),
			a.newWorker(), a.newDashboard(), a.newUp(), a.newWorkers(), a.newNotify(), a.newHealth(), a.newDemo(), a.newConfig(), a.newCompletion(), a.newVersion(),
		},
	}
	root.OnUsageError = badValue
	var each func([]*cli.Command)
	each = func(cs []*cli.Command) {
		for _, c := range cs {
			c.HideHelp, c.OnUsageError = true, badValue
			each(c.Subcommands)
		}
	}
	each(root.Commands)
	return root
}

// badValue is reached for a value that the flag's type refuses, such as --json=perhaps.
func badValue(_ *cli.Context, err error, _ bool) error {
	message, _, _ := strings.Cut(err.Error(), ": strconv")
	message, _, _ = strings.Cut(message, ": parse error")
	return usageError("leave the value out, or write true or false", "%s", message)
}

// refuseJSON is for commands whose output is a text by nature: --json promises a document.
func refuseJSON(c *cli.Context) error {
	if c.Bool("json") {
		return usageError("leave out --json", "%s has no JSON form", c.Command.Name)
	}
	return nil
}

// globalFlags are those that every command knows.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "redis", Usage: "address `URL` of the Redis store; empty is the embedded store (OFFLOAD_REDIS)"},
		&cli.StringFlag{Name: "data", Usage: "folder `DIR` of the embedded store, spool and caches (OFFLOAD_DATA)"},
		&cli.StringFlag{Name: "config", Usage: "settings `FILE` (OFFLOAD_CONFIG); `offload config example` explains it"},
		&cli.StringFlag{Name: "rclone-config", Usage: "rclone.conf `FILE` with the remotes (RCLONE_CONFIG)"},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON document on stdout and nothing else there"},
		&cli.StringFlag{Name: "log-level", Usage: "`LEVEL` of the log on stderr: debug, info, warn, error (OFFLOAD_LOG_LEVEL)"},
		&cli.StringFlag{Name: "log-format", Usage: "`FORMAT` of the log: text, json (OFFLOAD_LOG_FORMAT)"},
	}
}
