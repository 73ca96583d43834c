package cloudtest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The hosts of the played iCloud. An account's services lie in partition 123.
const (
	authHost   = "idmsa.apple.com"
	setupHost  = "setup.icloud.com"
	ownSetup   = "p123-setup.icloud.com"
	driveHost  = "p123-drivews.icloud.com"
	docsHost   = "p123-docws.icloud.com"
	cloudHost  = "p123-ckdatabasews.icloud.com" // named in the map of services, not played
	blobHost   = "cvws.icloud-content.com"
	blobHost2  = "cvws-ak.icloud-content.com" // where a 330 leads
	webOrigin  = "https://www.icloud.com"
	authOrigin = "https://idmsa.apple.com"
	mainZone   = "com.apple.CloudDocs"
)

// ICloud is Apple's side: sign-in, setup, drive and content hosts, for any number of accounts.
type ICloud struct {
	w     *World
	table []*endpoint

	mu       sync.Mutex
	max      int
	status   int // what a refusal for too many calls is: 503 or 429
	accounts map[string]*Account
	main     *Account
	logins   map[string]*login // by X-Apple-ID-Session-Id
	grants   map[string]*grant // signed URLs of the content host
	receipts map[string]*receipt
	urlLife  time.Duration
	redirect int // one content call in so many is sent to another host, 0 none
	fetched  int
	codes409 bool // an accepted code answers 409 with a session token, as since mid-2026, rather than 204
	serial   int
}

func newICloud(w *World) *ICloud {
	c := &ICloud{w: w, status: http.StatusServiceUnavailable, accounts: map[string]*Account{}, logins: map[string]*login{},
		grants: map[string]*grant{}, receipts: map[string]*receipt{}, urlLife: 15 * time.Minute, codes409: true}
	c.table = c.endpointTable()
	c.main = c.AddAccount("anna@example.com", "correct horse battery")
	return c
}

// endpointTable lists what is played. Writes of the tree wait inside, while they hold their zone.
func (c *ICloud) endpointTable() []*endpoint {
	meta := func(l Latency) time.Duration { return l.Meta }
	list := func(l Latency) time.Duration { return l.List }
	first := func(l Latency) time.Duration { return l.FirstByte }
	post, get, put := http.MethodPost, http.MethodGet, http.MethodPut
	auth := func(name, method string, h http.HandlerFunc) *endpoint {
		return &endpoint{name: "icloud:" + name, serve: c.authCall(method, h), free: true}
	}
	web := func(name, method string, delay func(Latency) time.Duration, h sessionHandler) *endpoint {
		return &endpoint{name: "icloud:" + name, serve: c.webCall(method, h), delay: delay}
	}
	folders := web("retrieveItemDetailsInFolders", post, list, c.listFolders)
	folders.short = shortFolders
	return []*endpoint{
		auth("authorize_signin", get, c.authorize), auth("federate", post, c.federate),
		auth("signin_init", post, c.signInInit), auth("signin_complete", post, c.signInComplete),
		auth("repair_complete", post, c.repair), auth("auth_state", get, c.authState),
		auth("push_code", put, c.pushCode), auth("verify_code", post, c.verifyCode),
		auth("push_sms", put, c.pushSMS), auth("verify_sms", post, c.verifySMS), auth("trust", get, c.trust),

		{name: "icloud:accountLogin", serve: c.accountLogin, delay: meta, free: true},
		{name: "icloud:validate", serve: c.validate, delay: meta, free: true},
		{name: "icloud:requestPCS", serve: c.requestPCS, delay: meta, free: true},
		{name: "icloud:storageUsageInfo", serve: c.storageUsage, delay: meta, free: true},

		folders, web("retrieveItemDetails", post, meta, c.itemDetails),
		web("moveItemsToTrash", post, nil, c.trashItems), web("deleteItems", post, nil, c.deleteItems),
		web("putBackItemsFromTrash", post, nil, c.putBack), web("createFolders", post, nil, c.createFolders),
		web("renameItems", post, nil, c.renameItems), web("moveItems", post, nil, c.moveItems),

		web("download_by_id", get, meta, c.downloadByID), web("lookup_by_path", post, meta, c.lookupByPath),
		web("lookup_by_id", get, meta, c.lookupByID), web("item", get, meta, c.rawItem), web("enumerate", get, list, c.enumerate),
		web("upload_web", post, meta, c.uploadWeb), web("update_documents", post, nil, c.updateDocuments),

		{name: "icloud:content", serve: c.content, delay: first, content: true, path: "/B/signed"},
		{name: "icloud:content_upload", serve: c.contentUpload, delay: first, content: true, upload: true, path: "/U/signed"},
	}
}

func (c *ICloud) name() string           { return "icloud" }
func (c *ICloud) endpoints() []*endpoint { return c.table }

func (c *ICloud) plays(host string) bool {
	return slices.Contains([]string{authHost, setupHost, ownSetup, driveHost, docsHost, cloudHost, blobHost, blobHost2}, host)
}

// ep finds an endpoint by its name without the service.
func (c *ICloud) ep(name string) *endpoint {
	for _, e := range c.table {
		if e.name == "icloud:"+name {
			return e
		}
	}
	return nil
}

// route implements player.
func (c *ICloud) route(r *http.Request) *endpoint {
	host, _, _ := strings.Cut(r.Host, ":")
	p := r.URL.Path
	switch host {
	case authHost:
		return c.routeAuth(r, p)
	case setupHost, ownSetup:
		name, ok := strings.CutPrefix(p, "/setup/ws/1/")
		if ok && slices.Contains([]string{"accountLogin", "validate", "requestPCS", "storageUsageInfo"}, name) {
			return c.ep(name)
		}
	case driveHost:
		name := strings.TrimPrefix(p, "/")
		if slices.Contains([]string{"retrieveItemDetailsInFolders", "retrieveItemDetails", "moveItemsToTrash", "deleteItems",
			"putBackItemsFromTrash", "createFolders", "renameItems", "moveItems"}, name) {
			return c.ep(name)
		}
	case docsHost:
		return c.routeDocs(p)
	case blobHost, blobHost2:
		if strings.HasPrefix(p, "/U/") {
			return c.ep("content_upload")
		}
		if strings.HasPrefix(p, "/B/") {
			return c.ep("content")
		}
	}
	return nil
}

func (c *ICloud) routeAuth(r *http.Request, p string) *endpoint {
	byPath := map[string]string{
		"/authorize/signin": "authorize_signin", "/federate": "federate", "/signin/init": "signin_init",
		"/signin/complete": "signin_complete", "/repair/complete": "repair_complete", "": "auth_state", "/": "auth_state",
		"/verify/phone": "push_sms", "/verify/phone/securitycode": "verify_sms", "/2sv/trust": "trust",
		"/verify/trusteddevice/securitycode": "verify_code",
	}
	rest, ok := strings.CutPrefix(p, "/appleauth/auth")
	if !ok {
		return nil
	}
	name := byPath[rest]
	if name == "verify_code" && r.Method == http.MethodPut {
		name = "push_code"
	}
	return c.ep(name)
}

func (c *ICloud) routeDocs(p string) *endpoint {
	if strings.HasPrefix(p, "/v1/item/") && !strings.HasPrefix(p, "/v1/item/copy/") {
		return c.ep("item")
	}
	if strings.HasPrefix(p, "/v1/enumerate/") {
		return c.ep("enumerate")
	}
	parts := strings.SplitN(strings.TrimPrefix(p, "/ws/"), "/", 2)
	if !strings.HasPrefix(p, "/ws/") || len(parts) != 2 {
		return nil
	}
	byPath := map[string]string{"download/by_id": "download_by_id", "list/lookup_by_path": "lookup_by_path",
		"list/lookup_by_id": "lookup_by_id", "upload/web": "upload_web", "update/documents": "update_documents"}
	return c.ep(byPath[parts[1]])
}

// refusal implements player.
func (c *ICloud) refusal(ep *endpoint, status int) (http.Header, string) {
	switch status {
	case http.StatusLocked:
		return nil, `{"errorReason":"Missing PCS cookies from the request","errorCode":423}`
	case http.StatusConflict:
		return nil, zoneBusy
	case http.StatusMisdirectedRequest, http.StatusUnauthorized:
		return nil, `{"success":false,"error":"Missing X-APPLE-WEBAUTH-TOKEN cookie"}`
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return http.Header{"Content-Type": {"text/html"}}, "<html><body>" + http.StatusText(status) + "</body></html>"
	}
	return nil, fmt.Sprintf(`{"errorReason":%q,"errorCode":%d}`, http.StatusText(status), status)
}

// zoneBusy is the body of the 409 that a write gets while another one to its zone is in flight.
const zoneBusy = `{"uuid":"246e70e0-c062-48d7-bafe-9f91331299e6","messageForDeveloper":"Sync zone CAS Op-Lock failed. There was a concurrent write and this operation was rejected. Retry request...","error_code":"ZONE_BUSY","serverErrorCode":"ZONE_BUSY","reason":"Sync zone CAS Op-Lock failed. There was a concurrent write and this operation was rejected. Retry request..."}`

// limit implements player. It is called with the tally locked, once per call.
func (c *ICloud) limit() (n, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max, c.status
}

// SetLimit makes iCloud refuse calls while n others are being answered, with 503 or the status that
// is given. 0 lifts the limit. Sign-in and setup don't count.
func (c *ICloud) SetLimit(n int, status ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max, c.status = n, http.StatusServiceUnavailable
	if len(status) > 0 {
		c.status = status[0]
	}
}

// Refused counts the calls that were refused for being too many at once.
func (c *ICloud) Refused() int { return c.w.tally.refusals("icloud") }

// SetURLLife sets how long a signed URL of the content host is good for: 15 minutes unless set.
func (c *ICloud) SetURLLife(d time.Duration) { c.set(func() { c.urlLife = d }) }

// SetRedirect makes the content host send one call in n to another host with status 330; 0 none, 1 each.
func (c *ICloud) SetRedirect(n int) { c.set(func() { c.redirect = n }) }

// AnswerCodes204 makes an accepted code answer 204, as before mid-2026, rather than 409 with a session token.
func (c *ICloud) AnswerCodes204(on bool) { c.set(func() { c.codes409 = !on }) }

// Default is the account that Start makes: "anna@example.com".
func (c *ICloud) Default() *Account { return c.main }

// Account returns an account by its Apple ID, nil where there is none.
func (c *ICloud) Account(appleID string) *Account {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.accounts[strings.ToLower(appleID)]
}

// sessionHandler answers a call of a signed-in account. What it returns is written as JSON, unless a refusal is.
type sessionHandler func(a *Account, r *http.Request, body []byte) (any, *refused)

// refused is an answer that isn't 200.
type refused struct {
	status int
	body   string
}

func refuse(status int, format string, args ...any) *refused {
	return &refused{status: status, body: fmt.Sprintf(format, args...)}
}

// hold waits in a write. A client that leaves meanwhile doesn't call it off: the write is carried out.
func (c *ICloud) hold(d time.Duration) {
	if !c.w.wait(context.Background(), d) {
		panic(http.ErrAbortHandler) // the world ends
	}
}

// webCall checks what every call of drivews and docws must have: the method, the origin, a live session, and the PCS
// cookie where the account wants one.
func (c *ICloud) webCall(method string, h sessionHandler) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if r.Method != method {
			answer(rw, http.StatusMethodNotAllowed, http.Header{"Allow": {method}}, `{"errorReason":"Method Not Allowed","errorCode":405}`)
			return
		}
		a, no := c.session(r)
		if no == nil && a.lacksPCS(r) {
			no = refuse(http.StatusLocked, `{"errorReason":"Missing PCS cookies from the request","errorCode":423}`)
		}
		if no != nil {
			answer(rw, no.status, nil, no.body)
			return
		}
		v, no := h(a, r, body)
		if no != nil {
			answer(rw, no.status, nil, no.body)
			return
		}
		writeJSON(rw, http.StatusOK, v)
	}
}

// session finds the account of a call by its cookies.
func (c *ICloud) session(r *http.Request) (*Account, *refused) {
	if r.Header.Get("Origin") != webOrigin {
		return nil, refuse(http.StatusForbidden, `{"success":false,"error":"Forbidden"}`)
	}
	cookie, err := r.Cookie("X-APPLE-WEBAUTH-TOKEN")
	if err != nil {
		return nil, refuse(http.StatusMisdirectedRequest, `{"success":false,"error":"Missing X-APPLE-WEBAUTH-TOKEN cookie"}`)
	}
	c.mu.Lock()
	accounts := make([]*Account, 0, len(c.accounts))
	for _, a := range c.accounts {
		accounts = append(accounts, a)
	}
	c.mu.Unlock()
	for _, a := range accounts {
		if a.hasSession(cookie.Value) {
			return a, nil
		}
	}
	return nil, refuse(http.StatusMisdirectedRequest, `{"success":false,"error":"Invalid global session"}`)
}

// writeJSON answers with a document.
func writeJSON(rw http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(rw, "can't encode answer", http.StatusInternalServerError)
		return
	}
	answer(rw, status, nil, string(body))
}

// decode reads a document, or tells how Apple refuses one that can't be read.
func decode(body []byte, v any) *refused {
	if err := json.Unmarshal(body, v); err != nil {
		return refuse(http.StatusBadRequest, `{"errorReason":"Malformed request","errorCode":400}`)
	}
	return nil
}

// random is n random bytes in base64 that needs no escaping.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// uuid is a random identifier as Apple writes them.
func uuid() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := strings.ToUpper(hex.EncodeToString(b))
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// set changes a setting while nobody is being answered by it.
func (c *ICloud) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}
