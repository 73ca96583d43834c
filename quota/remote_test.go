package quota

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSubjects(t *testing.T) {
	for subject, field := range map[string]string{ // "" is good
		RemoteSubject("gdrive", PerDay): "", RemoteSubject("My Drive 2", PerMonth): "", RemoteSubject("Füße", Calls): "",
		RemoteSubject(strings.Repeat("ä", 128), Calls): "", "remote": "",
		RemoteSubject(strings.Repeat("ä", 129), Calls): "remote", RemoteSubject("", PerDay): "remote",
		RemoteSubject("a/b", PerDay): "remote", RemoteSubject("a:", PerDay): "remote", RemoteSubject("a,b", PerDay): "remote",
		RemoteSubject("a}b", PerDay): "remote", RemoteSubject("{", PerDay): "remote", RemoteSubject("a\nb", PerDay): "remote",
		RemoteSubject("a\xff", PerDay): "remote", RemoteSubject("a", "year"): "remote", "remote/": "account", "remote/a": "account",
	} {
		err := checkSubject(subject)
		var input *InputError
		if field == "" {
			if err != nil {
				t.Errorf("%q: %v", subject, err)
			}
		} else if !errors.As(err, &input) || input.Field != field || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want an InputError of %s", subject, err, field)
		}
	}
	if remote, m, ok := ParseSubject("remote/a b/calls"); remote != "a b" || m != Calls || !ok {
		t.Errorf("got %q, %q, %t", remote, m, ok)
	}
	if _, _, ok := ParseSubject("anna"); ok {
		t.Error("an account was taken for a remote")
	}
}

// Whatever is taken as a subject has a key with one hash tag, and its parts can be told again.
func FuzzSubject(f *testing.F) {
	for _, s := range []string{"anna", "remote/gdrive/day", "remote//calls", "remote/a/b/day", "remote/ä ö/month", "remote/{/day", "}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if checkSubject(subject) != nil {
			return
		}
		if remote, m, ok := ParseSubject(subject); ok && RemoteSubject(remote, m) != subject {
			t.Errorf("%q isn't %q and %q", subject, remote, m)
		}
		for _, k := range keys(subject) {
			if strings.Count(k, "{") != 1 || strings.Count(k, "}") != 1 || strings.Contains(title(subject), "\n") {
				t.Errorf("%q has the key %q", subject, k)
			}
		}
	})
}

// withRemotes is limited with limits of remotes.
func withRemotes(remotes map[string]RemoteLimits) Config {
	cfg := limited(1000, 100)
	cfg.Remotes = remotes
	return cfg
}

// A limit a day begins anew at midnight in the configured zone, one a month on the first.
func TestRemotePeriods(t *testing.T) {
	cfg := withRemotes(map[string]RemoteLimits{"gdrive": {PerDay: 700, PerMonth: 1000, Calls: 20}})
	cfg.TimeZone = "Europe/Berlin"
	cfg.AnchorDay = 15 // of accounts alone
	day, month, calls := RemoteSubject("gdrive", PerDay), RemoteSubject("gdrive", PerMonth), RemoteSubject("gdrive", Calls)
	onBoth(t, cfg, func(t *testing.T, r *rig) {
		for subject, want := range map[string]Period{
			day:   {"2026-11-22", time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)},
			month: {"2026-11-01", time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)},
			calls: {"2026-11-01", time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)},
		} {
			if got := r.status(subject); got.Period != want || got.Subject != subject || got.Account != "" || got.Plan != "" {
				t.Errorf("%s: got %+v, want %+v", subject, got, want)
			}
		}
		must(t, r.use(day, 700))
		must(t, r.use(month, 700))
		err := r.use(day, 1)
		var full *NoQuotaError
		if !errors.As(err, &full) || !full.Resets.Equal(time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)) || full.Limit != 700 {
			t.Fatalf("got %v, want a refusal until midnight in Berlin", err)
		}
		r.setClock(full.Resets)
		must(t, r.use(day, 300))
		must(t, r.use(month, 300))
		if err := r.use(month, 1); !errors.Is(err, ErrNoQuota) {
			t.Errorf("got %v, want ErrNoQuota", err)
		}
		r.wantCounts(day, 300, 0, 0)
		r.wantCounts(month, 1000, 0, 0)
		// Calls are booked 16 ahead, which Close gives back.
		p := r.Pool(calls, "1")
		p.Prefer(20)
		g, err := p.Reserve(t.Context(), 1)
		must(t, err)
		must(t, g.Charge(t.Context(), 1))
		r.wantCounts(calls, 16, 4, 0)
		must(t, g.Settle(t.Context(), 1, 0))
		must(t, p.Close(t.Context()))
		r.wantCounts(calls, 1, 0, 0)
		names, err := r.Accounts(t.Context())
		if err != nil || len(names) != 0 {
			t.Errorf("remotes are listed as accounts: %v, %v", names, err)
		}
	})
}

// Days of 23 and 25 hours have one allowance each.
func TestRemoteDaysWithSummerTime(t *testing.T) {
	cfg := withRemotes(map[string]RemoteLimits{"gdrive": {PerDay: 100}})
	cfg.TimeZone = "Europe/Berlin"
	r := newMini(t, cfg)
	day := RemoteSubject("gdrive", PerDay)
	for i, hours := range []float64{23, 25} {
		r.setClock([]time.Time{time.Date(2027, 3, 28, 10, 0, 0, 0, time.UTC), time.Date(2027, 10, 31, 10, 0, 0, 0, time.UTC)}[i])
		must(t, r.use(day, 100))
		p := r.status(day).Period
		if got := p.End.Sub(p.Start).Hours(); got != hours {
			t.Errorf("%s has %v hours, want %v", p.ID, got, hours)
		}
		r.setClock(p.End.Add(-time.Millisecond))
		if err := r.use(day, 1); !errors.Is(err, ErrNoQuota) {
			t.Errorf("at the end of %s: got %v, want ErrNoQuota", p.ID, err)
		}
		r.setClock(p.End)
		must(t, r.use(day, 100))
	}
}

// However the configured zone is changed, there is one allowance a day, and a clock put back opens no day again.
func TestNoFreeDay(t *testing.T) {
	cfg := withRemotes(map[string]RemoteLimits{"gdrive": {PerDay: 100}})
	r := newReal(t, cfg)
	day := RemoteSubject("gdrive", PerDay)
	var used int64
	for hour := range 20 * 24 {
		cfg.TimeZone = testZones[hour%len(testZones)]
		l := &rig{Ledger: newLedger(t, r.client, cfg), t: t}
		l.scripts = r.scripts
		if l.use(day, 100) == nil {
			used += 100
		}
		if hour%5 == 4 { // back by three hours of four
			r.advance(-3 * time.Hour)
		}
		r.advance(time.Hour + 36*time.Minute)
	}
	days := int64(r.now.Sub(start)/(20*time.Hour)) + 1
	if used < 500 || used > days*100 {
		t.Errorf("%d bytes were moved in %s", used, r.now.Sub(start))
	}
}

func TestRemoteLimits(t *testing.T) {
	onBoth(t, withRemotes(map[string]RemoteLimits{"gdrive": {PerDay: 700}, "nas": {}}), func(t *testing.T, r *rig) {
		ctx := t.Context()
		day, calls := RemoteSubject("gdrive", PerDay), RemoteSubject("box", Calls)
		check := func(want ...string) {
			t.Helper()
			got, err := r.LimitsOf(ctx, "", "gdrive", "nas", "gdrive", ":local", "box", "unknown")
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("limits %v, %v; want %v", got, err, want)
			}
			all, err := r.RemoteSubjects(ctx)
			slices.Sort(want)
			slices.Sort(all)
			if err != nil || !slices.Equal(all, want) {
				t.Errorf("all limits %v, %v; want %v", all, err, want)
			}
		}
		check(day)
		if st := r.status(calls); st.Limit != Unlimited || st.Available != Unlimited {
			t.Errorf("a remote without a limit: %+v", st)
		}
		st, err := r.Set(ctx, calls, Change{Limit: ptr[int64](25)})
		if err != nil || st.Limit != 25 {
			t.Errorf("got %+v, %v", st, err)
		}
		check(day, calls)
		must(t, r.use(day, 500))
		_, err = r.Set(ctx, day, Change{Limit: ptr[int64](Unlimited)})
		must(t, err)
		check(calls)
		st, err = r.Set(ctx, day, Change{Reset: true})
		if err != nil || st.Limit != 700 || st.Used != 500 {
			t.Errorf("after a reset: %+v, %v", st, err)
		}
		_, err = r.Set(ctx, calls, Change{Reset: true})
		must(t, err)
		check(day)
		// What another process sets is known to this one within some seconds, and at once where there was a limit.
		other := newLedger(t, r.client, limited(1000, 100))
		other.scripts = r.scripts
		_, err = other.Set(ctx, day, Change{Limit: ptr[int64](501)})
		must(t, err)
		if err := r.use(day, 2); !errors.Is(err, ErrNoQuota) {
			t.Errorf("got %v, want ErrNoQuota", err)
		}
		_, err = other.Set(ctx, calls, Change{Limit: ptr[int64](5)})
		must(t, err)
		check2, err := r.LimitsOf(ctx, "box")
		if err != nil || len(check2) != 0 {
			t.Errorf("the answer wasn't kept: %v, %v", check2, err)
		}
		r.mu.Lock()
		for name, known := range r.limits {
			known.at = known.at.Add(-limitsLife)
			r.limits[name] = known
		}
		r.mu.Unlock()
		check(day, calls)
	})
}

func TestSetRefusesBadRemoteInput(t *testing.T) {
	r := newMini(t, limited(1000, 100))
	day, month, calls := RemoteSubject("g", PerDay), RemoteSubject("g", PerMonth), RemoteSubject("g", Calls)
	for _, tt := range []struct {
		subject string
		c       Change
		field   string
	}{
		{RemoteSubject("a/b", PerDay), Change{}, "remote"},
		{RemoteSubject("a", "year"), Change{}, "remote"},
		{day, Change{Plan: ptr("small")}, "plan"},
		{day, Change{Limit: ptr[int64](-2)}, "per-day"},
		{month, Change{Limit: ptr[int64](maxBytes + 1)}, "per-month"},
		{calls, Change{Limit: ptr[int64](-7)}, "calls-per-month"},
		{day, Change{AnchorDay: ptr(3)}, "anchor-day"},
		{day, Change{TimeZone: ptr("UTC")}, "time-zone"},
		{month, Change{AnchorDay: ptr(32)}, "anchor-day"},
	} {
		_, err := r.Set(t.Context(), tt.subject, tt.c)
		var input *InputError
		if !errors.As(err, &input) || input.Field != tt.field || input.Hint == "" {
			t.Errorf("%s %+v: got %v, want an InputError of %s with a hint", tt.subject, tt.c, err, tt.field)
		}
	}
	if keys, err := r.client.Keys(t.Context(), "*").Result(); err != nil || len(keys) != 0 {
		t.Errorf("bad input left %v, %v", keys, err)
	}
	st, err := r.Set(t.Context(), calls, Change{AnchorDay: ptr(31), TimeZone: ptr("Europe/Berlin")})
	if err != nil || st.AnchorDay != 31 || st.Period.End.Format(time.RFC3339) != "2026-11-29T23:00:00Z" {
		t.Errorf("got %+v, %v", st, err)
	}
}

// What is configured for an account lies below what is set by command, and above the defaults.
func TestConfiguredAccounts(t *testing.T) {
	cfg := limited(1000, 100)
	cfg.Accounts = map[string]AccountSettings{
		"anna": {Plan: "large", AnchorDay: 15, TimeZone: "Europe/Berlin"}, "bert": {Limit: 50}, "carl": {Plan: "large", Limit: Unlimited},
	}
	r := newMini(t, cfg)
	ctx := t.Context()
	names, err := r.Accounts(ctx)
	if err != nil || !slices.Equal(names, []string{"anna", "bert", "carl"}) {
		t.Errorf("accounts %v, %v", names, err)
	}
	check := func(account, plan string, limit int64, anchor int, zone string) {
		t.Helper()
		st := r.status(account)
		if st.Plan != plan || st.Limit != limit || st.AnchorDay != anchor || st.TimeZone != zone {
			t.Errorf("got %+v", st)
		}
	}
	check("anna", "large", 100_000, 15, "Europe/Berlin")
	check("bert", "small", 50, 1, "UTC")
	check("carl", "large", Unlimited, 1, "UTC")
	check("dora", "small", 1000, 1, "UTC")
	must(t, r.use("bert", 50))
	set := func(account string, c Change) {
		t.Helper()
		_, err := r.Set(ctx, account, c)
		must(t, err)
	}
	set("anna", Change{Limit: ptr[int64](7)})
	check("anna", "large", 7, 15, "Europe/Berlin")
	set("anna", Change{AnchorDay: ptr(3)})
	check("anna", "large", 7, 3, "Europe/Berlin")
	set("bert", Change{Plan: ptr("small")})
	check("bert", "small", 1000, 1, "UTC")
	set("bert", Change{AnchorDay: ptr(9)})
	set("bert", Change{Reset: true})
	check("bert", "small", 50, 1, "UTC")
	if st := r.status("bert"); st.Used != 50 || st.Period.End.Format(time.DateOnly) != "2026-12-01" {
		t.Errorf("a reset gave bytes away: %+v", st)
	}
	set("bert", Change{Reset: true, Limit: ptr[int64](60)})
	check("bert", "small", 60, 1, "UTC")
	// Taking an anchor of one's own away yields no free month either.
	must(t, r.use("dora", 1000))
	set("dora", Change{AnchorDay: ptr(23)})
	r.setClock(time.Date(2026, 12, 23, 0, 0, 0, 0, time.UTC))
	must(t, r.use("dora", 1000))
	set("dora", Change{Reset: true})
	if p := r.status("dora").Period; p.End.Format(time.DateOnly) != "2027-02-01" {
		t.Errorf("period %+v, want one that ends on 2027-02-01", p)
	}
}

func TestNewRefusesBadAccountsAndRemotes(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   Config
		field string
	}{
		"good": {Config{Accounts: map[string]AccountSettings{"a": {}, "b": {Plan: "plus", Limit: Unlimited, AnchorDay: 31, TimeZone: "UTC"}},
			Remotes: map[string]RemoteLimits{"g d": {1, 2, 3}, "h": {}}}, ""},
		"account name":  {Config{Accounts: map[string]AccountSettings{"A": {}}}, "account"},
		"unknown plan":  {Config{Accounts: map[string]AccountSettings{"a": {Plan: "gold"}}}, "plan"},
		"limit":         {Config{Accounts: map[string]AccountSettings{"a": {Limit: -2}}}, "limit"},
		"anchor":        {Config{Accounts: map[string]AccountSettings{"a": {AnchorDay: 32}}}, "anchor-day"},
		"zone":          {Config{Accounts: map[string]AccountSettings{"a": {TimeZone: "Local"}}}, "time-zone"},
		"remote name":   {Config{Remotes: map[string]RemoteLimits{"g:": {}}}, "remote"},
		"per day":       {Config{Remotes: map[string]RemoteLimits{"g": {PerDay: -1}}}, "per-day"},
		"per month":     {Config{Remotes: map[string]RemoteLimits{"g": {PerMonth: maxBytes + 1}}}, "per-month"},
		"calls a month": {Config{Remotes: map[string]RemoteLimits{"g": {Calls: -5}}}, "calls-per-month"},
	} {
		_, err := New(nil, tt.cfg)
		var input *InputError
		if tt.field == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.As(err, &input) || input.Field != tt.field {
			t.Errorf("%s: got %v, want an InputError of %s", name, err, tt.field)
		}
	}
}

func TestNoQuotaErrorTextOfRemotes(t *testing.T) {
	resets := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		err  NoQuotaError
		want string
	}{
		{NoQuotaError{Subject: "remote/gdrive/day", Need: 3 << 30, Available: 1 << 30, Limit: 750 << 30, Resets: resets},
			"remote gdrive has 1.0 GiB of its 750 GiB a day left and 3.0 GiB are needed: wait until 2026-11-23 00:00 UTC or " +
				"raise its limit (`offload quota set --remote gdrive --per-day SIZE`)"},
		{NoQuotaError{Subject: "remote/gdrive/month", Need: 2 << 40, Limit: 1 << 40, Resets: resets},
			"remote gdrive may take 1.0 TiB a month and 2.0 TiB are needed at once: " +
				"raise its limit (`offload quota set --remote gdrive --per-month SIZE`)"},
		{NoQuotaError{Subject: "remote/dropbox/calls", Need: 1, Limit: 25000, Resets: resets},
			"remote dropbox has 0 of its 25000 API calls a month left and 1 is needed: wait until 2026-11-23 00:00 UTC or " +
				"raise its limit (`offload quota set --remote dropbox --calls-per-month N`)"},
		{NoQuotaError{Subject: "remote/my drive/calls", Need: 7, Limit: 5, Resets: resets},
			"remote my drive may take 5 API calls a month and 7 are needed at once: " +
				"raise its limit (`offload quota set --remote 'my drive' --calls-per-month N`)"},
		{NoQuotaError{Subject: "anna", Need: 7, Why: "because"}, "because"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// A hundred accounts and as many remotes with three limits each: listed, swept in few round trips, and all free again.
func TestHundredAccounts(t *testing.T) {
	onBoth(t, limited(1000, 100), func(t *testing.T, r *rig) {
		ctx := t.Context()
		var subjects, accounts []string
		for i := range 100 {
			accounts = append(accounts, fmt.Sprintf("a%02d", i))
			remote := fmt.Sprintf("r%02d", i)
			for _, m := range Measures() {
				_, err := r.Set(ctx, RemoteSubject(remote, m), Change{Limit: ptr[int64](500)})
				must(t, err)
				subjects = append(subjects, RemoteSubject(remote, m))
			}
		}
		for _, s := range append(slices.Clone(accounts), subjects...) {
			_, err := r.Pool(s, "1").Reserve(ctx, 400)
			must(t, err)
		}
		if names, err := r.Accounts(ctx); err != nil || !slices.Equal(names, accounts) {
			t.Errorf("accounts %v, %v", names, err)
		}
		if names, err := r.RemoteSubjects(ctx); err != nil || !slices.Equal(names, subjects) {
			t.Errorf("remotes %v, %v", names, err)
		}
		r.advance(61 * time.Second)
		n, err := r.Sweep(ctx)
		if err != nil || n != 400 {
			t.Fatalf("swept %d, %v; want 400", n, err)
		}
		for _, s := range subjects {
			_, err := r.Pool(s, "2").Reserve(ctx, 400)
			must(t, err)
		}
		f := &faults{}
		r.client.AddHook(f)
		if n, err := r.Sweep(ctx); err != nil || n != 0 {
			t.Errorf("swept %d, %v; want 0", n, err)
		}
		if calls := f.calls.Load(); calls > 2 {
			t.Errorf("%d calls outside of pipelines", calls)
		}
		for _, s := range accounts[:3] {
			r.wantCounts(s, 0, 0, 0)
		}
	})
}
