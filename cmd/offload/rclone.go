package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/accounting"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"

	"offload/configs"
)

// setUpRclone gives rclone, whose settings are global, its configuration file, cache folder, log and name. It is
// called once, before any remote is opened. A missing configuration file is an error only where it was named.
func setUpRclone(ctx context.Context, cfg configs.Config, log *slog.Logger) error {
	fs.SetLogger(rcloneHandler{log.With("from", "rclone").Handler()})
	ci := fs.GetConfig(ctx)
	ci.LogLevel = rcloneLevel(ctx, log)
	ci.AskPassword = false // an encrypted rclone.conf is opened with RCLONE_CONFIG_PASS
	ci.UserAgent = "offload/" + buildVersion()
	if cfg.RcloneConfig != "" {
		if _, err := os.Stat(cfg.RcloneConfig); err != nil {
			return usageError("name an existing rclone.conf with --rclone-config or RCLONE_CONFIG", "rclone configuration %s: %w", configs.Quote(cfg.RcloneConfig), bare(err))
		}
		if err := config.SetConfigPath(cfg.RcloneConfig); err != nil {
			return usageError("name an existing rclone.conf", "rclone configuration %s: %w", configs.Quote(cfg.RcloneConfig), err)
		}
	}
	if err := config.SetCacheDir(filepath.Join(cfg.Data, "rclone")); err != nil {
		return fmt.Errorf("set rclone's cache folder: %w", err)
	}
	configfile.Install()
	// LoadedData would end the process on a file that can't be read: find that out first.
	if err := config.Data().Load(); err != nil && !errors.Is(err, config.ErrorConfigFileNotFound) {
		return usageError("check the file with `rclone config show`; an encrypted one needs RCLONE_CONFIG_PASS", "rclone configuration %s: %w", config.GetConfigPath(), err)
	}
	config.LoadedData()
	accounting.Start(ctx)
	return nil
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
