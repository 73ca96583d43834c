package main

import (
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/jobs/planfile"
	"offload/room"
)

// planFileFlag names the file of a plan.
const planFileFlag = "plan-file"

// planFile is a plan that is being made for a file. Nil is none.
type planFile struct {
	name  string
	file  *os.File
	files *jobs.Planned
	whole bool
}

// newPlanFile makes the file that --plan-file names; nil where it names none. A file that is there is never replaced.
func newPlanFile(c *cli.Context) (*planFile, error) {
	if !c.IsSet(planFileFlag) {
		return nil, nil
	}
	name := c.String(planFileFlag)
	if strings.TrimSpace(name) == "" {
		return nil, usageError("name a file that isn't there yet", "--plan-file: is empty")
	}
	files, err := jobs.NewPlanned()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, usageError("name another file, or remove that one first", "--plan-file: %s is there already", configs.Quote(name))
	}
	if err != nil {
		return nil, usageError("name a file in a folder that you may write to", "--plan-file: make %s: %w", configs.Quote(name), bare(err))
	}
	return &planFile{name: name, file: f, files: files}, nil
}

// list is where the files of the plan go; nil without a file.
func (f *planFile) list() *jobs.Planned {
	if f == nil {
		return nil
	}
	return f.files
}

// write writes the plan of an order.
func (f *planFile) write(o jobs.Order) (err error) {
	if f == nil {
		return nil
	}
	var out io.Writer = f.file
	var zip *gzip.Writer
	if strings.HasSuffix(f.name, ".gz") {
		zip = gzip.NewWriter(f.file)
		out = zip
	}
	if err = planfile.Write(out, time.Now(), o, f.files); err == nil && zip != nil {
		err = zip.Close()
	}
	if err == nil {
		err = f.file.Sync()
	}
	var wrong *jobs.OrderError
	if err != nil && !errors.As(err, &wrong) {
		err = failure("see that the disk has room, and make the plan again", err)
	}
	f.whole = err == nil
	return err
}

// close closes the file, and removes one that isn't whole.
func (f *planFile) close() {
	if f == nil {
		return
	}
	_ = f.file.Close() // it was synced, or is of no use
	if !f.whole {
		_ = os.Remove(f.name) // half a plan is refused by whoever reads it
	}
}

// readPlanFile makes an order of the plan that --plan-file names, and of the flags beside it.
func (a *app) readPlanFile(c *cli.Context) (jobs.Order, error) {
	name := c.String(planFileFlag)
	f, err := os.Open(name)
	if err != nil {
		return jobs.Order{}, usageError("name a file that `offload plan --plan-file` has written", "--plan-file: read %s: %w", configs.Quote(name), bare(err))
	}
	defer f.Close()
	p, err := planfile.Read(halted(c.Context, f))
	if err != nil {
		return jobs.Order{}, usageError("make a new plan with `offload plan SRC DST --plan-file FILE`", "--plan-file: %s: %w", configs.Quote(name), bare(err))
	}
	for _, path := range []struct{ field, text string }{{"source", p.Order.Source}, {"destination", p.Order.Dest}} {
		if _, err := remotePath(path.field, path.text); err != nil {
			return jobs.Order{}, err
		}
	}
	values := given(c)
	for i, field := range []string{orderform.Source, orderform.Dest} {
		if text := c.Args().Get(i); text != "" {
			if text, err = remotePath(field, text); err != nil {
				return jobs.Order{}, err
			}
			values[field] = []string{text}
		}
	}
	if c.NArg() == 1 {
		return jobs.Order{}, usageError("give both, or leave both out: the plan names them", "the destination is missing")
	}
	return p.With(values)
}

// save writes the plan to a file.
func (f *freeing) save(p room.Plan) error {
	file, err := newPlanFile(f.c)
	if err != nil {
		return err
	}
	defer file.close()
	order, any := p.AsFarAsPossible()
	if !any {
		return f.report(f.rounds.Begin(p), p)
	}
	file.files = order.Planned
	if err := file.write(order); err != nil {
		return err
	}
	if f.c.Bool("json") {
		if err := writeJSON(f.a.out, p); err != nil {
			return err
		}
	} else {
		writeFreePlan(f.a.out, p)
	}
	f.a.note("the plan is in %s: `offload run --plan-file %s` does it, and nothing else", file.name, shellQuote(file.name))
	return nil
}
