package cloudtest

import (
	"net/http"
	"strings"
)

// teamLimit is the "data transport limit" of a team: so many upload calls a month.
type teamLimit struct {
	limited bool
	left    int
	refused int
}

// SetTeamCalls lets the account be that of a team with n upload calls left this month. A negative n takes the limit away.
func (d *Dropbox) SetTeamCalls(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.team.limited, d.team.left = n >= 0, n
}

// TeamRefusals counts the calls that were refused for want of upload calls.
func (d *Dropbox) TeamRefusals() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.team.refused
}

// transports tells whether a route is a data transport call, by Dropbox's documentation of its routes.
func (r dropboxRoute) transports() bool {
	return strings.HasPrefix(r.path, "files/upload") || r.path == "files/save_url" || r.path == "files/copy_reference/save"
}

// UploadCalls counts the data transport calls so far, refused and struck ones included, whether there is a limit or not.
func (d *Dropbox) UploadCalls() (n int) {
	for _, route := range d.calls() {
		if route.transports() {
			n += d.w.Calls("dropbox:" + route.name)
		}
	}
	return n
}

// transport books a data transport call of a team, or refuses it.
func (d *Dropbox) transport(route dropboxRoute) error {
	if !route.transports() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.team.limited {
		return nil
	}
	if d.team.left--; d.team.left >= 0 {
		return nil
	}
	d.team.refused++
	body := errorBody(nest("invalid_account_type", "feature"))
	body["user_message"] = map[string]any{"locale": "en", "text": "The team has no data transport calls left this month."}
	return &dropboxError{status: http.StatusForbidden, body: body}
}
