package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// dropboxCursor is what a cursor holds; the client sees it as an opaque string.
type dropboxCursor struct {
	Folder    string `json:"f"` // id, "" for the root
	Recursive bool   `json:"r"`
	After     string `json:"a"` // the last path told, while the listing goes on
	Whole     bool   `json:"w"` // the listing was told to its end: only changes follow
	Seen      int    `json:"s"` // how much of the journal it knows
	Limit     int    `json:"l"`
}

func (cursor dropboxCursor) String() string {
	return "AAE" + base64.RawURLEncoding.EncodeToString(asJSON(cursor))
}

func parseCursor(s string) (c dropboxCursor, ok bool) {
	raw, found := strings.CutPrefix(s, "AAE")
	b, err := base64.RawURLEncoding.DecodeString(raw)
	return c, found && err == nil && json.Unmarshal(b, &c) == nil
}

// listArg is the argument of list_folder.
type listArg struct {
	Path                            string          `json:"path"`
	Recursive                       bool            `json:"recursive"`
	IncludeMediaInfo                bool            `json:"include_media_info"`
	IncludeDeleted                  bool            `json:"include_deleted"`
	IncludeHasExplicitSharedMembers bool            `json:"include_has_explicit_shared_members"`
	IncludeMountedFolders           bool            `json:"include_mounted_folders"`
	Limit                           int             `json:"limit"`
	SharedLink                      json.RawMessage `json:"shared_link"`
	IncludePropertyGroups           json.RawMessage `json:"include_property_groups"`
	IncludeNonDownloadableFiles     bool            `json:"include_non_downloadable_files"`
	IncludeRestorableInfo           bool            `json:"include_restorable_info"`
}

// begin checks the argument of a listing and makes its first cursor.
func (d *Dropbox) begin(c *dropboxCall) (dropboxCursor, error) {
	var arg listArg
	if err := c.decode(&arg); err != nil {
		return dropboxCursor{}, err
	}
	if arg.Path == "/" {
		return dropboxCursor{}, badInput(c.route.path, `request body: path: Specify the root folder as an empty string rather than as "/".`)
	}
	if arg.Limit < 0 || arg.Limit > 2000 {
		return dropboxCursor{}, badInput(c.route.path, "request body: limit: %d is out of range", arg.Limit)
	}
	cursor := dropboxCursor{Recursive: arg.Recursive, Limit: arg.Limit, Seen: d.forgot + len(d.journal)}
	if arg.Path == "" {
		return cursor, nil
	}
	n, missing := d.lookup(arg.Path)
	if missing == nil && n.file != nil {
		missing = tag("not_folder")
	}
	if missing != nil {
		return dropboxCursor{}, failWith(wrapTag("path", missing))
	}
	cursor.Folder = n.id
	return cursor, nil
}

func (d *Dropbox) listFolder(c *dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cursor, err := d.begin(c)
	if err != nil {
		return nil, err
	}
	return d.goOn(cursor)
}

func (d *Dropbox) latestCursor(c *dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cursor, err := d.begin(c)
	if err != nil {
		return nil, err
	}
	cursor.Whole = true
	return union{"cursor": cursor.String()}, nil
}

func (d *Dropbox) listContinue(c *dropboxCall) (any, error) {
	var arg struct {
		Cursor string `json:"cursor"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	cursor, ok := parseCursor(arg.Cursor)
	if !ok {
		return nil, badInput(c.route.path, `request body: cursor: Invalid "cursor" parameter: %q`, arg.Cursor)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.goOn(cursor)
}

// goOn tells the next page of a listing, or what has changed since its end.
func (d *Dropbox) goOn(cursor dropboxCursor) (any, error) {
	folder := d.root
	if cursor.Folder != "" {
		if folder = d.ids[cursor.Folder]; folder == nil {
			return nil, fail("path", "not_found")
		}
	}
	if cursor.Seen < d.forgot {
		return nil, fail("reset")
	}
	limit := d.page
	if cursor.Limit > 0 {
		limit = min(limit, cursor.Limit)
	}
	if cursor.Whole {
		return d.changes(cursor, folder, limit), nil
	}
	var all []*dropboxNode
	if cursor.Recursive {
		folder.walk(func(n *dropboxNode) {
			if n != d.root {
				all = append(all, n)
			}
		})
	} else {
		all = folder.sorted()
	}
	paths := make(map[*dropboxNode]string, len(all))
	for _, n := range all {
		paths[n] = n.lower()
	}
	slices.SortFunc(all, func(a, b *dropboxNode) int { return strings.Compare(paths[a], paths[b]) })
	all = slices.DeleteFunc(all, func(n *dropboxNode) bool { return cursor.After != "" && paths[n] <= cursor.After })
	more := len(all) > limit
	if more {
		all = all[:limit]
	}
	entries := make([]union, len(all))
	for i, n := range all {
		entries[i], cursor.After = n.tagged(), paths[n]
	}
	cursor.Whole = !more
	return union{"entries": entries, "cursor": cursor.String(), "has_more": more}, nil
}

// inside tells whether a cursor of this folder is told about a path.
func (cursor dropboxCursor) inside(folder *dropboxNode, display string) bool {
	rest, ok := strings.CutPrefix(dropboxKey(display), folder.lower()+"/")
	return ok && (cursor.Recursive || !strings.Contains(rest, "/"))
}

// changes tells what changed since a cursor, each path as it is now.
func (d *Dropbox) changes(cursor dropboxCursor, folder *dropboxNode, limit int) any {
	entries, told := []union{}, map[string]bool{}
	for cursor.Seen < d.forgot+len(d.journal) && len(entries) < limit {
		at := d.journal[cursor.Seen-d.forgot].display
		cursor.Seen++
		if key := dropboxKey(at); told[key] || !cursor.inside(folder, at) {
			continue
		}
		told[dropboxKey(at)] = true
		if n := d.find(strings.Split(at[1:], "/")); n != nil {
			entries = append(entries, n.tagged())
			continue
		}
		entries = append(entries, union{".tag": "deleted", "name": at[strings.LastIndexByte(at, '/')+1:], "path_lower": dropboxKey(at), "path_display": at})
	}
	return union{"entries": entries, "cursor": cursor.String(), "has_more": cursor.Seen < d.forgot+len(d.journal)}
}

// longpoll answers once something changed below the cursor's folder, or at the end of its time.
func (d *Dropbox) longpoll(c *dropboxCall) (any, error) {
	arg := struct {
		Cursor  string `json:"cursor"`
		Timeout int    `json:"timeout"`
	}{Timeout: 30}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	cursor, ok := parseCursor(arg.Cursor)
	if !ok || arg.Timeout < 30 || arg.Timeout > 480 {
		return nil, badInput(c.route.path, "request body: bad cursor, or timeout %d out of range", arg.Timeout)
	}
	end := time.NewTimer(time.Duration(arg.Timeout) * time.Second)
	defer end.Stop()
	for {
		d.mu.Lock()
		changed, news, reset := d.changed, d.news(cursor), cursor.Seen < d.forgot
		d.mu.Unlock()
		if reset {
			return nil, fail("reset")
		}
		if news {
			return union{"changes": true}, nil
		}
		select {
		case <-changed:
		case <-end.C:
			return union{"changes": false}, nil
		case <-c.r.Context().Done():
			return union{"changes": false}, nil
		case <-d.w.done:
			return union{"changes": false}, nil
		}
	}
}

// news tells whether there is a change that a cursor doesn't know.
func (d *Dropbox) news(cursor dropboxCursor) bool {
	folder := d.root
	if cursor.Folder != "" {
		folder = d.ids[cursor.Folder]
	}
	if folder == nil || cursor.Seen < d.forgot {
		return true
	}
	return slices.ContainsFunc(d.journal[cursor.Seen-d.forgot:], func(c dropboxChange) bool { return cursor.inside(folder, c.display) })
}
