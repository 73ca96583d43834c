package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rclone/rclone/fs/config"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/remotes"
)

// signIn is one run of `remotes add` or `remotes reconnect`.
type signIn struct {
	a      *app
	c      *cli.Context
	in     *stdinSecrets
	ask    *prompter
	conf   *remotes.Composed
	p      *parts
	name   string
	kind   string
	given  map[string]string // KEY=VALUE
	again  bool              // reconnect
	old    map[string]string // what is configured, for reconnect
	unkept bool              // the half-way state can't be kept

	password, token, secret string // from stdin or a file
	codeUsed                bool
}

// codeLife is how long a sign-in that waits for its code is gone on with unasked. Apple's codes live about as long.
const codeLife = 15 * time.Minute

// prepare reads what doesn't come from a conversation, and refuses what can't succeed, before anything is opened.
func (s *signIn) prepare(context.Context) (err error) {
	if s.c.Bool("password-stdin") {
		if s.password, err = s.in.read("password-stdin"); err != nil {
			return err
		}
	} else if file, _ := s.a.lookup("OFFLOAD_APPLE_PASSWORD_FILE"); file != "" && s.kind == remotes.KindICloud {
		if s.password, err = readSecretFile("OFFLOAD_APPLE_PASSWORD_FILE", file); err != nil {
			return err
		}
	}
	if s.c.Bool("client-secret-stdin") {
		if s.secret, err = s.in.read("client-secret-stdin"); err != nil {
			return err
		}
	}
	if s.c.Bool("token-stdin") {
		text, err := s.in.read("token-stdin")
		if err != nil {
			return err
		}
		if s.token, err = remotes.ReadToken(text); err != nil {
			return signInError(err)
		}
	}
	return nil
}

// signInError gives an error of remotes its exit status.
func signInError(err error) error {
	var s *remotes.SignInError
	switch {
	case !errors.As(err, &s):
		return err
	case s.Mine:
		return usageError(s.Hint, "%w", s)
	}
	return failure(s.Hint, s)
}

// run goes through the conversation and stores the result.
func (s *signIn) run(ctx context.Context) error {
	d, done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	for tries := 0; !done; {
		if err := s.keep(ctx, d); err != nil {
			return err
		}
		if d.Note != "" {
			s.a.note("%s", oneLine(d.Note))
		}
		answer, err := s.answer(ctx, d)
		if err != nil {
			return err
		}
		if d.Question.Name == "config_2fa_sms" && strings.EqualFold(strings.TrimSpace(answer), "sms") {
			// Apple would count it as a wrong code.
			sent := usageError(s.goOn("--restart")+" begins anew", "a text message was sent already")
			if !s.ask.asks() {
				return sent
			}
			s.a.note("%v; Ctrl-C, and %s begins anew", sent, s.goOn("--restart"))
			continue
		}
		if done, err = s.converse(ctx, d, func(ctx context.Context) (bool, error) { return d.Answer(ctx, answer) }); err == nil {
			continue
		}
		if !remotes.WrongCode(err) {
			return s.explain(err)
		}
		tries++
		refused := usageError(s.goOn("--code CODE")+" tries another one; --restart asks for a new one", "%s isn't the code that was sent", configs.Quote(answer))
		if !s.ask.asks() || tries == remotes.MaxCodes {
			return refused
		}
		s.a.note("%v; %d more tries", refused, remotes.MaxCodes-tries)
	}
	return s.finish(ctx, d)
}

// command is the command line that goes on with this sign-in.
func (s *signIn) command() string {
	verb := "add"
	if s.again {
		verb = "reconnect"
	}
	command := "`offload remotes " + verb + " " + s.name
	if info, ok := remotes.FindKind(s.name); !s.again && (!ok || info.Name != s.kind) {
		command += " --type " + s.kind
	}
	return command + "`"
}

// goOn is command with more flags.
func (s *signIn) goOn(flags string) string {
	return strings.TrimSuffix(s.command(), "`") + " " + flags + "`"
}

// begin goes on with a sign-in that waits for its code, or begins a new one.
func (s *signIn) begin(ctx context.Context) (d *remotes.Draft, done bool, err error) {
	if !s.unkept {
		if d, err = s.conf.Sealed().Draft(ctx, s.name); err != nil {
			return nil, false, sealFailure(s.p.cfg, err)
		}
	}
	if d != nil && s.continues(d) {
		return d, false, nil
	}
	if s.c.IsSet("code") {
		return nil, false, usageError("leave out --code: Apple sends one once the sign-in has begun", "no sign-in of %s waits for a code", s.name)
	}
	values, err := s.values(ctx)
	if err != nil {
		return nil, false, err
	}
	if d, err = remotes.NewDraft(s.name, s.kind, values); err != nil {
		return nil, false, usageError("`rclone help backends` lists the kinds", "%w", err)
	}
	if s.again {
		d.Continue(s.old)
	}
	s.fix(d)
	for tries := 1; ; tries++ {
		done, err = s.converse(ctx, d, func(ctx context.Context) (bool, error) { return d.Ask(ctx, d.AsksAll()) })
		if err == nil || !remotes.WrongPassword(err) || !s.ask.asks() || tries == 3 {
			break
		}
		// Apple counts attempts: only a person who types anew makes another one.
		s.a.note("Apple refuses this password")
		password, askErr := s.ask.needed(ctx, s.ask.secret, "Password: ")
		if askErr == nil {
			askErr = d.Set("password", password)
		}
		if askErr != nil {
			return nil, false, askErr
		}
	}
	if err != nil {
		return nil, false, s.explain(err)
	}
	return d, done, nil
}

// continues tells whether to go on with a draft: where its code is given, or where it is young and nothing says otherwise.
func (s *signIn) continues(d *remotes.Draft) bool {
	if s.c.Bool("restart") || d.Kind != s.kind || d.Again != s.again || d.Question == nil {
		return false
	}
	if id := s.c.String("apple-id"); id != "" && id != d.Values["apple_id"] {
		return false
	}
	if s.password != "" && s.password != d.Password("password") {
		return false
	}
	return s.kind == remotes.KindICloud && (s.c.IsSet("code") || time.Since(d.Begun) < codeLife)
}

// values are what is known before the conversation.
func (s *signIn) values(ctx context.Context) (map[string]string, error) {
	values := map[string]string{}
	for k, v := range s.given {
		values[k] = v
	}
	for k, v := range map[string]string{"client_id": s.c.String("client-id"), "client_secret": s.secret, "token": s.token} {
		if v != "" {
			values[k] = v
		}
	}
	if s.kind != remotes.KindICloud {
		return values, nil
	}
	if id := s.c.String("apple-id"); id != "" {
		values["apple_id"] = id
	}
	if s.password != "" {
		values["password"] = s.password
	}
	if values["apple_id"] == "" && s.old["apple_id"] == "" {
		if !s.ask.asks() {
			return nil, usageError("add --apple-id NAME, or run it on a terminal", "the Apple ID is needed")
		}
		id, err := s.ask.needed(ctx, s.ask.line, "Apple ID: ")
		if err != nil {
			return nil, err
		}
		values["apple_id"] = strings.TrimSpace(id)
	}
	if values["password"] == "" && (s.old["password"] == "" || s.c.IsSet("apple-id") && s.c.String("apple-id") != s.old["apple_id"]) {
		if !s.ask.asks() {
			return nil, usageError("add --password-stdin, or name a file with OFFLOAD_APPLE_PASSWORD_FILE, or run it on a terminal", "the password of the Apple ID is needed")
		}
		var err error
		if values["password"], err = s.ask.needed(ctx, s.ask.secret, "Password (your own; Apple takes no app-specific ones here): "); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// fix sets the answers that are known before rclone asks.
func (s *signIn) fix(d *remotes.Draft) {
	d.Fix(s.token != "")
	for k := range s.given {
		d.Fixed[k] = d.Values[k]
	}
	if !s.a.hasBrowser() {
		d.Fixed[config.ConfigAuthNoBrowser] = "true"
	}
}

// hasBrowser tells whether opening a browser can show it to a person.
func (a *app) hasBrowser() bool {
	ssh, _ := a.lookup("SSH_CONNECTION")
	return a.terminal && ssh == ""
}

// keep stores the half-way state of a sign-in that another process can end.
func (s *signIn) keep(ctx context.Context, d *remotes.Draft) error {
	if s.kind != remotes.KindICloud || s.unkept {
		return nil
	}
	if err := s.conf.Sealed().SaveDraft(ctx, d); err != nil {
		return sealFailure(s.p.cfg, err)
	}
	return nil
}

// answer finds the answer to the open question: from the flags, from a person, or the default.
func (s *signIn) answer(ctx context.Context, d *remotes.Draft) (string, error) {
	q := d.Question
	switch {
	case q.IsCode() && s.c.IsSet("code") && !s.codeUsed:
		s.codeUsed = true
		return s.c.String("code"), nil
	case q.Name == "config_2fa_phone" && s.c.IsSet("phone"):
		n, err := configs.ParseCount(s.c.String("phone"), 1, int64(len(q.Choices)))
		if err != nil {
			return "", usageError("choose one of the phones in the list", "--phone: %w", err)
		}
		return q.Choices[n-1].Value, nil
	case s.ask.asks():
		return s.ask.question(ctx, q)
	case q.IsCode(), q.Name == "config_2fa_phone":
		return "", s.waitForCode(q)
	case q.Name == "config_is_local", q.Name == "config_token", q.Name == "config_verification_code":
		return "", usageError("run `rclone authorize "+s.kind+"` on a machine with a browser, and give what it prints to --token-stdin; or run this on a terminal", "signing in to %s needs a browser", s.name)
	case q.Default != "" || !q.Required:
		return q.Default, nil
	}
	return "", usageError("add "+q.Name+"=VALUE, or "+q.Name+"=@FILE for a secret, or run it on a terminal", "%s is needed for a remote of kind %s", q.Name, s.kind)
}

// waitForCode ends the command where nobody is there to type the code: exit status 4, the state is kept.
func (s *signIn) waitForCode(q *remotes.Question) error {
	next := s.goOn("--code CODE")
	if q.Name == "config_2fa_phone" {
		next = s.goOn("--phone N")
	}
	if s.a.jsonWanted(s.c) {
		if err := writeJSON(s.a.out, map[string]any{"remote": s.name, "type": s.kind, "signed_in": false, "waits_for": q.Name, "choices": q.Choices}); err != nil {
			return err
		}
	}
	for i, choice := range q.Choices {
		s.a.note("%d: %s", i+1, printable(choice.Help))
	}
	words := strings.TrimSuffix(q.Help, ".")
	switch q.Name {
	case "config_2fa":
		words = "Apple has sent a code to your devices (--code sms asks for a text message instead)"
	case "config_2fa_phone":
		words = "choose the phone that gets the text message"
	}
	s.a.note("%s; %s goes on", oneLine(words), next)
	return status(exitWaiting)
}

func (a *app) jsonWanted(c *cli.Context) bool { return c.Bool("json") }

// converse talks with the service, for a bounded time. For a sign-in in a browser it says where to go, and waits as long
// as the person needs.
func (s *signIn) converse(ctx context.Context, d *remotes.Draft, step func(context.Context) (bool, error)) (bool, error) {
	if s.kind == remotes.KindICloud {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, remotes.TalkTime)
		defer cancel()
		return step(ctx)
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		s.showBrowserLink(ctx, quit)
	}()
	defer func() { close(quit); <-ended }()
	return step(ctx)
}

// showBrowserLink prints the address that rclone waits at for a person's consent, once there is one.
func (s *signIn) showBrowserLink(ctx context.Context, quit <-chan struct{}) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-quit:
			return
		}
		if link := remotes.BrowserLink(ctx); link != "" {
			s.a.note("go to %s in a browser on this machine and allow the access", link)
			return
		}
	}
}

// explain says what went wrong. What a service answered is left out: it may repeat what was sent.
func (s *signIn) explain(err error) error {
	var h *hintError
	if errors.As(err, &h) || errors.Is(err, errInterrupted) {
		return err
	}
	wrong := remotes.Explain(s.name, s.kind, err)
	if wrong.Lost {
		wrong.Hint = s.goOn("--restart") + " begins a new one"
	}
	return signInError(wrong)
}

// finish makes a remote of the draft.
func (s *signIn) finish(ctx context.Context, d *remotes.Draft) error {
	if s.kind != remotes.KindICloud && !s.c.Bool("no-check") {
		if err := s.tryOut(ctx, d); err != nil {
			return err
		}
	}
	values, err := s.conf.Finish(ctx, d)
	if errors.Is(err, remotes.ErrExists) || errors.Is(err, remotes.ErrNotFound) {
		return usageError("`offload remotes list` shows what there is", "another process was faster: %w", err)
	}
	if err != nil {
		return sealFailure(s.p.cfg, err)
	}
	if !s.unkept {
		if err := s.conf.Sealed().DropDraft(ctx, s.name); err != nil {
			s.p.log.Warn("forget the state of a sign-in that is done", "remote", s.name, "error", err)
		}
	}
	woken, err := s.p.wake(ctx, s.name)
	if err != nil {
		return err
	}
	return s.say(values, woken)
}

// tryOut opens the remote that the draft would be: what doesn't answer isn't kept.
func (s *signIn) tryOut(ctx context.Context, d *remotes.Draft) error {
	err := d.TryOut(ctx)
	var wrong *remotes.SignInError
	if errors.As(err, &wrong) && !s.again {
		wrong.Hint += ", and --no-check keeps it all the same"
	}
	return signInError(err)
}

// say reports the result.
func (s *signIn) say(values map[string]string, woken int) error {
	trust := trustOf(values)
	if s.a.jsonWanted(s.c) {
		return writeJSON(s.a.out, struct {
			Remote   string `json:"remote"`
			Type     string `json:"type"`
			Where    string `json:"where"`
			SignedIn bool   `json:"signed_in"`
			Woken    int    `json:"jobs_woken"`
			trustInfo
		}{s.name, s.kind, s.conf.Where(s.name), true, woken, trust})
	}
	what := "added"
	if s.again {
		what = "signed in again"
	}
	fmt.Fprintf(s.a.out, "%s: %s", s.name, what)
	if trust.TrustDays != nil {
		fmt.Fprintf(s.a.out, ", trusted for %s", count(int64(*trust.TrustDays), "day"))
	}
	if woken > 0 {
		fmt.Fprintf(s.a.out, "; %s woken", count(int64(woken), "job"))
	}
	fmt.Fprintf(s.a.out, "\n`offload remotes check %s` looks at it\n", s.name)
	if woken > 0 {
		if n, err := s.p.jobs.WorkersRunning(s.c.Context); err == nil && n == 0 {
			s.a.note("no worker is running; the jobs go on with %s", startWorker(s.p.cfg))
		}
	}
	return nil
}
