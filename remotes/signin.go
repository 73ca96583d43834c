package remotes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/fspath"
	"github.com/rclone/rclone/fs/rc"
	"golang.org/x/text/unicode/norm"
)

const (
	// MaxCodes is how often a code may be typed wrongly: Apple locks accounts that guess.
	MaxCodes = 5
	// TalkTime bounds one conversation with a service that doesn't wait for a person.
	TalkTime = 2 * time.Minute
	// CheckTime bounds one look at a remote: some wait minutes for a person's approval.
	CheckTime = time.Minute
	// maxName bounds the name of a remote, in characters.
	maxName = 64
)

// SignInError is what went wrong with a sign-in, in words that hold nothing that was sent or answered.
type SignInError struct {
	Hint string // what to do
	Mine bool   // the person's own mistake: other answers may help
	Lost bool   // the conversation can't be gone on with, only be begun anew
	Err  error
}

// Error implements error; the hint is for the caller to show.
func (e *SignInError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SignInError) Unwrap() error { return e.Err }

func mistake(hint, format string, args ...any) *SignInError {
	return &SignInError{Hint: hint, Mine: true, Err: fmt.Errorf(format, args...)}
}

// CheckName returns the name of a remote as it is kept: without its colon, in NFC. Its error is a *SignInError.
func CheckName(name string) (string, error) {
	hint := "use letters, digits, _ - . + @ and spaces within, such as icloud or dropbox-anna"
	shown := strconv.Quote(name)
	if utf8.RuneCountInString(name) > maxName {
		return "", mistake(hint, "the name of a remote has at most %d characters", maxName)
	}
	if !utf8.ValidString(name) {
		return "", mistake(hint, "%s is no name for a remote", shown)
	}
	clean := norm.NFC.String(strings.TrimSuffix(name, ":"))
	if fspath.CheckConfigName(clean) != nil {
		return "", mistake(hint, "%s is no name for a remote", shown)
	}
	return clean, nil
}

// FindKind finds rclone's kind by the word that a person uses.
func FindKind(word string) (*fs.RegInfo, bool) {
	if word == "icloud" {
		word = KindICloud
	}
	info, err := fs.Find(word)
	return info, err == nil
}

// ReadToken understands a pasted token: the JSON that `rclone authorize` prints, with the words around it, or a bare access
// token. Its error is a *SignInError.
func ReadToken(text string) (string, error) {
	hint := "paste the line that `rclone authorize dropbox` prints between its arrows, or an access token"
	if from, to := strings.Index(text, "{"), strings.LastIndex(text, "}"); from >= 0 && to > from {
		var token struct {
			Access string `json:"access_token"`
		}
		raw := text[from : to+1]
		if err := json.Unmarshal([]byte(raw), &token); err != nil || token.Access == "" {
			return "", mistake(hint, "the token isn't one: there is no access_token in it")
		}
		return strings.ReplaceAll(strings.ReplaceAll(raw, "\n", ""), "\r", ""), nil
	}
	word := strings.TrimSpace(text)
	if strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) || len(word) < 8 {
		return "", mistake(hint, "the token isn't one")
	}
	raw, err := json.Marshal(map[string]string{"access_token": word, "token_type": "bearer", "expiry": "0001-01-01T00:00:00Z"})
	return string(raw), err
}

// WrongPassword tells whether Apple refused the Apple ID or its password.
func WrongPassword(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "incorrect username or password") || strings.Contains(err.Error(), "sign in failed: 401"))
}

// WrongCode tells whether Apple refused a code, apart from asking to be left alone.
func WrongCode(err error) bool {
	text := err.Error()
	return (strings.Contains(text, "validate2FACode failed") || strings.Contains(text, "validateSMSCode")) &&
		strings.Contains(text, "HTTP error 4") && !strings.Contains(text, "HTTP error 429")
}

// Explain says what went wrong with the sign-in of a remote. What a service answered is left out: it may repeat what was
// sent.
func Explain(name, kind string, err error) *SignInError {
	text := err.Error()
	var known *SignInError
	switch {
	case errors.As(err, &known):
		return known
	case WrongPassword(err):
		return mistake("check both at account.apple.com; Apple takes no app-specific passwords here, and refuses everything while an account is locked (iforgot.apple.com)", "Apple refuses this Apple ID and password")
	case kind == KindICloud && (strings.Contains(text, "429") || strings.Contains(text, "503")):
		return &SignInError{Hint: "wait an hour before the next attempt: each one makes the wait longer", Err: errors.New("Apple asks to be left alone for a while")}
	case strings.Contains(text, "failed to start auth webserver"):
		return errBrowser()
	case strings.Contains(text, "oauth authentication was cancelled"):
		return mistake("begin anew", "nobody allowed the access in time")
	case strings.Contains(text, "auth session state lost"):
		lost := mistake("begin a new one", "the sign-in of %s can't be gone on with", name)
		lost.Lost = true
		return lost
	}
	return &SignInError{Hint: "check the connection and the answers, then try again", Err: fmt.Errorf("sign in to %s: %w", name, withoutBody(err))}
}

// errBrowser refuses a second sign-in that needs rclone's address for consents.
func errBrowser() *SignInError {
	return &SignInError{Hint: "end it, or wait for its end; a token needs no browser here", Err: errors.New("another sign-in waits for a browser on this machine")}
}

// withoutBody shortens an error to what holds no secret: addresses lose their query, answers their body.
func withoutBody(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		host := "the service"
		if parsed, parseErr := url.Parse(u.URL); parseErr == nil {
			host = parsed.Host
		}
		return &shortError{fmt.Sprintf("%s: %v", host, u.Err), err}
	}
	text, _, _ := strings.Cut(err.Error(), " returned body")
	if before, after, found := strings.Cut(text, "sign in failed: "); found {
		reason, _, _ := strings.Cut(after, ": ")
		text = before + "sign in failed: " + reason
	}
	if before, _, found := strings.Cut(text, "Response: "); found { // oauth2 repeats the whole answer
		text = strings.TrimSpace(before)
	}
	return &shortError{text, err}
}

// shortError is an error with a text of its own.
type shortError struct {
	text string
	err  error
}

func (e *shortError) Error() string { return e.text }
func (e *shortError) Unwrap() error { return e.err }

// Continue fills a draft with what is configured, for a new sign-in of a remote; values that are set already stay.
func (d *Draft) Continue(old map[string]string) {
	for k, v := range old {
		if _, set := d.Values[k]; !set {
			d.Values[k] = v // as it is kept: passwords are obscured already
		}
	}
	d.Again = true
}

// Fix sets the answers that are known before rclone asks; token tells that one was given, which is the one to use.
func (d *Draft) Fix(token bool) {
	d.Fixed = map[string]string{"config_fs_advanced": "false", "config_refresh_token": strconv.FormatBool(!token)}
}

// AsksAll tells whether all options of the kind are asked for at the beginning. A person who signs in to iCloud or Dropbox
// needs none of them.
func (d *Draft) AsksAll() bool { return d.Kind != KindICloud && d.Kind != KindDropbox && !d.Again }

// TryOut opens the remote that the draft would be and lists its root: what doesn't answer isn't worth keeping. Its error is
// a *SignInError.
func (d *Draft) TryOut(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, CheckTime)
	defer cancel()
	f, err := d.Open(ctx)
	if f != nil {
		if shutdown := f.Features().Shutdown; shutdown != nil {
			// Nothing was written, so nothing can be lost by a shutdown that fails.
			defer func() { _ = shutdown(context.WithoutCancel(ctx)) }()
		}
	}
	if err == nil {
		_, err = f.List(ctx, "")
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s doesn't answer as it should: %w", d.Name, withoutBody(err))
	var network net.Error
	return &SignInError{Hint: "check the answers; nothing was kept", Mine: !errors.As(err, &network), Err: err}
}

// Finish makes a remote of a draft whose last question is answered, and returns what is configured then. ErrExists and
// ErrNotFound say that another process was faster.
func (c *Composed) Finish(ctx context.Context, d *Draft) (map[string]string, error) {
	values := d.Result(time.Now())
	var err error
	if d.Again {
		values["_auth_session"] = "" // left by rclone where a sign-in was broken off
		err = c.Merge(ctx, d.Name, values)
	} else {
		err = c.Add(ctx, d.Name, values)
	}
	if err != nil {
		return nil, err
	}
	Forget(d.Name)
	return values, nil
}

// BrowserLink returns the address at which rclone waits for a person's consent, "" while it doesn't.
func BrowserLink(ctx context.Context) string {
	asked := rc.Calls.Get("config/oauthstatus")
	if asked == nil {
		return ""
	}
	out, err := asked.Fn(ctx, rc.Params{})
	if err != nil {
		return ""
	}
	link, _ := out["authUrl"].(string)
	return link
}
