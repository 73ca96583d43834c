package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/remotes"
	"offload/transfer"
)

// parts are the parts of the program that a command works with.
type parts struct {
	cfg     configs.Config
	log     *slog.Logger
	store   *store.Store
	ledger  *quota.Ledger
	jobs    *jobs.Service
	remotes *remotes.Composed // nil for commands that need no remotes

	openerOnce sync.Once
	openerMade transfer.Opener // by opener, with the first remote that is opened
	openerEnd  func()          // ends what the opener's backends have under way
}

// open opens the store and builds ledger and service on it. The caller closes the parts.
func open(ctx context.Context, cfg configs.Config, log *slog.Logger) (*parts, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, usageError("name a writable folder with --data", "data folder %s can't be made: %w", configs.Quote(cfg.Data), bare(err))
	}
	slog.SetDefault(log)                      // the engine's messages
	store.LogRedis(log.With("from", "redis")) // its own place would be stderr, in a form of its own
	p := &parts{cfg: cfg, log: log}
	var err error
	if p.store, err = store.Open(ctx, store.Options{URL: cfg.Redis, Dir: storeDir(cfg), Fsync: cfg.Fsync, Log: log}); err != nil {
		return nil, storeFailure(cfg, err)
	}
	if p.ledger, err = quota.New(p.store.Client(), quotaConfig(cfg, log)); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.jobs, err = jobs.New(jobs.Config{Store: p.store, Ledger: p.ledger, Log: log, Open: p.openPair, Bandwidth: cfg.Quota.BwLimit,
		Transfers: fileLimits(cfg), Version: buildVersion()}); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func storeDir(cfg configs.Config) string { return filepath.Join(cfg.Data, "store") }

// openExisting is open for commands that only look or act on what is there: where no embedded store was ever made, it
// makes none and returns nil.
func openExisting(ctx context.Context, cfg configs.Config, log *slog.Logger) (*parts, error) {
	if cfg.Redis == "" && !exists(storeDir(cfg)) {
		return nil, nil
	}
	return open(ctx, cfg, log)
}

// existing reads the settings of a command that only looks or acts on what is there, and opens that: see openExisting.
func (a *app) existing(c *cli.Context) (configs.Config, *parts, error) {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return cfg, nil, err
	}
	p, err := openExisting(c.Context, cfg, log)
	return cfg, p, err
}

func storeFailure(cfg configs.Config, err error) error {
	if errors.Is(err, store.ErrURL) {
		return usageError("docs/store.md shows the forms that an address can have", "%w", err)
	}
	if cfg.Redis == "" && errors.Is(err, fs.ErrPermission) {
		return usageError("name a folder that you may write to with --data or OFFLOAD_DATA", "%w", err)
	}
	if cfg.Redis == "" {
		return failure("docs/store.md says what to do where the embedded store refuses to start", err)
	}
	return failure("check the address in --redis or OFFLOAD_REDIS, and that Redis runs", fmt.Errorf("open the store %s: %w", configs.MaskURL(cfg.Redis), err))
}

func quotaConfig(cfg configs.Config, log *slog.Logger) quota.Config {
	tiers := make([]quota.Tier, len(cfg.Quota.Tiers))
	for i, t := range cfg.Quota.Tiers {
		tiers[i] = quota.Tier{Name: t.Name, Limit: int64(t.Limit)}
	}
	accounts := map[string]quota.AccountSettings{}
	for name, acc := range cfg.Quota.Accounts {
		accounts[name] = quota.AccountSettings{Plan: acc.Plan, Limit: int64(acc.Limit), AnchorDay: acc.AnchorDay, TimeZone: acc.TimeZone}
	}
	remotes := map[string]quota.RemoteLimits{}
	for name, r := range cfg.Quota.Remotes {
		// To the ledger 0 is no limit.
		remotes[name] = quota.RemoteLimits{PerDay: max(0, int64(r.PerDay)), PerMonth: max(0, int64(r.PerMonth)), Calls: max(0, int64(r.CallsPerMonth))}
	}
	return quota.Config{
		Accounts: accounts, Remotes: remotes, Tiers: tiers, DefaultTier: cfg.Quota.DefaultTier,
		AnchorDay: cfg.Quota.AnchorDay, TimeZone: cfg.Quota.TimeZone, Log: log,
	}
}

// Close closes what was opened, in the opposite order.
func (p *parts) Close() error {
	var errs []error
	if p.remotes != nil {
		p.remotes.Attach(nil) // it reads from the store
	}
	if p.jobs != nil {
		p.openerMade.Calls.Remove()
		errs = append(errs, p.jobs.Close())
	}
	if p.openerEnd != nil {
		p.openerEnd() // it uses the store
	}
	return errors.Join(append(errs, p.store.Close())...)
}

// closeLogged closes the parts at the end of a command whose result stands already.
func (p *parts) closeLogged() {
	if err := p.Close(); err != nil {
		p.log.Warn("close the store", "error", err)
	}
}

// checkStore refuses a Redis that could lose jobs, and logs what else is doubtful.
func (p *parts) checkStore(ctx context.Context) error {
	warnings, err := p.store.Check(ctx)
	for _, w := range warnings {
		p.log.Warn(w)
	}
	if err != nil {
		return usageError("set `maxmemory-policy noeviction` in Redis' configuration and start again", "the store isn't safe to work on: %w", err)
	}
	return nil
}

func absoluteDir(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", failure("name the folder from the root", fmt.Errorf("find folder %s: %w", configs.Quote(dir), err))
	}
	return full, nil
}
