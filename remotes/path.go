package remotes

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/fspath"
)

// PathError says what is wrong with a remote and path that a person wrote.
type PathError struct {
	Shown  string // what may be repeated of it: no secret
	Remote string // the one that isn't configured; "" where something else is wrong
	Hint   string // what to do
	Err    error
}

// Error implements error; the hint is for the caller to show.
func (e *PathError) Error() string { return strconv.Quote(e.Shown) + " " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PathError) Unwrap() error { return e.Err }

// pathHint says how a remote and a path are written.
const pathHint = "name a remote and a path, such as icloud:Documents, or a local folder"

// CheckPath checks what a person wrote for a remote and its path, and tells whether it is a local path. Its error is a
// *PathError. No remote is asked, and no file is looked at.
func CheckPath(text string) (local bool, err error) {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return false, &PathError{Shown: text, Hint: pathHint, Err: errors.New("holds control characters")}
	}
	parsed, err := fspath.Parse(text)
	if err != nil {
		return false, &PathError{Shown: text, Hint: pathHint, Err: err}
	}
	if parsed.Name == "" {
		return true, nil
	}
	if leaves(parsed.Path) {
		return false, &PathError{Shown: text, Hint: "write the path without ..", Err: errors.New("leaves its remote by ..")}
	}
	return false, checkConfigured(parsed)
}

// CheckPlainPath is CheckPath for a path that comes over the network: local paths begin at the root, and remotes are those
// that are configured, as they are. A remote that is made up on the fly, or one with parameters, could name files and
// programs of this machine.
func CheckPlainPath(text string) error {
	local, err := CheckPath(text)
	if err != nil {
		return err
	}
	if local && (!filepath.IsAbs(text) || leaves(text)) {
		return &PathError{Shown: text, Hint: pathHint + " from the root", Err: errors.New("isn't a remote and a path")}
	}
	if parsed, err := fspath.Parse(text); err == nil && (strings.HasPrefix(parsed.Name, ":") || len(parsed.Config) > 0) {
		return &PathError{Shown: parsed.Name, Hint: "add it as a remote with these settings, and name that",
			Err: errors.New("has parameters, which only the command line takes")}
	}
	return nil
}

// leaves tells whether a path goes up.
func leaves(p string) bool { return slices.Contains(strings.Split(filepath.ToSlash(p), "/"), "..") }

// checkConfigured refuses remotes that aren't configured, and secrets beside a remote's name: those would be kept with the
// job and be shown.
func checkConfigured(parsed fspath.Parsed) error {
	kind := kindOf(parsed.Name)
	if kind == "" {
		return &PathError{Shown: parsed.Name + ":", Remote: parsed.Name, Hint: "choose one of the remotes", Err: errors.New("is no remote")}
	}
	if _, err := fs.Find(kind); err != nil {
		return &PathError{Shown: parsed.Name, Hint: "`rclone help backends` lists the kinds of remotes",
			Err: fmt.Errorf("needs a backend that isn't there: there is no kind of remote called %s", strconv.Quote(kind))}
	}
	if key := secretIn(kind, parsed.Config); key != "" {
		return &PathError{Shown: parsed.Name, Hint: "keep it in a remote: `offload remotes add --help` says how",
			Err: fmt.Errorf("is given a secret, which doesn't belong there: %s is a secret", key)}
	}
	return nil
}

// kindOf is the kind of a remote by its name, as it is configured or made up on the fly; "" where there is no such remote.
func kindOf(name string) string {
	if made, ok := strings.CutPrefix(name, ":"); ok {
		return made
	}
	all := config.GetRemotes()
	if i := slices.IndexFunc(all, func(r config.Remote) bool { return r.Name == name }); i >= 0 {
		return all[i].Type
	}
	return ""
}

// secretIn names what is a secret among the parameters of a remote, "" for nothing: an option that rclone calls so, headers, a
// URL with a user, and the same in remotes that are themselves parameters, as crypt, union and combine have them.
func secretIn(kind string, params configmap.Simple) string {
	info, err := fs.Find(kind)
	if err != nil {
		info = &fs.RegInfo{}
	}
	for _, key := range slices.Sorted(maps.Keys(params)) {
		value := params[key]
		o := info.Options.Get(key)
		u, err := url.Parse(value)
		if o != nil && (o.IsPassword || o.Sensitive) || key == "headers" || err == nil && u.User != nil {
			return key
		}
		for _, text := range append(strings.Fields(value), value) {
			if _, path, ok := strings.Cut(text, "=:"); ok { // combine's "folder=:kind,parameters:path"
				text = ":" + path
			}
			if inner, err := fspath.Parse(text); err == nil {
				if found := secretIn(kindOf(inner.Name), inner.Config); found != "" {
					return found
				}
			}
		}
	}
	return ""
}

// SamePath tells whether two texts name the same remote and path. Paths that overlap are found when remotes are opened.
func SamePath(a, b string) bool { return cleanPath(a) == cleanPath(b) }

func cleanPath(s string) string {
	parsed, err := fspath.Parse(s)
	if err != nil {
		return s
	}
	return parsed.ConfigString + ":" + strings.TrimPrefix(path.Clean("/"+parsed.Path), "/")
}

// NameOf returns the remote's name in "name:path", "" for a local path.
func NameOf(text string) string {
	parsed, err := fspath.Parse(text)
	if err != nil {
		return ""
	}
	return parsed.Name
}
