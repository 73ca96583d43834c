package quota

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unlimited is the limit of a plan that counts but never refuses.
const Unlimited = -1

// maxBytes is the largest number of bytes that any one value may have. Lua numbers are doubles, exact to 2^53: two
// such values can be added without a rounding error.
const maxBytes = 1 << 52

// Defaults of Config.
const (
	defaultAnchor  = 1
	defaultZone    = "UTC"
	defaultQuantum = 4 << 20
	defaultLease   = time.Minute
)

// Tier is a named traffic allowance, which people call a plan.
type Tier struct {
	Name  string
	Limit int64 // bytes a period, or Unlimited
}

// DefaultTiers returns the plans of an installation that configures none.
func DefaultTiers() []Tier {
	return []Tier{{"free", 5 << 30}, {"basic", 150 << 30}, {"plus", 1 << 40}, {"unlimited", Unlimited}}
}

// Config of a ledger. Every process that shares a Redis should have the same.
type Config struct {
	Tiers       []Tier        // Defaults to DefaultTiers.
	DefaultTier string        // Plan of accounts that have none. Defaults to the first tier.
	AnchorDay   int           // Day of the month, 1 to 31, that periods begin on. Defaults to 1.
	TimeZone    string        // IANA name of the zone whose midnight it is. Defaults to UTC.
	Quantum     int64         // Bytes that a pool books ahead of reading. Defaults to 4 MiB.
	Lease       time.Duration // How long a reservation outlives its last renewal. Defaults to 60 s, at least 1 s.
	Log         *slog.Logger  // Defaults to none.

	Accounts map[string]AccountSettings // Settings of single accounts; what Set stores outranks them.
	Remotes  map[string]RemoteLimits    // Limits of remotes, by name; what Set stores outranks them.
}

// AccountSettings are the configured settings of one account. Zero values are the common defaults.
type AccountSettings struct {
	Plan      string
	Limit     int64 // bytes a month, Unlimited; 0 is the plan's
	AnchorDay int
	TimeZone  string
}

// RemoteLimits are the configured limits of one remote; 0 is none.
type RemoteLimits struct {
	PerDay   int64 // bytes
	PerMonth int64 // bytes
	Calls    int64 // API calls a month
}

// of returns the limit of a measure.
func (r RemoteLimits) of(m Measure) int64 {
	switch m {
	case PerDay:
		return r.PerDay
	case PerMonth:
		return r.PerMonth
	}
	return r.Calls
}

// withDefaults returns c with every zero field set to its default.
func (c Config) withDefaults() Config {
	if len(c.Tiers) == 0 {
		c.Tiers = DefaultTiers()
	}
	if c.DefaultTier == "" {
		c.DefaultTier = c.Tiers[0].Name
	}
	if c.AnchorDay == 0 {
		c.AnchorDay = defaultAnchor
	}
	if c.TimeZone == "" {
		c.TimeZone = defaultZone
	}
	if c.Quantum == 0 {
		c.Quantum = defaultQuantum
	}
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// validate returns every mistake in c, joined; each is an *InputError.
func (c Config) validate() error {
	errs := []error{checkAnchor(c.AnchorDay), checkZone(c.TimeZone)}
	seen := map[string]bool{}
	for _, t := range c.Tiers {
		if !namePattern.MatchString(t.Name) {
			errs = append(errs, inputError("tier", t.Name, nameRule, "isn't a valid name"))
		}
		if seen[t.Name] {
			errs = append(errs, inputError("tier", t.Name, "give each tier a name of its own", "is there twice"))
		}
		seen[t.Name] = true
		errs = append(errs, checkLimit(t.Limit))
	}
	if !seen[c.DefaultTier] {
		errs = append(errs, unknownTier("default-tier", c.DefaultTier, c.Tiers))
	}
	if c.Quantum < 1 || c.Quantum > maxBytes {
		errs = append(errs, inputError("quantum", strconv.FormatInt(c.Quantum, 10), "leave it out for 4 MiB", "must be at least 1 byte"))
	}
	if c.Lease < time.Second {
		errs = append(errs, inputError("lease", c.Lease.String(), "leave it out for 60 s", "must be at least 1 s"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Accounts)) {
		errs = append(errs, c.checkSettings(name, c.Accounts[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Remotes)) {
		errs = append(errs, checkRemote(name))
		for _, m := range Measures() {
			if n := c.Remotes[name].of(m); n < 0 || n > maxBytes {
				errs = append(errs, inputError(m.flag(), strconv.FormatInt(n, 10), "leave it out for no limit",
					fmt.Sprintf("of remote %s must be 0 to %d", shortened(name), int64(maxBytes))))
			}
		}
	}
	return errors.Join(errs...)
}

// checkSettings returns every mistake in the settings of an account, joined.
func (c Config) checkSettings(account string, s AccountSettings) error {
	errs := []error{checkAccount(account), checkLimit(s.Limit)}
	if _, ok := c.tier(s.Plan); !ok {
		errs = append(errs, unknownTier("plan", s.Plan, c.Tiers))
	}
	if s.AnchorDay != 0 {
		errs = append(errs, checkAnchor(s.AnchorDay))
	}
	if s.TimeZone != "" {
		errs = append(errs, checkZone(s.TimeZone))
	}
	return errors.Join(errs...)
}

// tier returns the tier of that name; "" is the default one.
func (c Config) tier(name string) (Tier, bool) {
	if name == "" {
		name = c.DefaultTier
	}
	for _, t := range c.Tiers {
		if t.Name == name {
			return t, true
		}
	}
	return Tier{}, false
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

const nameRule = "use 1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"

func checkAccount(name string) error {
	if namePattern.MatchString(name) {
		return nil
	}
	return inputError("account", strconv.Quote(name), nameRule, "isn't a valid name")
}

func checkLimit(n int64) error {
	if n == Unlimited || n >= 0 && n <= maxBytes {
		return nil
	}
	return inputError("limit", strconv.FormatInt(n, 10), "use a size such as 40GiB, or -1 for unlimited", "must be 0 to 4 PiB, or -1")
}

func checkAnchor(day int) error {
	if day >= 1 && day <= 31 {
		return nil
	}
	return inputError("anchor-day", strconv.Itoa(day), "months with fewer days use their last one", "must be 1 to 31")
}

func checkZone(name string) error {
	// "Local" would be another zone on another worker.
	if name != "" && name != "Local" {
		_, err := time.LoadLocation(name)
		if err == nil {
			return nil
		}
	}
	return inputError("time-zone", strconv.Quote(name), "use an IANA name such as Europe/Berlin or UTC", "is no known time zone")
}

func unknownTier(field, name string, tiers []Tier) error {
	names := make([]string, len(tiers))
	for i, t := range tiers {
		names[i] = t.Name
	}
	return inputError(field, strconv.Quote(name), "use one of "+strings.Join(names, ", "), "is no known plan")
}

// checkBytes refuses numbers of bytes that can't be counted exactly.
func checkBytes(field string, n int64) error {
	if n >= 0 && n <= maxBytes {
		return nil
	}
	return inputError(field, strconv.FormatInt(n, 10), "", fmt.Sprintf("must be 0 to %d bytes", int64(maxBytes)))
}

func inputError(field, value, hint, cause string) error {
	return &InputError{Field: field, Value: value, Hint: hint, Err: errors.New(cause)}
}
