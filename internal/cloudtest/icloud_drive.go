package cloudtest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// stamp is a time as drivews writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// doc is a node as drivews shows it. The tree must be locked.
func (t *tree) doc(n *node) map[string]any {
	name, ext := splitName(n)
	m := map[string]any{
		"drivewsid": n.id(), "docwsid": n.doc, "zone": n.zone, "name": t.spell(name), "etag": n.etag(), "type": n.kind,
		"dateCreated": stamp(n.created), "item_id": n.item,
	}
	if n.parent != nil {
		m["parentId"] = n.parent.id()
	}
	if n.parent == t.trash {
		m["parentId"] = "TRASH_ROOT"
	}
	if !n.deleted.IsZero() {
		m["dateExpiration"] = stamp(n.deleted.Add(30 * 24 * time.Hour))
		m["restorePath"] = t.spell(n.restore)
		m["isChainedToParent"] = true
	}
	if n.shared != sharedNot {
		m["share"] = "TO_ME"
		m["shareID"] = map[string]any{"shareName": n.doc, "recordName": n.doc,
			"zoneID": map[string]any{"zoneName": n.zone, "ownerRecordName": "_0123456789abcdef0123456789abcdef"}}
		m["owner"] = map[string]any{"firstName": "Bert", "lastName": "Example"}
	}
	if n.folder() {
		bytes, files := n.sizes()
		m["assetQuota"], m["fileCount"], m["directChildrenCount"] = bytes, files, len(n.children)
		m["shareCount"], m["shareAliasCount"] = 0, 0
		if n.kind != typeFolder {
			m["maxDepth"], m["supportedExtensions"], m["supportedTypes"] = "ANY", []string{}, []string{}
		}
		return m
	}
	if ext != "" {
		m["extension"] = t.spell(ext)
	}
	m["dateModified"], m["dateChanged"], m["lastOpenTime"] = stamp(n.mtime), stamp(n.changed), stamp(n.mtime)
	if !n.unsized {
		m["size"] = n.size()
	}
	return m
}

// ids is what a list of items is asked for by.
type ids struct {
	ID       string `json:"drivewsid"`
	ETag     string `json:"etag"`
	ClientID string `json:"clientId"`
	Name     string `json:"name"`
}

// listFolders lists any number of folders, the trash among them.
func (c *ICloud) listFolders(a *Account, _ *http.Request, body []byte) (any, *refused) {
	var in []ids
	if no := decode(body, &in); no != nil {
		return nil, no
	}
	out := []any{}
	var bad *refused
	a.locked(func(t *tree) {
		for _, one := range in {
			n := t.find(one.ID)
			if n != nil && n.shared == sharedBelow { // it lies in its owner's zone, which drivews can't look into
				bad = refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
				return
			}
			if n == nil || !n.folder() || n != t.trash && !t.alive(n) {
				out = append(out, map[string]any{"drivewsid": one.ID, "status": "ID_INVALID"})
				continue
			}
			items := []any{}
			for _, child := range n.sorted() {
				items = append(items, t.doc(child))
			}
			if n == t.trash {
				out = append(out, map[string]any{"items": items, "numberOfItems": len(items), "drivewsid": "TRASH_ROOT"})
				continue
			}
			m := t.doc(n)
			m["items"], m["numberOfItems"], m["status"] = items, len(items), "OK"
			out = append(out, m)
		}
	})
	return out, bad
}

// shortFolders leaves out folders where several were asked for, and items where one was.
func shortFolders(body []byte) []byte {
	var folders []map[string]any
	if json.Unmarshal(body, &folders) != nil || len(folders) == 0 {
		return body
	}
	if len(folders) > 1 {
		folders = folders[:len(folders)/2]
	} else if items, ok := folders[0]["items"].([]any); ok {
		folders[0]["items"] = items[:len(items)/2]
	}
	out, err := json.Marshal(folders)
	if err != nil {
		return body
	}
	return out
}

// itemDetails shows items one by one. Asked with an object it answers with one, asked with a list (as rclone does) with
// a list.
func (c *ICloud) itemDetails(a *Account, _ *http.Request, body []byte) (any, *refused) {
	type query struct {
		Items []ids `json:"items"`
	}
	var one query
	var several []query
	asList := json.Unmarshal(body, &several) == nil
	if asList {
		for _, q := range several {
			one.Items = append(one.Items, q.Items...)
		}
	} else if no := decode(body, &one); no != nil {
		return nil, no
	}
	out := []any{}
	a.locked(func(t *tree) {
		for _, q := range one.Items {
			n := t.find(q.ID)
			if n == nil || n == t.trash {
				out = append(out, map[string]any{"drivewsid": q.ID, "status": "ID_INVALID"})
				continue
			}
			m := t.doc(n)
			m["status"] = "OK"
			out = append(out, m)
		}
	})
	if asList {
		return out, nil
	}
	return map[string]any{"items": out}, nil
}

// writeIn is the body of a call that changes items.
type writeIn struct {
	Items       []ids  `json:"items"`
	Destination string `json:"destinationDrivewsId"`
	Folders     []struct {
		ClientID string `json:"clientId"`
		Name     string `json:"name"`
	} `json:"folders"`
}

// write runs a change of the tree: it holds the zones of all items while the call takes its time, and is refused as
// busy where another change holds one of them.
func (c *ICloud) write(a *Account, body []byte, change func(t *tree, in writeIn) (any, *refused)) (v any, no *refused) {
	var in writeIn
	if no := decode(body, &in); no != nil {
		return nil, no
	}
	if len(in.Items) == 0 && len(in.Folders) == 0 {
		return nil, refuse(http.StatusBadRequest, `{"errorReason":"No items","errorCode":400}`)
	}
	var zones []string
	a.locked(func(t *tree) {
		for _, id := range append(slices.Clone(in.Items), ids{ID: in.Destination}) {
			if n := t.find(id.ID); n != nil {
				zones = append(zones, n.zone)
				if n.shared == sharedBelow {
					no = refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
				}
			}
		}
	})
	if no != nil {
		return nil, no
	}
	slices.Sort(zones)
	unlock, ok := a.tree.lockZones(slices.Compact(zones))
	if !ok {
		return nil, refuse(http.StatusConflict, "%s", zoneBusy)
	}
	defer unlock()
	c.hold(c.w.opt.Latency.Delete)
	a.locked(func(t *tree) { v, no = change(t, in) })
	return v, no
}

// each runs a change for every item that is there and has the etag that was sent.
func each(t *tree, in writeIn, there func(*node) bool, change func(n *node, want ids) map[string]any) (any, *refused) {
	out := []any{}
	for _, want := range in.Items {
		n := t.find(want.ID)
		if n == nil || n == t.root || n == t.trash || !there(n) {
			out = append(out, map[string]any{"drivewsid": want.ID, "clientId": want.ClientID, "status": "ID_INVALID"})
			continue
		}
		m := map[string]any(nil)
		status := "OK"
		if want.ETag != n.etag() {
			m, status = t.doc(n), "ETAG_CONFLICT"
		} else {
			m = change(n, want)
		}
		if m["status"] == nil {
			m["status"] = status
		}
		if want.ClientID != "" {
			m["clientId"] = want.ClientID
		}
		out = append(out, m)
	}
	return map[string]any{"items": out}, nil
}

// trashItems moves items to the trash, each on the condition of its etag.
func (c *ICloud) trashItems(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		there := func(n *node) bool { return t.alive(n) || n.parent == t.trash }
		return each(t, in, there, func(n *node, _ ids) map[string]any {
			if n.parent != t.trash {
				t.discard(n)
				t.trashed = append(t.trashed, n.id())
			} else {
				t.again = append(t.again, n.id())
			}
			return t.doc(n)
		})
	})
}

// deleteItems removes items for good, from the trash or from the drive itself.
func (c *ICloud) deleteItems(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		there := func(n *node) bool { return t.alive(n) || n.parent == t.trash }
		return each(t, in, there, func(n *node, _ ids) map[string]any {
			m := t.doc(n)
			m["isDeleted"], m["etag"] = true, "null"
			t.forget(n)
			return m
		})
	})
}

// putBack returns items of the trash to their folders, or to the root where those are gone.
func (c *ICloud) putBack(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		there := func(n *node) bool { return n.parent == t.trash }
		return each(t, in, there, func(n *node, _ ids) map[string]any {
			home := n.from
			if !t.alive(home) {
				home = t.root
			}
			t.unhang(n)
			n.deleted, n.restore, n.from, n.changed = time.Time{}, "", nil, t.now()
			t.put(home, n)
			t.touch(n, false)
			return t.doc(n)
		})
	})
}

// createFolders makes folders in one that lives.
func (c *ICloud) createFolders(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		parent := t.find(in.Destination)
		if parent == nil || !parent.folder() || !t.alive(parent) {
			return nil, refuse(http.StatusNotFound, `{"errorReason":"Not Found","errorCode":404}`)
		}
		out := []any{}
		for _, f := range in.Folders {
			if f.Name == "" {
				return nil, refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
			}
			n := t.plant(&node{zone: parent.zone, kind: typeFolder, name: f.Name})
			t.put(parent, n)
			m := t.doc(n)
			m["status"], m["clientId"] = "OK", f.ClientID
			out = append(out, m)
		}
		return map[string]any{"destinationDrivewsId": in.Destination, "folders": out}, nil
	})
}

// renameItems gives items new names, the extension included.
func (c *ICloud) renameItems(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		return each(t, in, t.alive, func(n *node, want ids) map[string]any {
			if want.Name == "" {
				return map[string]any{"drivewsid": want.ID, "status": "INVALID_NAME"}
			}
			parent := n.parent
			t.unhang(n)
			n.name, n.changed = want.Name, t.now()
			t.put(parent, n)
			t.touch(n, false)
			return t.doc(n)
		})
	})
}

// moveItems moves items into another folder. A folder can't go below itself.
func (c *ICloud) moveItems(a *Account, _ *http.Request, body []byte) (any, *refused) {
	return c.write(a, body, func(t *tree, in writeIn) (any, *refused) {
		dest := t.find(in.Destination)
		if dest == nil || !dest.folder() || !t.alive(dest) {
			return nil, refuse(http.StatusNotFound, `{"errorReason":"Not Found","errorCode":404}`)
		}
		return each(t, in, t.alive, func(n *node, want ids) map[string]any {
			for up := dest; up != nil; up = up.parent {
				if up == n {
					return map[string]any{"drivewsid": want.ID, "status": "INVALID_DESTINATION"}
				}
			}
			t.unhang(n)
			n.changed = t.now()
			t.put(dest, n)
			t.touch(n, false)
			return t.doc(n)
		})
	})
}
