package containers

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// jobText is what `jobs show ID --json` says, as far as these tests ask.
type jobText struct {
	State string `json:"state"`
	Error string `json:"error"`
	Files struct {
		Found, Copied, Skipped, Deleted, Failed int
	} `json:"files"`
}

// project is the tree's docker-compose.yml in a folder of its own, with the clouds played in this process.
type project struct {
	t    testing.TB
	d    *daemon
	dir  string
	play *cloudtest.World
	sums map[string]string // content of each file that was put to iCloud, by path
}

// newProject copies the compose file and what it mounts, all but the secret.
func newProject(t testing.TB, d *daemon) *project {
	t.Helper()
	latency := cloudtest.Latency{List: 50 * time.Millisecond, Meta: 20 * time.Millisecond, FirstByte: 20 * time.Millisecond,
		Delete: 40 * time.Millisecond, Upload: 30 * time.Millisecond, Commit: 60 * time.Millisecond}
	play, err := cloudtest.Start(cloudtest.Options{Latency: latency, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := play.Close(); err != nil {
			t.Errorf("end the played clouds: %v", err)
		}
	})
	p := &project{t: t, d: d, dir: t.TempDir(), play: play, sums: map[string]string{}}
	t.Cleanup(func() { // a failed test leaves them, and a daemon whose folder is kept would start them again
		call(context.Background(), time.Minute, func(ctx context.Context) *exec.Cmd { return p.command(ctx, "down", "--volumes", "--timeout", "1") })
	})
	for _, name := range []string{"docker-compose.yml", "configs/containers.yaml", "configs/redis.conf"} {
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		p.write(name, text, 0o644)
	}
	authority, err := os.ReadFile(play.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	p.write("played/ca.pem", authority, 0o644)
	p.write("played/rclone.conf", []byte(play.RcloneConf()), 0o644)
	proxy := d.relay(strings.TrimPrefix(play.ProxyURL(), "http://"))
	p.write("played.yml", fmt.Appendf(nil, `# What the test needs beyond docker-compose.yml: the way to the played clouds, and work for each of three workers.
services:
  worker:
    extra_hosts: ["host.docker.internal:host-gateway"]
    environment:
      RCLONE_HTTP_PROXY: http://host.docker.internal:%s
      RCLONE_CA_CERT: /played/ca.pem
      OFFLOAD_WORKER_BATCHES: "4"
    volumes:
      - {type: bind, source: ./played, target: /played, read_only: true, bind: {create_host_path: false}}
`, proxy), 0o644)
	return p
}

func (p *project) write(name string, text []byte, mode os.FileMode) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, mode); err != nil {
		p.t.Fatal(err)
	}
}

// tryCompose runs docker compose in the project.
func (p *project) tryCompose(args ...string) (stdout, stderr string, status int) {
	return call(p.t.Context(), 5*time.Minute, func(ctx context.Context) *exec.Cmd { return p.command(ctx, args...) })
}

// command prepares a call of docker compose in the project.
func (p *project) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := p.d.command(ctx, append([]string{"compose", "--progress", "quiet"}, args...)...)
	cmd.Dir, cmd.Env = p.dir, append(cmd.Env, "COMPOSE_FILE=docker-compose.yml:played.yml")
	return cmd
}

// compose demands success and returns the standard output.
func (p *project) compose(args ...string) string {
	p.t.Helper()
	out, msg, status := p.tryCompose(args...)
	if status != 0 {
		p.t.Fatalf("docker compose %s: status %d\n%s\n%s\nlogs:\n%s", strings.Join(args, " "), status, out, msg, p.logs())
	}
	return out
}

// logs are the last words of all containers.
func (p *project) logs() string {
	out, msg, _ := p.tryCompose("logs", "--no-color", "--tail", "15")
	return out + msg
}

// offload runs a command of the program in one of the workers' containers.
func (p *project) offload(args ...string) string {
	p.t.Helper()
	return p.compose(append([]string{"exec", "-T", "worker", "offload"}, args...)...)
}

// show returns the job as the program tells it.
func (p *project) show(id string) (j jobText) {
	p.t.Helper()
	text := p.offload("jobs", "show", id, "--json")
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		p.t.Fatalf("%v in %s", err, text)
	}
	return j
}

// tryShow is show where the program may not reach its store.
func (p *project) tryShow(id string) (j jobText, ok bool) {
	p.t.Helper()
	out, _, status := p.tryCompose("exec", "-T", "worker", "offload", "jobs", "show", id, "--json")
	return j, status == 0 && json.Unmarshal([]byte(out), &j) == nil
}

// redis runs a command in the store.
func (p *project) redis(args ...string) string {
	p.t.Helper()
	return p.compose(append([]string{"exec", "-T", "redis", "redis-cli", "-e"}, args...)...)
}

// containers are the IDs of a service's containers, those that have ended included.
func (p *project) containers(service string) []string {
	p.t.Helper()
	return strings.Fields(p.compose("ps", "--all", "--quiet", service))
}

// put fills iCloud with so many files of the given size.
func (p *project) put(folder string, files, size int) {
	drive := p.play.ICloud.Default()
	for i := range files {
		path := fmt.Sprintf("%s/%02d/file %03d.bin", folder, i%10, i)
		drive.PutGenerated(path, int64(size+i), uint64(len(p.sums)+1))
		content, _ := drive.Get(path)
		p.sums[path] = string(content)
	}
}

// moved demands that all files of the folder are gone from iCloud and at Dropbox once, byte for byte.
func (p *project) moved(folder string) {
	p.t.Helper()
	arrived := map[string]string{}
	var paths []string
	p.play.Dropbox.Walk(func(f cloudtest.DropboxFile) {
		if !f.Folder && !strings.Contains(f.Path, "/.offload/") { // the jobs' own
			paths = append(paths, f.Path)
		}
	})
	for _, path := range paths {
		content, _ := p.play.Dropbox.Get(path)
		arrived[path] = string(content)
	}
	want := 0
	for path, content := range p.sums {
		if !strings.HasPrefix(path, folder+"/") {
			continue
		}
		want++
		name := "/Backup/" + path
		if got, there := arrived[name]; !there || got != content {
			p.t.Errorf("%s: at Dropbox %t, the same %t", name, there, got == content)
		}
		delete(arrived, name)
		if _, still := p.play.ICloud.Default().Lookup(path); still {
			p.t.Errorf("%s is still at iCloud", path)
		}
	}
	for name := range arrived {
		if strings.HasPrefix(name, "/Backup/"+folder+"/") {
			p.t.Errorf("%s is at Dropbox, and nobody put it to iCloud", name)
		}
	}
	if want == 0 {
		p.t.Errorf("nothing was put into %s", folder)
	}
}
