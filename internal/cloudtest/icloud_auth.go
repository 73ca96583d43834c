package cloudtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
)

// login is one sign-in under way at idmsa.
type login struct {
	id, scnt string
	account  *Account // nil until the name is known, or where there is no such account
	user     string
	salt     []byte
	server   *srpServer
	pub      []byte
	token    string // c, which ties complete to init
	password bool   // the password was right
	trusted  bool   // a trust token or a code was too
	session  string // dsWebAuthToken
}

// authCall checks what every call of idmsa must have, and knows the sign-in by its headers.
func (c *ICloud) authCall(method string, h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			drainBody(r)
			answer(rw, http.StatusMethodNotAllowed, http.Header{"Allow": {method}}, `{"service_errors":[{"code":"-20001","message":"Method not allowed"}],"hasError":true}`)
			return
		}
		h(rw, r)
	}
}

// serviceError is how idmsa refuses.
func serviceError(rw http.ResponseWriter, status int, code, message string) {
	key := "service_errors"
	if strings.HasPrefix(code, "-201") || strings.HasPrefix(code, "-202") {
		key = "serviceErrors"
	}
	body, _ := json.Marshal(map[string]any{key: []any{map[string]any{"code": code, "title": message, "message": message,
		"suppressDismissal": false}}, "hasError": true})
	answer(rw, status, nil, string(body))
}

// loginOf finds the sign-in that a call belongs to; where there is none it answers as Apple does and returns nil.
func (c *ICloud) loginOf(rw http.ResponseWriter, r *http.Request) *login {
	c.mu.Lock()
	l := c.logins[r.Header.Get("X-Apple-ID-Session-Id")]
	c.mu.Unlock()
	if l == nil || r.Header.Get("scnt") != l.scnt || r.Header.Get("Origin") != authOrigin || r.Header.Get("X-Apple-Widget-Key") == "" {
		drainBody(r)
		serviceError(rw, http.StatusUnauthorized, "-20528", "Your session has ended. Sign in again.")
		return nil
	}
	c.loginHeaders(rw, l)
	return l
}

func (c *ICloud) loginHeaders(rw http.ResponseWriter, l *login) {
	rw.Header().Set("X-Apple-ID-Session-Id", l.id)
	rw.Header().Set("scnt", l.scnt)
	rw.Header().Set("X-Apple-Auth-Attributes", "attr-"+l.id)
	rw.Header().Set("X-Apple-ID-Account-Country", "DEU")
}

// authorize begins a sign-in.
func (c *ICloud) authorize(rw http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") == "" || q.Get("frame_id") == "" || q.Get("redirect_uri") != webOrigin {
		serviceError(rw, http.StatusBadRequest, "-20001", "The request is missing a parameter.")
		return
	}
	l := &login{id: random(24), scnt: random(40)}
	c.mu.Lock()
	c.logins[l.id] = l
	c.mu.Unlock()
	c.loginHeaders(rw, l)
	answer(rw, http.StatusOK, http.Header{"Content-Type": {"text/html;charset=UTF-8"}}, "<!DOCTYPE html><html><body>Sign in</body></html>")
}

// federate takes the account's name.
func (c *ICloud) federate(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		AccountName string `json:"accountName"`
	}
	if l := c.loginOf(rw, r); l == nil || !c.readAuth(rw, r, &in) {
		return
	}
	if in.AccountName == "" {
		serviceError(rw, http.StatusBadRequest, "-20001", "The request is missing a parameter.")
		return
	}
	writeJSON(rw, http.StatusOK, map[string]any{"federated": false, "hasSWP": true})
}

// readAuth reads a call's document, or refuses it.
func (c *ICloud) readAuth(rw http.ResponseWriter, r *http.Request, v any) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if json.Unmarshal(body, v) != nil {
		serviceError(rw, http.StatusBadRequest, "-20001", "The request can't be read.")
		return false
	}
	return true
}

// secret returns what SRP needs of an account, or something as good as that for one that doesn't exist.
func (a *Account) secret() (salt []byte, v *big.Int, protocol string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.verifier == nil {
		a.salt = make([]byte, 16)
		if _, err = rand.Read(a.salt); err != nil {
			return nil, nil, "", err
		}
		if a.verifier, err = srpVerifier(a.password, a.salt, a.protocol); err != nil {
			return nil, nil, "", err
		}
	}
	return a.salt, a.verifier, a.protocol, nil
}

// signInInit answers the client's public value with the server's.
func (c *ICloud) signInInit(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		A           string   `json:"a"`
		AccountName string   `json:"accountName"`
		Protocols   []string `json:"protocols"`
	}
	l := c.loginOf(rw, r)
	if l == nil || !c.readAuth(rw, r, &in) {
		return
	}
	pub, err := base64.StdEncoding.DecodeString(in.A)
	if err != nil || len(pub) == 0 || in.AccountName == "" {
		serviceError(rw, http.StatusBadRequest, "-20001", "The request is missing a parameter.")
		return
	}
	a := c.Account(in.AccountName)
	who := a
	if a == nil { // strangers learn nothing of which accounts exist
		who = &Account{password: random(20), protocol: "s2k"}
	}
	salt, v, protocol, err := who.secret()
	if err != nil {
		http.Error(rw, "no random numbers", http.StatusInternalServerError)
		return
	}
	if !slices.Contains(in.Protocols, protocol) {
		serviceError(rw, http.StatusBadRequest, "-20001", "No protocol in common.")
		return
	}
	server, err := newSRPServer(v)
	if err != nil {
		http.Error(rw, "no random numbers", http.StatusInternalServerError)
		return
	}
	c.mu.Lock()
	l.account, l.user, l.salt, l.server, l.pub, l.token = a, in.AccountName, salt, server, pub, "d-"+random(16)+":PRN"
	l.password, l.trusted = false, false
	c.mu.Unlock()
	writeJSON(rw, http.StatusOK, map[string]any{"iteration": srpIterations, "salt": base64.StdEncoding.EncodeToString(salt),
		"protocol": protocol, "b": base64.StdEncoding.EncodeToString(padded(server.pub)), "c": l.token})
}

// signInComplete checks the proofs. 200 signs in, 409 wants a code, 412 is an account without two-factor authentication.
func (c *ICloud) signInComplete(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		AccountName string   `json:"accountName"`
		M1          string   `json:"m1"`
		M2          string   `json:"m2"`
		C           string   `json:"c"`
		TrustTokens []string `json:"trustTokens"`
	}
	l := c.loginOf(rw, r)
	if l == nil || !c.readAuth(rw, r, &in) {
		return
	}
	m1, err1 := base64.StdEncoding.DecodeString(in.M1)
	m2, err2 := base64.StdEncoding.DecodeString(in.M2)
	if l.server == nil || in.C != l.token || err1 != nil || err2 != nil || in.AccountName != l.user {
		serviceError(rw, http.StatusBadRequest, "-20001", "The request is out of order.")
		return
	}
	a, bad, old := l.account, http.StatusUnauthorized, false
	if a != nil {
		a.mu.Lock()
		a.signIns++
		locked := a.signLimit > 0 && a.signIns > a.signLimit
		bad, old = a.badStatus, a.oneFactor
		a.mu.Unlock()
		if locked {
			serviceError(rw, http.StatusForbidden, "-20209", "This Apple Account has been locked for security reasons.")
			return
		}
	}
	if err := l.server.check(in.AccountName, l.salt, l.pub, m1, m2); err != nil || a == nil {
		serviceError(rw, bad, "-20101", "Check the account information you entered and try again.")
		return
	}
	c.mu.Lock()
	l.password, l.session, l.server = true, random(60), nil
	l.trusted = slices.ContainsFunc(in.TrustTokens, a.trusted)
	trusted := l.trusted
	c.mu.Unlock()
	rw.Header().Set("X-Apple-Session-Token", l.session)
	switch {
	case old:
		writeJSON(rw, http.StatusPreconditionFailed, map[string]any{"authType": "sa"})
	case trusted:
		writeJSON(rw, http.StatusOK, map[string]any{"authType": "hsa2"})
	default:
		writeJSON(rw, http.StatusConflict, map[string]any{"authType": "hsa2"})
	}
}

// repair ends the sign-in of an account without two-factor authentication.
func (c *ICloud) repair(rw http.ResponseWriter, r *http.Request) {
	l := c.loginOf(rw, r)
	if l == nil {
		return
	}
	drainBody(r)
	if l.account == nil || !l.password || !l.account.isOneFactor() {
		serviceError(rw, http.StatusForbidden, "-20528", "There is nothing to repair.")
		return
	}
	c.mu.Lock()
	l.trusted, l.session = true, random(60)
	c.mu.Unlock()
	rw.Header().Set("X-Apple-Session-Token", l.session)
	rw.Header().Set("X-Apple-TwoSV-Trust-Token", l.account.newTrust())
	writeJSON(rw, http.StatusOK, map[string]any{})
}

func (a *Account) isOneFactor() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.oneFactor
}

// half finds a sign-in whose password was right.
func (c *ICloud) half(rw http.ResponseWriter, r *http.Request) *login {
	l := c.loginOf(rw, r)
	if l == nil {
		return nil
	}
	if l.account == nil || !l.password {
		drainBody(r)
		serviceError(rw, http.StatusUnauthorized, "-20528", "Your session has ended. Sign in again.")
		return nil
	}
	return l
}

// authState tells how a code can be had.
func (c *ICloud) authState(rw http.ResponseWriter, r *http.Request) {
	drainBody(r)
	l := c.half(rw, r)
	if l == nil {
		return
	}
	a := l.account
	a.mu.Lock()
	var phones []map[string]any
	for _, p := range a.phones {
		phones = append(phones, map[string]any{"id": p.ID, "numberWithDialCode": p.Number, "obfuscatedNumber": p.Number,
			"pushMode": "sms", "lastTwoDigits": p.Number[max(0, len(p.Number)-2):], "nonFTEU": false})
	}
	doc := map[string]any{"trustedPhoneNumbers": phones, "noTrustedDevices": a.noDevices, "authenticationType": "hsa2",
		"hsa2Account": true, "securityCode": map[string]any{"length": 6}, "trustedDeviceCount": map[bool]int{true: 0, false: 1}[a.noDevices]}
	a.mu.Unlock()
	if len(phones) > 0 {
		doc["trustedPhoneNumber"] = phones[0]
	}
	writeJSON(rw, http.StatusOK, doc)
}

// newCode is six digits.
func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "000000"
	}
	return fmt.Sprintf("%06d", n)
}

// pushCode shows a code on the trusted devices.
func (c *ICloud) pushCode(rw http.ResponseWriter, r *http.Request) {
	l := c.half(rw, r)
	if l == nil {
		return
	}
	drainBody(r)
	l.account.mu.Lock()
	none := l.account.noDevices
	if !none {
		l.account.code = newCode()
	}
	l.account.mu.Unlock()
	if none {
		serviceError(rw, http.StatusPreconditionFailed, "-28205", "There is no trusted device.")
		return
	}
	writeJSON(rw, http.StatusAccepted, map[string]any{"securityCode": map[string]any{"length": 6}, "noTrustedDevices": false})
}

// pushSMS sends a code to a phone.
func (c *ICloud) pushSMS(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		PhoneNumber struct {
			ID int `json:"id"`
		} `json:"phoneNumber"`
		Mode string `json:"mode"`
	}
	l := c.half(rw, r)
	if l == nil || !c.readAuth(rw, r, &in) {
		return
	}
	a := l.account
	a.mu.Lock()
	known := slices.ContainsFunc(a.phones, func(p Phone) bool { return p.ID == in.PhoneNumber.ID })
	if known {
		a.smsCodes[in.PhoneNumber.ID] = newCode()
	}
	a.mu.Unlock()
	if !known || in.Mode != "sms" && in.Mode != "voice" {
		serviceError(rw, http.StatusBadRequest, "-21421", "This phone number can't be used.")
		return
	}
	writeJSON(rw, http.StatusOK, map[string]any{"trustedPhoneNumber": map[string]any{"id": in.PhoneNumber.ID}, "mode": in.Mode})
}

// codeIn is a code as clients send it.
type codeIn struct {
	SecurityCode struct {
		Code string `json:"code"`
	} `json:"securityCode"`
	PhoneNumber struct {
		ID int `json:"id"`
	} `json:"phoneNumber"`
}

func (c *ICloud) verifyCode(rw http.ResponseWriter, r *http.Request) {
	c.verify(rw, r, func(a *Account, in codeIn) bool {
		ok := a.code != "" && a.code == in.SecurityCode.Code
		if ok {
			a.code = ""
		}
		return ok
	})
}

func (c *ICloud) verifySMS(rw http.ResponseWriter, r *http.Request) {
	c.verify(rw, r, func(a *Account, in codeIn) bool {
		code := a.smsCodes[in.PhoneNumber.ID]
		ok := code != "" && code == in.SecurityCode.Code
		if ok {
			delete(a.smsCodes, in.PhoneNumber.ID)
		}
		return ok
	})
}

// verify takes a code; each is good once. Since mid-2026 an accepted one is answered 409, told by its session token.
func (c *ICloud) verify(rw http.ResponseWriter, r *http.Request, good func(*Account, codeIn) bool) {
	var in codeIn
	l := c.half(rw, r)
	if l == nil || !c.readAuth(rw, r, &in) {
		return
	}
	l.account.mu.Lock()
	ok := good(l.account, in)
	l.account.mu.Unlock()
	if !ok {
		serviceError(rw, http.StatusUnauthorized, "-21669", "Incorrect verification code.")
		return
	}
	c.mu.Lock()
	l.trusted, l.session = true, random(60)
	conflict := c.codes409
	c.mu.Unlock()
	rw.Header().Set("X-Apple-Session-Token", l.session)
	if !conflict {
		rw.WriteHeader(http.StatusNoContent)
		return
	}
	writeJSON(rw, http.StatusConflict, map[string]any{"securityCode": map[string]any{"code": in.SecurityCode.Code, "valid": true}})
}

// trust makes a trust token for a sign-in that is complete.
func (c *ICloud) trust(rw http.ResponseWriter, r *http.Request) {
	drainBody(r)
	l := c.half(rw, r)
	if l == nil {
		return
	}
	if !l.trusted {
		serviceError(rw, http.StatusForbidden, "-20528", "This session can't be trusted yet.")
		return
	}
	c.mu.Lock()
	l.session = random(60)
	c.mu.Unlock()
	rw.Header().Set("X-Apple-TwoSV-Trust-Token", l.account.newTrust())
	rw.Header().Set("X-Apple-Session-Token", l.session)
	rw.WriteHeader(http.StatusNoContent)
}

// services is the map of hosts that a sign-in answers with.
func (c *ICloud) services(pcs bool) map[string]any {
	at := func(host string) map[string]any {
		return map[string]any{"url": "https://" + host + ":443", "status": "active", "pcsRequired": pcs}
	}
	return map[string]any{"drivews": at(driveHost), "docws": at(docsHost), "account": map[string]any{"url": "https://" + ownSetup + ":443",
		"status": "active", "iCloudEnv": map[string]string{"shortId": "p"}}, "ckdatabasews": at(cloudHost)}
}

// info is what accountLogin and validate answer.
func (c *ICloud) info(a *Account, challenge bool) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	version := 2
	if a.oneFactor {
		version = 1
	}
	doc := map[string]any{
		"dsInfo": map[string]any{"dsid": a.dsid, "appleId": a.appleID, "primaryEmail": a.appleID, "hsaVersion": version,
			"hsaEnabled": version == 2, "fullName": "Anna Example", "locale": "de_DE", "countryCode": "DEU", "iCDPEnabled": a.pcs},
		"hsaChallengeRequired": challenge, "hsaTrustedBrowser": !challenge, "isExtendedLogin": true, "pcsEnabled": true,
		"termsUpdateNeeded": false, "version": 2,
		"apps": map[string]any{"iclouddrive": map[string]any{}, "photos": map[string]any{}},
	}
	if !challenge {
		doc["webservices"] = c.services(a.pcs)
	}
	return doc
}

// accountLogin turns a sign-in into the cookies of a session.
func (c *ICloud) accountLogin(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		Token      string `json:"dsWebAuthToken"`
		TrustToken string `json:"trustToken"`
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if r.Method != http.MethodPost || r.Header.Get("Origin") != webOrigin {
		answer(rw, http.StatusForbidden, nil, `{"success":false,"error":"Forbidden"}`)
		return
	}
	if no := decode(body, &in); no != nil {
		answer(rw, no.status, nil, no.body)
		return
	}
	var l *login
	c.mu.Lock()
	for _, o := range c.logins {
		if o.session != "" && o.session == in.Token {
			l = o
		}
	}
	c.mu.Unlock()
	if l == nil {
		answer(rw, http.StatusBadRequest, nil, `{"success":false,"error":"Invalid Session Token"}`)
		return
	}
	if !l.trusted && !l.account.trusted(in.TrustToken) {
		writeJSON(rw, http.StatusOK, c.info(l.account, true))
		return
	}
	for _, k := range l.account.newSession() {
		http.SetCookie(rw, k)
	}
	writeJSON(rw, http.StatusOK, c.info(l.account, false))
}

// validate tells whether a session is alive.
func (c *ICloud) validate(rw http.ResponseWriter, r *http.Request) {
	drainBody(r)
	if r.Method != http.MethodPost {
		answer(rw, http.StatusMethodNotAllowed, nil, `{"success":false,"error":"Method Not Allowed"}`)
		return
	}
	a, no := c.session(r)
	if no != nil {
		answer(rw, no.status, nil, no.body)
		return
	}
	writeJSON(rw, http.StatusOK, c.info(a, false))
}

// requestPCS hands out the cookies of Advanced Data Protection, once the owner allowed it.
func (c *ICloud) requestPCS(rw http.ResponseWriter, r *http.Request) {
	var in struct {
		AppName string `json:"appName"`
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	a, no := c.session(r)
	if no == nil {
		no = decode(body, &in)
	}
	if no != nil {
		answer(rw, no.status, nil, no.body)
		return
	}
	a.mu.Lock()
	wait := a.pcsLater > 0
	token := random(40)
	if wait {
		a.pcsLater--
	} else {
		a.pcsTokens[token] = true
	}
	a.mu.Unlock()
	if wait {
		writeJSON(rw, http.StatusOK, map[string]any{"isWebAccessAllowed": true, "status": "failure",
			"message": "Requested the device to upload cookies."})
		return
	}
	names := map[string][]string{"iclouddrive": {"Documents"}, "photos": {"Photos", "Sharing"}}[in.AppName]
	for _, n := range names {
		http.SetCookie(rw, &http.Cookie{Name: "X-APPLE-WEBAUTH-PCS-" + n, Value: token, Domain: ".icloud.com", Path: "/", Secure: true})
	}
	writeJSON(rw, http.StatusOK, map[string]any{"isWebAccessAllowed": true, "status": "success", "message": "Cookies attached."})
}

// storageUsage tells the account's room, by GET or POST, at the common host and at the account's own.
func (c *ICloud) storageUsage(rw http.ResponseWriter, r *http.Request) {
	drainBody(r)
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		answer(rw, http.StatusMethodNotAllowed, nil, `{"success":false,"error":"Method Not Allowed"}`)
		return
	}
	a, no := c.session(r)
	if no == nil {
		if d := r.URL.Query().Get("dsid"); d != "" && d != a.dsid {
			no = refuse(http.StatusMisdirectedRequest, `{"success":false,"error":"Invalid global session"}`)
		}
	}
	if no != nil {
		answer(rw, no.status, nil, no.body)
		return
	}
	writeJSON(rw, http.StatusOK, a.storage())
}
