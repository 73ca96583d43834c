package cloudtest

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/fstest/fstests"
)

// suiteInside says that this process is the one that the suite runs in.
const suiteInside = "CLOUDTEST_ICLOUD_SUITE"

// TestRcloneSuiteICloud runs rclone's own test of its iCloud backend in a process of its own, and holds against it only
// what it doesn't fail by itself: doc.go tells what that is.
func TestRcloneSuiteICloud(t *testing.T) {
	if os.Getenv(suiteInside) != "" {
		w := start(t, Options{})
		forRcloneSuite(t, w)
		w.ICloud.Default().NamesAsPut(true)
		fstests.Run(t, &fstests.Opt{RemoteName: "icloud:", NilObject: (*iclouddrive.Object)(nil)})
		return
	}
	if testing.Short() {
		t.Skip("takes a while")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRcloneSuiteICloud$", "-test.v", "-low-level-retries=3")
	cmd.Env = append(os.Environ(), suiteInside+"=1")
	raw, _ := cmd.CombinedOutput() // it fails
	out := string(raw)
	// Each failed assertion begins with its trace. Line 167 is the fingerprint of an object in memory.
	assertions := strings.Split(out, "Error Trace:")
	for _, a := range assertions[1:] {
		first, _, _ := strings.Cut(a, "\n")
		if name := path.Base(strings.TrimSpace(first)); name != "fstests.go:167" {
			t.Errorf("rclone's suite fails at %s:%.600s", name, a)
		}
	}
	// A test may fail without an assertion too: each one that failed must be above or at one with such an assertion.
	excused := regexp.MustCompile(`(?m)^\s+Test:\s+(\S+)$`).FindAllStringSubmatch(out, -1)
	for _, failed := range regexp.MustCompile(`(?m)^ *--- FAIL: (\S+) `).FindAllStringSubmatch(out, -1) {
		if !slices.ContainsFunc(excused, func(e []string) bool { return strings.HasPrefix(e[1]+"/", failed[1]+"/") }) {
			t.Errorf("rclone's suite fails at %s", failed[1])
		}
	}
	passed := regexp.MustCompile(`(?m)^ *--- PASS: `).FindAllString(out, -1)
	t.Logf("%d tests of the suite pass, %d assertions on fingerprints fail", len(passed), len(assertions)-1)
	if len(passed) < 60 || strings.Contains(out, "panic:") {
		t.Errorf("%d tests of the suite pass:\n%s", len(passed), out)
	}
}
