package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopGrace is what a container engine gives a worker after SIGTERM before it kills it: more than the worker needs.
const stopGrace = 40 * time.Second

// member is one worker of the fleet: a process, and another one when that has ended, as a container engine would have it.
type member struct {
	run    *chaos
	name   string
	cli    cli
	gate   *gate
	proc   *process
	lives  int
	back   time.Time // when the next process starts, while none runs
	expect bool      // the end of the process is our doing
	told   time.Time // when it was told to stop, zero where it wasn't
	frozen bool
	cut    bool
	peak   int64 // bytes of memory, over all its lives
}

// start starts the next process of the worker. What it says goes to a file of its own.
func (m *member) start() {
	m.lives++
	file, err := os.Create(m.log())
	if err != nil {
		m.run.t.Fatal(err)
	}
	defer file.Close() // the child has its own
	cmd := m.cli.command("worker", "--transfers", strconv.Itoa(m.run.transfers()))
	m.run.apart = apart(cmd)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		m.run.t.Fatalf("start %s: %v", m.name, err)
	}
	p := &process{name: m.name, cmd: cmd, out: &log{}, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // the status is read from ProcessState
	}()
	m.proc, m.expect, m.told = p, false, time.Time{}
}

// log is the file of what the present process says.
func (m *member) log() string {
	return filepath.Join(m.run.dir, fmt.Sprintf("%s-%03d.log", m.name, m.lives))
}

// begun tells whether the process has begun to work. A signal that comes before it listens for any ends it in its own way.
func (m *member) begun() bool {
	said, err := os.ReadFile(m.log())
	return err == nil && strings.Contains(string(said), "worker started")
}

// tend starts a worker that has ended, and notices how it ended.
func (m *member) tend() {
	c := m.run
	if m.proc == nil {
		if !time.Now().Before(m.back) {
			m.start()
		}
		return
	}
	if m.proc.running() {
		if over := time.Since(m.told); !m.told.IsZero() && over > stopGrace {
			c.t.Errorf("%s didn't stop within %s of SIGTERM (life %d)", m.name, stopGrace, m.lives)
			_ = m.proc.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to its log
			m.told = time.Now()
		}
		return
	}
	state := m.proc.cmd.ProcessState
	switch {
	case !m.told.IsZero():
		took := time.Since(m.told)
		c.stops.add(took)
		c.say("%s stopped as %s after %s", m.name, state, took.Round(time.Millisecond))
	case !m.expect:
		c.alone++
		c.say("%s ended by itself as %s (life %d)", m.name, state, m.lives)
	}
	m.proc = nil
	m.back = time.Now().Add(time.Duration(100+c.rnd.IntN(2900)) * time.Millisecond)
}

// up tells whether the worker runs and nobody has told it to stop.
func (m *member) up() bool { return m.proc != nil && m.proc.running() && m.told.IsZero() }

// stopped tells whether the process is stopped, as by SIGSTOP.
func (m *member) stopped() bool {
	raw, err := os.ReadFile(m.file("stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
	return strings.HasPrefix(rest, "T")
}

// weigh notes the memory that the process takes.
func (m *member) weigh() {
	if m.proc == nil {
		return
	}
	raw, err := os.ReadFile(m.file("status"))
	if err != nil {
		return // it has just ended
	}
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return
	}
	if kib, err := strconv.ParseInt(fields[0], 10, 64); err == nil {
		m.peak = max(m.peak, kib<<10)
	}
}

func (m *member) file(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.proc.cmd.Process.Pid), name)
}

// transfers is how many files a worker has in hand at once: what a fault can make it lose. In the long form that is what
// a source as slow as this one needs, as somebody would set it who minds the traffic; in the short one the workers adapt.
func (c *chaos) transfers() int {
	if c.length >= fullChaos {
		return 6
	}
	return 0
}

// fleet prepares the workers, each with a data folder and a way to Redis of its own.
func (c *chaos) fleet(n int) {
	for i := range n {
		w := *c.w
		w.data = filepath.Join(c.w.dir, fmt.Sprintf("worker%d", i+1))
		g := newGate(c.t, c.redisServer.Socket())
		m := &member{run: c, name: fmt.Sprintf("worker%d", i+1), gate: g, cli: cli{w: &w, config: c.config, redis: g.url()}}
		c.members = append(c.members, m)
	}
	c.t.Cleanup(func() {
		for _, m := range c.members {
			if m.proc != nil {
				m.proc.kill()
			}
		}
	})
}

// stopAll tells all workers to stop and waits until they have.
func (c *chaos) stopAll() {
	eventually(c.t, time.Minute, "all workers to have started", func() bool {
		return !slices.ContainsFunc(c.members, func(m *member) bool { return m.up() && !m.begun() })
	})
	for _, m := range c.members {
		if m.up() {
			m.told = time.Now()
			_ = m.proc.cmd.Process.Signal(syscall.SIGTERM) // fails only where it has ended
		}
	}
	eventually(c.t, stopGrace, "all workers to stop", func() bool {
		running := false
		for _, m := range c.members {
			running = running || m.proc != nil && m.proc.running()
		}
		return !running
	})
	for _, m := range c.members {
		if m.proc != nil && m.proc.cmd.ProcessState.ExitCode() != 0 {
			c.t.Errorf("%s ended as %s at the end, want status 0", m.name, m.proc.cmd.ProcessState)
		}
	}
}

// spans are times that something took.
type spans []time.Duration

func (s *spans) add(d time.Duration) { *s = append(*s, d) }

func (s spans) String() string {
	if len(s) == 0 {
		return "none"
	}
	var sum, most time.Duration
	for _, d := range s {
		sum, most = sum+d, max(most, d)
	}
	return fmt.Sprintf("%d, mean %s, longest %s", len(s), (sum / time.Duration(len(s))).Round(10*time.Millisecond), most.Round(10*time.Millisecond))
}
