// Package doctor goes through the causes of a failed device backup that can be seen from here, and names those that only
// the device itself can show.
//
// It only looks. Every check runs beside the others and is given up after a bound, so that a report comes within seconds
// whatever hangs: what gave no answer is told as unknown, never as a problem.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Level is how much a finding matters.
type Level string

// The levels. Only warnings and problems need somebody.
const (
	OK      Level = "ok"
	Unknown Level = "unknown" // it couldn't be seen
	Note    Level = "note"    // good to know
	Warning Level = "warning" // it may make a backup fail, or will before long
	Problem Level = "problem" // a backup fails by it
)

// weight orders levels; the heavier ones matter more.
func (l Level) weight() int { return slices.Index([]Level{OK, Unknown, Note, Warning, Problem}, l) }

// urgency sorts what needs somebody to the top, and leaves the rest in the order of the checks.
func (l Level) urgency() int { return max(l.weight(), Note.weight()) }

// Finding is what one check found.
type Finding struct {
	ID    string `json:"id"` // stays the same over versions: "storage", "sign_in", ...
	Level Level  `json:"level"`
	What  string `json:"what"`          // one sentence
	Why   string `json:"why,omitempty"` // what it has to do with a backup, or what it was concluded from
	// Command mends it; Steps are for what no command does.
	Command string   `json:"command,omitempty"`
	Steps   []string `json:"steps,omitempty"`
}

// Section is a group of findings.
type Section struct {
	Remote   string    `json:"remote,omitempty"` // "icloud:", or "" for what doesn't depend on a remote
	Kind     string    `json:"kind,omitempty"`   // rclone's type of the remote
	Storage  *Storage  `json:"storage,omitempty"`
	Advice   *Advice   `json:"plan,omitempty"` // of iCloud plans
	Findings []Finding `json:"findings"`
}

// Report is everything that was found.
type Report struct {
	At      time.Time `json:"at"`
	Content bool      `json:"content"` // no warning and no problem
	Level   Level     `json:"level"`   // the weightiest of all findings
	// Sections are the remotes in the order of their names, then what is common to all.
	Sections []Section `json:"sections"`
	Phone    []Cause   `json:"phone"` // what only the device shows
}

// Saw tells whether anything at all could be looked at.
func (r Report) Saw() bool {
	for _, s := range r.Sections {
		for _, f := range s.Findings {
			if f.Level != Unknown {
				return true
			}
		}
	}
	return false
}

// checkTime bounds a check. A remote may retry for minutes, and wait for a person.
const checkTime = 10 * time.Second

// job is one check of one section.
type job struct {
	section *Section
	id      string
	what    string // told where it gives no answer in time: "the storage couldn't be seen"
	run     func(ctx context.Context) result
	silent  func() Finding // what is told instead; nil is that it is unknown
}

// late is the finding of a check that gave no answer in time.
func (j job) late() Finding {
	if j.silent != nil {
		return j.silent()
	}
	return Finding{ID: j.id, Level: Unknown, What: j.what, Why: "there was no answer in time"}
}

// result is what a check brings: its findings, and what the section tells beside them.
type result struct {
	findings []Finding
	storage  *Storage
	advice   *Advice
}

// Examine runs all checks at once and returns what they found. It returns after checkTime at the latest, or when ctx ends;
// a check that goes on then is left alone: its answer is dropped.
func Examine(ctx context.Context, p Patient) Report {
	r := Report{At: p.now().UTC(), Phone: []Cause{}}
	if p.hasICloud() {
		r.Phone = onPhone()
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	sections, checks := p.checks()
	found := runAll(ctx, checks)
	for i, c := range checks {
		c.section.Findings = append(c.section.Findings, found[i].findings...)
		if found[i].storage != nil {
			c.section.Storage = found[i].storage
		}
		if found[i].advice != nil {
			c.section.Advice = found[i].advice
		}
	}
	r.Level, r.Content = OK, true
	for _, s := range sections {
		slices.SortStableFunc(s.Findings, func(a, b Finding) int { return cmp.Compare(b.Level.urgency(), a.Level.urgency()) })
		for _, f := range s.Findings {
			if f.Level.weight() > r.Level.weight() {
				r.Level = f.Level
			}
			r.Content = r.Content && f.Level.weight() < Warning.weight()
		}
		r.Sections = append(r.Sections, *s)
	}
	return r
}

// runAll runs the checks beside each other. One that gives no answer in time is told as unknown.
func runAll(ctx context.Context, checks []job) []result {
	type answer struct {
		i int
		r result
	}
	come := make(chan answer, len(checks)) // whoever comes late finds room, and goes
	for i, c := range checks {
		go func() { come <- answer{i, c.run(ctx)} }()
	}
	found := make([]result, len(checks))
	for i, c := range checks {
		found[i] = one(c.late())
	}
	for range checks {
		select {
		case a := <-come:
			found[a.i] = a.r
		case <-ctx.Done():
			return takeRest(found, func() (int, result, bool) {
				select {
				case a := <-come:
					return a.i, a.r, true
				default:
					return 0, result{}, false
				}
			})
		}
	}
	return found
}

// takeRest takes the answers that have come by now.
func takeRest(found []result, next func() (int, result, bool)) []result {
	for {
		i, r, ok := next()
		if !ok {
			return found
		}
		found[i] = r
	}
}

// once makes a call that several checks need, for the first that asks; the others wait for it, as long as their context
// lasts.
type once[T any] struct {
	start sync.Once
	done  chan struct{}
	value T
	err   error
}

func newOnce[T any]() *once[T] { return &once[T]{done: make(chan struct{})} }

// get returns what call returned. ctx must be the one that all askers share: the first one's call is everybody's.
func (o *once[T]) get(ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	o.start.Do(func() {
		go func() {
			defer close(o.done)
			o.value, o.err = call(ctx)
		}()
	})
	select {
	case <-o.done:
		return o.value, o.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
