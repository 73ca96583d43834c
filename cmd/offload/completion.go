package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
	"github.com/urfave/cli/v2"

	"offload/configs"
)

// completeCommand is the hidden command that the shells call with the words typed so far; the last one, perhaps empty,
// is the one to complete. It prints candidates, each with its description after a tab.
const completeCommand = "__complete"

const bashCompletion = `_offload() {
  local IFS=$'\n' line
  COMPREPLY=()
  for line in $(offload __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1); do
    case "$line" in
      *:) COMPREPLY+=("$line") ;;
      *) COMPREPLY+=("$line ") ;;
    esac
  done
}
complete -o default -o nospace -F _offload offload
`

const zshCompletion = `#compdef offload
_offload() {
  local -a lines described
  local line
  lines=("${(@f)$(offload __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( $#described )); then
    _describe offload described
  else
    _files
  fi
}
compdef _offload offload
`

const fishCompletion = `complete -c offload -a '(set -l words (commandline -opc) (commandline -ct); offload __complete $words[2..-1] 2>/dev/null)'
`

func (a *app) newCompletion() *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print the completion script of a shell: bash, zsh or fish", ArgsUsage: "SHELL",
		UsageText: `source <(offload completion bash)          # in ~/.bashrc
source <(offload completion zsh)           # in ~/.zshrc, after compinit
offload completion fish | source           # in ~/.config/fish/config.fish`,
		Action: func(c *cli.Context) error {
			if err := refuseJSON(c); err != nil {
				return err
			}
			scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
			script, ok := scripts[c.Args().First()]
			if !ok {
				return usageError("choose bash, zsh or fish", "there is no completion for %s", configs.Quote(c.Args().First()))
			}
			_, err := fmt.Fprint(a.out, script)
			return err
		},
	}
}

// complete prints what the last of the words can become.
func (a *app) complete(root *cli.App, typed []string) {
	if len(typed) == 0 {
		typed = []string{""}
	}
	before, word := typed[:len(typed)-1], typed[len(typed)-1]
	v, positional, flag := walk(root, before)
	var candidates []string // "word\tdescription"
	switch {
	case flag == "remote":
		candidates = a.remoteCandidates()
	case flag != "":
		for _, value := range append(valuesOf(v.command(), flag), a.planValues(flag)...) {
			candidates = append(candidates, value+"\t")
		}
	case strings.HasPrefix(word, "-"):
		candidates = flagCandidates(root, v)
	case positional == 0 && (v.command() == nil || len(v.command().Subcommands) > 0):
		candidates = commandCandidates(root, v)
	case v.command() != nil:
		candidates = a.argumentCandidates(v.command(), positional)
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, word) {
			fmt.Fprintln(a.out, c)
		}
	}
}

// walk finds the command that the words name, counts its arguments, and tells which flag waits for a value, if any.
// Unlike understand it forgives mistakes.
func walk(root *cli.App, typed []string) (v invocation, positional int, flag string) {
	for _, word := range typed {
		switch {
		case flag != "":
			flag = ""
		case strings.HasPrefix(word, "-"):
			f, _, err := findFlag(root, v, word)
			if _, isBool := f.(*cli.BoolFlag); err == nil && !isBool && !strings.Contains(word, "=") {
				flag = f.Names()[0]
			}
		default:
			if sub, err := findCommand(root, v, word, positional); err == nil && sub != nil {
				v.path = append(v.path, sub)
			} else {
				positional++
			}
		}
	}
	return v, positional, flag
}

// valuesOf are the values that a flag of the command can have: of the states those in which its verb can be done.
func valuesOf(c *cli.Command, flag string) []string {
	if flag == "state" && c != nil {
		for _, v := range jobVerbs() {
			if string(v.Verb) == c.Name {
				return stateNames(v.States())
			}
		}
	}
	return flagValues(flag)
}

func flagCandidates(root *cli.App, v invocation) []string {
	flags := slices.Clone(root.Flags)
	if c := v.command(); c != nil {
		flags = append(slices.Clone(c.Flags), flags...)
	}
	var out []string
	for _, f := range flags {
		_, usage := flagUsage(f)
		out = append(out, "--"+f.Names()[0]+"\t"+usage)
	}
	return append(out, "--help\texplain the command")
}

func commandCandidates(root *cli.App, v invocation) []string {
	commands := root.Commands
	if c := v.command(); c != nil {
		commands = c.Subcommands
	}
	var out []string
	for _, c := range commands {
		out = append(out, c.Name+"\t"+c.Usage)
	}
	return out
}

// argumentCandidates completes remotes and shells. Where it has nothing, the shell completes file names.
func (a *app) argumentCandidates(c *cli.Command, positional int) []string {
	names := strings.Fields(c.ArgsUsage)
	if positional >= len(names) {
		return nil
	}
	switch strings.Trim(names[positional], "[]") {
	case "SHELL":
		return []string{"bash\t", "zsh\t", "fish\t"}
	case "SRC", "DST", "REMOTE", "FILE|REMOTE|JOB", "REMOTE|FILE":
		return a.remoteCandidates()
	}
	return nil
}

// planValues are the plans of the settings, for --plan.
func (a *app) planValues(flag string) []string {
	if flag != "plan" {
		return nil
	}
	getenv := func(name string) string { v, _ := a.lookup(name); return v }
	cfg, err := configs.ReadFile(orDefault(getenv("OFFLOAD_CONFIG"), configs.DefaultFile(getenv("HOME"), getenv)), false)
	if err != nil {
		return nil // the command itself says what is wrong
	}
	var names []string
	for _, t := range cfg.WithDefaults("").Quota.Tiers {
		names = append(names, t.Name)
	}
	return names
}

func (a *app) remoteCandidates() []string {
	if path, ok := a.lookup("RCLONE_CONFIG"); ok {
		if err := config.SetConfigPath(path); err != nil {
			return nil
		}
	}
	configfile.Install()
	if err := config.Data().Load(); err != nil { // LoadedData would end the process
		return nil
	}
	var out []string
	for _, r := range config.GetRemotes() {
		out = append(out, r.Name+":\t"+r.Type)
	}
	return out
}
