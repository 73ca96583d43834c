package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"offload/jobs"
	"offload/quota"
	"offload/quota/quotaform"
)

// checkNarrow wants every line to fit a terminal of 80 columns.
func checkNarrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
}

func TestWriteWrapped(t *testing.T) {
	for in, want := range map[string]string{
		"": "  \n", "a b": "  a b\n",
		strings.Repeat("word ", 16):                        "  " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n  word\n",
		strings.Repeat("x", 100) + " y":                    "  " + strings.Repeat("x", 100) + "\n  y\n",
		strings.Repeat("word ", 14) + "`do this now` then": "  " + strings.TrimSpace(strings.Repeat("word ", 14)) + "\n  `do this now` then\n",
		"a `that never ends":                               "  a `that never ends\n",
	} {
		var out bytes.Buffer
		writeWrapped(&out, "  ", in)
		if out.String() != want {
			t.Errorf("%q is written as\n%q, want\n%q", in, out.String(), want)
		}
	}
}

func TestQuotaTablesAreNarrow(t *testing.T) {
	end := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	status := quota.Status{Account: "default", Plan: "basic", Limit: 150 << 30, Used: 140 << 30, Reserved: 1023 << 20, Available: 9 << 30,
		Wasted: 1023 << 20, TimeZone: "Europe/Berlin", Period: quota.Period{End: end.Add(-time.Hour)},
		Events: []quota.Event{{Percent: 80, At: end.AddDate(0, 0, -9), Limit: 150 << 30}, {Percent: 100, At: end, Limit: 5 << 30}}}
	closed := quota.Status{Account: "anna", Plan: "free", Removed: true, TimeZone: "UTC", Period: quota.Period{End: end}, Why: "account anna was removed: `x` opens it again"}
	if err := writeQuotas(&out, []quota.Status{status, closed}); err != nil {
		t.Fatal(err)
	}
	limit := func(m quota.Measure, n int64) remoteLimit {
		return remoteLimit{"dropbox", m, quota.Status{Limit: n, Used: n / 3, Reserved: n / 7, Available: n / 2, TimeZone: "UTC", Period: quota.Period{End: end}}}
	}
	if err := writeRemoteLimits(&out, []remoteLimit{limit(quota.PerDay, 750<<30), limit(quota.PerMonth, 5<<40), limit(quota.Calls, 25000)}); err != nil {
		t.Fatal(err)
	}
	if err := writeHistory(&out, []trafficDay{{"2026-11-21", 1 << 39, 1 << 38, 86399, new(int64)}}, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"750 GiB a day", "5.0 TiB a month", "25000 API calls a month", "2026-12-01 UTC", "in all",
		"default: passed 80 % on 2026-11-22 01:00 CET", "anna was removed", "2026-12-01 CET"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, out.String())
		}
	}
	checkNarrow(t, out.String())
}

func TestHistoryCSVIsReadBack(t *testing.T) {
	calls := int64(7)
	for _, withCalls := range []bool{false, true} {
		var out bytes.Buffer
		if err := writeHistoryCSV(&out, []trafficDay{{"2026-11-21", 1 << 52, 3, 61, &calls}}, withCalls); err != nil {
			t.Fatal(err)
		}
		if strings.Count(out.String(), "\r\n") != 2 {
			t.Errorf("the lines of %q don't end as RFC 4180 wants", out.String())
		}
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
			t.Fatalf("read back as %q, %v", rows, err)
		}
		if got := strings.Join(rows[1][:4], " "); got != "2026-11-21 4503599627370496 3 61" || rows[0][1] != "used" {
			t.Errorf("read back as %q", rows)
		}
	}
}

// TestShowKeepsItsForm holds the promise to scripts: the elements that name an account are what they always were.
func TestShowKeepsItsForm(t *testing.T) {
	raw, err := json.Marshal(elements([]quota.Status{{Account: "anna"}}, []remoteLimit{{"gdrive", quota.PerDay, quota.Status{Subject: "remote/gdrive/day"}}}, "4M"))
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(raw, &got); err != nil || len(got) != 3 {
		t.Fatalf("%s: %v", raw, err)
	}
	if got[0]["account"] != "anna" || got[1]["account"] != nil || got[1]["remote"] != "gdrive" || got[2]["bwlimit"] != "4M" || got[2]["rate"] != float64(4<<20) {
		t.Errorf("the elements are %s", raw)
	}
}

func TestBandwidthWords(t *testing.T) {
	for in, want := range map[string]string{"": "no limit", "4M": "4M (4.0 MiB/s now)", "512k": "512k (512 KiB/s now)", "off": "off (no limit now)",
		"00:00,off": "00:00,off (no limit now)", "garbage": "garbage"} {
		if got := bandwidthWords(in); got != want {
			t.Errorf("bandwidthWords(%q) = %q; want %q", in, got, want)
		}
	}
	for _, bad := range []string{"", " ", "0", "0.0", "fast", "-5M", "NaN", "1M 2M", "26:00,1M", "٥M", "5M\n", "9999999999999P"} {
		if _, err := quotaform.Bandwidth(bad); err == nil {
			t.Errorf("bandwidth %q is accepted", bad)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("bandwidth %q: the error isn't one line: %v", bad, err)
		}
	}
}

// TestWhatHelpsAgainstQuota holds what a waiting job is told to do: what is told must help.
func TestWhatHelpsAgainstQuota(t *testing.T) {
	until := time.Now().Add(time.Hour)
	job := jobs.Job{State: jobs.Waiting, Reason: jobs.ReasonQuota, Account: "anna", Until: &until}
	for name, c := range map[string]struct {
		forecast *quota.Forecast
		want     string
		not      string
	}{
		"unknown": {nil, "set --account anna --plan PLAN` gives more room, and so does the reset; THEN", ""},
		"account": {&quota.Forecast{Subject: "anna", Bytes: 5, WaitUntil: &until}, "set --account anna --plan PLAN` gives more room, and so does the reset; THEN", ""},
		"remote":  {&quota.Forecast{Subject: "remote/g/day", Bytes: 5, WaitUntil: &until}, "set --remote g --per-day SIZE` gives more room", ""},
		"closed":  {&quota.Forecast{Subject: "anna", Bytes: 5, Closed: "removed"}, "opens the account again; THEN", "reset"},
		"too large": {&quota.Forecast{Subject: "anna", TooLarge: 1, TooLargeSubject: "remote/g/month"}, "set --remote g --per-month SIZE` gives more room; THEN",
			"reset"},
		"the remote's own limit": {&quota.Forecast{Subject: "anna", Bytes: 5, Periods: 1, Fits: true}, "at the latest; THEN", "PLAN"},
	} {
		got := nextStep(job, &tally{}, c.forecast, "THEN")
		if !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
			t.Errorf("%s: next is %q, want %q", name, got, c.want)
		}
	}
}

// TestRemarks holds what stands below the tables: 100 % are told where nothing fits, too, and then something is left.
func TestRemarks(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		percent     int
		used, limit int64
		want        string
	}{
		{80, 85, 100, "anna: passed 80 % on 2026-11-22 10:00 UTC\n"},
		{100, 100, 100, "anna: used up on 2026-11-22 10:00 UTC\n"},
		{100, 91, 100, "anna: what is left is too little for any file that waits (since 2026-11-22\n10:00 UTC)\n"},
		{100, 91, 50, ""}, // of a limit that was raised since
	} {
		var out bytes.Buffer
		writeRemark(&out, quota.Status{Limit: 100, TimeZone: "UTC", Events: []quota.Event{{Percent: c.percent, At: at, Used: c.used, Limit: c.limit}}}, "anna")
		if out.String() != c.want {
			t.Errorf("%+v: %q", c, out.String())
		}
	}
}
