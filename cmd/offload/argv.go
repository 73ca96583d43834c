package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
)

// invocation is a command line that has been understood: the command, and its arguments with the flags in front, as
// urfave/cli wants them. People may write flags anywhere.
type invocation struct {
	path []*cli.Command // from the first command to the one that was meant; empty is none
	argv []string       // for cli.App.Run, with the program's name in front
	help bool           // --help was asked for
}

// command returns the command that was meant, nil for none.
func (v invocation) command() *cli.Command {
	if len(v.path) == 0 {
		return nil
	}
	return v.path[len(v.path)-1]
}

// name is the command as people write it: "offload jobs show".
func (v invocation) name() string {
	words := []string{"offload"}
	for _, c := range v.path {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// short is the command without the program's name, which every message begins with anyway.
func (v invocation) short() string {
	if len(v.path) == 0 {
		return "offload"
	}
	return strings.TrimPrefix(v.name(), "offload ")
}

// understand sorts a command line. Flags of the program and of the command may stand anywhere before "--"; what follows
// "--" is never a flag. An unknown command, an unknown flag, a flag without its value and a wrong number of arguments
// are usage errors.
func understand(root *cli.App, args []string) (invocation, error) {
	v := invocation{}
	var global, local, positional []string
	given := map[string]bool{}
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			positional = append(positional, args[i+1:]...)
			i = len(args)
		case arg == "--help" || arg == "-h":
			v.help = true
		case (arg == "--version" || arg == "-v") && len(v.path) == 0:
			args[i] = "version"
			i--
		case strings.HasPrefix(arg, "-") && arg != "-":
			f, isGlobal, err := findFlag(root, v, arg)
			if err != nil {
				return v, err
			}
			if name := f.Names()[0]; given[name] && !repeats(f) {
				return v, usageError("give it once", "flag --%s is given twice", name)
			}
			given[f.Names()[0]] = true
			words := []string{arg}
			if _, isBool := f.(*cli.BoolFlag); !isBool && !strings.Contains(arg, "=") {
				if i++; i == len(args) {
					return v, usageError("`"+v.name()+" --help` explains it", "flag %s needs a value", arg)
				}
				words = append(words, args[i])
			}
			if isGlobal {
				global = append(global, words...)
			} else {
				local = append(local, words...)
			}
		default:
			sub, err := findCommand(root, v, arg, len(positional))
			if err != nil {
				return v, err
			}
			if sub != nil {
				v.path = append(v.path, sub)
			} else {
				positional = append(positional, arg)
			}
		}
	}
	if v.help {
		return v, nil
	}
	if err := checkArguments(v, positional); err != nil {
		return v, err
	}
	v.argv = append([]string{"offload"}, global...)
	for _, c := range v.path {
		v.argv = append(v.argv, c.Name)
	}
	v.argv = append(append(append(v.argv, local...), "--"), positional...)
	return v, nil
}

// repeats tells whether a flag may be given several times. For the others a second value would silently win over the
// first, which is no way to decide what is deleted.
func repeats(f cli.Flag) bool {
	switch f.(type) {
	case *cli.BoolFlag, *cli.StringSliceFlag:
		return true
	}
	return false
}

// findFlag finds the flag that arg names among those of the command and of the program.
func findFlag(root *cli.App, v invocation, arg string) (f cli.Flag, global bool, err error) {
	name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	var known []string
	if c := v.command(); c != nil {
		for _, f := range c.Flags {
			if slices.Contains(f.Names(), name) {
				return f, false, nil
			}
			known = append(known, f.Names()[0])
		}
	}
	for _, f := range root.Flags {
		if slices.Contains(f.Names(), name) {
			return f, true, nil
		}
		known = append(known, f.Names()[0])
	}
	hint := "`" + v.name() + " --help` lists the flags; after -- nothing is taken for a flag"
	if near := nearest(name, known); near != "" {
		hint = "did you mean --" + near + "?"
	} else if v.command() == nil {
		hint = "write the command first: offload COMMAND [FLAGS]; `offload --help` lists the commands"
	}
	return nil, false, usageError(hint, "unknown flag --%s for %s", printable(name), v.short())
}

// findCommand returns the subcommand that arg names, or nil where arg is an argument.
func findCommand(root *cli.App, v invocation, arg string, positional int) (*cli.Command, error) {
	children := root.Commands
	if c := v.command(); c != nil {
		children = c.Subcommands
	}
	if len(children) == 0 || positional > 0 {
		return nil, nil
	}
	var known []string
	for _, c := range children {
		if c.HasName(arg) {
			return c, nil
		}
		if !c.Hidden {
			known = append(known, c.Name)
		}
	}
	hint := "the commands are " + strings.Join(known, ", ")
	if near := nearest(arg, known); near != "" {
		hint = "did you mean " + v.name() + " " + near + "?"
	}
	return nil, usageError(hint, "unknown command %s for %s", configs.Quote(arg), v.short())
}

// checkArguments compares the arguments with what the command's ArgsUsage names.
func checkArguments(v invocation, positional []string) error {
	c := v.command()
	if c == nil || len(c.Subcommands) > 0 && c.Action == nil {
		return usageError("`"+v.name()+" --help` lists the commands", "%s needs a command", v.short())
	}
	if c.SkipFlagParsing {
		return nil
	}
	names := strings.Fields(c.ArgsUsage)
	needed := 0
	for _, n := range names {
		if !strings.HasPrefix(n, "[") {
			needed++
		}
	}
	usage := "usage: " + strings.TrimSpace(v.name()+" "+c.ArgsUsage)
	if len(positional) < needed {
		return usageError(usage, "%s needs %s", v.short(), strings.Join(names[len(positional):needed], " and "))
	}
	if len(positional) > len(names) && !strings.HasSuffix(c.ArgsUsage, "...]") {
		return usageError(usage, "%s doesn't take %s", v.short(), configs.Quote(positional[len(names)]))
	}
	for i, arg := range positional {
		if strings.TrimSpace(arg) == "" {
			return usageError(usage, "%s of %s is empty", strings.Trim(names[min(i, len(names)-1)], "[]"), v.short())
		}
	}
	return nil
}

// nearest returns the known word that is at most two typing mistakes from word, "" for none.
func nearest(word string, known []string) string {
	best, bestDistance := "", 3
	if len(word) < 4 {
		bestDistance = 2
	}
	for _, k := range known {
		if d := distance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance counts the characters to insert, delete or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
