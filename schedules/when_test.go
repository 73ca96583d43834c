package schedules

import (
	"errors"
	"strings"
	"testing"
	"time"

	"offload/jobs"
)

// runs are the next runs after a moment, as the zone's clock shows them.
func runs(t *testing.T, w When, after string, n int) []string {
	t.Helper()
	from, err := time.Parse(time.RFC3339, after)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.Next(from, n)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, at := range all {
		texts = append(texts, at.Format("2006-01-02 15:04 -07:00"))
	}
	return texts
}

func TestNextRuns(t *testing.T) {
	day := func(at, zone string) When { return When{Every: Day, At: at, Zone: zone} }
	line := func(cron, zone string) When { return When{Cron: cron, Zone: zone} }
	month := func(on, zone string) When { return When{Every: Month, On: on, At: "03:00", Zone: zone} }
	tests := []struct {
		name, after string
		when        When
		want        string
	}{
		{"the jump in spring: once, at the jump", "2026-03-28T12:00:00Z", day("02:30", "Europe/Berlin"),
			"2026-03-29 03:00 +02:00, 2026-03-30 02:30 +02:00"},
		{"the jump in spring: other times keep theirs", "2026-03-28T12:00:00Z", day("03:00", "Europe/Berlin"),
			"2026-03-29 03:00 +02:00, 2026-03-30 03:00 +02:00"},
		{"the jump in spring: several in the hour are one", "2026-03-29T00:00:00Z", line("*/20 2,3 * * *", "Europe/Berlin"),
			"2026-03-29 03:00 +02:00, 2026-03-29 03:20 +02:00, 2026-03-29 03:40 +02:00, 2026-03-30 02:00 +02:00"},
		{"the hour twice in autumn: the first alone", "2026-10-24T12:00:00Z", day("02:30", "Europe/Berlin"),
			"2026-10-25 02:30 +02:00, 2026-10-26 02:30 +01:00"},
		{"asked between the two: tomorrow", "2026-10-25T00:45:00Z", day("02:30", "Europe/Berlin"), "2026-10-26 02:30 +01:00"},
		{"asked within the second: tomorrow", "2026-10-25T01:10:00Z", day("02:30", "Europe/Berlin"), "2026-10-26 02:30 +01:00"},
		{"every hour in spring", "2026-03-29T00:00:00Z", line("0 * * * *", "Europe/Berlin"),
			"2026-03-29 03:00 +02:00, 2026-03-29 04:00 +02:00"},
		{"half past every hour in spring", "2026-03-29T00:00:00Z", line("30 * * * *", "Europe/Berlin"),
			"2026-03-29 01:30 +01:00, 2026-03-29 03:30 +02:00"},
		{"every hour in autumn", "2026-10-24T23:30:00Z", line("0 * * * *", "Europe/Berlin"),
			"2026-10-25 02:00 +02:00, 2026-10-25 02:00 +01:00, 2026-10-25 03:00 +01:00"},
		{"half an hour in spring", "2026-10-03T00:00:00Z", day("02:15", "Australia/Lord_Howe"),
			"2026-10-04 02:30 +11:00, 2026-10-05 02:15 +11:00"},
		{"half an hour in autumn", "2026-04-04T00:00:00Z", day("01:45", "Australia/Lord_Howe"),
			"2026-04-05 01:45 +11:00, 2026-04-06 01:45 +10:30"},
		{"the end of the half hour isn't repeated", "2026-04-04T00:00:00Z", day("02:00", "Australia/Lord_Howe"),
			"2026-04-05 02:00 +10:30, 2026-04-06 02:00 +10:30"},
		{"an odd offset", "2026-01-01T00:00:00Z", day("03:00", "Asia/Kathmandu"), "2026-01-02 03:00 +05:45"},
		{"a day that never was", "2011-12-29T00:00:00Z", day("03:00", "Pacific/Apia"),
			"2011-12-29 03:00 -10:00, 2011-12-31 00:00 +14:00, 2011-12-31 03:00 +14:00, 2012-01-01 03:00 +14:00"},
		{"the day that never was, each month", "2011-12-01T00:00:00Z", month("30", "Pacific/Apia"),
			"2011-12-31 00:00 +14:00, 2012-01-30 03:00 +14:00"},
		{"midnight that never was", "2018-11-03T12:00:00Z", day("00:00", "America/Sao_Paulo"),
			"2018-11-04 01:00 -02:00, 2018-11-05 00:00 -02:00"},
		{"midnight twice", "2018-02-17T12:00:00Z", day("23:30", "America/Sao_Paulo"),
			"2018-02-17 23:30 -02:00, 2018-02-18 23:30 -03:00"},
		{"a night in Dublin, whose summer is its standard", "2026-03-28T12:00:00Z", day("01:30", "Europe/Dublin"),
			"2026-03-29 02:00 +01:00, 2026-03-30 01:30 +01:00"},
		{"Casablanca in Ramadan", "2026-02-14T12:00:00Z", day("02:30", "Africa/Casablanca"),
			"2026-02-15 02:30 +01:00, 2026-02-16 02:30 +00:00"},
		{"Troll jumps two hours", "2026-03-28T12:00:00Z", day("01:30", "Antarctica/Troll"),
			"2026-03-29 03:00 +02:00, 2026-03-30 01:30 +02:00"},
		{"the 31st", "2026-01-30T00:00:00Z", month("31", "UTC"),
			"2026-01-31 03:00 +00:00, 2026-02-28 03:00 +00:00, 2026-03-31 03:00 +00:00, 2026-04-30 03:00 +00:00"},
		{"the last", "2028-01-31T03:00:00Z", month("last", "UTC"), "2028-02-29 03:00 +00:00, 2028-03-31 03:00 +00:00"},
		{"the 30th", "2027-01-30T04:00:00Z", month("30", "UTC"), "2027-02-28 03:00 +00:00, 2027-03-30 03:00 +00:00"},
		{"the first", "2026-12-01T03:00:00Z", month("", "UTC"), "2027-01-01 03:00 +00:00"},
		{"cron's 31st leaves months out", "2026-01-31T12:00:00Z", line("0 3 31 * *", "UTC"), "2026-03-31 03:00 +00:00, 2026-05-31 03:00 +00:00"},
		{"the leap day", "2026-01-01T00:00:00Z", line("0 3 29 2 *", "UTC"), "2028-02-29 03:00 +00:00, 2032-02-29 03:00 +00:00"},
		{"days of both kinds", "2026-06-01T12:00:00Z", line("0 3 15 * mon", "UTC"), "2026-06-08 03:00 +00:00, 2026-06-15 03:00 +00:00, 2026-06-22 03:00 +00:00"},
		{"Sunday is 7, too", "2026-06-01T12:00:00Z", line("0 3 * * 7", "UTC"), "2026-06-07 03:00 +00:00"},
		{"weekly", "2026-06-01T12:00:00Z", When{Every: Week, On: "mon, Thursday", At: "18:30", Zone: "UTC"},
			"2026-06-01 18:30 +00:00, 2026-06-04 18:30 +00:00, 2026-06-08 18:30 +00:00"},
		{"strictly after", "2026-06-01T03:00:00Z", day("03:00", "UTC"), "2026-06-02 03:00 +00:00"},
		{"not before its second", "2026-06-01T02:59:59.999Z", day("03:00", "UTC"), "2026-06-01 03:00 +00:00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := strings.Count(tt.want, ",") + 1
			if got := strings.Join(runs(t, tt.when, tt.after, n), ", "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestNextAgainstAClock walks minute by minute through years with a change and looks at a clock on the wall: what a run
// falls on must be what cron's line says, each time once, and what is jumped over at the jump.
func TestNextAgainstAClock(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo",
		"Africa/Cairo", "Asia/Tehran", "Pacific/Chatham", "Europe/Dublin", "Antarctica/Troll", "UTC", "America/St_Johns", "Asia/Gaza"}
	lines := []string{"30 2 * * *", "0 0 * * *", "15 1,2,3 * * *", "*/25 * * * *", "45 23 31 * *", "0 3 * 3,10,11,12 sun", "59 1 1-7 * fri"}
	spans := [][2]string{{"2011-12-27T00:00:00Z", "2012-01-03T00:00:00Z"}, {"2018-10-25T00:00:00Z", "2018-11-08T00:00:00Z"},
		{"2026-03-05T00:00:00Z", "2026-04-08T00:00:00Z"}, {"2026-09-24T00:00:00Z", "2026-11-03T00:00:00Z"}}
	for _, zone := range zones {
		for _, line := range lines {
			w := When{Cron: line, Zone: zone}
			c, err := w.read()
			if err != nil {
				t.Fatal(err)
			}
			for _, span := range spans {
				from, _ := time.Parse(time.RFC3339, span[0])
				to, _ := time.Parse(time.RFC3339, span[1])
				want := walk(c, from, to)
				var got []time.Time
				for at := c.next(from); at.Before(to); at = c.next(at) {
					got = append(got, at)
				}
				if len(got) != len(want) {
					t.Errorf("%s in %s from %s: %d runs, want %d", line, zone, span[0], len(got), len(want))
					continue
				}
				for i := range got {
					if !got[i].Equal(want[i]) {
						t.Errorf("%s in %s: run %d is at %s, want %s", line, zone, i, got[i].In(c.zone), want[i].In(c.zone))
						break
					}
				}
			}
		}
	}
}

// walk is the brute force: it reads the wall minute by minute.
func walk(c clock, from, to time.Time) (all []time.Time) {
	seen := map[time.Time]bool{} // times that the wall has shown
	due := map[time.Time]bool{}
	for wall := from.Add(-48 * time.Hour); wall.Before(to.Add(48 * time.Hour)); due[wall] = true {
		wall = c.civil.Next(wall)
	}
	is := func(wall time.Time) bool { return due[wall] }
	wallAt := func(t time.Time) time.Time { return wallOf(t, offsetAt(t, c.zone)) }
	before := wallAt(from)
	for m := from.Add(-3 * time.Hour); !m.After(from); m = m.Add(time.Minute) {
		seen[wallAt(m)] = true
	}
	for at := from.Add(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		wall := wallAt(at)
		run := is(wall) && (c.hourly || !seen[wall])
		if !c.hourly {
			for skipped := before.Add(time.Minute); skipped.Before(wall); skipped = skipped.Add(time.Minute) {
				run = run || is(skipped)
			}
		}
		if run {
			all = append(all, at)
		}
		before, seen[wall] = wall, true
	}
	return all
}

func TestWhenRefuses(t *testing.T) {
	tests := []struct {
		when        When
		field, hint string
	}{
		{When{Zone: "UTC"}, "when", "--every day"},
		{When{Every: Day}, "zone", "Europe/Berlin"},
		{When{Every: Day, Zone: "Local"}, "zone", ""},
		{When{Every: Day, Zone: "europe/berlin"}, "zone", "Europe/Berlin"},
		{When{Every: Day, Zone: "Berlin"}, "zone", "Europe/Berlin"},
		{When{Every: Day, Zone: "Europe/Berln"}, "zone", "Europe/Berlin"},
		{When{Every: Day, Zone: "new york"}, "zone", "America/New_York"},
		{When{Every: Day, Zone: "../../etc/passwd"}, "zone", ""},
		{When{Every: Day, Zone: " UTC"}, "zone", ""},
		{When{Every: "hour", Zone: "UTC"}, "every", "0 * * * *"},
		{When{Every: Day, On: "mon", Zone: "UTC"}, "on", ""},
		{When{Every: Week, On: "15", Zone: "UTC"}, "on", "mon"},
		{When{Every: Week, On: "mon,", Zone: "UTC"}, "on", "mon"},
		{When{Every: Month, On: "mon", Zone: "UTC"}, "on", "1 to 31"},
		{When{Every: Month, On: "0", Zone: "UTC"}, "on", ""},
		{When{Every: Month, On: "32", Zone: "UTC"}, "on", ""},
		{When{Every: Month, On: "-1", Zone: "UTC"}, "on", ""},
		{When{Every: Month, On: "٣", Zone: "UTC"}, "on", ""},
		{When{Every: Day, At: "24:00", Zone: "UTC"}, "at", "03:00"},
		{When{Every: Day, At: "3", Zone: "UTC"}, "at", ""},
		{When{Every: Day, At: "03:60", Zone: "UTC"}, "at", ""},
		{When{Every: Day, At: "+3:00", Zone: "UTC"}, "at", ""},
		{When{Cron: "0 3 * * *", At: "03:00", Zone: "UTC"}, "cron", "leave out"},
		{When{Cron: "@daily", Zone: "UTC"}, "cron", "0 3 * * *"},
		{When{Cron: "@every 1h", Zone: "UTC"}, "cron", ""},
		{When{Cron: "TZ=UTC 0 3 * * *", Zone: "UTC"}, "cron", "beside"},
		{When{Cron: "CRON_TZ=", Zone: "UTC"}, "cron", "beside"},
		{When{Cron: "0 0 3 * * *", Zone: "UTC"}, "cron", "seconds"},
		{When{Cron: "0 3 * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 3 L * *", Zone: "UTC"}, "cron", "last day"},
		{When{Cron: "0 3 * * 5#2", Zone: "UTC"}, "cron", ""},
		{When{Cron: "60 3 * * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 -3 * * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 3,, * * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: ", 3 * * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 3 30 2 *", Zone: "UTC"}, "cron", "month has"},
		{When{Cron: "0 3 * * " + strings.Repeat("1,", 200) + "1", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 99999999999999999999 * * *", Zone: "UTC"}, "cron", ""},
		{When{Cron: "0 ３ * * *", Zone: "UTC"}, "cron", ""},
	}
	for _, tt := range tests {
		var wrong *jobs.OrderError
		if err := tt.when.Validate(); !errors.As(err, &wrong) || wrong.Field != tt.field || wrong.Hint == "" || !strings.Contains(wrong.Hint, tt.hint) {
			t.Errorf("%+v: %v (%+v), want a mistake in %s whose hint has %q", tt.when, err, wrong, tt.field, tt.hint)
		}
	}
}

func TestWords(t *testing.T) {
	tests := map[string]When{
		"every day at 03:00 (Europe/Berlin)":                          {Every: Day, Zone: "Europe/Berlin"},
		"every day at 03:05 (UTC)":                                    {Every: Day, At: "3:05", Zone: "UTC"},
		"every Monday at 03:00 (UTC)":                                 {Every: Week, Zone: "UTC"},
		"every Monday, Thursday and Sunday at 03:00 (UTC)":            {Every: Week, On: "mon,thu,sun", Zone: "UTC"},
		"on day 1 of every month at 03:00 (UTC)":                      {Every: Month, Zone: "UTC"},
		"on the last day of every month at 03:00 (UTC)":               {Every: Month, On: "31", Zone: "UTC"},
		"on day 30 of every month, or on its last day at 03:00 (UTC)": {Every: Month, On: "30", Zone: "UTC"},
		"every day at 04:30 (UTC)":                                    {Cron: "30 4 * * *", Zone: "UTC"},
		"every hour (UTC)":                                            {Cron: "0 * * * *", Zone: "UTC"},
		"every 15 minutes (UTC)":                                      {Cron: "*/15 * * * *", Zone: "UTC"},
		"Monday to Friday at 04:00 (UTC)":                             {Cron: "0 4 * * 1-5", Zone: "UTC"},
		"every Monday and Thursday at 04:00 (UTC)":                    {Cron: "0 4 * * 1,thu", Zone: "UTC"},
		"on day 31 of the months that have it at 04:00 (UTC)":         {Cron: "0 4 31 * *", Zone: "UTC"},
		"by cron \"*/7 4 * * *\" (UTC)":                               {Cron: "*/7  4 * * *", Zone: "UTC"},
		"by cron \"0 4 1 * mon\" (UTC)":                               {Cron: "0 4 1 * mon", Zone: "UTC"},
	}
	for want, w := range tests {
		if err := w.Validate(); err != nil {
			t.Error(err)
		}
		if got := w.Words(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLatest(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := []struct {
		when            When
		from, now, want string
		missed          int
	}{
		{When{Every: Day, Zone: "UTC"}, "2026-01-01T03:00:00Z", "2026-01-01T03:00:00Z", "2026-01-01T03:00:00Z", 0},
		{When{Every: Day, Zone: "UTC"}, "2026-01-01T03:00:00Z", "2026-01-05T02:00:00Z", "2026-01-04T03:00:00Z", 3},
		{When{Cron: "* * * * *", Zone: "UTC"}, "2020-01-01T00:00:00Z", "2026-01-05T02:00:30Z", "2026-01-05T02:00:00Z", missedMost},
		{When{Cron: "* 3 1 1 *", Zone: "UTC"}, "1990-01-01T03:00:00Z", "2026-07-05T02:00:30Z", "2026-01-01T03:59:00Z", missedMost},
	}
	for _, tt := range tests {
		c, err := tt.when.read()
		if err != nil {
			t.Fatal(err)
		}
		got, missed := c.latest(at(tt.from), at(tt.now))
		if !got.Equal(at(tt.want)) || missed != tt.missed {
			t.Errorf("%v: %s and %d missed, want %s and %d", tt.when, got, missed, tt.want, tt.missed)
		}
	}
}

// Zones that forms offer are known to the program itself, also where the machine has none.
func TestZonesAreKnown(t *testing.T) {
	if len(Zones()) < 300 {
		t.Errorf("%d zones", len(Zones()))
	}
	for _, z := range Zones() {
		if _, err := readZone(z); err != nil {
			t.Error(err)
		}
	}
}

func FuzzCron(f *testing.F) {
	for _, line := range []string{"0 3 * * *", "*/5 1-3,7 1 jan sun", "0 3 31 2 *", "TZ=x", "@daily", "? ? ? ? ?"} {
		f.Add(line, "Europe/Berlin")
	}
	from := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, line, zone string) {
		all, err := When{Cron: line, Zone: zone}.Next(from, 3)
		if err != nil {
			return
		}
		last := from
		for _, at := range all {
			if !at.After(last) {
				t.Errorf("%q in %q: %s isn't after %s", line, zone, at, last)
			}
			last = at
		}
		_ = When{Cron: line, Zone: zone}.Words()
	})
}
