package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
)

// FileError says what is wrong with a configuration file, and where.
type FileError struct {
	File string
	Line int // from 1; 0 where it isn't known
	Err  error
	Hint string // what to do
}

func (e *FileError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s line %d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.File, e.Err)
}

// Unwrap returns the cause.
func (e *FileError) Unwrap() error { return e.Err }

// maxFile bounds a configuration file, in bytes: what is larger was named by mistake.
const maxFile = 1 << 20

// ReadFile reads the configuration file at path. A missing file is an error only if must is set; otherwise it is the
// same as an empty one. Mistakes are a *FileError.
func ReadFile(path string, must bool) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && !must {
		return Config{}, nil
	}
	if err != nil {
		return Config{}, fileError(path, reason(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Config{}, fileError(path, reason(err))
	}
	if len(text) > maxFile {
		return Config{}, fileError(path, errors.New("is larger than 1 MiB"))
	}
	return Parse(path, text)
}

// Parse reads a configuration from text; name is what errors call it. Mistakes are a *FileError.
func Parse(name string, text []byte) (Config, error) {
	var c Config
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict(), yaml.CustomUnmarshaler(wholeNumber))
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, yamlError(name, text, err)
	}
	if err := dec.Decode(&Config{}); !errors.Is(err, io.EOF) {
		return Config{}, fileError(name, errors.New("holds more than one document"))
	}
	return c, nil
}

// wholeNumber refuses what the YAML library would cut to a whole number by itself.
func wholeNumber(n *int, raw []byte) error {
	text := string(scalar(raw))
	value, err := ParseCount(text, -1<<31, 1<<31-1)
	if err != nil {
		return &valueError{raw, errors.New(Quote(text) + " is not a whole number")}
	}
	*n = int(value)
	return nil
}

// scalar strips the comment and the space around a value.
func scalar(raw []byte) []byte {
	code, _, _ := bytes.Cut(raw, []byte(" #"))
	return bytes.TrimSpace(code)
}

// lineOf finds the first line that ends in the value, from 1; 0 if there is none.
func lineOf(text, value []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if bytes.HasSuffix(scalar(line), append([]byte(": "), scalar(value)...)) {
			return n
		}
	}
	return 0
}

// yamlError keeps the parser's message and line, and leaves out the source lines, which may hold a password.
func yamlError(name string, text []byte, err error) *FileError {
	out := fileError(name, errors.New("is no valid YAML"))
	var ours *valueError
	if errors.As(err, &ours) {
		out.Err, out.Line = ours.err, lineOf(text, ours.raw)
		return out
	}
	var y yaml.Error
	if !errors.As(err, &y) {
		out.Err = err
		return out
	}
	var unknown *yaml.UnknownFieldError
	var syntax *yaml.SyntaxError
	switch token := y.GetToken(); {
	case errors.As(err, &unknown) && token != nil:
		out.Err = fmt.Errorf("unknown setting %s", Quote(token.Value))
	case errors.As(err, &syntax):
		out.Err = fmt.Errorf("is no valid YAML: %s", y.GetMessage())
	default:
		out.Err = errors.New(y.GetMessage())
	}
	if t := y.GetToken(); t != nil && t.Position != nil {
		out.Line = t.Position.Line
	}
	return out
}

func fileError(name string, err error) *FileError {
	return &FileError{File: name, Err: err, Hint: "`offload config example` prints every setting with its meaning"}
}

// reason strips the path, which FileError names already.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// setting is one environment variable and the field that it sets.
type setting struct {
	env string
	set func(c *Config, value string) error
}

func settings() []setting {
	text := func(field func(*Config) *string) func(*Config, string) error {
		return func(c *Config, v string) error { *field(c) = v; return nil }
	}
	number := func(field func(*Config) *int, min, max int64) func(*Config, string) error {
		return func(c *Config, v string) error {
			n, err := ParseCount(v, min, max)
			*field(c) = int(n)
			return err
		}
	}
	return []setting{
		{"OFFLOAD_REDIS", text(func(c *Config) *string { return &c.Redis })},
		{"OFFLOAD_DATA", text(func(c *Config) *string { return &c.Data })},
		{"OFFLOAD_FSYNC", text(func(c *Config) *string { return &c.Fsync })},
		{"RCLONE_CONFIG", text(func(c *Config) *string { return &c.RcloneConfig })},
		{"OFFLOAD_CONFIG_PASS_FILE", text(func(c *Config) *string { return &c.Remotes.PassFile })},
		{"OFFLOAD_ACCOUNT", text(func(c *Config) *string { return &c.Account })},
		{"OFFLOAD_LOG_LEVEL", text(func(c *Config) *string { return &c.Log.Level })},
		{"OFFLOAD_LOG_FORMAT", text(func(c *Config) *string { return &c.Log.Format })},
		{"OFFLOAD_QUOTA_DEFAULT_TIER", text(func(c *Config) *string { return &c.Quota.DefaultTier })},
		{"OFFLOAD_QUOTA_ANCHOR_DAY", number(func(c *Config) *int { return &c.Quota.AnchorDay }, 1, 31)},
		{"OFFLOAD_QUOTA_TIME_ZONE", text(func(c *Config) *string { return &c.Quota.TimeZone })},
		{"OFFLOAD_WORKER_BATCHES", number(func(c *Config) *int { return &c.Worker.Batches }, 1, MaxBatches)},
		{"OFFLOAD_WORKER_TRANSFERS", number(func(c *Config) *int { return &c.Worker.Transfers }, 0, MaxTransfers)},
		{"OFFLOAD_DASHBOARD_LISTEN", text(func(c *Config) *string { return &c.Dashboard.Listen })},
		{"OFFLOAD_DASHBOARD_TLS_CERT", text(func(c *Config) *string { return &c.Dashboard.TLSCert })},
		{"OFFLOAD_DASHBOARD_TLS_KEY", text(func(c *Config) *string { return &c.Dashboard.TLSKey })},
		{"OFFLOAD_MESSAGES_URL", func(c *Config, v string) error {
			c.Messages.Targets = []MessageTarget{{Name: EnvTarget, URL: v}}
			return nil
		}},
	}
}

// WithEnv returns c with what the environment sets. An empty variable counts as not set. Mistakes are *FieldErrors,
// joined.
func (c Config) WithEnv(lookup func(string) (string, bool)) (Config, error) {
	var errs []error
	for _, s := range settings() {
		value, ok := lookup(s.env)
		if !ok || value == "" {
			continue
		}
		if err := s.set(&c, value); err != nil {
			errs = append(errs, &FieldError{Field: s.env, Err: err, Hint: "correct or unset the environment variable"})
		}
	}
	return c, errors.Join(errs...)
}
