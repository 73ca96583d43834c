// Package quotaform reads what people write about quotas, on the command line, in forms and through the API, in one way.
package quotaform

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"offload/configs"
	"offload/quota"
	"offload/transfer"
)

// Settings are an account's settings as they were written; nil leaves one as it is.
type Settings struct {
	Plan, Limit, AnchorDay, TimeZone *string
}

// Change reads them. A mistake is a *quota.InputError; whether there is such a plan the ledger knows.
func (s Settings) Change() (quota.Change, error) {
	change := quota.Change{Plan: s.Plan}
	if s.Limit != nil {
		limit, err := configs.ParseLimit(*s.Limit)
		if err != nil {
			return change, &quota.InputError{Field: "limit", Value: *s.Limit, Hint: "write a size like 20GiB, or unlimited", Err: err}
		}
		change.Limit = &limit
	}
	if s.AnchorDay != nil {
		day, err := configs.ParseCount(*s.AnchorDay, 1, 31)
		if err != nil {
			return change, &quota.InputError{Field: "anchor-day", Value: *s.AnchorDay, Hint: "write a day of the month", Err: err}
		}
		n := int(day)
		change.AnchorDay = &n
	}
	if s.TimeZone != nil {
		zone := *s.TimeZone
		if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
			return change, &quota.InputError{Field: "time-zone", Value: zone, Hint: "write an IANA name such as Europe/Berlin or UTC",
				Err: fmt.Errorf("there is no time zone %s", configs.Quote(zone))}
		}
		change.TimeZone = &zone
	}
	return change, nil
}

// Measure is a limit that a remote can have, as forms and flags call it.
type Measure struct {
	Name    string // "per-day"
	Measure quota.Measure
	hint    string
	parse   func(string) (int64, error)
}

// Measures returns all limits that a remote can have.
func Measures() []Measure {
	return []Measure{
		{"per-day", quota.PerDay, "write a size like 750GiB, or unlimited", configs.ParseLimit},
		{"per-month", quota.PerMonth, "write a size like 5TiB, or unlimited", configs.ParseLimit},
		{"calls-per-month", quota.Calls, "write a number like 25000, or unlimited", configs.ParseCountLimit},
	}
}

// Change reads a limit of that measure. A mistake is a *quota.InputError.
func (m Measure) Change(text string) (quota.Change, error) {
	limit, err := m.parse(text)
	if err != nil {
		return quota.Change{}, &quota.InputError{Field: m.Name, Value: text, Hint: m.hint, Err: err}
	}
	return quota.Change{Limit: &limit}, nil
}

// Bandwidths that aren't a rate.
const (
	BandwidthDefault = "default" // takes away what was set: the settings hold again
	BandwidthHint    = "write a rate like 4M, a timetable like \"08:00,512k 19:00,off\", or off"
)

// Bandwidth reads a bandwidth of the command line or of the settings. rclone takes 0 for no limit, which nobody means by it.
func Bandwidth(text string) (transfer.Bandwidth, error) {
	if strings.TrimSpace(text) == "" {
		return transfer.Bandwidth{}, fmt.Errorf("%s isn't a bandwidth", configs.Quote(text))
	}
	if strings.Trim(text, "0.") == "" {
		return transfer.Bandwidth{}, fmt.Errorf("%s would stop everything; off is no limit", configs.Quote(text))
	}
	b, err := transfer.ParseBandwidth(text)
	if err != nil {
		return b, fmt.Errorf("%s %w", configs.Quote(text), err)
	}
	return b, nil
}

// BandwidthSpec reads a bandwidth to set, as jobs.Service.SetBandwidth takes it: "" for the default. A mistake is a
// *quota.InputError.
func BandwidthSpec(text string) (string, error) {
	if text == BandwidthDefault {
		return "", nil
	}
	if _, err := Bandwidth(text); err != nil {
		return "", &quota.InputError{Field: "bwlimit", Value: text, Hint: BandwidthHint, Err: err}
	}
	return text, nil
}

// Files at once that aren't a number.
const (
	FilesDefault = "default" // takes away what was set: the settings hold again
	FilesNone    = "none"    // no limit
)

// Files reads a limit of files at once; reset asks for the default.
func Files(text string, most int64) (files int, reset bool, err error) {
	switch text {
	case FilesDefault:
		return 0, true, nil
	case FilesNone:
		return 0, false, nil
	}
	n, err := configs.ParseCount(text, 1, most)
	if err != nil {
		return 0, false, &quota.InputError{Field: "transfers", Value: text, Hint: "write a number of files such as 8, none or default", Err: err}
	}
	return int(n), false, nil
}

// Account reads the name of an account. A mistake is a *quota.InputError.
func Account(name string) (string, error) {
	if err := configs.CheckAccount(name); err != nil {
		return "", &quota.InputError{Field: "account", Value: name, Hint: "write a name like default or anna", Err: err}
	}
	return name, nil
}

// Remote reads the name of a remote; the colon of a path may stay on it. A mistake is a *quota.InputError.
func Remote(name string) (string, error) {
	name = strings.TrimSuffix(name, ":")
	if err := configs.CheckRemote(name); err != nil {
		return "", &quota.InputError{Field: "remote", Value: name, Hint: "write it as the list of remotes does: gdrive:", Err: err}
	}
	return name, nil
}

// Days reads for how many days a history is asked for; "" is the default.
func Days(text string, std, most int64) (int64, error) {
	if text == "" {
		return std, nil
	}
	n, err := configs.ParseCount(text, 1, most)
	if err != nil {
		return 0, &quota.InputError{Field: "days", Value: text, Hint: fmt.Sprintf("%d days are kept", most), Err: err}
	}
	return n, nil
}

// As tells whether an error is a mistake of whoever wrote something.
func As(err error) (*quota.InputError, bool) {
	var wrong *quota.InputError
	ok := errors.As(err, &wrong)
	return wrong, ok
}
