package pages

import (
	"context"
	"sync"
	"time"

	"offload/jobs"
	"offload/quota"
)

// How forecasts are kept.
const (
	forecastLasts = 15 * time.Second      // before it is asked for again
	forecastWaits = 80 * time.Millisecond // that a page waits for those that there aren't yet
	forecastTime  = 20 * time.Second      // that asking may take
	forecastsMost = 200                   // accounts
)

// outlook is how an account's quota goes on, and when its jobs end.
type outlook struct {
	text  string // of the account
	jobs  map[string]*quota.Forecast
	stuck []jobView
}

// forecasts are the outlooks of accounts. Telling one looks at all unfinished jobs of the account, so it is done behind
// people's backs, one account at a time: a page shows the one of before, or none.
type forecasts struct {
	ask  func(ctx context.Context, account string) (outlook, error)
	fail func(account string, err error)
	end  sync.WaitGroup
	turn sync.Mutex // held by whoever asks

	mu  sync.Mutex
	all map[string]*forecast
}

type forecast struct {
	at    time.Time // when it was last asked for
	value outlook
	told  chan struct{} // closed when the first answer is there
	busy  bool
}

func (p *Pages) newForecasts() *forecasts {
	return &forecasts{all: map[string]*forecast{}, ask: p.askOutlook, fail: func(account string, err error) {
		p.cfg.Log.Debug("forecast an account", "account", account, "error", err)
	}}
}

// askOutlook asks for an account's outlook.
func (p *Pages) askOutlook(ctx context.Context, account string) (outlook, error) {
	f, err := p.cfg.Jobs.AccountForecast(ctx, account)
	if err != nil {
		return outlook{}, err
	}
	o := outlook{text: f.Outlook.Sentence(), jobs: make(map[string]*quota.Forecast, len(f.Jobs))}
	for _, j := range f.Jobs {
		o.jobs[j.ID] = &j.Forecast
		v := jobView{Progress: jobs.Progress{Job: jobs.Job{ID: j.ID, State: j.State, Reason: j.Reason, Source: j.Source, Dest: j.Dest, Label: j.Label}}, Forecast: &j.Forecast}
		if v.Stuck() {
			o.stuck = append(o.stuck, v)
		}
	}
	return o, nil
}

// of returns the outlook of an account as far as it is known, and has it renewed where it is old. For the first one it waits
// until ctx ends.
func (f *forecasts) of(ctx context.Context, account string) outlook {
	f.mu.Lock()
	one := f.all[account]
	if one == nil {
		if len(f.all) >= forecastsMost {
			clear(f.all) // they are asked for again as they are needed
		}
		one = &forecast{told: make(chan struct{})}
		f.all[account] = one
	}
	if !one.busy && time.Since(one.at) >= forecastLasts {
		one.busy = true
		f.end.Go(func() { f.renew(context.WithoutCancel(ctx), account, one) })
	}
	f.mu.Unlock()
	select {
	case <-one.told:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return one.value
}

// renew asks for an outlook.
func (f *forecasts) renew(ctx context.Context, account string, one *forecast) {
	f.turn.Lock()
	ctx, cancel := context.WithTimeout(ctx, forecastTime)
	value, err := f.ask(ctx, account)
	cancel()
	f.turn.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	one.busy, one.at = false, time.Now()
	if err != nil {
		f.fail(account, err) // the outlook of before stays
	} else {
		one.value = value
	}
	select {
	case <-one.told:
	default:
		close(one.told)
	}
}

// forget has the outlook of a job's account asked for again: the job has just been changed.
func (f *forecasts) forget(j jobs.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.all[j.Account]; one != nil {
		one.at = time.Time{}
	}
}
