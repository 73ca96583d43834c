package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"offload/quota"
	"offload/transfer"
)

// Bounds of what a forecast looks at.
const (
	forecastJobs    = 200  // unfinished jobs of an account
	forecastLooks   = 5000 // unfinished jobs of all accounts, to find those
	forecastBatches = 512  // batches read for their exact sizes, over all jobs; beyond it the counters are used
)

// AccountForecast is how an account stands and when its jobs will have ended.
type AccountForecast struct {
	Status  quota.Status   `json:"status"`
	Pace    int64          `json:"pace"` // bytes a second while something moves, as recorded; 0 where it isn't known
	Outlook quota.Outlook  `json:"outlook"`
	Jobs    []JobForecast  `json:"jobs"` // unfinished, oldest first, at most 200
	More    bool           `json:"more,omitempty"`
	All     quota.Forecast `json:"all"` // all of them together
}

// JobForecast is when one job will have ended.
type JobForecast struct {
	ID       string         `json:"id"`
	State    State          `json:"state"`
	Reason   Reason         `json:"reason,omitempty"`
	Source   string         `json:"source"`
	Dest     string         `json:"destination"`
	Label    string         `json:"label,omitempty"`
	Forecast quota.Forecast `json:"forecast"`
}

// Forecast tells when an unfinished job will have ended, alone and with the other jobs of its account. Of a job that has
// ended nothing is left to move. It changes nothing.
func (s *Service) Forecast(ctx context.Context, j Job) (quota.Forecast, error) {
	all, _, err := s.ofAccount(ctx, j.Account)
	if err != nil {
		return quota.Forecast{}, err
	}
	p := s.newProphet()
	return p.one(ctx, j, all)
}

// AccountForecast tells how an account stands, when each of its unfinished jobs will have ended, and when all have.
func (s *Service) AccountForecast(ctx context.Context, account string) (AccountForecast, error) {
	p := s.newProphet()
	f := AccountForecast{Jobs: []JobForecast{}}
	var err error
	if f.Status, err = p.caster.Status(ctx, account); err != nil {
		return AccountForecast{}, err
	}
	if f.Outlook, err = p.caster.Outlook(ctx, account); err != nil {
		return AccountForecast{}, err
	}
	if f.Pace, err = p.caster.Pace(ctx, account); err != nil {
		return AccountForecast{}, err
	}
	all, more, err := s.ofAccount(ctx, account)
	if err != nil {
		return AccountForecast{}, err
	}
	f.More = more
	for _, j := range all {
		one, err := p.one(ctx, j, all)
		if err != nil {
			return AccountForecast{}, err
		}
		f.Jobs = append(f.Jobs, JobForecast{j.ID, j.State, j.Reason, j.Source, j.Dest, j.Label, one})
	}
	f.All, err = p.together(ctx, account, all)
	return f, err
}

// Backlog is the forecast of all unfinished jobs of an account together, and how many they are.
func (s *Service) Backlog(ctx context.Context, account string) (quota.Forecast, int, error) {
	all, _, err := s.ofAccount(ctx, account)
	if err != nil {
		return quota.Forecast{}, 0, err
	}
	f, err := s.newProphet().together(ctx, account, all)
	return f, len(all), err
}

// ofAccount returns the jobs of an account that haven't ended and aren't paused, oldest first, and whether there are
// more than a forecast looks at.
func (s *Service) ofAccount(ctx context.Context, account string) (all []Job, more bool, err error) {
	indexed, err := s.indexed(ctx)
	if err != nil {
		return nil, false, err
	}
	if indexed {
		return s.ofAccountIndexed(ctx, account)
	}
	for from := int64(0); from < forecastLooks; from += forecastJobs {
		ids, err := s.client.ZRange(ctx, keyDue, from, from+forecastJobs-1).Result()
		if err != nil {
			return nil, false, fmt.Errorf("list the jobs of account %s: %w", account, err)
		}
		page, err := s.readJobs(ctx, ids)
		if err != nil {
			return nil, false, err
		}
		for _, j := range page {
			if j.Account == account && !j.State.Terminal() && j.State != Paused {
				all = append(all, j)
			}
		}
		if more = len(ids) == forecastJobs; !more || len(all) >= forecastJobs {
			break
		}
	}
	slices.SortFunc(all, func(a, b Job) int { return strings.Compare(a.ID, b.ID) })
	all = slices.CompactFunc(all, func(a, b Job) bool { return a.ID == b.ID }) // moved while the pages were read
	if len(all) > forecastJobs {
		all, more = all[:forecastJobs], true
	}
	return all, more, nil
}

// ofAccountIndexed is ofAccount by the index of the account, however many jobs others have. Those that have begun come first.
func (s *Service) ofAccountIndexed(ctx context.Context, account string) (all []Job, more bool, err error) {
	p := s.client.Pipeline()
	states := func(from, to State) *redis.StringSliceCmd {
		return p.ZRangeByScore(ctx, keyAccount(account), &redis.ZRangeBy{Count: forecastJobs + 1,
			Min: strconv.FormatFloat(placeAt(0, from), 'f', 0, 64), Max: strconv.FormatFloat(placeAt(1<<placeBits-1, to), 'f', 0, 64)})
	}
	begun, queued := states(Scanning, Waiting), states(Queued, Queued)
	if _, err := p.Exec(ctx); err != nil {
		return nil, false, fmt.Errorf("list the jobs of account %s: %w", account, err)
	}
	ids := append(begun.Val(), queued.Val()...)
	if more = len(ids) > forecastJobs; more {
		ids = ids[:forecastJobs]
	}
	page, err := s.readJobs(ctx, ids)
	if err != nil {
		return nil, false, err
	}
	for _, j := range page {
		if j.Account == account && !j.State.Terminal() && j.State != Paused {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b Job) int { return strings.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b Job) bool { return a.ID == b.ID }), more, nil
}

// prophet makes the forecasts of one question: it looks at each job and each limit once.
type prophet struct {
	s      *Service
	caster *quota.Forecaster
	works  map[string]quota.Work // by job
	budget int                   // batches that may still be read
	fleet  string                // the bandwidth of all jobs, as it was read
	at     time.Time             // at this time; zero before
}

func (s *Service) newProphet() *prophet {
	return &prophet{s: s, caster: s.cfg.Ledger.Forecaster(), works: map[string]quota.Work{}, budget: forecastBatches}
}

// one is the forecast of one job among the others of its account.
func (p *prophet) one(ctx context.Context, j Job, all []Job) (quota.Forecast, error) {
	mine, err := p.work(ctx, j)
	if err != nil {
		return quota.Forecast{}, err
	}
	needs, err := p.s.needs(ctx, j, mine)
	if err != nil {
		return quota.Forecast{}, err
	}
	if needs[0].Most, err = p.rate(ctx, j.BwLimit); err != nil {
		return quota.Forecast{}, err
	}
	f, err := p.caster.Forecast(ctx, needs...)
	if err != nil {
		return quota.Forecast{}, fmt.Errorf("forecast job %s: %w", j.ID, err)
	}
	f.AtLeast = !j.ScanComplete && !j.State.Terminal()
	if mine.Bytes == 0 {
		if f.AtLeast { // nothing is known yet, so no end either
			f.Fits, f.Ends = false, nil
		}
		return f, nil
	}
	var others quota.Others
	for _, o := range all {
		if o.ID == j.ID || j.Order.lane() > o.Order.lane() {
			continue
		}
		theirs, err := p.work(ctx, o)
		if err != nil {
			return quota.Forecast{}, err
		}
		if o.Order.lane() == j.Order.lane() {
			theirs = theirs.AtMost(mine.Bytes) // the two take turns: no more of it goes before the end of this job
		}
		if theirs.Bytes > 0 {
			needs[0].Work.Join(theirs)
			others.Jobs++
			others.Bytes += theirs.Bytes
		}
	}
	if others.Jobs == 0 {
		return f, nil
	}
	if needs[0].Most, err = p.rate(ctx); err != nil { // the others aren't held by the bandwidth of this one
		return quota.Forecast{}, err
	}
	with, err := p.caster.Forecast(ctx, needs...)
	if err != nil {
		return quota.Forecast{}, fmt.Errorf("forecast job %s: %w", j.ID, err)
	}
	others.Periods, others.Ends = with.Periods, with.Ends
	if others.Ends != nil && f.Ends != nil && others.Ends.Before(*f.Ends) {
		others.Ends = f.Ends
	}
	f.Others = &others
	return f, nil
}

// rate is the lowest of some bandwidths and that of all jobs as it is now, in bytes a second; 0 is no limit. A timetable counts
// by its present rate: what the next days bring is beyond a forecast's exactness.
func (p *prophet) rate(ctx context.Context, specs ...string) (int64, error) {
	if p.at.IsZero() {
		var err error
		if p.fleet, err = p.s.bands.set(ctx); err != nil {
			return 0, err
		}
		if p.at, err = p.s.now(ctx); err != nil {
			return 0, err
		}
	}
	return lowestRate(p.at, append(specs, p.fleet)...), nil
}

// together is the forecast of several jobs of an account as if they were one.
func (p *prophet) together(ctx context.Context, account string, all []Job) (quota.Forecast, error) {
	sum, atLeast, err := p.sum(ctx, account, all)
	if err != nil {
		return quota.Forecast{}, err
	}
	f, err := p.caster.Forecast(ctx, sum...)
	if err != nil {
		return quota.Forecast{}, fmt.Errorf("forecast account %s: %w", account, err)
	}
	f.AtLeast = atLeast
	return f, nil
}

// sum is what several jobs of an account need together, and whether more may be found.
func (p *prophet) sum(ctx context.Context, account string, all []Job) (sum []quota.Need, atLeast bool, err error) {
	sum = []quota.Need{{Subject: account}}
	if sum[0].Most, err = p.rate(ctx); err != nil {
		return nil, false, err
	}
	each, free := int64(0), len(all) == 0
	for _, j := range all {
		own, err := p.rate(ctx, j.BwLimit)
		if err != nil {
			return nil, false, err
		}
		each, free = each+own, free || own == 0 || own > math.MaxInt64-each
		w, err := p.work(ctx, j)
		if err != nil {
			return nil, false, err
		}
		needs, err := p.s.needs(ctx, j, w)
		if err != nil {
			return nil, false, err
		}
		for _, n := range needs {
			i := slices.IndexFunc(sum, func(o quota.Need) bool { return o.Subject == n.Subject })
			if i < 0 {
				i, sum = len(sum), append(sum, quota.Need{Subject: n.Subject})
			}
			sum[i].Work.Join(n.Work)
			sum[i].Held, sum[i].Share = sum[i].Held || n.Held, max(sum[i].Share, n.Share)
		}
		atLeast = atLeast || !j.ScanComplete
	}
	if most := sum[0].Most; !free && (most == 0 || each < most) {
		sum[0].Most = each
	}
	return sum, atLeast, nil
}

// needs are what a job takes of its account and of each limit of its remotes; a remote that is source and destination
// counts twice.
func (s *Service) needs(ctx context.Context, j Job, w quota.Work) ([]quota.Need, error) {
	all, err := s.limitsOf(ctx, j)
	if err != nil {
		return nil, err
	}
	var needs []quota.Need
	add := func(subject string) {
		needs = append(needs, quota.Need{Subject: subject, Work: w.AtMost(w.Bytes), Held: j.State.Runs(), Share: j.Order.share()})
	}
	for _, l := range all.bytes {
		for range l.times {
			add(l.subject)
		}
	}
	for _, subject := range all.calls {
		add(subject)
	}
	return needs, nil
}

// lane sorts priorities: higher ones go first.
func (o Order) lane() int {
	switch o.Priority {
	case High:
		return 2
	case Low:
		return 0
	}
	return 1
}

// share is the part of the day in which the job may move files.
func (o Order) share() float64 {
	w, err := parseWindow(o.Window)
	if err != nil || w.always {
		return 1
	}
	open := w.to - w.from
	if open < 0 {
		open += 24 * time.Hour
	}
	return open.Hours() / 24
}

// work is what is left to move of a job. It is exact while few batches are open; of many it is told by the counters, and
// by the files that are known to wait for quota.
func (p *prophet) work(ctx context.Context, j Job) (quota.Work, error) {
	if w, ok := p.works[j.ID]; ok || j.State.Terminal() {
		return w, nil
	}
	open, err := p.s.openBatches(ctx, j.ID)
	if err != nil {
		return quota.Work{}, err
	}
	var w quota.Work
	if len(open.numbers) <= p.budget {
		p.budget -= len(open.numbers)
		w, err = p.s.exactly(ctx, j.ID, open.numbers)
	} else {
		w = open.roughly(j)
	}
	if err != nil {
		return quota.Work{}, err
	}
	if j.Order.MaxTransfer > 0 {
		w = w.AtMost(j.Order.MaxTransfer - open.transferred)
	}
	p.works[j.ID] = w
	return w, nil
}

// openWork is what the job's own record tells of the batches that haven't ended.
type openWork struct {
	numbers     []int64
	parked      []int64 // smallest needs of those that wait for quota
	transferred int64   // counted against --max-transfer
	excluded    int64   // bytes found that the filters leave out
}

func (s *Service) openBatches(ctx context.Context, id string) (openWork, error) {
	k := keysOf(id).common() // in the order of lua/prelude.lua
	p := s.client.Pipeline()
	ready, fed, lease := p.ZRange(ctx, k[1], 0, -1), p.ZRange(ctx, k[2], 0, -1), p.ZRange(ctx, k[3], 0, -1)
	parked, fields := p.ZRangeWithScores(ctx, k[6], 0, -1), p.HMGet(ctx, k[0], "transferred", "b_excluded")
	if _, err := p.Exec(ctx); err != nil {
		return openWork{}, fmt.Errorf("read what is left of job %s: %w", id, err)
	}
	var o openWork
	units := slices.Concat(ready.Val(), fed.Val(), lease.Val())
	for _, z := range parked.Val() {
		unit, _ := z.Member.(string)
		units = append(units, unit)
		o.parked = append(o.parked, int64(z.Score))
	}
	for _, unit := range units {
		if n, ok := batchNumber(unit); ok {
			o.numbers = append(o.numbers, n)
		}
	}
	slices.Sort(o.numbers)
	o.numbers = slices.Compact(o.numbers)
	text := func(i int) string { v, _ := fields.Val()[i].(string); return v }
	o.transferred, o.excluded = number(text(0)), number(text(1))
	return o, nil
}

// exactly reads batches for the sizes of the files that nothing has become of yet.
func (s *Service) exactly(ctx context.Context, id string, numbers []int64) (quota.Work, error) {
	var w quota.Work
	for _, n := range numbers {
		b, err := s.load(ctx, id, n)
		if errors.Is(err, redis.Nil) {
			continue // lost, or the job was removed: nothing will be moved of it
		}
		if err != nil {
			return quota.Work{}, err
		}
		for i, o := range b.done {
			if o.Result == transfer.Pending && b.entries[i].Verdict == transfer.Pending {
				w.Add(b.entries[i].Size)
			}
		}
	}
	return w, nil
}

// roughly tells from the counters what is left. A file of at least half a batch is alone in it, or with one other.
func (o openWork) roughly(j Job) quota.Work {
	f := j.Files
	done := f.Skipped + f.SetAside + f.Failed // of these no bytes are counted: take the average size
	left := max(f.Found-f.Excluded-f.Copied-done, 0)
	bytes := max(j.Bytes.Found-o.excluded-j.Bytes.Copied, 0)
	if done > 0 {
		bytes = int64(float64(bytes) * float64(left) / float64(left+done))
	}
	var w quota.Work
	for _, need := range o.parked {
		if need >= batchBytes/2 && left > 0 {
			w.Add(need)
			left--
		}
	}
	w.AddRest(left, max(bytes-w.Bytes, 0))
	return w
}
