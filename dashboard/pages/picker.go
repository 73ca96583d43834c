package pages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"offload/jobs/orderform"
	"offload/remotes"
	"offload/transfer"
)

const (
	// browseTime is how long a person waits for a folder's list.
	browseTime = 10 * time.Second
	// browseMost bounds the entries of a folder that are shown.
	browseMost = 500
)

// folderPicker lists the folders of a remote to choose from, within the form, which keeps what was typed.
type folderPicker struct {
	Side    string // orderform.Source or Dest
	At      string // the folder whose folders are listed; "" lists the remotes
	Crumbs  []folderLink
	Folders []folderLink
	Files   int // beside the folders
	Bytes   int64
	More    bool   // there are more than are shown
	Problem string // why there is no list
	Hint    string
	SignIn  string // the remote whose sign-in is refused
}

// folderLink is a folder to go to.
type folderLink struct{ Name, Path string }

// SideWord is what the side is called on the page.
func (f *folderPicker) SideWord() string {
	if f.Side == orderform.Source {
		return "source"
	}
	return "destination"
}

// newBrowse shows the form with a folder picker, or with the folder that was picked. Nothing is changed by it; it is a POST
// since a form may be longer than an address.
func (p *Pages) newBrowse(w http.ResponseWriter, r *http.Request) {
	f := &transferForm{values: orderform.Given(r.PostForm)}
	side := orderform.Source
	if r.PostForm.Get("side") == orderform.Dest || r.PostForm.Get("browse") == orderform.Dest {
		side = orderform.Dest
	}
	switch pick, at := r.PostForm.Get("pick"), r.PostForm.Get("at"); {
	case r.PostForm.Has("close"):
	case pick != "":
		f.values[side] = []string{pick}
	case r.PostForm.Has("remotes"):
		f.Picker = &folderPicker{Side: side}
	case at != "":
		f.Picker = p.folders(r.Context(), side, at)
	case r.PostForm.Get("browse") != "":
		side = r.PostForm.Get("browse")
		f.Picker = &folderPicker{Side: side}
		if v := f.Value(side); side == orderform.Source || side == orderform.Dest {
			if remotes.NameOf(v) != "" {
				f.Picker = p.folders(r.Context(), side, v)
			}
		} else {
			f.Picker = nil
		}
	}
	p.showForm(w, r, http.StatusOK, f)
}

// folders lists the folders at a path of a remote.
func (p *Pages) folders(ctx context.Context, side, at string) *folderPicker {
	f := &folderPicker{Side: side, At: at, Crumbs: crumbs(at)}
	var wrong *remotes.PathError
	if err := remotes.CheckPlainPath(at); errors.As(err, &wrong) {
		f.Problem, f.Hint = wrong.Error(), wrong.Hint
		return f
	}
	if remotes.NameOf(at) == "" || p.cfg.Browse == nil {
		f.Problem, f.Hint = "folders of this machine aren't listed here", "Type the path."
		return f
	}
	ctx, cancel := context.WithTimeoutCause(ctx, browseTime, fmt.Errorf("%s doesn't answer within %s", at, browseTime))
	defer cancel()
	entries, more, err := p.cfg.Browse(ctx, at, browseMost)
	if err != nil {
		f.explain(ctx, err)
		return f
	}
	f.More = more
	for _, e := range entries {
		switch {
		case e.IsDir && !strings.Contains(e.Name, "/"):
			f.Folders = append(f.Folders, folderLink{e.Name, below(at, e.Name)})
		case !e.IsDir:
			f.Files++
			f.Bytes += max(e.Size, 0)
		}
	}
	return f
}

// explain says why a folder can't be listed.
func (f *folderPicker) explain(ctx context.Context, err error) {
	f.Problem = transfer.WithoutQueries(err.Error())
	var check *transfer.CheckError
	switch {
	case transfer.SignInRefused(ctx, err) != "":
		f.SignIn = remotes.NameOf(f.At)
		f.Problem, f.Hint = f.SignIn+" refuses the sign-in", "Sign in again; the form can be filled in without the list, too."
	case transfer.NotFound(err):
		f.Problem, f.Hint = f.At+" isn't there", "A destination is made with its first file; a source must be there."
	case errors.As(err, &check):
		f.Problem, f.Hint = transfer.WithoutQueries(check.Err.Error()), check.Hint
	default:
		f.Hint = "Try again, or type the path."
	}
}

// below is the path of a folder in another one.
func below(at, name string) string {
	if strings.HasSuffix(at, ":") || strings.HasSuffix(at, "/") {
		return at + name
	}
	return at + "/" + name
}

// crumbs are the folders above a path, from the remote down, itself included.
func crumbs(at string) []folderLink {
	name := remotes.NameOf(at)
	if name == "" {
		return nil
	}
	all := []folderLink{{name + ":", name + ":"}}
	path := name + ":"
	for part := range strings.SplitSeq(strings.TrimPrefix(at, name+":"), "/") {
		if part == "" {
			continue
		}
		path = below(path, part)
		all = append(all, folderLink{part, path})
	}
	return all
}
