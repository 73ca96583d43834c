package quota

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

const gib = int64(1) << 30

// days are recorded days of one traffic, the last one today (2026-11-22).
func days(n int, used int64, busy time.Duration) []Day {
	var all []Day
	for i := range n {
		date := start.AddDate(0, 0, i+1-n).Format(time.DateOnly)
		all = append(all, Day{Date: date, Used: used, Busy: busy})
	}
	return all
}

func TestPace(t *testing.T) {
	tests := []struct {
		name string
		days []Day
		want int64
	}{
		{"nothing recorded", nil, 0},
		{"too short to tell", days(1, 1<<30, 9*time.Second), 0},
		{"too little to tell", days(1, 3<<20, time.Hour), 0},
		{"one day", days(1, 600<<20, time.Minute), 10 << 20},
		{"days add up to enough", days(5, 1<<20, 2*time.Second), 1 << 19},
		{"waste isn't progress", []Day{{Date: "2026-11-22", Used: 20 << 20, Wasted: 10 << 20, Busy: 10 * time.Second}}, 1 << 20},
		{"nothing but waste", []Day{{Date: "2026-11-22", Used: 20 << 20, Wasted: 20 << 20, Busy: 10 * time.Second}}, 0},
		{"days without busy time tell nothing", append(days(1, 10<<20, 10*time.Second), Day{Date: "2026-11-23", Used: 1 << 40}), 1 << 20},
		{"the newest day weighs more", append(days(1, 100<<20, 100*time.Second), Day{Date: "2026-11-23", Used: 1000 << 20, Busy: 100 * time.Second}),
			6291456}, // (1000 + 0.8*100) MiB in (100 + 0.8*100) s is 6 MiB/s, where the plain mean is 5.5
		{"the last seven days with traffic", append(days(1, 1<<40, 10*time.Second), days(7, 10<<20, 10*time.Second)...), 1 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := paceOf(tt.days); got != tt.want {
				t.Errorf("%d bytes a second, want %d", got, tt.want)
			}
		})
	}
}

// Nothing goes faster than the bandwidth allows; where no pace is recorded, none is told of.
func TestPaceKeepsToTheBandwidth(t *testing.T) {
	busy := days(1, 600<<20, time.Minute) // 10 MiB a second
	for _, c := range []struct {
		days       []Day
		most, want int64
	}{{busy, 0, 10 << 20}, {busy, 20 << 20, 10 << 20}, {busy, 20 << 10, 20 << 10}, {nil, 20 << 10, 0}} {
		if got := paceOfAll([]demand{{Days: c.days, Most: c.most}, {Days: busy}}); c.days != nil && got != c.want {
			t.Errorf("at most %d: %d bytes a second, want %d", c.most, got, c.want)
		}
		if got := paceOfAll([]demand{{Days: c.days, Most: c.most}}); got != c.want {
			t.Errorf("at most %d, alone: %d bytes a second, want %d", c.most, got, c.want)
		}
	}
}

// scene is one forecast of one account, written briefly.
type scene struct {
	now    string // RFC 3339; default is start
	zone   string
	anchor int
	plan   string // default free
	limit  int64  // default the plan's
	used   int64
	held   int64 // reserved for this work
	sizes  []int64
	rest   int64
	days   []Day
}

// demand is the account of a scene.
func (s scene) demand(t testing.TB) (time.Time, demand) {
	t.Helper()
	now := start
	if s.now != "" {
		var err error
		now, err = time.Parse(time.RFC3339, s.now)
		must(t, err)
	}
	st := Status{Account: "anna", Plan: s.plan, OwnLimit: s.limit != 0, Limit: s.limit, Used: s.used, Reserved: s.held, AnchorDay: max(s.anchor, 1), TimeZone: s.zone}
	if st.Plan == "" {
		st.Plan = "free"
	}
	if st.Limit == 0 {
		tier, ok := Config{Tiers: testTiers()}.tier(st.Plan)
		if !ok {
			t.Fatalf("no plan %s", st.Plan)
		}
		st.Limit = tier.Limit
	}
	if st.TimeZone == "" {
		st.TimeZone = "UTC"
	}
	st.Available = Unlimited
	if st.Limit >= 0 {
		st.Available = max(0, st.Limit-st.Used-st.Reserved)
	}
	st.Period = PeriodAt(now, st.AnchorDay, zone(t, st.TimeZone))
	d := demand{Status: st, Days: s.days, Times: 1, Held: s.held > 0}
	for _, size := range s.sizes {
		d.Work.Add(size)
	}
	d.Work.AddRest(s.rest/100_000, s.rest)
	return now, d
}

func testTiers() []Tier { return append(DefaultTiers(), Tier{"none", 0}) }

func equal(n int, size int64) []int64 { return slices.Repeat([]int64{size}, n) }

// fast is a recorded pace of 4 MiB a second.
func fast() []Day { return days(3, 4<<20*3600, time.Hour) }

func TestForecast(t *testing.T) {
	tests := []struct {
		name     string
		scene    scene
		periods  int64
		wait     string // date in the zone, "" where it never waits
		ends     string // RFC 3339 in UTC, "" for null
		sentence string
	}{
		{"nothing", scene{}, 1, "", "2026-11-22T10:00:00Z", "Nothing is left to be moved."},
		{"fits, pace unknown", scene{rest: gib}, 1, "", "",
			"1.0 GiB fit the 5.0 GiB that plan free has left until 1 December: how long it takes is known once enough has been moved to tell the pace."},
		{"fits", scene{rest: gib, days: fast()}, 1, "", "2026-11-22T10:04:16Z",
			"1.0 GiB fit the 5.0 GiB that plan free has left until 1 December: it ends today, in about 4 min."},
		{"37 GiB of small files", scene{used: 4 * gib / 5, rest: 37 * gib, days: fast()}, 8, "2026-12-01", "2027-06-01T00:11:56Z",
			"37 GiB don't fit the 4.2 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself, takes 8 months, this one counted, " +
				"and ends about 1 June 2027. With plan basic (150 GiB a month) it would end today, in about 3 h."},
		{"37 GiB in files of 3 GiB", scene{used: 4 * gib / 5, sizes: append(equal(12, 3*gib), gib), days: fast()}, 12, "2026-12-01", "2027-10-01T00:12:48Z",
			"37 GiB don't fit the 4.2 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself in whole files, takes 12 months, this one counted, " +
				"and ends about 1 October 2027. With plan basic (150 GiB a month) it would end today, in about 3 h."},
		{"thirteen files of 3 GiB", scene{sizes: equal(13, 3*gib)}, 13, "2026-12-01", "2027-11-01T00:00:00Z",
			"39 GiB don't fit the 5.0 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself in whole files, takes 13 months, this one counted, " +
				"and ends 1 November 2027 or soon after. With plan basic (150 GiB a month) it wouldn't have to wait."},
		{"nothing left", scene{used: 5 * gib, rest: 7 * gib, days: fast()}, 3, "2026-12-01", "2027-01-01T00:08:32Z",
			"7.0 GiB are to be moved, and plan free has nothing left until 1 December: it moves up to 5.0 GiB each month by itself, takes the next 2 months " +
				"and ends about 1 January 2027. With plan basic (150 GiB a month) it would end today, in about 30 min."},
		{"one reset more", scene{used: 4 * gib, rest: 2 * gib, days: fast()}, 2, "2026-12-01", "2026-12-01T00:04:16Z",
			"2.0 GiB don't fit the 1.0 GiB that plan free has left until 1 December: it goes on by itself on 1 December and ends about 1 December. " +
				"With plan basic (150 GiB a month) it would end today, in about 9 min."},
		{"what is set aside is for this work", scene{used: 2 * gib, held: 2 * gib, rest: 3 * gib, days: fast()}, 1, "", "2026-11-22T10:12:48Z",
			"3.0 GiB fit the 3.0 GiB that plan free has left until 1 December: it ends today, in about 13 min."},
		{"more used than allowed", scene{used: 50 * gib, rest: gib, days: fast()}, 2, "2026-12-01", "2026-12-01T00:04:16Z",
			"1.0 GiB are to be moved, and plan free has nothing left until 1 December: it goes on by itself on 1 December and ends about 1 December. " +
				"With plan basic (150 GiB a month) it would end today, in about 4 min."},
		{"own limit", scene{limit: 10 * gib, rest: 12 * gib, days: fast()}, 2, "2026-12-01", "2026-12-01T00:08:32Z",
			"12 GiB don't fit the 10 GiB that account anna has left until 1 December: it goes on by itself on 1 December and ends about 1 December. " +
				"With plan basic (150 GiB a month) it would end today, in about 51 min."},
		{"the line is the limit", scene{plan: "basic", rest: 100 * gib, days: days(3, 50<<10*3600, time.Hour)}, 2, "", "2026-12-16T16:32:32Z",
			"100 GiB fit what plan basic allows, so it never has to wait; at the usual 50 KiB a second it ends about 16 December."},
		{"unlimited", scene{plan: "unlimited", rest: 37 * gib, days: fast()}, 1, "", "2026-11-22T12:37:52Z",
			"37 GiB are to be moved and no limit stands in the way: it ends today, in about 3 h."},
		{"a plan of nothing", scene{plan: "none", rest: gib, days: fast()}, 0, "", "",
			"1.0 GiB are to be moved, but plan none allows nothing at all. With plan free (5.0 GiB a month) it would end today, in about 4 min."},
		{"one file too large, the rest fits", scene{sizes: []int64{7 * gib, gib}, days: fast()}, 1, "", "2026-11-22T10:04:16Z",
			"1.0 GiB fit the 5.0 GiB that plan free has left until 1 December: it ends today, in about 4 min. 1 file is larger than all that plan free allows " +
				"(5.0 GiB a month; it has 7.0 GiB) and can't be moved: plan basic carries it, and with it everything would end today, in about 34 min."},
		{"nothing but files too large", scene{sizes: []int64{200 * gib, 7 * gib}, days: fast()}, 0, "", "",
			"2 files are larger than all that plan free allows (5.0 GiB a month; the largest has 200 GiB) and can't be moved: plan plus carries them, " +
				"and with it everything would end tomorrow, in about 15 h."},
		{"no plan is enough", scene{plan: "basic", rest: 500 * gib, days: fast()}, 4, "2026-12-01", "2027-02-01T03:33:20Z",
			"500 GiB don't fit the 150 GiB that plan basic has left until 1 December: it moves up to 150 GiB each month by itself, takes 4 months, this one counted, " +
				"and ends about 1 February 2027. With plan plus (1.0 TiB a month) it would end tomorrow, in about 36 h."},
		{"the centuries", scene{rest: 1 << 50}, 209716, "2026-12-01", "",
			"1.0 PiB don't fit the 5.0 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself, takes 209,716 months, this one counted, " +
				"and ends in more than 100 years. With plan unlimited (no limit) it wouldn't have to wait."},
		{"last minutes of the month, slow line", scene{now: "2026-11-30T23:50:00Z", plan: "basic", rest: 150 * gib, days: fast()}, 2, "", "2026-12-01T10:30:00Z",
			"150 GiB fit what plan basic allows, so it never has to wait; at the usual 4.0 MiB a second it ends tomorrow, in about 11 h."},
		{"a file over the reset counts in both months", scene{now: "2026-11-30T23:50:00Z", sizes: []int64{4 * gib}, rest: 4 * gib, days: fast()}, 3, "2027-01-01", "2027-01-01T00:02:48Z",
			"8.0 GiB don't fit the 5.0 GiB that plan free has left until tomorrow: it moves up to 5.0 GiB each month by itself in whole files, takes 3 months, this one counted, " +
				"and ends about 1 January 2027. With plan basic (150 GiB a month) it would end tomorrow, in about 34 min."},
		{"what is used counts against a larger plan too", scene{limit: 145 * gib, used: 144 * gib, rest: 10 * gib, days: fast()}, 2, "2026-12-01", "2026-12-01T00:38:24Z",
			"10 GiB don't fit the 1.0 GiB that account anna has left until 1 December: it goes on by itself on 1 December and ends about 1 December. " +
				"With plan plus (1.0 TiB a month) it would end today, in about 43 min."},
		{"anchor 31 over a short February", scene{now: "2027-01-31T12:00:00Z", anchor: 31, rest: 12 * gib}, 3, "2027-02-28", "2027-03-31T00:00:00Z",
			"12 GiB don't fit the 5.0 GiB that plan free has left until 28 February: it moves up to 5.0 GiB each month by itself, takes 3 months, this one counted, " +
				"and ends 31 March or soon after. With plan basic (150 GiB a month) it wouldn't have to wait."},
		{"anchor 31 over a leap February", scene{now: "2028-02-28T12:00:00Z", anchor: 31, rest: 6 * gib}, 2, "2028-02-29", "2028-02-29T00:00:00Z",
			"6.0 GiB don't fit the 5.0 GiB that plan free has left until tomorrow: it goes on by itself tomorrow and ends tomorrow or soon after. " +
				"With plan basic (150 GiB a month) it wouldn't have to wait."},
		{"Berlin, over the change to summer time", scene{now: "2027-03-20T12:00:00Z", zone: "Europe/Berlin", rest: 12 * gib}, 3, "2027-04-01", "2027-04-30T22:00:00Z",
			"12 GiB don't fit the 5.0 GiB that plan free has left until 1 April: it moves up to 5.0 GiB each month by itself, takes 3 months, this one counted, " +
				"and ends 1 May or soon after. With plan basic (150 GiB a month) it wouldn't have to wait."},
		{"Berlin, already December there", scene{now: "2026-11-30T23:30:00Z", zone: "Europe/Berlin", rest: gib, days: fast()}, 1, "", "2026-11-30T23:34:16Z",
			"1.0 GiB fit the 5.0 GiB that plan free has left until 1 January 2027: it ends today, in about 4 min."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, d := tt.scene.demand(t)
			f := predict(now, testTiers(), d)
			date := func(at *time.Time, layout, zoneName string) string {
				if at == nil {
					return ""
				}
				return at.In(zone(t, zoneName)).Format(layout)
			}
			wait := date(f.WaitUntil, time.DateOnly, f.TimeZone)
			ends := ""
			if f.Ends != nil {
				ends = f.Ends.UTC().Truncate(time.Second).Format(time.RFC3339)
			}
			if f.Periods != tt.periods || wait != tt.wait || ends != tt.ends {
				t.Errorf("%d periods, waits until %q, ends %q; want %d, %q, %q", f.Periods, wait, ends, tt.periods, tt.wait, tt.ends)
			}
			if got := f.Sentence(); got != tt.sentence {
				t.Errorf("says\n %s\nwant\n %s", got, tt.sentence)
			}
			if _, err := json.Marshal(f); err != nil {
				t.Error(err)
			}
		})
	}
}

// remoteDemand is a limit of a remote beside an account.
func remoteDemand(t testing.TB, m Measure, limit, used int64, now time.Time, d demand) demand {
	t.Helper()
	st := Status{Subject: RemoteSubject("gdrive", m), Limit: limit, Used: used, Available: max(0, limit-used), AnchorDay: 1, TimeZone: "UTC",
		Period: PeriodAt(now, 1, time.UTC)}
	if m == PerDay {
		st.Period = dayAt(now, time.UTC)
	}
	d.Status, d.Days = st, nil
	return d
}

func TestForecastOfSeveralLimits(t *testing.T) {
	now, plus := scene{plan: "plus", rest: 100 * gib, days: fast()}.demand(t)
	_, free := scene{rest: 12 * gib, days: fast()}.demand(t)
	_, empty := scene{plan: "basic", used: 150 * gib, rest: 100 * gib, days: fast()}.demand(t)
	_, nearly := scene{plan: "basic", used: 145 * gib, rest: 125 * gib, days: fast()}.demand(t)
	_, none := scene{plan: "basic", used: 150 * gib, rest: 125 * gib, days: fast()}.demand(t)
	_, eighty := scene{plan: "plus", rest: 80 * gib, days: fast()}.demand(t)
	_, less := scene{rest: 7 * gib}.demand(t)
	twice := remoteDemand(t, PerDay, 10*gib, 0, now, plus)
	twice.Times = 2
	many := remoteDemand(t, Calls, 1000, 1000, now, plus)
	many.Work = Work{Bytes: gib, Files: 1500}
	_, large := scene{plan: "plus", sizes: []int64{11 * gib, gib}, days: fast()}.demand(t)
	tests := []struct {
		name     string
		demands  []demand
		subject  string
		periods  int64
		ends     string
		sentence string
	}{
		{"the remote's day decides", []demand{plus, remoteDemand(t, PerDay, 10*gib, 5*gib, now, plus)}, "remote/gdrive/day", 11, "2026-12-02",
			"100 GiB don't fit the 5.0 GiB that remote gdrive has left until tomorrow: it moves up to 10 GiB each day by itself, takes 11 days, this one counted, " +
				"and ends about 2 December."},
		{"the account decides", []demand{free, remoteDemand(t, PerDay, 10*gib, 0, now, free)}, "anna", 3, "2027-01-01",
			"12 GiB don't fit the 5.0 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself, takes 3 months, this one counted, " +
				"and ends about 1 January 2027. With plan basic (150 GiB a month) it would end tomorrow, in about 14 h."},
		{"from and to one remote", []demand{plus, twice}, "remote/gdrive/day", 20, "2026-12-11",
			"100 GiB (each byte counts twice, out and in) don't fit the 10 GiB that remote gdrive has left until tomorrow: it moves up to 10 GiB each day by itself, takes 20 days, this one counted, " +
				"and ends about 11 December."},
		{"API calls", []demand{plus, many}, "remote/gdrive/calls", 3, "2027-01-01",
			"100 GiB are to be moved, and remote gdrive may be sent 1000 API calls a month, of which none is left until 1 December: the rest goes on by itself then, " +
				"and it ends about 1 January 2027 at the earliest."},
		{"first the account, then the remote's days", []demand{empty, remoteDemand(t, PerDay, 10*gib, 0, now, empty)}, "anna", 2, "2026-12-10",
			"100 GiB are to be moved, and plan basic has nothing left until 1 December: it goes on by itself on 1 December and ends about 10 December. " +
				"With plan plus (1.0 TiB a month) it would end about 1 December."},
		{"the remote's days, but first the account", []demand{nearly, remoteDemand(t, PerDay, 10*gib, 0, now, nearly)}, "remote/gdrive/day", 21, "2026-12-12",
			"125 GiB don't fit the 10 GiB that remote gdrive has left until tomorrow: it moves up to 10 GiB each day by itself, takes 21 days, this one counted, " +
				"and ends about 12 December. First it has to wait for plan basic, until 1 December. With plan plus (1.0 TiB a month) it would end about 4 December."},
		{"neither has anything left", []demand{none, remoteDemand(t, PerDay, 10*gib, 10*gib, now, none)}, "remote/gdrive/day", 22, "2026-12-13",
			"125 GiB are to be moved, and remote gdrive has nothing left until tomorrow: it moves up to 10 GiB each day by itself, takes the next 21 days " +
				"and ends about 13 December. First it has to wait for plan basic, until 1 December. With plan plus (1.0 TiB a month) it would end about 5 December."},
		{"two remotes", []demand{eighty, remoteDemand(t, PerMonth, 90*gib, 90*gib, now, eighty), remoteDemand(t, PerDay, 10*gib, 0, now, eighty)}, "remote/gdrive/month", 2, "2026-12-08",
			"80 GiB are to be moved, and remote gdrive has nothing left until 1 December: it goes on by itself on 1 December and ends about 8 December."},
		{"other work of the account doesn't go through the remote", []demand{free, remoteDemand(t, PerDay, gib, 0, now, less)}, "anna", 3, "2027-01-01",
			"12 GiB don't fit the 5.0 GiB that plan free has left until 1 December: it moves up to 5.0 GiB each month by itself, takes 3 months, this one counted, " +
				"and ends about 1 January 2027. With plan basic (150 GiB a month) it would end about 28 November."},
		{"too large for the remote", []demand{large, remoteDemand(t, PerDay, 10*gib, 0, now, large)}, "anna", 1, "2026-11-22",
			"1.0 GiB fit the 1.0 TiB that plan plus has left until 1 December: it ends today, in about 4 min. 1 file is larger than all that remote gdrive allows " +
				"(10 GiB a day; it has 11 GiB) and can't be moved: only a higher limit of that remote carries it."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := predict(now, testTiers(), tt.demands...)
			if f.Ends == nil || f.Subject != tt.subject || f.Periods != tt.periods || f.Ends.Format(time.DateOnly) != tt.ends {
				t.Errorf("%s, %d periods, ends %v; want %s, %d, %s", f.Subject, f.Periods, f.Ends, tt.subject, tt.periods, tt.ends)
			}
			if got := f.Sentence(); got != tt.sentence {
				t.Errorf("says\n %s\nwant\n %s", got, tt.sentence)
			}
		})
	}
}

func TestForecastOfAClosedAccount(t *testing.T) {
	now, d := scene{rest: gib, days: fast()}.demand(t)
	d.Status.Why, d.Status.Limit, d.Status.Available = "account anna was removed: `offload quota set --account anna --plan PLAN` opens it again", 0, 0
	f := predict(now, testTiers(), d)
	want := "1.0 GiB are left to be moved, but account anna was removed: `offload quota set --account anna --plan PLAN` opens it again."
	if f.Periods != 0 || f.Fits || f.Ends != nil || f.Available != 0 || !strings.HasPrefix(f.Sentence(), want) || f.End() != "never" {
		t.Errorf("%+v says %s", f, f.Sentence())
	}
}

func TestForecastBesideOtherJobs(t *testing.T) {
	now, d := scene{rest: gib, days: fast()}.demand(t)
	f := predict(now, testTiers(), d)
	ends := time.Date(2027, 3, 1, 1, 0, 0, 0, time.UTC)
	f.AtLeast, f.Others = true, &Others{Jobs: 2, Bytes: 20 * gib, Periods: 5, Ends: &ends}
	want := "At least 1.0 GiB are to be moved; what is known so far fits the 5.0 GiB that plan free has left until 1 December: " +
		"it ends today, in about 4 min at the earliest. 2 other jobs of the account (20 GiB) share what is allowed: with that it ends about 1 March 2027."
	if got := f.Sentence(); got != want {
		t.Errorf("says\n %s\nwant\n %s", got, want)
	}
	f.Pace, f.Ends, f.Others = 0, nil, &Others{Jobs: 2, Bytes: 20 * gib, Periods: 1}
	if got := f.Sentence(); !strings.HasSuffix(got, "how long it takes is known once enough has been moved to tell the pace. "+
		"2 other jobs of the account (20 GiB) share what is allowed, so it takes longer.") {
		t.Error(got)
	}
	f.Ends = &ends
	f.Others = &Others{Jobs: 1, Bytes: gib, Periods: 1, Ends: ptr(start.Add(time.Hour))}
	if got := f.Sentence(); !strings.Contains(got, "Another job of the account (1.0 GiB) shares what is allowed: with that it ends today") {
		t.Error(got)
	}
}

func TestOutlook(t *testing.T) {
	tests := []struct {
		name   string
		scene  scene
		usedUp string
		text   string
	}{
		{"nothing recorded", scene{}, "", "Nothing was moved in the last 30 days."},
		{"only long ago", scene{days: []Day{{Date: "2026-09-01", Used: gib}}}, "", "Nothing was moved in the last 30 days."},
		{"used up before the reset", scene{used: 4 * gib, days: days(10, gib/4, time.Hour)}, "2026-11-26",
			"256 MiB were moved a day on average of the last 10 days: if that goes on, what is left is used up about 26 November; the next 5.0 GiB come on 1 December."},
		{"enough", scene{used: gib, days: days(30, gib/10, time.Hour)}, "",
			"102 MiB were moved a day on average of the last 30 days: if that goes on, what is left lasts until the next 5.0 GiB come on 1 December."},
		{"days without traffic count", scene{used: 4 * gib, days: []Day{{Date: "2026-10-24", Used: 3 * gib}}}, "",
			"102 MiB were moved a day on average of the last 30 days: if that goes on, what is left lasts until the next 5.0 GiB come on 1 December."},
		{"only today", scene{used: gib, days: days(1, gib, time.Hour)}, "2026-11-26",
			"1.0 GiB were moved today: if that goes on, what is left is used up about 26 November; the next 5.0 GiB come on 1 December."},
		{"used up", scene{used: 5 * gib, days: days(5, gib, time.Hour)}, "2026-11-22", "Nothing is left; the next 5.0 GiB come on 1 December."},
		{"used up, long ago", scene{used: 5 * gib}, "2026-11-22", "Nothing is left; the next 5.0 GiB come on 1 December."},
		{"unlimited", scene{plan: "unlimited", days: days(5, gib, time.Hour)}, "", "1.0 GiB were moved a day on average of the last 5 days; there is no limit."},
		{"a plan of nothing", scene{plan: "none"}, "", "Nothing is allowed."},
		{"a little", scene{days: days(20, 1, time.Hour)}, "", "1 B were moved a day on average of the last 20 days: if that goes on, what is left lasts until the next 5.0 GiB come on 1 December."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now, d := tt.scene.demand(t)
			o := outlookOf(now, d.Status, d.Days)
			usedUp := ""
			if o.UsedUp != nil {
				usedUp = o.UsedUp.Format(time.DateOnly)
			}
			if usedUp != tt.usedUp || o.Sentence() != tt.text {
				t.Errorf("used up %q, says\n %s\nwant %q,\n %s", usedUp, o.Sentence(), tt.usedUp, tt.text)
			}
		})
	}
}

// A forecaster tells of what the ledger has recorded.
func TestForecaster(t *testing.T) {
	cfg := Config{Tiers: []Tier{{"small", 100 << 20}, {"large", 1 << 40}}, Remotes: map[string]RemoteLimits{"gdrive": {PerDay: 64 << 20}}}
	day := RemoteSubject("gdrive", PerDay)
	onBoth(t, cfg, func(t *testing.T, r *rig) {
		ctx := t.Context()
		p := r.Pool("anna", "job:1:")
		for range 10 {
			g, err := p.Reserve(ctx, 8<<20)
			must(t, err)
			for range 2 {
				must(t, g.Charge(ctx, 4<<20))
				r.advance(2 * time.Second)
			}
			must(t, g.Settle(ctx, 8<<20, 0))
		}
		must(t, p.Close(ctx))
		var w Work
		for range 3 {
			w.Add(30 << 20)
		}
		f := r.Forecaster()
		got, err := f.Forecast(ctx, Need{Subject: "anna", Work: w}, Need{Subject: day, Work: w})
		must(t, err)
		pace, err := f.Pace(ctx, "anna")
		must(t, err)
		if pace < 2<<20 || pace > 3<<20 { // 80 MiB in 38 s: no charge follows the last one
			t.Errorf("%d bytes a second", pace)
		}
		if got.Subject != "anna" || got.Plan != "small" || got.OwnLimit || got.Available != 20<<20 || got.Periods != 2 || !got.At.Equal(r.now) ||
			got.Ends == nil || got.Ends.Format(time.DateOnly) != "2026-12-02" || got.Better == nil || got.Better.Plan != "large" {
			t.Errorf("%+v", got)
		}
		if got, err = f.Forecast(ctx, Need{Subject: "berta", Work: w}, Need{Subject: day, Work: w}); err != nil || got.Subject != day || got.Periods != 2 {
			t.Errorf("%+v, %v", got, err)
		}
		for subjects, want := range map[string]int64{"anna": 100 << 20, "anna " + day: 64 << 20, "anna " + day + " " + day: 32 << 20} {
			if n, whose, err := f.Carries(ctx, strings.Fields(subjects)...); n != want || err != nil || !strings.HasSuffix(subjects, whose) {
				t.Errorf("%s carry a file of %d bytes, as %s says, %v", subjects, n, whose, err)
			}
		}
		o, err := f.Outlook(ctx, "anna")
		if err != nil || o.Days != 1 || o.PerDay != 80<<20 || o.UsedUp == nil {
			t.Errorf("%+v, %v", o, err)
		}
		must(t, r.Remove(ctx, "anna"))
		if again, err := f.Status(ctx, "anna"); err != nil || again.Removed {
			t.Errorf("a forecaster looks once: %+v, %v", again, err)
		}
		if got, err = r.Forecaster().Forecast(ctx, Need{Subject: "anna", Work: w}); err != nil || got.Periods != 0 || got.Closed == "" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// The JSON form is a contract.
func TestForecastJSON(t *testing.T) {
	now, d := scene{used: 4 * gib, rest: 2 * gib, days: fast()}.demand(t)
	raw, err := json.Marshal(predict(now, testTiers(), d))
	must(t, err)
	want := `{"subject":"anna","account":"anna","plan":"free","limit":5368709120,"available":1073741824,"bytes":2147483648,"fits":false,"periods":2,` +
		`"wait_until":"2026-12-01T00:00:00Z","ends":"2026-12-01T00:04:16Z","pace":4194304,"bound_by":"quota",` +
		`"better":{"plan":"basic","limit":161061273600,"periods":1,"ends":"2026-11-22T10:08:32Z"},"too_large":0,` +
		`"resets":"2026-12-01T00:00:00Z","time_zone":"UTC","at":"2026-11-22T10:00:00Z"}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

// Periods are never fewer than the bytes need, and never fewer for more bytes or a smaller limit where files divide.
func TestForecastBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 2))
	for range 600 {
		limit := 1 + rnd.Int64N(100)
		s := scene{limit: limit, used: rnd.Int64N(limit + 10), rest: rnd.Int64N(400)}
		for range rnd.IntN(30) {
			s.sizes = append(s.sizes, 1+rnd.Int64N(limit+5))
		}
		now, d := s.demand(t)
		f := predict(now, nil, d)
		sum := s.rest
		for _, size := range s.sizes {
			if size <= limit {
				sum += size
			}
		}
		if sum == 0 {
			continue
		}
		least := int64(1)
		if left := sum - d.Status.Available; left > 0 {
			least += (left + limit - 1) / limit
		}
		most := 2 + 2*(sum/limit+1) // two files that don't go together fill more than one period
		if f.Bytes != sum || f.Periods < least || f.Periods > most {
			t.Fatalf("%+v: %d bytes in %d periods, want %d in %d to %d", s, f.Bytes, f.Periods, sum, least, most)
		}
		more := s
		more.rest += 1 + rnd.Int64N(200)
		if _, d := more.demand(t); predict(now, nil, d).Periods < f.Periods {
			t.Fatalf("%+v: more small files, fewer periods", s)
		}
		fluid := scene{limit: limit, used: s.used, rest: 1 + s.rest}
		_, d = fluid.demand(t)
		small := predict(now, nil, d)
		fluid.limit += 1 + rnd.Int64N(50)
		if _, d := fluid.demand(t); predict(now, nil, d).Periods > small.Periods {
			t.Fatalf("%+v: a larger limit, more periods", fluid)
		}
	}
}

// The largest sizes are kept whatever the order, and the sums are exact.
func TestWorkKeepsTheLargest(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 7))
	var w, a, b Work
	var all []int64
	for i := range 3*keptSizes + 17 {
		n := 1 + rnd.Int64N(1<<40)
		all = append(all, n)
		w.Add(n)
		if i%3 == 0 {
			a.Add(n)
		} else {
			b.Add(n)
		}
	}
	w.Add(0)
	w.Add(-1)
	a.Join(b)
	slices.Sort(all)
	var sum int64
	for _, n := range all {
		sum += n
	}
	for _, w := range []Work{w, a} {
		kept := slices.Sorted(slices.Values(w.large))
		if w.Bytes != sum || w.Files != int64(len(all)) || !slices.Equal(kept, all[len(all)-keptSizes:]) {
			t.Fatalf("%d bytes in %d files, %d kept; want %d in %d", w.Bytes, w.Files, len(kept), sum, len(all))
		}
	}
	cut := w.AtMost(sum / 2)
	var large int64
	for _, n := range cut.large {
		large += n
	}
	if cut.Bytes != sum/2 || large > cut.Bytes || w.Bytes != sum || len(w.large) != keptSizes {
		t.Fatalf("cut to %d bytes, of which %d are large", cut.Bytes, large)
	}
}

// Whatever sizes, limits and paces: it ends, soon, and can be told.
func FuzzForecast(f *testing.F) {
	f.Add(int64(1), uint64(1), int64(1<<52), int64(0), uint16(2000), false)
	f.Add(int64(5<<30), uint64(3), int64(1<<62), int64(1), uint16(4000), true)
	f.Add(int64(-1), uint64(9), int64(1<<62), int64(1<<40), uint16(10), true)
	f.Add(int64(0), uint64(9), int64(0), int64(1), uint16(0), true)
	f.Fuzz(func(t *testing.T, limit int64, seed uint64, rest, used int64, files uint16, daily bool) {
		if limit < -1 || limit > maxBytes || used < 0 || used > maxBytes || rest < 0 {
			t.Skip("the ledger refuses them")
		}
		rnd := rand.New(rand.NewPCG(seed, 1))
		now, d := scene{limit: max(limit, 1), used: used, rest: rest, days: days(2, rnd.Int64N(1<<40), time.Duration(rnd.Int64N(1e14)))}.demand(t)
		for range files {
			d.Work.Add(1 + rnd.Int64N(1+max(limit, rest)))
		}
		d.Status.Limit = limit
		other := remoteDemand(t, PerMonth, 1+used, used, now, d)
		if daily {
			other = remoteDemand(t, PerDay, 1+used, used, now, d)
		}
		other.Times = 2
		g := predict(now, testTiers(), d, other)
		if g.Sentence() == "" || g.Bytes < 0 || g.Periods < 0 || g.Available < Unlimited {
			t.Errorf("%+v says %q", g, g.Sentence())
		}
		if _, err := json.Marshal(g); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkForecastOfAMillionFiles(b *testing.B) {
	now, d := scene{used: gib}.demand(b)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 1_000_000 {
		d.Work.Add(rnd.Int64N(5 * gib))
	}
	for b.Loop() {
		predict(now, testTiers(), d)
	}
}
