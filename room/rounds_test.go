package room

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/jobstest"
	"offload/internal/store"
	"offload/jobs"
	"offload/quota"
	"offload/transfer"
	"offload/transfer/xcloud"
	_ "offload/transfer/xtest" // the local backend
)

// account is a played account of 5 GiB over a folder, and a service that moves out of it.
type account struct {
	t        *testing.T
	cloud    *xcloud.Cloud
	src, dst string
	svc      *jobs.Service

	before func(round int, o jobs.Order) // called before the job of a round
	after  func(round int)
	rounds int
	told   []string
}

func newAccount(t *testing.T, plan string) *account {
	a := &account{t: t, src: t.TempDir(), dst: filepath.Join(t.TempDir(), "dst")}
	a.cloud = xcloud.New(a.src)
	_, _, a.svc = jobstest.Open(t, store.Options{}, quota.Config{DefaultTier: plan, Tiers: []quota.Tier{{Name: "unlimited", Limit: -1}, {Name: "tiny", Limit: 2500}}}, jobs.Config{Open: a.cloud.Open})
	return a
}

// put writes a file that is so many days old.
func (a *account) put(name string, size, days int) {
	a.t.Helper()
	p := filepath.Join(a.src, name)
	if err := os.WriteFile(p, []byte(strings.Repeat("x", size)), 0o600); err != nil {
		a.t.Fatal(err)
	}
	at := time.Now().AddDate(0, 0, -days)
	if err := os.Chtimes(p, at, at); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) has(name string) bool {
	_, err := os.Stat(filepath.Join(a.src, name))
	return err == nil
}

// goal is that so much more is free than is used by nothing.
func (a *account) goal(used int64) Goal {
	return Goal{Remote: a.src, To: a.dst, Free: xcloud.Total - used}
}

func (a *account) way(g Goal) *Rounds {
	base := jobs.Order{MaxDelete: -1, Options: transfer.Options{PurgeTrash: true}}
	return &Rounds{Service: a.svc, Goal: g, Base: base, Runner: a, Patience: Patience{All: 30 * time.Millisecond, Every: 10 * time.Millisecond}}
}

func (a *account) do(g Goal) Result {
	a.t.Helper()
	r := a.way(g)
	p, err := r.Plan(a.t.Context(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	res, err := r.Do(a.t.Context(), p)
	if err != nil {
		a.t.Fatal(err)
	}
	return res
}

func (a *account) Tell(what string) { a.told = append(a.told, what) }

func (a *account) Run(ctx context.Context, o jobs.Order) (jobs.Job, bool, error) {
	a.rounds++
	if a.before != nil {
		a.before(a.rounds, o)
	}
	j, err := a.svc.EnqueueForeground(ctx, o)
	if err != nil {
		return j, false, err
	}
	j, stopped, err := a.GoOn(ctx, j)
	if a.after != nil {
		a.after(a.rounds)
	}
	return j, stopped, err
}

func (a *account) GoOn(ctx context.Context, j jobs.Job) (jobs.Job, bool, error) {
	err := a.svc.RunWorker(ctx, ctx, jobs.WorkerOptions{Job: j.ID})
	last, e := a.svc.Get(ctx, j.ID)
	return last, false, errors.Join(err, e)
}

// A file that was changed after it was chosen stays; another round takes the next one, and doesn't try that one again.
func TestRoundsGoOnWithoutWhatStayed(t *testing.T) {
	a := newAccount(t, "unlimited")
	for i := range 10 {
		a.put(fmt.Sprint("f", i), 1000, 100-i)
	}
	a.before = func(round int, o jobs.Order) {
		if round == 1 {
			a.put("f1", 999, 100) // the oldest by now
		}
	}
	res := a.do(a.goal(7000))
	if !res.Reached || len(res.Rounds) != 2 || res.Why != "" || res.Missing != 0 {
		t.Fatalf("%+v", res)
	}
	for i, stays := range []bool{false, true, false, false, true, true, true, true, true, true} {
		if a.has(fmt.Sprint("f", i)) != stays {
			t.Errorf("f%d stays: %v", i, !stays)
		}
	}
	if j := res.Rounds[0].Job; j.Goal == nil || j.Goal.Free != xcloud.Total-7000 || j.Plan == "" || j.Files.SetAside != 1 || j.Files.Purged != 2 {
		t.Errorf("%+v", j)
	}
}

// What grows as fast as files go ends the rounds, and is named.
func TestRoundsEndWithoutGain(t *testing.T) {
	a := newAccount(t, "unlimited")
	for i := range 10 {
		a.put(fmt.Sprint("f", i), 1000, 100-i)
	}
	a.after = func(round int) { a.put(fmt.Sprint("new", round), 5000, 0) }
	res := a.do(a.goal(7000))
	if res.Reached || res.Why != WhyNoGain || len(res.Rounds) != 1 || res.Rounds[0].Gained != -2000 || res.Rounds[0].Grew != 5000 || res.Grew["docs"] != 2000 {
		t.Fatalf("%+v", res)
	}
}

// There is an end to it where each round gains a little.
func TestRoundsAreBounded(t *testing.T) {
	a := newAccount(t, "unlimited")
	for i := range 100 {
		a.put(fmt.Sprintf("f%02d", i), 1000, 200-i)
	}
	a.after = func(round int) {
		for i := range 10 {
			a.put(fmt.Sprint("new", round, i), 90, 0)
		}
	}
	res := a.do(a.goal(90_000))
	if res.Reached || res.Why != WhyRounds || len(res.Rounds) != maxRounds {
		t.Fatalf("%d rounds, why %s, missing %d", len(res.Rounds), res.Why, res.Missing)
	}
}

func TestRoundsWaitForQuota(t *testing.T) {
	a := newAccount(t, "tiny")
	for i := range 10 {
		a.put(fmt.Sprint("f", i), 1000, 100-i)
	}
	res := a.do(a.goal(5000))
	if res.Reached || res.Why != WhyWaits || len(res.Rounds) != 1 || res.Rounds[0].Job.Reason != jobs.ReasonQuota || res.Rounds[0].Job.Files.Copied != 2 {
		t.Fatalf("%+v", res)
	}
}

// A measurement that comes late is waited for, and one that fails ends the way with its cause.
func TestMeasuringIsPatient(t *testing.T) {
	a := newAccount(t, "unlimited")
	a.put("f", 1000, 10)
	r := a.way(a.goal(500))
	asked := 0
	a.cloud.OnStorage = func(context.Context) error {
		if asked++; asked == 3 {
			return os.Remove(filepath.Join(a.src, "f"))
		}
		return nil
	}
	r.Patience = Patience{All: time.Minute, Every: time.Millisecond}
	s, err := r.measure(t.Context(), transfer.Storage{Total: xcloud.Total, Used: 1000}, 1000, jobs.PlanCount{})
	if err != nil || s.Used != 0 || asked < 3 || len(a.told) != 1 {
		t.Errorf("%+v after %d calls, %v", s, asked, err)
	}
	a.cloud.OnStorage = func(context.Context) error { return errors.New("no answer") }
	if _, err := r.measure(t.Context(), s, 1000, jobs.PlanCount{}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Error(err)
	}
}

// Protected and recent files stay, whatever is missing; nothing is missing where there is room.
func TestChooseProtects(t *testing.T) {
	a := newAccount(t, "unlimited")
	a.put("old.jpg", 1000, 400)
	a.put("old.doc", 1000, 300)
	a.put("young.doc", 1000, 5)
	g := a.goal(0)
	g.Protect, g.KeepRecent = []string{"*.jpg"}, 90*24*time.Hour
	base := jobs.Order{MaxDelete: -1, Options: transfer.Options{Include: []string{"*.jpg", "*.doc"}}} // protect wins
	p, err := Choose(t.Context(), a.svc, g, base)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Order(); ok {
		t.Error("not enough, and ordered all the same")
	}
	o, ok := p.AsFarAsPossible()
	if !ok || p.Missing != 3000 || p.Chosen.Files != 1 || p.Enough || p.Last.Path != "old.doc" || p.Job.Delete.Files != 1 || p.Job.Excluded.Files != 2 {
		t.Errorf("%+v", p)
	}
	if o.DeleteSource != transfer.DeleteVerified || o.Source != a.src || o.Dest != a.dst || o.Goal == nil || o.Plan == "" {
		t.Errorf("%+v", o)
	}
	p, err = Choose(t.Context(), a.svc, a.goal(3000), base)
	if _, ok := p.Order(); err != nil || ok || p.Missing != 0 || p.Job != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestGoalsThatMakeNoSense(t *testing.T) {
	a := newAccount(t, "unlimited")
	good := a.goal(0)
	for name, tt := range map[string]struct {
		change func(*Goal, *jobs.Order)
		field  string
	}{
		"no remote":         {func(g *Goal, _ *jobs.Order) { g.Remote = "" }, "remote"},
		"no destination":    {func(g *Goal, _ *jobs.Order) { g.To = "" }, "to"},
		"nothing":           {func(g *Goal, _ *jobs.Order) { g.Free = 0 }, "target"},
		"two":               {func(g *Goal, _ *jobs.Order) { g.Percent = 5 }, "target"},
		"negative":          {func(g *Goal, _ *jobs.Order) { g.Free = -1 }, "target"},
		"huge":              {func(g *Goal, _ *jobs.Order) { g.Free = 1<<63 - 1 }, "target"},
		"all":               {func(g *Goal, _ *jobs.Order) { g.Free, g.Percent = 0, 100 }, "until"},
		"negative part":     {func(g *Goal, _ *jobs.Order) { g.Free, g.Percent = 0, -1 }, "until"},
		"negative backup":   {func(g *Goal, _ *jobs.Order) { g.Free, g.Backup = 0, -1 }, "for-backup"},
		"unknown order":     {func(g *Goal, _ *jobs.Order) { g.Order = "newest" }, "order"},
		"negative age":      {func(g *Goal, _ *jobs.Order) { g.KeepRecent = -1 }, "keep-recent"},
		"ages that exclude": {func(g *Goal, o *jobs.Order) { g.KeepRecent, o.MaxAge = 2*time.Hour, time.Hour }, "min-age"},
		"bad pattern":       {func(g *Goal, _ *jobs.Order) { g.Protect = []string{"[a"} }, "protect"},
		"bad account":       {func(_ *Goal, o *jobs.Order) { o.Account = "A B" }, "account"},
	} {
		g, base := good, jobs.Order{MaxDelete: -1}
		tt.change(&g, &base)
		var wrong *jobs.OrderError
		if _, err := Choose(t.Context(), a.svc, g, base); !errors.As(err, &wrong) || wrong.Field != tt.field || wrong.Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
