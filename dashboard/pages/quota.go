package pages

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"offload/dashboard/deeds"
	"offload/internal/human"
	"offload/jobs"
	"offload/quota"
	"offload/quota/quotaform"
	"offload/transfer"
)

// plansLast is for how long a forecast is shown before it is made anew: of large jobs it reads many batches.
const plansLast = 15 * time.Second

// Days of a chart, and the most that are kept.
const (
	chartDays = 30
	keptDays  = 400
)

func (p *Pages) routesQuota(mux *http.ServeMux) {
	mux.HandleFunc("GET /quota", func(w http.ResponseWriter, r *http.Request) { p.showQuota(w, r, nil) })
	mux.HandleFunc("GET /quota/history.csv", p.quotaCSV)
	mux.HandleFunc("POST /quota/account", p.setAccount)
	mux.HandleFunc("POST /quota/remote", p.setRemoteLimit)
	mux.HandleFunc("POST /quota/bandwidth", p.setBandwidth)
}

// quotaPage is what the page of quotas shows: all accounts in a line each where there are several, one of them whole, the
// limits of remotes and the bandwidth.
type quotaPage struct {
	Accounts  []quota.Status
	One       quotaAccount
	Limits    []remoteQuota
	Remote    string // whose chart is shown in place of the account's; "" for none
	Bandwidth string // as it was written; "" is no limit
	Rate      string // what it comes to now, in words
	Zones     []string
	Measures  []quotaform.Measure
	Wrong     *badField // what was refused of a form
}

func (q quotaPage) frame(f *frame) {
	f.Nav = "quota"
	if q.Wrong != nil {
		f.Notice = ""
	}
}

// quotaAccount is one account, with what there is to say of it.
type quotaAccount struct {
	jobs.PlansForecast
	Gauge    gauge
	Reset    string // when the month ends, in the account's zone
	Chart    chart
	Periods  []periodSum
	Opens    string // the command that opens a closed account again
	Command  string // the command line for what the form does
	Backlog  string
	Expected string
}

// remoteQuota is one limit of a remote.
type remoteQuota struct {
	quota.Status
	Remote  string
	Measure quota.Measure
	Gauge   gauge
}

// Used writes what was used of it.
func (r remoteQuota) UsedWords() string { return r.Measure.Amount(r.Used) }

// LimitWords writes the limit.
func (r remoteQuota) LimitWords() string {
	if r.Limit < 0 {
		return "unlimited"
	}
	return r.Measure.Rate(r.Limit)
}

// gauge is a bar of what is used and set aside of a limit: lengths of 100.
type gauge struct{ Used, Reserved float64 }

func gaugeOf(s quota.Status) gauge {
	if s.Limit <= 0 {
		return gauge{}
	}
	used := min(100, 100*float64(s.Used)/float64(s.Limit))
	return gauge{round(used), round(min(100-used, 100*float64(s.Reserved)/float64(s.Limit)))}
}

// round keeps two digits, which is more than a bar can show.
func round(n float64) float64 { return float64(int64(n*100+.5)) / 100 }

// badField is a value that was refused, shown beside its field, and the rest of its form.
type badField struct {
	Form, Field, Text string
	given             url.Values
}

// Of tells whether a field of a form was refused.
func (e *badField) Of(form, field string) bool {
	return e != nil && e.Form == form && e.Field == field
}

// Was is what was written in a field of the form that was refused, "" in any other: nobody has to write it again.
func (e *badField) Was(form, field string) string {
	if e == nil || e.Form != form {
		return ""
	}
	return e.given.Get(field)
}

// wrongInput is the mistake of who filled in a form; nil where the error is another.
func wrongInput(form string, r *http.Request, err error) *badField {
	var order *jobs.OrderError
	var input *quota.InputError
	switch {
	case errors.As(err, &input):
		return &badField{form, input.Field, upper(inputText(input.Err, input.Hint)), r.PostForm}
	case errors.As(err, &order):
		return &badField{form, order.Field, upper(inputText(order.Err, order.Hint)), r.PostForm}
	}
	return nil
}

func inputText(err error, hint string) string {
	text := "it can't be used"
	if err != nil {
		text = human.Printable(err.Error())
	}
	if hint != "" {
		text += ": " + hint
	}
	return text + "."
}

// showQuota answers with the page; wrong is what was refused of a form that was posted.
func (p *Pages) showQuota(w http.ResponseWriter, r *http.Request, wrong *badField) {
	q := quotaPage{Wrong: wrong, Measures: quotaform.Measures()}
	account, remote := r.FormValue("account"), r.FormValue("remote")
	if wrong != nil { // the page is shown as it was, with what was refused
		remote = ""
		if wrong.Field == "account" {
			account = ""
		}
	}
	if err := p.fillQuota(r.Context(), &q, account, remote); err != nil {
		p.refuse(w, r, err)
		return
	}
	status := http.StatusOK
	if wrong != nil {
		status = http.StatusBadRequest
	}
	p.render(w, r, status, "quota", q)
}

func (p *Pages) fillQuota(ctx context.Context, q *quotaPage, account, remote string) error {
	names, err := p.cfg.Ledger.Accounts(ctx)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{jobs.DefaultAccount}
	}
	if account == "" {
		account = names[0]
		if slices.Contains(names, jobs.DefaultAccount) {
			account = jobs.DefaultAccount
		}
	} else if account, err = quotaform.Account(account); err != nil {
		return err
	}
	for _, name := range names[:min(len(names), accountsShown)] {
		st, err := p.cfg.Ledger.Status(ctx, name)
		if err != nil {
			return err
		}
		q.Accounts = append(q.Accounts, st)
	}
	subjects, err := p.cfg.Ledger.RemoteSubjects(ctx)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		st, err := p.cfg.Ledger.Status(ctx, s)
		if err != nil {
			return err
		}
		name, measure, _ := quota.ParseSubject(s)
		q.Limits = append(q.Limits, remoteQuota{st, name, measure, gaugeOf(st)})
	}
	if q.Bandwidth, err = p.cfg.Jobs.Bandwidth(ctx); err != nil {
		return err
	}
	q.Rate = bandwidthNow(q.Bandwidth)
	if remote != "" {
		if q.Remote, err = quotaform.Remote(remote); err != nil {
			return err
		}
	}
	q.One, err = p.quotaAccount(ctx, account, q.Remote)
	return err
}

// accountsShown bounds the accounts of the list: one more is found by its name in the address.
const accountsShown = 100

// quotaAccount gathers what there is to say of an account; the chart is of the remote where one is named.
func (p *Pages) quotaAccount(ctx context.Context, account, remote string) (quotaAccount, error) {
	a := quotaAccount{}
	var err error
	a.PlansForecast, err = p.plans.get(ctx, account, func(ctx context.Context) (jobs.PlansForecast, error) {
		return p.cfg.Jobs.PlansForecast(ctx, account)
	})
	if err == nil {
		a.Status, err = p.cfg.Ledger.Status(ctx, account)
	}
	if err != nil {
		return a, err
	}
	a.Gauge = gaugeOf(a.Status)
	loc := zone(a.Status.TimeZone)
	a.Reset = a.Status.Period.End.In(loc).Format("2 January 2006, 15:04 ") + a.Status.TimeZone
	a.Backlog, a.Expected = a.All.Sentence(), a.Outlook.Sentence()
	a.Command = "offload quota set --account " + account + " --plan plus"
	if a.Status.Why != "" {
		a.Opens = quota.RaiseCommand(account)
	}
	days, err := p.cfg.Ledger.History(ctx, account)
	if err != nil {
		return a, err
	}
	a.Periods = periodSums(days, a.Status)
	line, what := int64(0), ""
	if a.Status.Limit > 0 {
		line, what = a.Status.Limit, "the whole month's allowance"
	}
	if remote != "" {
		if days, err = p.remoteDays(ctx, remote); err != nil {
			return a, err
		}
		st, err := p.cfg.Ledger.Status(ctx, quota.RemoteSubject(remote, quota.PerDay))
		if err != nil {
			return a, err
		}
		line, what, loc = st.Limit, "the limit of a day", zone(st.TimeZone)
		if line <= 0 {
			line, what = 0, ""
		}
	}
	a.Chart = chartOf(days, time.Now().In(loc), chartDays, line, what)
	return a, nil
}

// remoteDays are the days of a remote's limits of bytes: those of a day and of a month count the same bytes, but each only
// from when it was set.
func (p *Pages) remoteDays(ctx context.Context, remote string) ([]quota.Day, error) {
	by := map[string]quota.Day{}
	for _, m := range []quota.Measure{quota.PerDay, quota.PerMonth} {
		days, err := p.cfg.Ledger.History(ctx, quota.RemoteSubject(remote, m))
		if err != nil {
			return nil, err
		}
		for _, d := range days {
			if had, ok := by[d.Date]; !ok || d.Used > had.Used {
				by[d.Date] = d
			}
		}
	}
	all := make([]quota.Day, 0, len(by))
	for _, d := range by {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b quota.Day) int { return compare(a.Date, b.Date) })
	return all, nil
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}

// bandwidthNow says what a bandwidth comes to at this time of day.
func bandwidthNow(text string) string {
	b, err := transfer.ParseBandwidth(text)
	if err != nil {
		return ""
	}
	if rate := b.At(time.Now()); rate > 0 {
		return human.Size(rate) + "/s now"
	}
	return "no limit now"
}

// zone loads a zone that the ledger knows.
func zone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	return loc
}

// quotaCSV answers with the days of an account or a remote, as `offload quota history --csv` does.
func (p *Pages) quotaCSV(w http.ResponseWriter, r *http.Request) {
	account, remote := r.FormValue("account"), r.FormValue("remote")
	var days []quota.Day
	name := account
	many, err := quotaform.Days(r.FormValue("days"), keptDays, keptDays)
	switch {
	case err != nil:
	case remote != "":
		if remote, err = quotaform.Remote(remote); err == nil {
			name = remote
			days, err = p.remoteDays(r.Context(), remote)
		}
	default:
		if account == "" {
			account = jobs.DefaultAccount
		}
		if name, err = quotaform.Account(account); err == nil {
			days, err = p.cfg.Ledger.History(r.Context(), account)
		}
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	first := time.Now().AddDate(0, 0, -int(many)).Format(time.DateOnly)
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape("traffic-"+name+".csv"))
	out := csv.NewWriter(w)
	out.UseCRLF = true
	_ = out.Write([]string{"date", "used", "wasted", "busy_seconds"})
	for _, d := range days {
		if d.Date > first {
			_ = out.Write([]string{d.Date, strconv.FormatInt(d.Used, 10), strconv.FormatInt(d.Wasted, 10),
				strconv.FormatInt(int64(d.Busy.Round(time.Second)/time.Second), 10)})
		}
	}
	out.Flush() // whoever went away needs no end
}

// given is a field of a form, nil where it was left empty: it stays as it is then.
func given(r *http.Request, field string) *string {
	if text := r.PostFormValue(field); text != "" {
		return &text
	}
	return nil
}

// setAccount changes an account's plan, limit, anchor day or zone.
func (p *Pages) setAccount(w http.ResponseWriter, r *http.Request) {
	account, err := quotaform.Account(r.PostFormValue("account"))
	var change quota.Change
	if err == nil {
		s := quotaform.Settings{Plan: given(r, "plan"), Limit: given(r, "limit"), AnchorDay: given(r, "anchor-day"), TimeZone: given(r, "time-zone")}
		if change, err = s.Change(); err == nil && r.PostFormValue("reset") != "" {
			change = quota.Change{Reset: true}
		}
	}
	if err == nil && change == (quota.Change{}) {
		err = &quota.InputError{Field: "plan", Hint: "choose a plan, or write a limit", Err: errors.New("there is nothing to set")}
	}
	if err == nil {
		_, err = p.cfg.Ledger.Set(r.Context(), account, change)
	}
	p.plans.drop(account)
	if wrong := wrongInput("account", r, err); wrong != nil {
		p.showQuota(w, r, wrong)
		return
	}
	if err == nil {
		deeds.Quota(r.Context(), account, change)
		err = p.cfg.Jobs.QuotaChanged(r.Context(), account)
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.done(w, r, "/quota?account="+url.QueryEscape(account), "quota-set")
}

// setRemoteLimit sets or takes away one limit of a remote.
func (p *Pages) setRemoteLimit(w http.ResponseWriter, r *http.Request) {
	remote, err := quotaform.Remote(r.PostFormValue("remote"))
	measure := slices.IndexFunc(quotaform.Measures(), func(m quotaform.Measure) bool { return m.Name == r.PostFormValue("measure") })
	change := quota.Change{Reset: true}
	switch {
	case err != nil:
	case measure < 0:
		err = &quota.InputError{Field: "measure", Value: r.PostFormValue("measure"), Hint: "choose one of the list", Err: errors.New("there is no such limit")}
	case r.PostFormValue("reset") == "":
		if change, err = quotaform.Measures()[measure].Change(r.PostFormValue("limit")); err == nil {
			err = p.knownRemote(remote)
		}
	}
	if err == nil {
		subject := quota.RemoteSubject(remote, quotaform.Measures()[measure].Measure)
		if _, err = p.cfg.Ledger.Set(r.Context(), subject, change); err == nil {
			deeds.RemoteLimit(r.Context(), remote, quotaform.Measures()[measure], change)
			err = p.cfg.Jobs.QuotaChanged(r.Context(), subject)
		}
	}
	if wrong := wrongInput("remote", r, err); wrong != nil {
		p.showQuota(w, r, wrong)
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	p.done(w, r, "/quota", "remote-limit-set")
}

// knownRemote refuses a remote that isn't configured, as far as the dashboard knows those that are.
func (p *Pages) knownRemote(name string) error {
	names, told := p.remoteNames()
	if !told || slices.Contains(names, name) {
		return nil
	}
	return &quota.InputError{Field: "remote", Value: name, Hint: "the page Remotes lists those that there are", Err: fmt.Errorf("there is no remote %s", quoted(name))}
}

// setBandwidth limits what all jobs together move a second.
func (p *Pages) setBandwidth(w http.ResponseWriter, r *http.Request) {
	text := r.PostFormValue("bwlimit")
	if r.PostFormValue("reset") != "" {
		text = quotaform.BandwidthDefault
	}
	spec, err := quotaform.BandwidthSpec(text)
	if err == nil {
		err = p.cfg.Jobs.SetBandwidth(r.Context(), spec)
	}
	if wrong := wrongInput("bandwidth", r, err); wrong != nil {
		p.showQuota(w, r, wrong)
		return
	}
	if err != nil {
		p.refuse(w, r, err)
		return
	}
	deeds.Bandwidth(r.Context(), spec)
	p.done(w, r, "/quota", "bandwidth")
}
