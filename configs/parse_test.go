package configs

import (
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "4096": 4096, "1B": 1, "10K": 10 << 10, "10k": 10 << 10, "10KiB": 10 << 10, "5GiB": 5 << 30,
		"5 GiB": 5 << 30, "5gib": 5 << 30, "1.5MiB": 3 << 19, "0.5K": 512, "1TiB": 1 << 40, "4PiB": 1 << 52,
		"4503599627370496": 1 << 52, "0.1KiB": 102,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "-1", "-5GiB", "+5", "NaN", "nan", "inf", "1e9", "0x10", "1_000", "5GB", "5kb", "5Gi", "5GiBs", "GiB", ".5G",
		"5.", "5.GiB", "1..5", "1.5", "1.5B", "٥GiB", "５GiB", "5ＧiB", "5PiB", "4503599627370497", "99999999999999999999999",
		strings.Repeat("9", 1000), "5GiB;rm", "5\nGiB", "1/2", "unlimited", "5 Gi B",
	} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d; want an error", text, got)
		} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 200 {
			t.Errorf("ParseSize(%q): the error isn't one short line: %v", text, err)
		}
	}
}

func TestParseLimit(t *testing.T) {
	if n, err := ParseLimit("unlimited"); err != nil || n != -1 {
		t.Errorf("ParseLimit(unlimited) = %d, %v", n, err)
	}
	if _, err := ParseLimit("-1"); err == nil {
		t.Error("ParseLimit(-1) is accepted; unlimited must be asked for in words")
	}
}

func TestParseCountLimit(t *testing.T) {
	for text, want := range map[string]int64{"unlimited": -1, "0": 0, "25000": 25000, "1000000000000": maxCount} {
		if got, err := ParseCountLimit(text); err != nil || got != want {
			t.Errorf("ParseCountLimit(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "+1", "1.5", "1e3", "٥", "25k", "25,000", "1000000000001", "99999999999999999999", "Unlimited", "a\nb"} {
		if got, err := ParseCountLimit(text); err == nil {
			t.Errorf("ParseCountLimit(%q) = %d; want an error", text, got)
		}
	}
}

func TestCheckRemote(t *testing.T) {
	for name, ok := range map[string]bool{"gdrive": true, "Fotos von Jürgen": true, "a.b+c@d": true, "": false, "gdrive:": false, "a/b": false,
		"..": true, "a,b": false, "{a}": false, "a\nb": false, "a\x1bb": false, "\xff": false,
		strings.Repeat("é", 128): true, strings.Repeat("é", 129): false} {
		if err := CheckRemote(name); (err == nil) != ok {
			t.Errorf("CheckRemote(%q) = %v; want ok %v", name, err, ok)
		}
	}
}

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90m": 90 * time.Minute, "7d": 7 * day, "2w": 14 * day, "1w2d12h": 9*day + 12*time.Hour,
		"1.5d": 36 * time.Hour, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond, "3us": 3000, "3µs": 3000, "5ns": 5,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "-5d", "+5d", "d", "5 d", "5x", "5days", "1e3s", "NaNs", "٧d", "200000d", "99999999999999999999d",
		strings.Repeat("9", 500) + "w", "5d\n", "7d-1h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want an error", text, got)
		}
	}
}

func TestParseCount(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "31": 31, "007": 7} {
		if got, err := ParseCount(text, 1, 31); err != nil || got != want {
			t.Errorf("ParseCount(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "32", "-1", "+1", "1.0", "1e1", "١", "1 ", " 1", "0x1", "99999999999999999999"} {
		if got, err := ParseCount(text, 1, 31); err == nil {
			t.Errorf("ParseCount(%q) = %d; want an error", text, got)
		}
	}
}

func TestCheckAccount(t *testing.T) {
	for name, ok := range map[string]bool{"default": true, "anna.b-c_1": true, "": false, "Anna": false, "a b": false, "../x": false,
		"{x}": false, "ä": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false} {
		if err := CheckAccount(name); (err == nil) != ok {
			t.Errorf("CheckAccount(%q) = %v; want ok %v", name, err, ok)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"5GiB", "1.5M", "", "-1", "1e9", "٥"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err != nil {
			return
		}
		if n < 0 || n > MaxSize {
			t.Fatalf("ParseSize(%q) = %d is out of range", text, n)
		}
		if back, err := ParseSize(Size(n).String()); err != nil || back != n {
			t.Fatalf("Size(%d) is written %q and read back as %d, %v", n, Size(n), back, err)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"7d", "1w2d", "90m", "", "-1s", "1.5h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseDuration(text)
		if err == nil && (got < 0 || got > maxDuration) {
			t.Fatalf("ParseDuration(%q) = %v is out of range", text, got)
		}
		// Whatever Go's own parser takes, within the bounds, means the same here.
		if want, goErr := time.ParseDuration(text); err == nil && goErr == nil && want != got {
			t.Fatalf("ParseDuration(%q) = %v, time.ParseDuration says %v", text, got, want)
		}
	})
}
