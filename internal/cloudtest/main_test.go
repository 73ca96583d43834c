package cloudtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"offload/internal/leaktest"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/config/configfile"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cloudtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("RCLONE_CONFIG", filepath.Join(dir, "rclone.conf"))
	return leaktest.Run(m,
		// rclone's own, for the life of a process: statistics, exit handlers, what signal.Notify runs.
		goleak.IgnoreTopFunction("github.com/rclone/rclone/fs/accounting.(*tokenBucket).startSignalHandler.func1"),
		goleak.IgnoreAnyFunction("github.com/rclone/rclone/lib/atexit.Register.func1.1"),
		goleak.IgnoreTopFunction("os/signal.loop"))
}

// start plays the clouds for a test.
func start(t *testing.T, opt Options) *World {
	t.Helper()
	w, err := Start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// forRclone has rclone's backends of this process meet the world, with a configuration file of the test's own.
func forRclone(t *testing.T, w *World) (conf string) {
	t.Helper()
	conf = filepath.Join(t.TempDir(), "rclone.conf")
	if err := w.WriteRcloneConf(conf); err != nil {
		t.Fatal(err)
	}
	cache := config.GetCacheDir()
	if err := config.SetConfigPath(conf); err != nil {
		t.Fatal(err)
	}
	if err := config.SetCacheDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	configfile.Install()
	restore := w.UseByRclone()
	t.Cleanup(func() {
		restore()
		_ = config.SetCacheDir(cache)
	})
	return conf
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	if !await(is) {
		t.Fatal("never came: " + what)
	}
}

// await waits until something is so, for a while. It is for hooks, in which no test may be ended.
func await(is func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}

// forRcloneSuite is forRclone for rclone's own test suite, which sets the path of the configuration anew, changes the
// global configuration, and wants to be run inside rclone's source.
func forRcloneSuite(t *testing.T, w *World) {
	t.Helper()
	t.Setenv("RCLONE_CONFIG", forRclone(t, w))
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "fstest", "testserver", "init.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	ci := fs.GetConfig(t.Context())
	before := *ci
	t.Cleanup(func() { *ci = before })
}
