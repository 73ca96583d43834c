package cloudtest

import (
	"fmt"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"io"
)

// grant is a signed URL of the content host: a reading of one version, or a place to send one to.
type grant struct {
	blob    *blob
	name    string
	until   time.Time
	account *Account
	doc     string // of an upload
	size    int64  // of an upload, as announced
}

// receipt is proof of an upload that isn't yet a document.
type receipt struct {
	blob *blob
	doc  string
}

// zoneOf is the zone in a docws path.
func zoneOf(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 2 {
		return parts[2]
	}
	return ""
}

func notFound() *refused {
	return refuse(http.StatusNotFound, `{"reason":"Unknown item","errorReason":"Unknown item","errorCode":404}`)
}

// downloadByID hands out a signed URL for a document's content.
func (c *ICloud) downloadByID(a *Account, r *http.Request, _ []byte) (v any, no *refused) {
	var n *node
	var b *blob
	var name, etag, item string
	a.locked(func(t *tree) {
		n = t.byKey[zoneOf(r)+"::"+r.URL.Query().Get("document_id")]
		switch {
		case n == nil || n.folder() || !t.alive(n):
			no = notFound()
		case n.shared == sharedBelow:
			no = refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
		case n.blob.length == 0: // there is no content to sign a URL for
			no = refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
		default:
			b, name, etag, item = n.blob, t.spell(n.name), n.etag(), n.item
		}
	})
	if no != nil {
		return nil, no
	}
	until := c.w.now().Add(c.life())
	key := c.grant(&grant{blob: b, name: name, until: until, account: a})
	sig := b.signature()
	link := fmt.Sprintf("https://%s/B/%s/%s?o=%s&v=1&x=3&a=%s&e=%d&fl=&ckc=com.apple.clouddocs&ckz=%s&p=123", blobHost,
		url.PathEscape(sig), url.PathEscape(name), key, random(24), until.Unix(), url.QueryEscape(zoneOf(r)))
	token := map[string]any{"url": link, "token": key, "signature": sig, "wrapping_key": random(16) + "==",
		"reference_signature": random(20)}
	out := map[string]any{"document_id": r.URL.Query().Get("document_id"), "item_id": item, "owner_dsid": json64(a.dsid), "double_etag": etag}
	if b.files != nil {
		out["package_token"] = token
	} else {
		out["data_token"] = token
	}
	return out, nil
}

func json64(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

func (c *ICloud) life() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urlLife
}

// grant keeps a signed URL and returns its key. Those that ran out long ago are forgotten now and then.
func (c *ICloud) grant(g *grant) string {
	key := random(24)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.grants)%4096 == 4095 {
		for k, old := range c.grants {
			if c.w.now().After(old.until.Add(time.Hour)) {
				delete(c.grants, k)
			}
		}
	}
	c.grants[key] = g
	return key
}

// lookupByPath finds an item by its path below the root, in either of two forms.
func (c *ICloud) lookupByPath(a *Account, r *http.Request, body []byte) (v any, no *refused) {
	var p string
	if no := decode(body, &p); no != nil {
		return nil, no
	}
	a.locked(func(t *tree) {
		n := t.at(p)
		switch {
		case n == nil:
			no = notFound()
		case r.URL.Query().Get("unified_format") == "true":
			v = []any{t.doc(n)}
		default:
			v = []any{t.document(n)}
		}
	})
	return v, no
}

// lookupByID finds a document by its item_id or document_id.
func (c *ICloud) lookupByID(a *Account, r *http.Request, _ []byte) (v any, no *refused) {
	id := r.URL.Query().Get("document_id")
	a.locked(func(t *tree) {
		n := t.byKey[id]
		if n == nil {
			n = t.byKey[zoneOf(r)+"::"+id]
		}
		if n == nil || !t.alive(n) {
			no = notFound()
			return
		}
		v = t.document(n)
	})
	return v, no
}

// document is a node as docws shows it. The tree must be locked.
func (t *tree) document(n *node) map[string]any {
	m := map[string]any{"status": map[string]any{"status_code": 0}, "document_id": n.doc, "item_id": n.item, "etag": n.etag(),
		"name": t.spell(n.name), "type": n.kind, "deleted": !n.deleted.IsZero(), "mtime": n.mtime.UnixMilli(),
		"btime": n.created.UnixMilli(), "zone": n.zone, "size": n.size(),
		"file_flags": map[string]any{"is_executable": true, "is_writable": true, "is_hidden": false}}
	if n.parent != nil {
		m["parent_id"] = n.parent.id()
	}
	if n.blob != nil {
		m["data"] = map[string]any{"signature": n.blob.signature(), "owner": "_0", "size": n.blob.length,
			"reference_signature": random(20), "wrapping_key": random(16) + "=="}
	}
	return m
}

// raw is a node as the v1 calls of docws show it. The tree must be locked.
func (t *tree) raw(n *node) map[string]any {
	_, ext := splitName(n)
	return map[string]any{"item_id": n.item, "item_info": map[string]any{"name": t.spell(n.name), "extension": ext,
		"size": strconv.FormatInt(n.size(), 10), "type": n.kind, "version": n.etag(),
		"modified_at": strconv.FormatInt(n.mtime.UnixMilli(), 10), "created_at": strconv.FormatInt(n.created.UnixMilli(), 10),
		"urls": map[string]any{"url_download": ""}}}
}

func (c *ICloud) rawItem(a *Account, r *http.Request, _ []byte) (v any, no *refused) {
	a.locked(func(t *tree) {
		n := t.byKey[strings.TrimPrefix(r.URL.Path, "/v1/item/")]
		if n == nil || !t.alive(n) {
			no = notFound()
			return
		}
		v = t.raw(n)
	})
	return v, no
}

func (c *ICloud) enumerate(a *Account, r *http.Request, _ []byte) (v any, no *refused) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit <= 0 {
		limit = 1000
	}
	a.locked(func(t *tree) {
		n := t.byKey[strings.TrimPrefix(r.URL.Path, "/v1/enumerate/")]
		if n == nil || !n.folder() || !t.alive(n) {
			no = notFound()
			return
		}
		items := []any{}
		for _, child := range n.sorted() {
			if len(items) < limit {
				items = append(items, t.raw(child))
			}
		}
		v = map[string]any{"drive_item": items}
	})
	return v, no
}

// uploadWeb hands out a place to send a new document's content to.
func (c *ICloud) uploadWeb(a *Account, _ *http.Request, body []byte) (any, *refused) {
	var in struct {
		Filename    string `json:"filename"`
		Type        string `json:"type"`
		Size        string `json:"size"`
		ContentType string `json:"content_type"`
	}
	if no := decode(body, &in); no != nil {
		return nil, no
	}
	size, err := strconv.ParseInt(in.Size, 10, 64)
	if err != nil || size < 0 || in.Filename == "" || in.Type != typeFile || in.ContentType == "" {
		return nil, refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
	}
	full := false
	a.locked(func(t *tree) {
		full = t.taken()+size > t.total
	})
	if full {
		return nil, refuse(http.StatusInsufficientStorage, `{"errorReason":"Quota exceeded","error_code":"QUOTA_EXCEEDED","errorCode":507}`)
	}
	doc := uuid()
	key := c.grant(&grant{account: a, doc: doc, size: size, until: c.w.now().Add(c.life())})
	return []any{map[string]any{"url": fmt.Sprintf("https://%s/U/%s/upload?o=%s", blobHost, random(12), key), "document_id": doc,
		"owner": "_0", "owner_id": a.dsid}}, nil
}

// updateIn is what makes an upload a document.
type updateIn struct {
	AllowConflict bool   `json:"allow_conflict"`
	Command       string `json:"command"`
	Data          struct {
		Receipt   string `json:"receipt"`
		Signature string `json:"signature"`
		Size      int64  `json:"size"`
	} `json:"data"`
	DocumentID string `json:"document_id"`
	Mtime      int64  `json:"mtime"`
	Btime      int64  `json:"btime"`
	Path       struct {
		Path  string `json:"path"`
		Start string `json:"starting_document_id"`
	} `json:"path"`
}

// updateDocuments makes a document of an upload.
func (c *ICloud) updateDocuments(a *Account, r *http.Request, body []byte) (v any, no *refused) {
	var in updateIn
	if no := decode(body, &in); no != nil {
		return nil, no
	}
	c.mu.Lock()
	got := c.receipts[in.Data.Receipt]
	c.mu.Unlock()
	if in.Command != "add_file" || got == nil || got.doc != in.DocumentID || got.blob.signature() != in.Data.Signature ||
		got.blob.length != in.Data.Size || in.Path.Path == "" || strings.Contains(in.Path.Path, "/") {
		return nil, refuse(http.StatusBadRequest, `{"errorReason":"Bad Request","errorCode":400}`)
	}
	zone := zoneOf(r)
	unlock, ok := a.tree.lockZones([]string{zone})
	if !ok {
		return nil, refuse(http.StatusConflict, "%s", zoneBusy)
	}
	defer unlock()
	c.hold(c.w.opt.Latency.Delete)
	a.locked(func(t *tree) {
		parent := t.byKey[zone+"::"+in.Path.Start]
		if parent == nil || !parent.folder() || !t.alive(parent) || parent.shared != sharedNot {
			no = refuse(http.StatusPreconditionFailed, `{"serverErrorCode":"VALIDATING_REFERENCE_ERROR","reason":"Request has out of order children to be chained but the parents were missing"}`)
			return
		}
		n := t.byKey[zone+"::"+in.DocumentID]
		if n == nil {
			n = t.plant(&node{doc: in.DocumentID, zone: zone, kind: typeFile, name: in.Path.Path, blob: got.blob,
				mtime: time.UnixMilli(in.Mtime)})
			t.put(parent, n)
		} // sent once more, it changes nothing
		v = map[string]any{"status": map[string]any{"status_code": 0, "error_message": ""}, "results": []any{map[string]any{
			"status": map[string]any{"status_code": 0, "error_message": ""}, "operation_id": nil, "document": t.document(n)}}}
	})
	return v, no
}

// granted finds what a signed URL is good for.
func (c *ICloud) granted(r *http.Request) (*grant, *refused) {
	key := r.URL.Query().Get("o")
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.grants[key]
	if g == nil {
		return nil, refuse(http.StatusForbidden, "Forbidden")
	}
	if c.w.now().After(g.until) {
		return nil, refuse(http.StatusGone, "Gone")
	}
	return g, nil
}

// content sends a document's bytes. It knows ranges, but not of packages: their zip is made anew each time.
func (c *ICloud) content(rw http.ResponseWriter, r *http.Request) {
	g, no := c.granted(r)
	if no == nil && (g.blob == nil || r.Method != http.MethodGet && r.Method != http.MethodHead) {
		no = refuse(http.StatusForbidden, "Forbidden")
	}
	if no != nil {
		answer(rw, no.status, http.Header{"Content-Type": {"text/plain"}}, no.body)
		return
	}
	if host, _, _ := strings.Cut(r.Host, ":"); host == blobHost && c.sendsElsewhere() {
		there := *r.URL
		there.Scheme, there.Host = "https", blobHost2
		rw.Header().Set("Location", there.String())
		rw.WriteHeader(330)
		return
	}
	rw.Header().Set("Content-Type", "application/octet-stream")
	if g.blob.files != nil {
		rw.Header().Set("Content-Type", "application/zip")
		_ = g.blob.zip(rw, g.name, c.w.now())
		return
	}
	http.ServeContent(rw, r, "", time.Time{}, g.blob.reader())
}

// sendsElsewhere tells whether this call is one that is redirected.
func (c *ICloud) sendsElsewhere() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched++
	return c.redirect > 0 && c.fetched%c.redirect == 0
}

// contentUpload takes the bytes of a new document, plain or as a form's first file.
func (c *ICloud) contentUpload(rw http.ResponseWriter, r *http.Request) {
	g, no := c.granted(r)
	if no == nil && (g.doc == "" || r.Method != http.MethodPost) {
		no = refuse(http.StatusForbidden, "Forbidden")
	}
	if no != nil {
		drainBody(r)
		answer(rw, no.status, http.Header{"Content-Type": {"text/plain"}}, no.body)
		return
	}
	in := io.Reader(r.Body)
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		part, err := multipart.NewReader(r.Body, params["boundary"]).NextPart()
		if err != nil {
			answer(rw, http.StatusBadRequest, nil, `{"errorReason":"Bad Request","errorCode":400}`)
			return
		}
		in = part
	}
	data, err := io.ReadAll(in)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if int64(len(data)) != g.size {
		answer(rw, http.StatusBadRequest, nil, `{"errorReason":"Size mismatch","errorCode":400}`)
		return
	}
	b, key := &blob{data: data, length: int64(len(data))}, random(24)
	c.mu.Lock()
	c.receipts[key] = &receipt{blob: b, doc: g.doc}
	c.mu.Unlock()
	writeJSON(rw, http.StatusOK, map[string]any{"singleFile": map[string]any{"referenceChecksum": random(20), "size": b.length,
		"fileChecksum": b.signature(), "wrappingKey": random(16) + "==", "receipt": key}})
}
