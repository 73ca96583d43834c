package icloud

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/rclone/rclone/lib/encoder"
)

// The types here read Apple's JSON. A field of another kind than expected is as good as missing: it never fails a listing.

// text is a string.
type text string

// UnmarshalJSON takes a string or leaves the text empty.
func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
	}
	return nil
}

// num is a whole number; ok is false where there is none.
type num struct {
	n  int64
	ok bool
}

// UnmarshalJSON takes a number, also one written as a string.
func (v *num) UnmarshalJSON(b []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(b), `"`), 10, 64)
	if err == nil {
		*v = num{n, true}
	}
	return nil
}

// date is a time.
type date struct{ time.Time }

// UnmarshalJSON takes a time as Apple writes it, or leaves the zero time.
func (d *date) UnmarshalJSON(b []byte) error {
	if t, err := time.Parse(time.RFC3339, strings.Trim(string(b), `"`)); err == nil {
		d.Time = t
	}
	return nil
}

// wireItem is a file or folder as drivews tells of it.
type wireItem struct {
	Drivewsid       text            `json:"drivewsid"`
	Docwsid         text            `json:"docwsid"`
	ClientID        text            `json:"clientId"`
	Zone            text            `json:"zone"`
	Name            text            `json:"name"`
	Extension       text            `json:"extension"`
	ParentID        text            `json:"parentId"`
	Etag            text            `json:"etag"`
	Type            text            `json:"type"`
	Status          text            `json:"status"`
	Size            num             `json:"size"`
	DateModified    date            `json:"dateModified"`
	ShareID         json.RawMessage `json:"shareID"`
	IsShared        json.RawMessage `json:"isShared"`
	ShareCount      num             `json:"shareCount"`
	ShareAliasCount num             `json:"shareAliasCount"`
	NumberOfItems   num             `json:"numberOfItems"`
	DirectChildren  num             `json:"directChildrenCount"`
	RestorePath     text            `json:"restorePath"`
	Items           itemList        `json:"items"`
}

// itemList is a list of items; given tells it from none at all.
type itemList struct {
	list  []wireItem
	given bool
}

// UnmarshalJSON reads a list. What isn't an item is an empty one: it counts as missing.
func (l *itemList) UnmarshalJSON(b []byte) error {
	var all []wireItem
	if json.Unmarshal(b, &all) == nil {
		*l = itemList{all, all != nil}
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		return nil
	}
	l.given = true
	for _, r := range raw {
		var w wireItem
		if json.Unmarshal(r, &w) != nil {
			w = wireItem{}
		}
		l.list = append(l.list, w)
	}
	return nil
}

// item is the item in our terms.
func (w *wireItem) item(enc encoder.MultiEncoder) Item {
	name := string(w.Name)
	if w.Extension != "" {
		name += "." + string(w.Extension)
	}
	i := Item{ID: string(w.Drivewsid), Name: enc.ToStandardName(name), ParentID: string(w.ParentID), ETag: string(w.Etag),
		Type: string(w.Type), Size: -1, ModTime: w.DateModified.Time, Children: -1}
	if w.Size.ok && w.Size.n >= 0 {
		i.Size = w.Size.n
	}
	if w.NumberOfItems.ok || w.DirectChildren.ok {
		i.Children = max(w.NumberOfItems.n, w.DirectChildren.n)
	}
	i.Shared = w.shared(i)
	return i
}

// shared tells whether anything marks the item as shared. The counts of a folder also count what lies below it, so they
// say nothing of the folder itself.
func (w *wireItem) shared(i Item) bool {
	if present(w.ShareID) || present(w.IsShared) {
		return true
	}
	for _, id := range []text{w.Drivewsid, w.Docwsid, w.Zone, w.Type} {
		if strings.Contains(string(id), "SHARED") {
			return true
		}
	}
	return !i.Folder() && (w.ShareCount.n > 0 || w.ShareAliasCount.n > 0)
}

// present tells whether a field says anything.
func present(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "false", `""`, "{}", "0":
		return false
	}
	return true
}

// key is what IDs are compared by where one may be spelled in two ways: zone and document, or the bare name of the trash.
func key(id string) string {
	parts := strings.Split(id, "::")
	last := parts[len(parts)-1]
	if last == "TRASH_ROOT" || len(parts) < 3 {
		return last
	}
	return parts[1] + "::" + last
}

// gone tells whether a status of an item says that it isn't there.
func gone(status string) bool {
	s := strings.ToUpper(status)
	for _, part := range []string{"NOT_FOUND", "NOTFOUND", "NO_SUCH", "NOT_EXIST", "MISSING", "INVALID_ID", "ID_INVALID", "UNKNOWN_ID",
		"UNKNOWN_ITEM", "DELETED"} {
		if strings.Contains(s, part) {
			return true
		}
	}
	return false
}

// good tells whether a status of an item is that of success; a listing has none.
func good(status text) bool { return status == "" || strings.EqualFold(string(status), "OK") }
