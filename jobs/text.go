package jobs

import (
	"strings"

	"github.com/dustin/go-humanize"
)

// size is a number of bytes for people; negative is unlimited.
func size(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return humanize.IBytes(uint64(n))
}

// remoteOf is what people call the remote of a path: its name with a colon, or the path where it has none. Parameters of
// a connection string, which may be secrets, are left out.
func remoteOf(path string) string {
	if name := nameOfRemote(path); name != "" {
		return name + ":"
	}
	if strings.HasPrefix(path, ":") { // made up on the fly: ":type,option=value:path"
		return ":" + path[1:1+max(0, strings.IndexAny(path[1:], ":,"))] + ":"
	}
	return path
}

// signInText says what a person has to do where a remote refuses the sign-in.
func signInText(path string) string {
	what := remoteOf(path) + " refuses the sign-in: "
	if name := nameOfRemote(path); name != "" {
		return what + "`offload remotes reconnect " + name + "` signs in anew, and the job goes on by itself"
	}
	return what + "sign in again, then resume the job"
}

// Title is what people call the job: its label, or else what it does where.
func (j Job) Title() string {
	switch {
	case j.Label != "":
		return j.Label
	case j.Kind == KindScrub:
		return "Check of " + j.Source
	}
	return j.Source + " to " + j.Dest
}

// SignInRemote names the remote whose sign-in a waiting job waits for, "" where it waits for none or that isn't known.
func (j Job) SignInRemote() string {
	if j.State != Waiting || j.Reason != ReasonSignIn {
		return ""
	}
	for _, path := range []string{j.Source, j.Dest} {
		if name := nameOfRemote(path); name != "" && strings.HasPrefix(j.Error, name+": ") {
			return name
		}
	}
	return ""
}
