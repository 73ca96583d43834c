package quota

import (
	"context"
	"math"
	"slices"
	"time"
)

// keptSizes is how many sizes a Work keeps exactly. Files beyond the largest thousands are small beside any allowance
// that they fit into, so that only their sum matters.
const keptSizes = 2000

// Work is what is to be moved: so many bytes, and exactly the sizes of the largest files among them. A large file needs
// room in one period, while the rest fills whatever gaps are left. The zero value is ready for use.
type Work struct {
	Bytes int64   // of all files
	Files int64   // files with content
	large []int64 // sizes of the largest files, a heap with the smallest on top once it is full
}

// Add takes one more file; sizes that aren't known (negative) and empty files count nothing.
func (w *Work) Add(size int64) {
	if size <= 0 {
		return
	}
	w.Bytes, w.Files = plus(w.Bytes, size), plus(w.Files, 1)
	w.keep(size)
}

// AddRest takes files of which only the sum is known.
func (w *Work) AddRest(files, bytes int64) {
	w.Bytes, w.Files = plus(w.Bytes, max(bytes, 0)), plus(w.Files, max(files, 0))
}

// Join takes all of another work.
func (w *Work) Join(o Work) {
	w.AddRest(o.Files, o.Bytes)
	for _, size := range o.large {
		w.keep(size)
	}
}

// AtMost returns the work cut down to so many bytes, as --max-transfer does: the largest files are left out first. The
// two share nothing.
func (w Work) AtMost(bytes int64) Work {
	w.large = slices.Clone(w.large)
	if bytes = max(bytes, 0); w.Bytes <= bytes {
		return w
	}
	w.Bytes = bytes
	slices.Sort(w.large)
	kept, sum := 0, int64(0)
	for kept < len(w.large) && w.large[kept] <= bytes-sum {
		sum += w.large[kept]
		kept++
	}
	w.large = w.large[:kept] // sorted, it is a heap
	return w
}

// keep notes a size, if it is one of the largest.
func (w *Work) keep(size int64) {
	if len(w.large) < keptSizes {
		w.large = append(w.large, size)
		if len(w.large) == keptSizes {
			slices.Sort(w.large)
		}
		return
	}
	h := w.large
	if size <= h[0] {
		return
	}
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < len(h) && h[child+1] < h[child] {
			child++
		}
		if child >= len(h) || h[child] >= size {
			h[i] = size
			return
		}
		h[i] = h[child]
		i = child
	}
}

// Need is what one work takes of a subject.
type Need struct {
	Subject string
	Work    Work
	Held    bool    // the work has begun, so that what is reserved is for it
	Share   float64 // the part of the day in which it may move; 0 is all of it
	Most    int64   // bytes a second that its bandwidth allows; 0 is no limit
}

// Forecast is how long a work will take under all its limits. Where several apply it speaks of the one that takes
// longest; its JSON form is part of the command line's contract.
type Forecast struct {
	Subject   string     `json:"subject"` // the account or the limit of a remote that decides
	Account   string     `json:"account"`
	Plan      string     `json:"plan"`                // of the account
	OwnLimit  bool       `json:"own_limit,omitempty"` // the account has a limit of its own, not its plan's
	Limit     int64      `json:"limit"`               // of the subject, bytes (or calls) a period; -1 is unlimited
	Available int64      `json:"available"`           // of it, left for this work now; -1 is unlimited
	Bytes     int64      `json:"bytes"`               // to be moved, without the files that are too large
	Twice     bool       `json:"twice,omitempty"`     // each byte counts twice: the remote is source and destination
	AtLeast   bool       `json:"at_least,omitempty"`  // more may be found: the scan isn't complete
	Fits      bool       `json:"fits"`                // all of it, in the running period
	Periods   int64      `json:"periods"`             // months (or days) that it takes, the running one counted; 0 is never
	WaitUntil *time.Time `json:"wait_until"`          // the first reset that it waits for; null where it never waits
	WaitsFor  string     `json:"waits_for,omitempty"` // whose reset that is, where it isn't the subject's
	Ends      *time.Time `json:"ends"`                // null where it isn't known, never, or in more than a hundred years
	Pace      int64      `json:"pace"`                // bytes a second while it moves, as recorded, and no more than the bandwidth allows; 0 where it isn't known
	BoundBy   string     `json:"bound_by"`            // BoundByQuota, BoundByPace or "" where neither makes it wait
	Better    *Better    `json:"better"`              // a plan that ends it sooner; null where none does

	TooLarge        int64  `json:"too_large"`                   // files larger than what a whole period allows: left out
	Largest         int64  `json:"too_large_bytes,omitempty"`   // the size of the largest of them
	TooLargeSubject string `json:"too_large_subject,omitempty"` // whose limit that is
	TooLargeLimit   int64  `json:"too_large_limit,omitempty"`   // and how much it is
	TooLargePlan    string `json:"too_large_plan,omitempty"`    // the smallest plan that carries the largest file

	Closed   string    `json:"closed,omitempty"` // why nothing is granted at all, with the remedy
	Resets   time.Time `json:"resets"`           // when the subject's running period ends
	TimeZone string    `json:"time_zone"`        // in which people read the dates
	At       time.Time `json:"at"`               // when this was said, by Redis' clock

	Others *Others `json:"others,omitempty"` // other work of the account that goes before or beside this one
}

// What makes a work last.
const (
	BoundByQuota = "quota" // it waits for a reset
	BoundByPace  = "pace"  // the line is the limit
)

// Better is a larger plan and what it would do.
type Better struct {
	Plan    string     `json:"plan"`
	Limit   int64      `json:"limit"`   // bytes a month; -1 is unlimited
	Periods int64      `json:"periods"` // months, by the account's limit alone
	Ends    *time.Time `json:"ends"`
}

// Others is the forecast with other work of the account before or beside.
type Others struct {
	Jobs    int64      `json:"jobs"`
	Bytes   int64      `json:"bytes"` // theirs
	Periods int64      `json:"periods"`
	Ends    *time.Time `json:"ends"` // when this work ends then
}

// Outlook is how far an account's allowance goes at its usual daily traffic.
type Outlook struct {
	PerDay   int64      `json:"per_day"` // bytes, on average
	Days     int        `json:"days"`    // days that the average is of; 0 where nothing is recorded
	UsedUp   *time.Time `json:"used_up"` // when nothing is left; null where that isn't before the reset
	Resets   time.Time  `json:"resets"`
	Limit    int64      `json:"limit"`
	Closed   string     `json:"closed,omitempty"` // why nothing is granted at all, with the remedy
	TimeZone string     `json:"time_zone"`
	At       time.Time  `json:"at"`
}

// Forecaster answers any number of forecasts from one look at each subject. It is for one use, by one goroutine.
type Forecaster struct {
	ledger *Ledger
	looks  map[string]look
}

// look is a subject as it stood when it was first asked for.
type look struct {
	at   time.Time
	st   Status
	days []Day
	cal  *calendar
}

// Forecaster returns a new one.
func (l *Ledger) Forecaster() *Forecaster { return &Forecaster{ledger: l, looks: map[string]look{}} }

// Forecast tells when a work will have been moved. The first need is the account's; the others are those of remotes'
// limits, one that is source and destination at once is named twice. Nothing is changed.
func (f *Forecaster) Forecast(ctx context.Context, needs ...Need) (Forecast, error) {
	demands := make([]demand, 0, len(needs))
	var at time.Time
	for i, n := range needs {
		if i := slices.IndexFunc(demands, func(d demand) bool { return d.Status.Name() == n.Subject }); i >= 0 {
			demands[i].Times++
			continue
		}
		k, err := f.look(ctx, n.Subject)
		if err != nil {
			return Forecast{}, err
		}
		if i == 0 {
			at = k.at
		}
		demands = append(demands, demand{Status: k.st, Days: k.days, Work: n.Work, Times: 1, Held: n.Held, Share: n.Share, Most: n.Most, calendar: k.cal})
	}
	return predict(at, f.ledger.cfg.Tiers, demands...), nil
}

// Outlook tells how far an account's allowance goes at its usual traffic.
func (f *Forecaster) Outlook(ctx context.Context, account string) (Outlook, error) {
	k, err := f.look(ctx, account)
	if err != nil {
		return Outlook{}, err
	}
	return outlookOf(k.at, k.st, k.days), nil
}

// Status is the account as the forecasts see it.
func (f *Forecaster) Status(ctx context.Context, account string) (Status, error) {
	k, err := f.look(ctx, account)
	return k.st, err
}

// Pace is the pace that is recorded of an account, in bytes a second; 0 where it isn't known.
func (f *Forecaster) Pace(ctx context.Context, account string) (int64, error) {
	k, err := f.look(ctx, account)
	return paceOf(k.days), err
}

// Carries returns the size of the largest file that all subjects allow in one period, and the subject that allows no
// more; Unlimited and "" where none sets a limit. A remote that is source and destination is named twice.
func (f *Forecaster) Carries(ctx context.Context, subjects ...string) (int64, string, error) {
	most, whose := int64(Unlimited), ""
	for _, subject := range subjects {
		k, err := f.look(ctx, subject)
		if err != nil {
			return 0, "", err
		}
		d := demand{Status: k.st}
		if d.unlimited() || d.calls() || d.limit() == 0 {
			continue
		}
		var times int64
		for _, other := range subjects {
			if other == subject {
				times++
			}
		}
		if each := d.limit() / times; most == Unlimited || each < most {
			most, whose = each, subject
		}
	}
	return most, whose, nil
}

// look reads a subject once.
func (f *Forecaster) look(ctx context.Context, subject string) (look, error) {
	if k, ok := f.looks[subject]; ok {
		return k, nil
	}
	v, err := f.ledger.snapshot(ctx, subject)
	if err != nil {
		return look{}, err
	}
	k := look{at: v.at, st: v.st, cal: newCalendar(v.st)}
	if k.days, err = f.ledger.History(ctx, subject); err != nil {
		return look{}, err
	}
	f.looks[subject] = k
	return k, nil
}

// plus adds numbers of bytes; what is beyond all numbers stays at the largest.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

// times multiplies numbers of bytes in the same way.
func times(a, b int64) int64 {
	if b != 0 && a > math.MaxInt64/b {
		return math.MaxInt64
	}
	return a * b
}
