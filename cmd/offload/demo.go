package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
)

func (a *app) newDemo() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "see the main job at work on two played clouds; no account and no server needed",
		Description: `Makes two clouds out of temporary folders, fills one with documents, photos, a film, Unicode names, an empty
file and two names that collide, and moves it to the other under a quota. Then it looks at both by itself,
without the program's own records, and says whether anything is missing. Everything is removed at the end.
Needs about 500 MB in the folder for temporary files.`,
		UsageText: "offload demo\noffload demo --keep /tmp/offload-demo",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "keep", Usage: "work in `DIR`, which must be empty or missing, and leave it there"},
		},
		Action: func(c *cli.Context) error { return a.runDemo(c) },
	}
}

// demoLimit is the allowance of the demo: enough for its files, and not much more.
const demoLimit = "250MiB"

func (a *app) runDemo(c *cli.Context) (err error) {
	if err := refuseJSON(c); err != nil {
		return err
	}
	if _, err := a.takeSignals(c.Context); err != nil { // the inner commands handle them
		return err
	}
	dir, cleanUp, err := demoDir(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	source, dest := filepath.Join(dir, "icloud"), filepath.Join(dir, "dropbox")
	fmt.Fprintf(a.out, "Two played clouds in %s: documents, photos, a 200 MB film, an empty file,\nand two names that look the same, one as phones write it and one as Macs do.\n", dir)
	made, err := makeDemoTree(source)
	if err != nil {
		return fmt.Errorf("make the demo's files: %w", err)
	}
	if err := os.MkdirAll(dest, 0o700); err != nil {
		return fmt.Errorf("make the demo's destination: %w", err)
	}
	remotes := filepath.Join(dir, "rclone.conf")
	text := fmt.Sprintf("[icloud]\ntype = alias\nremote = %s\n\n[dropbox]\ntype = alias\nremote = %s\n", source, dest)
	if err := os.WriteFile(remotes, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the demo's remotes: %w", err)
	}
	common := []string{"--data", filepath.Join(dir, "data"), "--redis", "", "--rclone-config", remotes, "--config", os.DevNull}
	if code := a.demoStep(c.Context, common, "quota", "set", "--limit", demoLimit); code != exitDone {
		return status(code)
	}
	switch code := a.demoStep(c.Context, common, "run", "icloud:", "dropbox:", "--delete-source", "verified"); code {
	case exitWarnings: // the two names that collide are set aside
	case exitDone:
		if made.collide {
			return failure("please report it", errors.New("the demo's two colliding names were not noticed"))
		}
	default:
		return status(code)
	}
	return a.judgeDemo(made, source, dest)
}

// demoStep shows a command as a person would type it and runs it in this process.
func (a *app) demoStep(ctx context.Context, common []string, args ...string) int {
	fmt.Fprintf(a.out, "\n$ offload %s\n", strings.Join(args, " "))
	// A demo must not touch the person's own store, whatever the environment says.
	inner := &app{in: a.in, out: a.out, err: a.err, terminal: a.terminal, signals: a.signals, exit: a.exit, messages: a.messages}
	inner.lookup = func(name string) (string, bool) {
		if strings.HasPrefix(name, "OFFLOAD_") || name == "RCLONE_CONFIG" {
			return "", false
		}
		return a.lookup(name)
	}
	return inner.run(ctx, append(args, common...))
}

// demoDir returns the folder of the demo and what removes it.
func demoDir(c *cli.Context) (string, func() error, error) {
	keep := c.String("keep")
	if !c.IsSet("keep") {
		dir, err := os.MkdirTemp("", "offload-demo-")
		if err != nil {
			return "", nil, failure("name a folder with --keep", fmt.Errorf("make a temporary folder: %w", err))
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	dir, err := absoluteDir(keep)
	if err != nil || keep == "" {
		return "", nil, usageError("name an empty folder, or one that doesn't exist", "--keep: %s is no folder", configs.Quote(keep))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, usageError("name a writable folder", "--keep: make %s: %w", configs.Quote(keep), bare(err))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return "", nil, usageError("name an empty folder, or one that doesn't exist", "--keep: %s isn't empty", configs.Quote(keep))
	}
	return dir, func() error { return nil }, nil
}

// judgeDemo compares both folders with the sums of what was made, file by file.
func (a *app) judgeDemo(made demoTree, source, dest string) error {
	atSource, err := sumTree(source)
	if err != nil {
		return err
	}
	atDest, err := sumTree(dest)
	if err != nil {
		return err
	}
	arrived := map[string]bool{}
	for _, sum := range atDest {
		arrived[sum] = true
	}
	var lost, kept []string
	gone := 0
	for path, sum := range made.sums {
		switch {
		case atSource[path] == sum:
			kept = append(kept, path)
		case arrived[sum]:
			gone++
		default:
			lost = append(lost, path)
		}
	}
	fmt.Fprintf(a.out, "\nLooked at both folders again, apart from the program's own records:\n")
	fmt.Fprintf(a.out, "  %s made, %d deleted at the source and there with the same SHA-256 at the destination, %d kept, %d lost\n",
		count(int64(len(made.sums)), "file"), gone, len(kept), len(lost))
	if len(lost) > 0 {
		return failure("please report it with the output above", fmt.Errorf("%s and more are lost", printable(lost[0])))
	}
	if gone == 0 {
		return failure("please report it with the output above", errors.New("the demo deleted nothing at the source"))
	}
	return nil
}
