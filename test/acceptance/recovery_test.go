package acceptance

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// recoveryBound is how long after a kill a dead worker's files may lie still.
const recoveryBound = 45 * time.Second

// A worker that holds all batches and the lead of maintenance is killed. The other one, to whom it is a process of another
// machine, so that only the ends of leases tell, moves the dead one's files within the bound.
func TestAKilledWorkersFilesMoveAgainWithin45Seconds(t *testing.T) {
	for _, where := range []string{"same machine", "another machine"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			c := newClouds(t, cloudtest.Options{})
			const files = 48
			for i := range files {
				c.account.Put(fmt.Sprintf("Folder/File %02d.bin", i), []byte(strings.Repeat("x", 1000+i)), noted())
			}
			c.onRedis()
			hang := c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Hang})
			start := c.start
			if where == "another machine" {
				start = c.startElsewhere
			}
			victim := start("worker", "--batches", "8", "--transfers", "4")
			eventually(t, time.Minute, "the first worker to lead", func() bool { return c.redisCLI("exists", "offload:maintenance") == "1" })
			id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
			eventually(t, time.Minute, "the first worker to be amid the files of all batches", func() bool {
				held := c.redisCLI("hlen", "offload:{"+id+"}:holder")
				return hang.Count() >= 4 && held != "0" && held == c.redisCLI("hget", "offload:{"+id+"}:job", "open")
			})
			survivor := c.another(1).start("worker")
			eventually(t, time.Minute, "the second worker to start", func() bool { return strings.Contains(survivor.out.String(), "worker started") })
			first := make(chan time.Time, 1)
			hang.Remove()
			c.play.Fault(cloudtest.Fault{Endpoint: "icloud:content", Kind: cloudtest.Do, Hook: func(*http.Request) {
				select {
				case first <- time.Now():
				default:
				}
			}})
			killed := time.Now()
			victim.kill()        // with unshare its child dies
			for len(first) > 0 { // of the victim, in its last moment
				<-first
			}
			select {
			case at := <-first:
				t.Logf("the first byte after the kill: %.1f s", at.Sub(killed).Seconds())
			case <-time.After(recoveryBound):
				t.Fatalf("nothing of the killed worker moved for %s", recoveryBound)
			}
			last := c.await(id, "the job to end", limit(), job.ended)
			t.Logf("the last file after the kill: %.1f s", time.Since(killed).Seconds())
			if took := time.Since(killed); took > recoveryBound {
				t.Errorf("the killed worker's files took %s", took)
			}
			if last.State != "completed" || last.Files.Deleted != files {
				t.Errorf("%+v", last)
			}
		})
	}
}

// startElsewhere starts a command in a PID namespace and under a host name of its own, as a container does.
func (c *clouds) startElsewhere(args ...string) *process {
	c.w.t.Helper()
	unshare := []string{"--fork", "--kill-child", "--pid", "--mount-proc", "--uts"}
	if out, err := exec.Command("unshare", append(unshare, "true")...).CombinedOutput(); err != nil {
		c.w.t.Skipf("namespaces can't be made here: %v %s", err, out)
	}
	cmd := c.command(args...)
	line := append(unshare, "sh", "-c", `hostname elsewhere && exec "$@"`, "sh")
	there := exec.Command("unshare", append(line, cmd.Args...)...)
	there.Env, there.Dir = cmd.Env, cmd.Dir
	return start(c.w.t, "offload "+strings.Join(args, " ")+" elsewhere", there)
}
