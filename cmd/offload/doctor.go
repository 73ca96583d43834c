package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/doctor"
	"offload/remotes"
	"offload/transfer"
)

// doctorTime bounds the whole command: a store or a remote that hangs must not keep somebody who looks for what hangs.
const doctorTime = 14 * time.Second

const kindICloud = "iclouddrive"

func (a *app) newDoctor() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "say why an iCloud backup fails, as far as it can be seen from here; nothing is changed", ArgsUsage: "[REMOTE]",
		Description: `Looks at REMOTE, or at every iCloud Drive that is configured: is the storage full and by what, what lies in the trash,
does the account answer, is the sign-in good and for how long, what does Apple say of its services, is this machine's
clock right, has the destination room, does the quota allow a move, do jobs wait for somebody. Each finding names the
command that mends it. What only the phone shows comes last, with steps. It takes 15 seconds at most.
A session that has run out is renewed on the way, as by any command; where Apple wants a person for that, the phone may
show a code: ` + "`offload remotes reconnect NAME`" + ` takes it.

Exit status 0: nothing is wrong. 3: something needs you, also where a backup would
fail. 1: nothing could be looked at.`,
		UsageText: `offload doctor
offload doctor icloud: --backup-size 8GiB
offload doctor dropbox: --json`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "backup-size", Usage: "how much the next backup needs, `SIZE` such as 8GiB; the phone tells it. Without it the size of the backups there is taken"},
		},
		Action: func(c *cli.Context) error { return a.runDoctor(c) },
	}
}

func (a *app) runDoctor(c *cli.Context) error {
	backup, err := backupSize(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, doctorTime)
	defer cancel()
	c.Context = ctx
	r, err := a.remoteSetAt(c, "error") // what would be logged of a remote, the report tells
	if err != nil {
		return err
	}
	defer r.close()
	names, err := doctorRemotes(c.Args().First())
	if err != nil {
		return err
	}
	report := doctor.Examine(ctx, r.patient(names, backup))
	if err := context.Cause(c.Context); err != nil && ctx.Err() != context.DeadlineExceeded {
		return err // interrupted: the answers that are missing say nothing
	}
	if c.Bool("json") {
		err = writeJSON(a.out, report)
	} else {
		writeReport(a.out, report)
	}
	switch {
	case err != nil:
		return err
	case !report.Saw():
		return status(exitFailed)
	case !report.Content:
		return status(exitWarnings)
	}
	return nil
}

// backupSize reads --backup-size; 0 is not given.
func backupSize(c *cli.Context) (int64, error) {
	if !c.IsSet("backup-size") {
		return 0, nil
	}
	n, err := configs.ParseSize(c.String("backup-size"))
	if err == nil && n == 0 {
		err = fmt.Errorf("a backup needs more than nothing")
	}
	if err != nil {
		return 0, usageError("write a size like 8GiB; the phone tells it: Settings > your name > iCloud > Storage > Backups", "--backup-size: %w", err)
	}
	return n, nil
}

// doctorRemotes are the remotes to look at: the one that was named, or each iCloud Drive.
func doctorRemotes(arg string) ([]string, error) {
	if arg == "" {
		var names []string
		for _, r := range config.GetRemotes() {
			if r.Type == kindICloud {
				names = append(names, r.Name+":")
			}
		}
		if len(names) == 0 {
			return nil, usageError("`offload remotes add icloud` adds it; another remote is looked at by its name: offload doctor dropbox:", "no iCloud Drive is configured")
		}
		slices.Sort(names)
		return names, nil
	}
	if !strings.ContainsAny(arg, ":/") {
		arg += ":"
	}
	if remotes.NameOf(arg) == "" && !strings.HasPrefix(arg, ":") {
		return nil, usageError("`offload remotes list` shows the remotes; those end in a colon, as in icloud:", "%s is a folder of this machine, not a remote", configs.Quote(arg))
	}
	path, err := remotePath("remote", arg)
	return []string{path}, err
}

// patient is what the doctor looks at, and how.
func (r *remoteSet) patient(names []string, backup int64) doctor.Patient {
	opener := r.opener()
	p := doctor.Patient{Backup: backup, Network: fshttp.NewTransport(context.Background())}
	for _, size := range r.cfg.ICloudPlans {
		p.Plans = append(p.Plans, int64(size))
	}
	if r.p != nil {
		p.Store = r.p.jobs
		p.Allowance = func(ctx context.Context) (doctor.Allowance, error) {
			st, err := r.p.ledger.Status(ctx, r.cfg.Account)
			return doctor.Allowance{Account: r.cfg.Account, Available: st.Available, Renewed: st.Period.End}, err
		}
	}
	for _, name := range names {
		p.Remotes = append(p.Remotes, r.remote(opener, name))
	}
	return p
}

// remote is one remote as the doctor looks at it.
func (r *remoteSet) remote(opener transfer.Opener, path string) doctor.Remote {
	name := remoteName(path)
	values := r.conf.Values(name)
	trust := trustOf(values)
	d := doctor.Remote{Name: path, Kind: values["type"], TrustDays: trust.TrustDays, TrustEnds: trust.TrustEnds,
		Look: func(ctx context.Context) (transfer.RemoteCheck, error) { return opener.CheckRemote(ctx, path) },
		Trash: func(ctx context.Context) (doctor.Trash, bool, error) {
			sum, ok, err := opener.SumTrash(ctx, remoteLabel(path)+":") // the trash is one for the whole account
			return doctor.Trash{Files: sum.Items, Bytes: sum.Bytes, More: sum.Untold > 0}, ok, err
		},
	}
	if dest := destinationFor(name); dest != "" {
		d.Dest = dest + ":Archive"
		d.LookAt = func(ctx context.Context) (transfer.RemoteCheck, error) { return opener.CheckRemote(ctx, dest+":") }
	}
	return d
}

// destinationFor chooses, among the other remotes, where files could go: Dropbox first, since it proves the most, else the
// first that is a cloud of its own; "" where there is none.
func destinationFor(source string) string {
	best := ""
	all := config.GetRemotes()
	slices.SortFunc(all, func(a, b config.Remote) int { return strings.Compare(a.Name, b.Name) })
	for _, r := range all {
		switch {
		case r.Name == source, slices.Contains([]string{kindICloud, "iclouddrive_photos", "memory", "local", "http", "alias"}, r.Type):
		case r.Type == "dropbox":
			return r.Name
		case best == "":
			best = r.Name
		}
	}
	return best
}

// writeReport writes a report for people.
func writeReport(w io.Writer, r doctor.Report) {
	for _, s := range r.Sections {
		title := "This machine, the jobs and Apple"
		if s.Remote != "" {
			title = s.Remote
		}
		fmt.Fprintf(w, "%s\n", printable(title))
		for _, f := range s.Findings {
			writeFinding(w, f)
		}
		fmt.Fprintln(w)
	}
	writePhone(w, r.Phone)
	switch {
	case !r.Saw():
		fmt.Fprintln(w, "Nothing could be looked at from here.")
	case r.Content && len(r.Phone) == 0:
		fmt.Fprintln(w, "Nothing of that needs you.")
	case r.Content:
		fmt.Fprintln(w, "From here, nothing stands in the way of a backup.")
	default:
		fmt.Fprintln(w, "Something needs you: what is marked with ! above, the weightiest first.")
	}
}

// writePhone lists what only the device shows; nothing where no iCloud was looked at.
func writePhone(w io.Writer, causes []doctor.Cause) {
	if len(causes) == 0 {
		return
	}
	fmt.Fprintln(w, "Only the phone shows the rest:")
	for _, c := range causes {
		fmt.Fprintf(w, "  %s\n", c.What)
		for _, step := range c.Steps {
			writeWrapped(w, "      ", step)
		}
	}
	fmt.Fprintln(w)
}

// findingIndent is as wide as the longest mark, and a space.
const findingIndent = "              "

func writeFinding(w io.Writer, f doctor.Finding) {
	mark := map[doctor.Level]string{doctor.Problem: "!! problem", doctor.Warning: "!  warning", doctor.Note: "   note", doctor.Unknown: "?  unknown", doctor.OK: "   ok"}[f.Level]
	var text strings.Builder
	writeWrapped(&text, findingIndent, printable(f.What))
	fmt.Fprintf(w, "  %-11s %s", mark, strings.TrimPrefix(text.String(), findingIndent))
	if f.Why != "" {
		writeWrapped(w, findingIndent, f.Why)
	}
	if f.Command != "" {
		fmt.Fprintf(w, "%smend it: %s\n", findingIndent, f.Command)
	}
	for _, s := range f.Steps {
		writeWrapped(w, findingIndent, s)
	}
}
