package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/remotes"
)

// signInFlags are those of add and reconnect.
func signInFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "apple-id", Usage: "Apple ID `NAME` (iCloud)"},
		&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from stdin; OFFLOAD_APPLE_PASSWORD_FILE names a file instead (iCloud)"},
		&cli.StringFlag{Name: "code", Usage: "`CODE` that Apple sent, to end a sign-in that waits for it; sms asks for a text message (iCloud)"},
		&cli.StringFlag{Name: "phone", Usage: "`N`-th of the phones to send a text message to, where there are several (iCloud)"},
		&cli.BoolFlag{Name: "restart", Usage: "forget a sign-in that waits for its code and begin anew"},
		&cli.BoolFlag{Name: "token-stdin", Usage: "read a token from stdin: an access token, or what `rclone authorize dropbox` printed elsewhere"},
		&cli.StringFlag{Name: "client-id", Usage: "key `ID` of an app of your own, in place of rclone's"},
		&cli.BoolFlag{Name: "client-secret-stdin", Usage: "read the secret of that app from stdin"},
	}
}

func (a *app) newRemotesAdd() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "add a remote and sign in to it", ArgsUsage: "NAME [KEY=VALUE...]",
		Description: `NAME is icloud, dropbox, or a name of your choice with --type; it may also be any kind that rclone knows. On a
terminal it asks what it needs to know. Elsewhere the answers come from flags and KEY=VALUE, the values that
rclone's configuration of that kind takes; KEY=@FILE reads a secret from a file, KEY=@- from stdin.

Apple sends a code to your devices. Where nobody is there to type it, the sign-in waits and the exit status is
4: the same command with --code CODE ends it, also in another process. Apple trusts a sign-in for 30 days.`,
		UsageText: `offload remotes add icloud
offload remotes add dropbox
ssh me@laptop rclone authorize dropbox | offload remotes add dropbox --token-stdin
offload remotes add icloud --apple-id anna@example.com --password-stdin < password.txt
offload remotes add icloud --code 123456
offload remotes add nas --type webdav url=https://nas.lan/dav user=anna pass=@/run/secrets/nas`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "type", Usage: "`KIND` of the remote: icloud, dropbox, or any of rclone's, such as webdav or s3"},
			&cli.BoolFlag{Name: "no-check", Usage: "keep it even if it doesn't answer"},
		}, signInFlags()...),
		Action: func(c *cli.Context) error { return a.runRemotesAdd(c) },
	}
}

// checkRemoteName returns the name as it is kept.
func checkRemoteName(name string) (string, error) {
	clean, err := remotes.CheckName(name)
	return clean, signInError(err)
}

// newRemote is what the command line of `remotes add` says.
type newRemote struct {
	name  string
	info  *fs.RegInfo
	given map[string]string // KEY=VALUE
}

// readNewRemote reads the command line of `remotes add`.
func (a *app) readNewRemote(c *cli.Context, in *stdinSecrets) (newRemote, error) {
	name, err := checkRemoteName(c.Args().First())
	if err != nil {
		return newRemote{}, err
	}
	word := orDefault(c.String("type"), name)
	if c.IsSet("type") && c.String("type") == "" {
		return newRemote{}, usageError("name a kind such as icloud, dropbox or webdav", "--type is empty")
	}
	info, ok := remotes.FindKind(word)
	if !ok && !c.IsSet("type") {
		return newRemote{}, usageError("add --type KIND, such as --type icloud", "%s is no kind of remote, so its kind must be named", configs.Quote(word))
	}
	if !ok {
		return newRemote{}, usageError("`rclone help backends` lists the kinds", "--type: there is no kind of remote called %s", configs.Quote(word))
	}
	n := newRemote{name: name, info: info}
	if n.given, err = readKeyValues(info, c.Args().Tail(), in); err != nil {
		return n, err
	}
	return n, checkSignInFlags(c, info.Name)
}

// checkSignInFlags refuses flags that do nothing for a kind of remote.
func checkSignInFlags(c *cli.Context, kind string) error {
	only := map[string]bool{"apple-id": kind == remotes.KindICloud, "password-stdin": kind == remotes.KindICloud,
		"code": kind == remotes.KindICloud, "phone": kind == remotes.KindICloud}
	for _, flag := range []string{"apple-id", "password-stdin", "code", "phone"} {
		if c.IsSet(flag) && !only[flag] {
			return usageError("leave it out", "--%s is for iCloud", flag)
		}
	}
	for _, flag := range []string{"token-stdin", "client-id", "client-secret-stdin"} {
		info, err := fs.Find(kind)
		if key := map[string]string{"token-stdin": "token", "client-id": "client_id", "client-secret-stdin": "client_secret"}[flag]; c.IsSet(flag) && (err != nil || info.Options.Get(key) == nil || kind == remotes.KindICloud) {
			return usageError("leave it out", "--%s: this kind of remote has no such thing", flag)
		}
	}
	for _, flag := range []string{"apple-id", "code", "phone", "client-id"} {
		if v := c.String(flag); c.IsSet(flag) && (strings.TrimSpace(v) == "" || len(v) > 256 || printable(v) != v) {
			return usageError("give it a value, or leave it out", "--%s has no value that can be used", flag)
		}
	}
	if code := c.String("code"); code != "" && code != "sms" && (len(code) < 4 || len(code) > 12 || strings.Trim(code, "0123456789") != "") {
		return usageError("write the digits that Apple sent, or sms", "--code: %s is no code", configs.Quote(code))
	}
	if n := c.String("phone"); n != "" {
		if _, err := configs.ParseCount(n, 1, 99); err != nil {
			return usageError("write the number of the phone in the list", "--phone: %w", err)
		}
	}
	return nil
}

// readKeyValues reads KEY=VALUE arguments. Secrets in them are refused: every user of the machine can read them in the
// list of processes.
func readKeyValues(info *fs.RegInfo, args []string, in *stdinSecrets) (map[string]string, error) {
	given := map[string]string{}
	for _, arg := range args {
		k, v, found := strings.Cut(arg, "=")
		if !found || k == "" {
			return nil, usageError("write KEY=VALUE, such as url=https://nas.lan/dav", "%s isn't KEY=VALUE", configs.Quote(k))
		}
		o := info.Options.Get(k)
		if o == nil && k != "description" {
			return nil, usageError("`rclone help backend "+info.Name+"` lists the keys", "%s has no key %s", info.Name, configs.Quote(k))
		}
		if _, twice := given[k]; twice {
			return nil, usageError("give it once", "%s is given twice", k)
		}
		file, isFile := strings.CutPrefix(v, "@")
		var err error
		switch {
		case isFile && file == "-":
			v, err = in.read(k)
		case isFile:
			v, err = readSecretFile(k, file)
		case o != nil && remotes.IsSecret(o):
			err = usageError("write "+k+"=@FILE to read it from a file, or "+k+"=@- from stdin", "%s is a secret, which every user of this machine could read on the command line", k)
		}
		if err != nil {
			return nil, err
		}
		if !utf8.ValidString(v) || strings.ContainsAny(v, "\r\n\x00") {
			return nil, usageError("write it on one line", "the value of %s isn't one line of text", k)
		}
		given[k] = v
	}
	return given, nil
}

// stdinSecrets reads at most one secret from stdin.
type stdinSecrets struct {
	a    *app
	used string
}

func (s *stdinSecrets) read(name string) (string, error) {
	if s.used != "" {
		return "", usageError("put the other one into a file", "stdin holds one secret, and %s and %s are asked of it", s.used, name)
	}
	s.used = name
	text, err := io.ReadAll(io.LimitReader(s.a.in, maxPassFile))
	if err != nil {
		return "", usageError("write the secret to stdin", "%s: read stdin: %w", name, err)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if strings.TrimSpace(secret) == "" {
		return "", usageError("write the secret to stdin", "stdin is empty: %s is to come from it", name)
	}
	return secret, nil
}

func (a *app) runRemotesAdd(c *cli.Context) error {
	in := &stdinSecrets{a: a}
	n, err := a.readNewRemote(c, in)
	if err != nil {
		return err
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer r.close()
	if slices.ContainsFunc(config.GetRemotes(), func(r config.Remote) bool { return r.Name == n.name }) {
		return usageError("`offload remotes reconnect "+n.name+"` signs in again; --type adds another under a name of its own",
			"there is a remote called %s already", n.name)
	}
	s := &signIn{a: a, c: c, in: in, ask: a.newPrompter(), conf: r.conf, name: n.name, kind: n.info.Name, given: n.given}
	if err := s.prepare(c.Context); err != nil {
		return err
	}
	if err := r.needStore(c.Context); err != nil {
		return err
	}
	s.p = r.p
	if err := r.conf.Sealed().Ready(c.Context); err != nil {
		return sealFailure(r.cfg, err)
	}
	return s.run(c.Context)
}

func (a *app) newRemotesReconnect() *cli.Command {
	return &cli.Command{
		Name: "reconnect", Usage: "sign in to a remote again; jobs that wait for that go on", ArgsUsage: "NAME",
		Description: `Until the new sign-in is complete, the old one stays in use. Apple's lasts for 30 days, and can be renewed before
they end; the list of remotes says from day 21 on that it is time. Apple ID and password are those that are kept,
unless others are given.`,
		UsageText: "offload remotes reconnect icloud\noffload remotes reconnect icloud --code 123456\noffload remotes reconnect dropbox --token-stdin < token.json",
		Flags:     signInFlags(),
		Action:    func(c *cli.Context) error { return a.runRemotesReconnect(c) },
	}
}

func (a *app) runRemotesReconnect(c *cli.Context) error {
	name, err := checkRemoteName(c.Args().First())
	if err != nil {
		return err
	}
	r, err := a.remoteSet(c)
	if err != nil {
		return err
	}
	defer r.close()
	values := r.conf.Values(name)
	if values == nil {
		return unknownRemote("remote", name, config.GetRemotes())
	}
	info, err := fs.Find(values["type"])
	if err != nil || info.Config == nil {
		return usageError("`offload remotes remove` and `offload remotes add` give it other settings", "remote %s is of a kind that nobody signs in to: %s", name, configs.Quote(values["type"]))
	}
	if err := checkSignInFlags(c, info.Name); err != nil {
		return err
	}
	s := &signIn{a: a, c: c, in: &stdinSecrets{a: a}, ask: a.newPrompter(), conf: r.conf, name: name, kind: info.Name, again: true, old: values}
	if err := s.prepare(c.Context); err != nil {
		return err
	}
	if err := r.needStore(c.Context); err != nil {
		return err
	}
	s.p = r.p
	if err := r.conf.Sealed().Ready(c.Context); err != nil {
		if !errors.Is(err, remotes.ErrNoPassword) || !s.ask.asks() {
			return sealFailure(r.cfg, err)
		}
		s.unkept = true // a remote of rclone.conf, and a person who is there to end the sign-in at once
	}
	return s.run(c.Context)
}

// wake resumes the jobs that wait for the sign-in.
func (p *parts) wake(ctx context.Context, name string) (int, error) {
	n, err := p.jobs.SignedIn(ctx, name)
	if err != nil {
		return n, failure("`offload jobs resume ID` wakes them one by one", fmt.Errorf("the sign-in is done, but not all jobs that wait for it were woken: %w", err))
	}
	return n, nil
}
