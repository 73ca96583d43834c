package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/rclone/rclone/fs"
	"github.com/urfave/cli/v2"
)

// version and commit are set by the linker: -X main.version=1.2.3 -X main.commit=0123abc.
var version, commit string

// buildInfo is what `offload version --json` prints.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
	Rclone  string `json:"rclone"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// buildVersion is the version of this build, "dev" where none was set.
func buildVersion() string { return orDefault(version, "dev") }

func readBuild() buildInfo {
	b := buildInfo{
		Version: buildVersion(), Commit: commit,
		Go: runtime.Version(), Rclone: fs.Version, OS: runtime.GOOS, Arch: runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Commit = orDefault(b.Commit, "unknown")
		return b
	}
	for _, m := range info.Deps {
		if m.Path == "github.com/rclone/rclone" {
			b.Rclone = m.Version // rclone's own constant says -DEV in a library
		}
	}
	if b.Commit == "" {
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				b.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = "+changes"
			}
		}
		b.Commit += modified
	}
	b.Commit = orDefault(b.Commit, "unknown")
	return b
}

func (a *app) newVersion() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print version, commit, and what it was built with",
		Action: func(c *cli.Context) error {
			b := readBuild()
			if c.Bool("json") {
				return writeJSON(a.out, b)
			}
			fmt.Fprintf(a.out, "offload %s\ncommit %s\n%s %s/%s\nrclone %s\n", b.Version, b.Commit, b.Go, b.OS, b.Arch, b.Rclone)
			return nil
		},
	}
}
