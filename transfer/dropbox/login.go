package dropbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	sdk "github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/files"
	"github.com/dropbox/dropbox-sdk-go-unofficial/v6/dropbox/users"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/configstruct"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/rclone/rclone/lib/oauthutil"
	"golang.org/x/oauth2"
	"golang.org/x/sync/semaphore"

	"offload/transfer"
)

const (
	throttledMax = 10 // repetitions of one call that was throttled
	unsureMax    = 5  // repetitions of one call whose answer was lost
)

// login is the sign-in of one remote: its client, pace and commits. The service counts calls by sign-in, and a session
// belongs to it, so that two remotes of one account share nothing but the lane of their commits and the rests.
type login struct {
	name    string
	fleet   transfer.Fleet
	log     *slog.Logger
	pace    *pace
	buffers *semaphore.Weighted
	config  configmap.Mapper
	tokens  *oauthutil.TokenSource
	client  *http.Client
	files   files.ContextClient
	account users.ContextClient
	users   int // Fs that use it; under Clouds.mu

	renewing chan struct{} // held by who renews the token
	asking   chan struct{} // held by who asks for the account
	keyMu    sync.Mutex
	key      string // the account's ID, or the remote's name where the account doesn't tell; "" until it was asked for
	remember func(name, account string)

	commits committer
	oneCall oneCall
}

// newLogin signs in as rclone's backend does, with the same configuration, client ID and token, which it refreshes and
// saves in the same way.
func newLogin(ctx context.Context, c *Clouds, info *fs.RegInfo, name string, m *configmap.Map) (*login, error) {
	ctx, err := withOverrides(context.WithoutCancel(ctx), m) // a refresh may come long after
	if err != nil {
		return nil, err
	}
	conf, err := oauthOf(ctx, info, name, m)
	if err != nil {
		return nil, err
	}
	base := fshttp.NewClientCustom(ctx, transfer.SendOnce)
	base.Transport = sieve{base.Transport}
	_, tokens, err := oauthutil.NewClientWithBaseClient(ctx, name, m, conf, base)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	l := &login{name: name, fleet: c.fleet, log: c.log.With("remote", name), pace: c.paces[name], buffers: c.buffers,
		config: m, tokens: tokens, client: base, renewing: make(chan struct{}, 1), asking: make(chan struct{}, 1)}
	l.commits.wake = make(chan struct{}, 1)
	l.key, l.remember = c.accounts[name], c.remember
	cfg := sdk.Config{LogLevel: sdk.LogOff, Client: &http.Client{Transport: &oauth2.Transport{Source: tokens, Base: base.Transport}}}
	l.files, l.account = files.NewContext(cfg), users.NewContext(cfg)
	return l, nil
}

// oauthOf asks rclone's backend for its OAuth settings, among them the client ID of rclone's own app.
func oauthOf(ctx context.Context, info *fs.RegInfo, name string, m configmap.Mapper) (*oauthutil.Config, error) {
	if info.Config == nil {
		return nil, errors.New("rclone's backend has no sign-in")
	}
	out, err := info.Config(ctx, name, m, fs.ConfigIn{})
	if err != nil {
		return nil, fmt.Errorf("ask for the way to sign in: %w", err)
	}
	if out != nil {
		if o, ok := out.OAuth.(*oauthutil.Options); ok && o.OAuth2Config != nil {
			return o.OAuth2Config, nil
		}
	}
	return nil, errors.New("rclone's backend has another way to sign in now")
}

// withOverrides puts the "override." and "global." settings of a remote into the context, as fs.NewFs does for the
// backend (proxy, certificates, timeouts).
func withOverrides(ctx context.Context, m configmap.Getter) (context.Context, error) {
	set := configmap.Simple{}
	for i := range fs.ConfigOptionsInfo {
		name := fs.ConfigOptionsInfo[i].Name
		for _, prefix := range []string{"global.", "override."} {
			if v, ok := m.Get(prefix + name); ok {
				set[name] = v
			}
		}
	}
	if len(set) == 0 {
		return ctx, nil
	}
	ctx, ci := fs.AddConfig(ctx)
	if err := configstruct.Set(set, ci); err != nil {
		return nil, fmt.Errorf("read the remote's override settings: %w", err)
	}
	return ctx, nil
}

// close ends the commits and the idle connections.
func (l *login) close() {
	l.commits.close()
	l.client.CloseIdleConnections()
}

// CloseIdleConnections lets http.Client pass the call on.
func (s sieve) CloseIdleConnections() {
	if c, ok := s.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// lane is the account's name in rests, commitLane that of its commits.
func (l *login) lane() string       { return "dropbox:" + l.knownKey() }
func (l *login) commitLane() string { return "dropbox-commit:" + l.knownKey() }

func (l *login) knownKey() string {
	l.keyMu.Lock()
	defer l.keyMu.Unlock()
	if l.key == "" {
		return l.name
	}
	return l.key
}

// learnAccount finds out whose account it is, once, so that two remotes of one account take turns.
func (l *login) learnAccount(ctx context.Context) error {
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.keyMu.Lock()
	known := l.key != ""
	l.keyMu.Unlock()
	if known {
		return nil
	}
	id := ""
	err := l.call(ctx, func(ctx context.Context) error {
		acc, err := l.account.GetCurrentAccountContext(ctx)
		if err == nil && acc != nil {
			id = acc.AccountId
		}
		return err
	})
	if err != nil && judge(err) != vRefused && !strings.Contains(err.Error(), "missing_scope") {
		return err // it may pass; to go on under another name could make two workers commit at once
	}
	if id != "" {
		l.remember(l.name, id)
	} else {
		l.log.Debug("the account doesn't tell whose it is", "error", err)
		id = l.name
	}
	l.keyMu.Lock()
	defer l.keyMu.Unlock()
	l.key = id
	return nil
}

// renewalsMax is how often a call renews the access token: one that was just renewed may end before the call comes again.
const renewalsMax = 2

// call makes one call, in a place of the pace and outside of rests, and repeats it where that is safe: do must be
// repeatable after a lost answer.
func (l *login) call(ctx context.Context, do func(context.Context) error) error {
	throttled, unsure, renewed := 0, 0, 0
	for {
		err := l.once(ctx, do)
		if ctx.Err() != nil && err != nil {
			return context.Cause(ctx)
		}
		switch judge(err) {
		case vDone, vRefused:
			var again *againError
			if !errors.As(err, &again) {
				return err
			}
			if unsure++; unsure > unsureMax {
				return again.err
			}
		case vThrottled:
			if throttled++; throttled > throttledMax {
				return fmt.Errorf("%w: %w", transfer.ErrThrottled, err)
			}
			l.askRest(ctx, err, throttled)
		case vSignIn:
			if renewed == renewalsMax || strings.Contains(err.Error(), "missing_scope") {
				return fmt.Errorf("%w: %w", transfer.ErrSignIn, err)
			}
			renewed++
			if err := l.renew(ctx, err); err != nil {
				return err
			}
		case vUnsure:
			if refreshRefused(err) {
				return fmt.Errorf("%w: %w", transfer.ErrSignIn, err)
			}
			if unsure++; unsure > unsureMax {
				return err
			}
			if err := transfer.Sleep(ctx, backoff(unsure)); err != nil {
				return err
			}
		}
	}
}

// once makes one call in a place of the pace.
func (l *login) once(ctx context.Context, do func(context.Context) error) error {
	round, err := l.pace.acquire(ctx)
	if err != nil {
		return err
	}
	how := endedElse
	defer func() { l.pace.release(round, how) }()
	if err := l.obeyRest(ctx); err != nil {
		return err
	}
	err = plain(do(ctx))
	var a *answerError
	switch v := judge(err); {
	case v == vDone || v == vRefused:
		how = endedWell
	case v == vThrottled, errors.As(err, &a) && a.status == http.StatusServiceUnavailable:
		how = endedRefused
	}
	return err
}

// longestRest is how long the account rests at most before it is asked again: one odd answer must not stop it for good.
const longestRest = time.Hour

// askRest tells all workers what the service asked for, up to longestRest.
func (l *login) askRest(ctx context.Context, err error, n int) {
	d := backoff(n)
	var a *answerError
	if errors.As(err, &a) && a.after > 0 {
		d = min(a.after, longestRest)
	}
	l.log.Debug("Dropbox asks for a rest", "for", d, "error", err)
	if err := l.fleet.Rest(ctx, l.lane(), time.Now().Add(d)); err != nil {
		l.log.Warn("ask the others for a rest", "error", err)
		_ = transfer.Sleep(ctx, d) // at least this call obeys
	}
}

// obeyRest waits until the account may be called.
func (l *login) obeyRest(ctx context.Context) error {
	for {
		until, err := l.fleet.Resting(ctx, l.lane())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			l.log.Warn("ask whether the account rests", "error", err)
			return nil
		}
		left := time.Until(until)
		if left <= 0 {
			return nil
		}
		if err := transfer.Sleep(ctx, left+rand.N(20*time.Millisecond)); err != nil {
			return err
		}
	}
}

// renew gets another access token after one was refused: the one that another process has saved meanwhile, or a fresh
// one. Of many calls that were refused together only the first does it.
func (l *login) renew(ctx context.Context, refused error) error {
	select {
	case l.renewing <- struct{}{}:
		defer func() { <-l.renewing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var a *answerError
	if !errors.As(refused, &a) {
		return refused
	}
	now, err := l.tokens.Token()
	if err == nil && now.AccessToken != a.token {
		return nil
	}
	saved, savedErr := oauthutil.GetToken(l.name, l.config)
	if err == nil && now.RefreshToken == "" && (savedErr != nil || saved.AccessToken == a.token) {
		// Such a token has no end and can't be renewed: to mark it as ended would spoil it in the configuration.
		return fmt.Errorf("%w: %w", transfer.ErrSignIn, refused)
	}
	if err == nil {
		if err = l.tokens.Expire(); err == nil {
			now, err = l.tokens.Token()
		}
	}
	switch {
	case err != nil && refreshRefused(err):
		return fmt.Errorf("refresh the sign-in of %s: %w: %w", l.name, transfer.ErrSignIn, err)
	case err != nil:
		return fmt.Errorf("refresh the sign-in of %s: %w", l.name, err)
	case now.AccessToken == a.token:
		return fmt.Errorf("%w: %w", transfer.ErrSignIn, refused)
	}
	l.log.Debug("renewed the access token")
	return nil
}

// check makes sure that the access token is taken, renewing it where it isn't.
func (l *login) check(ctx context.Context) error {
	_, err := l.look(ctx, "/.offload")
	return err
}

// look asks for a file by its path as Dropbox spells it; nil where there is none.
func (l *login) look(ctx context.Context, path string) (*files.FileMetadata, error) {
	found, err := l.lookAt(ctx, path)
	meta, _ := found.(*files.FileMetadata)
	return meta, err
}

// lookAt asks for whatever has a path; nil where nothing has.
func (l *login) lookAt(ctx context.Context, path string) (files.IsMetadata, error) {
	var found files.IsMetadata
	err := l.call(ctx, func(ctx context.Context) (err error) {
		found, err = l.files.GetMetadataContext(ctx, files.NewGetMetadataArg(path))
		return err
	})
	var e files.GetMetadataAPIError
	if errors.As(err, &e) && e.EndpointError != nil && e.EndpointError.Path != nil &&
		e.EndpointError.Path.Tag == files.LookupErrorNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// backoff is how long to wait before repetition n, from 1.
func backoff(n int) time.Duration { return transfer.Backoff(n, 250*time.Millisecond, 10*time.Second) }
