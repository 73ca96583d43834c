package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/internal/cloudtest"
)

func (a *app) newDemo() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "see how room is made, on a played iCloud and a played Dropbox; no account and no server needed",
		Description: `Plays both services on this machine, as far as rclone's own backends can tell: an iCloud account that is full,
with documents, photos, a film, a Keynote package, Unicode names, an empty file and a name that Dropbox refuses. It asks the doctor
why the phone's backup fails, makes room for it, asks again, finds a file that was moved and brings a folder back. Then it looks at
both clouds by itself, without the program's own records, and says whether anything is missing. Nothing leaves this machine. Needs
about 300 MB of memory.`,
		UsageText: "offload demo\noffload demo --keep /tmp/offload-demo",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "keep", Usage: "keep the settings, the store and its records in `DIR`, which must be empty or missing"},
		},
		Action: func(c *cli.Context) error { return a.runDemo(c) },
	}
}

// demoNeed is what the phone's backup needs in the demo: documents won't do, the film has to go, and some photos stay.
const demoNeed = "110MiB"

// demoLatency makes the played services answer like services, though closer ones.
func demoLatency() cloudtest.Latency {
	return cloudtest.Latency{List: 60 * time.Millisecond, Meta: 30 * time.Millisecond, FirstByte: 20 * time.Millisecond,
		Delete: 40 * time.Millisecond, Upload: 30 * time.Millisecond, Commit: 60 * time.Millisecond}
}

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
	world, err := cloudtest.Start(cloudtest.Options{Latency: demoLatency(), Seed: 1})
	if err != nil {
		return fmt.Errorf("start the played clouds: %w", err)
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	drive := world.ICloud.Default()
	made, err := makeDemoTree(drive)
	if err != nil {
		return err
	}
	remotes := filepath.Join(dir, "rclone.conf")
	if err := world.WriteRcloneConf(remotes); err != nil {
		return fmt.Errorf("write the demo's remotes: %w", err)
	}
	fmt.Fprintf(a.out, "A played iCloud account, full, and a played Dropbox. The phone's backup needs %s.\nOn iCloud Drive: documents, photos, a film of %s, a Keynote package, an empty file, and a name that Dropbox refuses.\n", demoNeed, size(filmSize))
	common := []string{"--data", filepath.Join(dir, "data"), "--redis", "", "--rclone-config", remotes, "--config", os.DevNull}
	for _, step := range []struct {
		allowed int
		until   string // the rest of the output was shown before
		args    []string
	}{
		{exitWarnings, "", []string{"doctor", "icloud:", "--backup-size", demoNeed}},
		{exitDone, "", []string{"free", "icloud:", "--for-backup", demoNeed, "--to", "dropbox:Archive", "--purge-trash", "--yes"}},
		{exitDone, "Only the phone", []string{"doctor", "icloud:", "--backup-size", demoNeed}},
		{exitDone, "", []string{"where", "lake"}},
		{exitDone, "", []string{"restore", "--path", "icloud:Documents/Taxes", "--yes"}},
	} {
		if code := a.demoStep(c.Context, world, common, step.until, step.args...); code != step.allowed {
			if code == exitDone {
				return failure("please report it", errors.New("the doctor found nothing wrong with an account that is full"))
			}
			return status(code)
		}
	}
	return a.judgeDemo(made, world)
}

// demoStep shows a command as a person would type it and runs it in this process. Where until isn't "", its output is shown
// as far as that.
func (a *app) demoStep(ctx context.Context, world *cloudtest.World, common []string, until string, args ...string) int {
	fmt.Fprintf(a.out, "\n$ offload %s\n", strings.Join(args, " "))
	// A demo must not touch the person's own store, whatever the environment says.
	inner := &app{in: a.in, out: a.out, err: a.err, terminal: a.terminal, signals: a.signals, exit: a.exit, messages: a.messages}
	inner.lookup = func(name string) (string, bool) {
		switch {
		case name == "RCLONE_HTTP_PROXY":
			return world.ProxyURL(), true
		case name == "RCLONE_CA_CERT":
			return world.CAFile(), true
		case strings.HasPrefix(name, "OFFLOAD_"), strings.HasPrefix(name, "RCLONE_"):
			return "", false
		}
		return a.lookup(name)
	}
	if until == "" {
		return inner.run(ctx, append(args, common...))
	}
	var said bytes.Buffer
	inner.out = &said
	code := inner.run(ctx, append(args, common...))
	shown, _, cut := strings.Cut(said.String(), until)
	fmt.Fprint(a.out, shown)
	if cut {
		fmt.Fprintln(a.out, "...")
	}
	return code
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

// judgeDemo compares both clouds with the sums of what was made, file by file.
func (a *app) judgeDemo(made demoTree, world *cloudtest.World) error {
	drive := world.ICloud.Default()
	arrived := map[string]bool{}
	var paths []string
	world.Dropbox.Walk(func(f cloudtest.DropboxFile) { paths = append(paths, f.Path) })
	for _, path := range paths {
		content, _ := world.Dropbox.Get(path)
		sum, err := sumOf(bytes.NewReader(content))
		if err != nil {
			return err
		}
		arrived[sum] = true
	}
	var lost []string
	gone, kept := 0, 0
	for path, sum := range made.sums {
		_, there := drive.Lookup(path)
		switch {
		case there:
			kept++
		case arrived[sum]:
			gone++
		default:
			lost = append(lost, path)
		}
	}
	for _, path := range made.packages {
		if _, there := drive.Lookup(path); !there {
			lost = append(lost, path)
		}
		kept++
	}
	fmt.Fprintf(a.out, "\nLooked at both clouds again, apart from the program's own records:\n")
	fmt.Fprintf(a.out, "  %s made, %d gone from iCloud and at Dropbox with the same SHA-256, %d kept, %d lost\n",
		count(int64(len(made.sums)+len(made.packages)), "file"), gone, kept, len(lost))
	if len(lost) > 0 {
		return failure("please report it with the output above", fmt.Errorf("%s and more are lost", printable(lost[0])))
	}
	unpurged := slices.ContainsFunc(drive.Trash(), func(it cloudtest.Item) bool { return it.Type == "FILE" })
	if gone == 0 || unpurged {
		return failure("please report it with the output above", errors.New("the demo freed nothing at iCloud"))
	}
	return nil
}
