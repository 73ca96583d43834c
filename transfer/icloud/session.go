package icloud

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive/api"
)

// webService is one of Apple's services as the sign-in names it, in the form that rclone's cache file has.
type webService struct {
	PcsRequired bool   `json:"pcsRequired"`
	URL         string `json:"url"`
	UploadURL   string `json:"uploadUrl"`
	Status      string `json:"status"`
}

// services are the web services by their keys.
type services map[string]*webService

// url is where a service is, "" where that isn't known.
func (s services) url(key string) string {
	if ws := s[key]; ws != nil {
		return ws.URL
	}
	return ""
}

// complete tells whether the services that every call needs are there.
func (s services) complete() bool { return s.url(api.WsDrive) != "" && s.url(api.WsDocs) != "" }

// needsPCS tells whether the account's data is protected so that the session lacks a key for it.
func (s services) needsPCS(jar cookies) bool {
	ws := s[api.WsDrive]
	return ws != nil && ws.PcsRequired && jar.value(pcsCookie) == ""
}

// How a session came about.
type origin int

const (
	fromConfig   origin = iota // the config's cookies, unproved
	fromOther                  // another worker's cookies, validated
	fromValidate               // the same cookies, validated anew
	fromSignIn
	fromPCS // the same session with a new key for protected data
)

// session is what calls take a copy of. gen counts the sessions of this process: a call that is refused says which one
// it used, so that of many calls that fail together one recovery is made.
type session struct {
	gen    uint64
	origin origin
	made   time.Time
	jar    cookies
	hosts  services
}

// snapshot is the session as it is now.
func (a *Account) snapshot() session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

// adopt makes the next session.
func (a *Account) adopt(from origin, jar cookies, hosts services) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.session = session{gen: a.session.gen + 1, origin: from, made: a.opt.Now(), jar: jar, hosts: hosts}
	a.refusal = refusal{}
}

// merge takes over the cookies that an answer set, unless its session is an old one by now.
func (a *Account) merge(gen uint64, set []*http.Cookie) {
	if len(set) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session.gen != gen {
		return
	}
	a.session.jar, _ = a.session.jar.merged(set)
}

// save keeps cookies in the config, for the next start and the other workers.
func (a *Account) save(jar cookies) {
	text := jar.header()
	a.mu.Lock()
	a.saved = text
	a.mu.Unlock()
	a.m.Set(keyCookies, text)
}

// start makes the account ready for calls. With cookies and services known from before it calls nobody: the first call
// finds out whether they still hold.
func (a *Account) start(ctx context.Context) error {
	s := a.snapshot()
	if s.gen > 0 {
		return a.ready(ctx)
	}
	cfg := a.config()
	if cfg.trust == "" {
		return signInError(a.name, "the remote was never signed in to to the end")
	}
	jar, hosts := readCookies(cfg.cookies), a.readCache()
	if len(jar) == 0 || !hosts.complete() || hosts.needsPCS(jar) {
		return a.recover(ctx, 0, 0)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.session.gen == 0 {
		a.saved = cfg.cookies
		a.session = session{gen: 1, origin: fromConfig, made: a.opt.Now(), jar: jar, hosts: hosts}
	}
	return nil
}

// cacheFile is where rclone keeps an account's services between runs.
func (a *Account) cacheFile() string {
	c, err := api.New("", "", "", "", nil, nil, a.name, "")
	if err != nil {
		return ""
	}
	return filepath.Join(c.CacheDir(), "webservices.json")
}

// readCache reads rclone's cache of services; empty where there is none.
func (a *Account) readCache() services {
	var s services
	data, err := os.ReadFile(a.cacheFile())
	if err != nil || json.Unmarshal(data, &s) != nil {
		return nil
	}
	return s
}

// writeCache keeps the services for the next start, of rclone's own backend as well. It's only a shortcut: failures are
// told to nobody.
func (a *Account) writeCache(s services) {
	data, err := json.Marshal(s)
	if err != nil {
		return
	}
	file := a.cacheFile()
	if os.MkdirAll(filepath.Dir(file), 0o700) != nil {
		return
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "webservices*.tmp")
	if err != nil {
		return
	}
	_, err = tmp.Write(data)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		a.opt.Log.Debug("can't cache iCloud's services", "remote", a.name, "error", err)
	}
}

// credentials are what a sign-in needs, as the config has them now.
type credentials struct {
	appleID, password, trust, client, cookies string
}

// config reads the remote's section anew: another process may have signed in.
func (a *Account) config() credentials {
	get := func(key string) string {
		v, _ := a.m.Get(key)
		return v
	}
	return credentials{appleID: get(keyAppleID), password: get(keyPassword), trust: get(keyTrust), client: a.client,
		cookies: get(keyCookies)}
}
