package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/urfave/cli/v2"

	"offload/configs"
	"offload/transfer"
)

// settings reads the configuration: default, file, environment and flags, the later ones winning. defaultLevel is the
// log level where none is set.
func (a *app) settings(c *cli.Context, defaultLevel string) (configs.Config, *slog.Logger, error) {
	getenv := func(name string) string { v, _ := a.lookup(name); return v }
	home := orDefault(getenv("HOME"), getenv("USERPROFILE"))
	file, named := c.String("config"), c.IsSet("config")
	if named && file == "" {
		return configs.Config{}, nil, usageError("name a settings file", "--config: the file name is empty")
	}
	if file == "" {
		file, named = getenv("OFFLOAD_CONFIG"), getenv("OFFLOAD_CONFIG") != ""
	}
	if file == "" {
		file = configs.DefaultFile(home, getenv)
	}
	cfg, err := configs.ReadFile(file, named)
	if err != nil {
		return cfg, nil, err
	}
	if cfg, err = cfg.WithEnv(a.lookup); err != nil {
		return cfg, nil, err
	}
	flags := map[string]*string{
		"redis": &cfg.Redis, "data": &cfg.Data, "rclone-config": &cfg.RcloneConfig,
		"log-level": &cfg.Log.Level, "log-format": &cfg.Log.Format,
	}
	for name, field := range flags {
		if !c.IsSet(name) {
			continue
		}
		if *field = c.String(name); *field == "" && name != "redis" {
			return cfg, nil, usageError("give it a value, or leave it out", "--%s: the value is empty", name)
		}
	}
	dataDir := configs.DefaultDataDir(home, getenv)
	if home == "" && cfg.Data == "" && cfg.Redis == "" {
		return cfg, nil, usageError("name a folder with --data", "there is no home folder (HOME is empty) to keep data in")
	}
	cfg = cfg.WithDefaults(dataDir)
	if err := errors.Join(cfg.Validate(), checkFleetBandwidth(cfg)); err != nil {
		return cfg, nil, err
	}
	if cfg.Data, err = absoluteDir(cfg.Data); err != nil {
		return cfg, nil, err
	}
	log := newLog(a.err, orDefault(cfg.Log.Level, defaultLevel), cfg.Log.Format)
	log.Debug("settings", "settings", cfg)
	return cfg, log, nil
}

// open reads the settings of a command that only looks at the store or changes it, and opens what they name.
func (a *app) open(c *cli.Context) (*parts, error) {
	cfg, log, err := a.settings(c, "warn")
	if err != nil {
		return nil, err
	}
	return open(c.Context, cfg, log)
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	// Validate has accepted the level; an unknown one would leave info.
	_ = l.UnmarshalText([]byte(level))
	opts := &slog.HandlerOptions{Level: l, ReplaceAttr: withoutQueries}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// withoutQueries takes what may be signed off the addresses in a record of the log.
func withoutQueries(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(transfer.WithoutQueries(v.String()))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			a.Value = slog.StringValue(transfer.WithoutQueries(err.Error()))
		}
	}
	return a
}

// switchWriter lets messages and the log go through the bars while those are drawn, so that neither tears the other.
type switchWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *switchWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// swap sets the writer and returns the one before.
func (s *switchWriter) swap(w io.Writer) io.Writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.w
	s.w = w
	return before
}

// exists tells whether there is anything at path, or may be.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !os.IsNotExist(err)
}
