package quota

import (
	"math/rand/v2"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	must(t, err)
	return loc
}

func TestPeriodAt(t *testing.T) {
	tests := []struct {
		name, at string // RFC 3339
		anchor   int
		zone     string
		id       string
		start    string // UTC
		end      string
	}{
		{"middle", "2026-11-22T10:00:00Z", 15, "UTC", "2026-11-15", "2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z"},
		{"before the anchor", "2026-11-14T23:59:59Z", 15, "UTC", "2026-10-15", "2026-10-15T00:00:00Z", "2026-11-15T00:00:00Z"},
		{"first instant", "2026-11-15T00:00:00Z", 15, "UTC", "2026-11-15", "2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z"},
		{"over the year", "2027-01-03T00:00:00Z", 15, "UTC", "2026-12-15", "2026-12-15T00:00:00Z", "2027-01-15T00:00:00Z"},
		{"31 in February", "2026-02-28T12:00:00Z", 31, "UTC", "2026-02-28", "2026-02-28T00:00:00Z", "2026-03-31T00:00:00Z"},
		{"31 before February's end", "2026-02-27T12:00:00Z", 31, "UTC", "2026-01-31", "2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"30 in a leap February", "2028-02-29T00:00:00Z", 30, "UTC", "2028-02-29", "2028-02-29T00:00:00Z", "2028-03-30T00:00:00Z"},
		{"29 in a leap February", "2028-02-28T23:00:00Z", 29, "UTC", "2028-01-29", "2028-01-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"29 in no leap February", "2100-02-28T00:00:00Z", 29, "UTC", "2100-02-28", "2100-02-28T00:00:00Z", "2100-03-29T00:00:00Z"},
		{"31 in April", "2026-04-30T00:00:00Z", 31, "UTC", "2026-04-30", "2026-04-30T00:00:00Z", "2026-05-31T00:00:00Z"},
		{"below 1", "2026-11-22T10:00:00Z", 0, "UTC", "2026-11-01", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"beyond 31", "2026-11-22T10:00:00Z", 40, "UTC", "2026-10-31", "2026-10-31T00:00:00Z", "2026-11-30T00:00:00Z"},
		{"Berlin, into summer", "2026-03-20T00:00:00Z", 15, "Europe/Berlin", "2026-03-15", "2026-03-14T23:00:00Z", "2026-04-14T22:00:00Z"},
		{"Berlin, on the day of change", "2026-03-29T05:00:00Z", 29, "Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-04-28T22:00:00Z"},
		{"Berlin, already tomorrow", "2026-10-31T23:30:00Z", 1, "Europe/Berlin", "2026-11-01", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"},
		{"Sao Paulo, no midnight", "2018-11-04T03:00:00Z", 4, "America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-12-04T02:00:00Z"},
		{"Sao Paulo, just before it", "2018-11-04T02:59:59Z", 4, "America/Sao_Paulo", "2018-10-04", "2018-10-04T03:00:00Z", "2018-11-04T03:00:00Z"},
		{"Sao Paulo, 23 o'clock twice", "2018-02-18T02:30:00Z", 18, "America/Sao_Paulo", "2018-01-18", "2018-01-18T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"Apia, the day left out", "2011-12-30T10:00:00Z", 30, "Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", "2012-01-29T10:00:00Z"},
		{"Apia, just before it", "2011-12-30T09:59:59Z", 30, "Pacific/Apia", "2011-11-30", "2011-11-30T10:00:00Z", "2011-12-30T10:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, tt.at)
			must(t, err)
			p := PeriodAt(at, tt.anchor, zone(t, tt.zone))
			start, end := p.Start.Format(time.RFC3339), p.End.Format(time.RFC3339)
			if p.ID != tt.id || start != tt.start || end != tt.end {
				t.Errorf("got %s [%s, %s), want %s [%s, %s)", p.ID, start, end, tt.id, tt.start, tt.end)
			}
		})
	}
}

// Every anchor in every month of a leap year and of another begins on the anchor or on the month's last day.
func TestPeriodAnchorsInAllMonths(t *testing.T) {
	for _, year := range []int{2027, 2028} {
		for month := time.January; month <= time.December; month++ {
			for anchor := 1; anchor <= 31; anchor++ {
				last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC)
				p := PeriodAt(last, anchor, time.UTC)
				if want := min(anchor, last.Day()); p.Start.Day() != want || p.Start.Month() != month || p.Start.Year() != year {
					t.Errorf("anchor %d at %s: period starts %s", anchor, last.Format(time.DateOnly), p.Start)
				}
			}
		}
	}
}

var testZones = []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/Havana",
	"America/St_Johns", "America/Toronto", "Asia/Gaza", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Kwajalein"}

// checkTile tells whether t lies in p, and whether the periods before and after p meet it.
func checkTile(t *testing.T, what string, at time.Time, p Period, of func(time.Time) Period) {
	t.Helper()
	if at.Before(p.Start) || !at.Before(p.End) {
		t.Fatalf("%s: %s is outside its own %v", what, at, p)
	}
	for _, same := range []time.Time{p.Start, p.End.Add(-time.Nanosecond)} {
		if got := of(same); got != p {
			t.Fatalf("%s: %s lies in %v, not in %v", what, same, got, p)
		}
	}
	if next := of(p.End); next.Start != p.End {
		t.Fatalf("%s: after %v comes %v", what, p, next)
	}
	if prev := of(p.Start.Add(-time.Nanosecond)); prev.End != p.Start {
		t.Fatalf("%s: before %v comes %v", what, p, prev)
	}
}

func tile(t *testing.T, unix int64, anchor int, zoneName string) {
	t.Helper()
	loc, at := zone(t, zoneName), time.Unix(unix, 0).UTC()
	month := func(at time.Time) Period { return PeriodAt(at, anchor, loc) }
	p := month(at)
	checkTile(t, zoneName, at, p, month)
	if d := p.End.Sub(p.Start); d < 27*24*time.Hour || d > 32*24*time.Hour {
		t.Fatalf("%s: %v lasts %s", zoneName, p, d)
	}
	day := func(at time.Time) Period { return dayAt(at, loc) }
	checkTile(t, zoneName, at, day(at), day)
}

func TestPeriodsTileTime(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		tile(t, rnd.Int64N(130*365*86400), 1+rnd.IntN(31), testZones[rnd.IntN(len(testZones))])
	}
	// The hours around midnights that don't exist or come twice.
	for name, at := range map[string]time.Time{
		"America/St_Johns":  time.Date(2006, 10, 29, 0, 0, 0, 0, time.UTC),
		"America/Sao_Paulo": time.Date(2018, 11, 3, 22, 0, 0, 0, time.UTC),
		"America/Havana":    time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		"Pacific/Apia":      time.Date(2011, 12, 29, 22, 0, 0, 0, time.UTC),
	} {
		for minute := range 24 * 60 {
			tile(t, at.Add(time.Duration(minute)*time.Minute).Unix(), at.Day(), name)
		}
	}
}

func FuzzPeriodsTileTime(f *testing.F) {
	f.Add(start.Unix(), uint8(31), uint8(1))
	f.Add(int64(1325239200), uint8(30), uint8(3))
	f.Fuzz(func(t *testing.T, unix int64, anchor, z uint8) {
		const years = 400 * 365 * 86400
		if unix < -years || unix > years {
			t.Skip("beyond four centuries")
		}
		at := time.Unix(unix, 0).UTC()
		loc := zone(t, testZones[int(z)%len(testZones)])
		of := func(at time.Time) Period { return PeriodAt(at, int(anchor), loc) }
		checkTile(t, loc.String(), at, of(at), of)
	})
}

// Whatever anchor day is configured anew, no period begins less than a month after the last one.
func TestAConfiguredAnchorYieldsNoShortMonth(t *testing.T) {
	for old := 1; old <= 31; old++ {
		for anchor := 1; anchor <= 31; anchor++ {
			for month := range 12 {
				a := state{period: PeriodAt(start.AddDate(0, month, 0), old, time.UTC)}
				a.now, a.until = a.period.End, a.period.End.Format(time.DateOnly)
				p, _ := a.next(settings{anchor: anchor, loc: time.UTC})
				from := p.Start
				if from.Before(a.period.End) {
					from = a.period.End // as view in common.lua has it
				}
				if least := anchorDate(from.Year(), from.Month()+1, from.Day()); p.End.Before(least) {
					t.Fatalf("anchor %d to %d: a period from %s to %s", old, anchor, from, p.End)
				}
			}
		}
	}
}

// Whatever time zone is configured anew, no day begins less than 20 hours after the last one.
func TestAConfiguredZoneYieldsNoShortDay(t *testing.T) {
	for _, old := range testZones {
		for _, name := range testZones {
			for hour := range 24 {
				a := state{period: dayAt(start.Add(time.Duration(hour)*time.Hour), zone(t, old))}
				a.now, a.until = a.period.End, dateOf(a.period.End.In(zone(t, old))).Format(time.DateOnly)
				p, _ := a.next(settings{daily: true, loc: zone(t, name)})
				from := p.Start
				if from.Before(a.period.End) {
					from = a.period.End
				}
				if p.End.Sub(from) < 20*time.Hour {
					t.Fatalf("%s to %s: a day from %s to %s", old, name, from, p.End)
				}
			}
		}
	}
}
