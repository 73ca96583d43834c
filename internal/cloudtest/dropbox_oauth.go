package cloudtest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	dropboxAccount = "dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"
	tokenLife      = 4 * time.Hour
)

// dropboxAuth holds the tokens of the account. It is guarded by Dropbox.mu.
type dropboxAuth struct {
	serial    int
	access    map[string]dropboxToken // by access token
	refresh   map[string]string       // refresh token to the client it was given to; "" fits any
	codes     map[string]dropboxCode
	standing  string // the access token of Conf
	renewal   string // the refresh token of RefreshTokenJSON
	refused   bool   // the user doesn't agree
	refreshed int
}

// dropboxToken is an access token; a zero expiry never comes.
type dropboxToken struct {
	expires time.Time
	dead    bool // revoked: no longer known at all
	refresh string
}

// dropboxCode is an authorisation code that waits to be exchanged.
type dropboxCode struct {
	client, redirect, challenge, method string
	offline                             bool
}

func (a *dropboxAuth) init() {
	a.access, a.refresh, a.codes = map[string]dropboxToken{}, map[string]string{}, map[string]dropboxCode{}
	a.renewal = a.make("refresh")
	a.refresh[a.renewal] = ""
	a.standing = a.make("sl.standing")
	a.access[a.standing] = dropboxToken{refresh: a.renewal}
}

// make is a new secret.
func (a *dropboxAuth) make(kind string) string {
	a.serial++
	sum := sha256.Sum256([]byte(fmt.Sprint(kind, a.serial)))
	return kind + "." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// authorized checks a request's token.
func (d *Dropbox) authorized(route, header string) error {
	if header == "" {
		return badInput(route, `Must provide HTTP header "Authorization" or URL parameter "authorization".`)
	}
	name, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || name == "" {
		return badInput(route, `Invalid authorization value in HTTP header "Authorization": expecting "Bearer ...".`)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	token, known := d.auth.access[name]
	switch {
	case !known || token.dead:
		return &dropboxError{status: http.StatusUnauthorized, body: errorBody(tag("invalid_access_token"))}
	case !token.expires.IsZero() && !d.w.now().Before(token.expires):
		return &dropboxError{status: http.StatusUnauthorized, body: errorBody(tag("expired_access_token"))}
	}
	return nil
}

// authorize is the page on which the user agrees; here that happens by itself.
func (d *Dropbox) authorize(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") == "" || q.Get("response_type") != "code" {
		answer(rw, http.StatusBadRequest, http.Header{"Content-Type": {"text/html"}}, "<h1>Error (400)</h1>It seems the app you were using submitted a bad request.")
		return
	}
	d.mu.Lock()
	back := url.Values{"state": {q.Get("state")}}
	if q.Get("state") == "" {
		back.Del("state")
	}
	if d.auth.refused {
		back.Set("error", "access_denied")
		back.Set("error_description", "The user chose not to give your app access to their Dropbox account.")
	} else {
		code := d.auth.make("code")
		d.auth.codes[code] = dropboxCode{
			client: q.Get("client_id"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
			method: q.Get("code_challenge_method"), offline: q.Get("token_access_type") == "offline",
		}
		back.Set("code", code)
	}
	d.mu.Unlock()
	to := q.Get("redirect_uri")
	if to == "" {
		answer(rw, http.StatusOK, http.Header{"Content-Type": {"text/html"}}, "<code>"+back.Get("code")+"</code>")
		return
	}
	join := "?"
	if strings.Contains(to, "?") {
		join = "&"
	}
	answer(rw, http.StatusFound, http.Header{"Location": {to + join + back.Encode()}}, "")
}

// token exchanges a code or a refresh token for an access token.
func (d *Dropbox) token(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.ParseForm() != nil {
		answer(rw, http.StatusBadRequest, nil, `{"error":"invalid_request","error_description":"expected a POST of a form"}`)
		return
	}
	client, _, basic := r.BasicAuth()
	if client, _ = url.QueryUnescape(client); !basic {
		client = r.PostForm.Get("client_id")
	}
	result, problem := d.grant(client, r.PostForm)
	if problem != "" {
		kind, text, _ := strings.Cut(problem, ": ")
		status := http.StatusBadRequest
		if kind == "invalid_client" {
			status = http.StatusUnauthorized
		}
		answer(rw, status, nil, string(asJSON(map[string]string{"error": kind, "error_description": text})))
		return
	}
	answer(rw, http.StatusOK, nil, string(asJSON(result)))
}

// grant answers a token request, or says "error: description".
func (d *Dropbox) grant(client string, form url.Values) (union, string) {
	if client == "" {
		return nil, "invalid_client: No auth function available for given request"
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &d.auth
	refresh, fresh := form.Get("refresh_token"), false
	switch form.Get("grant_type") {
	case "refresh_token":
		owner, known := a.refresh[refresh]
		if !known || owner != "" && owner != client {
			return nil, "invalid_grant: refresh token is invalid or revoked"
		}
		a.refreshed++
	case "authorization_code":
		code, known := a.codes[form.Get("code")]
		delete(a.codes, form.Get("code"))
		switch {
		case !known || code.client != client:
			return nil, "invalid_grant: code doesn't exist or has expired"
		case code.redirect != form.Get("redirect_uri"):
			return nil, "invalid_grant: redirect_uri mismatch"
		case !code.verified(form.Get("code_verifier")):
			return nil, "invalid_grant: invalid code verifier"
		}
		refresh = ""
		if fresh = code.offline; fresh {
			refresh = a.make("refresh")
			a.refresh[refresh] = client
		}
	default:
		return nil, "unsupported_grant_type: expected authorization_code or refresh_token"
	}
	access := a.make("sl.u")
	a.access[access] = dropboxToken{expires: d.w.now().Add(tokenLife), refresh: refresh}
	result := union{"access_token": access, "token_type": "bearer", "expires_in": int(tokenLife.Seconds())}
	if form.Get("grant_type") == "authorization_code" {
		result["uid"], result["account_id"], result["scope"] = "12345", dropboxAccount, "account_info.read files.content.read files.content.write files.metadata.read files.metadata.write sharing.write"
	}
	if fresh {
		result["refresh_token"] = refresh
	}
	return result, ""
}

// verified checks a PKCE verifier.
func (c dropboxCode) verified(verifier string) bool {
	switch {
	case c.challenge == "":
		return true
	case c.method == "S256":
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
	}
	return verifier == c.challenge
}

// revoke ends a token, the refresh token it came from, and all others of that.
func (d *Dropbox) revoke(c *dropboxCall) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.TrimPrefix(c.r.Header.Get("Authorization"), "Bearer ")
	refresh := d.auth.access[name].refresh
	d.auth.access[name] = dropboxToken{dead: true}
	if refresh != "" {
		d.killRefresh(refresh)
	}
	return nil, nil
}

func (d *Dropbox) killRefresh(refresh string) {
	delete(d.auth.refresh, refresh)
	for name, t := range d.auth.access {
		if t.refresh == refresh {
			d.auth.access[name] = dropboxToken{dead: true}
		}
	}
}

// tokenJSON is a token as rclone keeps it.
func tokenJSON(access, refresh string, expiry time.Time) string {
	v := map[string]string{"access_token": access, "token_type": "bearer", "expiry": expiry.Format(time.RFC3339)}
	if refresh != "" {
		v["refresh_token"] = refresh
	}
	return string(asJSON(v))
}

// TokenJSON is a token as rclone keeps it, one that doesn't expire by itself.
func (d *Dropbox) TokenJSON() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return tokenJSON(d.auth.standing, "", time.Time{})
}

// ExpiredTokenJSON is a token as rclone keeps it whose time is over, with a refresh token that works.
func (d *Dropbox) ExpiredTokenJSON() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	access := d.auth.make("sl.u")
	d.auth.access[access] = dropboxToken{expires: d.w.now().Add(-time.Hour), refresh: d.auth.renewal}
	return tokenJSON(access, d.auth.renewal, d.w.now().Add(-time.Hour))
}

// ExpireTokens ends every access token given so far; refresh tokens still work.
func (d *Dropbox) ExpireTokens() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, t := range d.auth.access {
		t.expires = d.w.now().Add(-time.Second)
		d.auth.access[name] = t
	}
}

// RevokeTokens ends every access and refresh token given so far, as a user does who unlinks the app.
func (d *Dropbox) RevokeTokens() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.auth.refresh)
	clear(d.auth.access)
}

// Refreshed counts the access tokens that were given for refresh tokens.
func (d *Dropbox) Refreshed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.auth.refreshed
}

// SetConsent says whether the user agrees on the authorize page. The default is yes.
func (d *Dropbox) SetConsent(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.auth.refused = !yes
}
