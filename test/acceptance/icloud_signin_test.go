package acceptance

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offload/internal/cloudtest"
)

// passphrase seals the remotes where the store is Redis.
const passphrase = "planted passphrase of the store"

// withoutICloud leaves Dropbox alone in rclone.conf, so that iCloud has to be added.
func (c *clouds) withoutICloud() {
	c.w.t.Helper()
	if err := os.WriteFile(c.config, []byte("[dropbox]\n"+c.dropbox.Conf()), 0o600); err != nil {
		c.w.t.Fatal(err)
	}
}

// onRedis keeps everything in a Redis server rather than in the embedded store.
func (c *clouds) onRedis() {
	c.w.t.Helper()
	c.redis = c.w.redis()
	c.w.more = append(c.w.more, "OFFLOAD_CONFIG_PASS="+passphrase)
}

// say runs a command without a terminal, with text on its standard input, demands the exit status and returns all that
// it said.
func (c *clouds) say(status int, stdin string, args ...string) string {
	c.w.t.Helper()
	cmd := c.command(args...)
	dieWithParent(cmd)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &said, &said
	_ = cmd.Run() // the status is what is compared
	if got := cmd.ProcessState.ExitCode(); got != status {
		c.w.t.Fatalf("offload %s: exit status %d, want %d\n%s", strings.Join(args, " "), got, status, &said)
	}
	return said.String()
}

// begin begins the sign-in of `icloud`: it waits for a code then.
func (c *clouds) begin(args ...string) string {
	c.w.t.Helper()
	return c.say(4, c.account.Password()+"\n", append([]string{"remotes", "add", "icloud",
		"--apple-id", c.account.AppleID(), "--password-stdin"}, args...)...)
}

// signIn adds `icloud` from one process and ends the sign-in in another.
func (c *clouds) signIn() {
	c.w.t.Helper()
	c.begin()
	c.say(0, "", "remotes", "add", "icloud", "--code", c.account.Code())
}

// contains demands texts in what a command said.
func contains(t testing.TB, said string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("it doesn't say %q:\n%s", text, said)
		}
	}
}

// wrongCode is a code that Apple didn't send.
func wrongCode(right string) string {
	if right == "123456" {
		return "654321"
	}
	return "123456"
}

// Every command is a process of its own, so each sign-in is ended by another process than the one that began it.
func TestSignInIsEndedByAnotherProcess(t *testing.T) {
	tests := []struct {
		name string
		play func(c *clouds)
		send func(c *clouds) // has Apple send the code
		code func(c *clouds) string
	}{
		{
			name: "trusted device",
			play: func(*clouds) {},
			send: func(*clouds) {},
			code: func(c *clouds) string { return c.account.Code() },
		},
		{
			name: "trusted device on Redis",
			play: (*clouds).onRedis,
			send: func(*clouds) {},
			code: func(c *clouds) string { return c.account.Code() },
		},
		{
			name: "text message to the second of two phones",
			play: func(c *clouds) {
				c.account.SetPhones(cloudtest.Phone{ID: 3, Number: "+49 ••• ••12"}, cloudtest.Phone{ID: 5, Number: "+49 ••• ••34"})
			},
			send: func(c *clouds) {
				contains(c.w.t, c.say(4, "", "remotes", "add", "icloud", "--code", "sms"), "2: +49 ••• ••34", "--phone N")
				c.say(4, "", "remotes", "add", "icloud", "--phone", "2")
			},
			code: func(c *clouds) string { return c.account.SMSCode(5) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClouds(t, cloudtest.Options{})
			c.w.t = t
			s := newStock(c)
			s.fill("Documents", 12, 2)
			c.withoutICloud()
			tt.play(c)

			contains(t, c.begin(), "`offload remotes add icloud --code CODE`")
			tt.send(c)
			right := tt.code(c)
			if right == "" {
				t.Fatal("Apple sent no code")
			}
			contains(t, c.say(2, "", "remotes", "add", "icloud", "--code", wrongCode(right)), "isn't the code", "--code CODE")
			contains(t, c.say(0, "", "remotes", "add", "icloud", "--code", right), "icloud: added, trusted for 30 days")
			if n := c.account.SignIns(); n != 1 {
				t.Errorf("Apple saw %d sign-ins, want one: each more brings the account nearer to its lock", n)
			}
			contains(t, c.say(0, "", "remotes", "list"), "icloud", "signed in for 30 more days")
			contains(t, c.say(0, "", "remotes", "check", "icloud"), "answers")
			c.say(0, "", "run", "icloud:", "dropbox:Backup", "--delete-source", "verified")
			s.moved(t)
			if n := c.account.SignIns(); n != 1 {
				t.Errorf("the job signed in %d times more, want none", n-1)
			}
		})
	}
}

// expire ends sessions and trust once so many files were asked for: only a person can sign in again.
func (c *clouds) expire(after int) *cloudtest.Hits {
	return c.play.Fault(cloudtest.Fault{Endpoint: "icloud:download_by_id", After: after, Times: 1, Kind: cloudtest.Do, Hook: c.expireNow})
}

func (c *clouds) expireNow(*http.Request) {
	c.account.ExpireTrust()
	c.account.ExpireSessions()
}

// atMostTwo demands that Apple was hardly bothered since there were so many sign-ins.
func (c *clouds) atMostTwo(before int) {
	c.w.t.Helper()
	if n := c.account.SignIns() - before; n < 1 || n > 2 {
		c.w.t.Errorf("Apple saw %d sign-ins while the job waited, want one or two", n)
	}
}

func TestRunParksTheJobUntilSomebodySignsIn(t *testing.T) {
	t.Parallel()
	c := newClouds(t, cloudtest.Options{})
	s := newStock(c)
	s.fill("Documents", 80, 8)
	c.withoutICloud()
	c.signIn()
	hit, before := c.expire(20), c.account.SignIns()
	order := []string{"run", "icloud:", "dropbox:Backup", "--delete-source", "verified"}

	said := c.say(4, "", order...)
	if hit.Count() != 1 {
		t.Fatal("the sign-in didn't expire")
	}
	contains(t, said, "waiting for a sign-in", "offload remotes reconnect icloud")
	j := c.only()
	if j.State != "waiting" || j.Reason != "sign_in" || j.Files.Failed != 0 || j.Files.Copied >= 80 {
		t.Errorf("the job is %+v, want it to wait for a sign-in with a part of its files copied at most and none failed", j)
	}
	contains(t, c.say(0, "", "jobs", "show", j.ID), "offload remotes reconnect icloud")
	s.nothingLost(t)
	// As long as nobody has signed in, going on ends the same way, and Apple isn't asked for each attempt.
	contains(t, c.say(4, "", order...), "offload remotes reconnect icloud")
	c.atMostTwo(before)

	contains(t, c.say(4, "", "remotes", "reconnect", "icloud"), "--code CODE")
	c.say(2, "", "remotes", "reconnect", "icloud", "--code", wrongCode(c.account.Code()))
	contains(t, c.say(0, "", "remotes", "reconnect", "icloud", "--code", c.account.Code()), "signed in again, trusted for 30 days")
	contains(t, c.say(0, "", order...), "going on with job "+j.ID)
	if last := c.only(); last.State != "completed" || last.Files.Failed != 0 || last.Files.Copied != 80 || last.Files.Deleted != 80 {
		t.Errorf("the job is %+v, want it completed with all files moved", last)
	}
	s.moved(t)
}

// redisCLI asks the test's Redis server.
func (c *clouds) redisCLI(args ...string) string {
	c.w.t.Helper()
	cmd := exec.Command(tool(c.w.t, "redis-cli", "OFFLOAD_TEST_REDIS_CLI"), append([]string{"-s", strings.TrimPrefix(c.redis, "unix://")}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		c.w.t.Fatalf("redis-cli %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// attempts is what the store remembers of trying: how often each unit of a job was claimed, and what the queue keeps of
// tasks that failed.
func (c *clouds) attempts(id string) (claims, failed string) {
	c.w.t.Helper()
	if claims = c.redisCLI("hgetall", "offload:{"+id+"}:att"); claims == "" {
		c.w.t.Fatalf("the store holds no attempts of job %s", id)
	}
	for _, pattern := range []string{"asynq:{*}:failed*", "asynq:{*}:retry", "asynq:{*}:archived"} {
		failed += c.redisCLI("keys", pattern)
	}
	return claims, failed
}

// settled waits until every worker has let go of the job's units.
func (c *clouds) settled(id string) {
	c.w.t.Helper()
	eventually(c.w.t, 30*time.Second, "the workers to let go of the job", func() bool {
		return c.redisCLI("zcard", "offload:{"+id+"}:lease") == "0"
	})
}

func TestReconnectWakesTheWorkersJob(t *testing.T) {
	for _, store := range []string{"embedded", "redis"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c := newClouds(t, cloudtest.Options{})
			s := newStock(c)
			s.fill("Documents", 80, 8)
			c.withoutICloud()
			if store == "redis" {
				c.onRedis()
			}
			c.signIn()
			hit, before := c.expire(20), c.account.SignIns()
			workers := []*process{c.start("worker")}
			if store == "redis" { // two of them, with folders of their own, as on two machines
				other := *c.w
				other.data = filepath.Join(c.w.dir, "data of another machine")
				elsewhere := c.cli
				elsewhere.w = &other
				workers = append(workers, elsewhere.start("worker"))
			}
			id := strings.TrimSpace(c.run(0, "enqueue", "icloud:", "dropbox:Backup", "--delete-source", "verified"))
			j := c.await(id, "the job to wait for a sign-in", limit(), func(j job) bool { return j.State == "waiting" || j.ended() })
			if j.Reason != "sign_in" || hit.Count() != 1 || j.Files.Failed != 0 {
				t.Fatalf("the job is %+v, want it to wait for a sign-in, and no file failed", j)
			}
			contains(t, c.say(0, "", "jobs", "show", id), "offload remotes reconnect icloud")
			s.nothingLost(t)
			claims := ""
			if store == "redis" {
				c.settled(id)
				claims, _ = c.attempts(id)
			}
			requests := -1
			eventually(t, 30*time.Second, "the workers' last calls to end", func() bool {
				last := requests
				c.show(id) // takes as long as a process does
				requests = c.play.Calls("icloud:*")
				return requests == last
			})
			for range 10 { // each of these is a process; a worker that tried again would be seen
				if j := c.show(id); j.State != "waiting" {
					t.Fatalf("the job is %+v before anybody signed in", j)
				}
			}
			c.atMostTwo(before)
			if more := c.play.Calls("icloud:*") - requests; more > 0 {
				t.Errorf("iCloud was called %d times while the job waited", more)
			}

			c.say(4, "", "remotes", "reconnect", "icloud")
			if store == "redis" {
				now, failed := c.attempts(id)
				if now != claims || failed != "" {
					t.Errorf("the wait used up attempts: %q is %q now, failures %q", claims, now, failed)
				}
			}
			contains(t, c.say(0, "", "remotes", "reconnect", "icloud", "--code", c.account.Code()), "1 job woken")
			last := c.await(id, "the job to end", limit(), job.ended)
			if last.State != "completed" || last.Files.Failed != 0 || last.Files.Copied != 80 || last.Files.Deleted != 80 {
				t.Errorf("the job is %+v, want it completed with all files moved", last)
			}
			s.moved(t)
			if store == "redis" {
				if _, failed := c.attempts(id); failed != "" {
					t.Errorf("the queue counts failures: %q", failed)
				}
			}
			for _, p := range workers {
				p.interrupt(t)
				p.status(t, 30*time.Second)
				if strings.Contains(p.out.String(), "a unit of work failed") {
					t.Error("a worker counted the refused sign-in as a failure")
				}
			}
		})
	}
}
