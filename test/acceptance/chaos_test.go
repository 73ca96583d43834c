package acceptance

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"offload/internal/cloudtest"
	"offload/internal/redistest"
)

// The chaos run: three workers, a Redis with an append-only file, files from the played iCloud to the played Dropbox, and
// every few seconds something dies, freezes or can't be reached. What is demanded in the end is in conclude.
//
// OFFLOAD_CHAOS is how long the faults go on (10m in `make chaos`; 2m where only OFFLOAD_ACCEPTANCE is set).
// OFFLOAD_CHAOS_SEED repeats the choices of a run, though not its timing. OFFLOAD_CHAOS_FILES is how many files a job has.
// The logs of all workers and what was done to them lie in a folder of its own, which is kept where the run fails;
// OFFLOAD_CHAOS_DIR names another one, which is always kept. OFFLOAD_TEST_BINARY runs another program, as one built with -race.
const (
	chaosWorkers = 3
	chaosFiles   = 3000
	shortChaos   = 2 * time.Minute
	fullChaos    = 10 * time.Minute
)

// chaos is a run.
type chaos struct {
	*clouds
	t           *testing.T
	rnd         *rand.Rand
	length      time.Duration
	nFiles      int
	dir         string // of what is kept where it fails
	redisServer *redistest.Server
	redisDown   bool
	store       *asker
	members     []*member
	books       *books
	jobs        []*chaosJob
	current     *chaosJob
	tight       *tightJob
	serial      uint64

	deeds     []*deed
	hand      []*deed
	ends      []ending
	cloud     map[string]interface{ Count() int } // faults of the clouds
	brake     atomic.Int64                        // how long each download is held up
	braked    chan struct{}                       // closed when no download is held up any more
	committed int                                 // files at Dropbox when the current job began
	began     time.Time
	calm      time.Time // when the faults ended
	stops     spans
	alone     int // workers that ended by themselves
	apart     bool
	events    *os.File
	told      string // the first line of events: how to repeat the run
	steps     int
	tick      *time.Ticker // of the steps

	allowMu    sync.Mutex
	allowances map[string]*allowance
}

func TestChaos(t *testing.T) {
	c := newChaos(t)
	defer c.keep()
	before := c.keys()
	stopLooking := c.ledgers()
	c.weather()
	c.disturb()
	c.settle()
	stopLooking()
	left := c.removeAll(before)
	c.stopAll()
	c.conclude(left)
}

// newChaos starts the clouds, Redis and prepares the workers. The test isn't parallel: it wants the machine for itself.
func newChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{t: t, length: shortChaos, nFiles: chaosFiles, deeds: deeds(), allowances: map[string]*allowance{}, braked: make(chan struct{})}
	switch {
	case os.Getenv("OFFLOAD_CHAOS") != "":
		c.length = parsed(t, "OFFLOAD_CHAOS", time.ParseDuration)
	case os.Getenv("OFFLOAD_ACCEPTANCE") == "":
		t.Skip("the chaos run takes minutes: `make chaos`, or OFFLOAD_CHAOS=2m")
	}
	if os.Getenv("OFFLOAD_CHAOS_FILES") != "" {
		c.nFiles = parsed(t, "OFFLOAD_CHAOS_FILES", strconv.Atoi)
	}
	seed := uint64(time.Now().UnixNano())
	if os.Getenv("OFFLOAD_CHAOS_SEED") != "" {
		seed = parsed(t, "OFFLOAD_CHAOS_SEED", func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	}
	c.rnd = rand.New(rand.NewPCG(seed, 0))
	if c.dir = os.Getenv("OFFLOAD_CHAOS_DIR"); c.dir == "" {
		var err error
		if c.dir, err = os.MkdirTemp("", "offload-chaos-"); err != nil {
			t.Fatal(err)
		}
	} else if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	events, err := os.Create(filepath.Join(c.dir, "events.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { events.Close() })
	c.events, c.began = events, time.Now()
	c.tick = time.NewTicker(50 * time.Millisecond)
	t.Cleanup(c.tick.Stop)
	c.told = fmt.Sprintf("OFFLOAD_CHAOS_SEED=%d OFFLOAD_CHAOS=%s", seed, c.length)
	c.say("%s", c.told)
	tool(t, "redis-server", "OFFLOAD_TEST_REDIS")
	c.redisServer = redistest.StartServer(t, "--appendfsync", "everysec", "--maxmemory-policy", "noeviction")
	c.clouds = newClouds(t, cloudtest.Options{Seed: seed, Bandwidth: 4 << 20,
		Latency: cloudtest.Latency{List: 50 * time.Millisecond, Meta: 20 * time.Millisecond, FirstByte: 50 * time.Millisecond,
			Delete: 100 * time.Millisecond, Upload: 30 * time.Millisecond, Commit: 100 * time.Millisecond}})
	c.clouds.redis = "unix://" + c.redisServer.Socket()
	c.store = &asker{network: "unix", address: c.redisServer.Socket(), patience: 5 * time.Second}
	t.Cleanup(c.store.close)
	// Dropbox keeps hashes of what it holds: the bytes of all jobs would fill this process.
	c.play.Dropbox.SetForget(true)
	c.play.Dropbox.SetOverlap(cloudtest.OverlapFree)
	appendTo(t, c.config, "chunk_size = 1Mi\n") // a large file goes in pieces
	c.books = newBooks(c.clouds)
	c.fleet(chaosWorkers)
	return c
}

// parsed reads a setting of the environment.
func parsed[T any](t testing.TB, name string, parse func(string) (T, error)) T {
	t.Helper()
	v, err := parse(os.Getenv(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

// say notes what happens.
func (c *chaos) say(format string, args ...any) {
	fmt.Fprintf(c.events, "%s %8.3f "+format+"\n", append([]any{time.Now().UTC().Format("15:04:05.000"), time.Since(c.began).Seconds()}, args...)...)
}

// weather has both clouds refuse some calls and break off some transfers, each file's download at most twice.
func (c *chaos) weather() {
	var mu sync.Mutex
	tries := map[string]int{}
	twice := func(r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		tries[r.URL.Path]++
		return tries[r.URL.Path] <= 2
	}
	one := func(f cloudtest.Fault) struck { return struck{c.play.Fault(f)} }
	// Of what is called seldom, since many files go in one call, one strikes for certain.
	sure := func(f cloudtest.Fault) struck {
		once := f
		once.Share, once.After, once.Times = 0, 5, 1
		return struck{c.play.Fault(once), c.play.Fault(f)}
	}
	c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: func(r *http.Request) {
		timer := time.NewTimer(time.Duration(c.brake.Load()))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-c.braked:
		}
	}})
	c.cloud = map[string]interface{ Count() int }{
		"downloads cut":   one(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Cut, CutAt: 0.5, Share: 0.02, Match: twice}),
		"downloads reset": one(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Cut, CutAt: 0.3, Reset: true, Share: 0.02, Match: twice}),
		"uploads cut": struck{
			c.play.Fault(cloudtest.Fault{Endpoint: "dropbox:append_v2", Kind: cloudtest.Cut, CutAt: 0.5, Share: 0.02}),
			c.play.Fault(cloudtest.Fault{Endpoint: "dropbox:upload_session_start", Kind: cloudtest.Cut, CutAt: 0.5, Share: 0.01}),
		},
		"commits without answer":   sure(cloudtest.Fault{Endpoint: "dropbox:finish_batch_v2", Kind: cloudtest.Lost, Share: 0.02}),
		"deletions without answer": sure(cloudtest.Fault{Endpoint: "icloud:moveItemsToTrash", Kind: cloudtest.Lost, Share: 0.02}),
		"refused by iCloud (503)":  c.refuse(http.StatusServiceUnavailable, 0.003, icloudCalls()...),
		"refused by Dropbox (429)": c.refuse(http.StatusTooManyRequests, 0.003, dropboxCalls()...),
	}
	c.play.ICloud.SetLimit(24)
}

// refuse has a share of the calls refused, with the wish to be asked again in a second. The share is low where it stays: a
// client that slows down with each refusal would come to a stand under one that doesn't fall with its pace.
func (c *chaos) refuse(status int, share float64, endpoints ...string) struck {
	var all struck
	for _, e := range endpoints {
		all = append(all, c.play.Fault(cloudtest.Fault{Endpoint: e, Kind: cloudtest.Status, Status: status, Share: share,
			Header: http.Header{"Retry-After": {"1"}}}))
	}
	return all
}

// icloudCalls are the calls of a job to iCloud that are refused now and then.
func icloudCalls() []string {
	return []string{"icloud:content", "icloud:download_by_id", "icloud:retrieveItemDetailsInFolders", "icloud:retrieveItemDetails", "icloud:moveItemsToTrash"}
}

// dropboxCalls are the same of Dropbox.
func dropboxCalls() []string {
	return []string{"dropbox:upload_session_start", "dropbox:append_v2", "dropbox:finish_batch_v2", "dropbox:get_metadata", "dropbox:list_folder"}
}

// disturb runs jobs for the length of the run and does what it can to them.
func (c *chaos) disturb() {
	c.begin()
	next := time.Now().Add(3 * time.Second)
	for end := time.Now().Add(c.length); time.Now().Before(end); {
		c.step()
		if time.Now().After(next) {
			c.strike()
			next = time.Now().Add(c.between(2*time.Second, 8*time.Second))
		}
	}
}

// begin enqueues the first jobs. Their quotas are set before.
func (c *chaos) begin() {
	// The account has room for many jobs; what is lost to faults counts as well.
	c.allow("default", 1<<40)
	c.newJob()
	c.tight = &tightJob{run: c, wakes: c.length / 2}
	c.tight.begin()
}

// newJob enqueues the next job of the account.
func (c *chaos) newJob() {
	large := 0.01
	if c.length > 5*time.Minute {
		large = 0.025
	}
	c.committed = c.dropbox.Committed()
	c.current = c.prepare(fmt.Sprintf("job%02d", len(c.jobs)+1), "default", c.sizes(c.nFiles, large))
	c.enqueue(c.current)
}

// step is one turn of the run: workers are tended, faults end, jobs that have ended are audited.
func (c *chaos) step() {
	for _, m := range c.members {
		m.tend()
	}
	c.finish(false)
	if c.steps++; c.steps%10 == 0 {
		for _, m := range c.members {
			m.weigh()
		}
		c.pace()
		c.follow()
	}
	if c.steps%100 == 0 {
		c.say("%s: %s, %d of %d files at Dropbox, %s, downloads held up for %s", c.current.name, c.state(c.current.id),
			c.dropbox.Committed()-c.committed, c.nFiles, c.books.soFar(), time.Duration(c.brake.Load()).Round(time.Millisecond))
	}
	<-c.tick.C
}

// pace holds downloads up so that a job lasts about as long as the run. Each waits for as long as a handful of files may
// take: a source that is as fast as this machine would fill each worker with files between two faults.
func (c *chaos) pace() {
	if !c.calm.IsZero() {
		return
	}
	want := float64(c.nFiles) * float64(time.Since(c.current.began)) / (0.95 * float64(c.length))
	ahead := float64(c.dropbox.Committed()-c.committed) - want
	least := 6 * c.length / time.Duration(c.nFiles)
	c.brake.Store(int64(least) + int64(max(0, min(ahead*float64(20*time.Millisecond), float64(5*time.Second)))))
}

// follow looks at the jobs, and enqueues another one where all have ended before the time.
func (c *chaos) follow() {
	c.tight.follow()
	if !c.current.ended && over(c.state(c.current.id)) && !c.redisDown {
		c.audit(c.current)
	}
	if c.current.ended && c.calm.IsZero() && !c.redisDown {
		c.newJob()
	}
}

// over tells whether a job in this state is done.
func over(state string) bool { return job{State: state}.ended() }

// state is a job's state as the store has it, "" where the store doesn't answer.
func (c *chaos) state(id string) string {
	if c.redisDown || id == "" {
		return ""
	}
	s, err := c.store.text("HGET", "offload:{"+id+"}:job", "state")
	if err != nil {
		return ""
	}
	return s
}

// settle ends all faults and waits for the jobs.
func (c *chaos) settle() {
	c.calm = time.Now()
	close(c.braked)
	c.brake.Store(0)
	c.finish(true)
	c.say("the faults have ended; %d of %d files of the last job are at Dropbox", c.dropbox.Committed()-c.committed, c.nFiles)
	// Unhindered the files of one job take a minute or two on an idle machine, and many times that on a busy one. What a dead
	// worker held comes free within seconds.
	limit := c.calm.Add(12*time.Minute + c.length/2)
	for !c.current.ended || !c.tight.ended() {
		if time.Now().After(limit) {
			c.t.Fatalf("the jobs didn't end within %s after the last fault: %s is %s, %s is %s", time.Since(c.calm).Round(time.Second),
				c.current.name, c.show(c.current.id).State, c.tight.job.name, c.show(c.tight.job.id).State)
		}
		c.step()
	}
	c.say("all jobs have ended")
	// What a worker had set aside of the quota that couldn't give it back comes free within a minute.
	eventually(c.t, 2*time.Minute, "all that was set aside of the quota to come free", func() bool {
		c.step()
		for _, account := range c.accounts() {
			if c.quotaOf(account).Reserved != 0 {
				return false
			}
		}
		return true
	})
}

// try runs a command that may fail, and returns its status and what it said.
func (c *chaos) try(args ...string) (int, string) {
	cmd := c.command(args...)
	dieWithParent(cmd)
	out, _ := cmd.CombinedOutput() // the status tells
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(string(out))
}

// keep removes what the run wrote down, or adds what the store holds where it failed.
func (c *chaos) keep() {
	t := c.t
	if !t.Failed() {
		if os.Getenv("OFFLOAD_CHAOS_DIR") == "" {
			_ = os.RemoveAll(c.dir)
		}
		return
	}
	redis := filepath.Join(c.dir, "redis")
	_ = os.RemoveAll(redis)
	if err := os.CopyFS(redis, os.DirFS(filepath.Join(filepath.Dir(c.redisServer.Socket()), "appendonlydir"))); err != nil {
		t.Logf("keep the append-only file: %v", err)
	}
	t.Logf("%s: the workers' logs, the append-only file and what was done when lie in %s", c.told, c.dir)
}

// keys are the keys of the store, sorted.
func (c *chaos) keys() []string {
	answer, err := c.store.ask("KEYS", "*")
	if err != nil {
		c.t.Fatal(err)
	}
	var keys []string
	for _, k := range answer.([]any) {
		keys = append(keys, k.(string))
	}
	slices.Sort(keys)
	return keys
}
