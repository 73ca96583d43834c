package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rclone/rclone/fs/config"

	"offload/configs"
	"offload/jobs/orderform"
	"offload/remotes"
)

// remotePath checks what a person wrote for a remote and its path, and makes a local path independent of the folder
// that the command was started in, since a worker may run in another one.
func remotePath(field, text string) (string, error) {
	local, err := remotes.CheckPath(text)
	var wrong *remotes.PathError
	switch {
	case errors.As(err, &wrong) && wrong.Remote != "":
		return "", unknownRemote(field, wrong.Remote, config.GetRemotes())
	case errors.As(err, &wrong):
		return "", usageError(wrong.Hint, "%s %s %w", field, configs.Quote(wrong.Shown), wrong.Err)
	case !local:
		return text, nil
	}
	full, err := filepath.Abs(text)
	if err != nil {
		return "", failure("write the path from the root", fmt.Errorf("find %s %s: %w", field, configs.Quote(text), err))
	}
	if field == "source" {
		if _, err := os.Stat(full); err != nil {
			return "", usageError("`offload remotes list` shows the remotes; those end in a colon, as in icloud:", "source %s: %w", configs.Quote(text), bare(err))
		}
	}
	return full, nil
}

func unknownRemote(field, name string, all []config.Remote) error {
	known := make([]string, len(all))
	for i, r := range all {
		known[i] = r.Name
	}
	hint := "`offload remotes add " + shellQuote(name) + "` makes it; that of an rclone.conf is found with --rclone-config"
	if near := nearest(name, known); near != "" {
		hint = "did you mean " + near + ":?"
	} else if len(known) > 0 && len(known) <= 10 {
		hint = "the remotes are " + strings.Join(known, ":, ") + ":"
	}
	return usageError(hint, "%s: there is no remote called %s:", field, printable(name))
}

// checkPaths refuses a destination that is the source. Paths that overlap are found when the job is accepted.
func checkPaths(source, dest string) error {
	if remotes.SamePath(source, dest) {
		return usageError("name another remote or another path as the destination", "source and destination are both %s", printable(source))
	}
	return nil
}

// readFilesFrom reads paths from a file, or from stdin for "-": one a line; empty lines and those that begin with # or
// ; are passed over.
func (a *app) readFilesFrom(name string) ([]string, error) {
	return readLines(a.in, "files-from", name, orderform.ReadPaths, "write one path a line, as it is below the source, without ..")
}

// readLines reads the file that a flag names, or stdin for "-".
func readLines(stdin io.Reader, flag, name string, read func(io.Reader) ([]string, error), hint string) ([]string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError("name a readable text file, or - for stdin", "--%s: read %s: %w", flag, configs.Quote(name), bare(err))
		}
		defer f.Close()
		in = f
	}
	lines, err := read(in)
	if err != nil {
		return nil, usageError(hint, "--%s: %s: %w", flag, configs.Quote(name), bare(err))
	}
	return lines, nil
}

// bare strips operation and path from a file error, for messages that name both already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
