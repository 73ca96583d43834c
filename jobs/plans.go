package jobs

import (
	"context"
	"fmt"

	"offload/quota"
)

// PlanForecast is what a plan would mean for the unfinished jobs of an account.
type PlanForecast struct {
	Plan     string         `json:"plan"`
	Limit    int64          `json:"limit"` // bytes a month; -1 is unlimited
	Current  bool           `json:"current"`
	Forecast quota.Forecast `json:"forecast"` // of all jobs together, under this plan
}

// PlansForecast is how an account stands, and how it would stand under each plan.
type PlansForecast struct {
	Status  quota.Status   `json:"status"`
	Outlook quota.Outlook  `json:"outlook"`
	Jobs    int            `json:"jobs"` // unfinished, at most 200
	More    bool           `json:"more,omitempty"`
	All     quota.Forecast `json:"all"` // all of them together, as things are
	Plans   []PlanForecast `json:"plans"`
}

// PlansForecast tells how an account stands, when all of its unfinished jobs will have ended, and when they would under each
// of the plans. It changes nothing.
func (s *Service) PlansForecast(ctx context.Context, account string) (PlansForecast, error) {
	p := s.newProphet()
	var f PlansForecast
	var err error
	if f.Status, err = p.caster.Status(ctx, account); err != nil {
		return f, err
	}
	if f.Outlook, err = p.caster.Outlook(ctx, account); err != nil {
		return f, err
	}
	all, more, err := s.ofAccount(ctx, account)
	if err != nil {
		return f, err
	}
	f.Jobs, f.More = len(all), more
	needs, atLeast, err := p.sum(ctx, account, all)
	if err != nil {
		return f, err
	}
	if f.All, err = p.caster.Forecast(ctx, needs...); err != nil {
		return f, fmt.Errorf("forecast account %s: %w", account, err)
	}
	f.All.AtLeast = atLeast
	for _, t := range s.cfg.Ledger.Tiers() {
		one, err := p.caster.Under(account, t).Forecast(ctx, needs...)
		if err != nil {
			return f, fmt.Errorf("forecast account %s under plan %s: %w", account, t.Name, err)
		}
		one.AtLeast = atLeast
		f.Plans = append(f.Plans, PlanForecast{t.Name, t.Limit, !f.Status.OwnLimit && f.Status.Why == "" && t.Name == f.Status.Plan, one})
	}
	return f, nil
}
