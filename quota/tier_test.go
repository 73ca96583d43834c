package quota

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNewRefusesBadConfig(t *testing.T) {
	tests := []struct {
		name  string
		cfg   Config
		field string // "" is good
	}{
		{"zero", Config{}, ""},
		{"full", Config{Tiers: []Tier{{"a", 0}, {"b", Unlimited}}, DefaultTier: "b", AnchorDay: 31, TimeZone: "Europe/Berlin", Quantum: 1, Lease: time.Second}, ""},
		{"unknown default tier", Config{DefaultTier: "gold"}, "default-tier"},
		{"tier without a name", Config{Tiers: []Tier{{"", 1}}}, "tier"},
		{"tier with a bad name", Config{Tiers: []Tier{{"Gold Plan", 1}}}, "tier"},
		{"tier twice", Config{Tiers: []Tier{{"a", 1}, {"a", 2}}}, "tier"},
		{"limit below -1", Config{Tiers: []Tier{{"a", -2}}}, "limit"},
		{"limit too large", Config{Tiers: []Tier{{"a", maxBytes + 1}}}, "limit"},
		{"anchor 32", Config{AnchorDay: 32}, "anchor-day"},
		{"anchor -1", Config{AnchorDay: -1}, "anchor-day"},
		{"unknown zone", Config{TimeZone: "Mars/Olympus"}, "time-zone"},
		{"zone of the host", Config{TimeZone: "Local"}, "time-zone"},
		{"negative quantum", Config{Quantum: -1}, "quantum"},
		{"short lease", Config{Lease: time.Millisecond}, "lease"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(nil, tt.cfg)
			var input *InputError
			switch {
			case tt.field == "":
				must(t, err)
			case !errors.As(err, &input) || input.Field != tt.field:
				t.Errorf("got %v, want an InputError of %s", err, tt.field)
			case strings.Contains(err.Error(), "\n"):
				t.Errorf("%q has more than one line", err)
			}
		})
	}
}

func TestCheckAccount(t *testing.T) {
	for name, good := range map[string]bool{
		"default": true, "anna": true, "a": true, "0": true, "anna.b-c_d": true, strings.Repeat("a", 64): true,
		"": false, "Anna": false, "-a": false, ".a": false, "a}b": false, "a b": false, "a\n": false, "ä": false,
		strings.Repeat("a", 65): false,
	} {
		if err := checkAccount(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNoQuotaErrorText(t *testing.T) {
	resets := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		err  NoQuotaError
		want string
	}{
		{NoQuotaError{Subject: "anna", Need: 3 << 30, Available: 1 << 30, Limit: 5 << 30, Resets: resets},
			"account anna has 1.0 GiB of its monthly 5.0 GiB left and 3.0 GiB are needed: wait until 2026-12-01 00:00 UTC or choose a larger plan"},
		{NoQuotaError{Subject: "anna", Need: 6 << 30, Available: 1 << 30, Limit: 5 << 30, Resets: resets},
			"account anna may move 5.0 GiB a month and 6.0 GiB are needed at once: choose a larger plan"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
