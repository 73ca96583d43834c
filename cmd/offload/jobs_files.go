package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/transfer"
)

func filesFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "outcome", Usage: "only files with this `OUTCOME` (may be repeated): " + strings.Join(flagValues("outcome"), ", ")},
		&cli.StringSliceFlag{Name: "source", Usage: "only files whose source is in this `STATE` (may be repeated): " + strings.Join(flagValues("source"), ", ")},
	}
}

// outcomePending stands for files that nothing has become of yet, whose outcome is empty.
const outcomePending = "pending"

// checkFilesFlags checks the flags of `jobs files`; on other commands, which lack them, it finds nothing.
func checkFilesFlags(c *cli.Context) error {
	for _, flag := range []string{"outcome", "source"} {
		known := flagValues(flag)
		for _, v := range c.StringSlice(flag) {
			if !slices.Contains(known, v) {
				return usageError("choose "+strings.Join(known, ", "), "--%s: unknown value %s", flag, configs.Quote(v))
			}
		}
	}
	return nil
}

func (a *app) runJobsFiles(c *cli.Context, p *parts, id string) error {
	filter := jobs.FileFilter{}
	for _, v := range c.StringSlice("outcome") {
		if v == outcomePending {
			v = string(transfer.Pending)
		}
		filter.Results = append(filter.Results, transfer.Result(v))
	}
	for _, v := range c.StringSlice("source") {
		filter.Source = append(filter.Source, transfer.SourceState(v))
	}
	out := bufio.NewWriter(a.out)
	write := a.fileLine(out)
	if c.Bool("json") {
		write = fileJSON(out)
	}
	// The job is looked up first, so that an unknown one leaves stdout empty.
	job, err := p.jobs.Get(c.Context, id)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		fmt.Fprint(out, "[")
	}
	if err := p.jobs.Files(c.Context, job.ID, filter, write); err != nil {
		return fmt.Errorf("list the files of job %s: %w", job.ID, err)
	}
	if c.Bool("json") {
		fmt.Fprintln(out, "]")
	}
	return out.Flush()
}

// fileJSON writes records as the elements of an array, each as it comes: a job may have a million files.
func fileJSON(out *bufio.Writer) func(jobs.FileRecord) error {
	first := true
	return func(r jobs.FileRecord) error {
		if !first {
			fmt.Fprint(out, ",\n")
		}
		first = false
		text, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write file %s as JSON: %w", r.Path, err)
		}
		_, err = out.Write(text)
		return err
	}
}

// fileLine writes records as lines of fixed columns; widths aren't aligned to the longest since lines come one by one.
func (a *app) fileLine(out *bufio.Writer) func(jobs.FileRecord) error {
	return func(r jobs.FileRecord) error {
		outcome := orDefault(string(r.Result), outcomePending)
		_, err := fmt.Fprintf(out, "%-9s  %-1s  %-8s  %10s  %s", outcome, orDefault(string(r.Grade), "-"), orDefault(string(r.Source), "-"), size(max(r.Size, 0)), printable(r.Path))
		if err == nil && r.Dest != "" {
			_, err = fmt.Fprintf(out, " -> %s", printable(r.Dest))
		}
		if err == nil && r.Package {
			_, err = fmt.Fprint(out, "  [package, as a zip]")
		}
		if err == nil && r.Code != "" {
			_, err = fmt.Fprintf(out, "  (%s: %s)", r.Code, oneLine(r.Reason))
		}
		if err == nil {
			err = out.WriteByte('\n')
		}
		return err
	}
}
