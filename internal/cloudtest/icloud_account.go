package cloudtest

import (
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rclone/rclone/fs/config/obscure"
)

// trustLife is how long a trust token is good for.
const trustLife = 30 * 24 * time.Hour

// Phone is a telephone that codes can be sent to.
type Phone struct {
	ID     int
	Number string // as the account shows it, most of it hidden
}

// Account is one Apple account and its iCloud Drive.
type Account struct {
	cloud    *ICloud
	appleID  string
	password string
	dsid     string

	mu        sync.Mutex
	salt      []byte
	verifier  *big.Int
	protocol  string
	sessions  map[string]bool
	trusts    map[string]time.Time // until when
	code      string               // the last one pushed to the devices, "" once used
	smsCodes  map[int]string
	phones    []Phone
	noDevices bool
	oneFactor bool
	badStatus int // of a wrong password
	signIns   int
	signLimit int
	pcs       bool
	pcsLater  int // so many requests for it are put off first
	pcsTokens map[string]bool

	tree tree
}

// AddAccount makes an account with two-factor authentication, one trusted device, one phone and an empty drive of 5 GiB.
func (c *ICloud) AddAccount(appleID, password string) *Account {
	c.mu.Lock()
	c.serial++
	n := c.serial
	c.mu.Unlock()
	a := &Account{cloud: c, appleID: strings.ToLower(appleID), password: password, dsid: strconv.Itoa(1728300000 + n),
		protocol: "s2k", sessions: map[string]bool{}, trusts: map[string]time.Time{}, smsCodes: map[int]string{},
		phones: []Phone{{ID: 1, Number: "+49 ••• •••••12"}}, badStatus: http.StatusUnauthorized, pcsTokens: map[string]bool{}}
	a.tree.init(c.w.now)
	c.mu.Lock()
	c.accounts[a.appleID] = a
	c.mu.Unlock()
	return a
}

// AppleID is the account's name.
func (a *Account) AppleID() string { return a.appleID }

// Password is the account's password, for tests that search for it where it mustn't be.
func (a *Account) Password() string { return a.password }

// DSID is the number that Apple knows the account by.
func (a *Account) DSID() string { return a.dsid }

// Conf is the body of this account's section in rclone.conf: signed in, with a live session.
func (a *Account) Conf() string {
	hidden, err := obscure.Obscure(a.password)
	if err != nil {
		hidden = ""
	}
	trust, cookies := a.SignIn()
	return fmt.Sprintf("type = iclouddrive\napple_id = %s\npassword = %s\ntrust_token = %s\ncookies = %s\n", a.appleID, hidden, trust, cookies)
}

// SignIn makes a session and a trust token out of hand, as if a client had signed in. The cookies are as rclone stores
// them.
func (a *Account) SignIn() (trustToken, cookies string) {
	trustToken = a.newTrust()
	var parts []string
	for _, c := range a.newSession() {
		parts = append(parts, c.Name+"="+c.Value)
	}
	return trustToken, strings.Join(parts, "; ")
}

// newTrust makes a trust token for 30 days.
func (a *Account) newTrust() string {
	t := "HSARMTKN" + random(60)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trusts[t] = a.cloud.w.now().Add(trustLife)
	return t
}

// newSession makes a session's cookies.
func (a *Account) newSession() []*http.Cookie {
	token := "v=2:t=" + random(40)
	a.mu.Lock()
	a.sessions[token] = true
	a.mu.Unlock()
	at := func(name, value string) *http.Cookie {
		return &http.Cookie{Name: name, Value: value, Quoted: true, Domain: ".icloud.com", Path: "/", Secure: true, HttpOnly: true}
	}
	return []*http.Cookie{
		at("X-APPLE-WEBAUTH-USER", "v=1:s=1:d="+a.dsid), at("X-APPLE-WEBAUTH-TOKEN", token),
		at("X-APPLE-WEBAUTH-HSA-TRUST", random(30)), at("X-APPLE-WEBAUTH-LOGIN", "v=1:t="+random(20)),
		at("X_APPLE_WEB_KB-"+random(8), "v=1:t="+random(20)), at("X-APPLE-DS-WEB-SESSION-TOKEN", random(30)),
	}
}

func (a *Account) hasSession(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sessions[strings.Trim(token, `"`)]
}

// trusted tells whether a trust token is good.
func (a *Account) trusted(token string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	until, ok := a.trusts[token]
	return ok && a.cloud.w.now().Before(until)
}

// ExpireSessions ends all sessions: every cookie answers 421 from now on. Trust tokens stay good.
func (a *Account) ExpireSessions() { a.set(func() { clear(a.sessions) }) }

// ExpireTrust ends all trust tokens: the next sign-in wants a code. Sessions stay good.
func (a *Account) ExpireTrust() { a.set(func() { clear(a.trusts) }) }

// Sessions counts the live sessions.
func (a *Account) Sessions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions)
}

// TrustTokens lists the good trust tokens.
func (a *Account) TrustTokens() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var l []string
	for t, until := range a.trusts {
		if a.cloud.w.now().Before(until) {
			l = append(l, t)
		}
	}
	return l
}

// Secrets lists everything that mustn't be found in logs, stores or errors: password, tokens, cookies.
func (a *Account) Secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := []string{a.password}
	for t := range a.trusts {
		l = append(l, t)
	}
	for t := range a.sessions {
		l = append(l, t)
	}
	return l
}

// Code is the code last pushed to the trusted devices, "" where none is waiting to be used.
func (a *Account) Code() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.code
}

// SMSCode is the code last sent to a phone, "" where none is waiting to be used.
func (a *Account) SMSCode(phoneID int) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.smsCodes[phoneID]
}

// SetPhones sets the phones that codes can be sent to.
func (a *Account) SetPhones(phones ...Phone) { a.set(func() { a.phones = phones }) }

// NoTrustedDevices sets whether the account has phones only.
func (a *Account) NoTrustedDevices(on bool) { a.set(func() { a.noDevices = on }) }

// WithoutTwoFactor makes the account an old one: signing in answers 412 and wants repair/complete, and no code.
func (a *Account) WithoutTwoFactor(on bool) { a.set(func() { a.oneFactor = on }) }

// SetProtocol chooses how the password is hashed at sign-in: "s2k", the usual one, or "s2k_fo".
func (a *Account) SetProtocol(p string) { a.set(func() { a.protocol, a.verifier = p, nil }) }

// SetPassword changes the password, as its owner may at any time. Trust tokens and sessions end with it.
func (a *Account) SetPassword(p string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.password, a.verifier = p, nil
	clear(a.sessions)
	clear(a.trusts)
}

// SetWrongPasswordStatus chooses the status of a refused password: 401, the usual one, or 403.
func (a *Account) SetWrongPasswordStatus(status int) { a.set(func() { a.badStatus = status }) }

// SetSignInLimit locks the account (403, -20209) after so many more sign-ins by password, 0 never.
func (a *Account) SetSignInLimit(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.signLimit = 0
	if n > 0 {
		a.signLimit = a.signIns + n
	}
}

// SignIns counts the sign-ins by password so far, failed ones included.
func (a *Account) SignIns() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.signIns
}

// RequirePCS sets whether the drive answers 423 until requestPCS was called, as with Advanced Data Protection. The first
// so many requests are put off, as when the owner has to allow it on a device.
func (a *Account) RequirePCS(on bool, putOff int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pcs, a.pcsLater = on, putOff
	clear(a.pcsTokens)
}

func (a *Account) lacksPCS(r *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.pcs {
		return false
	}
	c, err := r.Cookie("X-APPLE-WEBAUTH-PCS-Documents")
	return err != nil || !a.pcsTokens[c.Value]
}

// set changes a setting while nobody is being answered by it.
func (a *Account) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}
