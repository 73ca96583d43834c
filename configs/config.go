package configs

import (
	_ "embed"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/goccy/go-yaml"
)

//go:embed offload.yaml
var example []byte

// Example returns the annotated default configuration file: every setting with its default and what it means.
func Example() []byte { return append([]byte(nil), example...) }

// Config is every setting of the program. The zero value of a field means its default.
type Config struct {
	// Redis is the address of the store: redis://, unix://, redis-sentinel:// or redis-cluster://; with TLS rediss://,
	// rediss-sentinel:// or rediss-cluster://.
	// Defaults to "", the embedded store in the data folder.
	Redis string `yaml:"redis" json:"redis"`
	// Data is the folder of the embedded store, the spool and the caches. Defaults to the user's state folder.
	Data string `yaml:"data" json:"data"`
	// Fsync says how often the embedded store is forced to disk: everysec or always. Defaults to everysec.
	Fsync string `yaml:"fsync" json:"fsync"`
	// RcloneConfig is the rclone.conf with the remotes. Defaults to where rclone itself looks for it.
	RcloneConfig string `yaml:"rclone_config" json:"rclone_config"`
	// Account pays the traffic of jobs that name no account. Defaults to "default".
	Account string  `yaml:"account" json:"account"`
	Remotes Remotes `yaml:"remotes" json:"remotes"`
	Log     Log     `yaml:"log" json:"log"`
	Quota   Quota   `yaml:"quota" json:"quota"`
	Worker  Worker  `yaml:"worker" json:"worker"`
	Workers Workers `yaml:"workers" json:"workers"`
	// Dashboard is where the pages and the API are, and for whom.
	Dashboard Dashboard `yaml:"dashboard" json:"dashboard"`
	// Messages says who is told what happens.
	Messages Messages `yaml:"messages" json:"messages"`
	// ICloudPlans are the sizes of iCloud's plans, the smallest first, for `offload doctor`. Defaults to 5GiB, 50GiB, 200GiB,
	// 2TiB, 6TiB, 12TiB.
	ICloudPlans []Size `yaml:"icloud_plans" json:"icloud_plans"`
}

// Remotes says how the remotes that are kept in the store are sealed.
type Remotes struct {
	// PassFile holds the password that seals them. Defaults to "": the password is in OFFLOAD_CONFIG_PASS, or, on the
	// embedded store, a random key in the data folder takes its place.
	PassFile string `yaml:"pass_file" json:"pass_file"`
}

// Log says what is logged to stderr and how.
type Log struct {
	// Level is debug, info, warn or error. Defaults to info for worker and up, and to warn for the other commands.
	Level string `yaml:"level" json:"level"`
	// Format is text or json. Defaults to text.
	Format string `yaml:"format" json:"format"`
}

// Quota is what accounts and remotes may move. What `offload quota set` stores outranks it.
type Quota struct {
	// Tiers are the plans that an account can have. Defaults to free 5GiB, basic 150GiB, plus 1TiB, unlimited.
	Tiers []Tier `yaml:"tiers" json:"tiers"`
	// DefaultTier is the plan of an account that was given none. Defaults to the first tier.
	DefaultTier string `yaml:"default_tier" json:"default_tier"`
	// AnchorDay is the day of the month, 1 to 31, on which a period begins. Defaults to 1.
	AnchorDay int `yaml:"anchor_day" json:"anchor_day"`
	// TimeZone is the IANA zone whose midnight begins a period. Defaults to UTC.
	TimeZone string `yaml:"time_zone" json:"time_zone"`
	// Accounts are accounts with settings of their own, by name. Defaults to none.
	Accounts map[string]Account `yaml:"accounts" json:"accounts"`
	// Remotes are limits of remotes, by the name before the colon; all jobs share them. Defaults to none.
	Remotes map[string]RemoteLimits `yaml:"remotes" json:"remotes"`
	// BwLimit is what all jobs together move a second, in rclone's syntax: a rate ("4M") or a timetable. Its user parses
	// it. Defaults to "", no limit.
	BwLimit string `yaml:"bwlimit" json:"bwlimit"`
}

// Account is what one account may move; its zero fields are what all accounts start with.
type Account struct {
	// Plan is the name of a tier.
	Plan string `yaml:"plan,omitempty" json:"plan,omitempty"`
	// Limit in bytes a period takes the place of the plan's; Unlimited is no limit.
	Limit Size `yaml:"limit,omitempty" json:"limit,omitempty"`
	// AnchorDay and TimeZone say when a period begins.
	AnchorDay int    `yaml:"anchor_day,omitempty" json:"anchor_day,omitempty"`
	TimeZone  string `yaml:"time_zone,omitempty" json:"time_zone,omitempty"`
}

// RemoteLimits are what all jobs together may do with one remote. Zero and Unlimited are no limit.
type RemoteLimits struct {
	// PerDay is bytes through the remote, in or out, from midnight to midnight.
	PerDay Size `yaml:"per_day,omitempty" json:"per_day,omitempty"`
	// PerMonth is the same from the first of a month to the next.
	PerMonth Size `yaml:"per_month,omitempty" json:"per_month,omitempty"`
	// CallsPerMonth is API calls from the first of a month to the next.
	CallsPerMonth Count `yaml:"calls_per_month,omitempty" json:"calls_per_month,omitempty"`
}

// Tier is a named traffic allowance.
type Tier struct {
	Name string `yaml:"name" json:"name"`
	// Limit in bytes a period; Unlimited is no limit.
	Limit Size `yaml:"limit" json:"limit"`
}

// Worker is how much one worker process does at once.
type Worker struct {
	// Batches at once. Defaults to 16.
	Batches int `yaml:"batches" json:"batches"`
	// Transfers is the number of files at once over all batches. Defaults to 0, which adapts to the remotes.
	Transfers int `yaml:"transfers" json:"transfers"`
}

// Workers is what all worker processes together do at once.
type Workers struct {
	Files Files `yaml:"files" json:"files"`
}

// Files are limits of how many files all workers together move at once. What `offload workers set` stores outranks them.
type Files struct {
	// Remotes by the name before the colon: files from and to each. Defaults to none, no limit.
	Remotes map[string]int `yaml:"remotes" json:"remotes"`
	// Accounts by name: files of the jobs of each. Defaults to none, no limit.
	Accounts map[string]int `yaml:"accounts" json:"accounts"`
}

// WithDefaults returns c with every unset field set to its default; dataDir is the one of Data (see DefaultDataDir).
// Log.Level stays empty, since its default depends on the command.
func (c Config) WithDefaults(dataDir string) Config {
	setDefault(&c.Data, dataDir)
	setDefault(&c.Fsync, "everysec")
	setDefault(&c.Account, "default")
	setDefault(&c.Log.Format, "text")
	setDefault(&c.Quota.TimeZone, "UTC")
	if len(c.Quota.Tiers) == 0 {
		c.Quota.Tiers = defaultTiers()
	}
	setDefault(&c.Quota.DefaultTier, c.Quota.Tiers[0].Name)
	setDefault(&c.Quota.AnchorDay, 1)
	if c.Quota.Accounts == nil {
		c.Quota.Accounts = map[string]Account{}
	}
	if c.Quota.Remotes == nil {
		c.Quota.Remotes = map[string]RemoteLimits{}
	}
	setDefault(&c.Worker.Batches, 16)
	if c.Workers.Files.Remotes == nil {
		c.Workers.Files.Remotes = map[string]int{}
	}
	if c.Workers.Files.Accounts == nil {
		c.Workers.Files.Accounts = map[string]int{}
	}
	c.Dashboard = c.Dashboard.withDefaults()
	c.Messages = c.Messages.withDefaults()
	if len(c.ICloudPlans) == 0 {
		c.ICloudPlans = defaultICloudPlans()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func defaultTiers() []Tier {
	return []Tier{
		{Name: "free", Limit: 5 << 30},
		{Name: "basic", Limit: 150 << 30},
		{Name: "plus", Limit: 1 << 40},
		{Name: "unlimited", Limit: Unlimited},
	}
}

// DefaultDataDir returns the state folder of the program for a user with that home folder.
func DefaultDataDir(home string, getenv func(string) string) string {
	switch runtime.GOOS {
	case "darwin", "ios":
		return filepath.Join(home, "Library", "Application Support", "offload")
	case "windows":
		if dir := getenv("LocalAppData"); dir != "" {
			return filepath.Join(dir, "offload")
		}
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "offload")
	}
	return filepath.Join(home, ".local", "state", "offload")
}

// DefaultFile returns where the configuration file is looked for when none is named.
func DefaultFile(home string, getenv func(string) string) string {
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "offload", "offload.yaml")
	}
	return filepath.Join(home, ".config", "offload", "offload.yaml")
}

// Masked returns c without the secrets in it, fit for printing and logging.
func (c Config) Masked() Config {
	c.Redis = MaskURL(c.Redis)
	c.Dashboard = c.Dashboard.masked()
	c.Messages = c.Messages.masked()
	return c
}

// String returns c as YAML with its secrets masked.
func (c Config) String() string {
	out, err := yaml.Marshal(c.Masked())
	if err != nil {
		return "configuration that can't be written as YAML: " + err.Error()
	}
	return string(out)
}

// LogValue masks the secrets of a logged Config.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MaskURL returns the address without its password and without its query, both of which can hold secrets. What isn't
// an address is masked whole.
func MaskURL(raw string) string {
	if raw == "" {
		return ""
	}
	scheme, _, found := strings.Cut(raw, "://")
	if !found || strings.ContainsAny(scheme, ":@/ ") {
		return "***"
	}
	u, err := url.Parse(raw)
	if err != nil {
		return scheme + "://***"
	}
	if u.User != nil {
		if _, has := u.User.Password(); has || u.User.Username() != "" {
			u.User = url.User("***")
		}
	}
	if u.RawQuery != "" {
		u.RawQuery = "***"
	}
	return strings.ReplaceAll(u.String(), "%2A%2A%2A", "***")
}
