package remotes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rclone/rclone/fs/config"
)

const (
	// patience is how long Begin and Answer wait for the service before they leave it to State to tell.
	patience = 5 * time.Second
	// consentTime is how long a sign-in waits for a person who allows the access in a browser.
	consentTime = 10 * time.Minute
	// talkLife is how long a conversation is kept in memory after the last word.
	talkLife = 30 * time.Minute
	// closeTime is how long Close waits.
	closeTime = 5 * time.Second
	// maxTalks bounds the conversations at a time.
	maxTalks = 32
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 10
)

// Guide leads people through sign-ins that take several requests, as a browser makes them. What can be kept is kept in the
// store, sealed, so that another process, or the command line, can go on; what waits for a service or for a consent is this
// process' own. Its methods may be called from any goroutine.
type Guide struct {
	conf     *Composed
	log      *slog.Logger
	signedIn func(ctx context.Context, name string) (int, error)

	mu     sync.Mutex
	talks  map[string]*talk
	closed bool
	steps  sync.WaitGroup
}

// talk is one conversation. Guide.mu guards it, but for the draft, which belongs to the step while one runs.
type talk struct {
	draft   *Draft
	consent bool          // rclone waits here for a person's browser, while a step runs
	shown   SignInState   // what State tells, as of the last step's end
	running chan struct{} // closed when the step has ended; nil where none runs
	cancel  context.CancelFunc
	touched time.Time
}

// SignInState is how a sign-in stands. It holds no secret.
type SignInState struct {
	Name     string
	Kind     string // rclone's type
	Again    bool
	Busy     bool         // the service is being talked to
	Link     string       // where on this machine a person has to allow the access
	Question *Question    // the one that is open, nil for none
	Note     string       // what rclone wanted to say
	Err      *SignInError // what was wrong with the last answer
	Tries    int          // wrong codes so far
	Done     bool         // it is a remote now
	Woken    int          // jobs that waited for it and go on
	Days     int          // that the sign-in is trusted, where Trusted
	Trusted  bool
	At       time.Time // when the last step ended
}

// SignInStart is what a person knows before the conversation. An empty value isn't given.
type SignInStart struct {
	Name   string
	Kind   string            // of a new remote; "" to sign in again
	Values map[string]string // options of the kind, passwords as a person writes them
	Token  string            // that was pasted
	// Browser tells where the access is allowed: "true" on this machine, "false" elsewhere, "" to be asked.
	Browser string
}

// NewGuide returns a guide. It starts nothing. signedIn is told of each remote that was signed in to, and returns how many
// jobs it woke.
func NewGuide(conf *Composed, log *slog.Logger, signedIn func(ctx context.Context, name string) (int, error)) *Guide {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Guide{conf: conf, log: log, signedIn: signedIn, talks: map[string]*talk{}}
}

// Close ends all conversations and waits for them, but not for long: a backend may not heed the end of its context. What the
// store keeps of them stays.
func (g *Guide) Close() {
	g.mu.Lock()
	g.closed = true
	for _, t := range g.talks {
		if t.cancel != nil {
			t.cancel()
		}
	}
	g.mu.Unlock()
	ended := make(chan struct{})
	go func() { defer close(ended); g.steps.Wait() }()
	select {
	case <-ended:
	case <-time.After(closeTime):
		g.log.Warn("a sign-in doesn't end; the process ends without it")
	}
}

// Begin begins to add a remote, or to sign in to one again, in place of a sign-in that was left lying. It returns when the
// service has answered, or after a few seconds; State tells how it stands. What can't begin is a *SignInError.
func (g *Guide) Begin(ctx context.Context, start SignInStart) error {
	d, err := g.newDraft(ctx, start)
	if err != nil {
		return err
	}
	return g.talkTo(ctx, &talk{draft: d, consent: start.Browser == "true"}, func(ctx context.Context) (bool, error) { return d.Ask(ctx, d.AsksAll()) })
}

// newDraft makes the draft of a sign-in, and refuses what can't succeed.
func (g *Guide) newDraft(ctx context.Context, start SignInStart) (*Draft, error) {
	name, err := CheckName(start.Name)
	if err != nil {
		return nil, err
	}
	sealed := g.conf.Sealed()
	if sealed == nil {
		return nil, &SignInError{Hint: "start the dashboard with a store", Err: ErrNoStore}
	}
	old := g.conf.Values(name)
	switch {
	case start.Kind == "" && old == nil:
		return nil, mistake("choose one of the list", "there is no remote called %s", name)
	case start.Kind != "" && slices.ContainsFunc(config.GetRemotes(), func(r config.Remote) bool { return r.Name == name }):
		return nil, mistake("sign in to it again, or choose another name", "there is a remote called %s already", name)
	case start.Kind == "":
		start.Kind = old["type"]
	}
	info, ok := FindKind(start.Kind)
	if !ok {
		return nil, mistake("choose one of the list", "there is no such kind of remote")
	}
	if wrong := CheckKind(info.Name); wrong != nil {
		return nil, wrong
	}
	if old != nil && info.Config == nil {
		return nil, mistake("remove it and add it anew to give it other settings", "%s is of a kind that nobody signs in to", name)
	}
	if err := sealed.Ready(ctx); err != nil {
		return nil, keepError(err)
	}
	if start.Token != "" {
		if start.Token, err = ReadToken(start.Token); err != nil {
			return nil, err
		}
	}
	values := map[string]string{}
	for k, v := range start.Values {
		if v == "" {
			continue
		}
		if problem := notOneLine(v); problem != "" {
			return nil, mistake("write it on one line", "%s %s", k, problem)
		}
		if wrong := CheckSetting(info.Name, k, v); wrong != nil {
			return nil, wrong
		}
		values[k] = v
	}
	if start.Token != "" {
		values["token"] = start.Token
	}
	d, err := NewDraft(name, info.Name, values)
	if err != nil {
		return nil, err
	}
	if old != nil {
		d.Continue(old)
	}
	g.fix(d, start.Token != "")
	if start.Browser != "" {
		d.Fixed["config_is_local"] = start.Browser
	}
	return d, nil
}

// fix sets the answers that no browser is asked for. A browser is never opened on this machine: the person has one.
func (g *Guide) fix(d *Draft, token bool) {
	d.Fix(token)
	d.Fixed[config.ConfigAuthNoBrowser] = "true"
}

func notOneLine(s string) string {
	if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") || len(s) > maxAnswer {
		return "isn't one line of text"
	}
	return ""
}

// keepError says what hinders a remote from being kept.
func keepError(err error) *SignInError {
	var known *SignInError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, ErrNoPassword), errors.Is(err, ErrPassword):
		return &SignInError{Hint: "start the dashboard and all workers with the same OFFLOAD_CONFIG_PASS or OFFLOAD_CONFIG_PASS_FILE", Err: err}
	case errors.Is(err, ErrKeyFile):
		return &SignInError{Hint: "put the file back from a backup of the data folder", Err: err}
	case errors.Is(err, ErrExists), errors.Is(err, ErrNotFound):
		return mistake("look at the list of remotes", "somebody else was faster: %w", err)
	}
	return &SignInError{Hint: "try again in a moment", Err: fmt.Errorf("the store doesn't answer: %w", err)}
}

// errBusy refuses an answer while the last one is being looked at.
func errBusy() *SignInError {
	return mistake("wait a moment, and load the page again", "the service is being asked already")
}

// Answer answers the open question of a sign-in. It returns as Begin does; an answer that the service refuses is told by
// State.
func (g *Guide) Answer(ctx context.Context, name, text string) error {
	t, err := g.find(ctx, name)
	if err != nil {
		return err
	}
	if t == nil {
		return mistake("begin anew", "no sign-in of %s waits for an answer", name)
	}
	g.mu.Lock()
	q, busy := t.shown.Question, t.running != nil
	g.mu.Unlock()
	if busy {
		return errBusy()
	}
	if q == nil {
		return mistake("begin anew", "no sign-in of %s waits for an answer", name)
	}
	answer, wrong := checkAnswer(q, text)
	if wrong == nil {
		wrong = CheckSetting(t.draft.Kind, q.Name, answer)
	}
	if wrong != nil {
		return wrong
	}
	if q.InBrowser() {
		g.mu.Lock()
		t.consent = answer == "true"
		g.mu.Unlock()
	}
	return g.talkTo(ctx, t, func(ctx context.Context) (bool, error) { return t.draft.Answer(ctx, answer) })
}

// checkAnswer finds the answer that a text means, and refuses what needn't be sent to the service: Apple counts.
func checkAnswer(q *Question, text string) (string, *SignInError) {
	if q.IsToken() {
		text = strings.Join(strings.Fields(text), " ")
	}
	if problem := notOneLine(text); problem != "" {
		return "", mistake("write it on one line", "the answer %s", problem)
	}
	answer, problem := q.Pick(text)
	if problem != "" {
		return "", mistake("answer again", "%s", problem)
	}
	if !q.IsCode() {
		return answer, nil
	}
	if strings.EqualFold(answer, "sms") {
		if q.Name == "config_2fa_sms" {
			return "", mistake("type the code that it holds, or begin anew", "a text message was sent already")
		}
		return "sms", nil
	}
	answer = strings.ReplaceAll(answer, " ", "")
	if len(answer) < 4 || len(answer) > 12 || strings.Trim(answer, "0123456789") != "" {
		return "", mistake("type the digits that Apple sent", "this is no code")
	}
	return answer, nil
}

// talkTo runs one step of a conversation in the background and waits for it, but not long.
func (g *Guide) talkTo(ctx context.Context, t *talk, do func(context.Context) (bool, error)) error {
	name := t.draft.Name
	g.mu.Lock()
	g.prune()
	other := g.talks[name]
	switch {
	case g.closed:
		g.mu.Unlock()
		return &SignInError{Hint: "try again in a moment", Err: errors.New("the dashboard is stopping")}
	case t.running != nil || other != nil && other.running != nil:
		g.mu.Unlock()
		return errBusy()
	case t.consent && g.consents():
		g.mu.Unlock()
		return errBrowser() // rclone has one address for all: the link would be the other's
	case other == nil && len(g.talks) >= maxTalks:
		g.mu.Unlock()
		return &SignInError{Hint: "end those that were begun, or try again in half an hour", Err: errors.New("too many sign-ins are going on")}
	}
	limit := consentTime
	if t.draft.Kind == KindICloud {
		limit = TalkTime
	}
	// The person may close the page meanwhile, and the sign-in goes on.
	step, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	ended := make(chan struct{})
	t.running, t.cancel, t.touched = ended, cancel, time.Now()
	consent := t.consent
	g.talks[name] = t
	g.steps.Go(func() {
		defer cancel()
		g.step(step, t, do)
		close(ended)
	})
	g.mu.Unlock()
	soon := time.NewTimer(patience)
	defer soon.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-soon.C:
			return nil
		case <-ctx.Done():
			return nil
		case <-look.C:
			if consent && BrowserLink(ctx) != "" {
				return nil // it waits for the person now
			}
		}
	}
}

// prune forgets conversations that nobody went on with; the store may still know them. g.mu is held.
func (g *Guide) prune() {
	for name, t := range g.talks {
		if t.running == nil && time.Since(t.touched) > talkLife {
			delete(g.talks, name)
		}
	}
}

// step talks to the service and notes how the sign-in stands then.
func (g *Guide) step(ctx context.Context, t *talk, do func(context.Context) (bool, error)) {
	d := t.draft
	shown := SignInState{Name: d.Name, Kind: d.Kind, Again: d.Again}
	done, err := do(ctx)
	switch {
	case err != nil && WrongCode(err):
		d.Tries++
		shown.Err = mistake("type it again, or begin anew to get another one", "this isn't the code that was sent")
		if d.Tries >= MaxCodes {
			shown.Err = mistake("begin anew, in a while: Apple locks accounts that guess", "the code was wrong %d times", d.Tries)
			d.Question = nil
		}
	case err != nil:
		shown.Err = Explain(d.Name, d.Kind, err)
		if shown.Err.Lost {
			d.Question = nil
		}
	case done:
		if wrong := g.finish(ctx, d, &shown); wrong != nil {
			shown.Err = wrong
		}
	}
	if d.Question != nil {
		q := *d.Question
		shown.Question, shown.Note, shown.Tries = &q, d.Note, d.Tries
	} else {
		d.Values = map[string]string{} // nothing goes on with them
	}
	g.keep(context.WithoutCancel(ctx), d)
	g.mu.Lock()
	shown.At = time.Now()
	t.shown, t.running, t.cancel, t.touched = shown, nil, nil, shown.At
	g.mu.Unlock()
}

// finish makes a remote of a draft and wakes the jobs that wait for it.
func (g *Guide) finish(ctx context.Context, d *Draft, shown *SignInState) *SignInError {
	if d.Kind != KindICloud {
		if err := d.TryOut(ctx); err != nil {
			return Explain(d.Name, d.Kind, err)
		}
	}
	ctx = context.WithoutCancel(ctx)
	values, err := g.conf.Finish(ctx, d)
	if err != nil {
		return keepError(err)
	}
	shown.Done = true
	shown.Days, shown.Trusted = TrustLeft(values, time.Now())
	if g.signedIn != nil {
		if shown.Woken, err = g.signedIn(ctx, d.Name); err != nil {
			g.log.Warn("wake the jobs that wait for a sign-in; each can be resumed by itself", "remote", d.Name, "error", err)
		}
	}
	return nil
}

// keep stores a conversation that has an open question, and forgets others. Where that fails this process still knows it.
func (g *Guide) keep(ctx context.Context, d *Draft) {
	sealed := g.conf.Sealed()
	if sealed == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	if d.Question != nil {
		err = sealed.SaveDraft(ctx, d)
	} else {
		err = sealed.DropDraft(ctx, d.Name)
	}
	if err != nil {
		g.log.Warn("keep how a sign-in stands", "remote", d.Name, "error", err)
	}
}

// consents tells whether some sign-in waits for a browser here; the caller holds mu.
func (g *Guide) consents() bool {
	for _, t := range g.talks {
		if t.consent && t.running != nil {
			return true
		}
	}
	return false
}

// find returns a conversation: one of this process, or one that the store keeps; nil for none.
func (g *Guide) find(ctx context.Context, name string) (*talk, error) {
	g.mu.Lock()
	g.prune()
	t := g.talks[name]
	g.mu.Unlock()
	if sealed := g.conf.Sealed(); t == nil && sealed != nil {
		d, err := sealed.Draft(ctx, name)
		if err != nil {
			return nil, keepError(err)
		}
		if d != nil && d.Question != nil {
			g.fix(d, false)
			t = &talk{draft: d, touched: time.Now(), shown: SignInState{Name: d.Name, Kind: d.Kind, Again: d.Again, Question: d.Question, Tries: d.Tries}}
		}
	}
	return t, nil
}

// State tells how the sign-in of a remote stands; false where there is none.
func (g *Guide) State(ctx context.Context, name string) (SignInState, bool, error) {
	t, err := g.find(ctx, name)
	if t == nil || err != nil {
		return SignInState{}, false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.running != nil {
		s := SignInState{Name: t.draft.Name, Kind: t.draft.Kind, Again: t.draft.Again, Busy: true}
		if t.consent {
			s.Link = BrowserLink(ctx)
		}
		return s, true, nil
	}
	return t.shown, true, nil
}

// Drop ends the sign-in of a remote and forgets it. The remote, where there is one, stays as it was.
func (g *Guide) Drop(ctx context.Context, name string) error {
	g.mu.Lock()
	t := g.talks[name]
	var ended chan struct{}
	if t != nil && t.running != nil {
		ended = t.running
		t.cancel()
	}
	g.mu.Unlock()
	if ended != nil {
		select {
		case <-ended: // else its end would store it again
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.mu.Lock()
	if g.talks[name] == t {
		delete(g.talks, name)
	}
	g.mu.Unlock()
	if sealed := g.conf.Sealed(); sealed != nil {
		return sealed.DropDraft(ctx, name)
	}
	return nil
}
