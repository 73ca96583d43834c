package cloudtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (d *Dropbox) getMetadata(c *dropboxCall) (any, error) {
	var arg struct {
		Path                            string          `json:"path"`
		IncludeMediaInfo                bool            `json:"include_media_info"`
		IncludeDeleted                  bool            `json:"include_deleted"`
		IncludeHasExplicitSharedMembers bool            `json:"include_has_explicit_shared_members"`
		IncludePropertyGroups           json.RawMessage `json:"include_property_groups"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	if arg.Path == "" || arg.Path == "/" {
		return nil, badInput(c.route.path, "request body: path: The root folder is unsupported.")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, missing := d.lookup(arg.Path)
	if missing != nil {
		return nil, failWith(wrapTag("path", missing))
	}
	return n.tagged(), nil
}

func (d *Dropbox) createFolder(c *dropboxCall) (any, error) {
	var arg struct {
		Path       string `json:"path"`
		Autorename bool   `json:"autorename"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p, refused := d.target(arg.Path)
	if refused == nil && p.there != nil {
		if refused = p.conflict(); arg.Autorename {
			p, refused = d.free(p, numbered), nil
		}
	}
	if refused != nil {
		return nil, failWith(wrapTag("path", refused))
	}
	n := &dropboxNode{id: d.newID(), kids: map[string]*dropboxNode{}}
	d.attach(p.names, n)
	return union{"metadata": n.metadata()}, nil
}

// conflict is the WriteError for what stands in the way.
func (p place) conflict() union {
	if p.there.file != nil {
		return nest("conflict", "file")
	}
	return nest("conflict", "folder")
}

// numbered is what autorename adds to a name.
func numbered(i int) string { return fmt.Sprintf(" (%d)", i) }

func (d *Dropbox) deleteItem(c *dropboxCall) (any, error) {
	var arg struct {
		Path      string `json:"path"`
		ParentRev string `json:"parent_rev"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, missing := d.lookup(arg.Path)
	if missing != nil {
		return nil, failWith(wrapTag("path_lookup", missing))
	}
	if arg.ParentRev != "" && (n.file == nil || n.file.rev != arg.ParentRev) {
		return nil, fail("path_write", "conflict", "file")
	}
	was := n.tagged()
	d.detach(n)
	return union{"metadata": was}, nil
}

// relocation is the argument of move_v2 and copy_v2.
type relocation struct {
	FromPath               string `json:"from_path"`
	ToPath                 string `json:"to_path"`
	AllowSharedFolder      bool   `json:"allow_shared_folder"`
	Autorename             bool   `json:"autorename"`
	AllowOwnershipTransfer bool   `json:"allow_ownership_transfer"`
}

// relocate finds both ends of a move or copy.
func (d *Dropbox) relocate(c *dropboxCall) (from *dropboxNode, to place, err error) {
	var arg relocation
	if err := c.decode(&arg); err != nil {
		return nil, to, err
	}
	from, missing := d.lookup(arg.FromPath)
	if missing != nil {
		return nil, to, failWith(wrapTag("from_lookup", missing))
	}
	to, refused := d.target(arg.ToPath)
	if refused == nil && to.there != nil && (to.there != from || to.names[len(to.names)-1] == from.name) {
		if refused = to.conflict(); arg.Autorename {
			to, refused = d.free(to, numbered), nil
		}
	}
	if refused != nil {
		return nil, to, failWith(wrapTag("to", refused))
	}
	if from.kids != nil && strings.HasPrefix(dropboxKey("/"+strings.Join(to.names, "/"))+"/", from.lower()+"/") && to.there != from {
		return nil, to, fail("cant_move_folder_into_itself")
	}
	return from, to, nil
}

func (d *Dropbox) moveItem(c *dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, to, err := d.relocate(c)
	if err != nil {
		return nil, err
	}
	d.detach(n)
	d.attach(to.names, n)
	return union{"metadata": n.tagged()}, nil
}

func (d *Dropbox) copyItem(c *dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, to, err := d.relocate(c)
	if err != nil {
		return nil, err
	}
	if size, _ := from.sizes(); d.used+size > d.space {
		return nil, fail("insufficient_quota")
	}
	n := d.clone(from)
	d.attach(to.names, n)
	return union{"metadata": n.tagged()}, nil
}

// clone copies a node and all below, sharing the content.
func (d *Dropbox) clone(n *dropboxNode) *dropboxNode {
	c := &dropboxNode{id: d.newID(), name: n.name}
	if n.file != nil {
		file := *n.file
		file.rev, file.serverModified = d.newRev(), d.w.now()
		c.file = &file
		return c
	}
	c.kids = map[string]*dropboxNode{}
	for key, kid := range n.kids {
		c.kids[key] = d.clone(kid)
		c.kids[key].parent = c
	}
	return c
}

func (d *Dropbox) download(c *dropboxCall) (any, error) {
	var arg struct {
		Path string `json:"path"`
		Rev  string `json:"rev"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	if arg.Rev != "" {
		arg.Path = "rev:" + arg.Rev
	}
	d.mu.Lock()
	n, refused := d.fileAt(arg.Path)
	if refused != nil {
		d.mu.Unlock()
		return nil, failWith(wrapTag("path", refused))
	}
	blob, head := n.file.blob, http.Header{
		"Dropbox-Api-Result": {headerJSON(n.metadata())}, "Content-Type": {"application/octet-stream"},
		"Etag": {`W/"` + n.file.rev + `"`}, "Original-Content-Length": {fmt.Sprint(n.file.blob.size)},
	}
	d.mu.Unlock()
	return sendBlob(c.rw, c.r, blob, head)
}

// fileAt finds a file.
func (d *Dropbox) fileAt(path string) (*dropboxNode, union) {
	n, missing := d.lookup(path)
	if missing == nil && n.file == nil {
		missing = tag("not_file")
	}
	return n, missing
}

// sendBlob sends content, whole or in part.
func sendBlob(rw http.ResponseWriter, r *http.Request, blob *dropboxBlob, head http.Header) (any, error) {
	if blob.forgot {
		return nil, &dropboxError{status: http.StatusInternalServerError, body: "this content was forgotten (Dropbox.SetForget)"}
	}
	for k, v := range head {
		rw.Header()[k] = v
	}
	http.ServeContent(rw, r, "", time.Time{}, io.NewSectionReader(blob, 0, blob.size))
	return sent{}, nil
}

func (d *Dropbox) temporaryLink(c *dropboxCall) (any, error) {
	var arg struct {
		Path string `json:"path"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, refused := d.fileAt(arg.Path)
	if refused != nil {
		return nil, failWith(wrapTag("path", refused))
	}
	d.serial++
	token := fmt.Sprintf("/apitl/1/%016x", d.serial*0x9e3779b97f4a7c15)
	d.links[token] = n.id
	return union{"metadata": n.metadata(), "link": "https://" + dropboxLinks + token}, nil
}

// serveLink sends what a temporary link leads to.
func (d *Dropbox) serveLink(rw http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	n := d.ids[d.links[r.URL.Path]]
	var blob *dropboxBlob
	if n != nil && n.file != nil {
		blob = n.file.blob
	}
	d.mu.Unlock()
	if blob == nil {
		answer(rw, http.StatusGone, nil, "")
		return
	}
	if _, err := sendBlob(rw, r, blob, nil); err != nil {
		sendError(rw, err)
	}
}

// shared is a public link as the sharing routes show it.
func (d *Dropbox) shared(n *dropboxNode) union {
	m := n.tagged()
	delete(m, "path_display")
	delete(m, "content_hash")
	delete(m, "is_downloadable")
	m["url"] = d.links[n.id]
	m["link_permissions"] = union{"can_revoke": true, "visibility_policies": []any{}, "resolved_visibility": tag("public"), "allow_download": true}
	return m
}

func (d *Dropbox) createLink(c *dropboxCall) (any, error) {
	var arg struct {
		Path     string          `json:"path"`
		Settings json.RawMessage `json:"settings"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n, missing := d.lookup(arg.Path)
	if missing != nil {
		return nil, failWith(wrapTag("path", missing))
	}
	if d.links[n.id] != "" {
		return nil, failWith(union{".tag": "shared_link_already_exists", "shared_link_already_exists": union{".tag": "metadata", "metadata": d.shared(n)}})
	}
	d.links[n.id] = "https://www.dropbox.com/scl/fi/" + n.id[3:] + "?dl=0"
	return d.shared(n), nil
}

func (d *Dropbox) listLinks(c *dropboxCall) (any, error) {
	var arg struct {
		Path       string `json:"path"`
		Cursor     string `json:"cursor"`
		DirectOnly bool   `json:"direct_only"`
	}
	if err := c.decode(&arg); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	found := []union{}
	for id, n := range d.ids {
		if d.links[id] != "" && (arg.Path == "" || n.lower() == dropboxKey(arg.Path)) {
			found = append(found, d.shared(n))
		}
	}
	slices.SortFunc(found, func(a, b union) int { return strings.Compare(fmt.Sprint(a["url"]), fmt.Sprint(b["url"])) })
	return union{"links": found, "has_more": false}, nil
}

func (d *Dropbox) spaceUsage(*dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return union{"used": d.used, "allocation": union{".tag": "individual", "allocated": d.space}}, nil
}

func (d *Dropbox) currentAccount(*dropboxCall) (any, error) {
	return union{
		"account_id": dropboxAccount, "email": "anna@example.com", "email_verified": true, "disabled": false, "locale": "en",
		"name":          union{"given_name": "Anna", "surname": "Example", "familiar_name": "Anna", "display_name": "Anna Example", "abbreviated_name": "AE"},
		"referral_link": "https://www.dropbox.com/referrals/played", "is_paired": false, "country": "DE", "account_type": tag("pro"),
		"root_info": union{".tag": "user", "root_namespace_id": dropboxNamespace, "home_namespace_id": dropboxNamespace},
	}, nil
}
