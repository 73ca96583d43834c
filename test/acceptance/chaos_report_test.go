package acceptance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mostWasted is how many bytes may be downloaded for each byte of the tree.
const mostWasted = 1.15

// mostMemory is what a worker may take at its peak. It is far above what it takes, and far below the size of the tree.
const mostMemory = 1 << 30

// conclude demands what a chaos run is for, and prints what was measured.
func (c *chaos) conclude(left []string) {
	t := c.t
	for _, path := range c.books.lost() {
		t.Errorf("lost: %q is neither at Dropbox nor alive at iCloud", path)
	}
	c.books.auditDeletions(t)
	stray, probes := c.books.stray()
	if len(stray) > 0 {
		t.Errorf("%d files are at Dropbox that nobody put into iCloud: %q", len(stray), stray[:min(5, len(stray))])
	}
	served, used := c.auditQuota()
	tree := int64(0)
	for _, j := range c.jobs {
		tree += j.bytes
	}
	if got := ratio(served, tree); got > c.mayServe() {
		t.Errorf("%d bytes were served for a tree of %d: %.3f times, want at most %.2f", served, tree, got, c.mayServe())
	}
	for _, d := range c.deeds {
		if d.hits == 0 && c.length >= fullChaos {
			t.Errorf("never struck: %s", d.name)
		}
	}
	for name, h := range c.cloud {
		if h.Count() == 0 {
			t.Errorf("never struck: %s", name)
		}
	}
	said := c.logs()
	for _, m := range c.members {
		if m.peak > mostMemory {
			t.Errorf("%s took %d MiB of memory", m.name, m.peak>>20)
		}
	}
	c.noneLeft()
	t.Log("\n" + c.table(tree, served, used, probes, said, left))
}

// mayServe is how many bytes may be served for each byte of the tree. Each fault that breaks into downloads loses what is
// under way then, whatever the size of the tree is: in a short run the same few files weigh more.
func (c *chaos) mayServe() float64 {
	if c.length >= fullChaos {
		return mostWasted
	}
	return 1.3
}

// telling are things that the workers' logs are searched for, besides those that may not be in them at all.
func telling() map[string]*regexp.Regexp {
	return map[string]*regexp.Regexp{
		"leases lost to another worker": regexp.MustCompile(`lost a unit to another worker`),
		"leases that ran out unheard":   regexp.MustCompile(`lease ran out, the store didn't answer`),
		"stops that took too long":      regexp.MustCompile(`stopping takes too long`),
		"units that failed":             regexp.MustCompile(`a unit of work failed`),
		"quarantines":                   regexp.MustCompile(`(?i)quarantine`),
		"lines of level ERROR":          regexp.MustCompile(`level=ERROR`),
	}
}

// logs demands that no worker panicked or raced, and counts what is telling.
func (c *chaos) logs() map[string]int {
	said := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(c.dir, "worker*.log")) // the pattern is right
	bad := regexp.MustCompile(`panic|DATA RACE|fatal error`)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			c.t.Error(err)
		}
		if at := bad.FindIndex(raw); at != nil {
			c.t.Errorf("%s: %s", filepath.Base(file), raw[at[0]:min(at[0]+2000, len(raw))])
		}
		for what, pattern := range telling() {
			said[what] += len(pattern.FindAllIndex(raw, -1))
		}
	}
	if len(files) < chaosWorkers {
		c.t.Errorf("%d workers left a log, want %d at least", len(files), chaosWorkers)
	}
	return said
}

// lasting are keys that outlive the jobs.
func lasting() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`^offload:(limits|accounts|maintenance|workers)$`),
		regexp.MustCompile(`^offload:jobs:(accounts|indexed)$`),
		regexp.MustCompile(`^\{offload:workers\}:(info|drain)$`),
		regexp.MustCompile(`^offload:\{q:[^}]*\}:`),
		regexp.MustCompile(`^offload:fleet:`),
		regexp.MustCompile(`^offload:\{totals\}:`),      // what all processes have done
		regexp.MustCompile(`^offload:\{fair:[a-z]+\}:`), // whose turn it was; a job leaves with the next turn that comes to nothing
		regexp.MustCompile(`^offload:manifests($|:)`),
		regexp.MustCompile(`^offload:\{[0-9A-Z]{26}\}:(manifest$|ml:|mn:)`), // what `offload where` and `restore` go by
		regexp.MustCompile(`^\{offload:schedules\}:lead$`),
		regexp.MustCompile(`^asynq:(queues|servers|workers|cancel)($|:\{)`),
		regexp.MustCompile(`^asynq:\{[a-z]+(-v[0-9]+)?\}:(processed|failed)`),
	}
}

// removeAll removes the jobs from the store while the workers still run, and returns the keys that are there then and
// weren't before. Those that don't last on purpose are errors.
func (c *chaos) removeAll(before []string) (left []string) {
	for _, j := range c.jobs {
		c.run(0, "jobs", "remove", j.id)
	}
	// Tasks that dead workers had taken, and those whose end Redis didn't hear of, stay until the queue takes them back: it
	// looks each minute for those whose lease has ended a while ago.
	if c.length >= fullChaos {
		eventually(c.t, 4*time.Minute, "the queue to take back the tasks of dead workers", func() bool {
			c.step()
			return !slices.ContainsFunc(c.keys(), taskKey().MatchString)
		})
	}
	// A task that changes hands at this moment is neither here nor there: what is left stays left.
	var stray []string
	for end := time.Now().Add(30 * time.Second); ; c.step() {
		if left, stray = c.leftover(before); len(stray) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, key := range stray {
		c.t.Errorf("left in the store after all jobs were removed: %q", key)
	}
	return left
}

// leftover are the keys that weren't there before, and those of them that neither last on purpose nor go by themselves.
func (c *chaos) leftover(before []string) (left, stray []string) {
	for _, key := range c.keys() {
		if slices.Contains(before, key) {
			continue
		}
		left = append(left, key)
		fits := func(p *regexp.Regexp) bool { return p.MatchString(key) }
		if !slices.ContainsFunc(lasting(), fits) && !c.takenBack(key) {
			stray = append(stray, key)
		}
	}
	return left, stray
}

// taskKey finds the keys of the queue that stand for tasks under way.
func taskKey() *regexp.Regexp {
	return regexp.MustCompile(`^asynq:\{([a-z]+)\}:(t:(.*)|active|lease|retry)$`)
}

// takenBack tells whether the queue will come back to a task by itself: it is to be tried again, or has a lease that ends.
func (c *chaos) takenBack(key string) bool {
	m := taskKey().FindStringSubmatch(key)
	if m == nil || m[3] == "" {
		return m != nil
	}
	known := func(set string) bool {
		at, err := c.store.text("ZSCORE", "asynq:{"+m[1]+"}:"+set, m[3])
		return err == nil && at != ""
	}
	return known("lease") || known("retry")
}

// noneLeft demands that no process of the run is left.
func (c *chaos) noneLeft() {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil && strings.Contains(string(raw), c.w.dir) {
			c.t.Errorf("left running: %q", strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
}

// table is what was done and measured.
func (c *chaos) table(tree, served, used int64, probes int, said map[string]int, left []string) string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-36s %s\n", what, fmt.Sprintf(format, args...))
	}
	b.WriteString(c.told + "\n")
	for _, d := range c.deeds {
		line(d.name, "%d, seen to strike %d", d.begun, d.hits)
	}
	for _, name := range slices.Sorted(maps.Keys(c.cloud)) {
		line(name, "%d", c.cloud[name].Count())
	}
	line("calls refused as too many at once", "%d by iCloud", c.play.ICloud.Refused())
	for _, j := range c.jobs {
		line("job "+j.name, "%d files, %d MB, %s", len(j.files), j.bytes/1e6, j.took.Round(time.Second))
	}
	line("served / tree", "%d / %d = %.3f", served, tree, ratio(served, tree))
	line("booked / served", "%d / %d = %.3f", used, served, ratio(used, served))
	for _, account := range slices.Sorted(maps.Keys(c.allowances)) {
		w := c.allowances[account]
		line("quota of "+account, "at most %d of %d in %d looks", w.most, w.limit, w.looks)
	}
	line("downloads", "%s", c.books.soFar())
	line("deletions asked for", "%d, of them %d of what was deleted before", c.books.asked, c.books.late)
	for _, what := range slices.Sorted(maps.Keys(said)) {
		line(what, "%d", said[what])
	}
	line("workers that ended by themselves", "%d", c.alone)
	line("graceful stops", "%s", c.stops)
	var lives, peak []string
	for _, m := range c.members {
		lives, peak = append(lives, fmt.Sprint(m.lives)), append(peak, fmt.Sprint(m.peak>>20))
	}
	line("lives of the workers", "%s (process IDs of their own: %t)", strings.Join(lives, ", "), c.apart)
	line("memory at most, MiB", "%s", strings.Join(peak, ", "))
	line("probes left at Dropbox", "%d", probes)
	line("keys left in the store", "%d", len(left))
	line("faults / calm", "%s / %s", c.calm.Sub(c.began).Round(time.Second), time.Since(c.calm).Round(time.Second))
	return b.String()
}
