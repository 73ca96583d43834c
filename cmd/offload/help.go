package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// writeRootHelp prints what the program is for and its commands.
func (a *app) writeRootHelp(root *cli.App) {
	w := a.out
	fmt.Fprintf(w, "offload - %s\n\nUSAGE\n  offload COMMAND [ARGUMENTS] [FLAGS]\n", root.Usage)
	fmt.Fprint(w, `
EXAMPLES
  offload demo                                      see it work; no account needed
  offload plan icloud: dropbox:Backup               what a job would do; nothing is changed
  offload run icloud: dropbox:Backup                copy and prove, delete nothing
  offload run icloud: dropbox:Backup --delete-source verified
`)
	writeCommands(w, "COMMANDS", root.Commands)
	writeFlags(w, "FLAGS OF EVERY COMMAND", root.Flags)
	writeStatuses(w)
	fmt.Fprint(w, "\n`offload COMMAND --help` explains a command.\n")
}

// writeHelp prints the help of the command that was meant.
func (a *app) writeHelp(root *cli.App, v invocation) {
	c := v.command()
	if c == nil {
		a.writeRootHelp(root)
		return
	}
	w := a.out
	usage := strings.TrimSpace(v.name() + " " + c.ArgsUsage)
	if len(c.Subcommands) > 0 && c.Action == nil {
		usage += " COMMAND"
	} else if len(c.Subcommands) > 0 {
		usage += " [COMMAND]"
	}
	fmt.Fprintf(w, "%s - %s\n\nUSAGE\n  %s [FLAGS]\n", v.name(), c.Usage, usage)
	if c.Description != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Description))
	}
	if c.UsageText != "" {
		fmt.Fprintf(w, "\nEXAMPLES\n%s\n", indent(c.UsageText))
	}
	writeCommands(w, "COMMANDS", c.Subcommands)
	writeFlags(w, "FLAGS", c.Flags)
	writeFlags(w, "FLAGS OF EVERY COMMAND", root.Flags)
	writeStatuses(w)
}

func writeCommands(w io.Writer, title string, commands []*cli.Command) {
	if len(commands) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, c := range commands {
		if !c.Hidden {
			fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(c.Name+" "+c.ArgsUsage), c.Usage)
		}
	}
}

func writeFlags(w io.Writer, title string, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	for _, f := range flags {
		value, usage := flagUsage(f)
		fmt.Fprintf(t, "  --%s\t%s\n", strings.TrimSpace(f.Names()[0]+" "+value), usage)
	}
}

// flagUsage takes the name of the value out of the usage text, where it stands in backquotes for the first time.
func flagUsage(f cli.Flag) (value, usage string) {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "", ""
	}
	usage = doc.GetUsage()
	if _, isBool := f.(*cli.BoolFlag); isBool {
		return "", usage
	}
	before, rest, found := strings.Cut(usage, "`")
	value, after, closed := strings.Cut(rest, "`")
	if !found || !closed {
		return "", usage
	}
	return value, before + value + after
}

func writeStatuses(w io.Writer) {
	fmt.Fprintf(w, "\nEXIT STATUS\n%s\n", indent(strings.Join(exitStatuses(), "\n")))
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")
}
