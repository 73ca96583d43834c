package configs

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones are known on machines without a zone database, too
)

// The most that one worker may be told to do at once.
const (
	MaxBatches   = 1024
	MaxTransfers = 256
	maxFiles     = 10_000 // at once, over all workers
)

// FieldError says what is wrong with one setting.
type FieldError struct {
	Field string // as the file names it: "quota.anchor_day"
	Value string // "" where it is secret or missing
	Err   error
	Hint  string // what to do
}

func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("setting %s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("setting %s: %s %v", e.Field, Quote(e.Value), e.Err)
}

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// Validate checks a Config that has its defaults. All mistakes are returned at once, as *FieldErrors joined.
func (c Config) Validate() error {
	var errs []error
	add := func(field, value, problem, hint string) {
		errs = append(errs, &FieldError{Field: field, Value: value, Err: errors.New(problem), Hint: hint})
	}
	oneOf := func(field, value string, choices ...string) {
		if !slices.Contains(choices, value) {
			add(field, value, "is not one of "+strings.TrimPrefix(strings.Join(choices, ", "), ", "), "choose one of them")
		}
	}
	between := func(field string, n, min, max int) {
		if n < min || n > max {
			add(field, fmt.Sprint(n), fmt.Sprintf("is not from %d to %d", min, max), "choose a number in that range")
		}
	}
	if problem := checkRedis(c.Redis); problem != "" {
		add("redis", "", MaskURL(c.Redis)+" "+problem, "write redis://host:6379/0 or unix:///path/to/socket, or leave it empty for the embedded store")
	}
	if strings.ContainsRune(c.Data, 0) {
		add("data", c.Data, "is no folder name", "name a folder")
	}
	if strings.ContainsRune(c.Remotes.PassFile, 0) {
		add("remotes.pass_file", c.Remotes.PassFile, "is no file name", "name the file with the password")
	}
	oneOf("fsync", c.Fsync, "everysec", "always")
	if !accountName.MatchString(c.Account) {
		add("account", c.Account, "is no account name", "use up to 64 of a-z 0-9 . _ -")
	}
	oneOf("log.level", c.Log.Level, "", "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	between("worker.batches", c.Worker.Batches, 1, MaxBatches)
	between("worker.transfers", c.Worker.Transfers, 0, MaxTransfers)
	between("quota.anchor_day", c.Quota.AnchorDay, 1, 31)
	if !knownZone(c.Quota.TimeZone) {
		add("quota.time_zone", c.Quota.TimeZone, "is no time zone", zoneHint)
	}
	c.Quota.validateTiers(add)
	c.Quota.validateAccounts(add)
	c.Quota.validateRemotes(add)
	c.Workers.Files.validate(add)
	c.Dashboard.validate(add)
	c.Messages.validate(add)
	validatePlans(c.ICloudPlans, add)
	return errors.Join(errs...)
}

var (
	accountName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	tierName    = accountName
)

func (q Quota) validateTiers(add func(field, value, problem, hint string)) {
	seen := map[string]bool{}
	for i, t := range q.Tiers {
		field := fmt.Sprintf("quota.tiers[%d]", i)
		switch {
		case !tierName.MatchString(t.Name):
			add(field+".name", t.Name, "is no plan name", "use up to 64 of a-z 0-9 . _ -")
		case seen[t.Name]:
			add(field+".name", t.Name, "is there twice", "give each plan a name of its own")
		case t.Limit == 0:
			add(field+".limit", "", "the limit is missing or 0, which would allow nothing", "write a size such as 5GiB, or unlimited")
		}
		seen[t.Name] = true
	}
	if !seen[q.DefaultTier] {
		add("quota.default_tier", q.DefaultTier, "is none of the plans in quota.tiers", "name one of them")
	}
}

const zoneHint = "use an IANA name such as Europe/Berlin or UTC"

// knownZone refuses "Local", which would be another zone on another worker.
func knownZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "" && name != "Local"
}

// validateAccounts reports in the order of names, so that a message stays the same from run to run.
func (q Quota) validateAccounts(add func(field, value, problem, hint string)) {
	for _, name := range slices.Sorted(maps.Keys(q.Accounts)) {
		a, field := q.Accounts[name], "quota.accounts."+name
		if !accountName.MatchString(name) {
			add("quota.accounts", name, "is no account name", "use up to 64 of a-z 0-9 . _ -")
			continue
		}
		known := func(t Tier) bool { return t.Name == a.Plan }
		if a.Plan != "" && !slices.ContainsFunc(q.Tiers, known) {
			add(field+".plan", a.Plan, "is none of the plans in quota.tiers", "name one of them")
		}
		if a.AnchorDay < 0 || a.AnchorDay > 31 {
			add(field+".anchor_day", fmt.Sprint(a.AnchorDay), "is not from 1 to 31", "choose a number in that range")
		}
		if a.TimeZone != "" && !knownZone(a.TimeZone) {
			add(field+".time_zone", a.TimeZone, "is no time zone", zoneHint)
		}
	}
}

func (q Quota) validateRemotes(add func(field, value, problem, hint string)) {
	for _, name := range slices.Sorted(maps.Keys(q.Remotes)) {
		if CheckRemote(name) != nil {
			add("quota.remotes", name, "is no name of a remote", "write it without the colon: gdrive for gdrive:")
		} else if q.Remotes[name] == (RemoteLimits{}) {
			add("quota.remotes."+name, "", "no limit is named", "add per_day, per_month or calls_per_month, or leave the remote out")
		}
	}
}

// validate reports in the order of names.
func (f Files) validate(add func(field, value, problem, hint string)) {
	check := func(field string, limits map[string]int, bad func(string) bool, problem, hint string) {
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if n := limits[name]; bad(name) {
				add(field, name, problem, hint)
			} else if n < 1 || n > maxFiles {
				add(field+"."+name, fmt.Sprint(n), fmt.Sprintf("is not from 1 to %d", maxFiles), "choose a number in that range, or leave it out for no limit")
			}
		}
	}
	check("workers.files.remotes", f.Remotes, func(name string) bool { return CheckRemote(name) != nil },
		"is no name of a remote", "write it without the colon: icloud for icloud:")
	check("workers.files.accounts", f.Accounts, func(name string) bool { return !accountName.MatchString(name) },
		"is no account name", "use up to 64 of a-z 0-9 . _ -")
}

// checkRedis returns what is wrong with the address, "" for nothing. It never repeats any part of it.
func checkRedis(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(oneHost(raw))
	if err != nil {
		return "is no address"
	}
	switch u.Scheme {
	case "redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster":
		if u.Host == "" || strings.HasPrefix(u.Host, ":") {
			return "names no host"
		}
	case "unix":
		if u.Path == "" || u.Host != "" {
			return "names no socket with its full path"
		}
	default:
		return "does not begin with redis://, rediss://, unix://, redis-sentinel://, rediss-sentinel://, redis-cluster:// or rediss-cluster://"
	}
	if strings.HasSuffix(u.Scheme, "-sentinel") && u.Query().Get("master") == "" {
		return "names no master (?master=NAME)"
	}
	return ""
}

// oneHost leaves the first of the servers that an address names: net/url reads no list of them.
func oneHost(raw string) string {
	address, query, asks := strings.Cut(raw, "?")
	at := strings.LastIndex(address, "@") + 1 // 0 without a user
	user, rest := address[:at], address[at:]
	if first, others, several := strings.Cut(rest, ","); several {
		if _, path, has := strings.Cut(others, "/"); has {
			first += "/" + path
		}
		rest = first
	}
	if asks {
		rest += "?" + query
	}
	return user + rest
}
