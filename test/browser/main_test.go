// Package browser looks at the dashboard as a person does: Debian's Chromium, driven over its debugging pipe, on the real
// program and the played clouds. Whatever the browser complains of fails the test: an error on the console, an exception in
// a script, a breach of the Content-Security-Policy, a request that fails; axe-core looks for what people who don't see the
// page, or use no mouse, would stumble over.
//
// Chromium and axe-core come by `make browser`. Where they are missing a test is skipped by name; OFFLOAD_BROWSER=1 (which
// `make test` sets where there is a Debian) makes that a failure. OFFLOAD_SHOTS names a folder for pictures of all pages,
// and OFFLOAD_TEST_BINARY a program to look at instead of what this tree builds.
package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"offload/internal/leaktest"

	"github.com/chromedp/chromedp"
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

// run is what all tests of this process share. It is made by need, and ended by runTests.
var run shared

// shared is one browser, whose windows share nothing, and one build of the program.
type shared struct {
	browser sync.Once
	ctx     context.Context // of the browser
	stop    func()
	err     error

	build sync.Once
	bin   string
	dir   string
	fail  error

	mu   sync.Mutex
	seen map[string]bool // names of the pages that were given to axe
}

// given notes that a page was given to axe.
func (s *shared) given(page string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string]bool{}
	}
	s.seen[page] = true
}

// whole tells whether all tests of this package were to run, rather than those that -run or -skip chose.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// unseen are the pages among the templates of a folder, those that define "main", that weren't given to axe.
func unseen(folder fs.FS, seen map[string]bool) ([]string, error) {
	files, err := fs.Glob(folder, "*.html")
	var left []string
	for _, name := range files {
		text, bad := fs.ReadFile(folder, name)
		err = errors.Join(err, bad)
		if strings.Contains(string(text), `{{define "main"}}`) && !seen[strings.TrimSuffix(name, ".html")] {
			left = append(left, name)
		}
	}
	return left, err
}

func runTests(m *testing.M) int {
	code := m.Run()
	if run.stop != nil {
		run.stop()
	}
	if run.dir != "" {
		os.RemoveAll(run.dir)
	}
	if code != 0 {
		return code
	}
	if err := leaktest.Find(leaktest.Patience); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !whole() || len(run.seen) == 0 { // nothing was seen where there is no browser
		return 0
	}
	left, err := unseen(os.DirFS(filepath.Join("..", "..", "dashboard", "pages", "templates")), run.seen)
	if err != nil || len(left) > 0 {
		fmt.Fprintf(os.Stderr, "pages that no test gives to axe: %q %v\n", left, err)
		return 1
	}
	return 0
}

// missing ends the test that can't run here: as skipped, or as failed where everything should be here.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("OFFLOAD_BROWSER") != "" {
		t.Fatalf("%s is missing: run `make browser`", what)
	}
	t.Skipf("%s is missing: run `make browser`", what)
}

// chromium finds the browser: by environment, or in the PATH.
func chromium(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("OFFLOAD_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "chromium")
	return ""
}

// window returns the context that a window of the browser is made from. The browser is started by the first one.
func (s *shared) window(t testing.TB) context.Context {
	t.Helper()
	path := chromium(t)
	s.browser.Do(func() { s.err = s.open(path) })
	if s.err != nil {
		t.Fatalf("start %s: %v", path, s.err)
	}
	return s.ctx
}

// open starts the browser. Nothing of it reaches any host but this one.
func (s *shared) open(path string) error {
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // it refuses to run as root with one
	}
	all, end := chromedp.NewExecAllocator(context.Background(), opts...)
	// What chromedp can't decode is of newer protocols than its own, and no matter of ours.
	ctx, cancel := chromedp.NewContext(all, chromedp.WithErrorf(func(string, ...any) {}), chromedp.WithLogf(func(string, ...any) {}))
	s.ctx = ctx
	s.stop = func() {
		closing, done := context.WithTimeout(ctx, 10*time.Second)
		defer done()
		_ = chromedp.Cancel(closing) // a browser that doesn't end in peace is killed by the next two
		cancel()
		end()
	}
	return chromedp.Do(ctx)
}

// program returns the program under test: $OFFLOAD_TEST_BINARY, or what this tree builds, once for all tests.
func (s *shared) program(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("OFFLOAD_TEST_BINARY"); bin != "" {
		return bin
	}
	s.build.Do(func() {
		if s.dir, s.fail = os.MkdirTemp("", "offload-browser-"); s.fail != nil {
			return
		}
		s.bin = filepath.Join(s.dir, "offload")
		if out, err := exec.Command("go", "build", "-o", s.bin, "offload/cmd/offload").CombinedOutput(); err != nil {
			s.fail = fmt.Errorf("build offload: %w\n%s", err, out)
		}
	})
	if s.fail != nil {
		t.Fatal(s.fail)
	}
	return s.bin
}

// eventually polls until ok says true, and fails the test with what was waited for when that takes too long.
func eventually(t testing.TB, limit time.Duration, what func() string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for: %s", limit, what())
		}
		<-tick.C
	}
}
