package main

import (
	"errors"
	"strings"
	"testing"
)

func TestUnderstandMovesFlagsToTheFront(t *testing.T) {
	root := (&app{}).commands()
	for line, want := range map[string]string{
		"run a b":                                "offload run -- a b",
		"run a b --json":                         "offload --json run -- a b",
		"--json run a b":                         "offload --json run -- a b",
		"run a --hold 7d b --data=/x":            "offload --data=/x run --hold 7d -- a b",
		"run --include *.{a,b} a b --order name": "offload run --include *.{a,b} --order name -- a b",
		"run -- --json b":                        "offload run -- --json b",
		"run a --label -- b":                     "offload run --label -- -- a b",
		"run a --label --json b":                 "offload run --label --json -- a b",
		"jobs --json show 01ARZ3":                "offload --json jobs show -- 01ARZ3",
		"jobs show 01ARZ3 --redis redis://h":     "offload --redis redis://h jobs show -- 01ARZ3",
		"run run jobs":                           "offload run -- run jobs",
		"enqueue a b --max-delete -5":            "offload enqueue --max-delete -5 -- a b",
		"-v":                                     "offload version --",
		"--version":                              "offload version --",
		"run a b -json":                          "offload -json run -- a b",
	} {
		v, err := understand(root, strings.Fields(line))
		if got := strings.Join(v.argv, " "); err != nil || got != want {
			t.Errorf("%q is understood as %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestUnderstandHelp(t *testing.T) {
	root := (&app{}).commands()
	for line, want := range map[string]string{
		"--help": "offload", "-h": "offload", "help": "offload", "run -h": "offload run", "run a --help": "offload run",
		"help jobs show": "offload jobs show", "jobs --help show": "offload jobs show", "jobs -h": "offload jobs",
	} {
		v, err := understand(root, strings.Fields(line))
		if err != nil || !v.help || v.name() != want {
			t.Errorf("%q: help %v for %q, %v; want help for %q", line, v.help, v.name(), err, want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	root := (&app{}).commands()
	for line, want := range map[string]string{
		"runn a b":                   "did you mean offload run?",
		"job list":                   "did you mean offload jobs?",
		"jobs resum x":               "did you mean offload jobs resume?",
		"run a b --delete-sorce x":   "did you mean --delete-source?",
		"run a b --jsn":              "did you mean --json?",
		"quota set --time-zon UTC":   "did you mean --time-zone?",
		"frobnicate":                 "the commands are run, enqueue",
		"run a b --completely-other": "--help` lists the flags",
	} {
		_, err := understand(root, strings.Fields(line))
		var hinted *hintError
		if !errors.As(err, &hinted) || !hinted.usage || !strings.Contains(hinted.hint, want) {
			t.Errorf("%q: %v with hint %v; want %q", line, err, hinted, want)
		}
	}
}

func FuzzUnderstand(f *testing.F) {
	for _, s := range []string{"run a b --json", "jobs\nshow", "--", "-", "run\n--label", "help\nhelp", "-v", "run\n--=x"} {
		f.Add(s)
	}
	root := (&app{}).commands()
	f.Fuzz(func(t *testing.T, words string) {
		args := strings.Split(words, "\n")
		v, err := understand(root, args)
		if err != nil || v.help {
			return
		}
		if v.command() == nil || v.command().Action == nil {
			t.Fatalf("%q is accepted without a command", args)
		}
	})
}
