package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"offload/internal/leaktest"

	"github.com/rclone/rclone/lib/atexit"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// checkedMain looks for goroutines that the tests left behind. rclone's token bucket and stats live as long as the
// process.
type checkedMain struct{ *testing.M }

func (m checkedMain) Run() int {
	return leaktest.Run(m.M, goleak.IgnoreTopFunction("github.com/rclone/rclone/fs/accounting.(*tokenBucket).startSignalHandler.func1"),
		goleak.IgnoreTopFunction("github.com/rclone/rclone/fs/accounting.(*StatsInfo).averageLoop"))
}

func TestMain(m *testing.M) {
	atexit.IgnoreSignals() // as main does
	testscript.Main(checkedMain{m}, map[string]func(){"offload": main})
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// home is a place for one test's settings, data and remotes, apart from those of the person who runs the tests.
type home struct {
	dir string
	env map[string]string
}

func newHome(t *testing.T) *home {
	dir := t.TempDir()
	conf := filepath.Join(dir, "rclone.conf")
	text := "[first]\ntype = memory\n\n[second]\ntype = memory\n\n[away]\ntype = webdav\nurl = http://127.0.0.1:1/\npass = aGlkZGVu\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return &home{dir: dir, env: map[string]string{"HOME": dir, "OFFLOAD_DATA": filepath.Join(dir, "data"), "RCLONE_CONFIG": conf}}
}

// late is what a command line writes. What a call was left to itself with, since its answer took too long, may write on after
// the end.
type late struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *late) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *late) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// offload runs one command line in this process.
func (h *home) offload(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errOut late
	a := &app{in: strings.NewReader(stdin), out: &out, err: &errOut, signals: make(chan os.Signal)}
	a.lookup = func(name string) (string, bool) { v, ok := h.env[name]; return v, ok }
	code := a.run(context.Background(), args)
	return result{code, out.String(), errOut.String()}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector would sleep a second at each command's end
			env.Setenv("OFFLOAD_DATA", filepath.Join(env.WorkDir, ".data"))
			env.Setenv("OFFLOAD_DASHBOARD_LISTEN", "127.0.0.1:0") // several run at once
			env.Setenv("RCLONE_CONFIG", filepath.Join(env.WorkDir, "rclone.conf"))
			return nil
		},
		Cmds:                scriptCommands(),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
	})
}
