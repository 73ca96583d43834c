package remotes

import (
	"slices"
	"strings"

	"github.com/rclone/rclone/fs"
)

// reachCommand is what to do where a browser isn't enough.
const reachCommand = "use `offload remotes add` on that machine"

// wrapping tells whether a kind leads to another remote, or to a folder of this machine, that its settings name.
func wrapping(kind string) bool {
	return slices.Contains([]string{"alias", "archive", "cache", "chunker", "combine", "compress", "crypt", "hasher", "union"}, kind)
}

// GuideKinds are the kinds that a Guide adds: those that reach neither files nor programs of this machine.
func GuideKinds() []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return wrapping(k.Name) })
}

// CheckKind refuses a kind of remote that whoever signs in through a browser may not add: the remote would reach the files of
// this machine.
func CheckKind(kind string) *SignInError {
	if kind == "local" {
		return mistake("choose one of the list", "there is no such kind of remote")
	}
	if wrapping(kind) {
		return mistake(reachCommand, "a remote of kind %s can reach the files of the machine that the dashboard runs on", kind)
	}
	return nil
}

// CheckSetting refuses a setting of a remote that names a file or a program of this machine, or takes what this machine is
// trusted with. An empty value is harmless.
func CheckSetting(kind, name, value string) *SignInError {
	if value == "" {
		return nil
	}
	info, err := fs.Find(kind)
	if err != nil || info.Options.Get(name) == nil { // a question that is no setting, such as where a browser is
		return nil
	}
	hint := "leave it empty here, or " + reachCommand
	ends := func(end string) bool { return name == end || strings.HasSuffix(name, "_"+end) }
	switch {
	case ends("ssh"), ends("command"):
		return mistake(hint, "%s names a program of the machine that the dashboard runs on", name)
	case ends("file"), ends("path"):
		return mistake(hint, "%s names a file of the machine that the dashboard runs on", name)
	case name == "env_auth" && !strings.EqualFold(value, "false"), strings.EqualFold(value, "env_auth"):
		return mistake(strings.Replace(hint, "leave it empty here", "choose another way to sign in", 1), "%s takes what the machine that the dashboard runs on is trusted with", name)
	}
	return nil
}
