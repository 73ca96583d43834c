package acceptance

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"offload/internal/cloudtest"
)

// clouds is iCloud and Dropbox played at the HTTP level in this process, and the real program on them as a child:
// `icloud:` and `dropbox:`, both signed in. The store is embedded unless redis names one.
type clouds struct {
	cli
	play    *cloudtest.World
	account *cloudtest.Account // anna's
	dropbox *cloudtest.Dropbox
}

// hiding is held while the first configuration is written: rclone makes the cipher that it hides passwords with at its
// first use, without a lock.
var hiding sync.Mutex

// newClouds starts the clouds. They end with the test.
func newClouds(t testing.TB, opt cloudtest.Options) *clouds {
	t.Helper()
	offloadBinary(t)
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
	w := &world{t: t, dir: dir, data: filepath.Join(dir, "data"), more: play.Environ()}
	c := &clouds{cli: cli{w: w, config: filepath.Join(dir, "rclone.conf")}, play: play, account: play.ICloud.Default(), dropbox: play.Dropbox}
	hiding.Lock()
	defer hiding.Unlock()
	if err := play.WriteRcloneConf(c.config); err != nil {
		t.Fatal(err)
	}
	return c
}

// rclone prepares a call of the pinned rclone on the same clouds, with a copy of the configuration.
func (c *clouds) rclone(args ...string) *exec.Cmd {
	c.w.t.Helper()
	conf := filepath.Join(c.w.dir, "rclone-own.conf")
	if err := copyFile(c.config, conf); err != nil {
		c.w.t.Fatal(err)
	}
	cmd := exec.Command(tool(c.w.t, "rclone", "OFFLOAD_TEST_RCLONE"), append(args, "--config", conf)...)
	cmd.Env, cmd.Dir = c.w.env(), c.w.dir
	dieWithParent(cmd)
	return cmd
}
