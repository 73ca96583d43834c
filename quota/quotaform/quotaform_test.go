package quotaform

import (
	"strings"
	"testing"

	"offload/quota"
)

func text(s string) *string { return &s }

func TestSettings(t *testing.T) {
	c, err := Settings{Plan: text("plus"), Limit: text("20GiB"), AnchorDay: text("31"), TimeZone: text("Europe/Berlin")}.Change()
	if err != nil || *c.Plan != "plus" || *c.Limit != 20<<30 || *c.AnchorDay != 31 || *c.TimeZone != "Europe/Berlin" || c.Reset {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := (Settings{}).Change(); err != nil || c != (quota.Change{}) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []struct {
		s     Settings
		field string
	}{
		{Settings{Limit: text("")}, "limit"}, {Settings{Limit: text("-1")}, "limit"}, {Settings{Limit: text("1 banana")}, "limit"},
		{Settings{Limit: text(strings.Repeat("9", 400))}, "limit"},
		{Settings{AnchorDay: text("0")}, "anchor-day"}, {Settings{AnchorDay: text("32")}, "anchor-day"}, {Settings{AnchorDay: text("+1")}, "anchor-day"},
		{Settings{AnchorDay: text("1.5")}, "anchor-day"}, {Settings{TimeZone: text("")}, "time-zone"}, {Settings{TimeZone: text("Local")}, "time-zone"},
		{Settings{TimeZone: text("../etc/passwd")}, "time-zone"}, {Settings{TimeZone: text("Mars/Base")}, "time-zone"},
	} {
		_, err := bad.s.Change()
		if wrong, ok := As(err); !ok || wrong.Field != bad.field || wrong.Hint == "" {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestMeasures(t *testing.T) {
	for _, m := range Measures() {
		good := "750GiB"
		if m.Measure == quota.Calls {
			good = "25000"
		}
		if c, err := m.Change(good); err != nil || *c.Limit <= 0 {
			t.Errorf("%s: %+v, %v", m.Name, c, err)
		}
		if c, err := m.Change("unlimited"); err != nil || *c.Limit != quota.Unlimited {
			t.Errorf("%s: %+v, %v", m.Name, c, err)
		}
		for _, bad := range []string{"", "-1", "much", "1e3", "٣"} {
			_, err := m.Change(bad)
			if wrong, ok := As(err); !ok || wrong.Field != m.Name {
				t.Errorf("%s %q: %v", m.Name, bad, err)
			}
		}
	}
}

func TestBandwidthAndFiles(t *testing.T) {
	for given, want := range map[string]string{"4M": "4M", "off": "off", "default": "", "08:00,512k 19:00,off": "08:00,512k 19:00,off"} {
		if got, err := BandwidthSpec(given); err != nil || got != want {
			t.Errorf("%q is %q, %v", given, got, err)
		}
	}
	for _, bad := range []string{"", " ", "0", "0.0", "fast", "4M 5M", "25:00,4M"} {
		if _, err := BandwidthSpec(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for given, want := range map[string]int{"8": 8, "none": 0, "default": 0, "10000": 10000} {
		if n, reset, err := Files(given, 10000); err != nil || n != want || reset != (given == "default") {
			t.Errorf("%q is %d, %v, %v", given, n, reset, err)
		}
	}
	for _, bad := range []string{"", "0", "-1", "10001", "8.0", "eight"} {
		if _, _, err := Files(bad, 10000); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNames(t *testing.T) {
	if name, err := Remote("gdrive:"); err != nil || name != "gdrive" {
		t.Errorf("%q, %v", name, err)
	}
	for _, bad := range []string{"", ":", "a/b", "a:b", "a,b", "\x00", strings.Repeat("a", 200)} {
		if _, err := Remote(bad); err == nil {
			t.Errorf("remote %q is taken", bad)
		}
	}
	for _, bad := range []string{"", "Anna", "a b", "../x", "änna", strings.Repeat("a", 65)} {
		if _, err := Account(bad); err == nil {
			t.Errorf("account %q is taken", bad)
		}
	}
	for given, want := range map[string]int64{"": 30, "1": 1, "400": 400} {
		if n, err := Days(given, 30, 400); err != nil || n != want {
			t.Errorf("%q is %d, %v", given, n, err)
		}
	}
	for _, bad := range []string{"0", "401", "-1", "x"} {
		if _, err := Days(bad, 30, 400); err == nil {
			t.Errorf("%q days are taken", bad)
		}
	}
}

// Whatever is written, what is taken is within bounds, and what isn't is the writer's mistake.
func FuzzSettings(f *testing.F) {
	f.Add("20GiB", "15", "Europe/Berlin", "4M", "gdrive:")
	f.Add("unlimited", "32", "Local", "0", "a/b")
	f.Fuzz(func(t *testing.T, limit, day, zone, bandwidth, remote string) {
		c, err := Settings{Limit: &limit, AnchorDay: &day, TimeZone: &zone}.Change()
		if err == nil && (*c.Limit < quota.Unlimited || *c.AnchorDay < 1 || *c.AnchorDay > 31) {
			t.Errorf("%q %q %q: %+v", limit, day, zone, c)
		}
		if _, ok := As(err); err != nil && !ok {
			t.Error(err)
		}
		_, err = BandwidthSpec(bandwidth)
		if _, ok := As(err); err != nil && !ok {
			t.Error(err)
		}
		if name, err := Remote(remote); err == nil && strings.ContainsAny(name, "/:,{}") {
			t.Errorf("%q is %q", remote, name)
		}
	})
}
