package pages

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"offload/remotes"
	"offload/transfer"
)

const (
	// bookFresh is how old a look at a remote may be before a page asks for another one.
	bookFresh = 10 * time.Minute
	// statesLast is how long what Home shows is kept, however many look.
	statesLast = 2 * time.Second
	// statesWait is how long Home waits for it: while the store is away, what was told before has to do.
	statesWait = 200 * time.Millisecond
	// bookAtOnce is how many remotes are looked at at the same time.
	bookAtOnce = 3
)

// remoteBook knows the remotes and what was last seen of them. Nobody waits for a remote: looks run in the background, and
// pages show the last one with its time.
type remoteBook struct {
	conf  *remotes.Composed // nil for none
	check func(ctx context.Context, remote string) (transfer.RemoteCheck, error)
	bg    *background
	log   *slog.Logger
	slots chan struct{}

	mu      sync.Mutex
	seen    map[string]*remoteSight
	told    []RemoteState // what states last told, and when
	toldAt  time.Time
	telling chan struct{} // closed when the one who finds out what to tell has ended; nil for nobody
}

// remoteSight is what was last seen of a remote.
type remoteSight struct {
	looking bool
	at      time.Time             // when the last look ended; zero for never
	found   *transfer.RemoteCheck // of the last time that it answered, nil for never
	foundAt time.Time
	problem string // why it didn't answer the last time; "" where it did
	signIn  bool   // since the sign-in is refused
}

func newRemoteBook(cfg Config, bg *background) *remoteBook {
	return &remoteBook{conf: cfg.Remotes, check: cfg.Check, bg: bg, log: cfg.Log, slots: make(chan struct{}, bookAtOnce), seen: map[string]*remoteSight{}}
}

// remoteView is a remote as pages show it.
type remoteView struct {
	remotes.Known
	Soon    bool // the sign-in ends so soon that it should be renewed now
	Looking bool
	At      time.Time
	Answers bool
	Problem string
	Refused bool // the sign-in is refused
	Found   *transfer.RemoteCheck
	FoundAt time.Time
	Jobs    int // unfinished jobs that use it, as far as the overview tells
	Waits   int // of those, jobs that wait for a sign-in
}

// KindWords is the kind of a remote as people call it.
func (v remoteView) KindWords() string { return kindWords(v.Kind) }

// Untold tells whether the remote's sign-in is trusted for a time that isn't known.
func (v remoteView) Untold() bool { return v.Kind == remotes.KindICloud && !v.Trusted }

// Stored is what takes space, as people call it.
func (remoteView) Stored(kind string) string {
	switch kind {
	case "docs":
		return "documents"
	case "backup":
		return "backups"
	}
	return kind
}

func kindWords(kind string) string {
	switch kind {
	case remotes.KindICloud:
		return "iCloud Drive"
	case remotes.KindDropbox:
		return "Dropbox"
	}
	return kind
}

// list returns the remotes with what is known of them. It asks no cloud.
func (b *remoteBook) list() []remoteView {
	if b.conf == nil {
		return nil
	}
	known := b.conf.List()
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]remoteView, len(known))
	there := map[string]bool{}
	for i, k := range known {
		there[k.Name] = true
		v := remoteView{Known: k, Soon: k.Trusted && remotes.TrustEndsSoon(k.Days)}
		if s := b.seen[k.Name]; s != nil {
			v.Looking, v.At, v.Answers, v.Problem, v.Refused = s.looking, s.at, !s.at.IsZero() && s.problem == "", s.problem, s.signIn
			v.Found, v.FoundAt = s.found, s.foundAt
		}
		all[i] = v
	}
	for name, s := range b.seen {
		if !there[name] && !s.looking {
			delete(b.seen, name)
		}
	}
	return all
}

// refresh looks at the remotes that weren't looked at for a while, in the background.
func (b *remoteBook) refresh(ctx context.Context) {
	for _, v := range b.list() {
		if time.Since(v.At) > bookFresh {
			b.look(ctx, v.Name)
		}
	}
}

// look looks at a remote in the background, unless somebody does already.
func (b *remoteBook) look(ctx context.Context, name string) {
	if b.check == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.seen[name]
	if s == nil {
		s = &remoteSight{}
		b.seen[name] = s
	}
	if s.looking {
		return
	}
	s.looking = b.bg.run(ctx, bookAtOnce*remotes.CheckTime, func(ctx context.Context) { b.ask(ctx, name, s) }) != nil
}

// ask looks at a remote. One whose backend doesn't heed the end of its time is given up, and isn't looked at again before
// it has let go.
func (b *remoteBook) ask(ctx context.Context, name string, s *remoteSight) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(ctx, remotes.CheckTime)
	defer cancel()
	late := context.AfterFunc(ctx, func() {
		b.note(name, s, transfer.RemoteCheck{}, errors.New("it doesn't answer within a minute"), false)
	})
	found, err := b.check(ctx, name+":")
	refused := err != nil && transfer.SignInRefused(ctx, err) != ""
	if late() {
		b.note(name, s, found, err, refused)
	}
	b.mu.Lock()
	s.looking = false
	b.mu.Unlock()
}

// note writes down what a look found.
func (b *remoteBook) note(name string, s *remoteSight, found transfer.RemoteCheck, err error, refused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.at, s.problem, s.signIn = time.Now(), "", refused
	if err != nil {
		s.problem = transfer.WithoutQueries(err.Error())
		b.log.Info("a remote doesn't answer as it should", "remote", name, "error", s.problem)
		return
	}
	s.found, s.foundAt = &found, s.at
}

// forget forgets what was seen of a remote, as after a new sign-in. A look that began before writes to what nobody reads any
// more.
func (b *remoteBook) forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.seen, name)
}

// states is what Home shows of the remotes. It asks no cloud, but has those looked at, in the background, that weren't for a
// while. Where the store doesn't tell the remotes it returns what it told before.
func (b *remoteBook) states(ctx context.Context) []RemoteState {
	if b.conf == nil {
		return nil
	}
	b.mu.Lock()
	if time.Since(b.toldAt) < statesLast {
		defer b.mu.Unlock()
		return b.told
	}
	first := b.telling == nil
	if first {
		b.telling = make(chan struct{})
	}
	wait := b.telling
	b.mu.Unlock()
	if first && b.bg.run(ctx, remotes.CheckTime, b.tell) == nil {
		b.endTelling() // the dashboard ends
	}
	late := time.NewTimer(statesWait)
	defer late.Stop()
	select {
	case <-wait:
	case <-late.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.told
}

// tell finds out what states returns.
func (b *remoteBook) tell(ctx context.Context) {
	defer b.endTelling()
	b.refresh(ctx)
	var all []RemoteState
	for _, v := range b.list() {
		s := RemoteState{Name: v.Name, Kind: v.Kind, Days: v.Days, DaysTold: v.Trusted, Soon: v.Soon || v.Refused, Seen: v.FoundAt}
		if f := v.Found; f != nil && f.Total != nil && f.Used != nil {
			s.Storage = &transfer.Storage{Total: *f.Total, Used: *f.Used, ByKind: f.ByKind}
		}
		all = append(all, s)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told, b.toldAt = all, time.Now()
}

// endTelling lets those go on who wait for tell.
func (b *remoteBook) endTelling() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.telling)
	b.telling = nil
}
