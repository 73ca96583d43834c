package browser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/cloudtest"
	"offload/internal/redistest"
)

// house is one person's: iCloud and Dropbox played in this process, and the real program with a store and settings of its
// own.
type house struct {
	t       testing.TB
	dir     string
	play    *cloudtest.World
	account *cloudtest.Account // anna's
	dropbox *cloudtest.Dropbox
	conf    string // rclone.conf
	setup   string // offload.yaml
	redis   string // "" is the embedded store
	env     []string
	serial  uint64
}

// hiding is held while a configuration is written: rclone makes the cipher that it hides passwords with at its first use,
// without a lock.
var hiding sync.Mutex

// newHouse plays the clouds, both signed in.
func newHouse(t testing.TB, opt cloudtest.Options) *house {
	t.Helper()
	run.program(t)
	play, err := cloudtest.Start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := play.Close(); err != nil {
			t.Errorf("end the played clouds: %v", err)
		}
	})
	dir := t.TempDir()
	h := &house{t: t, dir: dir, play: play, account: play.ICloud.Default(), dropbox: play.Dropbox,
		conf: filepath.Join(dir, "rclone.conf"), setup: filepath.Join(dir, "offload.yaml"),
		env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8"}, play.Environ()...)}
	h.settings("")
	hiding.Lock()
	defer hiding.Unlock()
	if err := play.WriteRcloneConf(h.conf); err != nil {
		t.Fatal(err)
	}
	return h
}

// settings writes the text of offload.yaml.
func (h *house) settings(text string) {
	h.t.Helper()
	if err := os.WriteFile(h.setup, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// withoutICloud leaves Dropbox alone in rclone.conf, so that iCloud has to be added.
func (h *house) withoutICloud() {
	h.t.Helper()
	if err := os.WriteFile(h.conf, []byte("[dropbox]\n"+h.dropbox.Conf()), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// onRedis keeps everything in a Redis server rather than in the embedded store.
func (h *house) onRedis() {
	h.t.Helper()
	h.redis = redistest.URL(h.t)
	h.env = append(h.env, "OFFLOAD_CONFIG_PASS=planted passphrase of the store")
}

// put stores a file of so many bytes at iCloud.
func (h *house) put(path string, size int64) {
	h.serial++
	h.account.PutGenerated(path, size, h.serial)
}

// command prepares a call of the program.
func (h *house) command(args ...string) *exec.Cmd {
	args = append(args, "--rclone-config", h.conf, "--data", filepath.Join(h.dir, "data"), "--config", h.setup)
	if h.redis != "" {
		args = append(args, "--redis", h.redis)
	}
	cmd := exec.Command(run.program(h.t), args...)
	cmd.Env, cmd.Dir = h.env, h.dir
	dieWithParent(cmd)
	return cmd
}

// say runs a command with text on its standard input, demands the exit status and returns what it printed.
func (h *house) say(status int, stdin string, args ...string) string {
	h.t.Helper()
	cmd := h.command(args...)
	var out, msg bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &msg
	_ = cmd.Run() // the status is what is compared
	if got := cmd.ProcessState.ExitCode(); got != status {
		h.t.Fatalf("offload %s: exit status %d, want %d\n%s\n%s", strings.Join(args, " "), got, status, &out, &msg)
	}
	return strings.TrimSpace(out.String())
}

// serve starts `up` or `dashboard` with more arguments on a port that is free, and returns the address.
func (h *house) serve(args ...string) string {
	h.t.Helper()
	url, _ := h.serving(args...)
	return url
}

// serving is serve that returns the process, too.
func (h *house) serving(args ...string) (string, *child) {
	h.t.Helper()
	p := h.start(append(args, "--listen", "127.0.0.1:0")...)
	url := ""
	eventually(h.t, time.Minute, func() string { return "the dashboard to tell its address" }, func() bool {
		url = address.FindString(p.said())
		return url != "" || !p.running()
	})
	if url == "" {
		h.t.Fatal("the dashboard ended")
	}
	eventually(h.t, time.Minute, func() string { return "the dashboard to be ready" }, func() bool {
		res, err := http.Get(url + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	http.DefaultClient.CloseIdleConnections()
	return url, p
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:[1-9][0-9]*`)

// job is what `jobs show ID --json` says, as far as these tests ask.
type job struct {
	ID, State, Reason string
	Files             struct{ Found, Copied, Failed, Deleted int64 }
}

// job returns a job as the program tells it.
func (h *house) job(id string) (j job) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.say(0, "", "jobs", "show", id, "--json")), &j); err != nil {
		h.t.Fatal(err)
	}
	return j
}

// await polls a job until ok says true.
func (h *house) await(id, what string, ok func(job) bool) (last job) {
	h.t.Helper()
	eventually(h.t, 2*time.Minute, func() string { return fmt.Sprintf("%s; the job is %+v", what, last) }, func() bool {
		last = h.job(id)
		return ok(last)
	})
	return last
}

// child is a process that ends with the test at the latest.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu  sync.Mutex
	out bytes.Buffer
}

// Write notes what the process says.
func (c *child) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(b)
}

// said is what the process said so far.
func (c *child) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func (c *child) running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// end ends the process with SIGKILL and waits until it is gone. It may be called again.
func (c *child) end() {
	_ = c.cmd.Process.Kill() // fails only where it has ended
	<-c.ended
}

// start runs a command of the program in the background. Its output is shown when the test fails.
func (h *house) start(args ...string) *child {
	h.t.Helper()
	c := &child{cmd: h.command(args...), ended: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = c, c
	if err := c.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // the status is read from ProcessState
	}()
	h.t.Cleanup(func() {
		c.end()
		said := c.said()
		if h.t.Failed() {
			h.t.Logf("offload %s said:\n%s", strings.Join(args, " "), said[max(0, len(said)-5000):])
		}
	})
	return c
}
