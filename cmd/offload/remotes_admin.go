package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	rclonefs "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/remotes"
)

func (a *app) newRemotesRemove() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "forget a remote and its sign-in; no file is touched", ArgsUsage: "NAME",
		Description: "Refused while unfinished jobs use the remote, unless --force says so: they will fail. A remote of rclone.conf is removed there.",
		UsageText:   "offload remotes remove old-dropbox\noffload remotes remove old-dropbox --yes",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "don't ask"},
			&cli.BoolFlag{Name: "force", Usage: "remove it although unfinished jobs use it"},
		},
		Action: func(c *cli.Context) error { return a.runRemotesRemove(c) },
	}
}

func (a *app) runRemotesRemove(c *cli.Context) error {
	name, err := checkRemoteName(c.Args().First())
	if err != nil {
		return err
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer r.close()
	if r.p == nil && r.conf.Where(name) == "" {
		return unknownRemote("remote", name, config.GetRemotes())
	}
	if r.conf.Where(name) == remotes.WhereFile {
		return usageError("`rclone config delete "+name+"` removes it", "remote %s is kept in rclone.conf (%s)", name, config.GetConfigPath())
	}
	draft, err := r.conf.Sealed().Draft(c.Context, name)
	if err != nil {
		return sealFailure(r.cfg, err)
	}
	if r.conf.Where(name) == "" && draft == nil {
		return unknownRemote("remote", name, config.GetRemotes())
	}
	if err := a.mayRemove(c, r.p, name); err != nil {
		return err
	}
	if err := r.conf.Sealed().Remove(c.Context, name); err != nil && !errors.Is(err, remotes.ErrNotFound) {
		return sealFailure(r.cfg, err)
	}
	if err := r.conf.Sealed().DropDraft(c.Context, name); err != nil {
		return sealFailure(r.cfg, err)
	}
	remotes.Forget(name)
	if c.Bool("json") {
		return writeJSON(a.out, map[string]any{"remote": name, "removed": true})
	}
	fmt.Fprintf(a.out, "%s removed; no file was touched\n", name)
	return nil
}

// mayRemove looks for jobs that still need the remote and asks the person.
func (a *app) mayRemove(c *cli.Context, p *parts, name string) error {
	open, err := p.jobs.Unfinished(c.Context, name)
	if err != nil {
		return fmt.Errorf("look for jobs that use %s: %w", name, err)
	}
	if len(open) > 0 && !c.Bool("force") {
		return usageError("cancel the job first (`offload jobs cancel "+open[0].ID+"`), or use --force", "remote %s is used by %s that has not ended", name, count(int64(len(open)), "job"))
	}
	if c.Bool("yes") {
		return nil
	}
	ask := a.newPrompter()
	if !ask.asks() {
		return usageError("add --yes", "nobody is here to ask whether to remove %s", name)
	}
	sure, err := ask.yes(c.Context, "Forget "+name+" and its sign-in?")
	if err != nil {
		return err
	}
	if !sure {
		return usageError("answer y to remove it", "%s was not removed", name)
	}
	return nil
}

func (a *app) newRemotesImport() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "copy remotes of an rclone.conf into the store, sealed", ArgsUsage: "FILE [NAME...]",
		Description: `Copies all remotes of the file, or those that are named. The file is left as it is. An encrypted one is opened with
RCLONE_CONFIG_PASS. Where the store has one of them already nothing is copied, unless --overwrite says so.`,
		UsageText: "offload remotes import ~/.config/rclone/rclone.conf\noffload remotes import rclone.conf icloud dropbox --overwrite",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "overwrite", Usage: "replace remotes of the same names"}},
		Action:    func(c *cli.Context) error { return a.runRemotesImport(c) },
	}
}

func (a *app) runRemotesImport(c *cli.Context) error {
	file := c.Args().First()
	all, names, err := a.readImport(file, c.Args().Tail())
	if err != nil {
		return err
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer r.close()
	if r.p != nil && !c.Bool("overwrite") {
		for _, name := range names {
			if r.conf.Sealed().HasSection(name) {
				return usageError("name the others, or use --overwrite", "there is a remote called %s in the store already", name)
			}
		}
	}
	if err := r.needStore(c.Context); err != nil {
		return err
	}
	if err := r.conf.Sealed().Ready(c.Context); err != nil {
		return sealFailure(r.cfg, err)
	}
	for i, name := range names {
		store := r.conf.Sealed().Add
		if c.Bool("overwrite") {
			store = r.conf.Sealed().Replace
		}
		if err := store(c.Context, name, all[name]); err != nil {
			return failure("run it again for the rest", fmt.Errorf("import %s, after %d others: %w", name, i, err))
		}
		remotes.Forget(name)
	}
	if c.Bool("json") {
		return writeJSON(a.out, map[string]any{"imported": names})
	}
	fmt.Fprintf(a.out, "%s imported: %s\n", count(int64(len(names)), "remote"), printable(strings.Join(names, ", ")))
	return nil
}

// readImport reads the file and chooses what to import.
func (a *app) readImport(file string, asked []string) (map[string]map[string]string, []string, error) {
	password, _ := a.lookup("RCLONE_CONFIG_PASS")
	all, err := remotes.ReadConf(file, password)
	hint := "name an rclone.conf; `rclone config file` says where it is"
	if errors.Is(err, remotes.ErrSealedFile) {
		hint = "set RCLONE_CONFIG_PASS to the password of the file"
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if err != nil {
		return nil, nil, usageError(hint, "import %s: %w", configs.Quote(file), err)
	}
	names, err := remotes.Choose(all, asked)
	if err != nil {
		return nil, nil, usageError("leave the names out to import all", "import %s: %w", configs.Quote(file), err)
	}
	for _, name := range names {
		if clean, err := checkRemoteName(name); err != nil || clean != name {
			return nil, nil, usageError("rename it in the file, or name the others", "import %s: %s is no name for a remote", configs.Quote(file), configs.Quote(name))
		}
		if _, err := rclonefs.Find(all[name]["type"]); err != nil {
			return nil, nil, usageError("name the others", "import %s: %s is of an unknown kind, %s", configs.Quote(file), name, configs.Quote(all[name]["type"]))
		}
	}
	return all, slices.Clip(names), nil
}
