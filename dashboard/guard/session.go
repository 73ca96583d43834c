package guard

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Sessions is where sign-ins outlive a process, and where several dashboards share them.
type Sessions interface {
	// Key returns the secret that signs cookies. It is made where there is none yet, and is the same for all.
	Key(ctx context.Context) ([]byte, error)
	// End notes that a session was ended by its person; the note may be forgotten at the time given.
	End(ctx context.Context, id string, until time.Time) error
	// Ended returns the sessions that were ended.
	Ended(ctx context.Context) ([]string, error)
}

// Memory is Sessions of one process.
type Memory struct {
	mu    sync.Mutex
	key   []byte
	ended map[string]time.Time
}

// NewMemory returns Sessions of one process.
func NewMemory() *Memory {
	return &Memory{key: []byte(rand.Text() + rand.Text()), ended: map[string]time.Time{}}
}

// Key returns a random key.
func (m *Memory) Key(context.Context) ([]byte, error) { return m.key, nil }

// End notes that a session was ended.
func (m *Memory) End(_ context.Context, id string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended[id] = until
	return nil
}

// Ended returns the sessions that were ended and would still hold.
func (m *Memory) Ended(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, until := range m.ended {
		if time.Now().After(until) {
			delete(m.ended, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// session is a sign-in as its cookie tells it: id, end and name, each without a doubt about where it ends, and a signature.
type session struct {
	id    string // 26 random characters
	until time.Time
	name  string
	mac   []byte
}

func newSession(name string, until time.Time) session {
	return session{id: rand.Text(), until: time.Unix(until.Unix(), 0), name: name}
}

// claim is what is signed, and the cookie but for the signature.
func (s session) claim() string {
	return s.id + "." + strconv.FormatInt(s.until.Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(s.name))
}

// sign returns the signature. The mark is of what the person signs in with: another password ends the sessions.
func (s session) sign(key, mark []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("offload session\x00" + s.claim() + "\x00"))
	h.Write(mark)
	return h.Sum(nil)
}

func (s session) cookie() string {
	return s.claim() + "." + base64.RawURLEncoding.EncodeToString(s.mac)
}

// maxCookie bounds a cookie, in bytes: more than the longest name needs.
const maxCookie = 600

var errCookie = errors.New("no session cookie")

// parseSession reads a cookie. It accepts only what cookie writes; whether the signature is right is for others to find out.
func parseSession(text string) (session, error) {
	parts := strings.Split(text, ".")
	if len(text) > maxCookie || len(parts) != 4 || len(parts[0]) != 26 || strings.Trim(parts[0], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return session{}, errCookie
	}
	until, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || until < 0 || until > 1<<40 {
		return session{}, errCookie
	}
	name, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(name) == 0 || !utf8.Valid(name) {
		return session{}, errCookie
	}
	mac, err := base64.RawURLEncoding.DecodeString(parts[3])
	if err != nil || len(mac) != sha256.Size {
		return session{}, errCookie
	}
	s := session{id: parts[0], until: time.Unix(until, 0), name: string(name), mac: mac}
	if s.cookie() != text { // a number with zeros in front, or stray bits at the end
		return session{}, errCookie
	}
	return s, nil
}

// cookieName is the cookie's name. Browsers take one with the prefix only over TLS, from this very host, for all its paths.
func cookieName(secure bool) string {
	if secure {
		return "__Host-offload"
	}
	return "offload"
}

func readCookie(r *http.Request, secure bool) (session, bool) {
	c, err := r.Cookie(cookieName(secure))
	if err != nil {
		return session{}, false
	}
	s, err := parseSession(c.Value)
	return s, err == nil
}

// setCookie hands a session to the browser; the empty value takes it back.
func setCookie(w http.ResponseWriter, secure bool, value string, until time.Time) {
	c := &http.Cookie{Name: cookieName(secure), Value: value, Path: "/", Expires: until, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// How old the list of ended sessions may be: so long after signing out at one dashboard a cookie still holds at another. And
// how long the store may take to tell it.
const (
	endedAge  = 5 * time.Second
	endedTime = 2 * time.Second
)

// sessions checks cookies. However many requests come, the store is asked once in five seconds.
type sessions struct {
	keep Sessions
	log  *slog.Logger

	mu    sync.Mutex
	key   []byte // nil until the store has told it
	ended map[string]bool
	own   map[string]time.Time // ended here, perhaps in vain at the store
	asked time.Time
}

func newSessions(keep Sessions, log *slog.Logger) *sessions {
	return &sessions{keep: keep, log: log, ended: map[string]bool{}, own: map[string]time.Time{}}
}

// refresh asks the store where that is due. Where it doesn't answer, what it said before holds; an error where it never did.
// The caller holds the lock.
func (s *sessions) refresh(ctx context.Context) error {
	if s.key != nil && time.Since(s.asked) < endedAge {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endedTime) // the answer is for all who wait
	defer cancel()
	key, err := s.key, error(nil)
	if key == nil {
		if key, err = s.keep.Key(ctx); err == nil && len(key) < sha256.Size {
			err = errors.New("the key is too short")
		}
		if err != nil {
			return fmt.Errorf("read the key of sessions: %w", err)
		}
	}
	ids, err := s.keep.Ended(ctx)
	if err != nil && s.key == nil {
		return fmt.Errorf("read the ended sessions: %w", err)
	}
	s.key, s.asked = key, time.Now()
	for id, until := range s.own {
		if s.asked.After(until) {
			delete(s.own, id)
		}
	}
	if err != nil {
		s.log.Warn("read the ended sessions", "error", err)
		return nil
	}
	s.ended = make(map[string]bool, len(ids))
	for _, id := range ids {
		s.ended[id] = true
	}
	return nil
}

// valid tells whether the signature is right and the session wasn't ended.
func (s *sessions) valid(ctx context.Context, c session, mark []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return false, err
	}
	_, own := s.own[c.id]
	return hmac.Equal(c.mac, c.sign(s.key, mark)) && !own && !s.ended[c.id], nil
}

// begin signs a new session.
func (s *sessions) begin(ctx context.Context, name string, mark []byte, until time.Time) (session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		return session{}, err
	}
	c := newSession(name, until)
	c.mac = c.sign(s.key, mark)
	return c, nil
}

// end ends a session: here at once, even where the store can't be told.
func (s *sessions) end(ctx context.Context, c session) error {
	s.mu.Lock()
	s.own[c.id] = c.until
	s.mu.Unlock()
	if err := s.keep.End(ctx, c.id, c.until); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}
