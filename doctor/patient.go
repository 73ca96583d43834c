package doctor

import (
	"context"
	"errors"
	"net/http"
	"time"

	"offload/jobs"
	"offload/transfer"
)

// The types of remotes that checks know something of, as rclone names them.
const (
	kindICloud  = "iclouddrive"
	kindDropbox = "dropbox"
)

// Patient is what is examined, and the ways to look at it. Ports that are nil aren't looked through.
type Patient struct {
	Remotes []Remote
	// Backup is how many bytes a device backup needs; 0 where nobody said so.
	Backup int64
	// Plans are the sizes of iCloud's plans in bytes, the smallest first.
	Plans []int64
	// Network sends requests that carry no sign-in, the way the remotes' own requests go.
	Network http.RoundTripper
	Store   Store
	// Allowance tells what the account that pays may still move.
	Allowance func(ctx context.Context) (Allowance, error)
	// Now is the clock of this machine. Defaults to time.Now.
	Now func() time.Time
}

// Remote is one cloud to look at.
type Remote struct {
	Name string // with its colon: "icloud:"
	Kind string // rclone's type
	// TrustDays are left of the sign-in; nil where it isn't known.
	TrustDays *int
	TrustEnds bool
	// Dest is where files of it could go, with a path: "dropbox:Archive"; "" where no other cloud is configured.
	Dest     string
	DestKind string
	// Look opens the remote, lists its root and asks for its room; LookAt does so with Dest.
	Look, LookAt func(ctx context.Context) (transfer.RemoteCheck, error)
	// Trash adds up what lies in its trash; ok is false where it has none that can be seen.
	Trash func(ctx context.Context) (t Trash, ok bool, err error)
}

// Trash is what lies in a remote's trash.
type Trash struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	More  bool  `json:"more,omitempty"` // of some items the trash didn't tell the size
}

// Store tells how the jobs stand. *jobs.Service is one.
type Store interface {
	Overview(ctx context.Context) (jobs.Overview, error)
}

// Allowance is how the quota of the account that pays stands.
type Allowance struct {
	Account   string
	Available int64 // bytes; negative is without limit
	Renewed   time.Time
}

func (p Patient) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// examined is a remote under examination: what several checks need is asked once.
type examined struct {
	p Patient
	Remote
	look  *once[transfer.RemoteCheck]
	dest  *once[transfer.RemoteCheck]
	trash *once[trashed]
	pulse *once[pulse]
}

// trashed is a Trash, if there is one.
type trashed struct {
	Trash
	ok bool
}

// errEnded says that the remote wasn't asked.
var errEnded = errors.New("the sign-in has ended")

// ended tells whether the sign-in is known to have ended. To ask all the same would be one more refused sign-in at Apple,
// which counts towards the lock of the account, and sends a code to somebody's phone.
func (e *examined) ended() bool { return e.TrustDays != nil && *e.TrustDays == 0 }

func (e *examined) looked(ctx context.Context) (transfer.RemoteCheck, error) {
	if e.ended() {
		return transfer.RemoteCheck{}, errEnded
	}
	return e.look.get(ctx, e.Look)
}

func (e *examined) lookedAtDest(ctx context.Context) (transfer.RemoteCheck, error) {
	return e.dest.get(ctx, e.LookAt)
}

// lies tells what lies in the trash; not to know is nothing.
func (e *examined) lies(ctx context.Context) (trashed, error) {
	return e.trash.get(ctx, func(ctx context.Context) (trashed, error) {
		if e.Trash == nil {
			return trashed{}, nil
		}
		t, ok, err := e.Trash(ctx)
		return trashed{t, ok}, err
	})
}

// checks are all checks of the patient, with the sections that they fill.
func (p Patient) checks() ([]*Section, []job) {
	var sections []*Section
	var all []job
	var pulses []*examined
	for _, r := range p.Remotes {
		e := &examined{p: p, Remote: r, look: newOnce[transfer.RemoteCheck](), dest: newOnce[transfer.RemoteCheck](),
			trash: newOnce[trashed](), pulse: newOnce[pulse]()}
		s := &Section{Remote: r.Name, Kind: r.Kind, Findings: []Finding{}}
		sections, pulses = append(sections, s), append(pulses, e)
		add := func(id, what string, run func(context.Context) result) {
			all = append(all, job{section: s, id: id, what: what, run: run})
		}
		add("storage", "how full "+r.Name+" is couldn't be seen", e.checkStorage)
		all = append(all, job{section: s, id: "sign_in", run: e.checkSignIn, silent: e.silent})
		if p.Network != nil && hostOf(r.Kind) != "" {
			add("network", "whether "+hostOf(r.Kind)+" can be reached couldn't be seen", e.checkNetwork)
		}
		if r.Dest != "" && r.LookAt != nil {
			add("destination", "how much room "+r.Dest+" has couldn't be seen", e.checkDest)
		}
	}
	s := &Section{Findings: []Finding{}}
	sections = append(sections, s)
	if p.Network != nil {
		apple := newOnce[pulse]()
		ask := func(ctx context.Context) (pulse, error) { return apple.get(ctx, p.askStatus) }
		if p.hasICloud() {
			all = append(all, job{section: s, id: "apple_status", what: "Apple's system status couldn't be read",
				run: func(ctx context.Context) result { return checkStatus(ctx, ask) }})
		} else {
			ask = nil
		}
		all = append(all, job{section: s, id: "clock", what: "whether this machine's clock is right couldn't be seen",
			run: func(ctx context.Context) result { return checkClock(ctx, pulses, ask) }})
	}
	if p.Store != nil {
		all = append(all, job{section: s, id: "jobs", what: "how the jobs stand couldn't be read", run: p.checkJobs})
	}
	if p.Allowance != nil {
		all = append(all, job{section: s, id: "quota", what: "what the quota still allows couldn't be read", run: p.checkQuota})
	}
	return sections, all
}

func (p Patient) hasICloud() bool {
	for _, r := range p.Remotes {
		if r.Kind == kindICloud {
			return true
		}
	}
	return false
}

// one is the result of a check with one finding.
func one(f Finding) result { return result{findings: []Finding{f}} }

// unseen is the result of a check that couldn't look.
func unseen(id, what, why string) result {
	return one(Finding{ID: id, Level: Unknown, What: what, Why: why})
}
