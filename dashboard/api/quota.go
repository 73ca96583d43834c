package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/configs"
	"offload/dashboard/deeds"
	"offload/jobs"
	"offload/quota"
	"offload/quota/quotaform"
	"offload/transfer"
)

// Quotas is how all accounts and limits stand.
type Quotas struct {
	Accounts []quota.Status `json:"accounts" nullable:"false"`
	Remotes  []RemoteLimit  `json:"remotes" nullable:"false"`
	BwLimit  Bandwidth      `json:"bandwidth"`
}

// RemoteLimit is how a limit of a remote stands.
type RemoteLimit struct {
	Remote  string        `json:"remote"`
	Measure quota.Measure `json:"measure"`
	quota.Status
}

// Bandwidth is what all jobs together may move a second.
type Bandwidth struct {
	BwLimit string `json:"bwlimit" doc:"as it was written; empty for no limit"`
	Rate    int64  `json:"rate" doc:"bytes a second now; 0 is no limit"`
}

// AccountChange is what can be changed of an account.
type AccountChange struct {
	Plan      *string `json:"plan,omitempty" doc:"name of a plan of the settings" example:"plus"`
	Limit     *string `json:"limit,omitempty" doc:"size a month in place of the plan's, or unlimited" example:"20GiB"`
	AnchorDay *int    `json:"anchor_day,omitempty" minimum:"1" maximum:"31" doc:"day of the month on which the allowance begins anew"`
	TimeZone  *string `json:"time_zone,omitempty" minLength:"1" maxLength:"100" doc:"zone whose midnight that is" example:"Europe/Berlin"`
	Reset     bool    `json:"reset,omitempty" doc:"take away what was set: the settings hold again; goes with nothing else"`
}

// RemoteChange is what can be changed of a remote's limits.
type RemoteChange struct {
	PerDay   *string `json:"per_day,omitempty" doc:"size through the remote a day, in or out, or unlimited" example:"750GiB"`
	PerMonth *string `json:"per_month,omitempty" doc:"size through the remote a month, or unlimited"`
	Calls    *string `json:"calls_per_month,omitempty" doc:"API calls to the remote a month, or unlimited" example:"25000"`
	Reset    bool    `json:"reset,omitempty" doc:"take away what was set: the settings hold again; goes with nothing else"`
}

// TrafficDay is what was moved on one day.
type TrafficDay struct {
	Date   string `json:"date" doc:"in the account's time zone" example:"2026-11-22"`
	Used   int64  `json:"used"`
	Wasted int64  `json:"wasted"`
	Busy   int64  `json:"busy_seconds"`
}

// Traffic is what was moved on each day with traffic.
type Traffic struct {
	Days []TrafficDay `json:"days" nullable:"false"`
}

// AccountName names the account that a request is about.
type AccountName struct {
	Account string `path:"account" pattern:"^[a-z0-9][a-z0-9._-]{0,63}$"`
}

// RemoteName names the remote that a request is about.
type RemoteName struct {
	Remote string `path:"remote" minLength:"1" maxLength:"200" doc:"its name without colon"`
}

// The answers.
type (
	quotaOut     struct{ Body quota.Status }
	limitsOut    struct{ Body RemoteLimits }
	bandwidthOut struct{ Body Bandwidth }
	trafficOut   struct{ Body Traffic }
)

// RemoteLimits are the limits of one remote.
type RemoteLimits struct {
	Limits []RemoteLimit `json:"limits" nullable:"false"`
}

func (s *server) routesQuota(a huma.API) {
	huma.Register(a, op("quota", "getQuota", http.MethodGet, "/quota", "Show how all accounts, limits of remotes and the bandwidth stand"), s.quotas)
	huma.Register(a, op("quota", "getAccount", http.MethodGet, "/quota/accounts/{account}", "Show how an account stands", http.StatusNotFound), s.account)
	set := op("quota", "changeAccount", http.MethodPatch, "/quota/accounts/{account}", "Change what an account may move; jobs that wait for it go on")
	set.Description = "Holds at once, for every worker. What was used in the running month stays used, whatever is changed."
	huma.Register(a, set, s.setAccount)
	huma.Register(a, op("quota", "getAccountHistory", http.MethodGet, "/quota/accounts/{account}/history", "Show what was moved on each day", http.StatusNotFound),
		func(ctx context.Context, in *struct {
			AccountName
			HistoryDays
		}) (*trafficOut, error) {
			if err := s.knownAccount(ctx, in.Account); err != nil {
				return nil, err
			}
			return s.traffic(ctx, in.Account, in.Days)
		})
	huma.Register(a, op("quota", "getAccountForecast", http.MethodGet, "/quota/accounts/{account}/forecast", "Tell how far the allowance goes, and when the account's jobs will have ended", http.StatusNotFound), s.accountForecast)
	huma.Register(a, op("quota", "getRemoteLimits", http.MethodGet, "/quota/remotes/{remote}", "Show how the limits of a remote stand", http.StatusNotFound), s.remoteLimits)
	huma.Register(a, op("quota", "changeRemoteLimits", http.MethodPatch, "/quota/remotes/{remote}", "Change the limits of a remote", http.StatusNotFound), s.setRemote)
	huma.Register(a, op("quota", "getBandwidth", http.MethodGet, "/bandwidth", "Show what all jobs together may move a second"), s.getBandwidth)
	huma.Register(a, op("quota", "setBandwidth", http.MethodPut, "/bandwidth", "Change what all jobs together may move a second, also in the middle of a file"), s.setBandwidth)
}

func (s *server) quotas(ctx context.Context, _ *struct{}) (*struct{ Body Quotas }, error) {
	names, err := s.accounts(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	q := Quotas{Accounts: []quota.Status{}}
	for _, name := range names {
		st, err := s.Ledger.Status(ctx, name)
		if err != nil {
			return nil, s.problem(err)
		}
		q.Accounts = append(q.Accounts, st)
	}
	subjects, err := s.Ledger.RemoteSubjects(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	if q.Remotes, err = s.limits(ctx, subjects); err != nil {
		return nil, s.problem(err)
	}
	out, err := s.getBandwidth(ctx, nil)
	if err != nil {
		return nil, err
	}
	q.BwLimit = out.Body
	return &struct{ Body Quotas }{q}, nil
}

// accounts are those that are configured or were used, and the one that jobs have by default.
func (s *server) accounts(ctx context.Context) ([]string, error) {
	names, err := s.Ledger.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	own := s.Account
	if own == "" {
		own = jobs.DefaultAccount
	}
	names = append(names, own)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// knownAccount refuses an account that has no settings, no traffic and no jobs.
func (s *server) knownAccount(ctx context.Context, account string) error {
	names, err := s.accounts(ctx)
	if err != nil {
		return s.problem(err)
	}
	if slices.Contains(names, account) {
		return nil
	}
	st, err := s.Ledger.Status(ctx, account)
	if err != nil {
		return s.problem(err)
	}
	page, _, err := s.Jobs.List(ctx, jobs.ListOptions{Account: account, Limit: 1})
	if err != nil {
		return s.problem(err)
	}
	if len(page) == 0 && !st.Removed {
		return problemOf(http.StatusNotFound, "there is no account "+configs.Quote(account)+"; "+root+"/quota lists them")
	}
	return nil
}

func (s *server) account(ctx context.Context, in *AccountName) (*quotaOut, error) {
	if err := s.knownAccount(ctx, in.Account); err != nil {
		return nil, err
	}
	st, err := s.Ledger.Status(ctx, in.Account)
	if err != nil {
		return nil, s.problem(err)
	}
	return &quotaOut{st}, nil
}

func (s *server) setAccount(ctx context.Context, in *struct {
	AccountName
	Body AccountChange
}) (*quotaOut, error) {
	b := in.Body
	c, err := b.read()
	if err != nil {
		return nil, s.problem(err)
	}
	others := b.Plan != nil || b.Limit != nil || b.AnchorDay != nil || b.TimeZone != nil
	if b.Reset == others {
		return nil, nothingToSet(b.Reset)
	}
	st, err := s.Ledger.Set(ctx, in.Account, c)
	if err != nil {
		return nil, s.problem(err)
	}
	deeds.Quota(ctx, in.Account, c)
	s.wake(ctx, in.Account)
	return &quotaOut{st}, nil
}

// read makes the change of what was written.
func (b AccountChange) read() (quota.Change, error) {
	w := quotaform.Settings{Plan: b.Plan, Limit: b.Limit, TimeZone: b.TimeZone}
	if b.AnchorDay != nil {
		day := strconv.Itoa(*b.AnchorDay)
		w.AnchorDay = &day
	}
	c, err := w.Change()
	c.Reset = b.Reset
	return c, err
}

// nothingToSet answers a change that says nothing, or a reset with something else.
func nothingToSet(reset bool) error {
	if reset {
		return problemOf(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "body.reset", Message: "goes with nothing else"})
	}
	return problemOf(http.StatusUnprocessableEntity, "validation failed", &huma.ErrorDetail{Location: "body", Message: "there is nothing to set"})
}

// wake lets the jobs that a limit holds up look whether they fit now; they do so by themselves, only later.
func (s *server) wake(ctx context.Context, subject string) {
	if err := s.Jobs.QuotaChanged(ctx, subject); err != nil {
		s.Log.Warn("tell the jobs of a changed limit", "subject", subject, "error", err)
	}
}

// HistoryDays is how far back a history goes.
type HistoryDays struct {
	Days int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"the last days, today included"`
}

func (s *server) traffic(ctx context.Context, subject string, days int) (*trafficOut, error) {
	all, err := s.Ledger.History(ctx, subject)
	if err != nil {
		return nil, s.problem(err)
	}
	st, err := s.Ledger.Status(ctx, subject)
	if err != nil {
		return nil, s.problem(err)
	}
	zone, err := time.LoadLocation(st.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	first := time.Now().In(zone).AddDate(0, 0, 1-days).Format(time.DateOnly)
	out := &trafficOut{Traffic{[]TrafficDay{}}}
	for _, d := range all {
		if d.Date >= first {
			out.Body.Days = append(out.Body.Days, TrafficDay{d.Date, d.Used, d.Wasted, int64(d.Busy.Round(time.Second) / time.Second)})
		}
	}
	return out, nil
}

func (s *server) accountForecast(ctx context.Context, in *AccountName) (*struct{ Body jobs.AccountForecast }, error) {
	if err := s.knownAccount(ctx, in.Account); err != nil {
		return nil, err
	}
	f, err := s.Jobs.AccountForecast(ctx, in.Account)
	if err != nil {
		return nil, s.problem(err)
	}
	return &struct{ Body jobs.AccountForecast }{f}, nil
}

// limits reads how limits of remotes stand; what is no limit now is left out.
func (s *server) limits(ctx context.Context, subjects []string) ([]RemoteLimit, error) {
	all := []RemoteLimit{}
	for _, subject := range subjects {
		remote, m, _ := quota.ParseSubject(subject)
		st, err := s.Ledger.Status(ctx, subject)
		if err != nil {
			return nil, err
		}
		if st.Limit >= 0 {
			all = append(all, RemoteLimit{remote, m, st})
		}
	}
	return all, nil
}

func (s *server) remoteLimits(ctx context.Context, in *RemoteName) (*limitsOut, error) {
	name := remoteName(in.Remote)
	var subjects []string
	for _, m := range quota.Measures() {
		subjects = append(subjects, quota.RemoteSubject(name, m))
	}
	all, err := s.limits(ctx, subjects)
	if err != nil {
		return nil, s.problem(err)
	}
	if len(all) == 0 && !s.knownRemote(name) {
		return nil, noRemote(name)
	}
	return &limitsOut{RemoteLimits{all}}, nil
}

func (s *server) setRemote(ctx context.Context, in *struct {
	RemoteName
	Body RemoteChange
}) (*limitsOut, error) {
	b := in.Body
	name, err := quotaform.Remote(in.Remote)
	if err != nil {
		return nil, s.problem(err)
	}
	if b.Reset == (b.PerDay != nil || b.PerMonth != nil || b.Calls != nil) {
		return nil, nothingToSet(b.Reset)
	}
	if !b.Reset && !s.knownRemote(name) { // the limits of a remote that was removed can still be taken away
		return nil, noRemote(name)
	}
	written := map[quota.Measure]*string{quota.PerDay: b.PerDay, quota.PerMonth: b.PerMonth, quota.Calls: b.Calls}
	changes := map[quota.Measure]quota.Change{}
	for _, m := range quotaform.Measures() {
		if b.Reset {
			changes[m.Measure] = quota.Change{Reset: true}
		} else if text := written[m.Measure]; text != nil {
			if changes[m.Measure], err = m.Change(*text); err != nil {
				return nil, s.problem(err)
			}
		}
	}
	for _, m := range quotaform.Measures() {
		c, ok := changes[m.Measure]
		if !ok {
			continue
		}
		if _, err := s.Ledger.Set(ctx, quota.RemoteSubject(name, m.Measure), c); err != nil {
			return nil, s.problem(err)
		}
		deeds.RemoteLimit(ctx, name, m, c)
	}
	s.wake(ctx, quota.RemoteSubject(name, quota.PerDay))
	return s.remoteLimits(ctx, &RemoteName{name})
}

func (s *server) getBandwidth(ctx context.Context, _ *struct{}) (*bandwidthOut, error) {
	text, err := s.Jobs.Bandwidth(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	out := &bandwidthOut{Bandwidth{BwLimit: text}}
	if b, err := transfer.ParseBandwidth(text); err == nil { // a newer version may have written it: it is shown as it is
		out.Body.Rate = b.At(time.Now())
	}
	return out, nil
}

func (s *server) setBandwidth(ctx context.Context, in *struct{ Body Change }) (*bandwidthOut, error) {
	spec, err := quotaform.BandwidthSpec(in.Body.BwLimit)
	if err != nil {
		return nil, s.problem(err)
	}
	if err := s.Jobs.SetBandwidth(ctx, spec); err != nil {
		return nil, s.problem(err)
	}
	deeds.Bandwidth(ctx, spec)
	return s.getBandwidth(ctx, nil)
}
