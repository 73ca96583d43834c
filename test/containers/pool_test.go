package containers

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// image is what docker-compose.yml calls the program's image.
const image = "offload:local"

// TestPoolInContainers builds the image, brings up the compose file, and makes happen to its containers what happens to
// containers. The steps build on each other, so the first that fails is the last.
func TestPoolInContainers(t *testing.T) {
	if os.Getenv("OFFLOAD_CONTAINERS") == "" {
		t.Skip("takes minutes and a Docker daemon: run `make containers`, or set OFFLOAD_CONTAINERS=1")
	}
	d := startDaemon(t)
	d.load(redisStandIn(t))
	compiler := goStandIn(t)
	d.load(compiler)
	_, msg, status := call(t.Context(), time.Minute, func(ctx context.Context) *exec.Cmd {
		return d.command(ctx, "run", "--rm", compiler.name, "go", "version")
	})
	if status != 0 {
		cantRun(t, "a container doesn't start: "+msg)
	}
	d.build(image, "1.2.3", d.serveModules())
	p := newProject(t, d)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"the image is small, plain and without rights", func(t *testing.T) { imageIsAsPromised(t, d, image, "1.2.3") }},
		{"a missing secret is told", p.missingSecretIsTold},
		{"one command brings all up, shut off as promised", p.comesUp},
		{"a worker and Redis are killed in the middle of a job", p.survivesKills},
		{"a newer version takes over without a stop", p.isUpdated},
		{"all goes down in time and comes back", p.goesDownAndComesBack},
		{"a backup of Redis brings back all", p.isRestored},
		{"nothing is left", p.leavesNothing},
	} {
		p.t = t
		if !t.Run(step.name, func(t *testing.T) {
			began := time.Now()
			p.t, d.t = t, t
			step.run(t)
			t.Logf("took %s", time.Since(began).Round(100*time.Millisecond))
		}) {
			p.t = t
			t.Fatalf("last words of the containers:\n%s", p.logs())
		}
	}
}

func (p *project) missingSecretIsTold(t *testing.T) {
	_, msg, status := p.tryCompose("up", "--detach", "--no-build")
	if status == 0 || !strings.Contains(msg, "secrets/") {
		t.Errorf("without the secrets: status %d, %s", status, msg)
	}
	p.compose("down", "--volumes")
}

// comesUp makes the secrets as docker-compose.yml says, and starts everything.
func (p *project) comesUp(t *testing.T) {
	make := exec.CommandContext(t.Context(), "make", "--no-print-directory", "-f", filepath.Join(root(t), "Makefile"), "secrets/config_pass", "secrets/dashboard_token")
	make.Dir = p.dir
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make the secrets: %v\n%s", err, out)
	}
	for name, want := range map[string]os.FileMode{"secrets": os.ModeDir | 0o700, "secrets/config_pass": 0o644, "secrets/dashboard_token": 0o644} {
		if info, err := os.Stat(filepath.Join(p.dir, name)); err != nil || info.Mode() != want {
			t.Fatalf("%s: %v, %v", name, info, err)
		}
	}
	p.compose("up", "--detach", "--no-build", "--wait")
	for _, service := range []string{"redis", "worker", "dashboard"} {
		p.isShutOff(t, p.containers(service)[0])
	}
	p.dashboardAnswers(t)
	settings := strings.Fields(p.redis("config", "get", "append*", "maxmemory-policy", "save"))
	for _, want := range [][]string{{"appendonly", "yes"}, {"appendfsync", "everysec"}, {"maxmemory-policy", "noeviction"}} {
		if i := slices.Index(settings, want[0]); i < 0 || settings[i+1] != want[1] {
			t.Errorf("Redis runs with %q, want %q", settings, want)
		}
	}
	// The remotes are sealed with the secret, and seen by every container of the store.
	p.offload("remotes", "import", "/played/rclone.conf")
	if out := p.compose("run", "--rm", "-T", "worker", "offload", "remotes", "list"); !strings.Contains(out, "icloud") || !strings.Contains(out, "dropbox") {
		t.Errorf("remotes: %s", out)
	}
	seen := p.d.docker(slices.Concat([]string{"inspect"}, p.containers("worker"), p.containers("dashboard"), []string{image})...) + p.logs()
	for _, name := range []string{"config_pass", "dashboard_token"} {
		secret, err := os.ReadFile(filepath.Join(p.dir, "secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(seen, strings.TrimSpace(string(secret))) {
			t.Errorf("the secret %s is seen from outside of the file", name)
		}
	}
}

// dashboardAnswers asks the dashboard within its container whether it is alive.
func (p *project) dashboardAnswers(t *testing.T) {
	t.Helper()
	if out := p.compose("exec", "-T", "dashboard", "offload", "health", "--dashboard"); !strings.Contains(out, "is alive") {
		t.Errorf("the dashboard says of itself %q", out)
	}
	if out, msg, status := p.tryCompose("exec", "-T", "worker", "offload", "health", "--dashboard"); status == 0 {
		t.Errorf("there is a dashboard in a worker's container: %s%s", out, msg)
	}
}

// isShutOff demands of a container what docker-compose.yml claims.
func (p *project) isShutOff(t *testing.T, id string) {
	t.Helper()
	var c []struct {
		Name  string
		State struct {
			Health struct{ Status string }
		}
		Config     struct{ User string }
		HostConfig struct {
			ReadonlyRootfs, Privileged bool
			CapDrop, SecurityOpt       []string
			Memory, NanoCpus           int64
			PidsLimit                  int64
			RestartPolicy              struct{ Name string }
			PortBindings               map[string][]struct {
				HostIP string `json:"HostIp"`
			}
		}
		NetworkSettings struct{ Ports map[string][]any }
	}
	if err := json.Unmarshal([]byte(p.d.docker("inspect", id)), &c); err != nil {
		t.Fatal(err)
	}
	h := c[0].HostConfig
	if c[0].State.Health.Status != "healthy" || c[0].Config.User == "" || c[0].Config.User == "root" {
		t.Errorf("%s: %+v", c[0].Name, c[0])
	}
	if !h.ReadonlyRootfs || h.Privileged || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Contains(h.SecurityOpt, "no-new-privileges") {
		t.Errorf("%s may do too much: %+v", c[0].Name, h)
	}
	if h.Memory == 0 || h.NanoCpus == 0 || h.PidsLimit == 0 || h.RestartPolicy.Name != "unless-stopped" {
		t.Errorf("%s has no limits: %+v", c[0].Name, h)
	}
	if strings.Contains(c[0].Name, "-dashboard-") { // the one that is published, to this machine only
		if at := h.PortBindings["7317/tcp"]; len(h.PortBindings) != 1 || len(at) != 1 || at[0].HostIP != "127.0.0.1" {
			t.Errorf("%s publishes %v", c[0].Name, h.PortBindings)
		}
		return
	}
	for port, outside := range c[0].NetworkSettings.Ports {
		if len(outside) > 0 {
			t.Errorf("%s publishes port %s", c[0].Name, port)
		}
	}
	if len(h.PortBindings) > 0 {
		t.Errorf("%s publishes %v", c[0].Name, h.PortBindings)
	}
}

// enqueue accepts a job that moves the folder, too slowly to end before `hurry`.
func (p *project) enqueue(folder, rate string) string {
	p.t.Helper()
	return p.offload("enqueue", "icloud:"+folder, "dropbox:Backup/"+folder, "--delete-source", "verified", "--bwlimit", rate)
}

// running waits until so many files have arrived while the job goes on.
func (p *project) running(id string, files int) {
	p.t.Helper()
	eventually(p.t, 4*time.Minute, "files arrive", func() bool { return p.play.Dropbox.Len() >= files })
	if j := p.show(id); j.State != "transferring" && j.State != "scanning" {
		p.t.Fatalf("the job is %+v: this is no longer its middle", j)
	}
}

// hurry lets the job go as fast as it can, and demands that it ends with every file moved.
func (p *project) hurry(id, folder string, files int) {
	p.t.Helper()
	var j jobText
	rests := func() (ok bool) { // a store that was just started again may not answer yet
		j, ok = p.tryShow(id)
		return ok && j.State != "transferring" && j.State != "scanning" && j.State != "finishing"
	}
	eventually(p.t, 2*time.Minute, "the job is let go", func() bool {
		_, _, status := p.tryCompose("exec", "-T", "worker", "offload", "jobs", "set", id, "--bwlimit", "off")
		return status == 0 || rests()
	})
	eventually(p.t, 8*time.Minute, "the job ends", rests)
	// What arrived when its worker was killed, before that was recorded, is found there by the next one: it is skipped.
	if n := j.Files; j.State != "completed" || n.Found != files || n.Copied+n.Skipped != files || n.Deleted != files || n.Failed != 0 {
		p.t.Errorf("the job ended as %+v, want %d files moved", j, files)
	}
	p.moved(folder)
}

// holders are the containers of the workers that have batches of the job in their hands.
func (p *project) holders(id string) []string {
	p.t.Helper()
	names := p.redis("hvals", "offload:{"+id+"}:holder")
	return slices.DeleteFunc(p.containers("worker"), func(c string) bool { return !strings.Contains(names, c[:12]+":") })
}

// survivesKills kills a worker that holds work, crashes another, and kills Redis, while a job runs on three workers.
func (p *project) survivesKills(t *testing.T) {
	const files = 240
	p.put("A", files, 8_000)
	p.compose("up", "--detach", "--no-build", "--wait", "--scale", "worker=3")
	id := p.enqueue("A", "10k") // three minutes for what takes one on a slow machine
	p.running(id, files/20)
	var holding []string
	eventually(t, 2*time.Minute, "several workers hold work", func() bool {
		holding = p.holders(id)
		return len(holding) > 1
	})
	p.d.docker("kill", "--signal", "KILL", holding[0])
	p.d.crash(holding[1])
	eventually(t, 2*time.Minute, "Docker starts the crashed worker again", func() bool {
		return p.d.docker("inspect", "--format", "{{.RestartCount}} {{.State.Running}}", holding[1]) == "1 true"
	})
	before := p.play.Dropbox.Len()
	p.compose("kill", "--signal", "KILL", "redis")
	p.compose("up", "--detach", "--no-build", "--wait", "--scale", "worker=3")
	if n := len(p.containers("worker")); n != 3 {
		t.Errorf("%d workers, want 3", n)
	}
	p.running(id, before+5)
	p.compose("restart", "redis")
	p.hurry(id, "A", files)
}

// isUpdated lets the workers of a newer image take over from the older ones while a job runs.
func (p *project) isUpdated(t *testing.T) {
	const files = 160
	p.put("B", files, 8_000)
	id := p.enqueue("B", "5k") // four minutes, in which containers start and stop one after the other
	p.running(id, p.play.Dropbox.Len()+5)
	// The same program under another label: another image to Docker. What differs between versions is for other tests.
	p.d.docker("tag", image, "offload:before")
	relabel := p.d.command(t.Context(), "build", "--tag", image, "--label", "org.opencontainers.image.version=1.2.4", "-")
	relabel.Stdin = strings.NewReader("FROM " + "offload:before\n")
	if out, err := relabel.CombinedOutput(); err != nil {
		t.Fatalf("make a newer image: %v\n%s", err, out)
	}
	old := p.containers("worker")
	p.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "--scale", "worker=6")
	if now := p.containers("worker"); len(now) != 6 {
		t.Fatalf("%d workers, want three of each version", len(now))
	}
	for _, c := range old {
		p.d.docker("stop", "--time", "40", c)
		if got := p.d.docker("inspect", "--format", "{{.State.ExitCode}}", c); got != "0" {
			t.Errorf("an older worker ended with status %s", got)
		}
		p.d.docker("rm", c)
	}
	for _, c := range p.containers("worker") {
		if got := p.d.docker("inspect", "--format", `{{index .Config.Labels "org.opencontainers.image.version"}}`, c); got != "1.2.4" {
			t.Errorf("a worker of version %s is left", got)
		}
	}
	if j := p.show(id); j.State != "transferring" {
		t.Errorf("the job is %+v: it should have gone on under the newer version", j)
	}
	p.hurry(id, "B", files)
}

// goesDownAndComesBack stops everything in the middle of a job.
func (p *project) goesDownAndComesBack(t *testing.T) {
	const files = 160
	p.put("C", files, 8_000)
	id := p.enqueue("C", "10k")
	p.running(id, p.play.Dropbox.Len()+10)
	began := time.Now()
	p.compose("stop")
	took := time.Since(began)
	for _, c := range slices.Concat(p.containers("worker"), p.containers("redis"), p.containers("dashboard")) {
		if got := p.d.docker("inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", c); got != "0 false" {
			t.Errorf("%s ended with status and out of memory %s: it was killed", c[:12], got)
		}
	}
	t.Logf("all stopped in %s", took.Round(100*time.Millisecond))
	p.compose("down")
	p.compose("up", "--detach", "--no-build", "--wait", "--scale", "worker=2")
	p.hurry(id, "C", files)
}

// isRestored goes through the commands of docs/operations.md, with all that the containers kept removed in between.
func (p *project) isRestored(t *testing.T) {
	p.redis("config", "set", "auto-aof-rewrite-percentage", "0")
	// Status 1 is GNU tar's for a file that grew meanwhile, which is expected; the tar of the real image says nothing of it.
	backup, msg, status := p.tryCompose("exec", "-T", "redis", "tar", "-C", "/data", "-c", "appendonlydir")
	if status > 1 {
		t.Fatalf("back up: status %d, %s", status, msg)
	}
	p.redis("config", "set", "auto-aof-rewrite-percentage", "100")
	before := p.offload("jobs", "list", "--json")
	p.compose("down", "--volumes")
	_, msg, status = call(t.Context(), time.Minute, func(ctx context.Context) *exec.Cmd {
		cmd := p.command(ctx, "run", "--rm", "-T", "--no-deps", "redis", "tar", "-C", "/data", "-x")
		cmd.Stdin = strings.NewReader(backup)
		return cmd
	})
	if status != 0 {
		t.Fatalf("restore: status %d, %s", status, msg)
	}
	p.compose("up", "--detach", "--no-build", "--wait")
	if after := p.offload("jobs", "list", "--json"); after != before {
		t.Errorf("the jobs were\n%s\nand are\n%s", before, after)
	}
	if out := p.offload("remotes", "check", "dropbox"); out == "" {
		t.Error("the sealed remotes say nothing")
	}
}

// leavesNothing removes all.
func (p *project) leavesNothing(t *testing.T) {
	p.compose("down", "--volumes")
	for _, kind := range [][]string{{"ps", "--all", "--quiet"}, {"volume", "ls", "--quiet"}, {"network", "ls", "--quiet"}} {
		if left := p.d.docker(append(kind, "--filter", "label=com.docker.compose.project=offload")...); left != "" {
			t.Errorf("docker %s: %s", kind[0], left)
		}
	}
}
