package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/manifest"
	"offload/transfer"
)

// newManifest builds the commands about the records of jobs.
func (a *app) newManifest() *cli.Command {
	return &cli.Command{
		Name: "manifest", Usage: "read, verify and import the records of jobs",
		Description: `A job's manifest says of each file what was offloaded, where it lies, by what proof and when it was deleted. It lies in
.offload/ at the destination and in the store, and stays when the job is removed. docs/manifest.md describes its form.`,
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list the manifests that the store holds, newest first", UsageText: "offload manifest list --json",
				Action: func(c *cli.Context) error { return a.runManifestList(c) },
			},
			{
				Name: "show", Usage: "print the lines of a manifest", ArgsUsage: "JOB|FILE",
				Description: `Prints a line for each file, of a job or of a manifest's file. With --json, an array of all that the manifest says.
A file is verified on the way: where it is broken, what follows isn't printed.`,
				UsageText: "offload manifest show 01KB3Q7W5T\noffload manifest show backup/.offload/01KB3Q7W5T0000000000000000.manifest.gz --json",
				Action:    func(c *cli.Context) error { return a.runManifestShow(c) },
			},
			{
				Name: "verify", Usage: "read manifests anew and say whether each is whole", ArgsUsage: "FILE|REMOTE|JOB",
				Description: `Reads a file, all manifests of a destination, or the one that the store holds of a job, and says where one was changed or
cut. Those of a destination are compared with the store's, where that has them. The exit status is 1 where one is broken.`,
				UsageText: "offload manifest verify dropbox:Backup\noffload manifest verify 01KB3Q7W5T\noffload manifest verify ./01KB3Q7W5T0000000000000000.manifest.gz",
				Action:    func(c *cli.Context) error { return a.runManifestVerify(c) },
			},
			{
				Name: "import", Usage: "take the manifests of a destination into the store", ArgsUsage: "REMOTE|FILE",
				Description: `Reads the manifests that lie in .offload/ at a destination, verifies them and keeps them in the store, so that
offload where and offload restore find what another machine, or a store that was lost, has offloaded. One that the store has already stays as it is.`,
				UsageText: "offload manifest import dropbox:Backup",
				Action:    func(c *cli.Context) error { return a.runManifestImport(c) },
			},
		},
	}
}

func (a *app) runManifestList(c *cli.Context) error {
	_, p, err := a.existing(c)
	if err != nil {
		return err
	}
	all := []jobs.ManifestInfo{}
	if p != nil {
		defer p.closeLogged()
		if all, err = p.jobs.Manifests(c.Context); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return writeJSON(a.out, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(a.out, "The store holds no manifests.")
	}
	for _, m := range all {
		at := orDefault(m.Path, "not at the destination")
		fmt.Fprintf(a.out, "%s  %s  %s, %s  %s -> %s  (%s)\n", m.Job, moment(m.Created), count(m.Files, "file"), size(m.Bytes), printable(m.Source),
			printable(m.Destination), printable(at))
	}
	return nil
}

// manifestTarget is what a command about manifests was given.
type manifestTarget struct {
	file, remote, job string
}

// manifestTargetOf tells a file, a remote or folder, and a job apart: what lies on this disk comes first.
func manifestTargetOf(text string, remotes bool) (manifestTarget, error) {
	info, err := os.Stat(text)
	switch {
	case err == nil && info.Mode().IsRegular():
		return manifestTarget{file: text}, nil
	case remotes && (err == nil && info.IsDir() || strings.Contains(text, ":")):
		return manifestTarget{remote: text}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return manifestTarget{}, usageError("name a file that can be read", "read %s: %w", configs.Quote(text), bare(err))
	case checkID(strings.ToUpper(text)) == nil:
		return manifestTarget{job: strings.ToUpper(text)}, nil
	}
	return manifestTarget{}, usageError("name a manifest's file, a destination such as dropbox:Backup, or a job's ID", "%s is no file, no remote and no job ID",
		configs.Quote(text))
}

func (a *app) runManifestShow(c *cli.Context) error {
	target, err := manifestTargetOf(c.Args().First(), false)
	if err != nil {
		return err
	}
	read := func(yield func(manifest.Line) error) error {
		return eachFile(c.Context, target.file, func(f io.ReadSeeker) error { return linesOf(f, yield) })
	}
	if target.job != "" {
		_, p, err := a.existing(c)
		if err != nil {
			return err
		}
		if p == nil {
			return noStore(target.job)
		}
		defer p.closeLogged()
		read = func(yield func(manifest.Line) error) error {
			_, err := p.jobs.Record(c.Context, target.job, yield)
			return err
		}
	}
	out := bufio.NewWriter(a.out)
	n := 0
	err = read(func(l manifest.Line) error {
		n++
		if !c.Bool("json") {
			return writeLine(out, l)
		}
		text, err := json.Marshal(l)
		if err != nil {
			return fmt.Errorf("write %s as JSON: %w", l.Path, err)
		}
		if n == 1 {
			fmt.Fprint(out, "[")
		} else {
			fmt.Fprint(out, ",\n")
		}
		_, err = out.Write(text)
		return err
	})
	switch {
	case err != nil && n == 0:
		return brokenHint(err)
	case c.Bool("json") && n == 0:
		fmt.Fprintln(out, "[]")
	case c.Bool("json") && err == nil:
		fmt.Fprintln(out, "]")
	}
	return errors.Join(brokenHint(err), out.Flush())
}

func writeLine(w io.Writer, l manifest.Line) error {
	_, err := fmt.Fprintf(w, "%-9s  %-1s  %-8s  %10s  %s", l.Result, orDefault(l.Grade, "-"), orDefault(l.State, "-"), size(max(l.Size, 0)), printable(l.Path))
	if err == nil && l.Dest != l.Path {
		_, err = fmt.Fprintf(w, " -> %s", printable(l.Dest))
	}
	if err == nil && l.Code != "" {
		_, err = fmt.Fprintf(w, "  (%s: %s)", l.Code, oneLine(l.Reason))
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}

func linesOf(r io.Reader, yield func(manifest.Line) error) error {
	m, err := manifest.NewReader(r)
	if err != nil {
		return err
	}
	return m.Each(yield)
}

// eachFile opens a file that may be long: its reading ends with ctx.
func eachFile(ctx context.Context, name string, do func(io.ReadSeeker) error) error {
	f, err := os.Open(name)
	if err != nil {
		return usageError("name a file that can be read", "read %s: %w", configs.Quote(name), bare(err))
	}
	defer f.Close()
	return do(&haltedFile{f, halted(ctx, f)})
}

// readerFunc is a function that reads.
type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// halted is a reader until ctx is done.
func halted(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		return r.Read(p)
	})
}

// haltedFile is a file that is read until a context is done.
type haltedFile struct {
	io.Seeker
	io.Reader
}

// brokenHint says what to do about a broken manifest.
func brokenHint(err error) error {
	var broken *manifest.BrokenError
	switch {
	case errors.As(err, &broken):
		return failure("the other copy may be whole: the store's (`offload manifest verify JOB`) or the destination's (`offload manifest verify REMOTE`)", err)
	case errors.Is(err, manifest.ErrNewer):
		return failure("the latest offload reads it", err)
	}
	return err
}

// manifestVerdict is what `manifest verify` and `manifest import` say of one manifest.
type manifestVerdict struct {
	Manifest string `json:"manifest"` // file, path at the destination, or job
	Job      string `json:"job,omitempty"`
	Whole    bool   `json:"whole"`
	Imported bool   `json:"imported,omitempty"`
	manifest.Summary
	Line  int64  `json:"line,omitempty"` // at which it shows that it is broken
	Error string `json:"error,omitempty"`
}

func verdictOf(name string, h manifest.Header, sum manifest.Summary, err error) manifestVerdict {
	v := manifestVerdict{Manifest: name, Job: h.Job, Whole: err == nil, Summary: sum}
	var broken *manifest.BrokenError
	if errors.As(err, &broken) {
		v.Line = broken.Line
	}
	if err != nil {
		v.Error = oneLine(transfer.WithoutQueries(err.Error()))
	}
	return v
}

// errStoreDiffers says that a destination's manifest isn't the one that was written there.
var errStoreDiffers = errors.New("it follows its own chain, but it isn't the one that the store has of this job: it was written anew, or the job has gone on since")

func (a *app) runManifestVerify(c *cli.Context) error {
	target, err := manifestTargetOf(c.Args().First(), true)
	if err != nil {
		return err
	}
	var all []manifestVerdict
	switch {
	case target.file != "":
		err = eachFile(c.Context, target.file, func(f io.ReadSeeker) error {
			h, sum, err := manifest.Verify(f)
			all = append(all, verdictOf(target.file, h, sum, err))
			return context.Cause(c.Context)
		})
	case target.job != "":
		all, err = a.verifyStored(c, target.job)
	default:
		all, err = a.verifyRemote(c, target.remote)
	}
	if err != nil {
		return err
	}
	return a.writeVerdicts(c, all, func(v manifestVerdict) string { return "whole: " + count(v.Files, "file") + ", " + size(v.Bytes) })
}

func (a *app) verifyStored(c *cli.Context, id string) ([]manifestVerdict, error) {
	_, p, err := a.existing(c)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, noStore(id)
	}
	defer p.closeLogged()
	info, err := p.jobs.VerifyManifest(c.Context, id)
	if errors.Is(err, jobs.ErrNoManifest) {
		return nil, failure("a job that has copied or deleted nothing leaves none, and one that runs writes it at its end", err)
	}
	if err != nil && info.Job == "" {
		return nil, err
	}
	return []manifestVerdict{verdictOf(info.Job, info.Header, info.Summary, err)}, nil
}

// eachManifest reads the manifests of a destination; r.p is nil where there is no store.
func (a *app) eachManifest(c *cli.Context, r *remoteSet, remote string, yield func(string, io.Reader) error) error {
	remote, err := remotePath("remote", remote)
	if err != nil {
		return err
	}
	opener := r.opener()
	found := 0
	err = opener.Manifests(c.Context, remote, manifest.Extension, func(path string, in io.Reader) error {
		found++
		return yield(path, in)
	})
	var check *transfer.CheckError
	if errors.As(err, &check) {
		return failure(check.Hint, err)
	}
	if err == nil && found == 0 {
		return failure("name the folder that a job has moved into, as in its order", fmt.Errorf("there are no manifests in %s at %s", transfer.ManifestDir, printable(remote)))
	}
	return err
}

func (a *app) verifyRemote(c *cli.Context, remote string) ([]manifestVerdict, error) {
	r, err := a.remoteSet(c)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var all []manifestVerdict
	err = a.eachManifest(c, r, remote, func(path string, in io.Reader) error {
		h, sum, err := manifest.Verify(in)
		if err == nil && r.p != nil {
			err = compareStored(c.Context, r.p, h, sum)
		}
		all = append(all, verdictOf(path, h, sum, err))
		return context.Cause(c.Context)
	})
	return all, err
}

// compareStored compares a destination's manifest with the store's, where that has it at that place.
func compareStored(ctx context.Context, p *parts, h manifest.Header, sum manifest.Summary) error {
	info, err := p.jobs.Manifest(ctx, h.Job)
	switch {
	case errors.Is(err, jobs.ErrNoManifest), errors.Is(err, jobs.ErrNotFound):
		return nil
	case err != nil:
		return err
	case info.Summary != sum:
		return errStoreDiffers
	}
	return nil
}

func (a *app) runManifestImport(c *cli.Context) error {
	target, err := manifestTargetOf(c.Args().First(), true)
	if err != nil {
		return err
	}
	if target.job != "" {
		return usageError("name a destination such as dropbox:Backup, or a manifest's file", "manifest import needs a destination or a file, and %s is a job ID", target.job)
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer func() { r.close() }()
	if err := r.needStore(c.Context); err != nil {
		return err
	}
	var all []manifestVerdict
	take := func(name string, in io.ReadSeeker) error {
		info, made, err := r.p.jobs.ImportManifest(c.Context, in)
		v := verdictOf(name, info.Header, info.Summary, err)
		v.Imported = made
		all = append(all, v)
		return context.Cause(c.Context)
	}
	if target.file != "" {
		err = eachFile(c.Context, target.file, func(f io.ReadSeeker) error { return take(target.file, f) })
	} else {
		err = a.eachManifest(c, r, target.remote, func(path string, in io.Reader) error {
			h, sum, broken, err := spooled(r.p, in, func(f *os.File) error { return take(path, f) })
			if broken != nil {
				all = append(all, verdictOf(path, h, sum, broken))
			}
			return err
		})
	}
	if err != nil {
		return err
	}
	return a.writeVerdicts(c, all, func(v manifestVerdict) string {
		if v.Imported {
			return "imported: " + count(v.Files, "file") + ", " + size(v.Bytes)
		}
		return "is in the store already"
	})
}

// spooled gives a manifest that is read once as a file that can be read twice. It is verified on the way, so that what isn't one
// doesn't fill the disk: one that is broken isn't given.
func spooled(p *parts, in io.Reader, do func(*os.File) error) (h manifest.Header, sum manifest.Summary, broken, err error) {
	f, err := os.CreateTemp(spoolDir(p.cfg), "offload-spool-")
	if err != nil {
		return h, sum, nil, fmt.Errorf("make spool file: %w", err)
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name()) // what stays is removed at a later start
	}()
	h, sum, err = manifest.Verify(io.TeeReader(in, f))
	var wrong *manifest.BrokenError
	if errors.As(err, &wrong) || errors.Is(err, manifest.ErrNewer) {
		return h, sum, err, nil
	}
	if err != nil {
		return h, sum, nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return h, sum, nil, fmt.Errorf("read manifest: %w", err)
	}
	return h, sum, nil, do(f)
}

// writeVerdicts prints what was found. The exit status is 1 where something is wrong.
func (a *app) writeVerdicts(c *cli.Context, all []manifestVerdict, good func(manifestVerdict) string) error {
	wrong := 0
	for _, v := range all {
		if v.Error != "" {
			wrong++
		}
	}
	if c.Bool("json") {
		if err := writeJSON(a.out, all); err != nil {
			return err
		}
		return status(min(wrong, 1) * exitFailed)
	}
	for _, v := range all {
		text := ""
		switch {
		case v.Error == "":
			text = good(v)
		case v.Line > 0:
			text = "BROKEN: " + v.Error
		default:
			text = "NOT SURE: " + v.Error
		}
		fmt.Fprintf(a.out, "%s  %s\n", printable(v.Manifest), text)
	}
	if wrong > 0 {
		return failure("the other copy may be whole: the store's (`offload manifest verify JOB`) or the destination's (`offload manifest verify REMOTE`)",
			fmt.Errorf("manifests that aren't as they were written: %d of %d", wrong, len(all)))
	}
	return nil
}
