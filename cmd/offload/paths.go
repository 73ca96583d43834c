package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/fspath"

	"offload/configs"
)

// remotePath checks what a person wrote for a remote and its path, and makes a local path independent of the folder
// that the command was started in, since a worker may run in another one.
func remotePath(field, text string) (string, error) {
	shown := configs.Quote(text)
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", usageError("name a remote and a path, such as icloud:Documents", "%s %s holds control characters", field, shown)
	}
	parsed, err := fspath.Parse(text)
	if err != nil {
		return "", usageError("name a remote and a path, such as icloud:Documents, or a local folder", "%s %s: %w", field, shown, err)
	}
	if slices.Contains(strings.Split(filepath.ToSlash(parsed.Path), "/"), "..") && parsed.Name != "" {
		return "", usageError("write the path without ..", "%s %s leaves its remote by ..", field, shown)
	}
	if parsed.Name != "" {
		return text, checkRemote(field, parsed)
	}
	full, err := filepath.Abs(text)
	if err != nil {
		return "", failure("write the path from the root", fmt.Errorf("find %s %s: %w", field, shown, err))
	}
	if field == "source" {
		if _, err := os.Stat(full); err != nil {
			return "", usageError("`offload remotes list` shows the remotes; those end in a colon, as in icloud:", "source %s: %w", shown, bare(err))
		}
	}
	return full, nil
}

// checkRemote refuses remotes that aren't configured, and secrets on the command line: those would be kept with the
// job and be shown.
func checkRemote(field string, parsed fspath.Parsed) error {
	kind := strings.TrimPrefix(parsed.Name, ":")
	if !strings.HasPrefix(parsed.Name, ":") {
		remotes := config.GetRemotes()
		i := slices.IndexFunc(remotes, func(r config.Remote) bool { return r.Name == parsed.Name })
		if i < 0 {
			return unknownRemote(field, parsed.Name, remotes)
		}
		kind = remotes[i].Type
	}
	info, err := fs.Find(kind)
	if err != nil {
		return usageError("`rclone help backends` lists the kinds of remotes", "%s %s: there is no kind of remote called %s", field, parsed.Name, configs.Quote(kind))
	}
	for key := range parsed.Config {
		if o := info.Options.Get(key); o != nil && (o.IsPassword || o.Sensitive) {
			return usageError("keep it in a remote: `offload remotes add --help` says how", "%s %s: %s is a secret and doesn't belong on a command line", field, parsed.Name, key)
		}
	}
	return nil
}

func unknownRemote(field, name string, remotes []config.Remote) error {
	known := make([]string, len(remotes))
	for i, r := range remotes {
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
	if cleanRemote(source) == cleanRemote(dest) {
		return usageError("name another remote or another path as the destination", "source and destination are both %s", printable(source))
	}
	return nil
}

func cleanRemote(s string) string {
	parsed, err := fspath.Parse(s)
	if err != nil {
		return s
	}
	return parsed.ConfigString + ":" + strings.TrimPrefix(path.Clean("/"+parsed.Path), "/")
}

// maxFilesFrom bounds a list of files, in bytes.
const maxFilesFrom = 64 << 20

// readFilesFrom reads paths from a file, or from stdin for "-": one a line; empty lines and those that begin with # or
// ; are passed over.
func (a *app) readFilesFrom(name string) ([]string, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usageError("name a readable text file, or - for stdin", "--files-from: read %s: %w", configs.Quote(name), bare(err))
		}
		defer f.Close()
		in = f
	}
	var paths []string
	counted := &io.LimitedReader{R: in, N: maxFilesFrom}
	lines := bufio.NewScanner(counted)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			continue
		}
		if !utf8.ValidString(line) || slices.Contains(strings.Split(line, "/"), "..") {
			return nil, usageError("write each path as it is below the source, without ..", "--files-from: line %d of %s is no path: %s", n, configs.Quote(name), configs.Quote(line))
		}
		paths = append(paths, line)
	}
	if err := lines.Err(); err != nil {
		return nil, usageError("write one path a line", "--files-from: read %s: %w", configs.Quote(name), bare(err))
	}
	if counted.N == 0 {
		return nil, usageError("split the list", "--files-from: %s is larger than 64 MiB", configs.Quote(name))
	}
	if len(paths) == 0 {
		// An empty list means "no filter" further down: everything would be moved.
		return nil, usageError("write one path a line", "--files-from: %s names no file", configs.Quote(name))
	}
	return paths, nil
}

// bare strips operation and path from a file error, for messages that name both already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
