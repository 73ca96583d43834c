package cloudtest

// Dropbox, as it is played here: the files, users, sharing and auth routes of version 2 that rclone's backend and the
// SDK call, on api, content and notify.dropboxapi.com, and the OAuth pages on www.dropbox.com.
//
// What is known from the facts, the SDK's types and rclone's own test configuration is played strictly: errors of an
// endpoint are 409 with a tagged union, errors in the form of a request are 400 with plain text, unknown fields of an
// argument are refused, times have whole seconds, a content_hash that a client sends must fit, an upload session is
// finished once, an entry of a batch whose session isn't closed fails, content_hash is computed from what is stored.
// Uploading identical content over a file changes nothing, not even its times.
//
// Choices where nobody could look at the real service:
//   - Names are kept as they were sent and compared without regard to case and to the form of their accents. rclone's
//     test configuration says that Dropbox turns names into NFC: SetNFC plays that.
//   - Refused are a backslash, DEL, NUL and a space at the end of a name (malformed_path), as rclone's encoding of
//     names implies, names over 255 runes (malformed_path) and the ignored files of the desktop client
//     (disallowed_name). Other control characters and a dot at the end are taken, for rclone sends them unencoded.
//   - Two slashes at the beginning are one in look-ups, for so rclone lists the folders of the root; not in writes.
//   - An append that is cut off adds nothing to its session.
//   - Of two commits at the same time the later one is refused; SetOverlap says how.
//   - Raw UTF-8 in Dropbox-API-Arg is refused, since Dropbox asks for escaped JSON; SetRawHeaders allows it.
//
// Not played: teams, shared folders, Paper and exports, concurrent upload sessions, properties, thumbnails, revisions,
// include_deleted, batches other than finish_batch_v2, and eventual consistency.
//
// rclone's own suite (fstest/fstests) runs against it. Skipped by name is one test, FsChangeNotify: it reads maps that
// rclone's goroutine writes, which the race detector reports (without the detector it passes). The suite skips by itself
// what rclone's backend doesn't offer and, from outside of rclone's package, its tests of chunk sizes
// (SetUploadChunkSizer is declared in a test file of backend/dropbox) and of Paper exports (InternalTest, likewise). Our
// own tests poll for changes and upload in several chunks.

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Overlap is what becomes of a commit that comes while another one is in flight.
type Overlap int

const (
	// OverlapEntries lets each entry of the later batch fail with too_many_write_operations; calls that commit one file
	// are refused with 429.
	OverlapEntries Overlap = iota
	// OverlapCall refuses the later call with 429 too_many_write_operations.
	OverlapCall
	// OverlapWrites refuses any write while another one is in flight.
	OverlapWrites
	// OverlapFree lets commits overlap.
	OverlapFree
)

// HashMode says which content hash the service tells where stored bits are flipped.
type HashMode int

const (
	// HashStored tells the hash of what is stored, always.
	HashStored HashMode = iota
	// HashSentAtCommit tells the hash of what was sent in the answer to the commit, and the true one afterwards.
	HashSentAtCommit
	// HashSentAlways tells the hash of what was sent for ever: only reading back shows the truth.
	HashSentAlways
)

// Dropbox is one Dropbox account and the hosts that serve it.
type Dropbox struct {
	w      *World
	table  map[string]*endpoint // by name
	routes map[string]*endpoint // by host and path

	mu       sync.Mutex // guards all below
	root     *dropboxNode
	ids      map[string]*dropboxNode
	links    map[string]string // shared links by id of the item, and temporary ones by token
	sessions map[string]*dropboxSession
	journal  []dropboxChange
	forgot   int           // changes dropped from the front of the journal
	changed  chan struct{} // closed at the next change
	serial   uint64
	used     int64
	files    int

	max        int
	retryAfter int
	space      int64
	spaceEarly bool
	page       int
	overlap    Overlap
	hashes     HashMode
	forget     bool
	nfc        bool
	rawHeaders bool
	auth       dropboxAuth
	count      dropboxCounts
	team       teamLimit
}

// dropboxCounts is what tests and the demo ask about.
type dropboxCounts struct {
	commits, committing, maxCommitting int
	writing                            int
	entries                            int
	overlapped                         int
	started, finished                  int
}

// newDropbox makes an empty account of 2 TiB.
func newDropbox(w *World) *Dropbox {
	d := &Dropbox{
		w: w, ids: map[string]*dropboxNode{}, links: map[string]string{}, sessions: map[string]*dropboxSession{},
		changed: make(chan struct{}), retryAfter: 1, space: 2 << 40, page: 2000,
	}
	d.root = &dropboxNode{kids: map[string]*dropboxNode{}}
	d.auth.init()
	d.table, d.routes = map[string]*endpoint{}, map[string]*endpoint{}
	for _, route := range d.calls() {
		ep := d.endpoint(route)
		d.table[ep.name] = ep
		d.routes[route.host+"/2/"+route.path] = ep
	}
	for _, page := range []struct {
		name, at string
		serve    http.HandlerFunc
	}{
		{"dropbox:oauth2_authorize", "www.dropbox.com/oauth2/authorize", d.authorize},
		{"dropbox:oauth2_token", "api.dropboxapi.com/oauth2/token", d.token},
	} {
		ep := &endpoint{name: page.name, serve: page.serve, free: true, delay: Latency.meta}
		d.table[ep.name], d.routes[page.at] = ep, ep
	}
	link := &endpoint{name: "dropbox:temporary_link", serve: d.serveLink, content: true, delay: Latency.firstByte, path: "/apitl/1/..."}
	d.table[link.name] = link
	return d
}

func (l Latency) meta() time.Duration      { return l.Meta }
func (l Latency) list() time.Duration      { return l.List }
func (l Latency) remove() time.Duration    { return l.Delete }
func (l Latency) upload() time.Duration    { return l.Upload }
func (l Latency) firstByte() time.Duration { return l.FirstByte }

const (
	dropboxAPI     = "api.dropboxapi.com"
	dropboxContent = "content.dropboxapi.com"
	dropboxNotify  = "notify.dropboxapi.com"
	dropboxLinks   = "uc1.dl.dropboxusercontent.com"
	dropboxWWW     = "www.dropbox.com"
)

// dropboxRoute is one route of the API.
type dropboxRoute struct {
	name, host, path string
	delay            func(Latency) time.Duration
	write            bool // it changes the tree
	commit           bool // it ends uploads: only one at a time
	upload           bool // its content is in the request
	run              func(*dropboxCall) (any, error)
}

// calls lists all routes. Commits wait for themselves: their latency is part of the time in which they may overlap.
func (d *Dropbox) calls() []dropboxRoute {
	return []dropboxRoute{
		{name: "get_metadata", host: dropboxAPI, path: "files/get_metadata", delay: Latency.meta, run: d.getMetadata},
		{name: "list_folder", host: dropboxAPI, path: "files/list_folder", delay: Latency.list, run: d.listFolder},
		{name: "list_folder_continue", host: dropboxAPI, path: "files/list_folder/continue", delay: Latency.list, run: d.listContinue},
		{name: "list_folder_get_latest_cursor", host: dropboxAPI, path: "files/list_folder/get_latest_cursor", delay: Latency.meta, run: d.latestCursor},
		{name: "list_folder_longpoll", host: dropboxNotify, path: "files/list_folder/longpoll", run: d.longpoll},
		{name: "create_folder_v2", host: dropboxAPI, path: "files/create_folder_v2", delay: Latency.remove, write: true, run: d.createFolder},
		{name: "delete_v2", host: dropboxAPI, path: "files/delete_v2", delay: Latency.remove, write: true, run: d.deleteItem},
		{name: "move_v2", host: dropboxAPI, path: "files/move_v2", delay: Latency.remove, write: true, run: d.moveItem},
		{name: "copy_v2", host: dropboxAPI, path: "files/copy_v2", delay: Latency.remove, write: true, run: d.copyItem},
		{name: "upload_session_start", host: dropboxContent, path: "files/upload_session/start", delay: Latency.upload, upload: true, run: d.sessionStart},
		{name: "append_v2", host: dropboxContent, path: "files/upload_session/append_v2", delay: Latency.upload, upload: true, run: d.sessionAppend},
		{name: "finish", host: dropboxContent, path: "files/upload_session/finish", write: true, commit: true, upload: true, run: d.sessionFinish},
		{name: "finish_batch_v2", host: dropboxAPI, path: "files/upload_session/finish_batch_v2", write: true, commit: true, run: d.finishBatch},
		{name: "upload", host: dropboxContent, path: "files/upload", delay: Latency.upload, write: true, commit: true, upload: true, run: d.uploadFile},
		{name: "download", host: dropboxContent, path: "files/download", delay: Latency.firstByte, run: d.download},
		{name: "get_temporary_link", host: dropboxAPI, path: "files/get_temporary_link", delay: Latency.meta, run: d.temporaryLink},
		{name: "get_space_usage", host: dropboxAPI, path: "users/get_space_usage", delay: Latency.meta, run: d.spaceUsage},
		{name: "get_current_account", host: dropboxAPI, path: "users/get_current_account", delay: Latency.meta, run: d.currentAccount},
		{name: "token_revoke", host: dropboxAPI, path: "auth/token/revoke", delay: Latency.meta, run: d.revoke},
		{name: "create_shared_link_with_settings", host: dropboxAPI, path: "sharing/create_shared_link_with_settings", delay: Latency.meta, run: d.createLink},
		{name: "list_shared_links", host: dropboxAPI, path: "sharing/list_shared_links", delay: Latency.meta, run: d.listLinks},
	}
}

// endpoint makes the world's endpoint of a route.
func (d *Dropbox) endpoint(route dropboxRoute) *endpoint {
	return &endpoint{
		name: "dropbox:" + route.name, delay: route.delay, upload: route.upload,
		content: route.upload || route.name == "download", free: route.host == dropboxNotify,
		serve: func(rw http.ResponseWriter, r *http.Request) { d.serve(rw, r, route) },
	}
}

func (d *Dropbox) name() string { return "dropbox" }

func (d *Dropbox) plays(host string) bool {
	switch host {
	case dropboxAPI, dropboxContent, dropboxNotify, dropboxLinks, dropboxWWW:
		return true
	}
	return false
}

func (d *Dropbox) endpoints() (all []*endpoint) {
	for _, ep := range d.table {
		all = append(all, ep)
	}
	return all
}

func (d *Dropbox) route(r *http.Request) *endpoint {
	host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
	if host == dropboxLinks {
		return d.table["dropbox:temporary_link"]
	}
	return d.routes[host+r.URL.Path]
}

func (d *Dropbox) limit() (n, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.max, http.StatusTooManyRequests
}

// refusal is what Dropbox says with a status: tagged unions with 401, 409 and 429, plain text or HTML otherwise.
func (d *Dropbox) refusal(ep *endpoint, status int) (http.Header, string) {
	d.mu.Lock()
	seconds := d.retryAfter
	d.mu.Unlock()
	plain := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	switch status {
	case http.StatusUnauthorized:
		return nil, string(asJSON(errorBody(tag("expired_access_token"))))
	case http.StatusConflict:
		return nil, string(asJSON(errorBody(tag("other"))))
	case http.StatusTooManyRequests:
		return http.Header{"Retry-After": {strconv.Itoa(seconds)}}, string(asJSON(tooMany("too_many_requests", seconds)))
	case http.StatusBadRequest:
		return plain, `Error in call to API function "` + strings.TrimPrefix(ep.name, "dropbox:") + `": request body: could not decode input as JSON`
	case http.StatusNotFound:
		return plain, "Unknown API function"
	}
	if status >= 500 {
		return plain, "upstream error, see status.dropbox.com"
	}
	return nil, "{}"
}

// Conf is the body of the section in rclone.conf: a token that doesn't expire.
func (d *Dropbox) Conf() string { return "type = dropbox\ntoken = " + d.TokenJSON() + "\n" }
