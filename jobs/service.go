package jobs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"

	"offload/quota"
	"offload/transfer"
)

// Errors that a caller branches on.
var (
	ErrNotFound = errors.New("no such job")
	ErrState    = errors.New("the job's state doesn't allow it")
)

// Store is what the service needs of internal/store.
type Store interface {
	Client() redis.UniversalClient
	MakeRedisClient() any // for asynq
	// Abandon ends all calls to a store that doesn't answer, and makes later ones fail at once.
	Abandon()
	// Replicated waits until what was written before would survive a failover, or says why it can't tell.
	Replicated(ctx context.Context) error
}

// Config of a service.
type Config struct {
	Store  Store
	Ledger *quota.Ledger
	Log    *slog.Logger // Defaults to nothing.
	// Open opens the remotes of a job. Defaults to transfer.Open.
	Open func(ctx context.Context, source, dest string, opt transfer.Options) (*transfer.Pair, error)
	// Bandwidth of all jobs of all workers together, in the syntax of --bwlimit, unless SetBandwidth says otherwise. Defaults
	// to no limit.
	Bandwidth string
	// Transfers are how many files of a subject (FilesOfRemote, FilesOfAccount) all workers together move at once, unless
	// SetFileLimit says otherwise. Defaults to no limit; so is 0.
	Transfers map[string]int
	// Version of the program, for Workers.
	Version string
}

// Service is everything that can be done with jobs, for the command line, the API and the pages alike.
type Service struct {
	cfg     Config
	client  redis.UniversalClient
	scripts *scripts
	codec   *codec
	tasks   *asynq.Client
	bands   *bandwidths
	ring    *ring
	times   *times
	totals  *totals
	log     *slog.Logger
	self    string          // this process, as leases name it
	least   func(Order) int // the least version of a worker for an order

	whole     atomic.Bool // every job is known to be in the index of its account
	fleetOnce sync.Once   // fleet is made when it is first asked for
	fleet     *fleet
	gate      *callGate
	news      news
}

// New returns a service. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Ledger == nil {
		return nil, errors.New("a service needs a store and a ledger")
	}
	if cfg.Open == nil {
		cfg.Open = transfer.Open
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkFileLimits(cfg.Transfers); err != nil {
		return nil, err
	}
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	bands, err := newBandwidths(cfg.Store.Client(), cfg.Log, cfg.Bandwidth)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, client: cfg.Store.Client(), scripts: loadScripts(cfg.Store.Client()), codec: c, bands: bands,
		ring: newRing(cfg.Store.Client()), times: newTimes(cfg.Store.Client()), tasks: asynq.NewClient(cfg.Store), log: cfg.Log, self: versioned(processName(), jobVersion), least: leastVersion}
	s.gate, s.totals = &callGate{s: s}, newTotals(s.client, s.self)
	return s, nil
}

// Close frees the service's connections; the store stays open.
func (s *Service) Close() error {
	s.gate.close()
	s.codec.close()
	if err := s.tasks.Close(); err != nil {
		return fmt.Errorf("close the queue's client: %w", err)
	}
	return nil
}

// Enqueue checks the order, stores the job and its scan task, and returns it. The job is safe once this has returned.
// A mistake in the order is an *OrderError, and nothing is stored.
func (s *Service) Enqueue(ctx context.Context, o Order) (Job, error) {
	return s.enqueue(ctx, o, "")
}

// EnqueueForeground is Enqueue for a job that this process alone works on until it ends (`offload run`). When the
// process dies, the job goes to the pool.
func (s *Service) EnqueueForeground(ctx context.Context, o Order) (Job, error) {
	return s.enqueue(ctx, o, s.self)
}

func (s *Service) enqueue(ctx context.Context, o Order, owner string) (Job, error) {
	o, err := s.Check(ctx, o)
	if err != nil {
		return Job{}, err
	}
	id, err := newID()
	if err != nil {
		return Job{}, err
	}
	j, _, err := s.store(ctx, id, o, owner)
	return j, err
}

func newID() (string, error) {
	u, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make a job's ID: %w", err)
	}
	return u.String(), nil
}

// store stores a checked order as a job, unless there is one of that ID already, and sends its scan.
func (s *Service) store(ctx context.Context, id string, o Order, owner string) (j Job, made bool, err error) {
	raw, err := json.Marshal(o)
	if err != nil {
		return Job{}, false, fmt.Errorf("store job: %w", err)
	}
	if err := s.index(ctx, id, o.Account); err != nil {
		return Job{}, false, err
	}
	version := s.least(o)
	queue := laneOf(o.Priority, version)
	fields := []any{s.by(ctx), 0, "order", raw, "account", o.Account}
	if o.Order == transfer.OrderLargest || o.Order == transfer.OrderOldest {
		fields = append(fields, "ordered", true)
	}
	if owner != "" {
		queue = foregroundQueue(id)
		fields[1] = ownerSilence.Milliseconds()
		fields = append(fields, "owner", owner)
	}
	if version > 1 {
		fields = append(fields, fieldVersion, version)
	}
	keys, err := s.storePlanned(ctx, id, o.Planned)
	if err != nil {
		return Job{}, false, err
	}
	if len(keys) > 0 {
		fields = append(fields, fieldPlanned, len(keys))
	}
	n, err := s.scripts.run(ctx, "create", id, keys, append(fields, "queue", queue)...).Int()
	if err != nil {
		return Job{}, false, fmt.Errorf("store job: %w", err)
	}
	if n < 0 {
		return Job{}, false, errors.New("store job: its plan is gone from the store already")
	}
	if err := s.cfg.Store.Replicated(ctx); err != nil {
		s.log.Warn("a job is stored, but should the Redis master fail now it may be lost", "job", id, "error", err)
	}
	// A job that is stored is accepted: if sending its task fails now, maintenance sends it.
	if err := s.feed(ctx, id); err != nil {
		s.log.Warn("send the first task of a job", "job", id, "error", err)
	}
	j, err = s.get(ctx, id)
	return j, n == 1, err
}

// look asks maintenance to look at a job after d.
func (s *Service) look(ctx context.Context, id string, d time.Duration) {
	if err := s.times.set(ctx, keyDue, id, d, dueRunning.base()); err != nil {
		s.log.Warn("note when to look at a job", "job", id, "error", err)
	}
}

// Get returns a job, or ErrNotFound. A unique prefix of an ID, of at least 6 characters, is enough everywhere.
func (s *Service) Get(ctx context.Context, id string) (Job, error) {
	id, err := s.resolve(ctx, id)
	if err != nil {
		return Job{}, err
	}
	return s.get(ctx, id)
}

// get returns the job of a whole ID, or ErrNotFound.
func (s *Service) get(ctx context.Context, id string) (Job, error) {
	f, err := s.client.HGetAll(ctx, keysOf(id).job()).Result()
	if err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	if f["state"] == "" {
		return Job{}, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	return jobOf(id, f)
}

// resolve completes a prefix of an ID.
func (s *Service) resolve(ctx context.Context, id string) (string, error) {
	full := strings.ToUpper(id)
	if !isIDPart(full) {
		return "", fmt.Errorf("job %q: %w", id, ErrNotFound)
	}
	found, err := s.client.ZRangeByLex(ctx, keyIndex, &redis.ZRangeBy{Min: "[" + full, Max: "[" + full + "~", Count: 2}).Result()
	if err != nil {
		return "", fmt.Errorf("look for job %s: %w", id, err)
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("job %q: %w", id, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("job %q is the beginning of several IDs, give more of it: %w", id, ErrNotFound)
}

// isIDPart tells whether a text may be an ID or the beginning of one that is long enough to mean something.
func isIDPart(text string) bool {
	return strings.Trim(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == "" && len(text) >= idPartLeast && len(text) <= 26
}

func jobOf(id string, f map[string]string) (Job, error) {
	j := Job{ID: id, State: State(f["state"]), Reason: Reason(f["reason"]), Error: f["error"],
		ScanComplete: f["scan_complete"] == "1", Created: fromMillis(f["created"]),
		Started: optional(f["started"]), Finished: optional(f["finished"]), Until: optional(f["until"])}
	if err := json.Unmarshal([]byte(f["order"]), &j.Order); err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	j.Source, j.Dest, j.Account = j.Order.Source, j.Order.Dest, j.Order.Account
	j.Label, j.DeleteSource = j.Order.Label, j.Order.DeleteSource
	j.Kind, j.Of = j.Order.Kind, j.Order.Of
	j.Goal, j.Plan = j.Order.Goal, j.Order.Plan
	n := func(name string) int64 { return number(f[name]) }
	j.Files = Files{n("found"), n("copied"), n("skipped"), n("set_aside"), n("excluded"), n("failed"), n("deleted"),
		n("purged")}
	j.Bytes = Bytes{n("b_found"), n("b_copied"), n("b_wasted"), n("b_deleted"), n("b_purged")}
	var err error
	if j.Storage, err = storageOf(f); err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	if j.claim, err = parseClaim(f[fieldClaim]); err != nil {
		return Job{}, fmt.Errorf("read job %s: %w", id, err)
	}
	j.Trash = f[fieldTrash] == "1"
	j.BwLimit = limitText(j.Order.BwLimit)
	if set, ok := f[fieldBandwidth]; ok {
		j.BwLimit = limitText(set)
	}
	if f[fieldTooNew] != "" && j.State.Runs() {
		j.Error = tooNewText
	}
	if why := f[fieldManifestError]; why != "" && j.State.Terminal() {
		j.Error = strings.TrimPrefix(j.Error+"; "+why, "; ")
	}
	j.version, j.manifest = versionNumber(f[fieldVersion]), f[fieldManifest]
	j.Seen = one(j.State, CompletedW, FailedState) && f[fieldSeen] != "" && f[fieldSeen] == f["finished"]
	holdOf(&j, f)
	scrubOf(&j, f)
	j.Grades = Grades{n("grade_A"), n("grade_B"), n("grade_C"), n("grade_D")}
	return j, nil
}

func optional(ms string) *time.Time {
	t := fromMillis(ms)
	if t.IsZero() {
		return nil
	}
	return &t
}

// HistoryEvent is one change of a job's state.
type HistoryEvent struct {
	At     time.Time `json:"at"`
	From   State     `json:"from,omitempty"`
	To     State     `json:"to"`
	Reason Reason    `json:"reason,omitempty"`
	By     string    `json:"by"`
}

// History returns the changes of a job's state, oldest first.
func (s *Service) History(ctx context.Context, id string) ([]HistoryEvent, error) {
	id, err := s.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	raw, err := s.client.LRange(ctx, keysOf(id).history(), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read history of job %s: %w", id, err)
	}
	first, err := s.client.HMGet(ctx, keysOf(id).job(), "created", "by").Result()
	if err != nil {
		return nil, fmt.Errorf("read history of job %s: %w", id, err)
	}
	var all []HistoryEvent
	if by, ok := first[1].(string); ok { // a job of an earlier version has its beginning in the list
		created, _ := first[0].(string)
		all = append(all, HistoryEvent{At: fromMillis(created), To: Queued, By: by})
	}
	for _, line := range raw {
		e, ok := parseHistory(line)
		if !ok {
			return nil, fmt.Errorf("read history of job %s: strange line %s", id, strconv.Quote(line))
		}
		all = append(all, e)
	}
	return all, nil
}

// parseHistory reads a line of a job's history.
func parseHistory(line string) (HistoryEvent, bool) {
	p := strings.SplitN(line, "|", 5)
	if len(p) != 5 {
		return HistoryEvent{}, false
	}
	return HistoryEvent{fromMillis(p[0]), State(p[1]), State(p[2]), Reason(p[3]), p[4]}, true
}
