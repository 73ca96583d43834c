package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/configstruct"
	"github.com/rclone/rclone/fs/fshttp"
	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/jobs"
	"offload/remotes"
	"offload/transfer"
)

// setUpRclone gives rclone, whose settings are global, its configuration file, cache folder, log, name and network. It is
// called once, before any remote is opened. A missing configuration file is an error only where it was named.
func (a *app) setUpRclone(ctx context.Context, cfg configs.Config, log *slog.Logger) (*remotes.Composed, error) {
	fs.SetLogger(rcloneHandler{log.With("from", "rclone").Handler()})
	if shared, ok := http.DefaultTransport.(*http.Transport); ok {
		shared.CloseIdleConnections() // it changes itself at its first use, and rclone copies it without a lock
	}
	ci := fs.GetConfig(ctx)
	ci.LogLevel = rcloneLevel(ctx, log)
	ci.AskPassword = false // an encrypted rclone.conf is opened with RCLONE_CONFIG_PASS
	ci.UserAgent = "offload/" + buildVersion()
	if err := a.setUpNetwork(ci); err != nil {
		return nil, err
	}
	if cfg.RcloneConfig != "" {
		if _, err := os.Stat(cfg.RcloneConfig); err != nil {
			return nil, usageError("name an existing rclone.conf with --rclone-config or RCLONE_CONFIG", "rclone configuration %s: %w", configs.Quote(cfg.RcloneConfig), bare(err))
		}
		if err := config.SetConfigPath(cfg.RcloneConfig); err != nil {
			return nil, usageError("name an existing rclone.conf", "rclone configuration %s: %w", configs.Quote(cfg.RcloneConfig), err)
		}
	}
	if err := config.SetCacheDir(filepath.Join(cfg.Data, "rclone")); err != nil {
		return nil, fmt.Errorf("set rclone's cache folder: %w", err)
	}
	conf := remotes.Compose(nil)
	if config.GetConfigPath() != "" {
		conf = remotes.Compose(&configfile.Storage{})
	} else if err := config.SetConfigPath(filepath.Join(cfg.Data, "remotes")); err != nil {
		// rclone takes no storage while it has no path (--rclone-config /dev/null); this one is never read.
		return nil, fmt.Errorf("set rclone's configuration: %w", err)
	}
	config.SetData(conf)
	// LoadedData would end the process on a file that can't be read: find that out first.
	if err := config.Data().Load(); err != nil {
		return nil, usageError("check the file with `rclone config show`; an encrypted one needs RCLONE_CONFIG_PASS", "rclone configuration %s: %w", config.GetConfigPath(), err)
	}
	config.LoadedData()
	accounting.Start(ctx)
	return conf, nil
}

// networkSettings are the settings of rclone that this program takes from rclone's own environment variables. The others,
// such as RCLONE_IGNORE_SIZE, would change what a proof is worth.
func networkSettings() []string {
	return []string{"http_proxy", "ca_cert", "client_cert", "client_key", "client_pass", "no_check_certificate",
		"contimeout", "timeout", "disable_http2"}
}

// setUpNetwork takes rclone's network settings from the environment. rclone would end the process on a certificate that
// it can't read: that is found out here.
func (a *app) setUpNetwork(ci *fs.ConfigInfo) error {
	values := configmap.Simple{}
	for _, name := range networkSettings() {
		if v, ok := a.lookup(fs.OptionToEnv(name)); ok && v != "" {
			values[name] = v
		}
	}
	if len(values) == 0 {
		return nil
	}
	next := *ci // nothing is set of what can't be used
	for name, v := range values {
		if err := configstruct.Set(configmap.Simple{name: v}, &next); err != nil {
			return usageError("correct or unset the environment variable", "%s isn't what rclone takes", fs.OptionToEnv(name))
		}
	}
	for _, file := range next.CaCert {
		text, err := os.ReadFile(file)
		if err != nil {
			return usageError("name a readable file with RCLONE_CA_CERT", "certificates %s: %w", configs.Quote(file), bare(err))
		}
		if !x509.NewCertPool().AppendCertsFromPEM(text) {
			return usageError("RCLONE_CA_CERT names a file in PEM form", "certificates %s: there is no certificate in it", configs.Quote(file))
		}
	}
	if next.ClientCert != "" || next.ClientKey != "" {
		if _, err := fshttp.LoadKeyPair(next.ClientCert, next.ClientKey, next.ClientPass); err != nil {
			return usageError("RCLONE_CLIENT_CERT and RCLONE_CLIENT_KEY belong together", "the client certificate can't be used: %w", bare(err))
		}
	}
	*ci = next
	fshttp.ResetTransport() // rclone keeps the one that it made under earlier settings
	return nil
}

// setUpRemotes is setUpRclone with the remotes that the store keeps sealed, where there is a store; parts is nil where
// there is none.
func (a *app) setUpRemotes(ctx context.Context, cfg configs.Config, log *slog.Logger) (*remotes.Composed, *parts, error) {
	conf, err := a.setUpRclone(ctx, cfg, log)
	if err != nil {
		return nil, nil, err
	}
	p, err := openExisting(ctx, cfg, log)
	if err != nil || p == nil {
		return conf, nil, err
	}
	if err := a.attach(ctx, conf, p); err != nil {
		p.closeLogged()
		return nil, nil, err
	}
	return conf, p, nil
}

// remoteSet is what the commands about remotes work with.
type remoteSet struct {
	a    *app
	cfg  configs.Config
	log  *slog.Logger
	conf *remotes.Composed
	p    *parts // nil where there is no store yet
	end  func() // ends what the backends have under way that were made without a store; nil where none were
}

// remoteSet sets up the remotes of a command. The caller closes the set.
func (a *app) remoteSet(c *cli.Context) (*remoteSet, error) { return a.remoteSetAt(c, "warn") }

// remoteSetAt is remoteSet with another level of the log, where none is set.
func (a *app) remoteSetAt(c *cli.Context, level string) (*remoteSet, error) {
	cfg, log, err := a.settings(c, level)
	if err != nil {
		return nil, err
	}
	conf, p, err := a.setUpRemotes(c.Context, cfg, log)
	if err != nil {
		return nil, err
	}
	return &remoteSet{a: a, cfg: cfg, log: log, conf: conf, p: p}, nil
}

// opener opens remotes, with the store or without.
func (r *remoteSet) opener() transfer.Opener {
	if r.p != nil {
		return r.p.opener()
	}
	var backends map[string]transfer.Backend
	backends, r.end = ownBackends(&transfer.LocalFleet{}, r.log)
	return transfer.Opener{Backends: backends}
}

// needStore makes the store where there is none yet.
func (r *remoteSet) needStore(ctx context.Context) (err error) {
	if r.p == nil {
		r.p, err = r.a.openStore(ctx, r.conf, r.cfg, r.log)
	}
	return err
}

func (r *remoteSet) close() {
	if r.end != nil {
		r.end()
	}
	if r.p != nil {
		r.p.closeLogged()
	}
}

// openRemotes is setUpRemotes for commands that need a store: it makes the embedded one where there is none yet.
func (a *app) openRemotes(ctx context.Context, cfg configs.Config, log *slog.Logger) (*remotes.Composed, *parts, error) {
	conf, p, err := a.setUpRemotes(ctx, cfg, log)
	if err != nil || p != nil {
		return conf, p, err
	}
	p, err = a.openStore(ctx, conf, cfg, log)
	return conf, p, err
}

// openStore opens the store, made where there is none yet, and adds its remotes to conf.
func (a *app) openStore(ctx context.Context, conf *remotes.Composed, cfg configs.Config, log *slog.Logger) (*parts, error) {
	p, err := open(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	if err := a.attach(ctx, conf, p); err != nil {
		p.closeLogged()
		return nil, err
	}
	return p, nil
}

// openOrder sets up the remotes, reads the order of SRC, DST and the flags, and opens the store. A wrong order makes no
// store.
func (a *app) openOrder(c *cli.Context, cfg configs.Config, log *slog.Logger) (p *parts, order jobs.Order, err error) {
	p, err = a.openWith(c, cfg, log, func() (err error) {
		order, err = a.readOrder(c, cfg)
		return err
	})
	return p, order, err
}

// openWith sets up the remotes, has the command line read, and opens the store.
func (a *app) openWith(c *cli.Context, cfg configs.Config, log *slog.Logger, read func() error) (*parts, error) {
	conf, p, err := a.setUpRemotes(c.Context, cfg, log)
	if err != nil {
		return nil, err
	}
	if err = read(); err == nil && p == nil {
		p, err = a.openStore(c.Context, conf, cfg, log)
	}
	if err != nil {
		if p != nil {
			p.closeLogged()
		}
		return nil, err
	}
	return p, nil
}

// remotesKey is the file with the random key that seals the remotes of an embedded store where no password is set.
func remotesKey(cfg configs.Config) string { return filepath.Join(cfg.Data, "remotes.key") }

// attach adds the remotes that the store keeps sealed to those that rclone sees.
func (a *app) attach(ctx context.Context, conf *remotes.Composed, p *parts) error {
	password, err := a.remotesPassword(p.cfg)
	if err != nil {
		return err
	}
	o := remotes.Options{Client: p.store.Client(), Password: password, Log: p.log}
	if p.store.Embedded() {
		o.KeyFile = remotesKey(p.cfg)
	}
	sealed, err := remotes.Open(ctx, o)
	if err != nil {
		return sealFailure(p.cfg, err)
	}
	conf.Attach(sealed)
	p.remotes = conf
	return nil
}

// maxPassFile bounds a file with a secret, in bytes.
const maxPassFile = 64 << 10

// remotesPassword returns the password that seals the remotes, "" where none is set.
func (a *app) remotesPassword(cfg configs.Config) (string, error) {
	if password, _ := a.lookup("OFFLOAD_CONFIG_PASS"); password != "" {
		return password, nil
	}
	if cfg.Remotes.PassFile == "" {
		return "", nil
	}
	return readSecretFile("remotes.pass_file", cfg.Remotes.PassFile)
}

// readSecretFile reads a file that holds one secret; name is what errors call it.
func readSecretFile(name, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usageError("name a readable file that holds the secret and nothing else", "%s: read %s: %w", name, configs.Quote(path), bare(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPassFile))
	if err != nil {
		return "", usageError("name a readable file that holds the secret and nothing else", "%s: read %s: %w", name, configs.Quote(path), bare(err))
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", usageError("write the secret into it", "%s: %s is empty", name, configs.Quote(path))
	}
	return secret, nil
}

// sealFailure says what to do where the sealed remotes can't be opened or sealed.
func sealFailure(cfg configs.Config, err error) error {
	switch {
	case errors.Is(err, remotes.ErrPassword) && cfg.Redis == "" && exists(remotesKey(cfg)):
		return usageError("unset OFFLOAD_CONFIG_PASS and remotes.pass_file: "+remotesKey(cfg)+" seals the remotes of this store", "open the remotes: %w", err)
	case errors.Is(err, remotes.ErrPassword):
		return usageError("set OFFLOAD_CONFIG_PASS, or remotes.pass_file, to the password that the first remote was added with", "open the remotes: %w", err)
	case errors.Is(err, remotes.ErrNoPassword):
		return usageError("set OFFLOAD_CONFIG_PASS to a password, or OFFLOAD_CONFIG_PASS_FILE to a file that holds one, the same for every worker", "open the remotes: %w", err)
	case errors.Is(err, remotes.ErrKeyFile):
		return usageError("put the file back from a backup of the data folder, or set OFFLOAD_CONFIG_PASS if that sealed them", "open the remotes: %w", err)
	}
	return failure("check that the store answers; docs/remotes.md says how remotes are kept", err)
}

// rcloneLevel is what rclone needs to produce for our log level; its informational lines are one for each file.
func rcloneLevel(ctx context.Context, log *slog.Logger) fs.LogLevel {
	switch {
	case log.Enabled(ctx, slog.LevelDebug):
		return fs.LogLevelDebug
	case log.Enabled(ctx, slog.LevelInfo):
		return fs.LogLevelNotice
	case log.Enabled(ctx, slog.LevelWarn):
		return fs.LogLevelWarning
	}
	return fs.LogLevelError
}

// rcloneHandler writes rclone's records to our log. rclone reports retries and failed files as errors; those reach
// people as outcomes of the job, so here they are warnings.
type rcloneHandler struct{ next slog.Handler }

func (h rcloneHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, rcloneToSlog(level))
}

func (h rcloneHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "config in: ") || strings.HasPrefix(r.Message, "config out: ") {
		return nil // the conversation of a sign-in: what a service answers in it may repeat what was sent
	}
	r.Level = rcloneToSlog(r.Level)
	return h.next.Handle(ctx, r)
}

func (h rcloneHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return rcloneHandler{h.next.WithAttrs(attrs)}
}

func (h rcloneHandler) WithGroup(name string) slog.Handler {
	return rcloneHandler{h.next.WithGroup(name)}
}

// rcloneToSlog maps rclone's levels, some of which lie between slog's, to those of slog.
func rcloneToSlog(level slog.Level) slog.Level {
	switch {
	case level >= fs.SlogLevelCritical:
		return slog.LevelError
	case level >= slog.LevelWarn:
		return slog.LevelWarn
	case level >= slog.LevelInfo:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
